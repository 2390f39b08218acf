"""WebSocketListener: accepts WebSockets, whose messages are events of the Loop; ws, and wss with `tls`.

    listener = loop.listen(("0.0.0.0", 9000), protocol="websocket", max_connections=500, max_message=4096)
    ...
    for event in loop.events:
        if event.kind is EventKind.MESSAGE:
            event.connection.send(reply(event.data))

It is an HttpListener that opens a WebSocket for each request, and refuses what asks for none. A listener that serves
pages, too, is one for HTTP whose handler calls `exchange.upgrade_websocket(settings)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from turbosock import limits
from turbosock.config import TlsServerConfig
from turbosock.connection.websocket_connection import WebSocketConnection
from turbosock.errors import InvalidOption
from turbosock.protocol.websocket.deflate import DeflateArgument
from turbosock.protocol.websocket.server_handshake import Origins
from turbosock.reactor.sockets import ListenAddress
from turbosock.server.carrier import PLAIN_TEXT, status_text
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener
from turbosock.server.websocket_settings import WebSocketSettings

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.receive_ring import RingPool
    from turbosock.server.stream_listener import Session
    from turbosock.transport.transport import SaeaTransport


class WebSocketListenerStats(NamedTuple):
    """Counts since the listener began; `open` are its connections now, those in the opening handshake included.

    `opened` are WebSockets; `refused` requests that opened none. `timeouts` are connections that were given up, and
    `failed` those that ended because the client broke the rules or a bound. `exhausted`, `crowded` and
    `failed_handshakes`, which are those of TLS, as in ListenerStats.
    """

    accepted: int
    open: int
    opened: int
    refused: int
    failed: int
    messages_in: int
    messages_out: int
    timeouts: int
    exhausted: int
    bytes_in: int
    bytes_out: int
    failed_handshakes: int
    crowded: int


class WebSocketListener(HttpListener):
    """Accepts WebSockets; see the module.

    Args:
        messages, rings: the Loop's.
        address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
        path: where the WebSocket is; elsewhere is nothing (404). None: it is everywhere.
        subprotocols, origins, deflate, max_message, quota, max_unsent: as in WebSocketSettings.
        message_timeout_s, idle_timeout_s, write_timeout_s: as there.
        ping_interval_s, ping_timeout_s, close_timeout_s: as there.
        tls: the certificates to show, and what clients must; None for plaintext. Its files are read here, once.
        max_connections: connections at once; more wait in the backlog.
        handshake_timeout_s: for the whole TLS handshake, and for the opening request after it.
        backlog, reuse_port, dual_stack, mode: as in `sockets.listen`.

    Attributes:
        address: where it listens: (host, port) with the real port, or the path.
        connections: the WebSockets that are open.
        closed: whether `close()` was called.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no TLS engine for `tls`.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = ("_failed", "_gone_messages_in", "_gone_messages_out", "_opened", "_ws_path", "settings")

    def __init__(
        self,
        messages: MessageServices,
        rings: RingPool,
        address: ListenAddress,
        *,
        path: str | None = None,
        subprotocols: Iterable[str] = (),
        origins: Origins = None,
        deflate: DeflateArgument = None,
        max_message: int = limits.MAX_WEBSOCKET_MESSAGE_BYTES,
        quota: int = limits.MESSAGE_QUOTA_BYTES,
        max_unsent: int = limits.MAX_UNSENT_BYTES,
        message_timeout_s: float = limits.MESSAGE_TIMEOUT_S,
        idle_timeout_s: float | None = limits.MESSAGE_IDLE_TIMEOUT_S,
        write_timeout_s: float = limits.SERVER_WRITE_TIMEOUT_S,
        ping_interval_s: float | None = limits.WEBSOCKET_PING_INTERVAL_S,
        ping_timeout_s: float = limits.WEBSOCKET_PING_TIMEOUT_S,
        close_timeout_s: float = limits.WEBSOCKET_CLOSE_TIMEOUT_S,
        tls: TlsServerConfig | None = None,
        max_connections: int = limits.MAX_SERVER_CONNECTIONS,
        handshake_timeout_s: float = limits.SERVER_HANDSHAKE_TIMEOUT_S,
        backlog: int = limits.LISTEN_BACKLOG,
        reuse_port: bool = False,
        dual_stack: bool = False,
        mode: int | None = None,
    ) -> None:
        if path is not None and (not isinstance(path, str) or not path.startswith("/")):
            raise InvalidOption(f"path={path!r}: give a path that begins with a slash, or None for all")
        self._ws_path = path
        self._opened = 0
        self._failed = 0
        self._gone_messages_in = 0
        self._gone_messages_out = 0
        self.settings = WebSocketSettings(
            subprotocols=subprotocols,
            origins=origins,
            deflate=deflate,
            max_message=max_message,
            quota=quota,
            max_unsent=max_unsent,
            message_timeout_s=message_timeout_s,
            idle_timeout_s=idle_timeout_s,
            write_timeout_s=write_timeout_s,
            ping_interval_s=ping_interval_s,
            ping_timeout_s=ping_timeout_s,
            close_timeout_s=close_timeout_s,
        )
        super().__init__(
            messages.reactor,
            rings,
            address,
            self._open,
            tls=tls,
            http_versions=("HTTP/1.1",),
            max_connections=max_connections,
            max_body_bytes=0,
            handshake_timeout_s=handshake_timeout_s,
            head_timeout_s=handshake_timeout_s,
            idle_timeout_s=handshake_timeout_s,
            write_timeout_s=write_timeout_s,
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            mode=mode,
            messages=messages,
        )

    def _open(self, exchange: HttpExchange) -> None:
        if self._ws_path is not None and exchange.request.path != self._ws_path:
            self.refused += 1
            exchange.respond(404, PLAIN_TEXT, status_text(404))
        elif exchange.upgrade_websocket(self.settings) is not None:
            self._opened += 1

    def forget(self, session: Session, transport: SaeaTransport | None) -> None:
        if isinstance(session, WebSocketConnection):
            self._gone_messages_in += session.messages_in
            self._gone_messages_out += session.messages_out
            self._failed += session.failed
        super().forget(session, transport)

    # What the user calls

    @property
    def url(self) -> str:
        """Where a client here finds it: ws(s)://host:port and the path; no URL names a Unix path."""
        return "ws" + super().url.removeprefix("http") + (self._ws_path or "/")

    @property
    def connections(self) -> tuple[WebSocketConnection, ...]:
        """Those that stand now, in no order."""
        return tuple(self.websockets)

    def stats(self) -> WebSocketListenerStats:  # type: ignore[override]  # as a listener for messages, not for requests
        """What happened so far."""
        connections = self.connections
        base = super().stats()
        return WebSocketListenerStats(
            accepted=base.accepted,
            open=base.open,
            opened=self._opened,
            refused=self.refused,
            failed=self._failed,
            messages_in=self._gone_messages_in + sum(connection.messages_in for connection in connections),
            messages_out=self._gone_messages_out + sum(connection.messages_out for connection in connections),
            timeouts=self.timeouts,
            exhausted=base.exhausted,
            bytes_in=base.bytes_in,
            bytes_out=base.bytes_out,
            failed_handshakes=base.failed_handshakes,
            crowded=base.crowded,
        )
