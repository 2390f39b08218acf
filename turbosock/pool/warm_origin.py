"""WarmOrigin: an origin whose idle connections are kept between two numbers; what a `Refill` is to items.

The ready ones are the origin's idle connections, so whoever asks the pool finds them without knowing of this. Whoever
owns the WarmOrigin asks `builds_due()` when `wake` was called, and once an interval, and dials so many.

Demand is the depth to which the idle ones were drawn in an interval, plus the callers who found none: a busy connection
that is taken and comes back a thousand times is one connection's worth.

Invariant: until `close()`, every caller who takes an idle connection is seen here, once. What goes otherwise is not
seen as it goes: those that expired, that were found unfit (by a caller too, who then gets an older one) or that made
room. They are no demand, and are replaced once an interval, or with the next that is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.pool.origin_pool import OriginPool, PooledConnection
    from turbosock.pool.refill import Refill


class WarmOrigin:
    """See the module.

    Args:
        origin: whose idle connections these are.
        refill: the policy; told of everything here but the ends of builds, which the builder tells it.
        wake: called when more may be due, on the thread that took a connection; it must not block.
    """

    __slots__ = ("_drawn", "_lowest", "_missed", "_take", "_target", "_wake", "origin", "refill")

    def __init__(self, origin: OriginPool, refill: Refill, wake: Callable[[], object]) -> None:
        self.origin = origin
        self.refill = refill
        self._wake = wake
        self._take = origin.idle.pop
        self._drawn = 0
        self._lowest = 0
        self._missed = origin.missed
        self._target = refill.target()
        origin.watch(self._take_one)

    def _take_one(self) -> PooledConnection:
        connection = self._take()
        left = len(self.origin.idle)
        if left < self._lowest:
            # A new depth: each is counted, and wakes the builder, once.
            self._drawn += self._lowest - left
            self._lowest = left
            if left < self._target:
                self._wake()
        return connection

    @property
    def ready(self) -> int:
        """Idle connections."""
        return len(self.origin.idle)

    def builds_due(self, now_ns: int) -> int:
        """How many dials to begin now; the builder tells the refill of each."""
        origin = self.origin
        missed = origin.missed
        drawn = self._drawn + missed - self._missed
        self._missed = missed
        self._drawn = 0
        refill = self.refill
        if drawn:
            refill.taken(now_ns, drawn)
        ready = len(origin.idle)
        due = refill.builds_due(ready, now_ns)
        self._target = refill.target()
        return due

    def begin_interval(self) -> None:
        """Depth is counted from what is idle now."""
        self._lowest = len(self.origin.idle)

    def close(self) -> None:
        """Leave the origin alone."""
        self.origin.watch(None)
