"""Taking a connection to an https origin that stands ready, against dialling one.

A ready connection is taken twice: within a millisecond of its last use, when nothing is asked about it, and later, when
one system call tells whether its peer has spoken or closed, as it is of one that was prewarmed. Dialling is TCP and
the handshake, with and without a session to resume.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import libraries
from task import Task

if TYPE_CHECKING:
    from turbosock import Client
    from turbosock.config import Timeouts
    from turbosock.connection.http1 import Http1Connection
    from turbosock.pool.origin_pool import OriginPool

READY = 32
# Longer than a connection goes unasked.
REST_S = 0.002

monotonic_ns = time.monotonic_ns


class Dialler:
    """For whom a connection is dialled."""

    def __init__(self, timeouts: Timeouts) -> None:
        from turbosock.errors import Phase

        self.timeouts = timeouts
        self.deadline_ns = monotonic_ns() + timeouts.total_ns
        self.phase = Phase.NONE

    def check_deadline(self) -> None:
        """There is time."""


def origin_of(client: Client, task: Task) -> OriginPool:
    """The pool of the server's connections."""
    from turbosock.pool.origin_pool import OriginKey

    return client.pool.origin(OriginKey("https", task.host, task.port))


def dialled(client: Client, origin: OriginPool) -> tuple[int, Http1Connection]:
    """The time that one dial takes, in ns, and its connection."""
    dialler = Dialler(client.config.timeouts)
    start = monotonic_ns()
    place = origin.reserve()
    assert place is not None
    connection = client.connections.dial(dialler, origin, place)
    return monotonic_ns() - start, connection


def taken(origin: OriginPool, count: int, *, rested: bool) -> list[int]:
    """The times that `count` ready connections take to be taken, in ns; all are given back."""
    times = list[int]()
    # The clock is looked at for give_back() in the first place, and so it is counted.
    while len(times) < count:
        if rested:
            time.sleep(REST_S)
        held = []
        for _ in range(READY):
            if not rested:
                origin.idle[-1].idle_since_ns = monotonic_ns()
            start = monotonic_ns()
            connection = origin.take_idle(monotonic_ns())
            times.append(monotonic_ns() - start)
            if connection is None:
                raise RuntimeError("a ready connection was not fit for use")
            held.append(connection)
        for connection in held:
            origin.give_back(connection, monotonic_ns())
    return times


def report(task: Task) -> dict[str, float]:
    """Median times in ns."""
    figures = {}
    for name, resume in (("full", False), ("resumed", True)):
        client = libraries.turbosock_client(task, resume=resume)
        # A session comes with an answer, behind the handshake.
        client.get(task.url("/session"))
        origin = origin_of(client, task)
        dials = []
        for _ in range(READY - 1):
            spent, connection = dialled(client, origin)
            dials.append(spent)
            origin.give_back(connection, monotonic_ns())
        figures[name] = statistics.median(dials)
        if resume:
            warm = client.prewarm(task.url("/"), READY, READY)
            if not warm.wait(10):
                raise RuntimeError("the connections were not ready in time")
            # Each has answered once: what a server sends behind a handshake is not waiting in it any more.
            figures["ready"] = statistics.median(taken(origin, task.count, rested=False))
            figures["asked"] = statistics.median(taken(origin, task.count, rested=True))
        client.close()
    return figures


REPORTS = {"turbosock": report}
