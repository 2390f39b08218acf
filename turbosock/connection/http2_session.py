"""Http2Session: a client's HTTP/2 connection, with the places for streams; `vacate()` gives one while there is a place.

Invariants: at most `max_streams` streams are in circulation, idle ones included, and no more than the peer allows once
it has said so; a session whose peer says goodbye gives no more of them, and closes with the last; one that fails closes
at once, and every stream on it fails. An idle session holds no ring.
Left to others: locks, threads and turns, which are the two drivers' own (`client/loop_http2.py`,
`client/shared_http2.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.connection.http1 import NEVER_IDLE
from turbosock.connection.http2_connection import NO_RING, Http2Connection
from turbosock.errors import Origin, ReadError
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.stream_state import CLOSED

if TYPE_CHECKING:
    from collections.abc import Sized

    from turbosock.connection.http2_stream import Http2Stream
    from turbosock.connection.receive_ring import RingPool
    from turbosock.transport.transport import SaeaTransport

# Streams that are opened before the peer has said how many it takes: RFC 9113 §6.5.2 asks it to take 100 at least.
_UNTOLD_STREAMS: Final = 100


class SessionHome(Protocol):
    """The pool of one origin, as far as its sessions call it."""

    @property
    def waiters(self) -> Sized:
        """Who stands in line for a connection."""

    told_streams: int

    def hand_over(self, session: Http2Session | None = None) -> object:
        """There are streams to be had; of this session alone, if it is given."""

    def leave_session(self, session: Http2Session) -> object:
        """A session takes no further exchanges."""

    def session_ended(self, session: Http2Session) -> object:
        """A session is closed."""

    def retire_idle(self, stream: Http2Stream) -> bool:
        """Close a stream if it is idle; whether it was."""


class Http2Session(Http2Connection):
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
        "_told_streams",
        "decodes",
        "idle_since_ns",
        "max_streams",
        "owner",
        "place",
        "places",
        "retire_ns",
        "scheme",
        "served",
        "streams",
    )

    origin: SessionHome | None

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
        engine = Engine(
            NO_RING,
            client=True,
            initial_window=initial_window,
            max_list_bytes=max_head_bytes,
            max_fields=max_head_fields,
        )
        super().__init__(transport, rings, engine)
        self.scheme = scheme
        self.decodes = decodes
        self.max_streams = max_streams
        self.streams: set[Http2Stream] = set()
        self.places = min(_UNTOLD_STREAMS, max_streams)
        self.served = 0
        self.owner: object = None
        self.place: object = None
        self.retire_ns = 0
        self.idle_since_ns = NEVER_IDLE
        # None yet: a peer that says nothing of it in its settings takes any number.
        self._told_streams = -1

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
        if not self._passing and not self.engine.streams:
            self.release_memory()

    def took_frames(self) -> None:
        engine = self.engine
        if engine.unsent:
            self.flush_soon()
            if self.closed:
                # The peer has gone, whatever it said last: no place is to be had here any more.
                return
        if engine.exhausted or (engine.remote_known and engine.remote.max_concurrent_streams != self._told_streams):
            self._heed_peer()
        self.rest()

    def _heed_peer(self) -> None:
        """The peer says how many streams it takes, or that it ends."""
        self._told_streams = self.engine.remote.max_concurrent_streams
        self.places = 0 if self.engine.exhausted else min(self._told_streams, self.max_streams)
        origin = self.origin
        if origin is None:
            return
        if self.engine.exhausted:
            self.retire()
            if not self.engine.streams and not self.closed:
                self.close()
            return
        origin.told_streams = self._told_streams
        self._retire_idle(len(self.streams) - self.places)
        if origin.waiters and not self.closed:
            # Of this session alone: the lock of another one is not waited for under one's own.
            origin.hand_over(self)

    def retire(self) -> None:
        """No stream can be opened any more: give none out, even if the pass that has shown it is not over."""
        self.places = 0
        origin = self.origin
        if origin is not None:
            origin.leave_session(self)
            self._retire_idle(len(self.streams))

    def _retire_idle(self, count: int) -> None:
        """Take so many idle streams out of circulation, as far as there are any."""
        origin = self.origin
        if origin is not None:
            for stream in tuple(self.streams):
                if count <= 0:
                    return
                if origin.retire_idle(stream):
                    count -= 1

    # The end

    def _end(self) -> None:
        self.places = 0
        origin = self.origin
        if origin is not None:
            origin.leave_session(self)
        super()._end()
        if origin is not None:
            self._retire_idle(len(self.streams))
            origin.session_ended(self)

    def drop(self) -> None:
        """In the child of a fork: the connection is the parent's; here nothing is said on it, nor awaited."""
        self.closed = True
        self.places = 0
        self.transport.drop()
        error = ReadError("the connection belongs to the process of which this one is a fork", origin=Origin.LOCAL)
        for stream in self.streams:
            stream.state = CLOSED
            if not stream.ended and stream.failure is None:
                stream.failure = error
