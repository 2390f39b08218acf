"""The steps of a server's connection, taken one by one over a socket pair, without a reactor."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from turbosock import limits
from turbosock.connection.http1_server import CONTINUE, Http1ServerConnection
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import (
    BodyTooLarge,
    BodyTruncated,
    HeadTooLarge,
    NetworkError,
    ProtocolError,
    ReadError,
    StateError,
)
from turbosock.protocol.http1.state import CLOSED, IDLE, MUST_CLOSE
from turbosock.transport.transport import SaeaTransport

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%b\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


class Pair:
    """A connection and its client's socket."""

    def __init__(self, max_head_bytes: int = limits.MAX_HEAD_BYTES) -> None:
        ours, self.client = socket.socketpair()
        self.client.settimeout(5)
        self.transport = SaeaTransport(ours)
        self.rings = RingPool(diagnostics=True)
        self.connection = Http1ServerConnection(self.transport, self.rings, "origin", max_head_bytes=max_head_bytes)
        self.connection.arm()

    def feed(self, data: bytes) -> None:
        self.client.sendall(data)
        self.look()

    def look(self) -> None:
        """Let the transport learn whether it is readable."""
        self.transport.await_readable(0)

    @property
    def idle_rings(self) -> bool:
        made, idle = self.rings.stats()
        return made == idle

    def close(self) -> None:
        self.connection.close()
        self.client.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()
    assert pair.idle_rings


def answer(connection: Http1ServerConnection, data: bytes = b"answer", *, last: bool = False) -> None:
    """Answer the request that was read."""
    connection.begin_answer(last=last)
    connection.send(data)
    connection.end_answer()


def test_head_is_read_when_whole_and_the_ring_goes_back_after(pair: Pair) -> None:
    connection = pair.connection
    assert connection.read_head() is None and connection.waiting and pair.idle_rings
    for byte in GET[:-1]:
        pair.feed(bytes([byte]))
        assert connection.read_head() is None
        connection.arm()
    pair.feed(GET[-1:])
    head = connection.read_head()
    assert head is not None and (head.method, head.raw) == ("GET", GET)
    answer(connection)
    assert connection.unsent == 0 and pair.client.recv(100) == b"answer"
    assert connection.finish() and pair.idle_rings


def test_same_head_again_is_the_same_object_and_another_is_not(pair: Pair) -> None:
    heads = []
    connection = pair.connection
    for data in (GET, GET, GET.replace(b"/ ", b"/x ", 1), GET):
        pair.feed(data)
        head = connection.read_head()
        assert head is not None
        heads.append(head)
        answer(connection)
        connection.finish()
        connection.arm()
    assert heads[0] is heads[1]
    assert [head.target for head in heads] == [b"/", b"/", b"/x", b"/"]


def test_head_after_empty_lines_or_of_great_length_is_not_remembered(pair: Pair) -> None:
    connection = pair.connection
    long = GET[:-2] + b"X: " + b"y" * limits.MAX_REMEMBERED_HEAD_BYTES + b"\r\n\r\n"
    heads = []
    for data in (b"\r\n" + GET, GET, long, long):
        pair.feed(data)
        heads.append(connection.read_head())
        assert heads[-1] is not None
        answer(connection)
        connection.finish()
        assert pair.idle_rings
        connection.arm()
    assert heads[0] is not heads[1] and heads[2] is not heads[3]


def test_empty_lines_before_one_head_are_not_missed_before_the_next(pair: Pair) -> None:
    connection = pair.connection
    pair.feed(b"\r\n" + GET + GET * 2)
    for _ in range(3):
        head = connection.read_head()
        assert head is not None and head.raw == GET
        answer(connection)
        connection.finish()
    assert pair.idle_rings


def test_requests_in_a_row_wait_in_the_ring(pair: Pair) -> None:
    connection = pair.connection
    pair.feed(GET * 3)
    for left in (2, 1, 0):
        assert connection.read_head() is not None
        answer(connection)
        assert connection.finish()
        assert pair.idle_rings is (left == 0)
    assert connection.read_head() is None


def test_next_request_before_the_answer_to_this_one_is_out_of_turn(pair: Pair) -> None:
    pair.feed(GET * 2)
    assert pair.connection.read_head() is not None
    with pytest.raises(ProtocolError, match="out of turn"):
        pair.connection.read_head()


@pytest.mark.parametrize("piece", [10_001, 30_001])
def test_long_heads_move_to_the_front_of_the_ring(pair: Pair, piece: int) -> None:
    connection = pair.connection
    head_bytes = GET[:-2] + b"X: " + b"y" * 40_000 + b"\r\n\r\n"
    data = head_bytes * 4
    pair.client.setblocking(False)
    sent = 0
    for _ in range(4):
        head = None
        while head is None:
            try:
                sent += pair.client.send(data[sent : sent + piece])
            except BlockingIOError:
                pass
            pair.look()
            head = connection.read_head()
        assert head.raw == head_bytes
        answer(connection)
        assert connection.finish()
        pair.client.recv(100)


def test_head_beyond_its_bound_is_refused() -> None:
    pair = Pair(max_head_bytes=300)
    pair.feed(GET[:-2] + b"X: " + b"y" * 300)
    with pytest.raises(HeadTooLarge, match="300"):
        pair.connection.read_head()
    pair.close()


def test_end_and_failure_of_the_stream_are_told_apart(pair: Pair) -> None:
    pair.client.shutdown(socket.SHUT_WR)
    pair.look()
    connection = pair.connection
    assert connection.read_head() is None
    assert connection.peer_closed and connection.error is None and connection.state.state == CLOSED
    broken = Pair()
    broken.connection.send(b"unread")
    broken.client.close()
    broken.look()
    assert broken.connection.read_head() is None
    assert broken.connection.peer_closed and isinstance(broken.connection.error, ReadError)
    broken.close()


# Bodies


@pytest.mark.parametrize("size", [1, 100, 65_536, 200_000])
def test_body_is_gathered_however_it_arrives(pair: Pair, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    pair.feed(POST % (size, b"") + body[:10])
    connection = pair.connection
    assert connection.read_head() is not None
    content = bytearray()
    rest = body[10:]
    while not connection.gather_body(content, size):
        if connection.waiting:
            assert rest
            pair.feed(rest[:30_000])
            rest = rest[30_000:]
    assert content == body
    assert connection.gather_body(content, size)


def test_gathering_stops_at_its_bound_without_making_memory(pair: Pair) -> None:
    pair.feed(POST % (10**17, b""))
    assert pair.connection.read_head() is not None
    content = bytearray()
    with pytest.raises(BodyTooLarge, match="1000"):
        pair.connection.gather_body(content, 1000)
    assert not content


def test_chunk_lines_and_trailers_may_come_in_pieces(pair: Pair) -> None:
    pair.feed(CHUNKED)
    connection = pair.connection
    assert connection.read_head() is not None
    content = bytearray()
    while not connection.waiting:
        assert not connection.gather_body(content, 10)
    for byte in b"3;a=b\r\nabc\r\n0\r\nT: u\r\n\r":
        pair.feed(bytes([byte]))
        while not connection.waiting:
            assert not connection.gather_body(content, 10)
    pair.feed(b"\n" + GET)
    assert connection.gather_body(content, 10)
    assert content == b"abc" and connection.body.trailers is not None
    assert not pair.idle_rings


def test_body_is_read_into_the_callers_memory_and_no_further(pair: Pair) -> None:
    pair.feed(POST % (5, b"") + b"hello" + GET)
    connection = pair.connection
    assert connection.read_head() is not None
    view = memoryview(bytearray(3))
    assert (connection.read_body(view), bytes(view)) == (3, b"hel")
    assert (connection.read_body(view), bytes(view[:2])) == (2, b"lo")
    assert connection.read_body(view) == 0
    answer(connection)
    assert connection.finish()
    assert connection.read_head() is not None


def test_long_payload_skips_the_ring(pair: Pair) -> None:
    pair.feed(POST % (100_000, b""))
    connection = pair.connection
    assert connection.read_head() is not None
    view = memoryview(bytearray(50_000))
    assert connection.read_body(view) == -1
    pair.feed(b"z" * 60_000)
    assert connection.read_body(view) == 50_000
    assert pair.idle_rings
    assert bytes(view) == b"z" * 50_000


def test_truncated_body_raises(pair: Pair) -> None:
    pair.feed(POST % (5, b"") + b"he")
    connection = pair.connection
    assert connection.read_head() is not None
    view = memoryview(bytearray(10))
    assert connection.read_body(view) == 2
    assert connection.read_body(view) == -1
    pair.client.shutdown(socket.SHUT_WR)
    pair.look()
    with pytest.raises(BodyTruncated, match="3 of 5"):
        connection.read_body(view)


def test_continue_is_said_once_and_only_to_who_waits(pair: Pair) -> None:
    expecting = POST % (4, b"Expect: 100-continue\r\n")
    pair.feed(expecting)
    connection = pair.connection
    assert connection.read_head() is not None
    for _ in range(2):
        connection.want_body()
    assert pair.client.recv(100) == CONTINUE
    content = bytearray()
    connection.arm()
    pair.feed(b"body" + expecting + b"eager")
    assert connection.gather_body(content, 4)
    answer(connection)
    assert pair.client.recv(100) == b"answer"
    connection.finish()
    assert connection.read_head() is not None
    connection.want_body()
    pair.client.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.client.recv(100)


# Answers


@pytest.mark.parametrize(
    ("data", "last", "state"),
    [
        (GET, False, IDLE),
        (GET, True, MUST_CLOSE),
        (GET.replace(b"1.1", b"1.0"), False, MUST_CLOSE),
        (GET[:-2] + b"Connection: close\r\n\r\n", False, MUST_CLOSE),
    ],
)
def test_connection_lives_on_if_both_sides_want_it(pair: Pair, data: bytes, last: bool, state: int) -> None:
    pair.feed(data)
    connection = pair.connection
    assert connection.read_head() is not None
    answer(connection, last=last)
    assert connection.state.state == state
    assert connection.finish() is (state == IDLE)


def test_second_answer_is_our_mistake(pair: Pair) -> None:
    pair.feed(GET)
    assert pair.connection.read_head() is not None
    answer(pair.connection)
    with pytest.raises(StateError):
        pair.connection.begin_answer(last=False)


def drain(pair: Pair, size: int) -> bytes:
    """Read `size` bytes as the client, completing what was pending on our side."""
    received = b""
    connection = pair.connection
    pair.transport.send_context.completed = lambda context: connection.on_sent()
    while len(received) < size:
        received += pair.client.recv(65_536)
        pair.transport.await_writable(0)
        connection.on_writable()
    return received


def test_what_the_socket_does_not_take_waits_in_order(pair: Pair) -> None:
    connection = pair.connection
    pieces = [bytes([i]) * (i * 7919 % 40_000 + 1) for i in range(100)]
    for number, piece in enumerate(pieces):
        if number % 3:
            connection.send(piece)
        else:
            connection.send_parts([piece[:5], bytearray(piece[5:100]), memoryview(piece)[100:]], len(piece))
    whole = b"".join(pieces)
    assert 0 < connection.unsent < len(whole)
    assert connection.unsent == sum(map(len, connection._outgoing))
    assert drain(pair, len(whole)) == whole
    assert connection.unsent == 0 and not connection._outgoing


def test_memory_of_others_is_free_to_change_once_handed_over(pair: Pair) -> None:
    connection = pair.connection
    mine = bytearray(b"m" * 500_000)
    with memoryview(mine) as view, view[:1000] as part:
        connection.send_parts([b"head", mine, part], 501_004)
    mine[:] = b"n" * 500_000
    # A view that was left somewhere would not let it shrink.
    mine.clear()
    assert drain(pair, 501_004) == b"head" + b"m" * 501_000


def test_memory_that_was_sent_at_once_is_not_held() -> None:
    pair = Pair()
    mine = bytearray(20_000)
    pair.connection.send_parts([b"head", mine], 20_004)
    assert pair.connection.unsent == 0
    mine.clear()
    pair.close()


def test_one_turn_sends_its_share(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_QUANTUM_BYTES", 1000)
    connection = pair.connection
    assert connection.send_parts([b"a" * 1500, b"b" * 700], 2200)
    assert connection.unsent == 1200
    assert connection.on_writable() and connection.unsent == 200
    assert not connection.on_writable() and connection.unsent == 0
    assert pair.client.recv(3000) == b"a" * 1500 + b"b" * 700


@pytest.mark.parametrize("parts", [1, 2])
def test_failed_send_is_told(pair: Pair, parts: int) -> None:
    pair.client.close()
    if parts == 1:
        pair.connection.send(b"x")
    else:
        pair.connection.send_parts([b"x", b"y"], 2)
    assert pair.connection.error is not None


def test_close_twice_returns_everything_once(pair: Pair) -> None:
    pair.feed(GET * 2)
    connection = pair.connection
    assert connection.read_head() is not None
    connection.send(b"x" * 1_000_000)
    for _ in range(2):
        connection.close()
    assert connection.unsent == 0 and pair.idle_rings
    assert pair.transport.fd == -1
    assert not connection.end_output()


# Waits that the system has no room for


def arm(pair: Pair) -> None:
    assert pair.connection.read_head() is None
    assert pair.connection.peer_closed


def receive(pair: Pair) -> None:
    pair.transport.readable = True
    assert pair.connection.read_head() is None
    assert pair.connection.peer_closed


def receive_payload(pair: Pair) -> None:
    pair.feed(POST % (100_000, b""))
    assert pair.connection.read_head() is not None
    pair.transport.readable = True
    with pytest.raises(NetworkError, match="no room"):
        pair.connection.read_body(memoryview(bytearray(65_536)))


def send(pair: Pair) -> None:
    with suppress(BlockingIOError):
        while True:
            pair.transport.socket.send(bytes(65_536))
    pair.connection.send(b"x")


def send_the_rest(pair: Pair) -> None:
    pair.connection.send(bytes(10_000_000))


@pytest.mark.parametrize("step", [arm, receive, receive_payload, send, send_the_rest])
def test_wait_that_the_system_refuses_breaks_the_connection(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, step: Callable[[Pair], None]
) -> None:
    refusal = NetworkError("no room to watch a socket", errno=errno.ENOSPC, code="exhausted")

    def refuse(*arguments: Any) -> None:
        raise refusal

    connection = pair.connection
    pair.feed(GET)
    assert connection.read_head() is not None
    answer(connection, b"")
    connection.finish()
    monkeypatch.setattr(SaeaTransport, "_pend", refuse)
    monkeypatch.setattr(SaeaTransport, "_set_interest", refuse)
    step(pair)
    assert connection.error is refusal


def test_ring_is_released_when_nothing_is_in_it_and_not_before(pair: Pair) -> None:
    connection = pair.connection
    pair.feed(GET + b"G")
    assert connection.read_head() is not None
    connection.release_ring()
    assert connection.ring is not None
    answer(connection)
    connection.finish()
    assert connection.read_head() is None
    pair.feed(GET[1:])
    assert connection.read_head() is not None
    for _ in range(2):
        connection.release_ring()
        assert connection.ring is None and pair.idle_rings
    answer(connection)
    assert connection.finish()
