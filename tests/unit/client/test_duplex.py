"""Duplex: bytes both ways at once, limits of time, what is left of a send, and ends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from support.in_thread import InThread
from turbosock.client.duplex import BlockingDuplex, Duplex, PolledDuplex, make_duplex
from turbosock.errors import ReadError, WriteError
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket
from turbosock.testing.memory_transport import MemoryStreamTransport, MemoryTransport
from turbosock.transport.transport import SaeaTransport, StreamTransport

NS_PER_S = 1_000_000_000
SHORT_NS = 20_000_000
LONG_NS = 5 * NS_PER_S


class Pair:
    """A duplex, and its peer's socket."""

    def __init__(self, blocking: bool, write_ns: int = LONG_NS) -> None:
        ours, self.peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.peer.settimeout(5)
        transport = StreamTransport(ours) if blocking else SaeaTransport(ours)
        self.duplex: Duplex = make_duplex(transport, write_ns)
        assert isinstance(self.duplex, BlockingDuplex if blocking else PolledDuplex)

    def take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += self.peer.recv(count - len(taken))
        return taken


@pytest.fixture(params=[True, False], ids=["blocking", "polled"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made = Pair(request.param)
    yield made
    made.duplex.close()
    made.peer.close()


def test_bytes_that_are_there_are_received_and_counted(pair: Pair) -> None:
    memory = memoryview(bytearray(10))
    pair.peer.sendall(b"hello world!")
    assert pair.duplex.receive(memory, LONG_NS) == 10
    assert pair.duplex.receive(memory, LONG_NS) == 2
    assert bytes(memory[:2]) == b"d!" and pair.duplex.bytes_in == 12


def test_receive_ends_with_its_time_and_leaves_the_memory_alone(pair: Pair) -> None:
    memory = memoryview(bytearray(10))
    started = time.monotonic()
    for _ in range(2):
        assert pair.duplex.receive(memory, SHORT_NS) == -1
    assert 0.03 < time.monotonic() - started < 1
    pair.peer.sendall(b"late")
    other = memoryview(bytearray(10))
    assert pair.duplex.receive(other, LONG_NS) == 4
    assert not any(memory) and bytes(other[:4]) == b"late"


def test_end_of_the_stream_is_zero_and_a_reset_an_error(pair: Pair) -> None:
    memory = memoryview(bytearray(10))
    pair.peer.shutdown(socket.SHUT_WR)
    assert pair.duplex.receive(memory, LONG_NS) == 0
    assert pair.duplex.receive(memory, LONG_NS) == 0
    pair.duplex.send(memoryview(b"unread"), LONG_NS)
    pair.peer.close()
    with pytest.raises(WriteError):
        pair.duplex.send(memory, LONG_NS)
    with pytest.raises(ReadError):
        pair.duplex.receive(memory, LONG_NS)


def test_send_waits_for_a_peer_that_takes_slowly(pair: Pair) -> None:
    data = bytes(range(256)) * 2000
    taking = InThread(lambda: pair.take(len(data)))
    assert pair.duplex.send(memoryview(data), LONG_NS) == len(data) == pair.duplex.bytes_out
    assert taking.outcome() == data


def test_send_says_how_much_has_left_and_the_rest_follows(pair: Pair) -> None:
    data = memoryview(bytes(range(256)) * 4000)
    started = time.monotonic()
    sent = pair.duplex.send(data, SHORT_NS)
    assert time.monotonic() - started < 1
    assert 0 < sent < len(data)
    assert pair.duplex.send(data[sent:], SHORT_NS) == 0
    taking = InThread(lambda: pair.take(len(data)))
    assert pair.duplex.send(data[sent:], LONG_NS) == len(data) - sent
    assert taking.outcome() == data


@pytest.mark.parametrize("blocking", [True, False])
def test_send_gives_up_where_nothing_is_taken_for_write_ns(blocking: bool) -> None:
    pair = Pair(blocking, write_ns=SHORT_NS)
    data = memoryview(bytes(1 << 20))
    started = time.monotonic()
    assert pair.duplex.send(data, LONG_NS) < len(data)
    assert time.monotonic() - started < 1
    pair.duplex.close()
    pair.peer.close()


def test_both_directions_move_at_once(pair: Pair) -> None:
    data = bytes(300_000)
    memory = memoryview(bytearray(65536))

    def receive_all() -> int:
        count = 0
        while count < len(data):
            count += pair.duplex.receive(memory, LONG_NS)
        return count

    receiving = InThread(receive_all)
    taking = InThread(lambda: pair.take(len(data)))
    giving = InThread(lambda: pair.peer.sendall(data))
    assert pair.duplex.send(memoryview(data), LONG_NS) == len(data)
    assert receiving.outcome() == len(data)
    assert taking.outcome() == data and giving.outcome() is None


def test_abort_ends_both_waits_at_once(pair: Pair) -> None:
    begun = threading.Barrier(3)

    def receive() -> int:
        begun.wait(5)
        return pair.duplex.receive(memoryview(bytearray(1)), LONG_NS)

    def send() -> int:
        begun.wait(5)
        return pair.duplex.send(memoryview(bytes(1 << 20)), LONG_NS)

    receiving, sending = InThread(receive), InThread(send)
    begun.wait(5)
    started = time.monotonic()
    pair.duplex.abort()
    outcomes = [receiving.outcome(), sending.outcome()]
    assert time.monotonic() - started < 2
    assert outcomes[0] == 0 or isinstance(outcomes[0], ReadError)
    # Or what had left when it came.
    assert isinstance(outcomes[1], WriteError) or outcomes[1] < 1 << 20


def test_drop_tells_the_peer_nothing(pair: Pair) -> None:
    other = pair.duplex.transport.socket.dup()
    pair.duplex.drop()
    pair.peer.settimeout(0.02)
    with pytest.raises(TimeoutError):
        pair.peer.recv(1)
    other.close()


@pytest.mark.parametrize("kind", [MemoryStreamTransport, MemoryTransport])
def test_sockets_in_memory_are_waited_for_without_the_system(
    kind: type[MemoryStreamTransport | MemoryTransport],
) -> None:
    class Peer(MemoryPeer):
        def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
            sock.deliver(data[::-1], 0.01)

    duplex = make_duplex(kind(MemorySocket(Peer())), LONG_NS)
    memory = memoryview(bytearray(10))
    assert duplex.receive(memory, SHORT_NS) == -1
    assert duplex.send(memoryview(b"abc"), LONG_NS) == 3
    assert duplex.receive(memory, LONG_NS) == 3 and bytes(memory[:3]) == b"cba"
    duplex.close()
