"""Event streams in virtual time: connections in memory, each of which plays one part of a script.

A part is the bytes of an answer and how it goes on after them. The loop's clock stands still until a test moves it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from turbosock import (
    Client,
    Config,
    EventKind,
    EventStream,
    Loop,
    ServerSentEvent,
    TransportMode,
    TurbosockError,
)
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.reactor import Reactor
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket
from turbosock.testing.virtual_clock import VirtualClock
from turbosock.transport.connector import Target
from turbosock.transport.transport import Transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

STAY, LEAVE, RESET = "stay", "leave", "reset"


class Part(NamedTuple):
    """What one connection sends, and what it does then: STAY, LEAVE (FIN) or RESET."""

    data: bytes
    then: str = LEAVE


def stream(*events: bytes, then: str = LEAVE) -> Part:
    """An answer with these events, each of one line of data, its end marked by that of the connection."""
    return Part(HEAD + b"".join(b"data: %s\n\n" % event for event in events), then)


def status(line: str, *fields: str, then: str = STAY) -> Part:
    """An answer without a body."""
    lines = "".join(f"{field}\r\n" for field in (f"HTTP/1.1 {line}", *fields, "Content-Length: 0"))
    return Part(lines.encode() + b"\r\n", then)


class EventPeer(MemoryPeer):
    """Plays one part for each request; the last one again for any further request.

    Attributes:
        requests: the bytes of each request.
        sockets: where each was answered.
        times_ns: when, by `now_ns`.
    """

    now_ns: Callable[[], int] = staticmethod(lambda: 0)

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self.requests: list[bytes] = []
        self.sockets: list[MemorySocket] = []
        self.times_ns: list[int] = []

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        part = self._parts[min(len(self.requests), len(self._parts) - 1)]
        self.requests.append(data)
        self.sockets.append(sock)
        self.times_ns.append(self.now_ns())
        if part.data:
            sock.deliver(part.data)
        if part.then == LEAVE:
            sock.leave()
        elif part.then == RESET:
            sock.reset()

    def field(self, index: int, name: str) -> str | None:
        """The value of a field of one request, or None."""
        for line in self.requests[index].decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name.lower():
                return value
        return None


FACES = ("stream", "saea", "loop")


class Told(NamedTuple):
    """An event, as plain values."""

    event: str
    data: bytes
    id: str


class Reading(NamedTuple):
    """What came of one stream.

    Attributes:
        told: its events.
        error: what it was closed with, or None.
        stream: itself.
        pauses_s: the seconds before each further request.
    """

    told: list[Told]
    error: TurbosockError | None
    stream: EventStream
    pauses_s: list[float]

    @property
    def data(self) -> list[bytes]:
        """The data of the events."""
        return [told.data for told in self.told]


class _InTime:
    """Around the connections of a Client that is to live in the time of a clock."""

    def __init__(self, inner: MemoryConnector, clock: VirtualClock) -> None:
        self.inner = inner
        self.clock = clock

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """The transport as it is."""
        return transport


def read_all(
    face: str, peer: EventPeer, *, chance: float = 1.0, most: int = 1000, config: Config | None = None, **options: Any
) -> Reading:
    """Read a stream through one face until it is closed, or has told `most` events, without waiting for anything.

    Args:
        chance: what every draw of a random pause gives, from 0 to 1.
    """
    clock = VirtualClock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turbosock.client.reconnect._random", lambda: chance)
        peer.now_ns = clock.now_ns
        if face == "loop":
            reading = _read_in_loop(peer, clock, most, config or Config(), options)
        else:
            reading = _read_blocking(face, peer, clock, most, config or Config(), options)
    times = peer.times_ns
    return reading._replace(pauses_s=[(later - sooner) / NS_PER_S for sooner, later in itertools.pairwise(times)])


def _read_in_loop(peer: EventPeer, clock: VirtualClock, most: int, config: Config, options: dict[str, Any]) -> Reading:
    told: list[Told] = []
    kinds = []
    with Loop(config, connector=MemoryConnector(peer), clock=clock) as loop:
        stream = loop.events_from("http://peer/events", **options)
        for _ in range(10_000):
            loop.poll()
            for event in loop.events:
                assert event.connection is stream
                kinds.append(event.kind)
                if isinstance(event, ServerSentEvent):
                    told.append(_told(event))
            if stream.closed or len(told) >= most:
                break
            left_s = loop.next_deadline()
            assert left_s is not None, "the stream waits for nothing"
            clock.advance(ns=int(left_s * NS_PER_S) + 1)
        else:
            raise AssertionError("the stream does not get there")
        assert kinds.count(EventKind.CLOSED) == int(stream.closed)
        assert not stream.closed or kinds[-1] is EventKind.CLOSED
        error = stream.error
    return Reading(told, error, stream, [])


def _read_blocking(
    face: str, peer: EventPeer, clock: VirtualClock, most: int, config: Config, options: dict[str, Any]
) -> Reading:
    told: list[Told] = []
    mode = TransportMode(face)
    config = dataclasses.replace(config, transport=mode)
    with Client(config, connector=_InTime(MemoryConnector(peer, clock=clock, mode=mode), clock)) as client:
        stream = client.events("http://peer/events", **options)
        error = None
        try:
            for event in stream:
                told.append(_told(event))
                if len(told) >= most:
                    break
        except TurbosockError as failure:
            error = failure
        if len(told) < most:
            assert stream.closed and stream.error is error
        stream.close()
    return Reading(told, error, stream, [])


def _told(event: ServerSentEvent) -> Told:
    return Told(event.event, bytes(event), event.id)
