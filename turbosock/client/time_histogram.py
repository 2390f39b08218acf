"""TimeHistogram: how often something took how long, in buckets that double.

Counting is one addition into a list that was made before: cheap enough for each receive, and nothing that grows.

Invariant: bucket 0 counts times of 0 ns, bucket i those from 2 ** (i - 1) up to below 2 ** i ns; the last one counts
everything above as well.
"""

from __future__ import annotations

from typing import NamedTuple

from turbosock.errors import InvalidOption
from turbosock.limits import TIME_BUCKETS


class TimeCounts(NamedTuple):
    """A histogram at one moment.

    Attributes:
        times: how many were noted.
        total_ns, max_ns: their sum, and the longest.
        buckets: how many there were below 1, 2, 4, 8, ... ns and not below the one before.
    """

    times: int
    total_ns: int
    max_ns: int
    buckets: tuple[int, ...]

    @property
    def mean_ns(self) -> float:
        """The mean, or 0."""
        return self.total_ns / self.times if self.times else 0.0

    def quantile_ns(self, share: float) -> int:
        """A time that at least `share` of all did not exceed, right to a factor of two; 0 where there are none.

        Raises:
            InvalidOption: `share` is not above 0 and at most 1.
        """
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            raise InvalidOption(f"share={share!r}: give a number above 0 and at most 1, as in 0.95")
        wanted = share * self.times
        seen = 0
        for exponent, count in enumerate(self.buckets[:-1]):
            seen += count
            if seen >= wanted:
                return min((1 << exponent) - 1, self.max_ns)
        return self.max_ns


class TimeHistogram:
    """Counts times; see the module. Belongs to one thread."""

    __slots__ = ("_buckets", "_max_ns", "_total_ns")

    def __init__(self) -> None:
        self._buckets = [0] * TIME_BUCKETS
        self._total_ns = 0
        self._max_ns = 0

    def note(self, time_ns: int) -> None:
        """Count one time, which is not negative."""
        bucket = time_ns.bit_length()
        self._buckets[bucket if bucket < TIME_BUCKETS else TIME_BUCKETS - 1] += 1
        self._total_ns += time_ns
        if time_ns > self._max_ns:
            self._max_ns = time_ns

    def counts(self) -> TimeCounts:
        """What was counted so far."""
        return TimeCounts(sum(self._buckets), self._total_ns, self._max_ns, tuple(self._buckets))
