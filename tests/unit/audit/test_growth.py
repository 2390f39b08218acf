"""Growth: what work keeps shows in bytes, in blocks and by line; what it gives back, or keeps once, does not."""

from __future__ import annotations

import tracemalloc

import pytest

from turbosock.audit.counting import Work
from turbosock.audit.growth import Growth, blocks_kept, growth, peak_bytes

PIECES = 5


def keeper() -> Work:
    """Work that keeps PIECES objects for each of its units."""
    kept: list[object] = []

    def keep(count: int) -> int:
        for _ in range(count * PIECES):
            kept.append([])
        return count

    return keep


def idle(count: int) -> int:
    return count


def test_growth_of_a_leak_is_counted_and_named() -> None:
    kept: list[bytes] = []

    def leak(count: int) -> int:
        for _ in range(count):
            kept.append(bytes(1000))
        return count

    grown = growth(leak, 100, 10, lines=True)
    assert grown.units == 100
    assert 100_000 <= grown.nbytes < 120_000
    assert grown.blocks >= 0
    assert grown.sites[0].source == "kept.append(bytes(1000))"
    assert grown.bytes_per_second == pytest.approx(grown.nbytes / grown.seconds)
    assert not tracemalloc.is_tracing()


def test_growth_of_what_is_kept_once_is_none() -> None:
    kept: list[bytes] = []
    seen = 0

    def work(count: int) -> int:
        nonlocal seen
        seen += count
        if seen > 250 and not kept:
            kept.append(bytes(100_000))
        return count

    assert abs(growth(work, 100, 50).nbytes) < 1000


def test_growth_of_work_that_does_more_than_it_is_told_is_for_what_it_did() -> None:
    assert growth(lambda count: count + 7, 10, 1).units == 17


def test_growth_of_work_that_raises_leaves_no_tracer_behind() -> None:
    calls = 0

    def work(count: int) -> int:
        nonlocal calls
        calls += 1
        if tracemalloc.is_tracing():
            raise ZeroDivisionError
        return count

    with pytest.raises(ZeroDivisionError):
        growth(work, 10, 1)
    assert calls == 3
    assert not tracemalloc.is_tracing()


def test_rate_of_no_time_is_none() -> None:
    assert Growth(10, 0.0, 10, 0, 0).rate == 0
    assert Growth(10, 0.0, 10, 0, 0).bytes_per_second == 0


def test_peak_is_what_one_unit_holds_at_its_worst_moment() -> None:
    def work(count: int) -> int:
        for _ in range(count):
            first = bytes(10_000)
            del first
            bytes(20_000)
        return count

    assert 20_000 <= peak_bytes(work) < 22_000
    assert not tracemalloc.is_tracing()


def test_blocks_kept_by_work_that_keeps_are_counted() -> None:
    # A list is one block; the list that holds them grows by reallocation.
    assert PIECES - 0.1 < blocks_kept(keeper()) < PIECES + 0.5


def test_blocks_kept_by_work_that_keeps_nothing_are_none() -> None:
    assert blocks_kept(idle) < 0.1
