"""From the reset of a connection to the first event of the next one, in seconds: each time of a new stream."""

from __future__ import annotations

import time
from collections.abc import Callable

from task import Task


def turbosock_events(task: Task) -> list[float]:
    """client.events()"""
    import turbosock

    found = []
    with turbosock.Client(turbosock.Config(trust_env=False)) as client:
        for _ in range(task.count):
            with client.events(task.url("/reset")) as stream:
                next(stream)
                event = next(stream)
                found.append((time.monotonic_ns() - int(event.text.split(None, 1)[0])) / 1e9)
    return found


def turbosock_loop(task: Task) -> list[float]:
    """loop.events_from()"""
    import turbosock

    found = []
    with turbosock.Loop(turbosock.Config(trust_env=False)) as loop:
        for _ in range(task.count):
            stream = loop.events_from(task.url("/reset"))
            told = 0
            while told < 2:
                loop.poll(1.0)
                for event in loop.events:
                    if event.kind is turbosock.EventKind.MESSAGE:
                        told += 1
                        if told == 2:
                            assert event.data is not None
                            sent_ns = int(bytes(event.data[:20]).split(None, 1)[0])
                            found.append((time.monotonic_ns() - sent_ns) / 1e9)
            stream.close()
    return found


CONTESTANTS: dict[str, Callable[[Task], list[float]]] = {
    "turbosock events": turbosock_events,
    "turbosock loop": turbosock_loop,
}


def times(task: Task) -> dict[str, float]:
    """The median and the longest."""
    found = sorted(CONTESTANTS[task.contestant](task))
    return {"median": found[len(found) // 2], "longest": found[-1]}


REPORTS = dict.fromkeys(CONTESTANTS, times)
