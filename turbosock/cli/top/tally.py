"""Tally: what became of the requests for one URL, in all and since the screen was last drawn; and their latencies."""

from __future__ import annotations

from collections import Counter
from typing import Final

from turbosock.client.loop_exchange import Exchange

# Each power of two is divided in so many: a quantile is right to 1/16.
_PARTS_BITS: Final = 4
_PARTS: Final = 1 << _PARTS_BITS
# Up to 2 ** 60 ns, which are 36 years.
_BUCKETS: Final = _PARTS * 58


class Latencies:
    """Counts times in buckets that were made before, finer than those of a TimeHistogram.

    Invariant: below 2 * _PARTS each ns has a bucket; above, each power of two has _PARTS of the same width.

    Attributes:
        max_ns: the longest.
    """

    __slots__ = ("_buckets", "max_ns")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.max_ns = 0

    def note(self, time_ns: int) -> None:
        """Count one time, which is not negative."""
        shift = max(time_ns.bit_length() - _PARTS_BITS - 1, 0)
        self._buckets[min((shift << _PARTS_BITS) + (time_ns >> shift), _BUCKETS - 1)] += 1
        if time_ns > self.max_ns:
            self.max_ns = time_ns

    def quantile_ns(self, share: float) -> int:
        """A time that at least `share` of all did not exceed; 0 where there are none."""
        wanted = share * sum(self._buckets)
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if count and seen >= wanted:
                shift = max((index >> _PARTS_BITS) - 1, 0)
                part = index - (shift << _PARTS_BITS)
                return min(((part + 1) << shift) - 1, self.max_ns)
        return 0

    def add(self, other: Latencies) -> None:
        """Take those of another."""
        self._buckets = [ours + theirs for ours, theirs in zip(self._buckets, other._buckets, strict=True)]
        self.max_ns = max(self.max_ns, other.max_ns)


class Tally:
    """What became of some requests.

    Attributes:
        answers: how many were answered, whatever the status; failures: how many were not.
        statuses: answers by status; errors: failures by the code of the error.
        nbytes: of the bodies.
        latencies: of the answers, from the request to the end of the body.
    """

    __slots__ = ("answers", "errors", "failures", "latencies", "nbytes", "statuses")

    def __init__(self) -> None:
        self.answers = 0
        self.failures = 0
        self.nbytes = 0
        self.statuses: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.latencies = Latencies()

    def note(self, exchange: Exchange) -> None:
        """Count one that is done."""
        self.nbytes += exchange.nbytes
        if exchange.error is not None:
            self.failures += 1
            self.errors[exchange.error.code] += 1
            return
        self.answers += 1
        self.statuses[exchange.status_code] += 1
        self.latencies.note(exchange.finished_ns - exchange.started_ns)

    def add(self, other: Tally) -> None:
        """Take what another counted."""
        self.answers += other.answers
        self.failures += other.failures
        self.nbytes += other.nbytes
        self.statuses += other.statuses
        self.errors += other.errors
        self.latencies.add(other.latencies)

    def of_class(self, hundreds: int) -> int:
        """How many answers have a status of `hundreds` hundred and something."""
        return sum(count for status, count in self.statuses.items() if status // 100 == hundreds)


def sum_of(tallies: list[Tally]) -> Tally:
    """All of them together."""
    total = Tally()
    for each in tallies:
        total.add(each)
    return total
