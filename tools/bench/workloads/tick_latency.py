"""A hostile mix on one Loop that ticks 60 times a second, with at most 3 ms of work in each poll().

Beside the players, whose small messages say when they were sent, one floods, one never reads the snapshots that
everybody is sent, and some send their handshakes a byte a second (see crowd.py). What is measured is how long poll()
takes, by the clock and in processor time, which no other process on the core takes a part of, and how many polls a
player's message waited for: 1 is the first one that began after it was sent.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from struct import Struct
from typing import Any

from crowd import COMMAND_BYTES, MESSAGE_BYTES
from crowd_server import CrowdProcess, allow_descriptors
from task import Task

TICK_HZ = 60
MAX_TIME_S = 0.003
FLUSH_S = 0.004
RATE = 20
SLOW = 100
# Every player gets a snapshot in every third tick.
SNAPSHOT_TICKS = 3
BACKLOG = 1024
SNAPSHOT = b"s" * 200
WARM_UP = 30
_stamp_of = Struct(">q").unpack_from
_FLOOD_BYTE = ord("f")


def report(task: Task) -> dict[str, Any]:
    """Percentiles of poll() in seconds, and of the players' waits in ticks; `in_flight` players."""
    allow_descriptors(task.in_flight + SLOW)
    crowds: list[CrowdProcess] = []

    def begin(port: int) -> None:
        crowds.append(CrowdProcess(task.core, port, "players", task.in_flight, RATE, SLOW, task.seconds))

    try:
        measured = serve(begin, task.in_flight)
        told = crowds[0].end()
    except BaseException:
        for crowd in crowds:
            crowd.kill()
        raise
    return {**measured, **told}


def serve(begin: Any, players: int) -> dict[str, Any]:
    """Be the server of the game."""
    import turbosock

    message, opened, over = turbosock.EventKind.MESSAGE, turbosock.EventKind.OPEN, turbosock.EventKind.CLOSED
    polls: list[float] = []
    works: list[float] = []
    ticks: list[float] = []
    begun_ns: list[int] = []
    waits: dict[int, int] = {}
    longest_ms = 0.0
    groups: list[set[Any]] = [set() for _ in range(SNAPSHOT_TICKS)]
    flooded = full = 0
    playing = done = False
    with turbosock.Loop() as loop:
        listener = loop.listen(
            ("127.0.0.1", 0), protocol="websocket", max_connections=players + SLOW + 10, backlog=BACKLOG
        )
        begin(listener.address[1])
        clock = turbosock.TickClock(TICK_HZ)
        while not done:
            if playing:
                time.sleep(clock.remaining_s())
                clock.due()
                start_ns = time.monotonic_ns()
                begun_ns.append(start_ns)
                start_s = time.process_time()
                loop.poll(max_time=MAX_TIME_S)
                works.append(time.process_time() - start_s)
                now_ns = time.monotonic_ns()
                polls.append((now_ns - start_ns) / 1e9)
            else:
                loop.poll(1.0)
                now_ns = time.monotonic_ns()
            for event in loop.events:
                if event.kind is message:
                    data = event.data
                    if len(data) == MESSAGE_BYTES:
                        if data[0] == _FLOOD_BYTE:
                            flooded += 1
                            continue
                        sent_ns = _stamp_of(data)[0]
                        ticks_waited = len(begun_ns) - bisect_right(begun_ns, sent_ns)
                        waits[ticks_waited] = waits.get(ticks_waited, 0) + 1
                        longest_ms = max(longest_ms, (now_ns - sent_ns) / 1e6)
                    elif len(data) == COMMAND_BYTES:
                        done, playing = playing, True
                        clock.restart()
                elif event.kind is opened:
                    min(groups, key=len).add(event.connection)
                elif event.kind is over:
                    for group in groups:
                        group.discard(event.connection)
            if playing:
                full += loop.broadcast(groups[len(begun_ns) % SNAPSHOT_TICKS], SNAPSHOT, key="snapshot").full
                loop.flush(max_time=FLUSH_S)
                ticks.append((time.monotonic_ns() - start_ns) / 1e9 if begun_ns else 0.0)
        missed = clock.missed
    polls = sorted(polls[WARM_UP:])
    works = sorted(works[WARM_UP:])
    ticks = sorted(ticks[WARM_UP:])
    return {
        "cpu_p99": works[int(len(works) * 0.99)],
        "p50": polls[len(polls) // 2],
        "p99": polls[int(len(polls) * 0.99)],
        "longest": polls[-1],
        "tick_p99": ticks[int(len(ticks) * 0.99)],
        "waits": waits,
        "longest_wait_ms": longest_ms,
        "flooded": flooded,
        "full": full,
        "missed": missed,
    }


REPORTS = {"turbosock loop": report}
CONTESTANTS = REPORTS
