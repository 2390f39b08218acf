"""The workloads of event streams: what they feed is what they say, and each contestant reads all of it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

from support.sse import standard

BENCH = Path(__file__).parent.parent.parent / "tools" / "bench"


class Load(Protocol):
    """Imports one of the benchmarks' modules by its name."""

    def __call__(self, name: str) -> ModuleType: ...


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import from tools/bench for one test, and leave nothing behind."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCH)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(os.fspath(BENCH)):
            del sys.modules[name]


def task(load: Load, contestant: str) -> object:
    return load("task").Task("sse_parse", contestant, "time", "127.0.0.1", 0, 0.1, 1, 1, -1)


def test_event_of_each_kind_has_its_size_lines_and_fields(load: Load) -> None:
    workload = load("workloads.sse_parse")
    for kind in workload.KINDS.values():
        for number in (0, 7, 4321):
            event = workload.event_of(kind, number)
            assert len(event) == kind.size
            [told] = standard(event).events
            assert told.data.count(b"\n") == kind.lines - 1
            assert (told.event, told.id) == (("update", str(100_000 + number)) if kind.whole else ("message", ""))


def test_contestants_read_every_event_of_every_kind(load: Load) -> None:
    workload = load("workloads.sse_parse")
    for name, make in workload.CONTESTANTS.items():
        if not name.startswith("httpx-sse"):
            make(task(load, name))(1)


def test_run_that_reads_fewer_events_is_no_measurement(load: Load) -> None:
    with pytest.raises(RuntimeError, match="9 events, not 10"):
        load("workloads.sse_parse").checked(lambda: 9, 10)


def test_allocations_of_the_smallest_event_are_within_the_budget(load: Load) -> None:
    pytest.importorskip("memray")
    pytest.importorskip("_testcapi")
    workload, promises = load("workloads.sse_parse"), load("promises")
    found = workload.REPORTS[promises.EVENT_BUDGET](task(load, promises.EVENT_BUDGET))
    assert found["python"] <= promises.EVENT_ALLOCATIONS
    assert found["system"] <= promises.NO_SYSTEM_ALLOCATION


def test_promises_name_kinds_that_exist(load: Load) -> None:
    promises = load("promises")
    assert {*promises.EVENT_RATIOS, promises.EVENT_BUDGET} <= load("workloads.sse_parse").KINDS.keys()
