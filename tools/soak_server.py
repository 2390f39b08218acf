"""The other side of the soak test: a listener of ours, over http and https, whose answers go wrong at random.

Run by soak.py as `soak_server.py CERT_FILE KEY_FILE SEED`. It says its two ports. Each line "stats" of its input is
answered by a line of JSON with its descriptors, connections and memory; it ends with its input.

GET /LABEL/LENGTH is answered by `body_of(LABEL, LENGTH)`, and a POST by the body that came with it; or else by one of
FAULTS.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import socket
import struct
import sys
import threading
import time
import tracemalloc
from collections import deque
from random import Random

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from turbosock import HttpExchange, Loop, TlsCertificate, TlsServerConfig  # the path to it is known only now

# What happens to an exchange, and how often. The rest is answered at once, as it should be.
FAULTS = (
    ("close", 0.01),
    ("cut", 0.01),
    ("reset", 0.01),
    ("cut and reset", 0.01),
    ("dismiss", 0.02),
    ("slow", 0.05),
)
SLOW_S = (0.005, 0.1)
POLL_S = 1.0


def body_of(label: str, length: int) -> bytes:
    """The body of the answer to a GET."""
    unit = f"<{label}>".encode()
    return (unit * (length // len(unit) + 1))[:length]


def descriptors() -> int:
    """Open descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Server:
    """Answers, or does not.

    Args:
        loop: where its exchanges are.
        random: decides.
    """

    def __init__(self, loop: Loop, random: Random) -> None:
        self._loop = loop
        self._random = random
        # (when, number, exchange) of slow answers.
        self._later: list[tuple[float, int, HttpExchange]] = []
        self._number = 0

    def handle(self, exchange: HttpExchange) -> None:
        """The handler of both listeners."""
        drawn = self._random.random()
        for fault, share in FAULTS:
            drawn -= share
            if drawn < 0:
                self._go_wrong(exchange, fault)
                return
        self._answer(exchange)

    def _go_wrong(self, exchange: HttpExchange, fault: str) -> None:
        if fault == "slow":
            self._number += 1
            due = time.monotonic() + self._random.uniform(*SLOW_S)
            heapq.heappush(self._later, (due, self._number, exchange))
            return
        if fault == "dismiss":
            exchange.respond(200, {"Connection": "close"}, content_of(exchange))
            return
        if fault.startswith("cut"):
            content = content_of(exchange)
            exchange.start(200, length=len(content))
            exchange.send(content[: len(content) // 2])
        if fault.endswith("reset"):
            # No part of a listener's interface: it never resets anybody by itself.
            carrier = exchange._carrier
            carrier.transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            carrier.close_connection()
        exchange.abort()

    def _answer(self, exchange: HttpExchange) -> None:
        exchange.respond(200, content=content_of(exchange))

    def poll(self) -> None:
        """One turn, no longer than until the next slow answer is due."""
        timeout_s = POLL_S
        if self._later:
            timeout_s = min(timeout_s, max(0.0, self._later[0][0] - time.monotonic()))
        self._loop.poll(timeout_s)
        while self._later and self._later[0][0] <= time.monotonic():
            exchange = heapq.heappop(self._later)[2]
            if not exchange.closed:
                self._answer(exchange)


def content_of(exchange: HttpExchange) -> bytes:
    """The body that belongs to the request."""
    request = exchange.request
    if request.method == "POST":
        return request.content
    _, label, length = request.path.split("/")
    return body_of(label, int(length))


def serve(cert_file: str, key_file: str, seed: int) -> None:
    """The whole life of the process."""
    tracemalloc.start()
    commands: deque[str] = deque()
    with Loop() as loop:
        server = Server(loop, Random(seed))
        plain = loop.listen(("127.0.0.1", 0), handler=server.handle)
        tls = TlsServerConfig(TlsCertificate(cert_file, key_file))
        secure = loop.listen(("127.0.0.1", 0), handler=server.handle, tls=tls)
        assert isinstance(plain.address, tuple)
        assert isinstance(secure.address, tuple)
        print(plain.address[1], secure.address[1], flush=True)

        def listen() -> None:
            for line in sys.stdin:
                commands.append(line.strip())
                loop.wakeup()
            commands.append("end")
            loop.wakeup()

        threading.Thread(target=listen, daemon=True).start()
        while True:
            server.poll()
            while commands:
                if commands.popleft() == "end":
                    return
                gc.collect()
                loop.rings.clear()
                loop.buffers.clear()
                found = {
                    "descriptors": descriptors(),
                    "connections": plain.stats().open + secure.stats().open,
                    "traced": tracemalloc.get_traced_memory()[0],
                    "resident": resident_bytes(),
                }
                print(json.dumps(found), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
