"""Opening a WebSocket inside a Loop: a GET that asks to change the protocol, like any other request (RFC 6455 §4.1).

The WebSocketConnection is its user's at once, and can be closed before it is open. Its first event is OPEN; if it never
comes to that, its one event is CLOSED, with the reason: a StatusError where the server refused.

Left to others: names, proxies, TLS, credentials, cookies, redirects and retries are those of every exchange; what is
asked for and what agrees, `websocket_opening.py` and `protocol/websocket/client_handshake.py` say.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypedDict

from turbosock import limits
from turbosock.client.chained_exchange import ChainedExchange
from turbosock.client.exchange import status_error
from turbosock.client.loop_exchange import Exchange
from turbosock.client.loop_opening_connection import LoopOpeningConnection
from turbosock.client.websocket_opening import OpeningOptions, prepare_opening, refusal_words
from turbosock.connection.http2_stream import Http2Stream
from turbosock.connection.websocket import WebSocketEndpoint
from turbosock.connection.websocket_connection import DeflatingConnection, WebSocketConnection
from turbosock.connection.websocket_frames import DeflatedFrames, Frames, MaskedFrames
from turbosock.connection.websocket_limits import WebSocketLimits
from turbosock.errors import InvalidOption, TurbosockError
from turbosock.protocol.websocket.client_handshake import ClientHandshake
from turbosock.protocol.websocket.handshake import Agreement
from turbosock.protocol.websocket.masking import prepare
from turbosock.reactor.sockets import tune

if TYPE_CHECKING:
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.client.loop_http2_opening import LoopHttp2OpeningStream
    from turbosock.client.loop_services import LoopServices
    from turbosock.client.request import Headers
    from turbosock.config import Timeouts
    from turbosock.connection.message_connection import MessageConnection
    from turbosock.protocol.http1.head import ResponseHead
    from turbosock.protocol.websocket.deflate import DeflateArgument
    from turbosock.protocol.websocket.mask_keys import MaskKeys
    from turbosock.transport.transport import SaeaTransport


class WebSocketBounds(TypedDict, total=False):
    """The bounds and times of a WebSocket that `Loop.websocket()` opens; see WebSocketLimits."""

    max_message: int
    quota: int
    max_unsent: int
    message_timeout_s: float
    idle_timeout_s: float | None
    write_timeout_s: float
    ping_interval_s: float | None
    ping_timeout_s: float
    close_timeout_s: float


class LoopWebSocketOptions(WebSocketBounds, OpeningOptions, total=False):
    """What `Loop.websocket()` may be told beside what it names itself."""

    headers: Headers | None


_BOUNDS: Final = tuple(WebSocketBounds.__annotations__)
_REQUEST: Final = frozenset(OpeningOptions.__annotations__)


class LoopOpening:
    """Owns a WebSocket that is opened, or was.

    Args:
        handshake: asks for it.
        keys: mask what is sent.
        max_message: bytes that a message may have.

    Attributes:
        connection: the WebSocket; set before the exchange begins.
        exchange: the request that opens it, until it is over.
    """

    __slots__ = ("_deflate", "_keys", "_max_message", "connection", "exchange", "handshake")

    connection: WebSocketConnection

    def __init__(self, handshake: ClientHandshake, keys: MaskKeys, max_message: int) -> None:
        self.handshake = handshake
        self.exchange: OpeningExchange | None = None
        self._keys = keys
        self._deflate = handshake.deflate
        self._max_message = max_message

    def endpoint(self, agreement: Agreement) -> WebSocketEndpoint:
        """The protocol's side of it, when so much was agreed."""
        return WebSocketEndpoint(True, agreement, self._keys, self._deflate, max_message=self._max_message)

    def frames(self, endpoint: WebSocketEndpoint) -> Frames:
        """What makes frames of what is sent."""
        if self._deflate is None:
            return MaskedFrames(endpoint.writer, self._keys)
        return DeflatedFrames(endpoint.writer, masks=True)

    # What the exchange calls

    def opened(self, transport: SaeaTransport, leftover: bytes, endpoint: WebSocketEndpoint) -> None:
        """The server agreed."""
        self.exchange = None
        connection = self.connection
        if isinstance(transport.socket, socket_module.socket):
            # What is in memory has nobody to probe.
            tune(transport.socket, keep_alive=True)
        try:
            connection.open_as(endpoint, self.frames(endpoint))
            connection.begin(transport)
        except TurbosockError as error:
            transport.close()
            connection.finish(error)
            return
        # What asked for it is of no more use.
        del self.handshake
        connection.take(leftover)

    def fail(self, error: TurbosockError) -> None:
        """It will not be open."""
        self.exchange = None
        self.connection.finish(error)

    # What the connection calls

    def forget(self, session: MessageConnection, transport: SaeaTransport | None) -> None:
        """The WebSocket has ended; perhaps before it was open."""
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.cancel()

    def count_timeout(self) -> None:
        """It was given up; its error says so."""


class OpeningExchange(Exchange):
    """The request that opens a WebSocket; its end is no event, its opening is told."""

    __slots__ = ("_endpoint", "_leftover", "_taken", "opening")

    # It is its opening's alone.
    pooled = False

    def __init__(self, loop: LoopServices, opening: LoopOpening) -> None:
        self.opening = opening
        self._endpoint: WebSocketEndpoint | None = None
        self._taken: SaeaTransport | None = None
        self._leftover = b""
        super().__init__(loop)

    def _proceed(self, now_ns: int) -> None:
        stream = self._stream_of_session()
        if stream is None:
            super()._proceed(now_ns)
            return
        try:
            self._send_on(stream, now_ns)
        except BaseException as error:
            self._take_to_end(stream, error)
            raise

    def _stream_of_session(self) -> LoopHttp2OpeningStream | None:
        """A stream of a connection that requests to this origin use, where its server takes WebSockets on it."""
        pool = self._loop.pool
        key = self.prepared.origin.key._replace(upgrades=False)
        if pool.may_share(key):
            for session in pool.origin(key).sessions:
                # A Loop's sessions are of this kind.
                stream: LoopHttp2OpeningStream | None = session.vacate_for_websocket()  # type: ignore[attr-defined]
                if stream is not None:
                    return stream
        return None

    def _take_special(self, connection: TickedConnection, head: ResponseHead) -> None:
        if self._goes_on(None):
            return
        opening = self.opening
        if isinstance(connection, LoopOpeningConnection):
            opening.handshake.sent_with(connection.key)
        else:
            opening.handshake.sent_extended()
        if not opening.handshake.agrees(head.status_code):
            # A page that explains it is worth some memory where its size is known, and no more.
            if 0 <= head.content_length <= limits.MAX_REFUSAL_BYTES:
                super()._take_special(connection, head)
            else:
                self.fail(self._refusal())
            return
        self._endpoint = opening.endpoint(opening.handshake.check(head.status_code, head.headers))
        self._finish()

    def _refusal(self) -> TurbosockError:
        return status_error(self, f"{refusal_words(self)}; see `response` of this error")

    def _release(self, connection: TickedConnection) -> None:
        if self._endpoint is None:
            super()._release(connection)
            return
        # For good: until its deadline a timer that is only disarmed may hold on to all that the opening needed.
        self._loop.reactor.timers.cancel(connection.timer)
        if isinstance(connection, Http2Stream):
            self.connection = None
            self.finished_ns = self._now_ns()
            # A stream of `_stream_of_session()`: no other can agree.
            self._taken = connection.take_over()  # type: ignore[attr-defined]
            return
        # The loop has no others.
        self._taken, self._leftover = self.take_over(self._now_ns())  # type: ignore[assignment]

    def _finish(self) -> None:
        super()._finish()
        endpoint = self._endpoint
        taken = self._taken
        if endpoint is not None and taken is not None:
            self._taken = None
            self.opening.opened(taken, self._leftover, endpoint)
        elif self.error is None:
            self.opening.fail(self._refusal())

    def _tell_failure(self) -> None:
        try:
            super()._tell_failure()
        finally:
            error = self.error
            assert error is not None, "it failed"
            head = self.head
            if head is not None and not self.opening.handshake.agrees(head.status_code):
                # The status is what matters; the page that explains it may be cut.
                error = self._refusal()
            self.opening.fail(error)


class ChainedOpeningExchange(ChainedExchange, OpeningExchange):
    """One with middleware around it."""

    def __init__(self, loop: LoopServices, opening: LoopOpening) -> None:
        self.timeline = None
        OpeningExchange.__init__(self, loop, opening)


def open_websocket(
    loop: LoopServices,
    keys: MaskKeys,
    url: str,
    timeouts: Timeouts,
    subprotocols: Iterable[str],
    origin: str | None,
    deflate: DeflateArgument,
    options: LoopWebSocketOptions,
) -> WebSocketConnection:
    """See `Loop.websocket`."""
    unknown = options.keys() - LoopWebSocketOptions.__annotations__.keys()
    if unknown:
        known = ", ".join(sorted(LoopWebSocketOptions.__annotations__))
        raise InvalidOption(f"{min(unknown)}: websocket() has no such option; it has {known}")
    # Names and types are those of the TypedDict.
    given_bounds: dict[str, Any] = {name: options[name] for name in _BOUNDS if name in options}  # type: ignore[literal-required]
    bounds = WebSocketLimits(**given_bounds)
    request: dict[str, Any] = {name: value for name, value in options.items() if name in _REQUEST}
    request.setdefault("follow_redirects", False)
    handshake, prepared, flow = prepare_opening(
        loop.session, url, subprotocols, origin, deflate, options.get("headers"), **request
    )
    # What takes long is done here, and in no tick.
    prepare()
    services = loop.messages
    services.rings.make_room_for(bounds.quota)
    opening = LoopOpening(handshake, keys, bounds.max_message)
    endpoint = opening.endpoint(Agreement(None, None))
    frames = opening.frames(endpoint)
    where = prepared.shown_url
    connection: WebSocketConnection
    if isinstance(frames, DeflatedFrames):
        connection = DeflatingConnection(services, opening, bounds, endpoint, frames, where, takeover=True)
    else:
        connection = WebSocketConnection(services, opening, bounds, endpoint, frames, where)
    opening.connection = connection
    make = OpeningExchange if loop.chain is None else ChainedOpeningExchange
    exchange = opening.exchange = make(loop, opening)
    try:
        services.connections.add(connection)
        loop.requests.check_room()
        loop.requests.begin(exchange, prepared, None, timeouts, flow, stream=False)
    except BaseException:
        opening.exchange = None
        services.connections.discard(connection)
        raise
    return connection
