"""A stage for tests of the HTTP listener: a reactor in virtual time, a listener, and clients that are bare sockets.

Everything runs in one thread over Unix sockets, whose bytes are there as soon as they were sent. So a test is a row of
sends, turns and looks at what came, and time passes only when it says so.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from turbosock.connection.receive_ring import RingPool
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.head import ResponseHead, parse_response_head
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener

MAX_TURNS = 10_000


@dataclass
class Answer:
    """One response as a client reads it."""

    head: ResponseHead
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)

    @property
    def status_code(self) -> int:
        return self.head.status_code

    def header(self, name: str) -> str | None:
        return self.head.headers.get(name)

    def summary(self) -> tuple[object, ...]:
        """What must not depend on how the request arrived: all but the date."""
        fields = [pair for pair in self.head.headers.raw if pair[0] != b"Date"]
        return (self.status_code, fields, self.body, self.trailers)


def read_answers(data: bytes, methods: list[str], *, ended: bool) -> list[Answer]:
    """The responses in `data`, to requests of `methods`; AssertionError when bytes are left over or missing."""
    buffer = bytearray(data)
    start = 0
    answers: list[Answer] = []
    waiting = list(methods)
    while start < len(buffer):
        assert waiting, f"an answer to nothing: {bytes(buffer[start:])!r}"
        head = parse_response_head(buffer, start, len(buffer), waiting[0])
        assert head is not None, f"an answer breaks off in its head: {bytes(buffer[start:])!r}"
        start += head.size
        answer = Answer(head)
        answers.append(answer)
        if not head.interim:
            del waiting[0]
        body = BodyFraming()
        body.begin(head.framing, head.content_length)
        while not body.complete:
            if body.run:
                count = min(body.run, len(buffer) - start)
                answer.body += bytes(buffer[start : start + count])
                start += count
                body.payload(count)
                if not count:
                    assert ended, "an answer breaks off in its body"
                    body.end_of_stream()
            else:
                before = start
                start = body.advance(buffer, start, len(buffer))
                assert start > before or body.complete or body.run, "an answer breaks off between its chunks"
        if body.trailers is not None:
            answer.trailers = list(body.trailers.raw)
    return answers


class Peer:
    """A client: a socket that never blocks, and what it has received."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.socket.connect(stage.path)
        self.received = b""
        self.ended = False
        self.reset = False

    def send(self, data: bytes) -> None:
        """Send all of it, with turns in between where the listener reads slowly."""
        view = memoryview(data)
        for _ in range(MAX_TURNS):
            if not view:
                break
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self.stage.turn()
        assert not view, "the listener takes no more"
        self.stage.turn()

    def look(self, max_bytes: int = 1 << 20) -> bytes:
        """Take what has come, `max_bytes` at most, and return everything so far."""
        try:
            while max_bytes > 0 and not self.ended:
                data = self.socket.recv(min(max_bytes, 65536))
                self.received += data
                self.ended = not data
                max_bytes -= len(data)
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.reset = self.ended = True
        return self.received

    def answers(self, *methods: str) -> list[Answer]:
        """What was answered so far to requests of these methods (GET without any)."""
        self.stage.settle(self)
        return read_answers(self.received, list(methods) or ["GET"], ended=self.ended)

    def finish(self) -> None:
        """Say that no more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)
        self.stage.turn()

    def close(self) -> None:
        self.socket.close()
        self.stage.turn()


class Stage:
    """A listener with its reactor, its rings and its clients; use it in a with block.

    Args:
        handler: the listener's; None keeps every exchange in `exchanges` unanswered.
        poller: the reactor's.
        options: the listener's.

    Attributes:
        exchanges: what was handed to the handler, in order.
    """

    def __init__(
        self,
        handler: Callable[[HttpExchange], object] | None = None,
        *,
        poller: str | None = None,
        diagnostics: bool = True,
        pooling: bool = True,
        **options: Any,
    ) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="stage")
        self.path = str(Path(self._directory.name) / "s")
        self.clock = ManualClock(1)
        self.reactor = Reactor(poller, self.clock)
        self.rings = RingPool(pooling=pooling, diagnostics=diagnostics)
        self.exchanges: list[HttpExchange] = []
        self._handler = handler
        self.listener = HttpListener(self.reactor, self.rings, self.path, self._handle, **options)
        self.peers: list[Peer] = []

    def _handle(self, exchange: HttpExchange) -> None:
        self.exchanges.append(exchange)
        if self._handler is not None:
            self._handler(exchange)

    def connect(self) -> Peer:
        """A new client, accepted."""
        peer = Peer(self)
        self.peers.append(peer)
        self.turn()
        return peer

    def turn(self) -> None:
        """Serve what is ready, what becomes ready by that, and the timers that are due."""
        for _ in range(MAX_TURNS):
            self.reactor.collect(0.0)
            if not self.reactor.line:
                break
            for _ in range(len(self.reactor.line)):
                self.reactor.step()
        else:
            raise AssertionError("the reactor finds no rest")
        self.reactor.expire_timers()

    def settle(self, peer: Peer) -> None:
        """Turns, with the client reading, until nothing more comes."""
        for _ in range(MAX_TURNS):
            before = len(peer.received), peer.ended
            self.turn()
            peer.look()
            if (len(peer.received), peer.ended) == before:
                return
        raise AssertionError("the answer has no end")

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.clock.advance(seconds)
        self.turn()

    @property
    def idle_rings(self) -> bool:
        """Whether every ring is back in the pool."""
        stats = self.rings.stats()
        return stats.idle == stats.made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peer in self.peers:
            peer.socket.close()
        self.listener.close()
        self.reactor.close(lambda handler: None)
        self._directory.cleanup()


def request(
    method: str = "GET",
    target: str = "/",
    fields: str = "",
    body: bytes = b"",
    *,
    version: str = "1.1",
    host: str = "Host: h\r\n",
) -> bytes:
    """The bytes of a request; `fields` are whole lines, and Content-Length is added where there is a body."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/{version}\r\n{host}{fields}{length}\r\n".encode("latin-1") + body
