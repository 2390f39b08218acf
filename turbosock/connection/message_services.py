"""MessageServices: what the message connections of one Loop share: memory, the events, and whose turn it is to send.

What connections send is gathered first: each that has something stands in `dirty`, and `flush()` sends it all, which
the Loop calls at the beginning and at the end of a turn and when its user asks. Connections that found no memory to
receive into stand in `starving`, in order; at the beginning of a turn the one that waits for longest tries again, and
the others follow when it was fed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.connection.message_ring import MessageRings
from turbosock.connection.receive_ring import RingStats

if TYPE_CHECKING:
    from turbosock.connection.message_connection import MessageConnection
    from turbosock.connection.message_ring import Holdable, Taker
    from turbosock.connection.receiving_half import ReceivingHalf
    from turbosock.connection.sending_half import SendingHalf
    from turbosock.connection.websocket_frames import PlainFrames
    from turbosock.errors import TurbosockError
    from turbosock.reactor.reactor import Reactor


class EventSink(Protocol):
    """What connections know of the Loop's queue of events."""

    def put_message(
        self, connection: Taker, data: memoryview | bytes | str, ring: Holdable | None, address: object = None
    ) -> None:
        """A message has come; with `ring`, one more of its holders, it lies there until the event is over."""

    def put_open(self, connection: object) -> None:
        """It stands."""

    def put_writable(self, connection: object) -> None:
        """There is room again, after FULL."""

    def put_closed(self, connection: object, error: TurbosockError | None) -> None:
        """It has ended: its last event."""

    def tells_end(self, connection: object) -> bool:
        """Whether that event is there and was not taken."""


class MessageStats(NamedTuple):
    """The message connections of a Loop at one moment, and counts since it was made.

    `open` are connections that have not ended, of which `paused` were paused by their user, `held` have used up their
    quota of memory or of messages that nobody took, and `starving` found no memory at all; `unsent` have bytes to send.
    `lent_bytes` is the memory of received messages that is in use. `quota_hits` and `pool_hits` count how often a
    connection was left unread for want of its quota, and of memory; `full` how often a send was refused for want of
    room; `replaced` messages that a newer one with their key has replaced. `failed` connections ended because their
    peer broke the rules, or a bound, and `timeouts` because it was too slow. `rings` and `outgoing_bytes` are the
    memory of what comes and of what goes.
    """

    open: int
    paused: int
    held: int
    starving: int
    unsent: int
    messages_in: int
    messages_out: int
    lent_bytes: int
    quota_hits: int
    pool_hits: int
    full: int
    replaced: int
    rings: RingStats
    outgoing_bytes: int
    failed: int
    timeouts: int


class MessageServices:
    """What message connections share; see the module.

    Args:
        events: is told what happens.
        pooling, diagnostics: as in Config.

    Attributes:
        reactor: drives the connections; set before there are any.
        rings: lends the memory that messages arrive in.
        buffers: lends the memory of messages that are built in place, or were not given as bytes.
        scratch: where small frames are put together for one send; nobody's between two sends.
        dirty: connections that have something to send.
        starving: connections that found no memory.
        connections: those that have not ended.
        now_ns: when the present turn began.
        plain_frames: what WebSockets that are servers share; None before there are any.
        pooling, diagnostics: as in Config.
    """

    __slots__ = (
        "buffers",
        "connections",
        "dirty",
        "events",
        "failed",
        "full",
        "messages_in",
        "messages_out",
        "now_ns",
        "plain_frames",
        "diagnostics",
        "pool_hits",
        "pooling",
        "put_message",
        "quota_hits",
        "reactor",
        "replaced",
        "rings",
        "scratch",
        "starving",
        "timeouts",
    )

    reactor: Reactor

    def __init__(self, events: EventSink, *, pooling: bool = True, diagnostics: bool = False) -> None:
        self.events = events
        # Bound once.
        self.put_message = events.put_message
        self.pooling = pooling
        self.diagnostics = diagnostics
        self.rings = MessageRings(pooling=pooling, diagnostics=diagnostics)
        self.buffers = BufferPool(
            max_outstanding_bytes=limits.MAX_OUTGOING_BYTES,
            pooling=pooling,
            diagnostics=diagnostics,
            name="messages to send",
        )
        self.scratch = memoryview(bytearray(limits.RECEIVE_RING_BYTES))
        self.dirty: deque[SendingHalf] = deque()
        self.starving: deque[ReceivingHalf] = deque()
        self.connections: set[MessageConnection] = set()
        self.now_ns = 0
        self.plain_frames: PlainFrames | None = None
        self.messages_in = 0
        self.messages_out = 0
        self.quota_hits = 0
        self.pool_hits = 0
        self.full = 0
        self.replaced = 0
        self.failed = 0
        self.timeouts = 0

    def flush(self, end_ns: int | None = None) -> bool:
        """Send what waits in connections; whether `end_ns` came before all had their turn. One at least has it."""
        dirty = self.dirty
        left = len(dirty)
        # Empty too soon where a framing that is a function has closed the loop.
        while left and dirty:
            left -= 1
            connection = dirty.popleft()
            connection.busy = True
            connection.flush()
            connection.busy = False
            if end_ns is not None and dirty and self.reactor.clock.now_ns() >= end_ns:
                return True
        return False

    def resume_starving(self) -> None:
        """Let those that found no memory try again."""
        starving = self.starving
        count = len(starving)
        while count:
            count -= 1
            connection = starving.popleft()
            if connection.resume_starved():
                if starving and starving[-1] is connection:
                    # It found none again, and waits for the longest.
                    starving.rotate(1)
                    return

    def stats(self) -> MessageStats:
        """Counts at this moment."""
        connections = tuple(self.connections)
        return MessageStats(
            open=len(connections),
            paused=sum(connection.paused for connection in connections),
            held=sum(connection.held for connection in connections),
            starving=len(self.starving),
            unsent=sum(connection.unsent > 0 for connection in connections),
            messages_in=self.messages_in + sum(connection.messages_in for connection in connections),
            messages_out=self.messages_out + sum(connection.messages_out for connection in connections),
            lent_bytes=int(self.rings.lent_bytes),
            quota_hits=self.quota_hits,
            pool_hits=self.pool_hits,
            full=self.full,
            replaced=self.replaced + sum(connection.replaced for connection in connections),
            rings=self.rings.stats(),
            outgoing_bytes=self.buffers.stats().outstanding_bytes,
            failed=self.failed,
            timeouts=self.timeouts,
        )

    def clear(self) -> None:
        """The loop is closed, and its connections are."""
        self.dirty.clear()
        self.starving.clear()
        self.rings.clear()
        self.buffers.clear()
