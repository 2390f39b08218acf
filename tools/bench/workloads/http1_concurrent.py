"""Many requests in flight in one thread: a new one begins as soon as one is answered. The answers have 100 bytes.

All answers go into one buffer: what they hold is checked elsewhere, and a buffer each would favour nobody.
"""

from __future__ import annotations

import itertools
import select
import socket
import subprocess
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from task import BODY_BYTES, Contestant, Run, Task, Timed

if TYPE_CHECKING:
    import turbosock

PATH = "/fixed"


def empty(task: Task) -> Run:
    """The loop of the harness around nothing."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            pass

    return run


def bare(task: Task) -> Run:
    """An epoll loop over sockets: send, wait, recv_into."""
    request, buffer = task.request(PATH), bytearray(65536)
    epoll, connections = select.epoll(), dict[int, socket.socket]()
    for _ in range(task.in_flight):
        connection = socket.create_connection((task.host, task.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections[connection.fileno()] = connection
        epoll.register(connection.fileno(), select.EPOLLIN)
    poll = epoll.poll

    def run(count: int) -> None:
        begun = done = 0
        for connection in connections.values():
            if begun < count:
                connection.send(request)
                begun += 1
        while done < count:
            for descriptor, _ in poll(-1, 42):
                connection = connections[descriptor]
                connection.recv_into(buffer)
                done += 1
                if begun < count:
                    connection.send(request)
                    begun += 1

    return run


def turbosock_loop(task: Task) -> Run:
    """Loop.request(into=) and Loop.poll()"""
    import turbosock

    pool = turbosock.PoolConfig(max_connections_per_origin=task.in_flight, max_idle=task.in_flight)
    return request_all(turbosock.Loop(turbosock.Config(pool=pool)), task)


def request_all(loop: turbosock.Loop, task: Task) -> Run:
    """A run of request(into=) and poll() on `loop`."""
    import turbosock

    url, buffer = task.url(PATH), bytearray(BODY_BYTES)
    request, poll, events, answered = loop.request, loop.poll, loop.events, turbosock.EventKind.RESPONSE

    def run(count: int) -> None:
        begun = done = 0
        while begun < min(task.in_flight, count):
            request("GET", url, into=buffer)
            begun += 1
        while done < count:
            poll(1.0)
            for event in events:
                if event.kind is not answered:
                    continue
                exchange = event.exchange
                if exchange.nbytes != BODY_BYTES:
                    raise RuntimeError(f"a request failed: {exchange.error}")
                done += 1
                if begun < count:
                    request("GET", url, into=buffer)
                    begun += 1

    return run


def pycurl_multi(task: Task) -> Run:
    """CurlMulti by perform() and select(), which is faster here than socket_action() with Python's epoll."""
    import pycurl

    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_MAXCONNECTS, task.in_flight)
    handles: list[Any] = []
    for _ in range(task.in_flight):
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, task.url(PATH))
        handle.setopt(pycurl.WRITEFUNCTION, len)
        handles.append(handle)
    return perform_all(multi, handles)


def perform_all(multi: Any, handles: list[Any]) -> Run:
    """A run of `handles` on `multi`, all of them under way."""
    perform, info_read = multi.perform, multi.info_read

    def run(count: int) -> None:
        begun = done = 0
        for handle in handles[:count]:
            multi.add_handle(handle)
            begun += 1
        while done < count:
            perform()
            idle = True
            left = 1
            while left:
                left, finished, failed = info_read()
                if failed:
                    raise RuntimeError(f"a request failed: {failed[0][2]}")
                for handle in finished:
                    idle = False
                    multi.remove_handle(handle)
                    done += 1
                    if begun < count:
                        multi.add_handle(handle)
                        begun += 1
            if idle:
                multi.select(1.0)

    return run


def aiohttp_uvloop(task: Task) -> Run:
    """One task for each request in flight, on uvloop."""
    import aiohttp
    import uvloop

    loop = uvloop.new_event_loop()
    url = task.url(PATH)

    async def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=task.in_flight))

    session = loop.run_until_complete(open_session())

    async def work(count: int) -> None:
        for _ in range(count):
            async with session.get(url) as response:
                await response.read()

    return gather_all(loop, work, task.in_flight)


def gather_all(loop: Any, work: Callable[[int], Coroutine[Any, Any, None]], in_flight: int) -> Run:
    """A run of so many tasks on `loop`, each with its part of the requests."""

    async def all_of(count: int) -> None:
        import asyncio

        await asyncio.gather(*[work(-(-count // in_flight)) for _ in range(min(count, in_flight))])

    def run(count: int) -> None:
        # Rounded up to equal parts: a little more than `count`, never more than one request a task.
        loop.run_until_complete(all_of(count))

    return run


def wrk(task: Task) -> Run:
    """wrk with one thread, which keeps its own time."""
    seconds = max(1, round(task.seconds))
    command = ["wrk", "-t1", f"-c{task.in_flight}", f"-d{seconds}s", task.url(PATH)]

    def run(count: int) -> Timed:
        # "  54511 requests in 1.00s, 12.01MB read"
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for line in said.splitlines():
            if " requests in " in line:
                return Timed(int(line.split()[0]), parse_seconds(line.split()[3].rstrip(",")))
        raise RuntimeError(f"wrk did not tell its requests: {said}")

    return run


def parse_seconds(text: str) -> float:
    """Seconds in wrk's notation: 980.00ms, 1.10s, 1.00m."""
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"{text!r} has no unit of time")


CONTESTANTS: dict[str, Contestant] = {
    "bare": bare,
    "turbosock loop": turbosock_loop,
    "pycurl multi": pycurl_multi,
    "aiohttp+uvloop": aiohttp_uvloop,
    "wrk": wrk,
    "empty": empty,
}
