"""Counting: work that is known to allocate shows as that much, at its line, without what the tracer makes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest

from turbosock.audit.counting import (
    Work,
    allocations,
    frames,
    source_line,
    trace,
    usable_memray,
    why_no_memray,
    without_frames,
)


def idle(count: int) -> int:
    return count


def big(count: int) -> int:
    # Above what Python's own allocator serves: one allocation from the system each.
    for _ in repeat(None, count):
        bytes(4096)
    return count


def call() -> None:
    pass


def calls_twice(count: int) -> int:
    for _ in repeat(None, count):
        call()
        call()
    return count


def wide_function() -> Callable[[], None]:
    """A function whose frame object is too large for Python's own allocator."""
    names = [f"local_{number}" for number in range(80)]
    scope: dict[str, Callable[[], None]] = {}
    exec(f"def wide():\n    {' = '.join(names)} = None\n", scope)
    return scope["wide"]


def test_frames_counts_calls_of_python_functions_for_the_lines_that_call() -> None:
    found = frames(calls_twice, 1000)
    assert (found.calls, found.made) == pytest.approx((2, 2), abs=0.01)
    assert found.large == 0
    first = inspect.getsourcelines(calls_twice)[1] + 2
    assert {line[2]: tally[0] for line, tally in found.by_line.items() if line[0] == "calls_twice"} == {
        first: 1.0,
        first + 1: 1.0,
    }
    assert sys.getprofile() is None


def test_frames_above_the_small_allocator_are_told_apart() -> None:
    wide = wide_function()

    def work(count: int) -> int:
        for _ in repeat(None, count):
            wide()
        return count

    found = frames(work, 100)
    assert found.large == 1
    assert found.large_bytes > 512


def test_frames_of_work_that_raises_leave_no_tracer_behind() -> None:
    def work(count: int) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        frames(work, 1)
    assert sys.getprofile() is None


def test_memray_missing_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    assert usable_memray() is None
    assert "pip install 'turbosock[audit]'" in why_no_memray()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            RuntimeError("No more than one Tracker instance can be active at the same time"),
            "traces this process already",
        ),
        (OSError("Operation not supported"), "does not work on this platform: Operation not supported"),
    ],
)
def test_memray_that_cannot_trace_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: str
) -> None:
    class Tracker:
        def __init__(self, path: str) -> None:
            raise error

    class Memray:
        pass

    memray = Memray()
    memray.Tracker = Tracker  # type: ignore[attr-defined]  # a stand-in for the module
    monkeypatch.setitem(sys.modules, "memray", memray)
    assert expected in why_no_memray()
    assert usable_memray() is None


def test_allocations_are_counted_by_kind(memray: Any) -> None:
    assert allocations(memray, big) == pytest.approx((1, 1), abs=0.05)
    assert allocations(memray, idle) == pytest.approx((0, 0), abs=0.05)


def test_allocations_of_the_tracers_frames_are_not_counted(memray: Any) -> None:
    wide = wide_function()

    def work(count: int) -> int:
        for _ in repeat(None, count):
            wide()
            call()
        return count

    assert allocations(memray, work) == pytest.approx((0, 0), abs=0.05)


def test_allocations_of_the_tracers_ints_deep_in_a_function_are_not_counted(memray: Any) -> None:
    # Each event tells an offset, which is an object beyond 256.
    scope: dict[str, Work] = {"repeat": repeat, "call": call}  # type: ignore[dict-item]  # beside the function
    body = "        call()\n        len(())\n" * 60
    exec(f"def work(count):\n    for _ in repeat(None, count):\n{body}    return count\n", scope)
    assert allocations(memray, scope["work"], 100) == pytest.approx((0, 0), abs=0.2)


def test_allocations_by_the_tracer_for_calls_of_methods_are_none_of_the_works(memray: Any) -> None:
    data = b"abc"

    def work(count: int) -> int:
        for _ in repeat(None, count):
            data.find(b"b")
        return count

    assert allocations(memray, work) == pytest.approx((0, 0), abs=0.05)


def test_trace_names_the_line_its_source_and_its_stack(memray: Any) -> None:
    found = trace(memray, big, 100, python_allocators=False, lines=True)
    [site, *_] = found.sites
    assert (site.file, site.function, site.source) == (__file__, "big", "bytes(4096)")
    assert site.allocator == "calloc"
    assert site.made == pytest.approx(1)
    assert site.nbytes == pytest.approx(4096, rel=0.05)
    stacks = [stack for stack, made, _ in found.stacks if made > 0.9]
    assert [line[0] for line in stacks[0][:2]] == ["big", "trace"]


def test_trace_without_frames_has_the_works_own_lines_only(memray: Any) -> None:
    def work(count: int) -> int:
        for _ in repeat(None, count):
            call()
            bytearray(9)
        return count

    work(100)
    whole = trace(memray, work, 500, python_allocators=True, lines=True)
    own = without_frames(whole, frames(work, 500), python_allocators=True)
    assert [site.source for site in whole.sites if site.made > 0.5].count("call()") == 1
    assert {site.source for site in own.sites if site.made > 0.5} == {"bytearray(9)"}
    assert own.made == pytest.approx(sum(site.made for site in own.sites), abs=0.1)
    assert sum(made for _, made, _ in own.stacks) == pytest.approx(own.made, abs=0.1)


def test_trace_tells_what_was_kept_and_who_took_it(memray: Any) -> None:
    kept: list[bytes] = []

    def work(count: int) -> int:
        for _ in repeat(None, count):
            kept.append(bytes(5000))
            bytes(6000)
        return count

    found = trace(memray, work, 50, python_allocators=True, kept=True)
    assert 5000 <= found.kept_bytes < 5500
    assert found.kept[0].source == "kept.append(bytes(5000))"
    assert not found.sites


def test_source_of_a_line_that_is_not_there_is_empty() -> None:
    assert source_line("/nowhere.py", 3) == ""
    assert source_line("", 0) == ""
