"""Percentiles of ticks, by nearest rank."""

from __future__ import annotations

import pytest

from turbosock.cli.demo.ticks import percentiles


@pytest.mark.parametrize(
    ("durations_ms", "expected_ms"),
    [
        ([7], (7, 7, 7)),
        ([2, 1], (1, 2, 2)),
        ([3, 1, 2], (2, 3, 3)),
        (list(range(100, 0, -1)), (50, 99, 100)),
        (list(range(1, 201)), (100, 198, 200)),
    ],
)
def test_percentiles_are_values_of_the_nearest_rank(durations_ms: list[int], expected_ms: tuple[int, int, int]) -> None:
    found = percentiles([duration_ms * 1_000_000 for duration_ms in durations_ms])
    assert [name for name, _ in found] == ["p50", "p99", "max"]
    assert [seconds for _, seconds in found] == pytest.approx([value / 1000 for value in expected_ms])
