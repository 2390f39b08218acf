"""A Load in memory: a Loop on a clock that stands still, and a peer that keeps requests until it is told to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turbosock import ConnectError, Loop
from turbosock.cli.top.load import Load
from turbosock.reactor.clock import ManualClock
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket


class KeepingPeer(MemoryPeer):
    """Keeps requests in `waiting`, as (path, connection); where `down` is set, it refuses connections."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, MemorySocket]] = []
        self.down = False

    def on_connected(self, sock: MemorySocket) -> None:
        if self.down:
            raise ConnectError("nobody is here")

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        self.waiting.append((data.split(b" ")[1].decode(), sock))


class TopStage:
    """For a with block: `load` for these paths, or URLs, its `clock` and its `peer`; `options` are the Load's."""

    def __init__(self, *paths: str, urls: Sequence[str] = (), **options: Any) -> None:
        self.clock = ManualClock(start_ns=1_000_000_000)
        self.peer = KeepingPeer()
        self.loop = Loop(connector=MemoryConnector(self.peer), clock=self.clock, redirects=None)
        self.load = Load(self.loop, [*(f"http://host{path}" for path in paths), *urls], **options)

    def __enter__(self) -> TopStage:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.close()

    @property
    def asked(self) -> list[str]:
        """The paths that wait for an answer."""
        return [path for path, _ in self.peer.waiting]

    def turn(self, seconds: float = 0.0) -> None:
        """Let time pass, and take turns until nothing moves."""
        self.clock.advance(seconds)
        for _ in range(4):
            self.load.turn(self.clock.now_ns())

    def answer(self, status: str = "200 OK", body: bytes = b"hello") -> None:
        """Answer all that waits, and let the load see it."""
        waiting, self.peer.waiting = self.peer.waiting, []
        for _, sock in waiting:
            sock.deliver(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body))
        self.turn()
