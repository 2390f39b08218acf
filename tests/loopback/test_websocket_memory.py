"""What a message of an open WebSocket takes from memory, transport and all, and what idle and closed ones hold."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.scripted_server import Peer, scripted, send
from support.switches import requires_default
from support.websocket_server import BINARY, accept, answer_close, echo, send_frame, server_frame
from support.websocket_stage import TIMEOUTS, WebSocketStage, soon
from turbosock import Client, Config, ReadTimeout, TransportMode, WebSocket, WebSocketClosed
from turbosock.audit.counting import Work, allocations

# Of Python's own for each message, of which an echo is two.
PROMISED = 12
counts_rings = requires_default("zero_alloc", why="rings that are not pooled do not come back")
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


@requires_default("diagnostics", why="to poison a ring takes memory")
@pytest.mark.parametrize("mode", TransportMode)
def test_echo_of_a_small_message_takes_a_handful_of_objects_and_nothing_of_the_system(
    memray: Any, mode: TransportMode
) -> None:
    with (
        peer_process() as url,
        Client(Config(transport=mode, timeouts=TIMEOUTS, zero_alloc=True)) as client,
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


def lent(client: Client) -> int:
    """Rings that are out."""
    return sum(stats.made - stats.idle for stats in (client.rings.stats(), client.long_rings.stats()))


@counts_rings
@pytest.mark.parametrize("size", [32, 1000, 70_000, 300_000])
def test_idle_websocket_holds_no_memory(stage: WebSocketStage, size: int) -> None:
    with stage.open(echo) as ws:
        client = stage.clients[0]
        for _ in range(2):
            ws.send(bytes(size))
            assert ws.recv(timeout=5) == bytes(size)
            assert lent(client) == client.buffers.stats().outstanding == 0
        ws.ping(timeout=5)
        assert lent(client) == 0
        with pytest.raises(ReadTimeout):
            ws.recv(timeout=0)
        assert lent(client) == 0


@counts_rings
def test_message_behind_the_one_that_was_received_keeps_the_ring(stage: WebSocketStage) -> None:
    two = server_frame(BINARY, bytes(500)) + server_frame(BINARY, bytes(900))
    with stage.open(send(two), answer_close) as ws:
        assert ws.recv(timeout=5) == bytes(500)
        assert ws.recv(timeout=5) == bytes(900)
        assert lent(stage.clients[0]) == 0


@counts_rings
def test_view_keeps_its_memory_until_the_next_receive(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        ws.send(b"a" * 1000)
        view = ws.recv_view(timeout=5)
        ws.send(b"b" * 1000)
        assert lent(stage.clients[0]) == 1 and view == b"a" * 1000
        assert ws.recv(timeout=5) == b"b" * 1000
        assert lent(stage.clients[0]) == 0


@counts_rings
def test_waiting_websocket_gives_its_ring_back_and_hears_what_comes(stage: WebSocketStage) -> None:
    speak = threading.Event()
    received: list[bytes | str] = []

    def wait_to_speak(peer: Peer) -> None:
        assert speak.wait(10)

    steps = send_frame(BINARY, bytes(10)), wait_to_speak, send_frame(BINARY, bytes(1000)), answer_close
    with stage.open(*steps) as ws:
        assert ws.recv(timeout=5) == bytes(10)
        client = stage.clients[0]
        receiver = threading.Thread(target=lambda: received.append(ws.recv(timeout=9)))
        receiver.start()
        soon(lambda: lent(client) == 1)
        soon(lambda: lent(client) == 0)
        assert receiver.is_alive()
        speak.set()
        receiver.join(9)
        assert received == [bytes(1000)] and lent(client) == 0


@counts_rings
def test_waiting_websocket_without_a_ring_is_ended_by_abort(stage: WebSocketStage) -> None:
    with stage.open(answer_close) as ws:
        client = stage.clients[0]
        ended: list[BaseException] = []

        def receive() -> None:
            try:
                ws.recv()
            except WebSocketClosed as error:
                ended.append(error)

        receiver = threading.Thread(target=receive)
        receiver.start()
        soon(lambda: lent(client) == 1)
        soon(lambda: lent(client) == 0)
        ws.abort()
        receiver.join(9)
        assert len(ended) == 1


def test_idle_blocking_websocket_takes_less_than_four_kibibytes() -> None:
    count = 50
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(scripted(*[(accept(), send_frame(BINARY, b"hello"))] * (2 * count)))
        client = stack.enter_context(Client(Config(transport=TransportMode.STREAM, timeouts=TIMEOUTS, zero_alloc=True)))

        def open_some() -> None:
            for _ in range(count):
                ws = client.websocket(f"ws://{server.host}:{server.port}/")
                stack.callback(ws.abort)
                assert ws.recv(timeout=5) == b"hello"

        open_some()
        gc.collect()
        tracemalloc.start(25)
        open_some()
        gc.collect()
        # Not what the server has, in another thread.
        ours = tracemalloc.Filter(True, "*/turbosock/client/*", all_frames=True)
        traces = tracemalloc.take_snapshot().filter_traces([ours]).traces
        tracemalloc.stop()
        taken = sum(trace.size for trace in traces) / count
    assert 1024 < taken < 4096
