"""What WebSockets of a Loop take from memory: for a message nothing from the system, and while they are idle little."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.message_stage import RawClient
from support.websocket import frame
from support.websocket_loop import handshake
from turbosock import Config, EventKind, LengthPrefixed, Loop
from turbosock.audit.counting import allocations

PAIRS = 16
PROMISED = 10
IDLE_BYTES = 4096
# What is counted are the defaults, whatever the environment switches.
CONFIG = Config(zero_alloc=True, diagnostics=False, poller=None)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop(CONFIG) as made:
        yield made


def play(loop: Loop, count: int) -> int:
    """Send each message that comes back to where it came from, until `count` have come."""
    message = EventKind.MESSAGE
    left = count
    while left > 0:
        loop.poll(1.0)
        for event in loop.events:
            assert event.kind is message
            event.connection.send(event.data)  # type: ignore[attr-defined]  # a WebSocket
            left -= 1
        loop.flush()
    return count - left


def echoing(loop: Loop, protocol: str, payload: bytes | str) -> None:
    """Pairs of connections that have begun to play."""
    if protocol == "tcp":
        address = loop.listen(("127.0.0.1", 0), protocol="tcp", framing=LengthPrefixed(2)).address
        clients: list[Any] = [loop.connect(address, framing=LengthPrefixed(2)) for _ in range(PAIRS)]
    else:
        url = loop.listen(("127.0.0.1", 0), protocol="websocket").url
        clients = [loop.websocket(url) for _ in range(PAIRS)]
    opened = 0
    while opened < 2 * PAIRS:
        loop.poll(1.0)
        opened += sum(event.kind is EventKind.OPEN for event in loop.events)
    for client in clients:
        client.send(payload)
    play(loop, 2000)


@pytest.mark.parametrize("payload", [b"b" * 32, "t" * 32, b"b" * 300], ids=["small", "text", "middle"])
def test_message_takes_nothing_of_the_system_and_a_handful_of_objects_more_than_in_a_plain_framing(
    memray: Any, payload: bytes | str
) -> None:
    taken = {}
    for protocol in ("tcp", "websocket"):
        with Loop(CONFIG) as loop:
            echoing(loop, protocol, payload if protocol == "websocket" else b"b" * len(payload))
            system, taken[protocol] = allocations(memray, partial(play, loop))
        # Of WebSockets half are received and sent by clients: a batch of masking keys comes from the system.
        assert system < 0.02

    print(taken)
    assert taken["websocket"] - taken["tcp"] <= PROMISED


def test_idle_websocket_takes_little(tmp_path: Path, loop: Loop) -> None:
    listener = loop.listen(str(tmp_path / "s"), protocol="websocket")

    def open_some(count: int) -> list[RawClient]:
        clients = [RawClient(listener.address) for _ in range(count)]
        for client in clients:
            client.send(handshake() + frame(2, b"hello"))
        opened = 0
        while opened < count:
            loop.poll(1.0)
            for event in loop.events:
                if event.kind is EventKind.OPEN:
                    opened += 1
                    # What it was asked for is of no more use, and takes more than a third.
                    event.connection.request = None  # type: ignore[attr-defined]  # a WebSocket
        loop.poll()
        return clients

    kept = open_some(20)
    tracemalloc.start()
    try:
        kept += open_some(100)
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    for client in kept:
        client.close()

    print(f"{size / 100:.0f} bytes each, the client's socket included")
    assert loop.stats().messages.lent_bytes == 0
    assert size / 100 < IDLE_BYTES
