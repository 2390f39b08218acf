"""HTTP/2 inside a Loop: a session whose contexts complete inside `Loop.poll()`, and the streams of its exchanges.

One readiness is one receive, or a few up to the quantum of a turn, and one pass over the frames that came, in which
each exchange takes its step. What the exchanges of a turn put into the output leaves in one send: the session stands in
the reactor's line for that.

Invariants: everything here runs on the loop's thread; a payload is lent to its exchange where it lies, and what the
exchange leaves goes into the backlog before the next frame is looked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.lent_body import LentBody
from turbosock.client.pooled_steps import PooledSteps
from turbosock.connection.http2_session import Http2Session
from turbosock.connection.http2_stream import Http2Stream
from turbosock.errors import ConnectionClosed, Origin, TurbosockError, WriteError
from turbosock.protocol.http2.frames import HEADER_BYTES
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.context import COMPLETED, PENDING
from turbosock.reactor.poller import IN, OUT, READABLE

if TYPE_CHECKING:
    from turbosock.client.loop_http2_opening import LoopHttp2OpeningStream
    from turbosock.client.loop_services import LoopServices
    from turbosock.reactor.context import IOContext
    from turbosock.transport.transport import SaeaTransport

_PING_NS = int(limits.HTTP2_PING_S * NS_PER_S)


class LoopHttp2Stream(PooledSteps, Http2Stream):
    """A stream whose exchange is stepped when something of it came."""

    __slots__ = ("_frame", "_frames_behind", "_lent", "_root", "_start", "queued", "timer")

    takes_runs = True
    session: LoopHttp2Session
    # Whether something else than an exchange has it.
    tunnelled = False

    def __init__(self, session: LoopHttp2Session) -> None:
        super().__init__(session)
        self.timer = session.services.reactor.timers.idle(self)
        # Payload that lies in the session's ring, for the time of one step: what is left of a frame, and how many
        # whole ones of what length lie behind it, each behind its header.
        self._root = memoryview(b"")
        self._start = 0
        self._lent = 0
        self._frame = 0
        self._frames_behind = 0
        # Whether the exchange asked for a step of its own.
        self.queued = False

    @property
    def unread(self) -> bool:
        """Whether bytes wait here for memory, for room or for their turn."""
        return self.backlog.length > 0 or self.queued

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        if self.backlog.length or self.owner is None:
            super().on_data(root, start, count)
            return
        self.bytes_in += count
        self._root = root
        self._start = start
        self._lent = count

    def on_run(self, root: memoryview, start: int, count: int, times: int) -> None:
        if not self._lent:
            # What came before them went into the backlog.
            super().on_run(root, start, count, times)
            return
        self.bytes_in += count * times
        self._frame = count
        self._frames_behind = times

    def on_news(self) -> None:
        owner = self.owner
        if owner is None:
            return
        if self.ended and owner.head is None and self.trailers is None and not self.backlog.length:
            head = self.head
            if head is not None and not head.coded:
                # All of the answer at once: the exchange takes it from where it lies.
                body = self.session.body
                body.show(self._root, self._start, self._lent)
                self.ring = body  # type: ignore[assignment]  # read like one, for this step
                self._lent = 0
                self.whole = True
                try:
                    owner.on_readable()
                finally:
                    self.ring = None
                    if self.owner is owner and self.whole:
                        self.whole = False
                        if body.length:
                            # It wants memory first, say.
                            self.backlog.append(body.readable(), self.session.origin)
                return
        try:
            owner.on_readable()
        finally:
            if self._lent:
                self._keep_rest(wanted=self.owner is owner)

    def _keep_rest(self, *, wanted: bool) -> None:
        """A step is over which has not taken all: the rest goes into the backlog, if anybody wants it."""
        start = self._start
        count = self._lent
        frames_behind = self._frames_behind
        self._lent = self._frames_behind = 0
        while wanted:
            self.backlog.append(self._root[start : start + count], self.session.origin)
            if not frames_behind:
                return
            frames_behind -= 1
            start += count + HEADER_BYTES
            count = self._frame

    def on_room(self) -> None:
        owner = self.owner
        if owner is not None:
            owner.on_writable()

    def read_body(self, view: memoryview) -> int:
        if not self._lent:
            return super().read_body(view)
        root = self._root
        start = self._start
        room = len(view)
        done = 0
        while True:
            count = min(self._lent, room - done)
            view[done : done + count] = root[start : start + count]
            done += count
            start += count
            self._lent -= count
            if self._lent or not self._frames_behind:
                break
            self._frames_behind -= 1
            self._lent = self._frame
            start += HEADER_BYTES
        self._start = start
        self.take_note(done)
        return done

    def break_off(self, error: BaseException) -> None:
        # The exchange hears of it by what is raised: called from within its own step, it would find its memory lent.
        owner, self.owner = self.owner, None
        try:
            super().break_off(error)
        finally:
            self.owner = owner

    @property
    def complete(self) -> bool:
        return self.ended and not self._lent and not self.backlog.length

    def drain(self) -> bool:
        self._lent = self._frames_behind = 0
        return super().drain()

    def _fetch_block(self) -> bool:
        try:
            return super()._fetch_block()
        except TurbosockError:
            raise
        except Exception as error:
            # As LoopConnection's: an event like any other end.
            raise WriteError(
                f"the body of the request raised {type(error).__name__}: {error}", origin=Origin.LOCAL
            ) from error

    def requeue(self) -> None:
        """Step the exchange again when the line has come round."""
        self.session.step_later(self)

    def close(self) -> None:
        self._lent = self._frames_behind = 0
        self.timer.disarm()
        super().close()


class LoopHttp2Session(Http2Session):
    """A session in a Loop; to the reactor, a handler that sends what its streams have put together.

    Attributes:
        services: the Loop's.
        body: where an answer that came whole lies.
        mask, queued: the reactor's.
        timer: for signs of life, while streams are open.
    """

    __slots__ = ("_again", "_bytes_in", "_pinged", "body", "mask", "queued", "services", "timer")

    def __init__(self, transport: SaeaTransport, services: LoopServices, scheme: str) -> None:
        config = services.config
        self.services = services
        self.body = LentBody()
        self.mask = 0
        self.queued = False
        self._again: deque[LoopHttp2Stream] = deque()
        # What had come when the timer was set, and whether a sign of life was asked for since.
        self._bytes_in = 0.0
        self._pinged = False
        self.timer = services.reactor.timers.idle(self)
        super().__init__(
            transport,
            services.rings,
            scheme,
            max_head_bytes=config.max_head_bytes,
            max_head_fields=config.max_head_fields,
            decodes=config.decode,
            initial_window=config.http2.initial_window_bytes,
            max_streams=config.http2.max_streams,
        )

    def make_stream(self) -> LoopHttp2Stream:
        return LoopHttp2Stream(self)

    def vacate_for_websocket(self) -> LoopHttp2OpeningStream | None:
        """A stream on which a WebSocket is to be opened; None: the peer takes none, or no further one."""
        if self.closed or not self.engine.remote.enable_connect_protocol or len(self.streams) >= self.places:
            return None
        # Not with the module: few programs open WebSockets.
        from turbosock.client.loop_http2_opening import LoopHttp2OpeningStream

        stream = LoopHttp2OpeningStream(self)
        self.streams.add(stream)
        return stream

    def begin(self) -> None:
        super().begin()
        self.transport.arm()
        self.timer.move(self.services.reactor.clock.now_ns() + _PING_NS)

    # Sending

    def flush_soon(self) -> None:
        if not self.queued and not self.closed:
            self.services.reactor.requeue(self, OUT)

    # An exchange that waits for its answer is told of it in a later step: there is nothing to do at once.
    flush_request = flush_soon

    def step_later(self, stream: LoopHttp2Stream) -> None:
        """Step the exchange of a stream when the line has come round."""
        if not stream.queued:
            stream.queued = True
            self._again.append(stream)
        self.services.reactor.requeue(self, IN)

    def on_ready(self, mask: int) -> None:
        """It is this session's turn in the line."""
        if mask & READABLE:
            again = self._again
            for _ in range(len(again)):
                stream = again.popleft()
                stream.queued = False
                stream.on_news()
            if self.ring is not None and self.ring.length and not self._passing:
                # Frames that a pass left behind which broke off in the user's code.
                self.take_frames()
        self.flush()
        self._settle()

    def on_sent(self, context: IOContext) -> None:
        super().on_sent(context)
        self._settle()

    def _settle(self) -> None:
        """What there was to send has left, as far as it can."""
        if not self.closed:
            if not self.engine.streams:
                self.rest()
            self._watch()

    # Receiving

    def on_received(self, context: IOContext) -> None:
        self.receive()
        if not self.closed:
            self._watch()

    def _watch(self) -> None:
        """Be told of what comes next, unless frames wait here for room in the output, which is told as well."""
        transport = self.transport
        if transport.receive_context.state == PENDING:
            return
        try:
            if not transport.readable:
                transport.arm()
            elif self.ring is None or self.ring.length < self.ring.capacity:
                transport.readable = False
                transport.arm()
                self.services.reactor.requeue(transport, IN)
        except TurbosockError as error:
            # The system refuses to watch the socket.
            self.fail(error)

    def mend(self) -> None:
        """A turn broke off: who fell out of a line, on the way to its step, is known not to stand in it."""
        self.queued = self in self.services.reactor.line
        for stream in self.streams:
            assert isinstance(stream, LoopHttp2Stream), "as made above"
            stream.queued = stream in self._again

    def resume(self) -> None:
        """A turn broke off: look at everything again, and finish what it began."""
        context = self.transport.send_context
        if self.engine.pinned and context.state == COMPLETED:
            # It was not told of a send that is done.
            self.on_sent(context)
        self._watch()
        self.services.reactor.requeue(self, IN | OUT)

    # Time

    def on_timer(self, now_ns: int) -> None:
        """Look whether the peer is alive: while streams are open, something comes, or an answer to a PING."""
        transport = self.transport
        if self.engine.streams and transport.bytes_in == self._bytes_in:
            if self._pinged:
                self.fail(
                    ConnectionClosed(
                        f"the peer answered no PING for {limits.HTTP2_PING_S:.0f} s: the connection is dead; try again",
                        code="no_pong",
                    )
                )
                return
            self._pinged = True
            self.lend_output()
            self.engine.ping(b"alive?\0\0")
            self.flush_soon()
        else:
            self._pinged = False
        self._bytes_in = transport.bytes_in
        self.timer.move(now_ns + _PING_NS)

    def _end(self) -> None:
        self.timer.disarm()
        self._again.clear()
        super()._end()
