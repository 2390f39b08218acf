"""What WebSockets of a Loop take from memory: for a message nothing from the system, and while they are idle little."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.message_stage import RawClient
from support.websocket import frame
from support.websocket_loop import handshake
from turbosock import EventKind, Loop
from turbosock.cli.demo.allocations import allocations, usable_memray

PAIRS = 16
PROMISED = 12
IDLE_BYTES = 4096


@pytest.fixture
def memray() -> Any:
    found = usable_memray()
    if found is None:
        pytest.skip("memray is not installed, or something else traces: pip install 'turbosock[test]'")
    return found


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as made:
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


@pytest.mark.parametrize(
    "payload", [b"a message of thirty-two bytes...", "a message of thirty-two bytes...", b"m" * 300]
)
def test_small_message_takes_nothing_of_the_system_and_a_handful_of_objects(
    memray: Any, loop: Loop, payload: bytes | str
) -> None:
    listener = loop.listen(("127.0.0.1", 0), protocol="websocket")
    clients = [loop.websocket(listener.url) for _ in range(PAIRS)]
    opened = 0
    while opened < 2 * PAIRS:
        loop.poll(1.0)
        opened += sum(event.kind is EventKind.OPEN for event in loop.events)
    for client in clients:
        client.send(payload)
    play(loop, 2000)

    system, python = allocations(memray, lambda count: play(loop, count))

    # Half of the messages are received and sent by a server, half by a client; a batch of keys comes from the system.
    print(f"{system=:.3f} {python=:.2f}")
    assert system < 0.02
    assert python <= PROMISED


def test_idle_websocket_takes_little(tmp_path: Path, loop: Loop) -> None:
    listener = loop.listen(str(tmp_path / "s"), protocol="websocket")

    def open_some(count: int) -> list[RawClient]:
        clients = [RawClient(listener.address) for _ in range(count)]
        for client in clients:
            client.send(handshake() + frame(2, b"hello"))
        opened = 0
        while opened < count:
            loop.poll(1.0)
            opened += sum(event.kind is EventKind.OPEN for event in loop.events)
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
