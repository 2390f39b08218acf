"""Http2ServerSession: one accepted HTTP/2 connection, from the client's preface to its end.

Phases: open; ending, while the last words leave; lingering, while the client is given time to read them (RFC 9113
§5.4.1, as in HTTP/1); closed. A step receives, takes the frames in passes, in which the streams call the handler, and
sends what all that has put into the output. What handlers answer between two steps leaves in one send as well: for that
the session stands in the reactor's line. A step takes MAX_HTTP2_REQUESTS_PER_STEP requests and a turn's share of bytes
in either direction, then the session goes to the back of that line.

One timer serves all waits: a client that takes nothing of what it is sent, a frame or a header section that does not
become whole, a connection without requests, the deadlines of the streams. While handlers have exchanges, their client
is probed by the system, as in HTTP/1.

A client that breaks the rules gets a GOAWAY that says which, and its connection ends; floods end with
ENHANCE_YOUR_CALM. A connection that is drained says GOAWAY, finishes the requests it has and ends.

Invariants: handlers and callbacks run only inside the reactor's steps and timers; memory for frames is held only while
there are bytes in it; a closed session is called by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.http2_connection import NO_RING, Http2Connection
from turbosock.connection.lingering import LINGER_NS, MORE, OVER, Lingering
from turbosock.errors import ConnectionClosed, Http2Error, NetworkError, TurbosockError
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.error_codes import ENHANCE_YOUR_CALM
from turbosock.protocol.http2.frames import DATA
from turbosock.reactor.context import PENDING
from turbosock.reactor.poller import IN, OUT, READABLE
from turbosock.reactor.sockets import tune
from turbosock.reactor.timers import NEVER
from turbosock.server.http2_stream import Http2ServerStream

if TYPE_CHECKING:
    from turbosock.connection.receive_ring import ReceiveRing
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.http2.stream import Stream
    from turbosock.reactor.context import IOContext
    from turbosock.server.http_listener import HttpListener
    from turbosock.server.request import PeerAddress, RequestTls
    from turbosock.transport.transport import SaeaTransport

OPEN: Final = 0
ENDING: Final = 1
LINGERING: Final = 2
CLOSED: Final = 3

# Streams whose requests are over, kept for the next ones.
_MAX_SPARE_STREAMS: Final = 32


class Http2ServerSession(Http2Connection):
    """See the module.

    Args:
        listener: whose it is.
        transport: the accepted connection, its TLS handshake done; the session's from here on.
        peer: the client's address.
        tls: what its requests are told of TLS; None without.
        ring: what came already; the session's.

    Attributes:
        tells: whether callbacks are told that their exchange is lost.
        failing: whether the connection broke, and its streams with it.
        gathering: streams whose bodies are being gathered, oldest first, with the credit that each is owed.
        mask, queued: the reactor's.
    """

    __slots__ = (
        "_busy",
        "_frames",
        "_gathered",
        "_head_of",
        "_idle_due_ns",
        "_last_stream",
        "_lingering",
        "_look_due_ns",
        "_out_before",
        "_phase",
        "_requests_left",
        "_spare",
        "_stall_due_ns",
        "_stepping",
        "_streams_due_ns",
        "_timer",
        "_unfinished_due_ns",
        "failing",
        "gathering",
        "listener",
        "mask",
        "peer",
        "queued",
        "tells",
        "tls",
    )

    def __init__(
        self,
        listener: HttpListener,
        transport: SaeaTransport,
        peer: PeerAddress,
        tls: RequestTls | None = None,
        ring: ReceiveRing | None = None,
    ) -> None:
        engine = Engine(
            NO_RING,
            client=False,
            accept=self._accept,
            initial_window=listener.http2.initial_window_bytes,
            max_streams=listener.http2.max_streams,
            max_list_bytes=listener.max_head_bytes,
            max_fields=listener.max_head_fields,
        )
        # Where a handler can open WebSockets on its streams (RFC 8441 §3).
        engine.local.enable_connect_protocol = listener.messages is not None
        reactor = listener.reactor
        now_ns = reactor.clock.now_ns()
        self._timer = reactor.timers.idle(self)
        super().__init__(transport, listener.rings, engine)
        self.origin = listener
        self.listener = listener
        self.peer = peer
        self.tls = tls
        self.mask = 0
        self.queued = False
        self.ring = ring
        self.tells = True
        self.failing = False
        self.gathering: dict[Http2ServerStream, int] = {}
        self._gathered = 0
        self._phase = OPEN
        self._stepping = False
        self._requests_left = 0
        self._spare: list[Http2ServerStream] = []
        self._lingering: Lingering | None = None
        # What the timer waits for, each in its own time.
        self._idle_due_ns = now_ns + listener.idle_ns
        self._look_due_ns = NEVER
        self._stall_due_ns = NEVER
        self._streams_due_ns = NEVER
        self._unfinished_due_ns = NEVER
        # By what progress is seen: bytes that had left, frames that had come, the header section that is not whole, the
        # last request, and whether there were streams.
        self._out_before = 0.0
        self._frames = 0
        self._head_of = 0
        self._last_stream = 0
        self._busy = False
        # Armed for as long as the session lives; as in HttpSession.
        self._timer.move(now_ns + listener.idle_ns)
        self.begin()
        # Its first step takes what is here already, and watches for more.
        reactor.requeue(self, IN)

    @property
    def gone(self) -> bool:
        return self.closed

    # Streams

    def _accept(self, stream_id: int) -> Stream | None:
        self._requests_left -= 1
        if self._requests_left <= 0:
            self.engine.paused = True
        if not self._spare:
            return Http2ServerStream(self)
        stream = self._spare.pop()
        stream.begin()
        return stream

    def over(self, stream: Http2ServerStream) -> None:
        """For streams: one serves nobody any more."""
        if len(self._spare) < _MAX_SPARE_STREAMS:
            self._spare.append(stream)

    def gathered(self, stream: Http2ServerStream, count: int) -> None:
        """For streams: so much more of a body is kept; its client gets credit unless there is too much of all of them.

        The oldest always does, so that they become whole one after another.
        """
        self._gathered += count
        owed = self.gathering[stream] = self.gathering[stream] + count
        if self._gathered <= limits.MAX_HTTP2_GATHERED_BYTES or next(iter(self.gathering)) is stream:
            self.gathering[stream] = 0
            stream.give_credit(owed)

    def gathering_over(self, stream: Http2ServerStream) -> None:
        """For streams: a body is whole, or given up; others get the credit that they are owed."""
        self._gathered -= stream.kept
        del self.gathering[stream]
        for other, owed in self.gathering.items():
            if owed:
                self.gathering[other] = 0
                other.give_credit(owed)
                self.expect(other, self.listener.body_ns)
            if self._gathered > limits.MAX_HTTP2_GATHERED_BYTES:
                return

    def expect(self, stream: Http2ServerStream, after_ns: int) -> None:
        """For streams: the client has so long from now on."""
        due_ns = self.listener.reactor.clock.now_ns() + after_ns
        stream.deadline_ns = due_ns
        if due_ns < self._streams_due_ns:
            self._streams_due_ns = due_ns
            if due_ns < self._timer.deadline_ns:
                self._timer.move(due_ns)

    # What the reactor calls

    def on_received(self, context: IOContext) -> None:
        self._step(reading=True)

    def on_sent(self, context: IOContext) -> None:
        self.engine.pinned = False
        self._stepping = True
        try:
            self._after_send(context)
        except BaseException as error:
            self.break_off(error)
            raise
        finally:
            self._stepping = False
        self._step(reading=False)

    def on_ready(self, mask: int) -> None:
        """It is this session's turn in the line."""
        self._step(reading=mask & READABLE != 0)

    def flush_soon(self) -> None:
        if not self._stepping and not self.queued and not self.closed:
            self.listener.reactor.requeue(self, OUT)

    def _step(self, *, reading: bool) -> None:
        """Receive, have the frames handled, and send."""
        if self.closed:
            return
        if self._phase == LINGERING:
            self._linger()
            return
        self._stepping = True
        try:
            if reading and self._phase == OPEN:
                self._requests_left = limits.MAX_HTTP2_REQUESTS_PER_STEP
                self.engine.paused = False
                ring = self.ring
                if ring is not None and ring.length:
                    self.take_frames()
                if not self.closed and self._phase == OPEN and not self.engine.paused:
                    self.receive()
            more = self.flush(limits.TURN_QUANTUM_BYTES)
        finally:
            self._stepping = False
        if not self.closed:
            self._settle(more)

    def _settle(self, more: bool) -> None:
        """After a step: end what is over, give memory back, and wait for what comes next."""
        engine = self.engine
        reactor = self.listener.reactor
        if more:
            reactor.requeue(self, OUT)
        if self._phase == OPEN and not engine.streams and (engine.closing or engine.exhausted):
            self._phase = ENDING
            engine.close()
            more = self.flush(limits.TURN_QUANTUM_BYTES)
            if self.closed:
                return
        if self._phase == ENDING and not engine.unsent:
            self._part()
            return
        if engine.paused and self._phase == OPEN:
            reactor.requeue(self, IN)
        self.release_memory()
        if self._phase == OPEN:
            self._watch()
        if not self.closed:
            self._set_timer()

    def _watch(self) -> None:
        """Be told of what comes next, unless frames wait here for room in the output, or for their turn."""
        transport = self.transport
        if transport.receive_context.state == PENDING:
            return
        try:
            if not transport.readable:
                transport.arm()
            elif self.ring is None or self.ring.length < self.ring.capacity:
                transport.readable = False
                transport.arm()
                self.listener.reactor.requeue(transport, IN)
        except TurbosockError as error:
            # The system refuses to watch the socket.
            self.fail(error)

    def took_frames(self) -> None:
        """The step goes on by itself."""

    # Time

    def _set_timer(self) -> None:
        """Wait for whatever is due first."""
        listener = self.listener
        engine = self.engine
        transport = self.transport
        now_ns = listener.reactor.clock.now_ns()
        if transport.send_context.state == PENDING:
            # While the client takes nothing, nothing else is asked of it.
            if self._stall_due_ns == NEVER or transport.bytes_out != self._out_before:
                self._stall_due_ns = now_ns + listener.write_ns
                self._out_before = transport.bytes_out
            due_ns = self._stall_due_ns
        else:
            self._stall_due_ns = NEVER
            due_ns = self._unfinished_due(now_ns)
        if engine.streams:
            if not self._busy:
                self._busy = True
                self._look_due_ns = now_ns + listener.idle_ns
            due_ns = min(due_ns, self._look_due_ns, self._streams_due_ns)
        else:
            if self._busy or engine.last_stream != self._last_stream:
                self._busy = False
                self._last_stream = engine.last_stream
                self._idle_due_ns = now_ns + listener.idle_ns
                self._streams_due_ns = NEVER
            due_ns = min(due_ns, self._idle_due_ns)
        if due_ns != self._timer.deadline_ns:
            self._timer.move(due_ns)

    def _unfinished_due(self, now_ns: int) -> int:
        """When a frame, or a header section, must be whole; its time began with its first byte."""
        engine = self.engine
        listener = self.listener
        ring = self.ring
        head_of = engine.unfinished_head
        if head_of:
            if head_of != self._head_of:
                self._unfinished_due_ns = now_ns + listener.head_ns
        elif ring is None or not ring.length or engine.paused:
            self._unfinished_due_ns = NEVER
        elif self._unfinished_due_ns == NEVER or engine.frames != self._frames or self._head_of:
            of_body = ring.length > 3 and ring.storage[ring.start + 3] == DATA
            self._unfinished_due_ns = now_ns + (listener.body_ns if of_body else listener.head_ns)
        self._head_of = head_of
        self._frames = engine.frames
        return self._unfinished_due_ns

    def on_timer(self, now_ns: int) -> None:
        """A wait took too long, or a deadline of a stream has moved."""
        listener = self.listener
        if self._phase == LINGERING:
            self._leave()
            return
        if self._phase == ENDING or now_ns >= self._stall_due_ns:
            listener.timeouts += 1
            self.fail(ConnectionClosed("the client took nothing of what it was sent", code="write_timeout"))
            return
        if self._stall_due_ns == NEVER and now_ns >= self._unfinished_due_ns:
            listener.timeouts += 1
            self.lend_output()
            self.engine.close(ENHANCE_YOUR_CALM)
            self._break_off(Http2Error("a frame, or a header section, did not become whole in time", ENHANCE_YOUR_CALM))
        elif not self.engine.streams:
            if now_ns >= self._idle_due_ns:
                listener.timeouts += 1
                self.drain()
        else:
            self._look_at_streams(now_ns)
        self._step(reading=False)

    def _look_at_streams(self, now_ns: int) -> None:
        streams = self.engine.streams
        self._stepping = True
        try:
            if now_ns >= self._streams_due_ns:
                self._streams_due_ns = NEVER
                for stream in tuple(streams.values()):
                    assert isinstance(stream, Http2ServerStream), "all streams here are"
                    if stream.deadline_ns <= now_ns:
                        stream.on_deadline()
                    if self.closed:
                        return
                    if stream.deadline_ns < self._streams_due_ns:
                        self._streams_due_ns = stream.deadline_ns
        finally:
            self._stepping = False
        if now_ns >= self._look_due_ns:
            self._look_due_ns = now_ns + self.listener.idle_ns
            # Who lost its power, or its network, sends no end.
            tune(self.transport.socket, keep_alive=True)

    # The end

    def drain(self) -> None:
        """Take no more requests, and end when those that there are have been answered."""
        if self.closed or self._phase != OPEN:
            return
        self.lend_output()
        self.engine.close()
        for websocket in self._websockets():
            websocket.drain()
        self.flush_soon()

    def _websockets(self) -> list[WebSocketConnection]:
        """What handlers have opened on its streams."""
        found = []
        for stream in self.engine.streams.values():
            assert isinstance(stream, Http2ServerStream), "all streams here are"
            if stream.websocket is not None:
                found.append(stream.websocket)
        return found

    def _say_why(self, error: Http2Error) -> None:
        self.listener.refused += 1
        if error.error_code == ENHANCE_YOUR_CALM:
            self.listener.floods += 1
        self._break_off(error)

    def _break_off(self, error: Http2Error) -> None:
        """End the connection for what the client did, or did not do; the GOAWAY in the output leaves with this step."""
        ring = self.ring
        if ring is not None:
            # What it said after that, or goes on to say, does not count.
            ring.clear()
        self.engine.paused = True
        self._phase = ENDING
        self.failing = True
        self.engine.end_of_stream(error)

    def break_off(self, error: BaseException) -> None:
        self.tells = False
        super().break_off(error)
        self.tells = True

    def fail(self, error: TurbosockError | None) -> None:
        self.failing = True
        super().fail(error)

    def close(self) -> None:
        self.tells = False
        if self.transport.fd < 0:
            # In the child of a fork: the client is the parent's.
            self.fail(None)
        else:
            for websocket in self._websockets():
                # As far as there is room; nothing is waited for.
                websocket.drain()
                websocket.flush()
            super().close()

    def _part(self) -> None:
        """The last words have left: close, or let the client read them first."""
        transport = self.transport
        try:
            parted = transport.say_goodbye()
        except NetworkError:
            # It waits for room in a socket that cannot be watched.
            self._leave()
            return
        if not parted:
            self._timer.move(self.listener.reactor.clock.now_ns() + self.listener.write_ns)
            return
        if not transport.end_output():
            self._leave()
            return
        self._phase = LINGERING
        self._lingering = Lingering()
        self._timer.move(self.listener.reactor.clock.now_ns() + LINGER_NS)
        self._linger()

    def _linger(self) -> None:
        assert self._lingering is not None, "the phase says so"
        left = self._lingering.turn(self._discard)
        if left == OVER:
            self._leave()
        elif left == MORE:
            self.listener.reactor.requeue(self, IN)

    def _discard(self) -> int:
        """Receive once, and throw it away; the answer is that of `Transport.discard`."""
        transport = self.transport
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        ring = self.ring
        if ring is None:
            ring = self._lend_ring()
        ring.clear()
        count = transport.discard(ring.root)
        self.release_memory()
        if count > 0:
            self.listener.reactor.bytes_in += count
        elif count < 0:
            transport.readable = False
            try:
                transport.arm()
            except TurbosockError:
                return 0
        return count

    def _leave(self) -> None:
        """Close what nothing more is to be said on."""
        self.failing = True
        self.fail(None)

    def _end(self) -> None:
        self._phase = CLOSED
        self.mask = 0
        self.listener.reactor.timers.cancel(self._timer)
        super()._end()
        self._spare.clear()
        transport = self.transport
        transport.receive_context.completed = None
        transport.send_context.completed = None
        self.listener.forget(self, transport)
