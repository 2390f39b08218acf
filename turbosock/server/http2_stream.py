"""Http2ServerStream: one request on an HTTP/2 connection, from its head until its answer has left.

Phases: the head comes; its body is gathered, where the listener wants it whole; the handler has it; over. Or the
handler opens a WebSocket on it (RFC 8441), and it is a tunnel until that has ended. The engine
tells what came and when there is room; what the handler sends goes into the connection's output as far as the output
and the client's windows have room, and waits here otherwise. The object serves one request after another.

Invariants: the client is given credit for a body that was read, or gathered within bounds, and for no other; what came
of a body lies in the connection's ring for one step, and then in the backlog. A stream whose answer is whole is over:
what the client still sends of its request gets no credit, and is refused when the client has had time to read that
answer (RFC 9113 §8.1; some clients lose it otherwise). A client that keeps the stream waiting has a deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.connection.backlog import Backlog
from turbosock.connection.http2_connection import NO_RING
from turbosock.connection.http2_tunnel import Http2Tunnel
from turbosock.connection.lingering import LINGER_NS
from turbosock.connection.send import Send
from turbosock.connection.unsent import Unsent
from turbosock.errors import (
    BodyTooLarge,
    HeadTooLarge,
    Http2Error,
    InvalidOption,
    LimitError,
    Origin,
    TurbosockError,
)
from turbosock.protocol.http2.error_codes import CANCEL, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from turbosock.protocol.http2.request_fields import fields_of_answer, trailer_fields
from turbosock.protocol.http2.stream import ORDINARY, Stream
from turbosock.protocol.http2.stream_state import CLOSED
from turbosock.reactor.timers import NEVER
from turbosock.server.carrier import PLAIN_TEXT, Carrier, status_text
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.request import Request
from turbosock.server.response_heads import UNSAID

if TYPE_CHECKING:
    from turbosock.connection.message_connection import MessageConnection
    from turbosock.connection.message_strategy import MessageOwner
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.http1.headers import Field, HeaderItems, HeaderList
    from turbosock.protocol.http1.serialize import Fields
    from turbosock.protocol.http2.field_block import FieldBlock
    from turbosock.server.http2_session import Http2ServerSession
    from turbosock.server.websocket_settings import WebSocketSettings
    from turbosock.transport.transport import SaeaTransport

# Phases.
HEAD: Final = 0
GATHERING: Final = 1
HANDED: Final = 2
OVER: Final = 3
TUNNEL: Final = 4

_EMPTY: Final = memoryview(b"")
_CONTINUE: Final = ((b":status", b"100"),)


class Http2ServerStream(Carrier, Stream):
    """See the module.

    Args:
        session: whose stream it is.

    Attributes:
        session: the same.
        deadline_ns: when the client has kept this stream waiting for too long, or NEVER.
        websocket: what was opened on it, or None.
    """

    __slots__ = (
        "_awaits",
        "_backlog",
        "_body_error",
        "_content",
        "_continued",
        "_ends",
        "_head",
        "_lent",
        "_phase",
        "_read",
        "_root",
        "_start",
        "_trailers",
        "_tunnel",
        "_waiting",
        "deadline_ns",
        "exchange",
        "listener",
        "session",
        "websocket",
    )

    def __init__(self, session: Http2ServerSession) -> None:
        self.session = session
        self.listener = session.listener
        self.exchange: HttpExchange | None = None
        self._backlog: Backlog | None = None
        self._waiting: Unsent | None = None
        # Payload that lies in the session's ring, for the time of one step.
        self._root = _EMPTY
        self._start = 0
        self._lent = 0
        super().__init__()

    def begin(self, kind: int = ORDINARY) -> None:
        super().begin(kind)
        self.deadline_ns = NEVER
        self._phase = HEAD
        # The body being gathered; what was read of one that is streamed.
        self._content = bytearray()
        self._read = 0
        # Whether the handler waits for more of the body; what reading it raised.
        self._awaits = False
        self._body_error: TurbosockError | None = None
        # Whether the client need not be told to go on.
        self._continued = True
        # The head of the answer while it has no room, the trailers, and whether the answer was handed over whole.
        self._head: bytes | None = None
        self._trailers: list[Field] | None = None
        self._ends = False
        self._tunnel: Http2Tunnel | None = None
        self.websocket: WebSocketConnection | None = None

    @property
    def kept(self) -> int:
        """Bytes of the body that have been gathered."""
        return len(self._content)

    @property
    def unsent(self) -> int:
        """Bytes of the answer's body that wait for room."""
        waiting = self._waiting
        return 0 if waiting is None else waiting.length

    @property
    def transport(self) -> SaeaTransport:
        return self.session.transport

    # What the engine tells

    def take_request_fields(self, block: FieldBlock, end: bool) -> bool:
        try:
            told = super().take_request_fields(block, end)
        except HeadTooLarge:
            if self.request is not None:
                raise
            self._phase = OVER
            self.listener.refused += 1
            self._send_own(431, b"")
            return False
        request = self.request
        if request is not None and request.upgrade is not None and self.listener.messages is None:
            raise Http2Error(":protocol, which was not permitted", PROTOCOL_ERROR, code="malformed")
        return told

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        if self._tunnel is not None:
            self._tunnel.took(root, start, count)
            return
        self._root = root
        self._start = start
        self._lent = count

    def on_news(self) -> None:
        phase = self._phase
        if phase == TUNNEL:
            assert self._tunnel is not None, "the phase says so"
            self._tunnel.news()
            return
        if phase == OVER:
            self._lent = 0
            if self.state == CLOSED:
                self._leave()
            return
        if self.failure is not None:
            self._lose()
        elif phase == HEAD:
            self._take_head()
        elif phase == GATHERING:
            self._gather()
        elif self._awaits:
            self._bring()
        lent = self._lent
        if lent:
            self._lent = 0
            exchange = self.exchange
            if self._phase == HANDED and exchange is not None and not exchange.done:
                backlog = self._backlog
                if backlog is None:
                    backlog = self._backlog = Backlog(self.session.rings)
                backlog.append(self._root[self._start : self._start + lent], self.listener)

    def on_room(self) -> None:
        tunnel = self._tunnel
        if tunnel is not None:
            if tunnel.held and self.state != CLOSED:
                self._push()
                tunnel.held = self._head is not None
            tunnel.room()
            return
        before = self.unsent
        self._push()
        exchange = self.exchange
        if exchange is None:
            return
        unsent = self.unsent
        if unsent < before:
            self._rest()
        if unsent * 2 <= self.listener.max_unsent_bytes and exchange.take_room():
            self._call(exchange.on_writable, exchange)

    # Requests

    def _take_head(self) -> None:
        """The head is here, and perhaps some of the body."""
        head = self.request
        assert head is not None, "the engine says so"
        listener = self.listener
        listener.requests += 1
        session = self.session
        if head.method == "CONNECT":
            if head.upgrade == "websocket":
                # It is the handler's to open it, or to refuse; there is no body to be gathered.
                self._handle(Request(head, session.peer, b"", session.tls))
            else:
                self._refuse(501)
        elif self.ended and not self._lent:
            self._handle(Request(head, session.peer, b"", session.tls))
        else:
            self._continued = not head.expect_continue or self._lent > 0
            if listener.stream_body:
                if listener.max_body_bytes is not None and head.content_length > listener.max_body_bytes:
                    self._refuse(413)
                else:
                    self._handle(Request(head, session.peer, b"", session.tls))
            elif head.content_length > listener.gathered_bytes:
                self._refuse(413)
            else:
                self._phase = GATHERING
                session.gathering[self] = 0
                self._gather()

    def _gather(self) -> None:
        """Take what has come of a body that the handler gets whole."""
        content = self._content
        lent = self._lent
        session = self.session
        if lent:
            self._lent = 0
            if len(content) + lent > self.listener.gathered_bytes:
                self._refuse(413)
                return
            content += self._root[self._start : self._start + lent]
            session.gathered(self, lent)
        if self.ended:
            session.gathering_over(self)
            self.deadline_ns = NEVER
            self._content = bytearray()
            head = self.request
            assert head is not None, "a body comes after its head"
            self._handle(Request(head, session.peer, bytes(content), session.tls))
            return
        self._ask_to_continue()
        if session.gathering[self]:
            # It waits for the others, not for its client.
            self.deadline_ns = NEVER
        else:
            session.expect(self, self.listener.body_ns)

    def _ask_to_continue(self) -> None:
        """Tell a client that waits with its body to send it (RFC 9110 §10.1.1)."""
        if self._continued or self._lent or self.ended:
            return
        session = self.session
        session.lend_output()
        engine = session.engine
        if not engine.writable:
            engine.wait_for_room(self)
            return
        self._continued = True
        engine.send_headers(self, engine.encoder.encode(_CONTINUE), False)
        session.flush_soon()

    def _handle(self, request: Request) -> None:
        self._phase = HANDED
        exchange = self.exchange = HttpExchange(self, request)
        try:
            self.listener.handler(exchange)
        except Exception as error:
            self._on_handler_error(exchange, error)
        except BaseException:
            self.close_connection()
            raise
        if self.exchange is exchange and exchange.on_data is not None and not self.body_complete:
            self._ask_to_continue()
            if self._lent:
                self._call(exchange.on_data, exchange)
            elif not self._awaits:
                self._awaits = True
                self._rest()

    def _bring(self) -> None:
        """The handler has waited for this."""
        self._awaits = False
        self._rest()
        exchange = self.exchange
        if exchange is not None:
            self._call(exchange.on_data, exchange)

    # The body

    @property
    def body_complete(self) -> bool:
        backlog = self._backlog
        return self.ended and not self._lent and (backlog is None or not backlog.length)

    def read_body(self, view: memoryview) -> int:
        self._ask_to_continue()
        lent = self._lent
        backlog = self._backlog
        if backlog is not None and backlog.length:
            count = backlog.take(view)
        elif lent:
            count = min(lent, len(view))
            start = self._start
            view[:count] = self._root[start : start + count]
            self._start = start + count
            self._lent = lent - count
        elif self.ended:
            return 0
        else:
            if not self._awaits:
                # Asking again, every tick, say, gives the client no more time.
                self._awaits = True
                self._rest()
            return -1
        self._read += count
        max_bytes = self.listener.max_body_bytes
        if max_bytes is not None and self._read > max_bytes:
            error = BodyTooLarge(f"a request body is longer than {max_bytes} bytes, the limit max_body_bytes")
            self._body_error = error
            self.session.expect(self, self.listener.body_ns)
            raise error
        self.give_credit(count)
        return count

    def give_credit(self, count: int) -> None:
        """The memory of `count` bytes is free, or there is more."""
        if not self.ended:
            self.session.engine.consumed(self, count)
            self.session.flush_soon()

    def _forget_body_error(self) -> None:
        self._body_error = None

    # Answers

    def answer(
        self, status_code: int, headers: HeaderItems | None, length: int, data: bytes | memoryview, size: int
    ) -> Send:
        raw = self._answer_head(status_code, headers, length)
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.started = exchange.done = True
        self._ends = True
        session = self.session
        engine = session.engine
        if engine.out is NO_RING:
            session.lend_output()
        if not engine.writable or self.waits:
            self._head = raw
            if data:
                self._keep(data, 0)
            self._wait()
        else:
            # As _push(), of the usual answer.
            block = engine.encoder.cached.get(raw)
            if block is None:
                block = engine.encoder.encode(fields_of_answer(raw), raw)
            if not data:
                engine.send_headers(self, block, True)
                self._finish()
            else:
                engine.send_headers(self, block, False)
                count = engine.send_data(self, memoryview(data), True)
                if count == len(data):
                    self._finish()
                else:
                    self._keep(data, count if count > 0 else 0)
                    self._push()
        session.flush_soon()
        return Send.OK

    def start_answer(self, status_code: int, headers: HeaderItems | None, length: int) -> Send:
        self._head = self._answer_head(status_code, headers, length)
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.started = True
        self._push()
        self.session.flush_soon()
        return Send.OK

    def _answer_head(self, status_code: int, headers: HeaderItems | None, length: int) -> bytes:
        """The head of the exchange's answer, as HTTP/1 has it; raises as `answer`."""
        if not isinstance(status_code, int) or not 200 <= status_code <= 999:
            raise InvalidOption(f"status_code: must be an int from 200 to 999, not {status_code!r}")
        request = self.request
        if status_code < 300 and request is not None and request.upgrade is not None:
            # To an extended CONNECT it would say that the WebSocket is open.
            self.listener.refused += 1
            status_code = 400
        raw, closes = self.listener.heads.head(status_code, headers, length, UNSAID)
        if closes:
            self.session.drain()
        self._continued = True
        return raw

    def send_piece(self, data: bytes | memoryview, size: int, framing: int) -> Send:
        unsent = self.unsent
        if unsent and unsent + size > self.listener.max_unsent_bytes:
            return Send.FULL
        count = 0
        if not self.waits:
            session = self.session
            session.lend_output()
            count = session.engine.send_data(self, memoryview(data), False)
            session.flush_soon()
        if count < size:
            self._keep(data, count if count > 0 else 0)
            if not self.waits:
                self._push()
        return Send.OK

    def end_answer(self, framing: int, trailers: Fields) -> Send:
        if trailers:
            self._trailers = trailer_fields(trailers)
        exchange = self.exchange
        assert exchange is not None, "it asks for this"
        exchange.done = True
        self._ends = True
        if not self.waits:
            self._push()
        self.session.flush_soon()
        return Send.OK

    def upgrade_websocket(
        self, exchange: HttpExchange, settings: WebSocketSettings, headers: HeaderList
    ) -> WebSocketConnection | None:
        listener = self.listener
        if listener.messages is not None and exchange.request.head.upgrade is None:
            listener.refused += 1
            exchange.respond(400, PLAIN_TEXT, b"over HTTP/2 a WebSocket is opened by an extended CONNECT (RFC 8441)\n")
            return None
        return super().upgrade_websocket(exchange, settings, headers)

    @property
    def _owner(self) -> MessageOwner:
        return self

    def _open_websocket(self, exchange: HttpExchange, opened: WebSocketConnection, head: bytes) -> WebSocketConnection:
        tunnel = Http2Tunnel(self.session, self, self._backlog, self._tunnel_closed)
        if self._lent:
            tunnel.took(self._root, self._start, self._lent)
            self._lent = 0
        # What it is told from here on is the tunnel's.
        self._backlog = None
        self._tunnel = tunnel
        self.websocket = opened
        self._phase = TUNNEL
        self._continued = True
        self._awaits = False
        self.deadline_ns = NEVER
        exchange.started = exchange.done = True
        self.exchange = None
        try:
            opened.begin(tunnel)
        except LimitError:
            tunnel.close()
            raise
        self._head = head
        tunnel.held = True
        self._push()
        tunnel.held = self._head is not None
        # What lies in the session's ring goes where it can wait, or to the connection.
        tunnel.news()
        self.session.flush_soon()
        return opened

    def _tunnel_closed(self) -> None:
        """The WebSocket has ended, and the stream with it."""
        self._tunnel = None
        self.websocket = None
        self._let_go()

    def forget(self, session: MessageConnection, transport: SaeaTransport | None) -> None:
        """For the WebSocket: it has ended; its bytes are the session's."""

    def count_timeout(self) -> None:
        """For the WebSocket: it was given up."""
        self.listener.count_timeout()

    def _keep(self, data: bytes | memoryview, start: int) -> None:
        """Let what of `data` lies behind `start` wait for room."""
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = Unsent()
        waiting.append(data, start)

    def _push(self) -> None:
        """Put into the output what there is room for; it ends the stream, or waits for more room."""
        session = self.session
        session.lend_output()
        engine = session.engine
        head = self._head
        if head is not None:
            if not engine.writable:
                self._wait()
                return
            self._head = None
            block = engine.encoder.cached.get(head)
            if block is None:
                block = engine.encoder.encode(fields_of_answer(head), head)
            whole = self._ends and self._trailers is None and not self.unsent
            engine.send_headers(self, block, whole)
            if whole:
                self._finish()
                return
        elif not self._continued:
            self._ask_to_continue()
            return
        waiting = self._waiting
        while waiting is not None and waiting.length:
            view = waiting.first()
            last = self._ends and self._trailers is None and len(view) == waiting.length
            count = engine.send_data(self, view, last)
            del view
            if count < 0:
                self._wait()
                return
            waiting.skip(count)
            if waiting.length and engine.crowded:
                # One frame at a time, where others wait as well.
                self._wait()
                return
            if last and not waiting.length:
                self._finish()
                return
        if not self._ends:
            return
        if self._trailers is not None:
            if not engine.writable:
                self._wait()
                return
            engine.send_headers(self, engine.encoder.encode(self._trailers), True)
        elif engine.send_data(self, _EMPTY, True) < 0:
            self._wait()
            return
        self._finish()

    def _wait(self) -> None:
        """Stand in line for room, with a deadline from the first moment on; only progress moves it."""
        self.session.engine.wait_for_room(self)
        if self.deadline_ns == NEVER or self._awaits:
            self.session.expect(self, self.listener.write_ns)

    def _send_own(self, status_code: int, content: bytes) -> None:
        """Send an answer of the listener's own, in the place of what waits."""
        raw, _ = self.listener.heads.head(status_code, PLAIN_TEXT, len(content), UNSAID)
        head = self.request
        if self._waiting is not None:
            self._waiting.clear()
        if content and (head is None or head.method != "HEAD"):
            self._keep(content, 0)
        self._head = raw
        self._continued = True
        self._ends = True
        if not self.waits:
            self._push()
        self.session.flush_soon()

    def _refuse(self, status_code: int) -> None:
        """Answer a request that no handler will."""
        exchange = self.exchange
        self.exchange = None
        self._leave_gathering()
        self._phase = OVER
        self._lent = 0
        self.listener.refused += 1
        self.deadline_ns = NEVER
        self._send_own(status_code, status_text(status_code))
        if exchange is not None:
            exchange.closed = True
            self._call(exchange.on_closed, exchange)

    # The end

    def _finish(self) -> None:
        """The answer is in the output, whole."""
        self._phase = OVER
        self.exchange = None
        self._lent = 0
        self.deadline_ns = NEVER
        if self.state == CLOSED:
            self._leave()
        elif self.request is None:
            self._refuse_rest()
        else:
            self.session.expect(self, LINGER_NS)

    def _refuse_rest(self) -> None:
        """The rest of the request is not wanted any more."""
        self.session.engine.reset(self, NO_ERROR)
        self._leave()

    def _leave(self) -> None:
        """The stream is over on both sides."""
        self.deadline_ns = NEVER
        if self._waiting is not None:
            self._waiting.clear()
        if self._backlog is not None:
            self._backlog.clear()
        self.session.over(self)

    def _lose(self) -> None:
        """The client gave the stream up, or broke it; or the connection is over."""
        failure = self.failure
        if failure is not None and failure.origin is Origin.PROTOCOL and not self.session.failing:
            self.listener.refused += 1
        exchange = self.exchange
        self._let_go()
        if exchange is not None and not exchange.done:
            exchange.closed = True
            if self.session.tells:
                self._call(exchange.on_closed, exchange)

    def _let_go(self) -> None:
        """Give back what is held; the stream is closed."""
        self._leave_gathering()
        self._phase = OVER
        self.exchange = None
        self._lent = 0
        self._head = None
        self.deadline_ns = NEVER
        if self._waiting is not None:
            self._waiting.clear()
        if self._backlog is not None:
            self._backlog.clear()

    def _leave_gathering(self) -> None:
        if self._phase == GATHERING:
            self.session.gathering_over(self)
            self._content = bytearray()

    def _reset(self, error_code: int) -> None:
        exchange = self.exchange
        self.session.lend_output()
        self.session.engine.reset(self, error_code)
        self.session.flush_soon()
        self._let_go()
        if exchange is not None and not exchange.done:
            exchange.closed = True

    def abort(self) -> None:
        self._reset(INTERNAL_ERROR)

    def close_connection(self) -> None:
        self.session.close()

    # Time

    def _rest(self) -> None:
        """Set the deadline of what is waited for now: room, or the body; the handler has none."""
        if self.waits:
            self.session.expect(self, self.listener.write_ns)
        elif self._awaits:
            self.session.expect(self, self.listener.body_ns)
        else:
            self.deadline_ns = NEVER

    def on_deadline(self) -> None:
        """The client kept this stream waiting for too long."""
        self.deadline_ns = NEVER
        if self.waits:
            if self.send_window > 0 and self.session.engine.send_window > 0:
                # It took of others what it could; the session judges whether that was enough.
                self._rest()
                return
            self.listener.timeouts += 1
            exchange = self.exchange
            self._reset(CANCEL)
            if exchange is not None and exchange.closed:
                self._call(exchange.on_closed, exchange)
            return
        if self._phase == OVER:
            self.session.lend_output()
            self._refuse_rest()
            return
        self.listener.timeouts += 1
        exchange = self.exchange
        if exchange is None or not exchange.started:
            self._refuse(408)
            return
        self._reset(CANCEL)
        if exchange.closed:
            self._call(exchange.on_closed, exchange)
