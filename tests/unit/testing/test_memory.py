"""Connections in memory under a Client and a Loop: bytes, ends, resets, back-pressure and time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import turbosock
from turbosock import Client, Config, ConnectError, InvalidOption, Loop, PoolConfig, TransportMode
from turbosock.errors import ConnectionClosed, ReadError, ReadTimeout, WriteError
from turbosock.pool.origin_pool import OriginKey
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.poller import IN, OUT
from turbosock.reactor.reactor import Reactor
from turbosock.testing.memory import MemoryConnector
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket
from turbosock.testing.memory_transport import MemoryStreamTransport, MemoryTransport
from turbosock.transport.transport import Transport

MS = 1_000_000
URL = "http://anywhere/"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
KEY = OriginKey("http", "anywhere", 80)
MODES = pytest.mark.parametrize("mode", list(TransportMode))


class Recorder(MemoryPeer):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.sockets: list[MemorySocket] = []
        self.closed_count = 0
        self.on_request: Callable[[MemorySocket], object] | None = None

    def on_connected(self, sock: MemorySocket) -> None:
        self.sockets.append(sock)

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        self.got += data
        if self.on_request is not None:
            self.on_request(sock)

    def on_closed(self, sock: MemorySocket) -> None:
        self.closed_count += 1


@pytest.fixture
def peer() -> Recorder:
    return Recorder()


def settle(loop: Loop, exchange: turbosock.Exchange, turns: int = 10) -> None:
    """Poll without waiting; what needs no time is done after a few turns."""
    for _ in range(turns):
        if exchange.done:
            return
        loop.poll()
    raise AssertionError(f"{exchange} is not done after {turns} turns")


# Under a Client


@MODES
def test_client_on_a_function_gets_what_it_returns_on_one_connection(mode: TransportMode) -> None:
    asked: list[bytes] = []

    def answer(data: bytes) -> bytes:
        asked.append(data)
        return OK

    connector = MemoryConnector(answer, mode=mode)
    with Client(connector=connector) as client:
        assert [client.get(URL + path).content for path in "abc"] == [b"ok"] * 3
        assert client.stats().open == 1

    assert [data.split(b" ")[1] for data in asked] == [b"/a", b"/b", b"/c"]
    assert (connector.opened_count, connector.closed_count) == (1, 1)


@MODES
def test_client_gets_an_answer_in_single_bytes(mode: TransportMode) -> None:
    def answer(sock: MemorySocket) -> None:
        for byte in OK:
            sock.deliver(bytes([byte]))

    peer = Recorder()
    peer.on_request = answer
    with Client(connector=MemoryConnector(peer, mode=mode)) as client, client.stream("GET", URL) as response:
        assert response.read() == b"ok"


@MODES
def test_client_waits_for_a_peer_on_another_thread(mode: TransportMode, peer: Recorder) -> None:
    asked = threading.Event()
    peer.on_request = lambda sock: asked.set()

    def answer() -> None:
        assert asked.wait(10)
        peer.sockets[0].deliver(OK)

    thread = threading.Thread(target=answer)
    thread.start()
    with Client(connector=MemoryConnector(peer, mode=mode)) as client:
        assert client.get(URL).content == b"ok"
    thread.join(10)


@MODES
def test_client_reads_what_came_before_a_reset_and_then_fails(mode: TransportMode, peer: Recorder) -> None:
    def answer(sock: MemorySocket) -> None:
        sock.deliver(OK[:-1])
        sock.reset()

    peer.on_request = answer
    with Client(connector=MemoryConnector(peer, mode=mode)) as client, client.stream("GET", URL) as response:
        buffer = bytearray(10)
        assert response.readinto(buffer) == 1
        with pytest.raises(ReadError, match="reset"):
            response.readinto(buffer)


@MODES
def test_client_whose_kept_connection_was_left_sends_again_on_a_new_one(mode: TransportMode, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK)
    connector = MemoryConnector(peer, mode=mode)
    with Client(connector=connector) as client:
        client.get(URL)
        peer.sockets[0].leave()
        assert client.get(URL).content == b"ok"
    assert connector.opened_count == 2


@MODES
def test_client_meets_an_end_without_an_answer_as_a_closed_connection(mode: TransportMode, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.leave()
    with Client(connector=MemoryConnector(peer, mode=mode)) as client, pytest.raises(ConnectionClosed):
        client.get(URL)


@MODES
def test_client_with_a_silent_peer_ends_with_its_read_limit(mode: TransportMode, peer: Recorder) -> None:
    config = Config(timeouts=turbosock.Timeouts(read_s=0.02))
    with Client(config, connector=MemoryConnector(peer, mode=mode)) as client, pytest.raises(ReadTimeout):
        client.get(URL)
    assert peer.closed_count == 1


@MODES
def test_client_with_a_manual_clock_does_not_wait_for_what_comes_within_its_limit(
    mode: TransportMode, peer: Recorder
) -> None:
    clock = ManualClock()

    def answer(sock: MemorySocket) -> None:
        sock.deliver(OK[:10], 20.0)
        # Not later than the first part, and yet behind it.
        sock.deliver(OK[10:])

    peer.on_request = answer
    with Client(connector=MemoryConnector(peer, clock=clock, mode=mode)) as client:
        response = client.get(URL)
    assert response.content == b"ok"
    assert response.elapsed.total_seconds() < 10
    assert clock.now_ns() == 20_000 * MS


def test_client_with_a_manual_clock_does_not_see_what_comes_after_its_limit(peer: Recorder) -> None:
    clock = ManualClock()
    peer.on_request = lambda sock: sock.deliver(OK, 20.0)
    config = Config(timeouts=turbosock.Timeouts(read_s=0.02))
    with Client(config, connector=MemoryConnector(peer, clock=clock)) as client, pytest.raises(ReadTimeout):
        client.get(URL)
    assert clock.now_ns() == 0


def test_client_on_the_systems_clock_waits_for_a_delay(peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK, 0.01)
    with Client(connector=MemoryConnector(peer)) as client:
        response = client.get(URL)
    assert response.content == b"ok"
    assert response.elapsed.total_seconds() >= 0.01


@MODES
def test_client_cancelled_from_another_thread_ends_its_wait(mode: TransportMode, peer: Recorder) -> None:
    token = turbosock.CancelToken()
    asked = threading.Event()
    peer.on_request = lambda sock: asked.set()

    def cancel() -> None:
        assert asked.wait(10)
        token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with Client(connector=MemoryConnector(peer, mode=mode)) as client, pytest.raises(turbosock.Cancelled):
        client.get(URL, cancel=token)
    thread.join(10)


@MODES
def test_client_uploads_to_a_peer_that_reads_little_by_little(mode: TransportMode, peer: Recorder) -> None:
    body = bytes(range(256)) * 1024
    held: list[int] = []

    class Slow(Recorder):
        def on_connected(self, sock: MemorySocket) -> None:
            sock.hold(10_000)

        def on_held(self, sock: MemorySocket) -> None:
            held.append(sock.held)
            threading.Thread(target=sock.let_go, args=(None,), kwargs={"go_on": False}).start()

        def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
            super().on_bytes(sock, data)
            if self.got.endswith(body):
                sock.deliver(OK)

    slow = Slow()
    with Client(connector=MemoryConnector(slow, mode=mode)) as client:
        assert client.post(URL, content=body).content == b"ok"
    assert slow.got.endswith(b"\r\n\r\n" + body)
    assert max(held) <= 10_000


def test_what_a_peer_raises_reaches_the_caller_and_costs_the_connection(peer: Recorder) -> None:
    def answer(sock: MemorySocket) -> None:
        raise LookupError("the test's own")

    peer.on_request = answer
    with Client(connector=MemoryConnector(peer)) as client:
        with pytest.raises(LookupError, match="own"):
            client.get(URL)
        assert client.stats().open == 0
    assert peer.closed_count == 1


# Under a Loop


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000 * MS)


@pytest.fixture
def loop(peer: Recorder, clock: ManualClock) -> Iterator[Loop]:
    with Loop(clock=clock, connector=MemoryConnector(peer)) as made:
        yield made


def test_loop_has_the_answer_after_two_turns_on_one_connection(loop: Loop, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK)
    for _ in range(3):
        exchange = loop.get(URL)
        settle(loop, exchange, 2)
        assert exchange.content == b"ok"
    assert len(peer.sockets) == 1


def test_loop_delivers_a_delayed_answer_when_its_own_clock_says_so(
    loop: Loop, peer: Recorder, clock: ManualClock
) -> None:
    peer.on_request = lambda sock: sock.deliver(OK, 5.0)
    exchange = loop.get(URL)
    for _ in range(3):
        loop.poll()
    assert not exchange.done
    assert loop.next_deadline() == pytest.approx(5.0)
    clock.advance(5.0)
    settle(loop, exchange)
    assert exchange.content == b"ok"
    assert exchange.elapsed.total_seconds() == 5.0


def test_loop_times_out_before_a_delayed_answer_and_closes_its_connection(
    loop: Loop, peer: Recorder, clock: ManualClock
) -> None:
    peer.on_request = lambda sock: sock.deliver(OK, 5.0)
    exchange = loop.get(URL, timeout=4.0)
    loop.poll()
    clock.advance(4.0)
    settle(loop, exchange)
    assert isinstance(exchange.error, turbosock.TotalTimeout)
    assert peer.closed_count == 1
    # What was put off has nobody any more.
    assert len(loop.reactor.timers) == 0
    clock.advance(10.0)
    loop.poll()


def test_loop_delivers_each_part_when_it_is_due_and_none_before_another(
    loop: Loop, peer: Recorder, clock: ManualClock
) -> None:
    def answer(sock: MemorySocket) -> None:
        sock.deliver(OK[:-1], 5.0)
        sock.deliver(OK[-1:], 2.0)
        sock.leave(8.0)

    peer.on_request = answer
    exchange = loop.get(URL)
    loop.poll()
    clock.advance(4.0)
    loop.poll()
    assert exchange.head is None
    clock.advance(1.0)
    settle(loop, exchange)
    assert exchange.content == b"ok"
    assert loop.stats().open == 1
    clock.advance(3.0)
    loop.poll()
    loop.poll()
    assert loop.stats().open == 0


def test_peer_of_a_loop_speaks_late_before_it_is_asked(clock: ManualClock) -> None:
    class Greeting(Recorder):
        def on_connected(self, sock: MemorySocket) -> None:
            sock.deliver(OK, 3.0)

    with Loop(clock=clock, connector=MemoryConnector(Greeting())) as loop:
        exchange = loop.get(URL)
        loop.poll()
        assert loop.next_deadline() == pytest.approx(3.0)
        clock.advance(3.0)
        settle(loop, exchange)
        assert exchange.content == b"ok"


def test_loop_notices_that_the_peer_left_an_idle_connection(loop: Loop, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK)
    settle(loop, loop.get(URL))
    assert loop.stats().open == 1
    peer.sockets[0].leave()
    loop.poll()
    assert loop.stats().open == 0
    assert peer.closed_count == 1


def test_loop_closes_a_connection_whose_peer_speaks_unasked(loop: Loop, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK)
    settle(loop, loop.get(URL))
    peer.sockets[0].deliver(b"HTTP/1.1 200 OK\r\n\r\n")
    loop.poll()
    assert loop.stats().open == 0


def test_loop_fails_with_the_reset_of_its_connection(loop: Loop, peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.reset()
    exchange = loop.get(URL)
    settle(loop, exchange)
    assert isinstance(exchange.error, ReadError)


def test_loop_sends_on_when_the_peer_reads_again() -> None:
    body = bytes(range(256)) * 512

    class Slow(Recorder):
        def on_connected(self, sock: MemorySocket) -> None:
            super().on_connected(sock)
            sock.hold(1000)

    peer = Slow()
    with Loop(connector=MemoryConnector(peer)) as loop:
        exchange = loop.post(URL, content=body)
        for _ in range(3):
            loop.poll()
        assert peer.sockets[0].held == 1000
        steps = 0
        while not peer.got.endswith(body):
            peer.sockets[0].let_go(go_on=False)
            loop.poll()
            steps += 1
        assert steps > len(body) // 1000
        peer.sockets[0].deliver(OK)
        settle(loop, exchange)
        assert exchange.content == b"ok"
    assert peer.got.endswith(b"\r\n\r\n" + body)


def test_loop_that_waits_wakes_up_for_a_peer_on_another_thread(peer: Recorder) -> None:
    asked = threading.Event()
    peer.on_request = lambda sock: asked.set()

    def answer() -> None:
        assert asked.wait(10)
        peer.sockets[0].deliver(OK)

    thread = threading.Thread(target=answer)
    thread.start()
    with Loop(connector=MemoryConnector(peer)) as loop:
        exchange = loop.get(URL)
        for _ in range(20):
            if exchange.done:
                break
            loop.poll(20)
        assert exchange.content == b"ok"
        # Not at the end of the wait.
        assert exchange.elapsed.total_seconds() < 10
    thread.join(10)


def test_loop_delivers_a_long_answer_in_steps_of_a_quantum(loop: Loop, peer: Recorder) -> None:
    size = 3 * turbosock.limits.TURN_QUANTUM_BYTES
    peer.on_request = lambda sock: sock.deliver(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
    exchange = loop.get(URL)
    taken = []
    while not exchange.done:
        taken.append(loop.poll().bytes_in)
    assert sum(taken) == size + len(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    assert max(taken) <= turbosock.limits.TURN_QUANTUM_BYTES + turbosock.limits.RECEIVE_RING_BYTES
    assert exchange.content == bytes(size)


def test_loop_closed_with_work_under_way_closes_every_connection(peer: Recorder) -> None:
    connector = MemoryConnector(peer)
    loop = Loop(Config(pool=PoolConfig(max_connections_per_origin=4)), connector=connector)
    exchanges = [loop.get(URL) for _ in range(8)]
    loop.poll()
    peer.sockets[0].deliver(OK)
    loop.poll()
    loop.close()
    assert all(exchange.done for exchange in exchanges)
    assert connector.opened_count == connector.closed_count == peer.closed_count == 4


def test_peer_that_refuses_a_connection_fails_the_exchange_and_frees_its_place() -> None:
    class Refusing(MemoryPeer):
        def on_connected(self, sock: MemorySocket) -> None:
            raise ConnectError("not today")

    connector = MemoryConnector(Refusing())
    with Client(connector=connector) as client:
        with pytest.raises(ConnectError, match="not today"):
            client.get(URL)
        assert client.stats().open == 0
    with Loop(connector=connector) as loop:
        exchange = loop.get(URL)
        settle(loop, exchange)
        assert isinstance(exchange.error, ConnectError)
        assert loop.stats().open == 0
    assert connector.opened_count == 0


# The socket itself


@pytest.fixture(params=["stream", "saea"])
def transport(request: pytest.FixtureRequest, peer: Recorder) -> Iterator[Transport]:
    """Connected to `peer`, whose end is `peer.sockets[0]`."""
    sock = MemorySocket(peer, KEY)
    peer.on_connected(sock)
    made = MemoryStreamTransport(sock) if request.param == "stream" else MemoryTransport(sock)
    yield made
    made.close()


def receive(transport: Transport, count: int = 100, budget_ns: int = 5_000 * MS) -> bytes | None:
    """One receive within its budget; None: nothing came."""
    buffer = bytearray(count)
    context = transport.receive_context
    transport.await_readable(budget_ns)
    context.set_buffer(buffer, 0, count)
    if transport.receive(context):
        context.disarm()
        return None
    if context.error is not None:
        raise context.error
    return None if context.bytes_transferred < 0 else bytes(buffer[: context.bytes_transferred])


def send(transport: Transport, data: bytes) -> int:
    context = transport.send_context
    context.set_buffer(data, 0, len(data))
    if transport.send(context):
        context.disarm()
        return -1
    if context.error is not None:
        raise context.error
    return context.bytes_transferred


def test_receive_takes_pieces_together_and_parts_of_them(transport: Transport, peer: Recorder) -> None:
    for piece in (b"abc", b"defg", b"", b"h"):
        peer.sockets[0].deliver(piece)
    assert [receive(transport, 2), receive(transport, 4), receive(transport)] == [b"ab", b"cdef", b"gh"]
    assert transport.bytes_in == 8


def test_receive_without_bytes_ends_with_its_budget(transport: Transport, peer: Recorder) -> None:
    assert receive(transport, budget_ns=MS) is None
    peer.sockets[0].deliver(b"late")
    assert receive(transport) == b"late"


def test_end_comes_behind_the_bytes_again_and_again_and_lets_the_client_go_on(
    transport: Transport, peer: Recorder
) -> None:
    peer.sockets[0].deliver(b"last")
    peer.sockets[0].end()
    peer.sockets[0].deliver(b"too late")
    assert [receive(transport) for _ in range(3)] == [b"last", b"", b""]
    assert send(transport, b"still here") == 10
    assert peer.got == b"still here"


def test_send_to_a_peer_that_left_is_lost_once_and_then_fails(transport: Transport, peer: Recorder) -> None:
    peer.sockets[0].leave()
    assert send(transport, b"lost") == 4
    with pytest.raises(WriteError) as caught:
        send(transport, b"refused")
    assert caught.value.errno is not None
    assert peer.got == b""


def test_send_after_a_reset_fails(transport: Transport, peer: Recorder) -> None:
    peer.sockets[0].reset()
    with pytest.raises(WriteError):
        send(transport, b"x")
    with pytest.raises(ReadError):
        receive(transport)


def test_send_to_a_full_window_takes_what_fits_and_then_nothing(transport: Transport, peer: Recorder) -> None:
    transport.allow_send(MS)
    peer.sockets[0].hold(10)
    assert send(transport, b"0123456") == 7
    assert send(transport, b"789abc") == 3
    assert send(transport, b"d") == -1
    peer.sockets[0].let_go(4)
    assert peer.got == b"0123"
    assert peer.sockets[0].held == 6
    assert send(transport, b"defghi") == 4
    peer.sockets[0].let_go()
    assert peer.got == b"0123456789defg"
    assert send(transport, b"straight") == 8
    assert peer.got.endswith(b"straight")


def test_end_of_the_clients_output_is_told_once_and_closing_says_no_more(transport: Transport, peer: Recorder) -> None:
    assert transport.end_output()
    peer.sockets[0].deliver(b"the rest")
    scratch = bytearray(4)
    assert [transport.discard(scratch) for _ in range(2)] == [4, 4]
    assert transport.bytes_in == 8
    peer.sockets[0].leave()
    assert transport.discard(scratch) == 0
    transport.close()
    transport.close()
    assert peer.closed_count == 1
    assert not transport.end_output()


def test_dropped_transport_tells_nobody(transport: Transport, peer: Recorder) -> None:
    transport.drop()
    assert (transport.fd, peer.closed_count) == (-1, 0)


def test_deliveries_to_a_closed_socket_are_lost(transport: Transport, peer: Recorder) -> None:
    transport.close()
    peer.sockets[0].deliver(b"x")
    peer.sockets[0].deliver(b"x", 1.0)
    peer.sockets[0].reset()
    assert not peer.sockets[0]._incoming
    assert not peer.sockets[0]._later


def test_transport_under_a_reactor_stands_in_line_only_while_somebody_asks(peer: Recorder) -> None:
    reactor = Reactor()
    sock = MemorySocket(peer, KEY)
    transport = MemoryTransport(sock, reactor)
    sock.deliver(b"x")
    assert reactor.backlog == 1
    reactor.step()
    assert reactor.backlog == 0
    assert transport.readable
    transport.arm()
    sock.deliver(b"y")
    assert reactor.backlog == 0
    transport.readable = False
    transport.arm()
    assert reactor.backlog == 1
    transport.close()
    reactor.close(lambda handler: None)


def test_transport_told_of_one_direction_stands_in_line_for_the_other(peer: Recorder) -> None:
    reactor = Reactor()
    sock = MemorySocket(peer, KEY)
    transport = MemoryTransport(sock, reactor)
    transport.arm()
    # From another thread, between the reactor's look at the mask and its reset.
    sock.deliver(b"x")
    reactor.line.clear()
    transport.queued = False
    transport.mask = 0
    transport.on_ready(OUT)
    assert reactor.backlog == 1
    assert transport.mask == IN
    transport.close()
    reactor.close(lambda handler: None)


def test_wait_on_a_manual_clock_spends_the_time_that_it_skips(peer: Recorder) -> None:
    clock = ManualClock()
    sock = MemorySocket(peer, KEY, clock)
    sock.hold(1)
    sock.send(b"x")
    sock.deliver(b"a", 0.020)
    sock.deliver(b"b", 0.035)
    # What arrives does not make room, and the second piece comes too late for this wait.
    assert not sock.wait(30 * MS, True)
    assert clock.now_ns() == 20 * MS


def test_connector_refuses_what_cannot_answer() -> None:
    for options, word in (
        ({"mode": "STREAM"}, "mode='STREAM'"),
        ({"clock": 5}, "clock=5"),
        ({"clock": None}, "clock="),
    ):
        with pytest.raises(InvalidOption, match=word):
            MemoryConnector(lambda data: None, **cast(Any, options))
    with pytest.raises(InvalidOption, match="handler=3"):
        MemoryConnector(cast(MemoryPeer, 3))


def test_connector_tells_the_peer_where_it_is_asked_for(peer: Recorder) -> None:
    peer.on_request = lambda sock: sock.deliver(OK)
    with Client(connector=MemoryConnector(peer)) as client:
        client.get("https://secure.example:444/")
    target = peer.sockets[0].target
    assert target is not None
    assert (target.scheme, target.host, target.port, target.path) == ("https", "secure.example", 444, None)
