"""The receive rings of connections: 64 KiB each, held only while an answer or a request is read.

A ring that last held another origin's bytes is wiped before it is lent again (clearing on rent), so that even a bug
could not show one site's data to another. Within one origin nothing is wiped: the bytes behind a ring's length
are never read.

No user ever holds a ring, so its pool needs no look at reference counts: renting is one pop and returning one append of
`free`, which hot code does itself. A bounded deque drops the oldest when it is full.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import LeaseError


class ReceiveRing(RingBuffer):
    """A ring that knows whose bytes it held last."""

    __slots__ = ("origin",)

    def __init__(self) -> None:
        super().__init__(limits.RECEIVE_RING_BYTES)
        self.origin: object = None

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

    Attributes:
        free: rings that wait, empty; `pop()` and `append()` are rent() and give_back() where diagnostics are off.
    """

    __slots__ = ("_diagnostics", "_made", "free")

    def __init__(self, *, pooling: bool = True, diagnostics: bool = False) -> None:
        self.free: deque[ReceiveRing] = deque(maxlen=limits.MAX_IDLE_RINGS if pooling else 0)
        self._diagnostics = diagnostics
        self._made = 0

    def rent(self) -> ReceiveRing:
        """An empty ring."""
        if self.free:
            try:
                return self.free.pop()
            except IndexError:
                # Another thread took the last one.
                pass
        self._made += 1
        return ReceiveRing()

    def give_back(self, ring: ReceiveRing) -> None:
        """Take a ring back and forget what it holds.

        Raises:
            LeaseError: it is here already (with diagnostics only).
        """
        ring.start = 0
        ring.length = 0
        if self._diagnostics:
            if any(ring is free for free in tuple(self.free)):
                raise LeaseError("a receive ring was given back twice: give it back once")
            ring.poison()
        self.free.append(ring)

    def clear(self) -> None:
        """Let go of the rings that wait."""
        self.free.clear()

    def stats(self) -> RingStats:
        """Counts at this moment."""
        return RingStats(self._made, len(self.free))
