"""A Loop with a listener for WebSockets at a Unix path, and clients whose every byte is the test's own."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from support.loop_peer import make_clock, make_config
from support.message_stage import RawClient
from turbosock import EventKind, Loop, TurbosockError
from turbosock.connection.websocket_connection import WebSocketConnection
from turbosock.reactor.clock import ManualClock

# RFC 6455 §1.3.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

# What an event came to: (kind, data or the connection's code and reason).
Seen = tuple[Any, ...]


def handshake(*fields: str, path: str = "/", without: str = "") -> bytes:
    """A proper opening request, with more fields, and without those whose name begins so."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: here",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *fields,
    ]
    return "\r\n".join([*(line for line in lines if not without or not line.startswith(without)), "", ""]).encode()


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server in `data`, each as its first byte and its payload; they are whole."""
    found, rest = whole_frames(data)
    assert not rest, "a frame is whole"
    return found


def whole_frames(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The same of data that may be cut anywhere, and what is left of it."""
    found = []
    while len(data) >= 2:
        first, n = data[0], data[1]
        at = 2
        if n == 126:
            n = int.from_bytes(data[2:4], "big")
            at = 4
        elif n == 127:
            n = int.from_bytes(data[2:10], "big")
            at = 10
        if len(data) < at + n:
            break
        found.append((first, data[at : at + n]))
        data = data[at + n :]
    return found, data


class WebSocketStage:
    """See the module.

    Args:
        at: where to listen, a Unix path.
        config: of the Loop's Config: poller, zero_alloc, diagnostics.
        options: of `listen`; pings are off unless they are asked for.
    """

    def __init__(self, at: Path, *, config: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock: ManualClock = make_clock()
        settings: dict[str, Any] = {"poller": None, "zero_alloc": True, "diagnostics": True, **(config or {})}
        self.loop = Loop(
            make_config(settings["poller"], settings["zero_alloc"], diagnostics=settings["diagnostics"]),
            clock=self.clock,
        )
        options.setdefault("ping_interval_s", None)
        protocol = options.pop("protocol", "websocket")
        if protocol == "http":
            del options["ping_interval_s"]
        self.listener: Any = self.loop.listen(str(at), protocol=protocol, **options)
        self.clients: list[RawClient] = []
        self.seen: list[Seen] = []
        self.errors: list[TurbosockError | None] = []

    def raw(self) -> RawClient:
        """A client that has said nothing."""
        client = RawClient(self.listener.address)
        self.clients.append(client)
        return client

    def ask(self, request: bytes) -> tuple[RawClient, bytes]:
        """A client that has sent so much, and what it was answered."""
        client = self.raw()
        client.send(request)
        answer = b""
        for _ in range(4):
            self.loop.poll()
            answer += client.take()
        return client, answer

    def client(self, *fields: str, path: str = "/") -> tuple[RawClient, WebSocketConnection]:
        """A client with an open WebSocket, and the connection at the listener, whose OPEN was taken."""
        client, answer = self.ask(handshake(*fields, path=path))
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        opened = [event.connection for event in self.loop.events if event.kind is EventKind.OPEN]
        assert len(opened) == 1
        connection = opened[0]
        assert isinstance(connection, WebSocketConnection)
        return client, connection

    def turn(self, count: int = 3, **budget: Any) -> list[Seen]:
        """Poll and take the events; those of these turns."""
        seen: list[Seen] = []
        for _ in range(count):
            self.loop.poll(**budget)
            for event in self.loop.events:
                connection: Any = event.connection
                if event.kind is EventKind.MESSAGE:
                    data = event.data if isinstance(event.data, str) else bytes(event.data)
                    seen.append((event.kind, data))
                elif event.kind is EventKind.CLOSED:
                    self.errors.append(event.error)
                    seen.append((event.kind, connection.close_code, connection.close_reason))
                else:
                    seen.append((event.kind,))
        self.seen += seen
        return seen

    def messages(self, count: int = 3) -> list[bytes | str]:
        """The messages of some turns."""
        return [each[1] for each in self.turn(count) if each[0] is EventKind.MESSAGE]

    def sent(self, client: RawClient, count: int = 3) -> list[tuple[int, bytes]]:
        """The frames that a client got in some turns."""
        data = b""
        for _ in range(count):
            self.turn(1)
            data += client.take()
        return frames(data)

    def __enter__(self) -> WebSocketStage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.close()
        self.loop.close()
