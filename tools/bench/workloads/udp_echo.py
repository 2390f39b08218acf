"""Datagrams that a server sends back one by one, as fast as it can: see datagram_load.py for who sends them.

The contestants are servers. What counts is how many came back, of a server that always has some waiting; and beside it
the server's own processor time, which is the measure where the client is the slower of the two.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowd_server import other_core
from task import Task

BYTES = 32
SCRIPT = Path(__file__).resolve().parent.parent / "datagram_load.py"
DEADLINE_S = 60.0

# Serves at a port that it is told, until the event is set.
Serve = Callable[[Callable[[int], None], threading.Event], None]


def report(task: Task) -> dict[str, Any]:
    """Datagrams back, lost, seconds, and the server's processor seconds."""
    over = threading.Event()
    told: dict[str, Any] = {}
    cpu_s = [0.0]

    def load(port: int) -> None:
        command = [sys.executable, os.fspath(SCRIPT), str(port), str(BYTES), str(task.seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if task.core >= 0:
            os.sched_setaffinity(process.pid, {other_core(task.core)})

        def wait() -> None:
            said, _ = process.communicate(timeout=DEADLINE_S)
            told.update(json.loads(said))
            cpu_s[0] = time.process_time() - cpu_s[0]
            over.set()
            # Whoever waits for a datagram gets one.
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.sendto(b"", ("127.0.0.1", port))

        cpu_s[0] = time.process_time()
        threading.Thread(target=wait, daemon=True).start()

    SERVERS[task.contestant](load, over)
    return {**told, "cpu_s": cpu_s[0]}


def bare(begin: Callable[[int], None], over: threading.Event) -> None:
    """recvfrom_into() and sendto() on a blocking socket: the floor"""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        begin(sock.getsockname()[1])
        buffer = bytearray(2048)
        view = memoryview(buffer)
        receive, send, is_over = sock.recvfrom_into, sock.sendto, over.is_set
        while not is_over():
            for _ in range(64):
                count, address = receive(buffer)
                if not count:
                    break
                send(view[:count], address)


def turbosock_loop(begin: Callable[[int], None], over: threading.Event) -> None:
    """loop.listen(protocol="udp") and send_to()"""
    import turbosock

    with turbosock.Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="udp")
        begin(listener.address[1])
        poll, events, send_to, is_over = loop.poll, loop.events, listener.send_to, over.is_set
        while not is_over():
            poll(1.0)
            for event in events:
                send_to(event.data, event.address)


def turbosock_sessions(begin: Callable[[int], None], over: threading.Event) -> None:
    """with a session for each address, and its send()"""
    import turbosock

    with turbosock.Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="udp", session_timeout_s=60)
        begin(listener.address[1])
        kind = turbosock.EventKind.MESSAGE
        poll, events, is_over = loop.poll, loop.events, over.is_set
        while not is_over():
            poll(1.0)
            for event in events:
                if event.kind is kind:
                    event.connection.send(event.data)


def serve_asyncio(loop: asyncio.AbstractEventLoop, begin: Callable[[int], None], over: threading.Event) -> None:
    class Echo(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.sendto = transport.sendto

        def datagram_received(self, data: bytes, address: Any) -> None:
            self.sendto(data, address)

    async def serve() -> None:
        transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
        begin(transport.get_extra_info("sockname")[1])
        while not over.is_set():
            await asyncio.sleep(0.05)
        transport.close()

    loop.run_until_complete(serve())


def asyncio_endpoint(begin: Callable[[int], None], over: threading.Event) -> None:
    """asyncio's create_datagram_endpoint()"""
    serve_asyncio(asyncio.new_event_loop(), begin, over)


def uvloop_endpoint(begin: Callable[[int], None], over: threading.Event) -> None:
    """uvloop's"""
    import uvloop

    serve_asyncio(uvloop.new_event_loop(), begin, over)


SERVERS: dict[str, Serve] = {
    "bare": bare,
    "turbosock loop": turbosock_loop,
    "turbosock sessions": turbosock_sessions,
    "asyncio": asyncio_endpoint,
    "asyncio+uvloop": uvloop_endpoint,
}
REPORTS = dict.fromkeys(SERVERS, report)
CONTESTANTS = SERVERS
