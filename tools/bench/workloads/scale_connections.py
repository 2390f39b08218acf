"""The contestants of `http1_concurrent`, with every connection open, and used, before the time is taken."""

from __future__ import annotations

import resource
import time
from typing import Any

from task import Contestant, Run, Task, Timed
from workloads import http1_concurrent

# Requests of a run, at least; and of each connection.
LEAST = 5_000
EACH = 2


def turbosock_loop(task: Task) -> Run:
    """Loop.request(into=) and Loop.poll()"""
    import turbosock

    many = task.in_flight
    pool = turbosock.PoolConfig(max_connections=many, max_connections_per_origin=many, max_idle=many)
    return http1_concurrent.request_all(turbosock.Loop(turbosock.Config(pool=pool)), task)


def opened(contestant: Contestant) -> Contestant:
    """A run that opens all connections first, and then keeps its own time of so many requests."""

    def make(task: Task) -> Run:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        run: Any = contestant(task)
        run(task.in_flight)
        many = max(LEAST, EACH * task.in_flight)

        def timed(count: int) -> Timed:
            start = time.perf_counter()
            run(many)
            return Timed(many, time.perf_counter() - start)

        return timed

    return make


CONTESTANTS: dict[str, Contestant] = {
    "bare": opened(http1_concurrent.bare),
    "turbosock loop": opened(turbosock_loop),
    "pycurl multi": opened(http1_concurrent.pycurl_multi),
    "wrk": http1_concurrent.wrk,
}
