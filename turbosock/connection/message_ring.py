"""MessageRing: memory in which messages arrive and are lent; MessageRings: the bounded pool of them.

A ring has holders: the connection that receives into it, each event that shows a message in it, and whoever retained
one. With the last of them it returns to its pool. So a message is never copied to outlive its connection's next
receive: the connection takes another ring.

Invariants: a ring with more than one holder is only written behind its content, which is contiguous; `lent_bytes` is
the capacity of all rings that are out, and never above `max_lent_bytes`. A ring that held bytes of another origin is
wiped before it is lent again. One thread uses a pool.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.connection.receive_ring import RingStats

SMALL: Final = limits.MESSAGE_RING_BYTES
LARGE: Final = limits.RECEIVE_RING_BYTES

_ZEROS: Final = {SMALL: bytes(SMALL), LARGE: bytes(LARGE)}


class Holdable(Protocol):
    """Memory that returns to its pool when its last holder lets go.

    Attributes:
        holders: how many `let_go()` are due.
    """

    holders: int

    def let_go(self) -> None:
        """End one holder's use."""


class Taker(Protocol):
    """Whose messages they are.

    Attributes:
        untaken: messages whose events are not over.
        held: whether it waits for room.
    """

    untaken: int
    held: bool

    def on_room(self) -> None:
        """Something of the quota is free again; called while `held`."""


class RingOwner(Taker, Protocol):
    """Whose quota rings count against.

    Attributes:
        ring_bytes: memory that they take.
    """

    ring_bytes: float


class MessageRing(RingBuffer):
    """A ring with holders.

    Attributes:
        holders: how many `let_go()` are due.
        owner: the connection whose quota it counts against.
        origin: whose bytes it held last.
    """

    __slots__ = ("_pool", "holders", "origin", "owner")

    def __init__(self, pool: MessageRings, capacity: int) -> None:
        super().__init__(capacity)
        self._pool = pool
        self.holders = 0
        self.origin: object = None
        self.owner: RingOwner | None = None

    def let_go(self) -> None:
        """End one holder's use."""
        holders = self.holders - 1
        self.holders = holders
        if not holders:
            self._pool.take_back(self)


class MessageRings:
    """The rings of one Loop's message connections.

    Args:
        max_lent_bytes: of all rings that are out.
        pooling: False makes every ring new, for chasing a lifetime bug.
        diagnostics: True poisons a ring's memory when it comes back.

    Attributes:
        lent_bytes: of the rings that are out.
        refused: how often there was no memory for one.
    """

    __slots__ = ("_diagnostics", "_large", "_made", "_max_lent_bytes", "_small", "lent_bytes", "refused")

    def __init__(
        self,
        max_lent_bytes: int = limits.MAX_MESSAGE_MEMORY_BYTES,
        *,
        pooling: bool = True,
        diagnostics: bool = False,
    ) -> None:
        self._small: deque[MessageRing] = deque(maxlen=limits.MAX_IDLE_MESSAGE_RINGS if pooling else 0)
        self._large: deque[MessageRing] = deque(maxlen=limits.MAX_IDLE_RINGS if pooling else 0)
        self._diagnostics = diagnostics
        self._max_lent_bytes = max_lent_bytes
        self._made = 0
        # A float, whose freed ones CPython keeps for the next.
        self.lent_bytes = 0.0
        self.refused = 0

    def rent(self, size: int, owner: RingOwner, origin: object) -> MessageRing | None:
        """An empty ring of at least `size` bytes, its first holder the caller; None: there is no memory for it."""
        if size <= SMALL:
            capacity = SMALL
            idle = self._small
        else:
            capacity = -(-size // LARGE) * LARGE
            idle = self._large
        if self.lent_bytes + capacity > self._max_lent_bytes:
            self.refused += 1
            return None
        if capacity <= LARGE and idle:
            ring = idle.pop()
            if ring.origin is not origin:
                ring.root[:] = _ZEROS[capacity]
        else:
            ring = MessageRing(self, capacity)
            self._made += 1
        self.lent_bytes += capacity
        owner.ring_bytes += capacity
        ring.origin = origin
        ring.owner = owner
        ring.holders = 1
        return ring

    def make_room_for(self, size: int) -> None:
        """Raise the bound where it would not let even a few messages of `size` bytes be put together."""
        self._max_lent_bytes = max(self._max_lent_bytes, 4 * size)

    def take_back(self, ring: MessageRing) -> None:
        """For rings: the last holder has let go."""
        ring.start = 0
        ring.length = 0
        capacity = ring.capacity
        self.lent_bytes -= capacity
        owner = ring.owner
        ring.owner = None
        if self._diagnostics:
            ring.poison()
        if capacity == SMALL:
            self._small.append(ring)
        elif capacity == LARGE:
            self._large.append(ring)
        if owner is not None:
            owner.ring_bytes -= capacity
            if owner.held:
                owner.on_room()

    def clear(self) -> None:
        """Let go of the rings that wait."""
        self._small.clear()
        self._large.clear()

    def stats(self) -> RingStats:
        """Counts at this moment."""
        return RingStats(self._made, len(self._small) + len(self._large))
