"""Http2Session: a client's HTTP/2 connection on a socket: an engine, its rings, and the places for streams.

What a driver does: `on_received` and `on_sent` are what the transport's contexts complete with; a session reads what
has come, one receive and one pass over its frames at a time, and sends what the frames and the streams put into the
output. `vacate()` gives a stream for another exchange while there is a place for one.

Invariants: at most `max_streams` streams are in circulation, idle ones included, and no more than the peer allows once
it has said so; a session whose peer says goodbye gives no more of them, and closes with the last; one that fails closes
at once, and every stream on it fails. An idle session holds no ring.
Left to others: locks, threads and turns, which are the two drivers' own (`client/loop_http2.py`,
`client/shared_http2.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.connection.http1 import NEVER_IDLE
from turbosock.errors import ConnectionClosed, Http2Error, TurbosockError
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.frames import DEFAULT_FRAME_BYTES, HEADER_BYTES
from turbosock.protocol.http2.settings import UNLIMITED
from turbosock.reactor.context import COMPLETED, CONFIGURED, EMPTY, PENDING

if TYPE_CHECKING:
    from collections.abc import Sized

    from turbosock.connection.http2_stream import Http2Stream
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.reactor.context import IOContext
    from turbosock.transport.transport import SaeaTransport

# Streams that are opened before the peer has said how many it takes: RFC 9113 §6.5.2 asks it to take 100 at least.
_UNTOLD_STREAMS: Final = 100

# Of an idle session, which has no output: no frame fits, and what is put there has memory of its own.
_NO_RING: Final = RingBuffer(1)

# Room for a frame behind what is in the receive ring, below which the content is moved to the front.
_FRAME_ROOM: Final = DEFAULT_FRAME_BYTES + HEADER_BYTES


class SessionHome(Protocol):
    """The pool of one origin, as far as its sessions call it."""

    @property
    def waiters(self) -> Sized:
        """Who stands in line for a connection."""

    def hand_over(self) -> object:
        """There are streams to be had."""

    def leave_session(self, session: Http2Session) -> object:
        """A session takes no further exchanges."""

    def session_ended(self, session: Http2Session) -> object:
        """A session is closed."""

    def discard_idle(self, connection: Http2Stream) -> object:
        """Close a stream that no exchange has."""


class Http2Session:
    """See the module.

    Args:
        transport: the connected, non-blocking socket.
        rings: lends receive rings.
        scheme: "http" or "https".
        max_head_bytes, max_head_fields: bounds of a response head.
        decodes: whether content codings are undone.
        initial_window: the first window of each stream, in bytes.
        max_streams: that may be open at once.

    Attributes:
        engine: of the protocol.
        streams: in circulation, idle ones included.
        places: how many there may be; 0 once the connection takes no more exchanges.
        served: exchanges finished.
        closed: whether the connection is over.
        origin, place, retire_ns, idle_since_ns: the pool's, as an Http1Connection's.
        owner: None: exchanges have streams.
    """

    __slots__ = (
        "__weakref__",
        "_passing",
        "_told_streams",
        "closed",
        "decodes",
        "engine",
        "idle_since_ns",
        "max_streams",
        "origin",
        "owner",
        "place",
        "places",
        "retire_ns",
        "ring",
        "rings",
        "scheme",
        "served",
        "streams",
        "transport",
    )

    def __init__(
        self,
        transport: SaeaTransport,
        rings: RingPool,
        scheme: str,
        *,
        max_head_bytes: int = limits.MAX_HEAD_BYTES,
        max_head_fields: int = limits.MAX_HEAD_FIELDS,
        decodes: bool = True,
        initial_window: int = limits.HTTP2_STREAM_WINDOW_BYTES,
        max_streams: int = limits.MAX_HTTP2_STREAMS,
    ) -> None:
        self.transport = transport
        self.rings = rings
        self.scheme = scheme
        self.decodes = decodes
        self.max_streams = max_streams
        self.engine = Engine(
            _NO_RING,
            client=True,
            initial_window=initial_window,
            max_list_bytes=max_head_bytes,
            max_fields=max_head_fields,
        )
        self.ring: ReceiveRing | None = None
        self.streams: set[Http2Stream] = set()
        self.places = min(_UNTOLD_STREAMS, max_streams)
        self.served = 0
        self.closed = False
        self.owner: object = None
        self.origin: SessionHome | None = None
        self.place: object = None
        self.retire_ns = 0
        self.idle_since_ns = NEVER_IDLE
        self._told_streams = UNLIMITED
        # Whether a pass over the frames in `ring` is under way.
        self._passing = False
        transport.receive_context.completed = self.on_received
        transport.send_context.completed = self.on_sent

    def begin(self) -> None:
        """Say hello, with the first request if one follows at once."""
        self.lend_output()
        self.engine.begin()
        self.flush_soon()

    # Streams

    def make_stream(self) -> Http2Stream:
        """A stream of the driver's kind."""
        raise AssertionError("a session is one of a driver's")

    def vacate(self) -> Http2Stream | None:
        """A stream for another exchange, or None: every place is taken, or the connection ends."""
        if len(self.streams) >= self.places:
            return None
        stream = self.make_stream()
        stream.idle_since_ns = self.idle_since_ns
        self.streams.add(stream)
        return stream

    def lost(self, stream: Http2Stream) -> None:
        """A stream ends for good; with the last one, the connection."""
        self.streams.discard(stream)
        self.rest()
        if not self.streams:
            self.close()

    def rest(self) -> None:
        """Where nothing is under way: give the memory back, as far as it holds nothing."""
        if self._passing or self.engine.streams:
            return
        ring = self.ring
        if ring is not None and not ring.length:
            self.ring = None
            self.rings.give_back(ring)
        engine = self.engine
        if not engine.unsent and engine.out is not _NO_RING:
            out = engine.out
            engine.out = _NO_RING
            self.rings.give_back(out)  # type: ignore[arg-type]  # lent by lend_output()

    def lend_output(self) -> None:
        """Have memory for what is sent next."""
        if self.engine.out is _NO_RING:
            ring = self.rings.rent()
            if ring.origin is not self.origin:
                ring.belongs_to(self.origin)
            self.engine.out = ring

    # Sending

    def flush_soon(self) -> None:
        """Something was put into the output: send it, now or with what else this turn puts there."""
        raise AssertionError("a session is one of a driver's")

    def flush(self) -> None:
        """Send what is in the output, as much of it as the socket takes, and let those that wait for room fill it."""
        engine = self.engine
        context = self.transport.send_context
        while context.state != PENDING and not self.closed:
            view = engine.outgoing()
            if view is None:
                return
            context.buffer = view
            context.vector = None
            context.offset = 0
            context.count = len(view)
            context.state = CONFIGURED
            if self.transport.send(context):
                # The same bytes are sent again from the same place.
                engine.pinned = True
                return
            self._after_send(context)

    def on_sent(self, context: IOContext) -> None:
        """A send that had to wait is done."""
        self.engine.pinned = False
        self._after_send(context)
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
        raise AssertionError("a session is one of a driver's")

    def receive(self) -> int:
        """Receive until the socket is drained, a quantum came or the ring is full; take the frames that are whole.

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
        while not self.closed and moved < limits.TURN_QUANTUM_BYTES:
            ring = self.ring
            if ring is None:
                ring = self._lend_ring()
            elif ring.start and ring.capacity - ring.start - ring.length < _FRAME_ROOM:
                ring.make_contiguous()
            before = ring.length
            over = self._fill(ring)
            moved += ring.length - before
            if ring.length:
                self.take_frames()
            if over:
                if not self.closed:
                    self._broken(context)
                break
            if not transport.readable or (ring is self.ring and ring.length == ring.capacity):
                # The second is full of frames that wait for room for their replies: the peer is pushed back.
                break
        return moved

    def _fill(self, ring: ReceiveRing) -> bool:
        """Receive into the ring until it is full or nothing more is here; whether the connection is over."""
        transport = self.transport
        context = transport.receive_context
        end = ring.start + ring.length
        capacity = ring.capacity
        while end < capacity:
            context.buffer = view = ring.root[end:] if end else ring.root
            context.offset = 0
            context.count = len(view)
            context.state = CONFIGURED
            if transport.receive(context):
                context.disarm()
                return False
            count = context.bytes_transferred
            context.buffer = EMPTY
            if count <= 0:
                return context.error is not None or not count
            ring.length += count
            end += count
            if not transport.readable:
                # A short record says nothing: while several streams are open, the next one is probably here.
                if transport.tls is None or capacity - end < _FRAME_ROOM or len(self.engine.streams) < 2:
                    return False
                transport.readable = True
        return False

    def _lend_ring(self) -> ReceiveRing:
        ring = self.ring = self.rings.rent()
        if ring.origin is not self.origin:
            ring.belongs_to(self.origin)
        return ring

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
        if engine.out is _NO_RING:
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
        if self.closed:
            return
        if engine.unsent:
            self.flush_soon()
        if engine.remote.max_concurrent_streams != self._told_streams or engine.exhausted:
            self._heed_peer()
        self.rest()

    def _say_why(self, error: Http2Error) -> None:
        """The peer broke the rules: tell it, as far as it listens, and end."""
        if self.ring is not None:
            # What it said after that does not count.
            self.ring.clear()
        try:
            self.flush()
        finally:
            self.fail(error)

    def _heed_peer(self) -> None:
        """The peer says how many streams it takes, or that it ends."""
        self._told_streams = self.engine.remote.max_concurrent_streams
        self.places = 0 if self.engine.exhausted else min(self._told_streams, self.max_streams)
        origin = self.origin
        if origin is None:
            return
        if self.engine.exhausted:
            origin.leave_session(self)
            for stream in tuple(self.streams):
                if not stream.in_use:
                    origin.discard_idle(stream)
            if not self.engine.streams and not self.closed:
                self.close()
        elif origin.waiters:
            origin.hand_over()

    # The end

    def fail(self, error: TurbosockError | None) -> None:
        """The connection is over: every exchange on it fails, and its place is free."""
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
        self.closed = True
        self.places = 0
        origin = self.origin
        if origin is not None:
            origin.leave_session(self)
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
        if out is not _NO_RING:
            self.engine.out = _NO_RING
            self.rings.give_back(out)  # type: ignore[arg-type]  # as in rest()
        if origin is not None:
            for stream in tuple(self.streams):
                if not stream.in_use:
                    origin.discard_idle(stream)
            origin.session_ended(self)
