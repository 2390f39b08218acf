"""The server that the documentation talks to, and the world that its tick loops step.

`DocsSite` is a thread with a Loop that listens on a loopback port and on a Unix socket. It answers what the pages ask
for: a greeting, an echo, a large body, a stored upload, lines, and one path that never answers.

Left to others: reading the pages and running their snippets (`tests/docs/test_snippets.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from turbosock import Loop
from turbosock.server.http_exchange import HttpExchange

BIG_BODY = bytes(range(256)) * 8192
GUARD_S = 20.0


class DocsSite:
    """Serves the pages' examples for the length of a with block.

    Args:
        socket_path: where it also listens on a Unix socket.

    Attributes:
        authority: "127.0.0.1:PORT".
        uploads: what was PUT, by path.
    """

    def __init__(self, socket_path: Path) -> None:
        self.socket_path = socket_path
        self.authority = ""
        self.uploads: dict[str, bytes] = {}
        self._loop = Loop()
        self._kept: list[HttpExchange] = []
        self._running = True
        self._thread = threading.Thread(target=self._run, name="docs site")

    def __enter__(self) -> DocsSite:
        listener = self._loop.listen(("127.0.0.1", 0), handler=self._answer)
        self._loop.listen(str(self.socket_path), handler=self._answer)
        assert isinstance(listener.address, tuple), "it listens on TCP"
        host, port = listener.address
        self.authority = f"{host}:{port}"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running = False
        self._loop.wakeup()
        self._thread.join(GUARD_S)
        assert not self._thread.is_alive(), "the site's thread hangs"
        self._loop.close()

    def _run(self) -> None:
        while self._running:
            self._loop.poll(None)

    def _answer(self, exchange: HttpExchange) -> None:
        request = exchange.request
        path = request.path
        if path == "/slow":
            self._kept.append(exchange)
        elif path == "/big":
            exchange.respond(200, None, BIG_BODY)
        elif path == "/lines":
            exchange.respond(200, {"Content-Type": "text/plain"}, "one\ntwo\nthree\n")
        elif path == "/echo":
            exchange.respond(200, {"Content-Type": request.headers.get("content-type", "text/plain")}, request.content)
        elif request.method == "PUT":
            self.uploads[path] = request.content
            exchange.respond(201)
        elif path == "/":
            exchange.respond(200, {"Content-Type": "text/plain"}, "hello\n")
        else:
            exchange.respond(404, {"Content-Type": "text/plain"}, "nothing here\n")


class World:
    """A simulation that a page's loop steps: `running` until the page clears it, or until its visitor was answered.

    Args:
        visit: asks the page's own listener for something; run in a thread of its own, from the first step on.
    """

    def __init__(self, visit: Callable[[], None] | None) -> None:
        self.running = True
        self.steps = 0
        self._ends_at_s = time.monotonic() + GUARD_S
        self._visited = threading.Event()
        self._failures: list[Exception] = []
        self._visit = visit

    def step(self) -> None:
        """One step of the simulation."""
        self.steps += 1
        assert time.monotonic() < self._ends_at_s, f"the loop still runs after {GUARD_S} s"
        if self._visit is None:
            return
        if self.steps == 1:
            threading.Thread(target=self._run_visit, name="visitor").start()
        if self._visited.is_set():
            self.running = False
            assert not self._failures, self._failures

    def _run_visit(self) -> None:
        assert self._visit is not None, "a thread is started for a visit alone"
        try:
            self._visit()
        except Exception as error:
            self._failures.append(error)
        self._visited.set()
