"""A raw server whose every step the test takes itself, between the turns of a Loop: no thread, no sleep.

The loop dials while the test stands still: a connection to a listening socket is complete in the kernel before anybody
accepts it. Then the test accepts, reads and answers as it likes. Its own sockets wait at most WAIT_S, and so does
`turns`, so that a test whose subject does nothing fails instead of hanging.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from turbosock import Config, Event, EventKind, Loop, PoolConfig, Timeouts
from turbosock.reactor.clock import NS_PER_S, ManualClock

WAIT_S = 5.0
POLLERS = ("epoll", "poll", "select")
# Every way to run a loop: each poller, with pooled memory and without.
MODES = tuple((poller, zero_alloc) for poller in POLLERS for zero_alloc in (True, False))
MODE_NAMES = tuple(f"{poller}-{'pooled' if zero_alloc else 'plain'}" for poller, zero_alloc in MODES)

# A request without a body, as far as a test needs to look at it.
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer(body: bytes = b"", *fields: str, status: str = "200 OK", length: bool = True) -> bytes:
    """A response with a Content-Length, unless `length` is False."""
    lines = [f"HTTP/1.1 {status}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*chunks: bytes, trailers: str = "", status: str = "200 OK") -> bytes:
    """A chunked response, the last chunk included."""
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + framed + b"0\r\n" + trailers.encode() + b"\r\n"


class PeerConnection:
    """The server's side of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(WAIT_S)
        self.socket = sock
        self._buffer = b""

    def read_head(self) -> bytes:
        """One request head, with its empty line."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n"

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        while len(self._buffer) < count:
            self._more()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def take_available(self) -> bytes:
        """What has arrived, without waiting."""
        self.socket.setblocking(False)
        try:
            while True:
                data = self.socket.recv(1 << 20)
                if not data:
                    break
                self._buffer += data
        except (BlockingIOError, ConnectionResetError):
            pass
        finally:
            self.socket.settimeout(WAIT_S)
        data, self._buffer = self._buffer, b""
        return data

    def _more(self) -> None:
        data = self.socket.recv(1 << 20)
        assert data, f"the loop closed the connection after {self._buffer!r}"
        self._buffer += data

    def is_closed(self) -> bool:
        """Whether the loop has closed its side; waits for that, past what it still sends."""
        try:
            while self.socket.recv(1 << 20):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True

    def send(self, data: bytes) -> None:
        """Send all of `data`; more than a socket's buffer needs `fill`."""
        self.socket.sendall(data)

    def fill(self, data: bytes | memoryview) -> int:
        """Send what the socket takes at once; how much."""
        self.socket.setblocking(False)
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        finally:
            self.socket.settimeout(WAIT_S)

    def reset(self) -> None:
        """Close with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close with FIN; a close with unread bytes would reset the connection."""
        if self.socket.fileno() >= 0:
            self.take_available()
            self.socket.close()


class Peer:
    """A listening socket on loopback, or on a Unix path, and the connections that were accepted.

    Args:
        path: of a Unix socket; None listens on 127.0.0.1.
        receive_bytes: the receive buffer of accepted sockets, for tests that fill it.
    """

    def __init__(self, path: Path | None = None, *, receive_bytes: int = 0) -> None:
        if path is None:
            self.listener = socket.socket(socket.AF_INET)
            self.listener.bind(("127.0.0.1", 0))
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
        if receive_bytes:
            # Accepted sockets inherit it.
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.listener.listen(256)
        self.listener.settimeout(WAIT_S)
        self.connections: list[PeerConnection] = []
        if path is None:
            self.port = int(self.listener.getsockname()[1])
            self.url = f"http://127.0.0.1:{self.port}"
        else:
            self.port = 0
            self.url = f"http+unix://{quote(str(path), safe='')}"

    def accept(self) -> PeerConnection:
        """The next connection."""
        sock, _ = self.listener.accept()
        connection = PeerConnection(sock)
        self.connections.append(connection)
        return connection

    def waiting(self) -> int:
        """How many connections can be accepted now; accepts them."""
        self.listener.setblocking(False)
        count = 0
        try:
            while True:
                self.accept()
                count += 1
        except BlockingIOError:
            return count
        finally:
            self.listener.settimeout(WAIT_S)

    def close(self) -> None:
        """Close everything."""
        self.listener.close()
        for connection in self.connections:
            connection.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SteppingClock:
    """A clock that moves by `step_ns` whenever somebody looks at it."""

    def __init__(self, step_ns: int = 0) -> None:
        self.step_ns = step_ns
        self.time_ns = NS_PER_S

    def now_ns(self) -> int:
        """Return the present time in nanoseconds, and move on."""
        self.time_ns += self.step_ns
        return self.time_ns


def make_clock() -> ManualClock:
    """A clock that stands at one second."""
    return ManualClock(NS_PER_S)


def make_config(
    poller: str | None = None,
    zero_alloc: bool = True,
    *,
    diagnostics: bool = False,
    timeouts: Timeouts | None = None,
    pool: PoolConfig | None = None,
    max_body_bytes: int = 1 << 30,
) -> Config:
    """A configuration for a loop under test."""
    return Config(
        poller=poller,
        zero_alloc=zero_alloc,
        diagnostics=diagnostics,
        timeouts=timeouts or Timeouts(),
        pool=pool or PoolConfig(),
        max_body_bytes=max_body_bytes,
    )


def turns(loop: Loop, until: Callable[[], object], *, max_events: int | None = None) -> None:
    """Poll until `until()` is true; each turn waits for something to happen."""
    end = time.monotonic() + WAIT_S
    while not until():
        loop.poll(0.2, max_events=max_events)
        assert time.monotonic() < end, "the loop did not get there"


def settle(loop: Loop, count: int = 3) -> None:
    """Poll a few times without waiting: whatever can happen has happened on loopback."""
    for _ in range(count):
        loop.poll()


def connect(loop: Loop, peer: Peer) -> PeerConnection:
    """Let the loop dial, accept, and let it send its request."""
    before = loop.reactor.bytes_out
    loop.poll()
    connection = peer.accept()
    turns(loop, lambda: loop.reactor.bytes_out > before)
    return connection


def collected(loop: Loop) -> list[tuple[EventKind, object, bytes | None, object]]:
    """Take the events that wait: kind, exchange, a copy of the data, error."""
    return [summary(event) for event in loop.events]


def summary(event: Event) -> tuple[EventKind, object, bytes | None, object]:
    """An event as plain values."""
    return event.kind, event.exchange, None if event.data is None else bytes(event.data), event.error
