"""TimeHistogram: how often something took how long, in buckets that double.

Counting is one addition into a list that was made before: cheap enough for each receive, and nothing that grows.

Invariant: bucket 0 counts times of 0 ns, bucket i those from 2 ** (i - 1) up to below 2 ** i ns. Counters are floats;
`buffers/interpreter.py` says why, and why threads may share them.
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
        for exponent, count in enumerate(self.buckets):
            seen += count
            if seen >= wanted:
                return min((1 << exponent) - 1, self.max_ns)
        return self.max_ns

    def __add__(self, other: object) -> TimeCounts:
        """Both histograms in one."""
        if not isinstance(other, TimeCounts):
            return NotImplemented
        return TimeCounts(
            self.times + other.times,
            self.total_ns + other.total_ns,
            max(self.max_ns, other.max_ns),
            tuple([mine + its for mine, its in zip(self.buckets, other.buckets, strict=True)]),
        )

    def __sub__(self, earlier: TimeCounts) -> TimeCounts:
        """What was noted since; the longest time is that of all."""
        return TimeCounts(
            self.times - earlier.times,
            self.total_ns - earlier.total_ns,
            self.max_ns,
            tuple([mine - its for mine, its in zip(self.buckets, earlier.buckets, strict=True)]),
        )


class TimeHistogram:
    """Counts times; see the module. Threads may share one, but its longest time is then right only by and large."""

    __slots__ = ("buckets", "max_ns", "total_ns")

    def __init__(self) -> None:
        self.buckets = [0.0] * TIME_BUCKETS
        self.total_ns = 0.0
        self.max_ns = 0

    def note(self, time_ns: int) -> None:
        """Count one time, which is not negative."""
        self.buckets[time_ns.bit_length()] += 1.0
        self.total_ns += time_ns
        if time_ns > self.max_ns:
            self.max_ns = time_ns

    def counts(self) -> TimeCounts:
        """What was counted so far."""
        buckets = tuple([int(count) for count in self.buckets])
        return TimeCounts(sum(buckets), int(self.total_ns), self.max_ns, buckets)
