"""A Loop with a listener for messages at a Unix path, and bare clients: what they send is there at once, and no step is
taken but the test's own."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from support.loop_peer import SteppingClock, make_clock, make_config
from turbosock import EventKind, Loop, MessageConnection, TcpListener
from turbosock.reactor.clock import ManualClock


class Seen(NamedTuple):
    """An event as plain values."""

    kind: EventKind
    connection: MessageConnection
    data: bytes | None
    error: Exception | None


class RawClient:
    """A client that speaks as the test likes; it never waits for long.

    Args:
        address: a Unix path, or (host, port).
        receive_bytes: what the system may keep for it; None: what it likes.
    """

    def __init__(self, address: Any, *, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(5)
        self.socket.connect(address)

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def fill(self, data: bytes) -> int:
        """Send what the socket takes at once; how much."""
        self.socket.setblocking(False)
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        finally:
            self.socket.settimeout(5)

    def take(self) -> bytes:
        """What has come; b"" also at the end."""
        data = b""
        self.socket.setblocking(False)
        try:
            while piece := self.socket.recv(1 << 20):
                data += piece
        except (BlockingIOError, ConnectionResetError):
            pass
        finally:
            self.socket.settimeout(5)
        return data

    def at_end(self) -> bool:
        """Whether the stream has ended, in order; everything before is taken."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Close."""
        self.socket.close()


class MessageStage:
    """See the module.

    Args:
        path: where to listen, a Unix path; a Loop of its own is made.
        poller, zero_alloc, diagnostics: of its Config.
        stepping: the clock moves whenever it is looked at.
        options: of `listen`.
    """

    def __init__(
        self,
        path: Path,
        *,
        poller: str | None = None,
        zero_alloc: bool = True,
        diagnostics: bool = False,
        stepping: SteppingClock | None = None,
        **options: Any,
    ) -> None:
        self.clock: ManualClock = make_clock()
        self.loop = Loop(
            make_config(poller, zero_alloc, diagnostics=diagnostics), clock=self.clock if stepping is None else stepping
        )
        self.listener: TcpListener = self.loop.listen(str(path), protocol="tcp", **options)
        self.clients: list[RawClient] = []
        self.seen: list[Seen] = []

    def client(self) -> tuple[RawClient, MessageConnection]:
        """A client, and its connection at the listener, whose OPEN was taken."""
        client = RawClient(self.listener.address)
        self.clients.append(client)
        self.loop.poll()
        opened = [event.connection for event in self.loop.events if event.kind is EventKind.OPEN]
        assert len(opened) == 1
        connection = opened[0]
        assert isinstance(connection, MessageConnection)
        return client, connection

    def turn(self, count: int = 1, **budget: Any) -> list[Seen]:
        """Poll and take the events; those of these turns."""
        seen = []
        for _ in range(count):
            self.loop.poll(**budget)
            seen += self.take()
        return seen

    def take(self) -> list[Seen]:
        """Take the events that wait."""
        seen = [
            Seen(event.kind, event.connection, None if event.data is None else bytes(event.data), event.error)  # type: ignore[arg-type]  # only connections have events here
            for event in self.loop.events
        ]
        self.seen += seen
        return seen

    def messages(self, count: int = 3) -> list[bytes]:
        """The messages of some turns."""
        return [event.data for event in self.turn(count) if event.kind is EventKind.MESSAGE and event.data is not None]

    def __enter__(self) -> MessageStage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self.clients:
            client.close()
        self.loop.close()
