"""HttpExchange: one request and its answer, in a handler's hands. Answer at once, or keep it and answer ticks later.

In one call: `respond(200, headers, content)`. In pieces: `start(200, headers)`, `send(data)` as often as needed,
`end()`. As events: `respond_events()`. A listener with `stream_body=True` calls its handler at the head, and the body
comes by `readinto(view)`.

The framing is not the handler's: a body of known length has Content-Length, another one goes in chunks, to an
HTTP/1.0 client until the connection ends, and in HTTP/2 until its stream ends. A HEAD request is answered as a GET
would be, and the body is left out. An answer that begins before the request was read whole is the connection's last,
but in HTTP/2, where the rest of that request alone is refused.

Invariants: one answer an exchange; `done` and `closed` never change back. All calls on the thread that polls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from turbosock import limits
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption, StateError
from turbosock.protocol.http1.headers import HeaderItems
from turbosock.protocol.http1.serialize import Fields
from turbosock.server.response_heads import CHUNKED, NO_BODY, UNTIL_CLOSE

if TYPE_CHECKING:
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.server.carrier import Carrier
    from turbosock.server.event_sender import EventSender
    from turbosock.server.request import Request
    from turbosock.server.websocket_settings import WebSocketSettings

Content = bytes | bytearray | memoryview | str
Callback = Callable[["HttpExchange"], object]


class HttpExchange:
    """One request and its answer; see the module.

    Attributes:
        request: what was asked for.
        started: the head of the answer has been handed over.
        done: the answer has been handed over whole; what of it is still unsent leaves by itself.
        closed: the connection went before the answer was done; calls that send return Send.CLOSED.
        on_data: called when there is something to `readinto`, the body's end included. Set it in the handler; it is
            called when the handler has returned, and again whenever more has come after a `readinto` returned -1.
        on_writable: called when there is room again after `send` returned Send.FULL.
        on_closed: called when the connection is lost before the answer was done, but not from inside a call of the
            handler's own, whose answer says so.
        user: yours.
    """

    __slots__ = (
        "_carrier",
        "_framing",
        "_full",
        "_left",
        "closed",
        "done",
        "on_closed",
        "on_data",
        "on_writable",
        "request",
        "started",
        "user",
    )

    def __init__(self, carrier: Carrier, request: Request) -> None:
        self._carrier = carrier
        self.request = request
        self.started = False
        self.done = False
        self.closed = False
        self.on_data: Callback | None = None
        self.on_writable: Callback | None = None
        self.on_closed: Callback | None = None
        self.user: Any = None
        self._framing = NO_BODY
        self._left = 0
        self._full = False

    # The answer

    def respond(self, status_code: int = 200, headers: HeaderItems | None = None, content: Content = b"") -> Send:
        """Answer in one call.

        Args:
            status_code: 200 to 999.
            headers: fields; Content-Length, Date and Connection are added.
            content: the body. `bytes` are sent from where they lie; of other memory what must wait is copied, so
                that it is yours again at once. Text is sent as UTF-8.

        Returns:
            Send.OK, or Send.CLOSED when the connection has gone.

        Raises:
            StateError: an answer has begun already.
            InvalidOption, InvalidHeader: an argument cannot be sent; nothing was.
        """
        if self.started:
            raise StateError("respond() after the answer has begun: each request has one")
        if self.closed:
            return Send.CLOSED
        data = content if type(content) is bytes else plain_bytes("content", content)
        size = len(data)
        if self.request.method == "HEAD":
            length = size if size else NO_BODY
            data = b""
        elif status_code == 204 or status_code == 304:
            if size:
                raise InvalidOption(f"content: a {status_code} answer has none (RFC 9110 §6.4.1); leave it out")
            length = NO_BODY
        else:
            length = size
        return self._carrier.answer(status_code, headers, length, data, size)

    def start(self, status_code: int = 200, headers: HeaderItems | None = None, length: int | None = None) -> Send:
        """Begin an answer that is sent in pieces; its head leaves now.

        Args:
            status_code, headers: as for `respond`.
            length: of the body in bytes, or None where it is not known yet.

        Returns and raises as `respond` does.
        """
        if self.started:
            raise StateError("start() after the answer has begun: each request has one")
        if self.closed:
            return Send.CLOSED
        if length is not None and (isinstance(length, bool) or not isinstance(length, int) or length < 0):
            raise InvalidOption(f"length={length!r}: give the body's length in bytes, or None")
        request = self.request
        framing = CHUNKED if length is None else length
        if length is None and request.head.version < 11:
            framing = UNTIL_CLOSE
        no_body = status_code == 204 or status_code == 304
        sent = self._carrier.start_answer(status_code, headers, NO_BODY if no_body else framing)
        if no_body or request.method == "HEAD":
            framing = NO_BODY
        self._framing = framing
        self._left = framing
        return sent

    def send(self, data: Content) -> Send:
        """Send the next piece of the body, whole or not at all.

        Args:
            data: as `content` of `respond`. For an answer without a body (to HEAD; 204, 304) it is dropped.

        Returns:
            Send.OK; Send.FULL: nothing was taken because the client is slow, `on_writable` is called when there is
            room; or Send.CLOSED. A piece is taken, whatever its size, where nothing waits before it.

        Raises:
            StateError: before `start()` or after `end()`, or the body would be longer than announced.
        """
        if self.closed:
            return Send.CLOSED
        if not self.started or self.done:
            raise StateError("send() belongs between start() and end()")
        data = plain_bytes("data", data)
        size = len(data)
        framing = self._framing
        if not size or framing == NO_BODY:
            return Send.OK
        if framing >= 0 and size > self._left:
            raise StateError(f"send() of {size} bytes where {self._left} of the announced {framing} are left")
        sent = self._carrier.send_piece(data, size, framing)
        if sent is Send.FULL:
            self._full = True
        else:
            self._left -= size
        return sent

    def end(self, trailers: Fields = ()) -> Send:
        """End an answer that was begun with `start()`.

        Args:
            trailers: fields after a body whose length was not announced; others have no place for them (RFC 9110 §6.5).

        Returns:
            Send.OK or Send.CLOSED.

        Raises:
            StateError: no answer was begun, it has ended, or bytes of the announced length are missing.
            InvalidHeader: a trailer is not valid.
        """
        if self.closed:
            return Send.CLOSED
        if not self.started or self.done:
            raise StateError("end() belongs after start(), once")
        framing = self._framing
        if framing >= 0 and self._left:
            raise StateError(
                f"end() where {self._left} of the announced {framing} bytes are missing: send(), or abort()"
            )
        if trailers and framing != CHUNKED:
            raise StateError("end() with trailers needs a body in chunks: start() without a length, for HTTP/1.1")
        return self._carrier.end_answer(framing, trailers)

    def respond_events(
        self,
        headers: HeaderItems | None = None,
        *,
        heartbeat_s: float | None = limits.SSE_HEARTBEAT_S,
        retry_ms: int | None = None,
    ) -> EventSender:
        """Begin an answer that is a stream of server-sent events (WHATWG HTML §9.2); its head leaves now.

        Args:
            headers: fields; Content-Type and Cache-Control are added.
            heartbeat_s: the longest silence: a comment is sent before it is over; None: no comments.
            retry_ms: the time after which the client is to reconnect, sent at once.

        Returns:
            What sends the events. It takes `on_writable` and `on_closed` of the exchange for itself, and has its own.

        Raises:
            StateError: an answer has begun already.
            InvalidOption, InvalidHeader: an argument cannot work; nothing was sent.
        """
        # Not with the module: few handlers answer with events.
        from turbosock.server.event_sender import EventSender

        return EventSender(self, self._carrier.listener.reactor, headers, heartbeat_s, retry_ms)

    def upgrade_websocket(
        self, settings: WebSocketSettings, headers: HeaderItems | None = None
    ) -> WebSocketConnection | None:
        """Answer by opening a WebSocket; in a listener that `loop.listen()` has made.

        Over HTTP/2 the request's method is CONNECT (RFC 8441), and any other answer below 300 becomes a 400.

        Args:
            settings: how it is opened, and what it may take.
            headers: fields beside those of the handshake.

        Returns:
            The WebSocket, whose OPEN is an event of the loop as all that follows; or None: the request asks for none,
            or not properly, or is not welcome, and was answered so.

        Raises:
            StateError: an answer has begun already, or the listener is none of a loop.
            InvalidHeader: a field is not valid, or one of the handshake's own.
            LimitError: the reactor has no room for it; the connection is closed.
        """
        if self.started:
            raise StateError("upgrade_websocket() after the answer has begun: each request has one")
        fields = settings.checked(headers)
        if self.closed:
            return None
        return self._carrier.upgrade_websocket(self, settings, fields)

    def abort(self) -> None:
        """End without another byte the connection, or in HTTP/2 the stream; the client sees an answer that is cut."""
        if not self.closed and not (self.done and self._carrier.exchange is not self):
            self._carrier.abort()

    # The body of the request

    @property
    def body_complete(self) -> bool:
        """Whether the whole body has been read."""
        carrier = self._carrier
        return carrier.exchange is not self or carrier.body_complete

    def readinto(self, view: bytearray | memoryview) -> int:
        """Read what has come of the body; for listeners with `stream_body=True`.

        A client that waits for a 100 (Continue) is told to go on by the first call.

        Args:
            view: writable memory, not empty.

        Returns:
            The number of bytes, 0 at the end, or -1: nothing has come; `on_data` follows.

        Raises:
            StateError: the exchange is over.
            BodyTruncated, ReadError, ProtocolError, LimitError: the body broke off or is malformed, or is longer than
                the listener takes. Left to itself, the error is answered as the listener answers its own.
        """
        carrier = self._carrier
        if self.closed or carrier.exchange is not self:
            raise StateError("readinto() of an exchange that is over")
        if type(view) is not memoryview or view.format != "B":
            view = memoryview(view).cast("B")
        if not view.nbytes:
            raise InvalidOption("view: has no room; give at least one byte")
        return carrier.read_body(view)

    # For the carrier

    def take_room(self) -> bool:
        """Whether a send was refused for want of room; asked once for each refusal."""
        full = self._full
        self._full = False
        return full

    def __repr__(self) -> str:
        state = "closed" if self.closed else "done" if self.done else "started" if self.started else "open"
        return f"<HttpExchange {self.request!r} {state}>"


def plain_bytes(name: str, content: Content) -> bytes | memoryview:
    """`content` as bytes, or as a byte view of memory that stays where it is; InvalidOption for anything else."""
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    try:
        return memoryview(content).cast("B")
    except TypeError as error:
        raise InvalidOption(f"{name}: a {type(content).__name__} is not contiguous bytes, nor text") from error
