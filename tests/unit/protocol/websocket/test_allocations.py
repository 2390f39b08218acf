"""What the steady path of small messages takes from memory: nothing from the system, a handful of Python's objects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from support.websocket import frame
from turbosock.audit.counting import Work, allocations
from turbosock.buffers.ring import RingBuffer
from turbosock.protocol.websocket.frame import BINARY, FIN, TEXT
from turbosock.protocol.websocket.mask_keys import MaskKeys
from turbosock.protocol.websocket.outcomes import MESSAGE
from turbosock.protocol.websocket.receiver import MessageReceiver
from turbosock.protocol.websocket.writer import MessageWriter

PAYLOAD = b"a message of thirty-two bytes..."
# For an echo at either end, transport and all: what a connection adds has to fit as well.
PROMISED = 12


def echo_at_server(opcode: int) -> Callable[[], None]:
    """Receive a masked message and send it back."""
    data = frame(opcode, PAYLOAD)
    return echo(MessageReceiver(False), MessageWriter(None), data)


def echo_at_client(opcode: int) -> Callable[[], None]:
    """Receive a message and send it back masked."""
    return echo(MessageReceiver(True), MessageWriter(MaskKeys()), frame(opcode, PAYLOAD, key=None))


def echo(receiver: MessageReceiver, writer: MessageWriter, data: bytes) -> Callable[[], None]:
    ring = RingBuffer(4096)
    room = ring.root[: len(data)]
    memory = memoryview(bytearray(64))

    def step() -> None:
        room[:] = data
        ring.length = len(data)
        assert receiver.next(ring) == MESSAGE
        payload = receiver.data
        assert payload is not None
        writer.write(memory, 0, FIN | receiver.opcode, payload)

    return step


def times(step: Callable[[], None]) -> Work:
    def work(count: int) -> int:
        for _ in range(count):
            step()
        return count

    work(100)
    return work


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("side", [echo_at_server, echo_at_client])
def test_echo_of_a_small_message_takes_a_handful_of_objects_and_nothing_of_the_system(
    memray: Any, side: Callable[[int], Callable[[], None]], opcode: int
) -> None:
    system, python = allocations(memray, times(side(opcode)))
    # A batch of masking keys comes from the system, one for every thousand.
    assert system < 0.02
    assert python <= PROMISED


@pytest.mark.parametrize("side", [echo_at_server, echo_at_client])
def test_echo_leaves_nothing_behind(side: Callable[[int], Callable[[], None]]) -> None:
    work = times(side(BINARY))
    before = sys.getallocatedblocks()
    work(2000)
    assert sys.getallocatedblocks() - before < 50
