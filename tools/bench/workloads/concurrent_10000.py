"""Thousands of requests at once in one Loop: do all of them end well, and what does each connection cost meanwhile?

Nobody is answered before all have asked. Then each gets a part of a head, which makes its connection hold a receive
ring, and at last the rest. Memory is looked at in each of these states: by tracemalloc, which counts what Python
allocated to the byte, and by the resident size. One contestant has its peers in memory, the other on loopback sockets.
"""

from __future__ import annotations

import gc
import resource
import select
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from task import BODY_BYTES, Task
from work import resident_bytes

if TYPE_CHECKING:
    import turbosock
    from turbosock.testing.memory_socket import MemorySocket
    from turbosock.transport.connector import Connector

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES + b"x" * BODY_BYTES
# Within the head: a connection keeps it, and the ring that it is in, until the rest has come.
PART_BYTES = 40
SPARE_DESCRIPTORS = 100
SERVER = Path(__file__).resolve().parent.parent / "holding_server.py"
DEADLINE_S = 120.0


class Peers(Protocol):
    """Everybody who is asked."""

    def asked(self) -> bool:
        """Whether all requests are there."""

    def give(self, first: int, last: int) -> None:
        """Send everybody this part of the answer."""


class MemoryPeers:
    """In this process."""

    def __init__(self, count: int) -> None:
        from turbosock.testing.memory import MemoryConnector
        from turbosock.testing.memory_peer import MemoryPeer

        sockets: list[MemorySocket] = []

        class Patient(MemoryPeer):
            def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
                sockets.append(sock)

        self._sockets = sockets
        self._count = count
        self.connector: Connector = MemoryConnector(Patient())

    def asked(self) -> bool:
        return len(self._sockets) == self._count

    def give(self, first: int, last: int) -> None:
        for sock in self._sockets:
            sock.deliver(ANSWER[first:last])


class SocketPeers:
    """In a process of their own; see holding_server.py."""

    def __init__(self, count: int) -> None:
        self._count = count
        command = [sys.executable, str(SERVER), str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the server ended early")
        return line

    def asked(self) -> bool:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], 0)[0]:
            return False
        return self._line() == "asked\n"

    def give(self, first: int, last: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(ANSWER[first:last].hex() + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def make_loop(count: int, connector: Connector | None) -> turbosock.Loop:
    """A Loop that may have so many connections, after one of its requests: what is made once is made."""
    import turbosock

    pool = turbosock.PoolConfig(max_connections=count, max_connections_per_origin=count, max_idle=count)
    return turbosock.Loop(turbosock.Config(pool=pool), connector=connector)


def performed(loop: turbosock.Loop, url: str, count: int, peers: Peers, traced: bool) -> dict[str, float]:
    """Run it, and what each connection cost in each state, in bytes."""
    clock = loop.reactor.clock.now_ns
    deadline_ns = clock() + int(DEADLINE_S * 1e9)
    into = memoryview(bytearray(BODY_BYTES))
    figures: dict[str, float] = {}

    def turn_until(reached: Callable[[], bool]) -> None:
        while not reached():
            loop.poll(0.05)
            if clock() > deadline_ns:
                raise RuntimeError(f"not done after {DEADLINE_S} s")

    def note(state: str) -> None:
        gc.collect()
        figures[state] = ((tracemalloc.get_traced_memory()[0] if traced else resident_bytes()) - before) / count

    loop.poll()
    if traced:
        tracemalloc.start()
    gc.collect()
    before = tracemalloc.get_traced_memory()[0] if traced else resident_bytes()
    start_ns = clock()
    exchanges = [loop.request("GET", url, into=into, notify=False, timeout=DEADLINE_S) for _ in range(count)]
    turn_until(peers.asked)
    note("waiting")
    bytes_in = loop.reactor.bytes_in
    peers.give(0, PART_BYTES)
    turn_until(lambda: loop.reactor.bytes_in - bytes_in == count * PART_BYTES)
    note("answering")
    peers.give(PART_BYTES, len(ANSWER))
    turn_until(lambda: all(exchange.done for exchange in exchanges))
    figures["seconds"] = (clock() - start_ns) / 1e9
    failed = [exchange.error for exchange in exchanges if not exchange.ok or exchange.nbytes != BODY_BYTES]
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, the first with: {failed[0]}")
    exchanges.clear()
    # What every Loop keeps, however few connections it has.
    loop.rings.clear()
    note("idle")
    figures["open"] = loop.stats().open
    if traced:
        tracemalloc.stop()
    return figures


def measured(perform: Callable[[bool], dict[str, float]], peer_bytes: float) -> dict[str, object]:
    """Once for the resident size, and once under tracemalloc; and how much of it is a peer's own."""
    return {"resident": perform(False), "traced": perform(True), "peer": peer_bytes}


def memory_socket_bytes(count: int = 1000) -> float:
    """What stands in for one connection's kernel and peer, traced."""
    from turbosock.testing.memory_peer import MemoryPeer
    from turbosock.testing.memory_socket import MemorySocket

    peer = MemoryPeer()
    kept: list[MemorySocket | None] = [None] * count
    tracemalloc.start()
    for number in range(count):
        kept[number] = MemorySocket(peer)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / count


def in_memory(task: Task) -> dict[str, object]:
    """Peers in memory."""

    def perform(traced: bool) -> dict[str, float]:
        peers = MemoryPeers(task.count)
        with make_loop(task.count, peers.connector) as loop:
            return performed(loop, "http://in.memory/", task.count, peers, traced)

    return measured(perform, memory_socket_bytes())


def on_sockets(task: Task) -> dict[str, object]:
    """Peers on loopback."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < task.count + SPARE_DESCRIPTORS:
        # The server, a child, inherits it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, task.count + SPARE_DESCRIPTORS), hard))

    def perform(traced: bool) -> dict[str, float]:
        peers = SocketPeers(task.count)
        try:
            with make_loop(task.count, None) as loop:
                return performed(loop, f"http://127.0.0.1:{peers.port}/", task.count, peers, traced)
        finally:
            peers.close()

    return measured(perform, 0.0)


REPORTS = {"memory": in_memory, "sockets": on_sockets}
