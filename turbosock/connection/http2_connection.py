"""Http2Connection: one HTTP/2 connection on a socket, of either side: an engine and the memory it reads and writes.

What a driver does: `on_received` and `on_sent` are what the transport's contexts complete with; a connection reads what
has come, one receive and one pass over its frames at a time, and sends what the frames and the streams put into the
output.

Invariants: memory is lent when there is something to put into it; a connection that fails closes at once, and every
stream on it fails; what breaks the rules is answered with a GOAWAY first, as far as the peer listens.
Left to others: whose the streams are, and when the connection ends (a client's `http2_session.py`, and the listener's
on floor 7); locks, threads and turns, which are the drivers' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import ConnectionClosed, Http2Error, Origin, ReadError, TurbosockError
from turbosock.protocol.http2.frames import DEFAULT_FRAME_BYTES, HEADER_BYTES
from turbosock.reactor.context import COMPLETED, CONFIGURED, EMPTY, PENDING

if TYPE_CHECKING:
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.protocol.http2.engine import Engine
    from turbosock.reactor.context import IOContext
    from turbosock.transport.transport import SaeaTransport

# Of an idle connection, which has no output: no frame fits, and what is put there has memory of its own.
NO_RING: Final = RingBuffer(1)

_UNBOUNDED: Final = 2**63

# Room for a frame behind what is in the receive ring, below which the content is moved to the front.
_FRAME_ROOM: Final = DEFAULT_FRAME_BYTES + HEADER_BYTES

# Bytes of one receive from which on it is a part of something long.
_LONG_BYTES: Final = 2 * limits.TLS_RECORD_BYTES

# Receives of something long in which nothing is looked for behind a short record, after there was nothing.
_DOUBTS: Final = 16


class Http2Connection:
    """See the module.

    Args:
        transport: the connected, non-blocking socket.
        rings: lends the memory.
        engine: of the protocol, its output NO_RING.

    Attributes:
        engine: the same.
        ring: what was received and not taken yet, while there is some.
        closed: whether the connection is over.
        origin: whose bytes its memory holds; a ring that comes from another origin is wiped first.
    """

    __slots__ = ("__weakref__", "_doubts", "_passing", "closed", "engine", "origin", "ring", "rings", "transport")

    def __init__(self, transport: SaeaTransport, rings: RingPool, engine: Engine) -> None:
        self.transport = transport
        self.rings = rings
        self.engine = engine
        self.ring: ReceiveRing | None = None
        self.closed = False
        self.origin: object = None
        # How many receives in a row have to bring much before more is believed to lie behind a short record.
        self._doubts = 1
        # Whether a pass over the frames in `ring` is under way.
        self._passing = False
        transport.receive_context.completed = self.on_received
        transport.send_context.completed = self.on_sent

    def begin(self) -> None:
        """Say hello, with what else is sent at once."""
        self.lend_output()
        self.engine.begin()
        self.flush_soon()

    # Memory

    def lend_output(self) -> None:
        """Have memory for what is sent next."""
        if self.engine.out is NO_RING:
            ring = self.rings.rent()
            if ring.origin is not self.origin:
                ring.belongs_to(self.origin)
            self.engine.lend(ring)

    def _lend_ring(self) -> ReceiveRing:
        ring = self.ring = self.rings.rent()
        if ring.origin is not self.origin:
            ring.belongs_to(self.origin)
        return ring

    def release_memory(self) -> None:
        """Give the memory back, as far as it holds nothing; not during a pass."""
        ring = self.ring
        if ring is not None and not ring.length:
            self.ring = None
            self.rings.give_back(ring)
        engine = self.engine
        if engine.out is not NO_RING and not engine.unsent:
            out = engine.out
            engine.lend(NO_RING)
            self.rings.give_back(out)  # type: ignore[arg-type]  # lent by lend_output()

    # Sending

    def flush_soon(self) -> None:
        """Something was put into the output: send it, now or with what else this turn puts there."""
        raise AssertionError("a connection is one of a driver's")

    def flush_request(self) -> None:
        """As `flush_soon()`, for a whole request, whose exchange waits for its answer next."""
        self.flush_soon()

    def flush(self, max_bytes: int = _UNBOUNDED) -> bool:
        """Send what is in the output, as much of it as the socket takes, and let those that wait for room fill it.

        Returns:
            Whether it stopped because about `max_bytes` have left, and more could be sent.
        """
        engine = self.engine
        context = self.transport.send_context
        try:
            while context.state != PENDING and not self.closed:
                view = engine.outgoing()
                if view is None:
                    break
                if max_bytes <= 0:
                    return True
                max_bytes -= len(view)
                context.buffer = view
                context.vector = None
                context.offset = 0
                context.count = len(view)
                context.state = CONFIGURED
                if self.transport.send(context):
                    # The same bytes are sent again from the same place.
                    engine.pinned = True
                    break
                self._after_send(context)
        except BaseException as error:
            self.break_off(error)
            raise
        return False

    def on_sent(self, context: IOContext) -> None:
        """A send that had to wait is done."""
        try:
            self.engine.pinned = False
            self._after_send(context)
        except BaseException as error:
            self.break_off(error)
            raise
        self.flush()

    def _after_send(self, context: IOContext) -> None:
        count = context.bytes_transferred
        error = context.error
        context.buffer = EMPTY
        if error is not None:
            self.fail(error if isinstance(error, TurbosockError) else None)
            if not isinstance(error, TurbosockError):
                raise error
            return
        engine = self.engine
        engine.sent(count)
        if not engine.unsent:
            engine.give_room()
            if self.ring is not None and self.ring.length and not self._passing:
                # Frames that waited for room for their replies.
                self.take_frames()

    # Receiving

    def on_received(self, context: IOContext) -> None:
        """The socket has bytes, or its end."""
        raise AssertionError("a connection is one of a driver's")

    def receive(self) -> int:
        """Receive until the socket is drained, a quantum came or the ring is full; take the frames that are whole.

        It ends sooner where whoever reads has all that it has room for: more would have to be kept, and copied twice.

        TLS gives one record at a time, and servers put each small answer into one of its own: they are gathered, as far
        as there is room, and taken in one pass.

        Returns:
            How many bytes came. Where the connection broke or ended meanwhile, it is closed.
        """
        transport = self.transport
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        moved = 0
        wanted = self.wanted_bytes()
        while not self.closed and moved < limits.TURN_QUANTUM_BYTES:
            try:
                ring = self.ring
                if ring is None:
                    ring = self._lend_ring()
                elif ring.start and ring.capacity - ring.start - ring.length < _FRAME_ROOM:
                    ring.make_contiguous()
                before = ring.length
                over = self._fill(ring, wanted)
                moved += ring.length - before
                if ring.length:
                    self.take_frames()
            except BaseException as error:
                self.break_off(error)
                raise
            if over:
                if not self.closed:
                    self._broken(context)
                break
            if not transport.readable or (ring is self.ring and ring.length == ring.capacity):
                # The second is full of frames that wait for room for their replies: the peer is pushed back.
                break
            wanted = self.wanted_bytes()
            if wanted < limits.TLS_RECORD_BYTES:
                break
        if moved < _LONG_BYTES:
            self._doubts = max(self._doubts, 1)
        elif self._doubts:
            self._doubts -= 1
        ring = self.ring
        if ring is not None and not ring.length and not self.engine.streams:
            # Lent for what did not come any more.
            self.release_memory()
        return moved

    def wanted_bytes(self) -> int:
        """How much there is room for at present, where bytes go when they were received."""
        return limits.TURN_QUANTUM_BYTES

    def _fill(self, ring: ReceiveRing, wanted: int) -> bool:
        """Receive into the ring until it is full, has `wanted` or nothing more is here; whether the connection is over.

        The ring is taken for full where a record has no room: the rest of one would be a receive of its own.
        """
        transport = self.transport
        context = transport.receive_context
        end = ring.start + ring.length
        capacity = ring.capacity
        tried = False
        while end < capacity:
            context.buffer = ring.root[end:] if end else ring.root
            context.offset = 0
            context.count = capacity - end
            context.state = CONFIGURED
            if transport.receive(context):
                context.disarm()
                if tried:
                    # The peer is slower than we are: to look in vain each time is dearer than to be told.
                    self._doubts = _DOUBTS
                return False
            count = context.bytes_transferred
            context.buffer = EMPTY
            if count <= 0:
                return context.error is not None or not count
            ring.length += count
            end += count
            if transport.tls is not None and len(self.engine.streams) > 1:
                # Of several answers each is probably a record of its own.
                until = min(capacity - limits.TLS_RECORD_BYTES + 1, ring.start + wanted)
                ring.length += transport.receive_behind(ring.root, end, until)
                return False
            if not transport.readable:
                # A short record says nothing: in a long body each burst of its server's ends with one.
                if transport.tls is None or self._doubts:
                    return False
                transport.readable = tried = True
            if capacity - end < limits.TLS_RECORD_BYTES or ring.length >= wanted:
                return False
        return False

    def _broken(self, context: IOContext) -> None:
        """The receive brought an error, or the end."""
        error = context.error
        context.state = COMPLETED
        if error is None:
            self.fail(self.transport.end_error() if self.engine.streams else None)
        elif isinstance(error, TurbosockError):
            self.fail(error)
        else:
            raise error

    def take_frames(self) -> None:
        """One pass over the frames in the ring."""
        engine = self.engine
        ring = self.ring
        assert ring is not None, "there are frames in it"
        if engine.out is NO_RING:
            self.lend_output()
        self._passing = True
        try:
            engine.receive(ring)
        except Http2Error as error:
            self._say_why(error)
        finally:
            self._passing = False
            if self.closed:
                self.rings.give_back(ring)
        if not self.closed:
            self.took_frames()

    def took_frames(self) -> None:
        """A pass is over: send what it put into the output, and look at what it changed."""
        raise AssertionError("each side does it in its own way")

    def _say_why(self, error: Http2Error) -> None:
        """The peer broke the rules: tell it, as far as it listens, and end."""
        if self.ring is not None:
            # What it said after that does not count.
            self.ring.clear()
        try:
            self.flush()
        finally:
            self.fail(error)

    # The end

    def break_off(self, error: BaseException) -> None:
        """A step broke off anywhere: what was read or said of a frame nobody knows, so that the connection ends.

        Other errors are ours, which end a step, or come out of the user's code, which runs between the steps.
        """
        if not isinstance(error, Exception) or isinstance(error, (MemoryError, AssertionError)):
            self.fail(
                ReadError(
                    f"a step of the connection broke off with {type(error).__name__}, and all exchanges on it with it",
                    origin=Origin.LOCAL,
                    code="broken_off",
                )
            )

    def fail(self, error: TurbosockError | None) -> None:
        """The connection is over: every exchange on it fails, with `error` or because the peer closed."""
        if self.closed:
            return
        if error is None:
            error = ConnectionClosed("the peer closed the HTTP/2 connection; try again", code="closed_early")
        self._end()
        self.engine.end_of_stream(error)

    def close(self) -> None:
        """Say goodbye and close the socket; a second call does nothing."""
        if self.closed:
            return
        self.engine.close()
        try:
            self.flush()
        except TurbosockError:
            pass
        self.fail(None)

    def _end(self) -> None:
        """Close the socket and give everything back."""
        self.closed = True
        self.transport.close()
        ring = self.ring
        if ring is not None:
            self.ring = None
            if self._passing:
                # The pass ends here, and its memory is its own until then.
                ring.clear()
            else:
                self.rings.give_back(ring)
        out = self.engine.out
        if out is not NO_RING:
            self.engine.lend(NO_RING)
            self.rings.give_back(out)  # type: ignore[arg-type]  # as in release_memory()
