"""KeyboardInterrupt at every place of what a program calls on a message connection of a Loop, and of an accept.

Wherever it comes: the caller sees it; the message is sent whole or not at all, as what it is; what is sent afterwards
arrives in order, or the connection has ended; the memory is back.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from support.interrupts import Interrupter, guarded
from support.length import short_or_long
from support.message_stage import MessageStage, RawClient
from support.seeds import seeds
from support.websocket_loop import WebSocketStage, frames, handshake
from turbosock import EventKind, LengthPrefixed
from turbosock.connection.broadcast import broadcast
from turbosock.connection.send import Send

# What accept() had returned to nobody is closed by the collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

HANG_S = 10
SAMPLE = short_or_long(8, 10_000)
# A message that is an object of its own, one that leaves from where it lies, and one that no page of zlib's holds.
SMALL, LONG = 40, 20_000
_FILLING = bytes(range(32, 127)) * 300
COMPRESSED = 0x40

Message = bytes | str


def message(number: int, size: int) -> bytes:
    """Text that no other one is like, and that compresses."""
    return b"%05d" % number + _FILLING[number % 19 : number % 19 + size - 5]


class Subject:
    """A connection of a listener, whose client is bare; a scenario interrupts what it calls.

    Args:
        kind: "tcp"; "websocket", or "deflate" for one that compresses.
        path: where to listen.
    """

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path
        self.number = 0
        self.offer = ["Sec-WebSocket-Extensions: permessage-deflate"] if kind == "deflate" else []
        self.open()

    def open(self) -> None:
        self.stage: Any = (
            MessageStage(self.path, framing=LengthPrefixed(4))
            if self.kind == "tcp"
            else WebSocketStage(self.path, deflate=self.kind == "deflate", config={"diagnostics": False})
        )

    def close_all(self) -> None:
        self.client.close()
        self.stage.loop.close()

    def prepare(self) -> None:
        """A connection, behind which one message waits."""
        self.client, self.connection = self.stage.client(*self.offer)
        self.inflater = zlib.decompressobj(-15)
        # What was given to send, and whether it must arrive.
        self.given: list[tuple[Message, bool]] = []
        self.must = True

    def knock(self) -> None:
        """A client that nobody has accepted."""
        self.client = RawClient(self.stage.listener.address)
        if self.kind != "tcp":
            self.client.send(handshake(*self.offer))
        self.given = []

    def next(self, size: int) -> bytes:
        self.number += 1
        data = message(self.number, size)
        self.given.append((data, self.must))
        return data

    # What is interrupted

    def accept(self) -> None:
        for _ in range(3):
            self.stage.loop.poll()

    def send(self) -> None:
        self.connection.send(self.next(SMALL))

    def send_long(self) -> None:
        self.connection.send(self.next(LONG))

    def send_buffer(self) -> None:
        self.connection.send(bytearray(self.next(LONG)))

    def send_text(self) -> None:
        for size in (SMALL, LONG):
            text = self.next(size).decode()
            self.given[-1] = (text, self.must)
            self.connection.send(text)

    def replace(self) -> None:
        for size in (SMALL, LONG, SMALL):
            # The newer one replaces the one before.
            if self.given:
                self.given[-1] = (self.given[-1][0], False)
            self.connection.send(self.next(size), key="k")

    def replace_buffer(self) -> None:
        for _ in range(2):
            if self.given:
                self.given[-1] = (self.given[-1][0], False)
            self.connection.send(bytearray(self.next(LONG)), key="k")

    def build(self) -> None:
        for key in (None, f"b{self.number}"):
            data = self.next(LONG)
            view = self.connection.reserve(LONG)
            assert view is not None
            view[:] = data
            self.connection.commit(key=key)

    def to_all(self) -> None:
        broadcast([self.connection], self.next(SMALL))
        broadcast([self.connection], self.next(LONG), key="k")

    def flush(self) -> None:
        self.connection.send(self.next(SMALL))
        self.connection.send(bytearray(self.next(LONG)))
        self.stage.loop.flush()

    def ping(self) -> None:
        self.connection.ping()

    def close(self) -> None:
        self.connection.close()

    def abort(self) -> None:
        self.connection.abort()

    # What is looked at

    def received(self) -> list[Message]:
        """The messages that have come, all of them whole."""
        data = b""
        for _ in range(4):
            self.stage.turn(1)
            data += self.client.take()
        found: list[Message] = []
        if self.kind == "tcp":
            while data:
                size = int.from_bytes(data[:4], "big")
                assert len(data) >= 4 + size, "half a message"
                found.append(data[4 : 4 + size])
                data = data[4 + size :]
            return found
        for first, payload in frames(data):
            whole = self.inflater.decompress(payload + b"\0\0\xff\xff") if first & COMPRESSED else payload
            if first & 0x0F <= 2:
                found.append(whole.decode() if first & 0x0F == 1 else whole)
        return found

    def check(self) -> None:
        """After the interrupt: what was sent, what is sent now, and the end."""
        connection = self.connection
        self.must = True
        open_still = connection.open
        self.given = [(each, False) for each, _ in self.given]
        if open_still:
            assert connection.send(self.next(SMALL)) is Send.OK
            assert connection.send(bytearray(self.next(LONG))) is Send.OK
            self.build()
            if self.kind != "tcp":
                self.send_text()
        got = self.received()
        place = 0
        for each in got:
            places = [i for i in range(place, len(self.given)) if self.given[i][0] == each]
            assert places, f"what nobody sent, or not in this order, or not as this: {each[:40]!r}, {len(each)}"
            place = places[0] + 1
        missing = [each[:10] for each, must in self.given if must and each not in got]
        assert not missing, f"never sent: {missing}"
        assert connection.unsent == 0
        self.end()

    def check_accepted(self) -> None:
        """After an interrupted accept: that client is served, or gone; the next one is served."""
        opened: list[Any] = []
        for _ in range(4):
            self.stage.loop.poll()
            opened += [event.connection for event in self.stage.loop.events if event.kind is EventKind.OPEN]
        self.client.close()
        for connection in opened:
            connection.close()
        self.prepare()
        self.check()

    def end(self) -> None:
        """The client goes; then nothing is left."""
        self.client.close()
        self.connection.close()
        self.stage.turn(3)
        self.stage.clock.advance(60)
        self.stage.turn(3)
        closed = not self.connection.open and self.connection.state == 5
        assert closed, f"it does not end: {self.connection!r}"
        del self.connection
        self.idle()

    def idle(self) -> None:
        """Nobody is connected, and nothing is held."""
        stats = self.stage.loop.stats()
        assert stats.messages.open == 0, "a connection is counted"
        assert stats.messages.outgoing_bytes == 0, "memory to send is lost"
        assert stats.messages.lent_bytes == 0, "memory to receive is lost"
        assert stats.watched == 2, "a socket is watched"
        assert stats.timers == 0, "a timer is armed"
        assert stats.listeners[0].open == 0, "a place is lost"


def interrupt(subject: Subject, scenario: Callable[[], None], seed: int, *, opened: bool = True) -> int:
    """Interrupt the scenario at places drawn from all those it has; how many that were."""
    prepare, check = (subject.prepare, subject.check) if opened else (subject.knock, subject.check_accepted)
    interrupter = Interrupter()
    prepare()
    interrupter.run(scenario, 0)
    check()
    places = range(1, interrupter.count + 1)
    failures: dict[str, list[str]] = {}
    for target in sorted(Random(seed).sample(places, min(SAMPLE, len(places)))):
        prepare()
        what = interrupter.failure(scenario, target, HANG_S)
        try:
            with guarded(HANG_S):
                check()
        except Exception as error:
            what = f"{what or ''} and afterwards {type(error).__name__}: {str(error).splitlines()[0]}"
        if what is not None:
            failures.setdefault(what, []).append(f"{interrupter.where} ({target})")
            subject.close_all()
            subject.open()
    subject.close_all()
    assert not failures, "\n".join(f"{what}: {', '.join(where)}" for what, where in failures.items())
    return len(places)


ALL = ["send", "send_long", "send_buffer", "replace", "replace_buffer", "build", "to_all", "flush", "close", "abort"]


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", ["tcp", "websocket", "deflate"])
def test_message_interrupted_anywhere_is_sent_whole_or_not_at_all(
    kind: str, name: str, seed: int, tmp_path: Path
) -> None:
    subject = Subject(kind, tmp_path / "s")
    assert interrupt(subject, getattr(subject, name), seed) > 0


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("name", ["send_text", "ping"])
@pytest.mark.parametrize("kind", ["websocket", "deflate"])
def test_text_and_ping_interrupted_anywhere_are_sent_whole_or_not_at_all(
    kind: str, name: str, seed: int, tmp_path: Path
) -> None:
    subject = Subject(kind, tmp_path / "s")
    assert interrupt(subject, getattr(subject, name), seed) > 0


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("kind", ["tcp", "websocket", "deflate"])
def test_accept_interrupted_anywhere_leaves_nothing_behind(kind: str, seed: int, tmp_path: Path) -> None:
    subject = Subject(kind, tmp_path / "s")
    assert interrupt(subject, subject.accept, seed, opened=False) > 20
