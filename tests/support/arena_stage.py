"""An arena and its visitors in two Loops of one process, which turn in step; time moves a tick at a time, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from turbosock import Config, EventKind, Loop, TickClock, TlsConfig, WebSocketConnection
from turbosock.examples.arena import messages
from turbosock.examples.arena.messages import ECHO, Snapshot, read_snapshot
from turbosock.examples.arena.rules import MAX_MESSAGE_BYTES, TICK_RATE_HZ
from turbosock.examples.arena.server import Arena
from turbosock.reactor.clock import NS_PER_S, ManualClock

# What is waited for comes within a few ticks; then this many are an end.
MAX_TICKS = 3000
MOMENT_S = 0.002


class Visitor:
    """A client of the arena that notes what it is told.

    Attributes:
        said: the texts, decoded.
        snapshot: the newest, or None.
        ticks: of all snapshots.
        echoes: what came back.
        closed: whether it has ended; `connection.close_code` says how.
    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.said: list[dict[str, Any]] = []
        self.snapshot: Snapshot | None = None
        self.ticks: list[int] = []
        self.echoes: list[bytes] = []
        self.closed = False

    def hear(self, data: bytes | memoryview | str) -> None:
        """Note a message."""
        if isinstance(data, str):
            self.said.append(json.loads(data))
        elif data[0] == ECHO:
            self.echoes.append(bytes(data))
        else:
            self.snapshot = read_snapshot(data)
            self.ticks.append(self.snapshot.tick)

    def last(self, kind: str) -> dict[str, Any] | None:
        """The newest text of a type, or None."""
        return next((each for each in reversed(self.said) if each["type"] == kind), None)

    def texts(self, kind: str) -> list[str]:
        """What all texts of a type say."""
        return [each["text"] for each in self.said if each["type"] == kind]

    @property
    def id(self) -> int:
        """Of the player that it is, or 0."""
        you = self.last("you")
        return 0 if you is None else int(you["id"])

    @property
    def name(self) -> str:
        """Under which it plays."""
        you = self.last("you")
        return "" if you is None else str(you["name"])

    def send(self, data: bytes | str) -> None:
        """Send a message."""
        self.connection.send(data)


class ArenaStage:
    """See the module.

    Args:
        ca_pem: whom visitors trust, where the arena has `tls`.
        options: of the Arena.
    """

    def __init__(self, ca_pem: bytes | None = None, **options: Any) -> None:
        self.clock = ManualClock(NS_PER_S)
        self.loop = Loop(Config(trust_env=False), clock=self.clock)
        ticks = TickClock(TICK_RATE_HZ, clock=self.clock)
        self.arena = Arena(self.loop, ("127.0.0.1", 0), ticks=ticks, **options)
        tls = TlsConfig() if ca_pem is None else TlsConfig(ca_data=ca_pem)
        self.outside = Loop(Config(trust_env=False, tls=tls), clock=self.clock)
        # Called after each tick, instead of taking the events of the Loop outside.
        self.turn_outside: Callable[[], object] = self._turn_visitors

    @property
    def authority(self) -> str:
        """Host and port of the arena."""
        return self.arena.url.partition("://")[2].rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        """The same for a socket."""
        host, _, port = self.authority.partition(":")
        return host, int(port)

    def visitor(self) -> Visitor:
        """One who looks on, and was welcomed."""
        scheme = "wss" if self.arena.url.startswith("https") else "ws"
        connection = self.outside.websocket(f"{scheme}://{self.authority}/socket", max_message=MAX_MESSAGE_BYTES)
        visitor = connection.user = Visitor(connection)
        self.until(lambda: visitor.last("welcome") is not None)
        return visitor

    def player(self, name: str = "") -> Visitor:
        """One who plays."""
        visitor = self.visitor()
        visitor.send(messages.join(name))
        self.until(lambda: visitor.id != 0)
        return visitor

    def tick(self, count: int = 1) -> None:
        """So many ticks, each with everything that is on its way."""
        for _ in range(count):
            self.clock.advance(ns=NS_PER_S // TICK_RATE_HZ + 1)
            self.arena.turn()
            self.turn_outside()

    def until(self, condition: Callable[[], object]) -> None:
        """Tick until it holds."""
        for _ in range(MAX_TICKS):
            if condition():
                return
            self.tick()
        raise AssertionError(f"it does not hold after {MAX_TICKS} ticks")

    def _turn_visitors(self) -> None:
        # What the arena has sent is usually there; a busy system may take a moment.
        self.outside.poll(MOMENT_S)
        for event in self.outside.events:
            connection = event.connection
            assert isinstance(connection, WebSocketConnection)
            if event.kind is EventKind.MESSAGE:
                connection.user.hear(event.data)
            elif event.kind is EventKind.CLOSED:
                connection.user.closed = True
        self.outside.flush()

    def __enter__(self) -> ArenaStage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.arena.close()
        self.outside.close()
        self.loop.close()
