"""From the send of one event to the hands of the caller, in nanoseconds; each event says when it was sent."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from task import Task

PAUSE_US = 500
EVENTS_A_SECOND = 1_000_000 // PAUSE_US
WARM_UP = 20


def path_of(task: Task) -> tuple[str, int]:
    """What is asked for, and how many events come."""
    count = WARM_UP + max(100, int(task.seconds * EVENTS_A_SECOND))
    return f"/paced/{count}/{PAUSE_US}", count


def bare(task: Task) -> list[int]:
    """recv_into, and a search for the number"""
    path, count = path_of(task)
    view = memoryview(bytearray(65536))
    found: list[int] = []
    with socket.create_connection((task.host, task.port)) as sock:
        sock.sendall(task.request(path))
        while len(found) < count:
            size = sock.recv_into(view)
            now_ns = time.monotonic_ns()
            data = view[:size].tobytes()
            # Where the reader was late, several come at once.
            found += [now_ns - int(event.split(None, 1)[0]) for event in data.split(b"data: ")[1:]]
    return found


def turbosock_events(task: Task) -> list[int]:
    """client.events()"""
    import turbosock

    path, _ = path_of(task)
    found: list[int] = []
    with (
        turbosock.Client(turbosock.Config(trust_env=False)) as client,
        client.events(task.url(path), reconnect=False) as stream,
    ):
        for event in stream:
            now_ns = time.monotonic_ns()
            found.append(now_ns - int(bytes(event.data[:20]).split(None, 1)[0]))
    return found


def turbosock_loop(task: Task) -> list[int]:
    """loop.events_from(), with a poll() that waits"""
    import turbosock

    path, _ = path_of(task)
    found: list[int] = []
    with turbosock.Loop(turbosock.Config(trust_env=False)) as loop:
        stream = loop.events_from(task.url(path), reconnect=False)
        while not stream.closed:
            loop.poll(1.0)
            for event in loop.events:
                if event.kind is turbosock.EventKind.MESSAGE:
                    now_ns = time.monotonic_ns()
                    assert event.data is not None
                    found.append(now_ns - int(bytes(event.data[:20]).split(None, 1)[0]))
    return found


def httpx_sse_events(task: Task) -> list[int]:
    """httpx_sse.connect_sse over an httpx.Client"""
    import httpx
    import httpx_sse

    path, _ = path_of(task)
    found: list[int] = []
    with httpx.Client(trust_env=False) as client, httpx_sse.connect_sse(client, "GET", task.url(path)) as source:
        for event in source.iter_sse():
            now_ns = time.monotonic_ns()
            found.append(now_ns - int(event.data.split(None, 1)[0]))
    return found


CONTESTANTS: dict[str, Callable[[Task], list[int]]] = {
    "bare": bare,
    "turbosock events": turbosock_events,
    "turbosock loop": turbosock_loop,
    "httpx-sse": httpx_sse_events,
}


def percentiles(task: Task) -> dict[str, float]:
    """p50, p95 and p99.9 in seconds, by nearest rank."""
    times = sorted(CONTESTANTS[task.contestant](task)[WARM_UP:])
    ranks = {name: min(len(times) - 1, int(len(times) * share)) for name, share in SHARES.items()}
    return {name: times[rank] / 1e9 for name, rank in ranks.items()}


SHARES = {"p50": 0.5, "p95": 0.95, "p99.9": 0.999}
REPORTS = dict.fromkeys(CONTESTANTS, percentiles)
