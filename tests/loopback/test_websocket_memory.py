"""What a message of an open WebSocket takes from memory, transport and all, and what a closed one has given back."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.scripted_server import scripted
from support.websocket_server import BINARY, accept, answer_close, echo, send_frame
from support.websocket_stage import TIMEOUTS, WebSocketStage
from turbosock import Client, Config, TransportMode, WebSocket
from turbosock.audit.counting import Work, allocations

# Of Python's own for each message, of which an echo is two.
PROMISED = 12
PAYLOAD = b"a message of thirty-two bytes..."

# In a process of its own, whose allocations are not counted: answers each frame of `PAYLOAD` with one.
PEER = """
import base64, hashlib, socket
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
print(listener.getsockname()[1], flush=True)
peer, _ = listener.accept()
head = b""
while not head.endswith(b"\\r\\n\\r\\n"):
    head += peer.recv(65536)
key = head.partition(b"Sec-WebSocket-Key: ")[2][:24] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
accept = base64.b64encode(hashlib.sha1(key).digest())
lines = b"HTTP/1.1 101 OK", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + accept
peer.sendall(b"\\r\\n".join((*lines, b"", b"")))
while len(data := peer.recv(65536)) == 38:
    peer.sendall(b"\\x82\\x20a message of thirty-two bytes...")
"""


@contextlib.contextmanager
def peer_process() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", PEER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
        process.wait(10)


def times(step: Callable[[], None]) -> Work:
    def work(count: int) -> int:
        for _ in range(count):
            step()
        return count

    work(100)
    return work


@pytest.mark.parametrize("mode", TransportMode)
def test_echo_of_a_small_message_takes_a_handful_of_objects_and_nothing_of_the_system(
    memray: Any, mode: TransportMode
) -> None:
    with (
        peer_process() as url,
        Client(Config(transport=mode, timeouts=TIMEOUTS)) as client,
        client.websocket(url) as ws,
    ):

        def step() -> None:
            ws.send(PAYLOAD)
            assert ws.recv() == PAYLOAD

        system, python = allocations(memray, times(step))
    print(f"{system:.3f} of the system, {python:.1f} of Python")
    # A batch of masking keys comes from the system, one for every thousand.
    assert system < 0.02
    if mode is TransportMode.STREAM:
        assert python <= 2 * PROMISED - 5


def count_of_blocks(ws: WebSocket, message: bytes, count: int) -> int:
    for _ in range(count):
        ws.send(message)
        ws.recv_view()
    return sys.getallocatedblocks()


@pytest.mark.parametrize("size", [32, 5000, 70_000])
def test_messages_leave_nothing_behind(stage: WebSocketStage, size: int) -> None:
    with stage.open(echo) as ws:
        before = count_of_blocks(ws, bytes(size), 50)
        assert count_of_blocks(ws, bytes(size), 200) - before < 300


def test_rings_and_lent_memory_come_back(stage: WebSocketStage) -> None:
    with scripted(stage.script(accept(), send_frame(BINARY, bytes(300_000)), answer_close)) as server:
        client = stage.client()
        before = client.rings.stats()
        ws = client.websocket(stage.url(server), close_timeout_s=0.5)
        assert len(ws.recv_view(timeout=5)) == 300_000
        assert client.buffers.stats().outstanding == 1
        ws.close()
        assert client.buffers.stats().outstanding == 0
        stats = client.rings.stats()
        assert stats.made - stats.idle == before.made - before.idle or not client.config.zero_alloc
        del ws


def test_second_message_that_a_longer_ring_holds_needs_no_other_memory(plain: WebSocketStage) -> None:
    with plain.open(echo) as ws:
        rented = []
        for _ in range(3):
            ws.send(bytes(100_000))
            assert len(ws.recv(timeout=5)) == 100_000
            rented.append(plain.clients[0].buffers.stats().rented)
        assert rented[0] >= 1 and rented[1:] == rented[:1] * 2
