"""What an idle WebSocket holds of memory, by tracemalloc: all that Python has allocated for it.

At a server and at a client of a Loop, their peers bare sockets on a Unix path, whose own bytes are taken off; and of a
blocking client.
"""

from __future__ import annotations

import gc
import socket
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowd_server import allow_descriptors
from raw_websocket import open_as_server, plain_frame
from task import Task
from workloads.ws_allocations import _REQUEST

WARM = 20


def held(open_some: Callable[[int], list[Any]], count: int) -> float:
    """Bytes for each of `count`, after some."""
    kept = [open_some(WARM)]
    gc.collect()
    tracemalloc.start()
    kept.append(open_some(count))
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / count


def peers_of(count: int) -> float:
    """Bytes of the peer's end, and of its place in a list."""

    def open_some(number: int) -> list[Any]:
        return [socket.socket(socket.AF_UNIX) for _ in range(number)]

    return held(open_some, count)


def server(task: Task) -> float:
    """Connections of a listener, each with the request that opened it, for the user to look at."""
    return at_server(task, lets_go=False)


def server_alone(task: Task) -> float:
    """Those whose user has let go of that."""
    return at_server(task, lets_go=True)


def at_server(task: Task, *, lets_go: bool) -> float:
    import turbosock

    with tempfile.TemporaryDirectory() as directory, turbosock.Loop() as loop:
        path = str(Path(directory) / "s")
        loop.listen(path, protocol="websocket", max_connections=task.count + WARM + 10)

        def open_some(number: int) -> list[Any]:
            peers: list[Any] = []
            for _ in range(number):
                peer = socket.socket(socket.AF_UNIX)
                peers.append(peer)
                peer.connect(path)
                peer.sendall(_REQUEST)
                opened = False
                while not opened:
                    loop.poll(1.0)
                    for event in loop.events:
                        if event.kind is turbosock.EventKind.OPEN:
                            opened = True
                            if lets_go:
                                event.connection.request = None  # type: ignore[attr-defined]  # a WebSocket
                peer.recv(65536)
            loop.poll()
            return peers

        return held(open_some, task.count) - peers_of(task.count)


def client(task: Task) -> float:
    """WebSockets that a Loop has opened."""
    import turbosock

    with turbosock.Loop(turbosock.Config(trust_env=False)) as loop, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        listener.setblocking(False)

        def open_some(number: int) -> list[Any]:
            made: list[Any] = []
            for _ in range(number):
                ws = loop.websocket(f"ws://127.0.0.1:{port}/")
                peer = None
                while not ws.open:
                    loop.poll(0.01)
                    if peer is None:
                        try:
                            peer, _ = listener.accept()
                        except BlockingIOError:
                            continue
                        loop.poll(0.01)
                        peer.setblocking(True)
                        open_as_server(peer)
                for _ in loop.events:
                    pass
                made += (ws, peer)
            loop.poll()
            return made

        return held(open_some, task.count) - peers_of(task.count)


def blocking(task: Task) -> float:
    """WebSockets of a Client."""
    import threading

    import turbosock

    with (
        turbosock.Client(turbosock.Config(trust_env=False)) as blocking_client,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        peers: list[Any] = []
        port = listener.getsockname()[1]

        def answer(number: int) -> None:
            for _ in range(number):
                peer, _ = listener.accept()
                open_as_server(peer)
                peer.sendall(plain_frame(b"hello"))
                peers.append(peer)

        def open_some(number: int) -> list[Any]:
            thread = threading.Thread(target=answer, args=(number,))
            thread.start()
            made: list[Any] = []
            for _ in range(number):
                ws = blocking_client.websocket(f"ws://127.0.0.1:{port}/", timeout=30)
                ws.recv(30)
                made.append(ws)
            thread.join()
            return made

        return held(open_some, task.count) - peers_of(task.count)


def report(task: Task) -> dict[str, float]:
    """Bytes of one."""
    allow_descriptors(4 * (task.count + WARM))
    return {"bytes": ENDS[task.contestant](task)}


ENDS: dict[str, Callable[[Task], float]] = {
    "loop, server": server,
    "loop, server, its request let go": server_alone,
    "loop, client": client,
    "blocking client": blocking,
}
REPORTS = dict.fromkeys(ENDS, report)
CONTESTANTS = ENDS
