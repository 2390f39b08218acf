"""The workloads of messages: their frames are frames, their servers take everything, and promises name who is there."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from support.bench import BENCH, PATHS, Load


@pytest.fixture(scope="module")
def echo_server() -> Iterator[int]:
    """The port of a running echo_server.py."""
    command = [sys.executable, os.fspath(BENCH / "echo_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin:
            yield int(process.stdout.readline())


def answer(load: Load, workload: str, contestant: str, measure: str, **fields: Any) -> dict[str, Any]:
    """What a contestant says, in a process of its own."""
    task = load("task").Task(workload, contestant, measure, "127.0.0.1", 0, 0.1, 1, 1, -1)
    told = json.dumps(dataclasses.asdict(dataclasses.replace(task, **fields)))
    command = [sys.executable, os.fspath(BENCH / "contestant.py"), told]
    done = subprocess.run(command, env=os.environ | PATHS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("size", [0, 5, 125, 126, 300, 65_535, 65_536])
def test_prepared_frames_have_their_payload(load: Load, size: int) -> None:
    raw = load("raw_websocket")
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    frame = raw.masked_frame(payload)
    assert raw.payload_of(frame + b"more") == (len(frame), payload)
    for there in {0, 1, 2, 5, 9, len(frame) - 1}:
        assert raw.payload_of(frame[: min(there, len(frame) - 1)])[0] == 0
    assert raw.plain_frame(payload).endswith(payload)


@pytest.mark.parametrize("contestant", ["bare, 1 KiB", "turbosock, no numpy, 64 KiB", "turbosock loop, 32 B"])
def test_echo_comes_back(load: Load, echo_server: int, contestant: str) -> None:
    assert answer(load, "ws_echo", contestant, "calls", port=echo_server, count=2) == {}


def test_every_message_of_a_crowd_is_counted(load: Load) -> None:
    phases = answer(load, "ws_fanin", "turbosock", "report", in_flight=5)
    assert list(phases) == ["paced", "singly", "bursts"]
    for phase in phases.values():
        assert phase["messages"] == phase["sent"] > 0
        assert phase["cpu_s"] > 0 and phase["seconds"] > 0


def test_audience_gets_every_broadcast(load: Load) -> None:
    ticks = answer(load, "ws_broadcast", "turbosock loop", "report", in_flight=5)
    assert 0 < ticks["p50"] <= ticks["p99"] <= ticks["longest"]


def test_players_among_hostile_clients_are_heard(load: Load) -> None:
    told = answer(load, "tick_latency", "turbosock loop", "report", in_flight=5, seconds=1.0)
    assert told["flooded"] > 0 and told["received"] > 0
    assert 0 < sum(told["waits"].values()) <= told["sent"]


@pytest.mark.parametrize("server", ["turbosock sessions", "asyncio"])
def test_datagrams_come_back(load: Load, server: str) -> None:
    assert answer(load, "udp_echo", server, "report")["back"] > 0


def test_idle_websockets_hold_something(load: Load) -> None:
    assert answer(load, "ws_idle", "loop, server", "report", count=5)["bytes"] > 0


@pytest.mark.parametrize("contestant", ["blocking, 32 B", "client, 32 B, 50 a turn"])
def test_contestants_of_allocations_echo(load: Load, echo_server: int, contestant: str) -> None:
    assert answer(load, "ws_allocations", contestant, "calls", port=echo_server, count=2) == {}


def test_promises_name_those_who_take_part(load: Load) -> None:
    promises = load("promises")
    echo = load("workloads.ws_echo")
    assert {size for size, _ in promises.ECHO_RATIOS} <= echo.SIZES.keys()
    assert {other for _, other in promises.ECHO_RATIOS} <= echo.PEERS.keys()
    assert promises.FANIN_RATIOS.keys() <= load("workloads.ws_fanin").SERVERS.keys()
    assert promises.DATAGRAM_RATIOS.keys() <= load("workloads.udp_echo").SERVERS.keys()
