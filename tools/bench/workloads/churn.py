"""A new connection for each request, thousands of times: descriptors and memory have to end where they began."""

from __future__ import annotations

import gc
import os

import libraries
from task import BODY_BYTES, Run, Task, repeated
from work import GROWTH_WARM_UP, growth
from workloads.http1_sequential import PATH

# Connections of a Loop under way at once.
AT_ONCE = 16


def descriptors() -> int:
    """Open descriptors of this process."""
    # That of the listing itself is among them, before and after.
    return len(os.listdir("/proc/self/fd"))


def with_client(task: Task) -> Run:
    """Client.get().content of a Client that keeps no connection"""
    import turbosock

    client, url = libraries.turbosock_client(task, pool=turbosock.PoolConfig(max_idle=0)), task.url(PATH)
    return repeated(lambda: len(client.get(url).content))


def with_loop(task: Task) -> Run:
    """A Loop that keeps no connection, a few requests at once"""
    import turbosock

    pool = turbosock.PoolConfig(max_idle=0)
    loop = turbosock.Loop(turbosock.Config(pool=pool, **libraries.tls_settings(task)))
    url, into = task.url(PATH), memoryview(bytearray(BODY_BYTES))

    def run(count: int) -> None:
        begun = done = 0
        while done < count:
            while begun < count and begun - done < AT_ONCE:
                loop.request("GET", url, into=into)
                begun += 1
            loop.poll(1.0)
            for event in loop.events:
                if event.exchange is None or event.exchange.nbytes != BODY_BYTES:
                    raise RuntimeError(f"a request failed: {event.error}")
                done += 1

    return run


def report(task: Task, run: Run) -> dict[str, object]:
    """Descriptors before and after, and what memory is still held: `count` connections, half of them traced."""
    run(GROWTH_WARM_UP)
    gc.collect()
    before = descriptors()
    grown = growth(run, task.count // 2)
    gc.collect()
    return {**grown, "before": before, "after": descriptors()}


REPORTS = {
    "turbosock get": lambda task: report(task, with_client(task)),
    "turbosock loop": lambda task: report(task, with_loop(task)),
}
