"""Bucket: a pool's shelf for idle buffers of one capacity, with its counters.

Invariant: 0 <= len(idle) <= max_idle, at every moment and with any number of threads, because the shelf is a
`deque(maxlen=max_idle)`, whose append drops the oldest buffer in the same atomic step.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turbosock.buffers.lease import PooledBuffer


class BucketStats(NamedTuple):
    """Counts of one bucket since its pool was made; `outstanding` and `idle` are of now.

    `missed` of the `rented` buffers were new because none was idle. `dropped` came back and were not kept because
    the bucket was full, reuse is off, or their return found a fault. `leaked` were collected, and never
    returned.
    """

    capacity: int
    rented: int
    returned: int
    missed: int
    dropped: int
    leaked: int
    outstanding: int
    idle: int


class Bucket:
    """Idle buffers of `capacity` bytes, at most `max_idle` of them.

    Counters are floats that only the pool changes; see `interpreter.py`.
    """

    __slots__ = ("capacity", "cleared", "idle", "leaked", "missed", "rented", "returned", "zeros")

    def __init__(self, capacity: int, max_idle: int) -> None:
        self.capacity = capacity
        self.idle: deque[PooledBuffer] = deque(maxlen=max_idle)
        self.zeros = b""
        self.rented = 0.0
        self.returned = 0.0
        self.missed = 0.0
        self.leaked = 0.0
        self.cleared = 0.0

    def clear_memory(self, buffer: PooledBuffer) -> None:
        """Set all memory of `buffer` to zero."""
        zeros = self.zeros
        if not zeros:
            # Made at the first need and kept: large blocks of zeros are pages that the system has not handed out.
            self.zeros = zeros = bytes(self.capacity)
        buffer.root[:] = zeros

    def drop_idle(self) -> None:
        """Let go of every idle buffer."""
        idle = self.idle
        while idle:
            try:
                idle.pop()
            except IndexError:
                # Another thread took the last one between the test and the pop.
                return
            self.cleared += 1.0

    def stats(self) -> BucketStats:
        """Return the counts; exact when no other thread is inside the pool."""
        idle = len(self.idle)
        reused = self.rented - self.missed
        return BucketStats(
            capacity=self.capacity,
            rented=int(self.rented),
            returned=int(self.returned),
            missed=int(self.missed),
            dropped=max(0, int(self.returned - reused - self.cleared - idle)),
            leaked=int(self.leaked),
            outstanding=max(0, int(self.rented - self.returned - self.leaked)),
            idle=idle,
        )
