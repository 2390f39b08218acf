"""Counting: work that is known to allocate, or to keep, shows as that much."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from turbosock.cli.demo.allocations import Work, allocations, blocks_kept, frames, usable_memray

PIECES = 5


def _keeper() -> Work:
    """Work that keeps PIECES objects for each of its requests."""
    kept: list[object] = []

    def keep(count: int) -> int:
        for _ in range(count * PIECES):
            kept.append([])
        return count

    return keep


def _idle(count: int) -> int:
    return count


def _big(count: int) -> int:
    # Above what Python's own allocator serves: one allocation from the system each.
    for _ in range(count):
        bytes(4096)
    return count


def test_blocks_kept_by_work_that_keeps_are_counted() -> None:
    # A list is one block; the list that holds them grows by reallocation.
    assert PIECES <= blocks_kept(_keeper()) < PIECES + 0.5


def test_blocks_kept_by_work_that_keeps_nothing_are_none() -> None:
    assert blocks_kept(_big) < 0.1


def test_frames_counts_calls_of_python_functions() -> None:
    def call() -> None:
        pass

    def work(count: int) -> int:
        for _ in range(count):
            call()
            call()
        return count

    calls, large_calls = frames(work)
    assert calls == pytest.approx(2, abs=0.01)
    assert large_calls == 0
    assert sys.getprofile() is None


def test_allocations_by_the_tracer_for_calls_of_methods_are_none_of_the_works() -> None:
    pytest.importorskip("memray")
    memray = usable_memray()
    if memray is None:
        pytest.skip("this run is traced by memray itself")

    # Longer than the 256 bytes of code within which places are numbers that the interpreter keeps.
    lines = ["def find(count):", " data = b'abc'", " for _ in range(count):", *["  data; count"] * 150]
    made: dict[str, Work] = {}
    exec("\n".join([*lines, "  data.find(b'b')", "  empty()", " return count"]), {"empty": lambda: None}, made)
    # The loop's own numbers alone.
    assert allocations(memray, made["find"])[1] < 1.1


def test_usable_memray_missing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    assert usable_memray() is None


def test_usable_memray_already_tracing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tracker:
        def __init__(self, path: str) -> None:
            raise RuntimeError("No more than one Tracker instance can be active at the same time")

    class Memray:
        pass

    memray = Memray()
    memray.Tracker = Tracker  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "memray", memray)
    assert usable_memray() is None


def test_allocations_by_memray_are_counted_by_kind() -> None:
    pytest.importorskip("memray")
    memray = usable_memray()
    if memray is None:
        pytest.skip("this run is traced by memray itself")
    system, python = allocations(memray, _big)
    assert system == pytest.approx(1, abs=0.1)
    # The loop's own numbers are Python objects.
    assert 1 <= python < 2.1
    assert allocations(memray, _idle) == pytest.approx((0, 0), abs=0.1)


def test_allocations_of_the_tracers_frames_are_not_counted() -> None:
    pytest.importorskip("memray")
    memray = usable_memray()
    if memray is None:
        pytest.skip("this run is traced by memray itself")
    names = [f"local_{number}" for number in range(80)]
    # Its frame object is too large for Python's own allocator.
    scope: dict[str, Callable[[], None]] = {}
    exec(f"def large():\n    {' = '.join(names)} = None\n", scope)
    large = scope["large"]

    def work(count: int) -> int:
        for _ in range(count):
            large()
        return count

    system, python = allocations(memray, work)
    assert system < 0.1
    # The loop's own numbers are Python objects. From CPython 3.12 on, tracing a call makes one more.
    assert python < (1 if sys.version_info < (3, 12) else 2)
