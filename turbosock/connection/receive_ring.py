"""The receive rings of connections: 64 KiB each, held only while an answer or a request is read.

A ring that last held another origin's bytes is wiped before it is lent again (clearing on rent), so that even a bug
could not show one site's data to another. Within one origin nothing is wiped: the bytes behind a ring's length
are never read.

No user ever holds a ring, so its pool needs no look at reference counts: renting is one pop and returning one append.
A bounded deque drops the oldest when it is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import LeaseError


class ReceiveRing(RingBuffer):
    """A ring that knows whose bytes it held last.

    Attributes:
        origin: whose.
        startswith: the storage's own method, bound once.
    """

    __slots__ = ("origin", "startswith")

    def __init__(self, capacity: int = limits.RECEIVE_RING_BYTES) -> None:
        super().__init__(capacity)
        self.origin: object = None
        self.startswith = self.storage.startswith

    def belongs_to(self, origin: object) -> None:
        """Wipe the memory unless `origin` is where its bytes came from."""
        if self.origin is not origin:
            if self.origin is not None:
                self.root[:] = bytes(self.capacity)
            self.origin = origin


class RingStats(NamedTuple):
    """Rings made since the pool was, and those that wait to be lent."""

    made: int
    idle: int


class RingPool:
    """The receive rings of one Client or Loop; safe to share between threads.

    Args:
        pooling: False makes every ring new, for chasing a lifetime bug.
        diagnostics: True poisons a ring's memory when it comes back, and refuses one that is here already.
        capacity: bytes of each.
        max_idle: how many wait to be lent.

    Attributes:
        take: as `rent`, a call less; raises IndexError where no ring waits, and then `rent` makes one.
        keep: as `give_back`, of a ring that is empty, a call less.
    """

    __slots__ = ("_capacity", "_diagnostics", "_free", "_keep", "_made", "keep", "take")

    def __init__(
        self,
        *,
        pooling: bool = True,
        diagnostics: bool = False,
        capacity: int = limits.RECEIVE_RING_BYTES,
        max_idle: int = limits.MAX_IDLE_RINGS,
    ) -> None:
        self._free: deque[ReceiveRing] = deque(maxlen=max_idle if pooling else 0)
        self.take = self._free.pop
        self._keep = self._free.append
        self.keep: Callable[[ReceiveRing], None] = self.give_back if diagnostics else self._keep
        self._diagnostics = diagnostics
        self._capacity = capacity
        self._made = 0

    def rent(self) -> ReceiveRing:
        """An empty ring."""
        if self._free:
            try:
                return self.take()
            except IndexError:
                # Another thread took the last one.
                pass
        self._made += 1
        return ReceiveRing(self._capacity)

    def give_back(self, ring: ReceiveRing) -> None:
        """Take a ring back and forget what it holds.

        Raises:
            LeaseError: it is here already (with diagnostics only).
        """
        ring.start = 0
        ring.length = 0
        if self._diagnostics:
            if any(ring is free for free in tuple(self._free)):
                raise LeaseError("a receive ring was given back twice: give it back once")
            ring.poison()
        self._keep(ring)

    def clear(self) -> None:
        """Let go of the rings that wait."""
        self._free.clear()

    def stats(self) -> RingStats:
        """Counts at this moment."""
        return RingStats(self._made, len(self._free))
