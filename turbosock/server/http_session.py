"""HttpSession: one accepted connection, from its first byte to its end: who is called when, and for how long it waits.

Phases: between requests (nothing of the next one has come); in a head; gathering a body; with an exchange, which the
handler answers at once or later; ending, while the last answer leaves; lingering, while a client that was answered
early is given time to notice (RFC 9112 §9.6); closed.

One timer serves all of them, for whichever wait is on: a client that takes nothing while something is unsent, a head
that does not become whole, a body that stands still, a connection without requests, a client that lingers. A handler
has all the time it wants; but every `idle_timeout_s` its client is looked for, because an end that comes behind unread
bytes shows nowhere else. One that has ended its stream (RFC 9112 §9.6) is given that long to be sent something.

A step takes at most MAX_PIPELINED_REQUESTS requests and TURN_QUANTUM_BYTES of bodies, then the session goes to the back
of the reactor's line; it is a `Handler` for that alone, its transport is the one registered with the poller.

Invariants: handlers and callbacks run only inside the reactor's steps and timers; `exchange` is None unless a request
was handed to the handler and its answer has not left; a closed session is called by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.http1_server import Http1ServerConnection
from turbosock.connection.lingering import LINGER_NS, MORE, OVER, Lingering
from turbosock.connection.send import Send
from turbosock.errors import (
    BodyTooLarge,
    InvalidOption,
    LimitError,
    NetworkError,
    ProtocolError,
    TurbosockError,
)
from turbosock.protocol.http1.serialize import LAST_CHUNK, Fields, chunk_prefix, last_chunk
from turbosock.protocol.http1.state import IDLE
from turbosock.reactor.poller import IN, OUT, READABLE, WRITABLE
from turbosock.reactor.sockets import tune
from turbosock.server.carrier import PLAIN_TEXT, Carrier, status_of, status_text
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.request import PeerAddress, Request, RequestTls
from turbosock.server.response_heads import CHUNKED, CLOSES, PERSISTS, UNSAID, UNTIL_CLOSE

if TYPE_CHECKING:
    from turbosock.connection.message_strategy import MessageOwner
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.http1.head import RequestHead
    from turbosock.protocol.http1.headers import HeaderItems
    from turbosock.reactor.context import IOContext
    from turbosock.server.http_listener import HttpListener
    from turbosock.transport.transport import SaeaTransport

# What a client of HTTP/2 says first (RFC 9113 §3.4); not imported from where it is at home, to import no HTTP/2 here.
HTTP2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

OPEN: Final = 0
ENDING: Final = 1
LINGERING: Final = 2
CLOSED: Final = 3


class HttpSession(Carrier):
    """One accepted connection; see the module.

    Args:
        listener: whose it is.
        transport: the accepted connection, its TLS handshake done; the session's from here on.
        peer: the client's address.
        tls: what its requests are told of TLS; None without.

    Attributes:
        connection: the protocol's side of it.
        exchange: what the handler was given and has not answered whole.
        mask, queued: the reactor's.
    """

    __slots__ = (
        "_body_error",
        "_bytes_left",
        "_content",
        "_in_head",
        "_lingering",
        "_out_before",
        "_phase",
        "_request",
        "_serving",
        "_stalled",
        "_timer",
        "connection",
        "exchange",
        "listener",
        "mask",
        "peer",
        "queued",
        "tls",
    )

    def __init__(
        self, listener: HttpListener, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None = None
    ) -> None:
        self.listener = listener
        self.peer = peer
        self.tls = tls
        self.mask = 0
        self.queued = False
        self.exchange: HttpExchange | None = None
        self._phase = OPEN
        self._serving = False
        self._request: Request | None = None
        # The body being gathered, or None where none is.
        self._content: bytearray | None = None
        self._bytes_left = 0.0
        self._lingering: Lingering | None = None
        self._in_head = False
        # Whether the deadline is that of a client which does not read.
        self._stalled = False
        # What had been sent when the client of a kept exchange was last looked for.
        self._out_before = 0.0
        self._body_error: TurbosockError | None = None
        reactor = listener.reactor
        self._timer = reactor.timers.idle(self)
        transport.receive_context.completed = self._on_readable
        transport.send_context.completed = self._on_sent
        self.connection = Http1ServerConnection(
            transport,
            listener.rings,
            listener,
            max_head_bytes=listener.max_head_bytes,
            max_head_fields=listener.max_head_fields,
        )
        # Armed for as long as the session lives, so that no later wait can fail for want of a timer; and only now, when
        # it is whole: an interrupt in these lines must not leave half of one to be called.
        self._timer.move(reactor.clock.now_ns() + listener.idle_ns)
        self.connection.arm()

    @property
    def transport(self) -> SaeaTransport:
        return self.connection.transport

    @property
    def gone(self) -> bool:
        return self._phase == CLOSED

    # What the reactor calls

    def _on_readable(self, context: IOContext) -> None:
        if self._phase == OPEN:
            if self.exchange is None:
                self._serve()
            else:
                self._on_exchange_readable(self.exchange)
        elif self._phase == LINGERING:
            self._linger()

    def _on_sent(self, context: IOContext) -> None:
        self._after_send(self.connection.on_sent())

    def on_ready(self, mask: int) -> None:
        """Go on where the last step had used its share."""
        if mask & WRITABLE and self.connection.unsent:
            self._after_send(self.connection.on_writable())
        if mask & READABLE:
            if self._phase == OPEN and self.exchange is None:
                self._serve()
            elif self._phase == LINGERING:
                self._linger()

    def on_timer(self, now_ns: int) -> None:
        """A wait took too long; which one, the phase says."""
        connection = self.connection
        exchange = self.exchange
        ring = connection.ring
        if self._phase == LINGERING:
            self.close()
        elif self._phase == CLOSED:
            # An interrupt came before the timer was cancelled.
            return
        elif connection.unsent:
            self.listener.timeouts += 1
            self.lose()
        elif self._phase == ENDING:
            # The answer has left, and its last words about the end have no room.
            self.close()
        elif exchange is not None:
            if not self._awaits_body():
                self._look_for_client()
                return
            self.listener.timeouts += 1
            if exchange.started:
                self.lose()
            else:
                self._refuse(408)
        elif self._content is not None or (ring is not None and ring.length):
            self.listener.timeouts += 1
            self._refuse(408)
        else:
            self.listener.timeouts += 1
            self.close()

    # Requests

    def _serve(self) -> None:
        """Take requests and have them handled, until nothing more can be done or this step has done its share."""
        # Long, because a request's whole cost is a few of these microseconds.
        connection = self.connection
        listener = self.listener
        left = limits.MAX_PIPELINED_REQUESTS
        self._bytes_left = limits.TURN_QUANTUM_BYTES
        self._serving = True
        try:
            while self._phase == OPEN and self.exchange is None:
                if not left:
                    listener.reactor.requeue(self, IN)
                    return
                if self._content is None:
                    head = connection.read_head()
                    if head is None:
                        if not self._await_head():
                            return
                        continue
                    listener.requests += 1
                    if not connection.body.complete or head.method == "CONNECT":
                        self._take_head(head)
                        continue
                    request = self._request
                    if request is None or request.head is not head:
                        request = self._request = Request(head, self.peer, b"", self.tls)
                else:
                    if not self._gather():
                        return
                    assert connection.head is not None, "a body comes after its head"
                    request = Request(connection.head, self.peer, bytes(self._content), self.tls)
                    self._content = None
                left -= 1
                self._handle(request)
        except (ProtocolError, LimitError) as error:
            if not self._begins_http2(error):
                self._refuse(status_of(error))
        finally:
            self._serving = False

    def _begins_http2(self, error: Exception) -> bool:
        """Whether the connection's first bytes are no request of HTTP/1, but HTTP/2's, which is spoken from here on."""
        connection = self.connection
        ring = connection.ring
        may = self.listener.sniffs and (self.tls is None or self.tls.info.alpn is None)
        if not may or connection.head is not None or ring is None or getattr(error, "code", "") != "bad_version":
            return False
        # What is missing of it now is the engine's to judge.
        if not HTTP2_PREFACE.startswith(ring.peek(len(HTTP2_PREFACE))):
            return False
        self._phase = CLOSED
        self.mask = 0
        self.listener.reactor.timers.cancel(self._timer)
        connection.ring = None
        self.listener.change_to_http2(self, ring)
        return True

    def _await_head(self) -> bool:
        """The next head is not whole: set its deadline; whether another receive may get on at once."""
        connection = self.connection
        if connection.peer_closed:
            # Between requests that is how connections end; a part of a head is not worth an answer.
            self.close()
            return False
        ring = connection.ring
        now_ns = self.listener.reactor.clock.now_ns()
        if ring is None or not ring.length:
            self._timer.move(now_ns + self.listener.idle_ns)
            return False
        # The deadline of a head stands from its first byte on, whatever drips in later.
        if not self._in_head:
            self._in_head = True
            self._timer.move(now_ns + self.listener.head_ns)
        if connection.transport.readable:
            return True
        connection.arm()
        if connection.error is not None:
            self.close()
        return False

    def _take_head(self, head: RequestHead) -> None:
        """A request with a body, or one that is not for us."""
        listener = self.listener
        if head.method == "CONNECT":
            self._refuse(501)
        elif listener.stream_body:
            if listener.max_body_bytes is not None and head.content_length > listener.max_body_bytes:
                self._refuse(413)
            else:
                self._handle(Request(head, self.peer, b"", self.tls))
        else:
            self._content = bytearray()
            self._move_timer(listener.body_ns)

    def _gather(self) -> bool:
        """Take what has come of a body; whether it is whole."""
        connection = self.connection
        content = self._content
        assert content is not None, "called while a body is being gathered"
        transport = connection.transport
        before = transport.bytes_in
        while not connection.gather_body(content, self.listener.gathered_bytes):
            came = transport.bytes_in - before
            before += came
            self._bytes_left -= came
            if connection.peer_closed or connection.error is not None:
                self.close()
                return False
            if came:
                self._move_timer(self.listener.body_ns)
            if connection.waiting:
                connection.release_ring()
                return False
            if self._bytes_left <= 0:
                self.listener.reactor.requeue(self, IN)
                return False
        return True

    # The handler

    def _handle(self, request: Request) -> None:
        exchange = self.exchange = HttpExchange(self, request)
        self._in_head = False
        try:
            self.listener.handler(exchange)
        except Exception as error:
            self._on_handler_error(exchange, error)
        except BaseException:
            self.close()
            raise
        if self.exchange is exchange:
            self._keep(exchange)

    def _keep(self, exchange: HttpExchange) -> None:
        """The handler will answer later: meanwhile bring the body, or learn whether the client goes away."""
        connection = self.connection
        self._out_before = connection.transport.bytes_out
        wants_body = not connection.body.complete
        if wants_body:
            if exchange.on_data is None:
                self._rest()
                return
            connection.want_body()
        if not connection.waiting:
            connection.watch()
        if connection.error is not None or (wants_body and connection.peer_closed):
            self.lose()
            return
        self._rest()
        ring = connection.ring
        if wants_body and ring is not None and ring.length:
            self._call(exchange.on_data, exchange)

    def _on_exchange_readable(self, exchange: HttpExchange) -> None:
        if self.connection.body.complete:
            self._keep(exchange)
            return
        self._rest()
        self._call(exchange.on_data, exchange)
        if self.exchange is exchange and self.connection.body.complete:
            self._keep(exchange)

    def _forget_body_error(self) -> None:
        self._body_error = None

    def read_body(self, view: memoryview) -> int:
        connection = self.connection
        max_bytes = self.listener.max_body_bytes
        awaited = self._awaits_body()
        bytes_in = connection.transport.bytes_in
        try:
            count = connection.read_body(view)
            if max_bytes is not None and connection.body.received > max_bytes:
                raise BodyTooLarge(f"a request body is longer than {max_bytes} bytes, the limit max_body_bytes")
        except TurbosockError as error:
            self._body_error = error
            if connection.peer_closed or connection.error is not None:
                self.close()
            else:
                self._rest()
            raise
        if count < 0:
            if awaited and connection.transport.bytes_in == bytes_in:
                # Asking again, every tick, say, gives the client no more time.
                connection.release_ring()
            else:
                self._rest()
        return count

    @property
    def body_complete(self) -> bool:
        return self.connection.body.complete

    # Answers

    def _begin_answer(self, status_code: int, headers: HeaderItems | None, length: int) -> bytes:
        """The serialised head of the exchange's answer, which is sent next; raises as `answer`."""
        if not isinstance(status_code, int) or not 200 <= status_code <= 999:
            raise InvalidOption(f"status_code: must be an int from 200 to 999, not {status_code!r}")
        connection = self.connection
        head = connection.head
        assert head is not None, "an answer belongs to a request"
        if connection.state.last or not connection.body.complete or length == UNTIL_CLOSE:
            persistence = CLOSES
        else:
            persistence = UNSAID if head.version >= 11 else PERSISTS
        raw, closes = self.listener.heads.head(status_code, headers, length, persistence)
        connection.begin_answer(last=closes)
        return raw

    def answer(
        self, status_code: int, headers: HeaderItems | None, length: int, data: bytes | memoryview, size: int
    ) -> Send:
        raw = self._begin_answer(status_code, headers, length)
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.started = exchange.done = True
        connection = self.connection
        connection.end_answer()
        if not data:
            connection.send(raw)
        elif size <= limits.JOINED_SEND_BYTES:
            connection.send(b"".join((raw, data)))
        elif connection.send_parts([raw, data], len(raw) + size):
            self.listener.reactor.requeue(self, OUT)
        if connection.unsent or connection.error is not None:
            return self._sent()
        self._answered()
        return Send.OK

    def start_answer(self, status_code: int, headers: HeaderItems | None, length: int) -> Send:
        raw = self._begin_answer(status_code, headers, length)
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.started = True
        self.connection.send(raw)
        return self._sent()

    def send_piece(self, data: bytes | memoryview, size: int, framing: int) -> Send:
        connection = self.connection
        if connection.unsent and connection.unsent + size > self.listener.max_unsent_bytes:
            return Send.FULL
        if framing == CHUNKED:
            prefix = chunk_prefix(size)
            if size <= limits.JOINED_SEND_BYTES:
                connection.send(b"".join((prefix, data, b"\r\n")))
                return self._sent()
            more = connection.send_parts([prefix, data, b"\r\n"], len(prefix) + size + 2)
        else:
            more = connection.send_parts([data], size)
        if more:
            self.listener.reactor.requeue(self, OUT)
        return self._sent()

    def end_answer(self, framing: int, trailers: Fields) -> Send:
        raw = (last_chunk(trailers) if trailers else LAST_CHUNK) if framing == CHUNKED else b""
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.done = True
        self.connection.end_answer()
        if raw:
            self.connection.send(raw)
        return self._sent()

    def abort(self) -> None:
        self.close()

    @property
    def _owner(self) -> MessageOwner:
        return self.listener

    def _open_websocket(self, exchange: HttpExchange, opened: WebSocketConnection, head: bytes) -> WebSocketConnection:
        connection = self.connection
        try:
            # The last step that may fail, for want of a timer.
            opened.begin(connection.transport)
        except LimitError:
            self.close()
            raise
        rest = connection.take_over()
        opened.push(head)
        opened.take(rest)
        self._phase = CLOSED
        self.mask = 0
        listener = self.listener
        listener.reactor.timers.cancel(self._timer)
        exchange.started = exchange.done = True
        self.exchange = None
        listener.change_to_websocket(self, opened)
        return opened

    def _sent(self) -> Send:
        """Something was handed to the connection; what became of it."""
        connection = self.connection
        if connection.error is not None:
            self.close()
            return Send.CLOSED
        if connection.unsent:
            if not self._stalled:
                # From here on only progress moves the deadline: more to send is none.
                self._stalled = True
                self._move_timer(self.listener.write_ns)
            return Send.OK
        exchange = self.exchange
        if exchange is not None and exchange.done:
            self._answered()
        return Send.OK

    def _after_send(self, more: bool) -> None:
        """The socket took something, or failed."""
        connection = self.connection
        if connection.error is not None:
            self.lose()
            return
        exchange = self.exchange
        if connection.unsent:
            if more:
                self.listener.reactor.requeue(self, OUT)
            self._move_timer(self.listener.write_ns)
        else:
            self._stalled = False
            if self._phase == ENDING:
                self._end()
                return
            if exchange is not None and exchange.done:
                self._answered()
                return
            self._rest()
        if exchange is not None and connection.unsent * 2 <= self.listener.max_unsent_bytes and exchange.take_room():
            self._call(exchange.on_writable, exchange)

    def _answered(self) -> None:
        """The present answer has left whole."""
        self.exchange = None
        connection = self.connection
        if not connection.finish():
            self._end()
        elif not self._serving:
            if connection.ring is not None:
                self.listener.reactor.requeue(self, IN)
            else:
                connection.arm()
            self._move_timer(self.listener.idle_ns)

    def _refuse(self, status_code: int) -> None:
        """Answer a request that no handler will: the connection's last words."""
        connection = self.connection
        listener = self.listener
        listener.refused += 1
        exchange = self.exchange
        self.exchange = None
        self._content = None
        content = status_text(status_code)
        raw, _ = listener.heads.head(status_code, PLAIN_TEXT, len(content), CLOSES)
        # Between requests the head that is remembered is that of another one.
        head = None if connection.state.state == IDLE else connection.head
        connection.state.end_after_this()
        self._phase = ENDING
        connection.send(raw if head is not None and head.method == "HEAD" else raw + content)
        if connection.error is not None:
            self.close()
        elif connection.unsent:
            self._stalled = True
            self._move_timer(listener.write_ns)
        else:
            self._end()
        if exchange is not None:
            exchange.closed = True
            self._call(exchange.on_closed, exchange)

    # The end

    def _end(self) -> None:
        """The last answer has left: close, or let the client read it first where it is still sending."""
        connection = self.connection
        try:
            parted = connection.transport.say_goodbye()
        except NetworkError:
            # It waits for room in a socket that cannot be watched.
            self.close()
            return
        if not parted:
            self._phase = ENDING
            self._move_timer(self.listener.write_ns)
            return
        ring = connection.ring
        unread = not connection.body.complete or (ring is not None and ring.length > 0)
        if not unread or connection.peer_closed or not connection.end_output():
            self.close()
            return
        self._phase = LINGERING
        self._lingering = Lingering()
        self._move_timer(LINGER_NS)
        self._linger()

    def _linger(self) -> None:
        assert self._lingering is not None, "the phase says so"
        left = self._lingering.turn(self.connection.discard)
        if left == OVER:
            self.close()
        elif left == MORE:
            self.listener.reactor.requeue(self, IN)

    def close_connection(self) -> None:
        self.close()

    def drain(self) -> None:
        """Take no more requests, and end when the one that there is has been answered."""
        if self._phase != OPEN:
            return
        if self.exchange is None and self._content is None:
            self.close()
        else:
            self.connection.state.end_after_this()

    def lose(self) -> None:
        """The connection is gone or given up, and the handler is told."""
        exchange = self.exchange
        self.close()
        if exchange is not None and exchange.closed:
            self._call(exchange.on_closed, exchange)

    def close(self) -> None:
        """Close the socket and give everything back; a second call does nothing."""
        if self._phase == CLOSED:
            return
        self._phase = CLOSED
        self.mask = 0
        exchange = self.exchange
        self.exchange = None
        self._content = None
        if exchange is not None and not exchange.done:
            exchange.closed = True
        self.listener.reactor.timers.cancel(self._timer)
        connection = self.connection
        connection.close()
        transport = connection.transport
        transport.receive_context.completed = None
        transport.send_context.completed = None
        self.listener.forget(self, transport)

    # Time

    def _move_timer(self, after_ns: int) -> None:
        self._timer.move(self.listener.reactor.clock.now_ns() + after_ns)

    def _rest(self) -> None:
        """While an exchange is open: only the client's waits have a deadline, the handler's has none."""
        connection = self.connection
        connection.release_ring()
        if not connection.unsent:
            self._move_timer(self.listener.body_ns if self._awaits_body() else self.listener.idle_ns)

    def _awaits_body(self) -> bool:
        """Whether the open exchange can only go on when the client sends more of its body."""
        connection = self.connection
        return not connection.body.complete and (connection.waiting or self._body_error is not None)

    def _look_for_client(self) -> None:
        """The handler has kept its exchange for long."""
        transport = self.connection.transport
        # Who has gone resets what it is sent. Where nothing was, the end of its stream is all there is to go by.
        silent = transport.bytes_out == self._out_before
        if transport.has_left(half=silent):
            self.lose()
            return
        self._out_before = transport.bytes_out
        # Who lost its power, or its network, sends no end.
        tune(transport.socket, keep_alive=True)
        self._move_timer(self.listener.idle_ns)
