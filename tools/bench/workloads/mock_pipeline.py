"""Requests through the whole pipeline and no network: middleware, limiter, pool, protocol, a peer in memory.

"chain" has four links around each exchange: a recorder of its timeline, a limit of concurrency, one of the rate (which
never holds anything here), and a default field. The others have none. The peer costs a look into a dictionary.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from task import BODY_BYTES, Contestant, Run, Task, repeated
from workloads.http1_sequential import empty

if TYPE_CHECKING:
    from turbosock import Middleware

URL = "http://in.memory/fixed"
PERMITS = 1000
RATE_PER_S = 1_000_000_000


def links() -> list[Middleware]:
    """The chain."""
    from turbosock import HeaderDefaults, TimelineRecorder
    from turbosock.client.middleware.concurrency_limit import ConcurrencyLimit
    from turbosock.client.middleware.rate_limit import RateLimit

    def look(timeline: object) -> None:
        return None

    return [
        TimelineRecorder(look),
        ConcurrencyLimit(PERMITS),
        RateLimit(RATE_PER_S, PERMITS),
        HeaderDefaults({"X-Service": "pipeline"}),
    ]


def settings(*, chain: bool) -> dict[str, Any]:
    """What a Client or a Loop is given."""
    from turbosock.testing.http_peer import HttpAnswer, HttpPeer
    from turbosock.testing.memory import MemoryConnector

    peer = HttpPeer(HttpAnswer(headers={"Content-Type": "text/plain"}, content=b"x" * BODY_BYTES))
    return {"connector": MemoryConnector(peer), "middleware": links() if chain else ()}


def turbosock_get(task: Task, *, chain: bool = False) -> Run:
    """Client.get().content"""
    import turbosock

    get = turbosock.Client(**settings(chain=chain)).get

    def step() -> int:
        return len(get(URL).content)

    return repeated(step)


def turbosock_stream(task: Task, *, chain: bool = False) -> Run:
    """Client.stream() and readinto()"""
    import turbosock

    stream = turbosock.Client(**settings(chain=chain)).stream
    view = memoryview(bytearray(65536))

    def step() -> int:
        total = 0
        with stream("GET", URL) as response:
            while count := response.readinto(view):
                total += count
        return total

    return repeated(step)


def turbosock_loop(task: Task, *, chain: bool = False) -> Run:
    """Loop.request(into=) and Loop.poll(), so many in flight"""
    import turbosock

    pool = turbosock.PoolConfig(max_connections_per_origin=task.in_flight, max_idle=task.in_flight)
    loop = turbosock.Loop(turbosock.Config(pool=pool), **settings(chain=chain))
    request, poll, events, buffer = loop.request, loop.poll, loop.events, memoryview(bytearray(BODY_BYTES))

    def run(count: int) -> None:
        begun = done = 0
        while begun < min(task.in_flight, count):
            request("GET", URL, into=buffer)
            begun += 1
        while done < count:
            poll(1.0)
            for event in events:
                if event.exchange is None or event.exchange.nbytes != BODY_BYTES:
                    raise RuntimeError(f"a request failed: {event.error}")
                done += 1
                if begun < count:
                    request("GET", URL, into=buffer)
                    begun += 1

    run(1)
    return run


FACES = {"turbosock get": turbosock_get, "turbosock stream": turbosock_stream, "turbosock loop": turbosock_loop}

CONTESTANTS: dict[str, Contestant] = {
    **FACES,
    **{f"{name}, chain": functools.partial(face, chain=True) for name, face in FACES.items()},
    "empty": empty,
}
