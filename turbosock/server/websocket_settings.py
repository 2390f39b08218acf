"""WebSocketSettings: how a server opens WebSockets and what they may take, checked once and used for each.

    settings = turbosock.WebSocketSettings(subprotocols=("chat",), max_message=4096)

    def answer(exchange):
        if exchange.request.path == "/socket":
            exchange.upgrade_websocket(settings)

`loop.listen(address, protocol="websocket", …)` makes one of its own options.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.connection.websocket import WebSocketEndpoint
from turbosock.connection.websocket_connection import DeflatingConnection, WebSocketConnection
from turbosock.connection.websocket_frames import DeflatedFrames, PlainFrames
from turbosock.connection.websocket_limits import WebSocketLimits
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.websocket.deflate import DeflateArgument
from turbosock.protocol.websocket.handshake import checked_extra_fields
from turbosock.protocol.websocket.masking import prepare
from turbosock.protocol.websocket.server_handshake import Origins, ServerHandshake

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.message_strategy import MessageOwner
    from turbosock.protocol.websocket.server_handshake import HandshakeAnswer
    from turbosock.server.request import Request


class WebSocketSettings:
    """How a server opens WebSockets, and what they may take; see the module.

    Args:
        subprotocols: what can be spoken, most wanted first.
        origins: which pages may connect: those of the host that is asked (None), a list as ("https://example.com",),
            all of them ("*",), or a function that decides. Programs, which say no origin, may always.
        deflate: whether messages are compressed where the client can, or how: DeflateOptions.
        max_message: bytes of a message, received or sent; a longer one that comes is answered with 1009.
        quota: memory that received messages of one connection may take before it is left unread.
        max_unsent: bytes that may wait for one client before `send()` says FULL.
        message_timeout_s: for a message to arrive whole, from its first byte on.
        idle_timeout_s: for a connection on which nothing comes or goes, Pings included; None: any.
        write_timeout_s: for a client that takes nothing of what it is sent.
        ping_interval_s: how often a client is asked for a sign of life, and its distance measured; None: never.
        ping_timeout_s: for that sign of life.
        close_timeout_s: for the client's Close after ours.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
    """

    __slots__ = ("_handshake", "bounds")

    def __init__(
        self,
        *,
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
    ) -> None:
        # What takes long is done here, and in no tick.
        prepare()
        self._handshake = ServerHandshake(subprotocols=subprotocols, deflate=deflate, origins=origins)
        self.bounds = WebSocketLimits(
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

    def checked(self, headers: HeaderItems | None) -> HeaderList:
        """For exchanges: further fields of the answer; raises InvalidHeader."""
        return checked_extra_fields(HeaderList(() if headers is None else headers))

    def answer(self, request: Request) -> HandshakeAnswer:
        """For exchanges: how the request is answered."""
        head = request.head
        # Of HTTP/2 nothing else comes here (RFC 8441 §5).
        extended = head.version == 20
        return self._handshake.answer(request.method, head.version, request.headers, request.host, extended)

    def connection(
        self, services: MessageServices, owner: MessageOwner, answer: HandshakeAnswer, request: Request
    ) -> WebSocketConnection:
        """For sessions: the WebSocket that the answer opens."""
        agreement = answer.agreement
        assert agreement is not None, "the answer opens one"
        bounds = self.bounds
        services.rings.make_room_for(bounds.quota)
        endpoint = WebSocketEndpoint(False, agreement, None, self._handshake.deflate, max_message=bounds.max_message)
        frames = services.plain_frames
        if frames is None:
            frames = services.plain_frames = PlainFrames()
        if agreement.deflate is None:
            return WebSocketConnection(services, owner, bounds, endpoint, frames, request.peer, request)
        takeover = not agreement.deflate.server_no_context_takeover
        deflated = DeflatedFrames(endpoint.writer)
        return DeflatingConnection(
            services, owner, bounds, endpoint, deflated, request.peer, request, takeover=takeover
        )
