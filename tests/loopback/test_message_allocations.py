"""What a message costs in memory, in the steady state: no call of malloc(), and few of Python's own allocations."""

from __future__ import annotations

import gc
import socket
import tracemalloc
from pathlib import Path

import pytest

from support.message_stage import RawClient
from turbosock import Config, EventKind, LengthPrefixed, Loop
from turbosock.audit.counting import allocations, usable_memray

MESSAGE = EventKind.MESSAGE
# What is counted are the defaults, whatever the environment switches.
CONFIG = Config(zero_alloc=True, diagnostics=False, poller=None)


def echo(loop: Loop) -> None:
    """One turn, in which every message goes back."""
    loop.poll(0.5)
    for event in loop.events:
        if event.kind is MESSAGE:
            event.connection.send(event.data)  # type: ignore[attr-defined]  # a MessageConnection or a DatagramSession
    loop.flush()


def measured(loop: Loop, turn: object) -> tuple[float, float]:
    """System mallocs and Python's allocations of one turn."""
    memray = usable_memray()
    if memray is None:
        pytest.skip("this run is traced by memray itself")

    def work(count: int) -> int:
        for _ in range(count):
            turn()  # type: ignore[operator]  # a function without arguments
        return count

    work(200)
    return allocations(memray, work)


@pytest.mark.parametrize("size", [32, 1024])
def test_echo_over_tcp_mallocs_nothing(size: int) -> None:
    pytest.importorskip("memray")
    with Loop(CONFIG) as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="tcp", framing=LengthPrefixed(2))
        client = RawClient(listener.address)
        while not listener.connections:
            loop.poll(1.0)
        frame = size.to_bytes(2, "big") + b"x" * size
        received = bytearray(len(frame))
        send, receive = client.socket.send, client.socket.recv_into

        def turn() -> None:
            send(frame)
            echo(loop)
            receive(received)

        mallocs, python = measured(loop, turn)
        client.close()
    # One message in and one out, with a turn of the loop and a flush for them alone.
    assert mallocs < 0.1 and python < (25 if size == 32 else 45)


def test_echo_over_udp_mallocs_nothing() -> None:
    pytest.importorskip("memray")
    with Loop(CONFIG) as loop, socket.socket(type=socket.SOCK_DGRAM) as client:
        listener = loop.listen(("127.0.0.1", 0), protocol="udp", session_timeout_s=60)
        client.connect(listener.address)
        frame = b"x" * 32
        received = bytearray(100)
        send, receive = client.send, client.recv_into

        def turn() -> None:
            send(frame)
            echo(loop)
            receive(received)

        mallocs, python = measured(loop, turn)
    assert mallocs < 0.1 and python < 35


def test_messages_of_one_turn_share_its_cost() -> None:
    pytest.importorskip("memray")
    with Loop(CONFIG) as loop:
        listener = loop.listen(("127.0.0.1", 0), protocol="tcp", framing=LengthPrefixed(2))
        client = RawClient(listener.address)
        while not listener.connections:
            loop.poll(1.0)
        count = 50
        frames = (b"\0\x20" + b"x" * 32) * count
        received = bytearray(len(frames))
        send, receive = client.socket.send, client.socket.recv_into

        def turn() -> None:
            send(frames)
            echo(loop)
            receive(received, len(frames), socket.MSG_WAITALL)

        mallocs, python = measured(loop, turn)
        client.close()
    # An echo is two messages.
    assert mallocs < 0.1 and python / (2 * count) <= 6


def test_idle_connection_takes_less_than_four_kibibytes(tmp_path: Path) -> None:
    count = 200
    with Loop(CONFIG) as loop:
        listener = loop.listen(str(tmp_path / "s"), protocol="tcp", framing=LengthPrefixed(2), max_connections=1000)
        clients = [socket.socket(socket.AF_UNIX) for _ in range(2 * count)]
        path = str(tmp_path / "s")

        def connect(some: list[socket.socket]) -> None:
            before = len(listener.connections)
            for client in some:
                client.connect(path)
                client.sendall(b"\0\5hello")
                loop.poll()
                for event in loop.events:
                    assert event.data is None or bytes(event.data) == b"hello"
            while len(listener.connections) < before + count or loop.stats().messages.lent_bytes:
                loop.poll()
                for _ in loop.events:
                    pass

        connect(clients[:count])
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        connect(clients[count:])
        gc.collect()
        taken = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        for client in clients:
            client.close()
    assert taken < 4096
