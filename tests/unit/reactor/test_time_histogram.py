"""Histograms of times: buckets, sums, and quantiles that are right to a factor of two."""

from __future__ import annotations

import pytest

from turbosock.errors import InvalidOption
from turbosock.limits import TIME_BUCKETS
from turbosock.reactor.time_histogram import TimeHistogram


def histogram(*times_ns: int) -> TimeHistogram:
    made = TimeHistogram()
    for time_ns in times_ns:
        made.note(time_ns)
    return made


def test_times_fall_into_buckets_that_double() -> None:
    counts = histogram(0, 1, 2, 3, 4, 7, 8, 1 << 38).counts()
    assert counts.buckets[:5] == (1, 1, 2, 2, 1)
    assert counts.buckets[39] == 1
    assert counts.times == sum(counts.buckets) == 8


def test_longest_time_of_63_bits_is_in_the_last_bucket() -> None:
    longest_ns = (1 << 63) - 1
    counts = histogram(longest_ns, 1 << 62, 1 << 50).counts()
    assert counts.buckets[TIME_BUCKETS - 1] == 2
    assert counts.max_ns == longest_ns
    assert counts.quantile_ns(1.0) == longest_ns


def test_counts_add_up_and_what_came_since_is_their_difference() -> None:
    first, second = histogram(1, 5).counts(), histogram(9).counts()
    assert first + second == histogram(1, 5, 9).counts()
    assert (first + second) - first == second


def test_mean_and_sum_are_exact() -> None:
    counts = histogram(10, 20, 60).counts()
    assert (counts.total_ns, counts.mean_ns, counts.max_ns) == (90, 30, 60)


@pytest.mark.parametrize(("share", "least", "most"), [(0.5, 50, 100), (0.99, 99, 198), (1.0, 100, 100)])
def test_quantile_is_right_to_a_factor_of_two(share: float, least: int, most: int) -> None:
    assert least <= histogram(*range(1, 101)).counts().quantile_ns(share) <= most


def test_empty_histogram_says_nothing() -> None:
    counts = TimeHistogram().counts()
    assert (counts.times, counts.mean_ns, counts.quantile_ns(0.99)) == (0, 0, 0)


@pytest.mark.parametrize("share", [0, -1, 1.1, True, "x"])
def test_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidOption, match="share"):
        TimeHistogram().counts().quantile_ns(share)
