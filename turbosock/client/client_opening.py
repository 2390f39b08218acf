"""ClientOpening: what a Client opens that is no request: WebSockets, and connections that are kept ready.

Each call checks its arguments and leaves the rest to the file that has what it opens; the Client finds it again when it
is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.auth.argument import AuthArgument
from turbosock.client.cancel_token import CancelToken
from turbosock.client.client_base import ClientBase
from turbosock.client.prewarm import refill_of
from turbosock.client.thread_prewarming import ThreadPrewarming
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Timeouts
from turbosock.errors import ClientClosed

if TYPE_CHECKING:
    from turbosock.client.request import Headers
    from turbosock.client.url import Params
    from turbosock.client.websocket import WebSocket
    from turbosock.host_map import HostMapArgument
    from turbosock.local_address import LocalAddressArgument
    from turbosock.protocol.websocket.deflate import DeflateArgument
    from turbosock.proxy_config import ProxyHops


class ClientOpening(ClientBase):
    """See the module."""

    __slots__ = ()

    def websocket(
        self,
        url: str,
        *,
        subprotocols: Iterable[str] = (),
        origin: str | None = None,
        deflate: DeflateArgument = False,
        max_message: int = limits.MAX_WEBSOCKET_MESSAGE_BYTES,
        ping_interval_s: float | None = limits.WEBSOCKET_PING_INTERVAL_S,
        ping_timeout_s: float = limits.WEBSOCKET_PING_TIMEOUT_S,
        close_timeout_s: float = limits.WEBSOCKET_CLOSE_TIMEOUT_S,
        timeout: TimeoutArgument = DEFAULT,
        cancel: CancelToken | None = None,
        params: Params | None = None,
        headers: Headers | None = None,
        auth: AuthArgument | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        proxy: ProxyHops | bool | None = None,
        host_map: HostMapArgument | None = None,
        local_address: LocalAddressArgument | None = None,
    ) -> WebSocket:
        """Open a WebSocket (RFC 6455).

        Args:
            url: ws://host/path, wss://… with TLS, or ws+unix://%2Fpath%2Fto.sock/path.
            subprotocols: what may be spoken, most wanted first; `WebSocket.subprotocol` is what the server chose.
            origin: the origin of the page or program on whose behalf this is, where a server wants one.
            deflate: True offers to compress messages (RFC 7692), or DeflateOptions say how.
            max_message: bytes that a message from the server may have, decompressed.
            ping_interval_s: seconds without a byte, while a receive waits, before the server is asked for a sign of
                life; None: never.
            ping_timeout_s: seconds without one before it is given up.
            close_timeout_s: seconds for the closing handshake.
            timeout: of the opening, redirects included, as in `request`. Its `write_s` and `total_s` bound each
                `WebSocket.send`, too.
            cancel: lets another thread end the opening; `WebSocket.abort` is for afterwards.
            params, headers, auth, cookies, proxy, host_map, local_address: as in `request`.
            follow_redirects: whether an answer may send us elsewhere.

        Returns:
            The WebSocket, for a `with` block or an explicit `close()`.

        Raises:
            InvalidOption: an argument cannot work; it names the argument, and nothing was sent.
            StatusError: the server refused; `response` has its answer, and up to 64 KiB of the body.
            ProtocolError: it agreed to something else than was asked.
            TurbosockError: as `request`.
        """
        if self.closed:
            raise ClientClosed("the client is closed: websocket() needs an open one")
        # Not with the module: few programs open WebSockets.
        from turbosock.client.websocket_opening import WebSocketOptions, open_websocket

        options = WebSocketOptions(
            subprotocols, origin, deflate, max_message, ping_interval_s, ping_timeout_s, close_timeout_s
        )
        if self._mask_keys is None:
            from turbosock.protocol.websocket.mask_keys import MaskKeys

            # Two threads may do so at once: either is a source.
            self._mask_keys = MaskKeys()
        return open_websocket(
            self,
            self._session,
            self._response_type(self),
            self._mask_keys,
            url,
            self._timeouts if timeout is DEFAULT else Timeouts.of(timeout),
            cancel,
            options,
            headers,
            params=params,
            auth=auth,
            cookies=cookies,
            follow_redirects=follow_redirects,
            proxy=proxy,
            host_map=host_map,
            local_address=local_address,
        )

    def prewarm(
        self,
        url: str,
        min_ready: int = 1,
        max_ready: int | None = None,
        *,
        interval_s: float = limits.PREWARM_INTERVAL_S,
        backoff_first_s: float = limits.PREWARM_BACKOFF_FIRST_S,
        backoff_cap_s: float = limits.PREWARM_BACKOFF_CAP_S,
        adaptive: bool = False,
        timeout: TimeoutArgument = DEFAULT,
    ) -> ThreadPrewarming:
        """Keep connections to the origin of `url` ready, dialled by a thread of its own, through TLS where it is https.

        Args:
            url: any URL of the origin; its path does not matter.
            min_ready, max_ready: how many are kept idle, at least and at most; `max_ready` is `min_ready` unless given.
            interval_s: how often idle ones are looked after, and what vanished is replaced.
            backoff_first_s, backoff_cap_s: the bounds of the first and of the longest pause while dials fail.
            adaptive: follow recent demand between the two numbers, which then have to differ.
            timeout: of each dial, as in `request`.

        Returns:
            What tells how many are ready, waits for them, and ends it.

        Raises:
            InvalidOption: an argument cannot work, or contradicts another or the limits of the pool; both are named.
            StateError: connections to the origin are kept ready already.
            LimitError: too many origins are.
            ClientClosed: after `close()`.
        """
        if self.closed:
            raise ClientClosed("the client is closed: prewarm() needs an open one")
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        refill = refill_of(
            self.config.pool,
            min_ready,
            max_ready,
            interval_s=interval_s,
            backoff_first_s=backoff_first_s,
            backoff_cap_s=backoff_cap_s,
            max_building=1,
            adaptive=adaptive,
        )
        prepared = self._session.preparer.prepare("GET", url)
        return self.prewarmer.add(prepared.origin, refill, timeouts, prepared.url.safe)
