"""Refill: when to make how many more, so that some are always ready. The policy alone: no clock, no thread, no items.

Whoever keeps the ready ones (a `Prewarmer`, or the idle connections of an origin) tells what happens (`began`, `built`,
`failed`, `abandoned`, `taken`) and asks `builds_due` with the number that are ready now; the number being built is
counted here.

Three things hold builds back:

- The target: `min_ready`, or between `min_ready` and `max_ready` as many as were taken in a recent interval.
- The allowance: one build for each that was taken, at once, and `target()` more from each interval on. What dies by
  itself is so replaced once an interval, and an origin that accepts and closes costs no more than that.
- The pause after a failure: drawn evenly from zero to a bound that doubles from `backoff_first_s` to `backoff_cap_s`
  (full jitter, so that many clients do not return together). While failures last, one build at a time is tried; the
  first success ends the pause and its doubling.

Invariants: 0 <= building; builds_due() <= max_building - building; a pause lasts from 1 ns to its bound; failures
inside a pause, of builds begun before it, do not lengthen it.

Left to others: to count what is ready, to call from one thread at a time, and to build.
"""

from __future__ import annotations

import math
import random
from typing import Final

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.timers import NEVER

# The weight of the latest interval in the demand: after ten of them a tenth of what was before is left.
_DEMAND_WEIGHT: Final = 0.2
# What of a take is noise: the smoothed demand only approaches its limit, and must not ask for one more for ever.
_DEMAND_SLACK: Final = 0.05
# More doublings than any cap needs: a year of nanoseconds has 55 bits.
_MAX_DOUBLINGS: Final = 55


class Refill:
    """How many builds are due, between `min_ready` and `max_ready`.

    Args:
        min_ready, max_ready: how many are kept ready, at least and at most.
        interval_s: how often what vanished is replaced, and over how long demand is counted.
        backoff_first_s, backoff_cap_s: the bounds of the first and of the longest pause after failures.
        max_building: how many are built at once.
        adaptive: follow demand, in takes per interval; False keeps `min_ready`.
        rng: draws the pauses; give a seeded one to repeat them.

    Attributes:
        building: builds that began and did not end.
        interval_ns: `interval_s` in nanoseconds.

    Raises:
        InvalidOption: an option is wrong, or contradicts another; both are named.
    """

    __slots__ = (
        "_allowance",
        "_demand",
        "_failures",
        "_given_rng",
        "_retry_ns",
        "_rng",
        "_takes",
        "_tick_ns",
        "adaptive",
        "backoff_cap_ns",
        "backoff_first_ns",
        "building",
        "interval_ns",
        "max_building",
        "max_ready",
        "min_ready",
    )

    def __init__(
        self,
        min_ready: int,
        max_ready: int,
        *,
        interval_s: float = limits.PREWARM_INTERVAL_S,
        backoff_first_s: float = limits.PREWARM_BACKOFF_FIRST_S,
        backoff_cap_s: float = limits.PREWARM_BACKOFF_CAP_S,
        max_building: int = limits.PREWARM_BUILDING,
        adaptive: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        check_count("min_ready", min_ready, 1, limits.MAX_PREWARM_READY)
        check_count("max_ready", max_ready, 1, limits.MAX_PREWARM_READY)
        check_count("max_building", max_building, 1, limits.MAX_PREWARM_READY)
        check_seconds("interval_s", interval_s)
        check_seconds("backoff_first_s", backoff_first_s)
        check_seconds("backoff_cap_s", backoff_cap_s)
        if min_ready > max_ready:
            raise InvalidOption(
                f"min_ready={min_ready} is above max_ready={max_ready}: lower the first or raise the second"
            )
        if backoff_first_s > backoff_cap_s:
            raise InvalidOption(
                f"backoff_first_s={backoff_first_s} is above backoff_cap_s={backoff_cap_s}: lower the first or raise "
                "the second"
            )
        if not isinstance(adaptive, bool):
            raise InvalidOption(f"adaptive={adaptive!r}: give True or False")
        if rng is not None and not isinstance(rng, random.Random):
            raise InvalidOption(f"rng: a {type(rng).__name__} was given; give a random.Random, or None")
        self.min_ready = min_ready
        self.max_ready = max_ready
        self.interval_ns = max(1, int(interval_s * NS_PER_S))
        self.backoff_first_ns = max(1, int(backoff_first_s * NS_PER_S))
        self.backoff_cap_ns = max(1, int(backoff_cap_s * NS_PER_S))
        self.max_building = max_building
        self.adaptive = adaptive
        self._given_rng = rng
        self.restart()

    def restart(self) -> None:
        """Forget everything that happened: builds under way, failures and demand; for the child of a fork too."""
        # A child that kept a generator of ours would draw its parent's pauses.
        self._rng = self._given_rng or random.Random()
        self.building = 0
        self._failures = 0
        self._retry_ns = 0
        self._takes = 0
        self._demand = 0.0
        self._allowance = self.min_ready
        # The end of the present interval; NEVER before the first time is known.
        self._tick_ns = NEVER

    # What to do

    def target(self) -> int:
        """How many should be ready."""
        if not self.adaptive:
            return self.min_ready
        return min(max(math.ceil(self._demand - _DEMAND_SLACK), self.min_ready), self.max_ready)

    def builds_due(self, ready: int, now_ns: int) -> int:
        """How many builds to begin now; each is then told by `began()`.

        Args:
            ready: how many are ready, less the callers that wait for one: it may be negative.
            now_ns: the present time.
        """
        self._advance(now_ns)
        target = self.target()
        # Each further take brings its own; unused ones must not add up.
        self._allowance = min(self._allowance, max(target, target - ready))
        missing = target - ready - self.building
        if self._failures:
            return 1 if missing > 0 and not self.building and now_ns >= self._retry_ns else 0
        return max(0, min(missing, self._allowance, self.max_building - self.building))

    def next_due_ns(self, ready: int) -> int:
        """When to ask `builds_due` again: 0 for at once, NEVER when only a call of this object can change its answer.

        A ready one that vanishes is such an event as well: ask again then.
        """
        if ready + self.building >= self.target():
            # More takes than usual may raise the target when the interval ends.
            return self._tick_ns if self.adaptive and self._takes > self._demand else NEVER
        if self._failures:
            return NEVER if self.building else self._retry_ns
        if self.building >= self.max_building:
            return NEVER
        return 0 if self._allowance else self._tick_ns

    # What happened

    def began(self) -> None:
        """A build began."""
        self.building += 1
        if self._allowance:
            self._allowance -= 1

    def built(self, now_ns: int) -> None:
        """A build succeeded: the origin is up."""
        self._end_build()
        self._advance(now_ns)
        self._failures = 0
        self._retry_ns = 0

    def failed(self, now_ns: int) -> None:
        """A build failed: pause, unless a pause is under way."""
        self._end_build()
        self._advance(now_ns)
        self._allowance += 1
        if now_ns < self._retry_ns:
            return
        bound_ns = min(self.backoff_cap_ns, self.backoff_first_ns << min(self._failures, _MAX_DOUBLINGS))
        self._failures += 1
        self._retry_ns = now_ns + 1 + int(self._rng.random() * bound_ns)

    def abandoned(self) -> None:
        """A build ended for a reason that says nothing of its origin: it was given up, or interrupted."""
        self._end_build()
        self._allowance += 1

    def taken(self, now_ns: int, count: int = 1) -> None:
        """`count` callers took a ready one, or wanted to and found none."""
        self._advance(now_ns)
        self._takes += count
        self._allowance += count

    def _end_build(self) -> None:
        assert self.building > 0, "a build that ends has begun"
        self.building -= 1

    def _advance(self, now_ns: int) -> None:
        """Begin a new interval if the present one is over."""
        tick_ns = self._tick_ns
        if now_ns < tick_ns:
            if tick_ns == NEVER:
                self._tick_ns = now_ns + self.interval_ns
            return
        passed = (now_ns - tick_ns) // self.interval_ns + 1
        self._tick_ns = tick_ns + passed * self.interval_ns
        self._demand += _DEMAND_WEIGHT * (self._takes - self._demand)
        # In the others nobody came.
        self._demand *= (1.0 - _DEMAND_WEIGHT) ** (passed - 1)
        self._takes = 0
        self._allowance = max(self._allowance, self.target())
