"""What a thread that reads for all waits for; the rest is shown over real connections, by the tests of loopback."""

from __future__ import annotations

import socket

import pytest

from support.http2 import SETTINGS_ACK, data, frame, headers, settings
from turbosock import Config, limits
from turbosock.client.shared_http2 import SharedHttp2Session
from turbosock.connection.receive_ring import RingPool
from turbosock.reactor.poller import READABLE, WRITABLE
from turbosock.transport.transport import SaeaTransport

WAIT_NS = 1_000_000_000


def test_reader_of_a_peer_that_reads_no_replies_waits_until_it_does() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        session = SharedHttp2Session(SaeaTransport(ours), RingPool(), "http", Config())
        with session.lock:
            session.begin()
            theirs.settimeout(30)
            theirs.sendall(settings() + SETTINGS_ACK)
            session.take_ready(READABLE, False)
            asked = 0
            engine = session.engine
            while not session.transport.wants_write or engine.out.capacity - engine.out.length > 100:
                session.lend_output()
                engine.ping(b"12345678")
                session.flush_soon()
                asked += 1
            # None of these is taken while there is no room to answer it.
            unknown = frame(0x5F, 0, 0, bytes(16_000))
            while not session.pushes_back:
                theirs.sendall(unknown)
                session.take_ready(READABLE, False)
            theirs.sendall(unknown)
            # More is there to be read, and is left there.
            assert session.prepare_wait(WAIT_NS) == WAIT_NS
            assert session.waiter.wait(0, True, False) == 0

            sent = b""
            while mask := session.waiter.wait(0, session.transport.wants_write, not session.pushes_back):
                session.take_ready(mask, bool(mask & WRITABLE))
            while data := theirs.recv(1 << 20):
                sent += data
                while mask := session.waiter.wait(0, session.transport.wants_write, not session.pushes_back):
                    session.take_ready(mask, bool(mask & WRITABLE))
                if sent.count(b"12345678") == asked:
                    break
            assert session.prepare_wait(WAIT_NS) == WAIT_NS and not session.ring and not session.closed
            session.close()


@pytest.mark.parametrize("room", [1, 500, 999, 1_000, 5_500, 12_000, 30_000])
def test_payload_goes_where_it_is_wanted_as_far_as_there_is_room_and_waits_beyond(room: int) -> None:
    ours, theirs = socket.socketpair()
    body = bytes(range(250)) * 80
    with theirs:
        session = SharedHttp2Session(SaeaTransport(ours), RingPool(diagnostics=True), "http", Config())
        with session.lock:
            session.begin()
            stream = session.vacate()
            assert stream is not None
            stream.start("GET", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            theirs.sendall(settings() + SETTINGS_ACK + headers(1))
            session.take_ready(READABLE, False)
            assert stream.read_head() is not None
            found, memory = b"", memoryview(bytearray(room))
            assert stream.read_body(memory) == -1
            theirs.sendall(b"".join([data(1, body[at : at + 1_000]) for at in range(0, len(body), 1_000)]))
            theirs.sendall(data(1, b"", end=True))
            session.take_ready(READABLE, False)
            while count := stream.read_body(memory):
                found += memory[:count]
            assert found == body and stream.complete
            session.close()


def test_reader_receives_no_more_than_it_has_room_for_before_it_takes_that() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        session = SharedHttp2Session(SaeaTransport(ours), RingPool(), "http", Config())
        with session.lock:
            session.begin()
            stream = session.vacate()
            assert stream is not None
            session.reader = stream  # type: ignore[assignment]  # of the session's kind
            # Nobody knows yet where it goes: as much as one turn may bring.
            assert session.wanted_bytes() == limits.TURN_QUANTUM_BYTES
            stream.start("GET", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            theirs.sendall(settings() + SETTINGS_ACK + headers(1))
            session.take_ready(READABLE, False)
            # The head is to be looked at first.
            assert session.wanted_bytes() == 0
            assert stream.read_head() is not None
            assert stream.read_body(memoryview(bytearray(40_000))) == -1
            assert session.wanted_bytes() == 40_000
            theirs.sendall(data(1, bytes(10_000)))
            session.take_ready(READABLE, False)
            assert session.wanted_bytes() == 30_000
            session.reader = None
            session.close()


def test_what_the_last_reader_left_unread_keeps_no_memory() -> None:
    ours, theirs = socket.socketpair()
    rings = RingPool(diagnostics=True)
    with theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        session = SharedHttp2Session(SaeaTransport(ours), rings, "http", Config())
        session.begin()
        stream, other = session.vacate(), session.vacate()
        assert stream is not None and other is not None
        stream.start("GET", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        theirs.sendall(settings() + SETTINGS_ACK + headers(1))
        session.take_ready(READABLE, False)
        assert stream.read_head() is not None
        session.reader = stream  # type: ignore[assignment]  # of the session's kind
        assert stream.read_body(memoryview(bytearray(20_000))) == -1
        theirs.sendall(b"".join([data(1, bytes(16_000))] * 10))
        session.take_ready(READABLE, False)
        # It stopped inside a frame, with more to come.
        session.reader = None
        assert session.ring is not None and session.transport.readable
        stream.close()
        assert session.ring is None and not session.closed
        session.close()
    assert rings.stats().idle == rings.stats().made
