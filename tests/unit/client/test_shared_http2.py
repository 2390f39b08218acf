"""What a thread that reads for all waits for; the rest is shown over real connections, by the tests of loopback."""

from __future__ import annotations

import socket

from support.http2 import SETTINGS_ACK, frame, settings
from turbosock import Config
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
