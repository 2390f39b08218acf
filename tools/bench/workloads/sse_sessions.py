"""A thousand event streams in one Loop, each active: what all of them hold while events wait, and when they are taken.

Everybody is sent the same bytes at the same time (holding_server.py), which is the worst that can happen: the events of
all streams wait at once.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable

from task import Task
from work import resident_bytes
from workloads.concurrent_10000 import DEADLINE_S, SocketPeers, make_loop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
# What everybody is sent each time: ten events of 100 bytes.
BURST_EVENTS = 10
BURST = (b"data: " + b"x" * 92 + b"\n\n") * BURST_EVENTS
BURSTS = 5


class StreamPeers(SocketPeers):
    """Everybody who is asked, with other answers."""

    def say(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data.hex() + "\n")
        self._process.stdin.flush()


def perform(count: int, traced: bool) -> dict[str, float]:
    """Bytes in all, in each state."""
    import turbosock

    message = turbosock.EventKind.MESSAGE
    peers = StreamPeers(count)
    figures: dict[str, float] = {}
    deadline_s = time.monotonic() + DEADLINE_S
    try:
        with make_loop(count, None) as loop:

            def turn_until(reached: Callable[[], bool]) -> None:
                while not reached():
                    loop.poll(0.05)
                    if time.monotonic() > deadline_s:
                        raise RuntimeError(f"not done after {DEADLINE_S} s")

            def note(state: str) -> None:
                gc.collect()
                now = tracemalloc.get_traced_memory()[0] if traced else resident_bytes()
                figures[state] = max(figures.get(state, 0), now - before)

            expected = 0

            def everything_came() -> bool:
                return loop.reactor.bytes_in - bytes_in == expected

            def take() -> int:
                return sum(event.kind is message for event in loop.events)

            loop.poll()
            if traced:
                tracemalloc.start()
            gc.collect()
            before = tracemalloc.get_traced_memory()[0] if traced else resident_bytes()
            url = f"http://127.0.0.1:{peers.port}/"
            streams = [loop.events_from(url) for _ in range(count)]
            turn_until(peers.asked)
            peers.say(HEAD)
            turn_until(lambda: all(stream.state is turbosock.StreamState.OPEN for stream in streams))
            take()
            note("open")
            bytes_in = loop.reactor.bytes_in
            start_s = time.monotonic()
            for _ in range(BURSTS):
                expected += count * len(BURST)
                peers.say(BURST)
                turn_until(everything_came)
                note("waiting")
                got = take()
                if got != count * BURST_EVENTS:
                    raise RuntimeError(f"{got} events came, not {count * BURST_EVENTS}")
                note("taken")
            figures["seconds"] = time.monotonic() - start_s
            if traced:
                tracemalloc.stop()
    finally:
        peers.close()
    return figures


def report(task: Task) -> dict[str, dict[str, float]]:
    """Once for the resident size, and once under tracemalloc."""
    return {"resident": perform(task.count, False), "traced": perform(task.count, True)}


REPORTS = {"turbosock loop": report}
