"""The workloads of event streams: what they feed is what they say, and each contestant reads all of it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from support.bench import BENCH, Load
from support.sse import standard


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


@pytest.fixture(scope="module")
def event_server() -> Iterator[int]:
    """The port of a running event_server.py."""
    command = [sys.executable, os.fspath(BENCH / "event_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin:
            yield int(process.stdout.readline())


def served(load: Load, workload: str, contestant: str, port: int, count: int) -> Any:
    return load("task").Task(workload, contestant, "time", "127.0.0.1", port, 0.02, count, 1, -1)


def ours(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("httpx-sse")]


def test_contestants_read_a_whole_stream_from_the_server(load: Load, event_server: int) -> None:
    for name in ("bare", "turbosock loop"):
        task = dataclasses.replace(served(load, "sse_stream", name, event_server, 1), measure="calls")
        # In a process of its own, as always: it keeps what it opened.
        command = [sys.executable, os.fspath(BENCH / "contestant.py"), json.dumps(dataclasses.asdict(task))]
        paths = {"PYTHONPATH": os.pathsep.join([os.fspath(BENCH), os.fspath(BENCH.parent.parent)])}
        done = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, timeout=20)
        assert (done.stdout, done.stderr) == ("{}\n", "")


def test_latencies_are_those_of_all_paced_events(load: Load, event_server: int) -> None:
    workload = load("workloads.sse_latency")
    for name in ours(workload.CONTESTANTS):
        task = served(load, "sse_latency", name, event_server, 1)
        assert len(workload.CONTESTANTS[name](task)) == workload.path_of(task)[1]
        report = workload.REPORTS[name](task)
        assert 0 < report["p50"] <= report["p95"] <= report["p99.9"] < 10


def test_reconnections_are_timed_from_the_reset(load: Load, event_server: int) -> None:
    workload = load("workloads.sse_reconnect")
    for name in workload.CONTESTANTS:
        report = workload.REPORTS[name](served(load, "sse_reconnect", name, event_server, 3))
        assert 0 < report["median"] <= report["longest"] < 10


def test_sessions_hold_more_the_more_they_are_sent(load: Load) -> None:
    workload = load("workloads.sse_sessions")
    figures = workload.perform(5, True)
    assert 0 < figures["open"] < figures["waiting"]
    assert figures["taken"] < figures["waiting"]
