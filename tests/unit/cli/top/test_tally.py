"""Latencies against a naive model, and what a Tally makes of requests."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.cli.top.tally import Latencies, Tally, sum_of


def quantile(times: list[int], share: float) -> int:
    """The smallest of the times that at least `share` of them do not exceed."""
    ordered = sorted(times)
    return next(time for index, time in enumerate(ordered, 1) if index >= share * len(ordered))


@pytest.mark.parametrize("seed", seeds(3))
def test_quantile_is_that_of_a_sorted_list_to_a_sixteenth(seed: int) -> None:
    rng = random.Random(seed)
    times = [rng.randrange(1 << rng.randrange(1, 45)) for _ in range(500)]
    latencies = Latencies()
    for time in times:
        latencies.note(time)

    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = quantile(times, share)
        assert exact <= latencies.quantile_ns(share) <= exact + exact // 16, f"seed {seed}, share {share}"
    assert latencies.max_ns == max(times)


def test_quantile_of_nothing_is_0() -> None:
    assert Latencies().quantile_ns(0.5) == 0


def test_time_beyond_every_bucket_is_in_the_last_one() -> None:
    latencies = Latencies()
    latencies.note(1 << 80)
    latencies.note(1)
    assert latencies.max_ns == 1 << 80
    assert latencies.quantile_ns(0.5) == 1
    assert latencies.quantile_ns(1.0) > 1 << 50


def test_sum_has_what_each_counted() -> None:
    first, second = Tally(), Tally()
    first.answers, first.nbytes = 2, 10
    first.statuses.update({200: 1, 404: 1})
    first.latencies.note(5)
    second.failures = 1
    second.errors["connect"] = 1
    second.latencies.note(9)

    total = sum_of([first, second])

    assert (total.answers, total.failures, total.nbytes) == (2, 1, 10)
    assert (total.of_class(2), total.of_class(4), total.of_class(5)) == (1, 1, 0)
    assert total.errors == {"connect": 1}
    assert (total.latencies.quantile_ns(0.5), total.latencies.max_ns) == (5, 9)
    assert first.latencies.max_ns == 5
