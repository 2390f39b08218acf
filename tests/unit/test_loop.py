"""The Loop: deadlines in virtual time, budgets, fairness, back-pressure, order, and every way to end."""

from __future__ import annotations

import array
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.loop_peer import (
    MODE_NAMES,
    MODES,
    OK,
    Peer,
    PeerConnection,
    SteppingClock,
    answer,
    chunked,
    collected,
    connect,
    make_clock,
    make_config,
    settle,
    turns,
)
from turbosock import Config, EventKind, Exchange, Loop, PoolConfig, Stop, Timeouts, limits
from turbosock.buffers import BufferPool
from turbosock.errors import (
    Cancelled,
    ClientClosed,
    ConnectTimeout,
    InvalidOption,
    InvalidUrl,
    LimitError,
    Phase,
    PoolExhausted,
    PoolTimeout,
    ReadTimeout,
    ResolveError,
    StateError,
    TotalTimeout,
    TurbosockError,
    WriteTimeout,
)
from turbosock.reactor.address import SocketAddress
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.context import IOContext
from turbosock.reactor.poller import READABLE
from turbosock.reactor.sockets import start_connect

Mode = tuple[str, bool]

TIMEOUTS = Timeouts(connect_s=3.0, read_s=5.0, write_s=7.0, pool_s=11.0, total_s=100.0)
HEAD_OF_A_LONG_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def mode(request: pytest.FixtureRequest) -> Mode:
    mode: Mode = request.param
    return mode


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def clock() -> ManualClock:
    return make_clock()


@pytest.fixture
def loop(mode: Mode, clock: ManualClock) -> Iterator[Loop]:
    """A loop in virtual time, one connection an origin, short limits."""
    config = make_config(*mode, timeouts=TIMEOUTS, pool=PoolConfig(max_connections_per_origin=1, max_idle_s=2.0))
    with Loop(config, clock=clock) as loop:
        yield loop


@pytest.fixture
def wide(mode: Mode, clock: ManualClock) -> Iterator[Loop]:
    """A loop in virtual time with the usual number of connections."""
    with Loop(make_config(*mode, timeouts=TIMEOUTS), clock=clock) as loop:
        yield loop


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a listener whose queue is full: the kernel drops what comes, and a connect stays under way."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            fillers.append(filler)
        yield f"http://127.0.0.1:{address[1]}"
        for filler in fillers:
            filler.close()


def failure_after(loop: Loop, clock: ManualClock, exchange: Exchange, step_s: float = 0.5) -> tuple[float, str]:
    """Advance in steps until the exchange has failed: the seconds that passed, and the name of its error."""
    passed_s = 0.0
    while not exchange.done:
        assert passed_s < 200.0, "it never ended"
        clock.advance(step_s)
        passed_s += step_s
        loop.poll()
    assert exchange.error is not None
    return passed_s, type(exchange.error).__name__


def start_many(loop: Loop, peer: Peer, count: int, **options: Any) -> tuple[list[Exchange], list[PeerConnection]]:
    """Begin `count` exchanges, each on its own connection, with every request sent; in the same order."""
    exchanges = [loop.request("GET", f"{peer.url}/{number}", **options) for number in range(count)]
    settle(loop)
    accepted = [peer.accept() for _ in exchanges]
    turns(loop, lambda: all(exchange.phase is Phase.HEAD for exchange in exchanges))
    by_path = {int(connection.read_head().split()[1][1:]): connection for connection in accepted}
    return exchanges, [by_path[number] for number in range(count)]


def drain(loop: Loop) -> None:
    """Take the events that wait, and hold none of them."""
    for _ in loop.events:
        pass


class WatchedPoller:
    """A loop's poller that never waits, and remembers for how long it should have."""

    def __init__(self, loop: Loop) -> None:
        self.real: Any = loop.reactor._poller
        self.tokens = self.real.tokens
        self.batch = self.real.batch
        self.waits: list[float] = []
        loop.reactor._poller = self

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        self.waits.append(timeout_s)
        ready: list[tuple[int, int]] = self.real.wait(0)
        return ready

    def register(self, fd: int, read: bool, write: bool, token: object) -> None:
        self.real.register(fd, read, write, token)

    def modify(self, fd: int, read: bool, write: bool) -> None:
        self.real.modify(fd, read, write)

    def unregister(self, fd: int) -> None:
        self.real.unregister(fd)

    def close(self) -> None:
        self.real.close()


class Busy:
    """A handler in the loop's line that moves ten bytes a step, for `steps` steps."""

    def __init__(self, loop: Loop, steps: int, mask: int) -> None:
        self.mask = 0
        self.queued = False
        self.loop = loop
        self.again = mask
        self.left = steps
        self.served = 0
        loop.reactor.requeue(self, mask)

    def on_ready(self, mask: int) -> None:
        self.served += 1
        self.left -= 1
        self.loop.reactor.bytes_in += 10
        self.loop.reactor.bytes_out += 10
        if self.left:
            self.loop.reactor.requeue(self, self.again)


# Deadlines


def test_connect_timeout_ends_an_unanswered_dial(loop: Loop, clock: ManualClock, deaf: str) -> None:
    exchange = loop.request("GET", deaf)
    settle(loop)
    assert exchange.phase is Phase.CONNECT and not exchange.done
    assert failure_after(loop, clock, exchange) == (3.0, "ConnectTimeout")
    assert loop.stats().open == 0


def test_read_timeout_ends_an_unanswered_request(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    assert failure_after(loop, clock, exchange) == (5.0, "ReadTimeout")
    assert connection.is_closed() and loop.stats().open == 0


@pytest.mark.parametrize("sent", [b"HTTP/1.1 2", HEAD_OF_A_LONG_BODY, HEAD_OF_A_LONG_BODY + b"body"])
@pytest.mark.parametrize("stream", [False, True])
def test_read_timeout_counts_from_the_last_byte(
    loop: Loop, clock: ManualClock, peer: Peer, sent: bytes, stream: bool
) -> None:
    exchange = loop.request("GET", peer.url, stream=stream)
    connection = connect(loop, peer)
    clock.advance(4.0)
    connection.send(sent)
    settle(loop)
    assert failure_after(loop, clock, exchange) == (5.0, "ReadTimeout")


def test_drip_keeps_the_read_timeout_away_but_not_the_total(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(HEAD_OF_A_LONG_BODY)
    passed_s = 0
    while not exchange.done:
        connection.send(b".")
        settle(loop, 2)
        clock.advance(4.0)
        passed_s += 4
        loop.poll()
    assert passed_s == 100 and type(exchange.error) is TotalTimeout
    assert exchange.error.bytes_done == 25 and exchange.error.phase is Phase.BODY


def test_read_timeout_holds_on_a_reused_connection(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    first = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(OK)
    turns(loop, lambda: first.done)
    clock.advance(1.0)
    second = loop.request("GET", peer.url)
    assert second.connection is not None
    assert failure_after(loop, clock, second) == (5.0, "ReadTimeout")


def test_write_timeout_ends_an_upload_that_nobody_takes(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=bytes(50_000_000))
    connect(loop, peer)
    settle(loop, 20)
    assert exchange.phase is Phase.SEND
    assert failure_after(loop, clock, exchange) == (7.0, "WriteTimeout")


def test_write_timeout_counts_from_the_last_byte_taken(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=bytes(50_000_000))
    connection = connect(loop, peer)
    settle(loop, 20)
    clock.advance(6.0)
    connection.take_available()
    settle(loop, 20)
    assert failure_after(loop, clock, exchange) == (7.0, "WriteTimeout")


def test_pool_timeout_ends_the_wait_for_a_connection(wide: Loop, mode: Mode, clock: ManualClock, peer: Peer) -> None:
    config = make_config(
        *mode,
        timeouts=Timeouts(connect_s=3.0, read_s=50.0, write_s=50.0, pool_s=11.0, total_s=100.0),
        pool=PoolConfig(max_connections_per_origin=1),
    )
    with Loop(config, clock=clock) as loop:
        first = loop.request("GET", peer.url)
        waiting = loop.request("GET", peer.url)
        connection = connect(loop, peer)
        assert waiting.phase is Phase.QUEUE and loop.stats().waiting == 1
        assert failure_after(loop, clock, waiting) == (11.0, "PoolTimeout")
        assert loop.stats().waiting == 0 and not first.done
        connection.send(OK)
        turns(loop, lambda: first.done)
        assert first.ok and loop.stats().idle == 1


def test_total_deadline_covers_queue_dial_and_body(mode: Mode, clock: ManualClock, peer: Peer) -> None:
    timeouts = Timeouts(connect_s=30.0, read_s=30.0, write_s=30.0, pool_s=30.0, total_s=20.0)
    config = make_config(*mode, timeouts=timeouts, pool=PoolConfig(max_connections_per_origin=1))
    with Loop(config, clock=clock) as loop:
        first = loop.request("GET", peer.url)
        connection = connect(loop, peer)
        clock.advance(1.0)
        second = loop.request("GET", peer.url)
        clock.advance(9.0)
        # The first ends without keep-alive, so the second has to dial.
        connection.send(answer(b"", "Connection: close"))
        turns(loop, lambda: first.done)
        connection = connect(loop, peer)
        connection.send(HEAD_OF_A_LONG_BODY)
        turns(loop, lambda: second.head is not None)
        assert failure_after(loop, clock, second) == (11.0, "TotalTimeout")


def test_total_deadline_in_the_queue_is_told_as_such(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    loop.request("GET", peer.url, timeout=Timeouts(read_s=90.0))
    connect(loop, peer)
    waiting = loop.request("GET", peer.url, timeout=6.0)
    assert failure_after(loop, clock, waiting) == (6.0, "TotalTimeout")
    assert waiting.error is not None and waiting.error.phase is Phase.QUEUE


def test_total_deadline_during_a_dial_is_told_as_such(loop: Loop, clock: ManualClock, deaf: str) -> None:
    exchange = loop.request("GET", deaf, timeout=2.0)
    assert failure_after(loop, clock, exchange) == (2.0, "TotalTimeout")


def test_continue_that_never_comes_is_waited_for_one_second(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("POST", peer.url, content=b"payload", headers={"Expect": "100-continue"})
    connection = connect(loop, peer)
    connection.read_head()
    clock.advance(0.9)
    settle(loop)
    assert connection.take_available() == b""
    clock.advance(0.1)
    settle(loop)
    assert connection.read(7) == b"payload"
    assert failure_after(loop, clock, exchange) == (5.0, "ReadTimeout")


def test_idle_connection_expires(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    clock.advance(1.9)
    settle(loop)
    assert loop.stats().idle == 1
    clock.advance(0.1)
    settle(loop)
    assert loop.stats()[:3] == (0, 0, 0) and connection.is_closed()


def test_connection_that_is_used_does_not_expire(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    connection = None
    for _ in range(5):
        exchange = loop.request("GET", peer.url)
        connection = connection or connect(loop, peer)
        connection.read_head()
        connection.send(OK)
        turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # a default, for this round's one
        clock.advance(1.5)
        settle(loop)
    assert loop.stats().open == 1 and peer.waiting() == 0


def test_bytes_that_wait_for_their_turn_are_no_read_timeout(wide: Loop, clock: ManualClock, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 4)
    for connection in connections:
        connection.send(OK)
    # The program stood still for longer than the limit, and then has time for one step in each turn.
    clock.advance(6.0)
    wide.poll(1.0, max_bytes=1)
    assert sum(exchange.done for exchange in exchanges) == 1
    while not all(exchange.done for exchange in exchanges):
        wide.poll(max_bytes=1)
    assert all(exchange.ok for exchange in exchanges)


def test_reader_that_does_not_take_its_data_is_no_read_timeout(wide: Loop, clock: ManualClock, peer: Peer) -> None:
    wide.events.max_queued = 1
    exchange = wide.request("GET", peer.url, stream=True)
    connection = connect(wide, peer)
    connection.send(answer(bytes(200_000)))
    settle(wide)
    assert wide.requests.starved
    for _ in range(20):
        clock.advance(1.0)
        wide.poll()
    assert not exchange.done
    received = 0
    while not exchange.done:
        wide.poll(0.1)
        received += sum(len(event.data or b"") for event in wide.events)
    assert exchange.ok and received == 200_000


# Timers are not left behind


def test_exchanges_that_queued_leave_no_timers_behind(loop: Loop, peer: Peer) -> None:
    exchanges = [loop.request("GET", peer.url) for _ in range(50)]
    connection = connect(loop, peer)
    while not all(exchange.done for exchange in exchanges):
        connection.send(OK * connection.take_available().count(b"\r\n\r\n"))
        loop.poll(0.05)
    # The one connection's own.
    assert len(loop.reactor.timers) == 1


# Order in the pool's line


def test_waiting_exchanges_are_served_in_order(loop: Loop, peer: Peer) -> None:
    exchanges = [loop.request("GET", f"{peer.url}/{number}") for number in range(6)]
    connection = connect(loop, peer)
    assert loop.stats()[:3] == (1, 0, 5)
    for number, exchange in enumerate(exchanges):
        assert connection.read_head().startswith(b"GET /%d " % number)
        connection.send(OK)
        turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # a default, for this round's one
    assert [event.exchange for event in loop.events] == exchanges


def test_cancelled_waiter_gives_way_to_the_next(loop: Loop, peer: Peer) -> None:
    exchanges = [loop.request("GET", f"{peer.url}/{number}") for number in range(3)]
    connection = connect(loop, peer)
    exchanges[1].cancel()
    connection.read_head()
    connection.send(OK)
    turns(loop, lambda: exchanges[0].done)
    assert connection.read_head().startswith(b"GET /2 ")
    connection.send(OK)
    turns(loop, lambda: exchanges[2].done)
    assert [event.exchange for event in loop.events] == [exchanges[1], exchanges[0], exchanges[2]]


def test_failed_dial_gives_its_place_to_the_next(loop: Loop) -> None:
    with Peer() as gone:
        url = gone.url
    exchanges = [loop.request("GET", url) for _ in range(3)]
    turns(loop, lambda: all(exchange.done for exchange in exchanges))
    assert [type(exchange.error).__name__ for exchange in exchanges] == ["ConnectError"] * 3
    assert loop.stats()[:3] == (0, 0, 0)


# Dials


def test_dials_begun_in_one_turn_are_capped(wide: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DIALS_PER_TURN", 3)
    for number in range(8):
        wide.request("GET", f"{peer.url}/{number}")
    begun: list[int] = []
    while sum(begun) < 8:
        wide.poll()
        begun.append(peer.waiting())
    assert begun == [3, 3, 2]


def test_flush_begins_no_more_dials_than_its_turn_may(wide: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_DIALS_PER_TURN", 3)
    wide.poll()
    for number in range(5):
        wide.request("GET", f"{peer.url}/{number}")
    wide.flush()
    wide.flush()
    assert peer.waiting() == 3 and wide.next_deadline() == 0.0
    wide.poll()
    assert peer.waiting() == 2


def test_dial_tries_the_next_address_when_one_refuses(wide: Loop, peer: Peer) -> None:
    def addresses(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        # Nothing listens on that address, which is this machine all the same.
        return [(socket.AF_INET, kind, 6, "", (host, 0)) for host in ("127.0.0.77", "127.0.0.1")]

    wide.reactor.resolver._getaddrinfo = addresses
    exchange = wide.request("GET", f"http://two.test:{peer.port}/")
    turns(wide, lambda: exchange.phase is Phase.HEAD)
    peer.accept().send(OK)
    turns(wide, lambda: exchange.done)
    assert exchange.ok


# Names


class Names:
    """A getaddrinfo that answers when the test says so, and counts."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        assert self.gate.wait(10.0), "the test never opened the gate"
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def names(wide: Loop) -> Iterator[Names]:
    names = Names()
    wide.reactor.resolver._getaddrinfo = names
    yield names
    names.gate.set()


def test_name_is_looked_up_by_another_thread_while_the_loop_turns(wide: Loop, peer: Peer, names: Names) -> None:
    exchange = wide.request("GET", f"http://name.test:{peer.port}/")
    settle(wide)
    assert exchange.phase is Phase.RESOLVE and not exchange.done
    threading.Timer(0.0, names.gate.set).start()
    # Nothing but the answer of the worker wakes this poll: the next deadline does not come in virtual time.
    while exchange.phase is Phase.RESOLVE:
        wide.poll(None)
    connection = peer.accept()
    turns(wide, lambda: exchange.phase is Phase.HEAD)
    assert b"Host: name.test:" in connection.read_head()
    connection.send(OK)
    turns(wide, lambda: exchange.done)
    assert exchange.ok and names.asked == ["name.test"]


def test_name_is_looked_up_once_for_all_who_want_it(wide: Loop, peer: Peer, names: Names) -> None:
    exchanges = [wide.request("GET", f"http://name.test:{peer.port}/{number}") for number in range(5)]
    settle(wide)
    names.gate.set()
    turns(wide, lambda: all(exchange.phase is Phase.HEAD for exchange in exchanges))
    assert names.asked == ["name.test"] and peer.waiting() == 5


def test_unknown_name_is_an_error_event(wide: Loop, names: Names) -> None:
    names.gate.set()
    exchange = wide.request("GET", "http://missing.test/")
    turns(wide, lambda: exchange.done)
    assert isinstance(exchange.error, ResolveError) and exchange.error.phase is Phase.RESOLVE
    assert [event.kind for event in wide.events] == [EventKind.ERROR]
    assert wide.stats().open == 0


def test_connect_timeout_covers_the_look_up(wide: Loop, clock: ManualClock, names: Names) -> None:
    exchange = wide.request("GET", "http://slow.test/")
    settle(wide)
    assert failure_after(wide, clock, exchange) == (3.0, "ConnectTimeout")
    names.gate.set()
    settle(wide)
    assert wide.stats().open == 0 and wide.reactor.resolver.pending == 0


def test_cancel_during_a_look_up_ends_the_exchange_at_once(wide: Loop, names: Names) -> None:
    exchange = wide.request("GET", "http://slow.test/")
    settle(wide)
    exchange.cancel()
    assert isinstance(exchange.error, Cancelled) and wide.stats().open == 0
    assert wide.reactor.resolver.pending == 0
    names.gate.set()
    settle(wide)
    assert [event.kind for event in wide.events] == [EventKind.ERROR]


# Cancelling in every phase


def in_phase(loop: Loop, peer: Peer, deaf: str, phase: str) -> Exchange:
    """An exchange under way in the phase of that name."""
    if phase == "dial_queued":
        return loop.request("GET", peer.url)
    if phase == "resolve":
        loop.reactor.resolver._getaddrinfo = Names()
        exchange = loop.request("GET", "http://slow.test/")
        settle(loop)
        return exchange
    if phase == "connect":
        exchange = loop.request("GET", deaf)
        settle(loop)
        return exchange
    if phase == "queue":
        loop.request("GET", peer.url)
        return loop.request("GET", peer.url)
    content = bytes(50_000_000) if phase == "send" else None
    stream = phase in ("data", "starved")
    exchange = loop.request("POST" if content else "GET", peer.url, content=content, stream=stream)
    connection = connect(loop, peer)
    if phase == "starved":
        loop.events.max_queued = 1
    if phase in ("body", "data", "starved"):
        connection.send(HEAD_OF_A_LONG_BODY + bytes(300_000))
    settle(loop)
    return exchange


PHASES = ("dial_queued", "resolve", "connect", "queue", "send", "head", "body", "data", "starved")


def open_gate(loop: Loop) -> None:
    names = loop.reactor.resolver._getaddrinfo
    if isinstance(names, Names):
        names.gate.set()


@pytest.mark.parametrize("phase", PHASES)
def test_cancel_in_any_phase_is_one_error_event(loop: Loop, peer: Peer, deaf: str, phase: str) -> None:
    exchange = in_phase(loop, peer, deaf, phase)
    assert not exchange.done
    before = loop.stats().open
    exchange.cancel()
    assert isinstance(exchange.error, Cancelled)
    assert loop.stats().open == (before if phase == "queue" else 0) and loop.stats().waiting == 0
    settle(loop)
    ended = [event for event in loop.events if event.exchange is exchange and event.kind is not EventKind.DATA]
    assert [event.kind for event in ended] == [EventKind.ERROR]
    open_gate(loop)
    loop.poll()
    if phase != "queue":
        assert loop.buffers.stats().outstanding == 0 and len(loop.reactor.timers) == 0 and not loop.dials
        assert loop.next_deadline() is None


def test_cancel_from_another_thread_in_any_phase_ends_in_the_next_turn(loop: Loop, peer: Peer, deaf: str) -> None:
    exchange = loop.request("GET", peer.url)
    waiting = loop.request("GET", peer.url)
    connect(loop, peer)
    for each in (exchange, waiting):
        thread = threading.Thread(target=each.cancel)
        thread.start()
        thread.join()
        assert not each.done and loop.next_deadline() == 0.0
        loop.poll()
        assert isinstance(each.error, Cancelled)


# Budgets


def test_max_events_stops_the_turn_and_the_rest_comes_later(wide: Loop, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 5)
    for connection in connections:
        connection.send(OK)
    delivered = []
    while not all(exchange.done for exchange in exchanges):
        result = wide.poll(1.0, max_events=2)
        delivered.append(result.delivered)
        assert result.delivered <= 2
        if result.delivered == 2:
            assert result.stop is Stop.EVENTS
    assert sum(delivered) == 5 and len(wide.events) == 5


def test_max_bytes_stops_the_turn_after_the_step_that_spent_it(wide: Loop, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 3)
    size = len(answer(bytes(1000)))
    for connection in connections:
        connection.send(answer(bytes(1000)))
    for count in (1, 2, 3):
        result = wide.poll(1.0, max_bytes=size)
        assert (result.bytes_in, result.stop, result.backlog) == (size, Stop.BYTES, 3 - count)
        assert sum(exchange.done for exchange in exchanges) == count
    assert wide.poll(max_bytes=size).stop is Stop.IDLE


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_max_time_is_overrun_by_one_step_at_most(mode: Mode, peer: Peer, steps: int) -> None:
    clock = SteppingClock()
    with Loop(make_config(*mode), clock=clock) as loop:
        exchanges, connections = start_many(loop, peer, 5)
        for connection in connections:
            connection.send(OK)
        while len(loop.reactor.line) < 5:
            loop.reactor.collect(0.1)
        served: list[int] = []
        # Each step takes a second, whoever is served.
        for exchange in exchanges:
            assert exchange.connection is not None
            context = exchange.connection.transport.receive_context
            inner = context.completed
            assert inner is not None

            def slow(done: IOContext, inner: Callable[[IOContext], object] = inner) -> None:
                served.append(1)
                clock.time_ns += 1_000_000_000
                inner(done)

            context.completed = slow
        result = loop.poll(max_time=steps - 0.5)
        assert len(served) == steps
        assert result.stop is Stop.TIME and result.backlog == 5 - steps


def test_at_least_one_step_runs_however_small_the_budget(mode: Mode, peer: Peer) -> None:
    clock = SteppingClock()
    with Loop(make_config(*mode), clock=clock) as loop:
        exchanges, connections = start_many(loop, peer, 3)
        for connection in connections:
            connection.send(OK)
        while len(loop.reactor.line) < 3:
            loop.reactor.collect(0.1)
        # Every look at the clock finds the budget spent.
        clock.step_ns = 1_000_000
        for count in (1, 2, 3):
            loop.poll(max_time=1e-6)
            assert sum(exchange.done for exchange in exchanges) == count


@pytest.mark.parametrize("turn", ["poll", "flush"])
def test_dials_that_begin_a_turn_are_within_max_time(
    mode: Mode, peer: Peer, turn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteppingClock()
    begun: list[SocketAddress] = []

    # Each address takes a second, whichever it is.
    def slow(sock: socket.socket, address: SocketAddress) -> int:
        begun.append(address)
        clock.time_ns += 1_000_000_000
        return start_connect(sock, address)

    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", slow)
    with Loop(make_config(*mode, timeouts=Timeouts(connect_s=100.0)), clock=clock) as loop:
        for number in range(6):
            loop.request("GET", f"{peer.url}/{number}")
        if turn == "flush":
            loop.flush(max_time=1.5)
            assert len(begun) == 2
            return
        assert loop.poll(max_time=1.5).stop is Stop.TIME
        assert len(begun) == 2
        # One at least, however small the budget.
        loop.poll(max_time=1e-6)
        assert len(begun) == 3
        loop.poll(max_time=10.0)
        assert len(begun) == 6


def test_turn_without_budgets_is_idle_when_all_is_done(wide: Loop, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 3)
    for connection in connections:
        connection.send(OK)
    turns(wide, lambda: all(exchange.done for exchange in exchanges))
    result = wide.poll()
    assert (result.stop, result.delivered, result.backlog) == (Stop.IDLE, 0, 0)
    assert wide.poll() is result


def test_result_counts_what_moved_since_the_last_turn(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url)
    bytes_out = wide.poll().bytes_out
    connection = peer.accept()
    while not bytes_out:
        bytes_out = wide.poll(0.1).bytes_out
    assert bytes_out == len(connection.read_head())
    connection.send(OK)
    result = wide.poll(1.0)
    assert exchange.done and (result.bytes_in, result.bytes_out, result.delivered) == (len(OK), 0, 1)
    # What a request sends at once belongs to the turn that follows.
    wide.request("GET", peer.url)
    assert wide.poll().bytes_out == len(connection.read_head())


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"timeout": -1.0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"max_time": 0}, "max_time"),
        ({"max_time": -1.0}, "max_time"),
        ({"max_time": "1"}, "max_time"),
        ({"max_events": 0}, "max_events"),
        ({"max_events": 1.5}, "max_events"),
        ({"max_events": True}, "max_events"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"max_bytes": "1"}, "max_bytes"),
    ],
)
def test_poll_with_a_wrong_budget_names_it(options: dict[str, Any], argument: str) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match=argument):
        loop.poll(**options)


def test_poll_with_a_negative_timeout_is_told_that_0_would_do() -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match=r"timeout=-1: give 0 or more and at most \d+ seconds"):
        loop.poll(-1)


# Fairness


def test_flood_on_one_connection_does_not_starve_the_others(wide: Loop, peer: Peer) -> None:
    flood = wide.request("GET", f"{peer.url}/flood", into=bytearray(50_000_000))
    flooding = connect(wide, peer)
    small, quiet = start_many(wide, peer, 3)
    flooding.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    block = bytes(4_000_000)
    for exchange, connection in zip(small, quiet, strict=True):
        flooding.fill(block)
        connection.send(OK)
        before = flood.nbytes
        # One turn is enough, though the flood has more than a quantum to read: it is served once.
        wide.poll(1.0)
        assert exchange.done and flood.nbytes - before <= limits.TURN_QUANTUM_BYTES + limits.SEGMENT_BYTES


def test_step_moves_a_quantum_at_most(wide: Loop, peer: Peer) -> None:
    ways: list[dict[str, Any]] = [{"into": bytearray(50_000_000)}, {}, {"stream": True}]
    for options in ways:
        exchange = wide.request("GET", peer.url, **options)
        connection = connect(wide, peer)
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        sent = 0
        while exchange.nbytes < 3_000_000:
            sent += connection.fill(bytes(2_000_000))
            assert wide.poll(1.0).bytes_in <= limits.TURN_QUANTUM_BYTES + limits.SEGMENT_BYTES
            drain(wide)
        exchange.cancel()
        assert sent >= 3_000_000
        drain(wide)


def test_turn_limited_by_events_alone_serves_a_flood_once(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url, into=bytearray(50_000_000))
    connection = connect(wide, peer)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    turns(wide, lambda: exchange.head is not None)
    connection.fill(bytes(4_000_000))
    result = wide.poll(1.0, max_events=5)
    assert 0 < result.bytes_in <= limits.TURN_QUANTUM_BYTES + limits.SEGMENT_BYTES
    # The same with one whose bytes never end: it comes back to the line each time.
    exchange.cancel()
    drain(wide)
    endless = Busy(wide, 1_000, READABLE)
    wide.poll(max_events=5)
    assert endless.served == 1
    wide.poll()
    assert endless.served == 2
    # Unless there is time, or bytes, to spend.
    wide.poll(max_bytes=50)
    assert endless.served == 7


def test_connection_out_of_its_turn_goes_to_the_back_of_the_line(wide: Loop, peer: Peer) -> None:
    # Two floods and time for one step a turn: each gets every second one.
    floods, connections = start_many(wide, peer, 2, stream=False)
    for connection in connections:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    settle(wide)
    served = []
    for _ in range(8):
        for connection in connections:
            connection.fill(bytes(1_000_000))
        before = [flood.nbytes for flood in floods]
        wide.poll(1.0, max_bytes=1)
        served.append([flood.nbytes > old for flood, old in zip(floods, before, strict=True)].index(True))
    assert served in ([0, 1] * 4, [1, 0] * 4)


# Back-pressure


def test_full_event_queue_stops_reading_and_drops_nothing(wide: Loop, peer: Peer) -> None:
    body = bytes(range(256)) * 8000
    wide.events.max_queued = 3
    exchange = wide.request("GET", peer.url, stream=True)
    connection = connect(wide, peer)
    data = memoryview(answer(body))
    for _ in range(10):
        data = data[connection.fill(data) if data else 0 :]
        settle(wide)
    assert len(wide.events) == 3 and wide.stats().events_full > 0
    assert wide.poll().stop is Stop.EVENTS
    stalled_at = exchange.nbytes
    settle(wide, 5)
    assert exchange.nbytes == stalled_at
    received = bytearray()
    while not exchange.done or len(wide.events):
        data = data[connection.fill(data) if data else 0 :]
        wide.poll(0.1)
        for event in wide.events:
            received += event.data or b""
    assert received == body and exchange.ok


def test_leaving_the_events_early_leaves_the_rest_for_later(wide: Loop, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 4)
    for exchange, connection in zip(exchanges, connections, strict=True):
        connection.send(OK)
        turns(wide, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # a default, for this round's one
    for event in wide.events:
        if event.exchange is exchanges[1]:
            break
    wide.poll()
    assert [event.exchange for event in wide.events] == exchanges[2:]


def test_exhausted_memory_stops_reading_until_it_is_back(wide: Loop, peer: Peer) -> None:
    body = bytes(range(256)) * 4000
    wide.buffers = BufferPool(max_outstanding_bytes=2 * limits.SEGMENT_BYTES)
    exchange = wide.request("GET", peer.url, stream=True)
    connection = connect(wide, peer)
    data = memoryview(answer(body))
    received = bytearray()
    stops = set()
    while not exchange.done:
        data = data[connection.fill(data) if data else 0 :]
        stops.add(wide.poll(0.1).stop)
        assert wide.buffers.stats().outstanding <= 2
        for event in wide.events:
            received += event.data or b""
    assert Stop.POOL in stops and received == body and wide.requests.exhausted_count > 0


def test_memory_that_a_user_retains_holds_the_others_back_and_then_lets_them_go(wide: Loop, peer: Peer) -> None:
    wide.buffers = BufferPool(max_outstanding_bytes=2 * limits.SEGMENT_BYTES)
    exchanges, connections = start_many(wide, peer, 3, stream=True)
    for number, connection in enumerate(connections):
        connection.send(answer(b"%d" % number * 10))
    kept = []
    seen = []
    for _ in range(6):
        wide.poll(0.05)
        for event in wide.events:
            if event.data is not None:
                seen.append(bytes(event.data))
                kept.append(event.lease.retain())  # type: ignore[attr-defined]  # a DATA event has one
    assert len(seen) == 2 and wide.requests.starved
    for lease in kept:
        lease.release()
    while not all(exchange.done for exchange in exchanges):
        wide.poll(0.1)
    seen += [bytes(event.data) for event in wide.events if event.data is not None]
    assert sorted(seen) == [b"0" * 10, b"1" * 10, b"2" * 10]


def test_starved_exchanges_take_turns(wide: Loop, peer: Peer) -> None:
    # Memory for one segment a turn, and two that always want more.
    wide.buffers = BufferPool(max_outstanding_bytes=limits.SEGMENT_BYTES)
    exchanges, connections = start_many(wide, peer, 2, stream=True)
    for connection in connections:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    settle(wide)
    order: list[int] = []
    while len(order) < 12:
        for connection in connections:
            connection.fill(bytes(300_000))
        wide.poll(0.1)
        order += [exchanges.index(event.exchange) for event in wide.events if event.exchange is not None]
    assert order.count(0) >= 4 and order.count(1) >= 4


def test_memory_for_streams_is_bounded_by_default() -> None:
    with Loop() as loop:
        leases = []
        for _ in range(limits.MAX_LENT_BYTES // limits.SEGMENT_BYTES):
            leases.append(loop.buffers.rent(limits.SEGMENT_BYTES))
        with pytest.raises(PoolExhausted):
            loop.buffers.rent(limits.SEGMENT_BYTES)
        for lease in leases:
            lease.release()


def test_starved_exchange_that_ends_meanwhile_is_forgotten(wide: Loop, peer: Peer) -> None:
    wide.events.max_queued = 1
    exchange = wide.request("GET", peer.url, stream=True)
    connection = connect(wide, peer)
    connection.send(HEAD_OF_A_LONG_BODY + bytes(300_000))
    settle(wide)
    assert wide.requests.starved == [exchange]
    exchange.cancel()
    drain(wide)
    wide.poll()
    assert not wide.requests.starved and wide.poll().stop is Stop.IDLE


def test_more_exchanges_than_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    monkeypatch.setattr(limits, "MAX_QUEUED_EXCHANGES", 3)
    with Loop() as loop:
        exchanges = [loop.request("GET", peer.url) for _ in range(3)]
        with pytest.raises(LimitError, match="3 exchanges"):
            loop.request("GET", peer.url)
        exchanges[0].cancel()
        assert not loop.request("GET", peer.url).done


# flush, next_deadline, wakeup


def test_flush_sends_what_the_tick_asked_for(wide: Loop, peer: Peer) -> None:
    wide.request("GET", peer.url)
    sent = wide.flush()
    while not sent:
        # The dial may take the kernel a moment.
        sent = wide.flush()
    assert len(peer.accept().read_head()) == sent
    assert not len(wide.events)


def test_flush_neither_reads_nor_delivers(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url)
    connection = connect(wide, peer)
    connection.read_head()
    connection.send(OK)
    while not wide.reactor.line:
        wide.reactor.collect(0.1)
    assert wide.flush() == 0
    assert not exchange.done and wide.reactor.bytes_in == 0 and not len(wide.events)
    wide.poll()
    assert exchange.done


def test_flush_goes_on_with_an_upload_while_its_answer_waits(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("POST", peer.url, content=bytes(30_000_000))
    connection = connect(wide, peer)
    settle(wide, 30)
    connection.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    while not any(handler.mask & 1 for handler in wide.reactor.line):
        wide.reactor.collect(0.1)
    connection.take_available()
    sent = 0
    for _ in range(100):
        sent = sent or wide.flush()
    assert sent > 0 and wide.reactor.bytes_in == 0 and not exchange.done


def test_flush_with_time_goes_on_while_the_peer_takes_bytes(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode)) as loop:
        loop.request("POST", peer.url, content=bytes(30_000_000))
        connection = connect(loop, peer)
        connection.read_head()
        settle(loop, 30)
        once = 0
        while not once:
            connection.take_available()
            once = loop.flush()
        taken = len(connection.take_available())
        assert loop.flush(1.0) > 0 and taken > 0


def test_flush_ends_with_its_time_or_when_nothing_moves(mode: Mode) -> None:
    clock = SteppingClock()
    out = 4
    with Loop(make_config(*mode), clock=clock) as loop:
        sender = Busy(loop, 5, out)
        assert loop.flush() == 10
        assert loop.flush(1.0) == 40 and sender.left == 0
        assert loop.flush(1.0) == 0
        sender = Busy(loop, 100, out)
        # Every look at the clock, one when it begins and one in each pass, takes a second.
        clock.step_ns = 1_000_000_000
        assert loop.flush(3.0) == 30
        sender.left = 1


@pytest.mark.parametrize("max_time", [-1.0, "1", float("nan")])
def test_flush_with_a_wrong_time_names_it(max_time: Any) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match="max_time"):
        loop.flush(max_time)


def test_next_deadline_says_when_to_poll_again(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    assert loop.next_deadline() is None
    exchange = loop.request("GET", peer.url)
    assert loop.next_deadline() == 0.0
    connection = connect(loop, peer)
    settle(loop)
    due_s = loop.next_deadline()
    assert due_s is not None and 0.0 < due_s <= 5.0
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert loop.next_deadline() == 0.0, "an event waits"
    drain(loop)
    due_s = loop.next_deadline()
    assert due_s is not None and 0.0 < due_s <= 2.0, "the connection's idleness ends"
    clock.advance(due_s)
    settle(loop)
    assert loop.stats().open == 0 and loop.next_deadline() is None


def test_next_deadline_never_passes_without_a_poll_that_advances(loop: Loop, clock: ManualClock, peer: Peer) -> None:
    # Following it and nothing else reaches every limit, each exactly when it is due.
    exchange = loop.request("GET", peer.url)
    connect(loop, peer)
    settle(loop)
    start_ns = clock.now_ns()
    for _ in range(50):
        due_s = loop.next_deadline()
        if exchange.done or due_s is None:
            break
        clock.advance(ns=max(1, round(due_s * 1e9)))
        loop.poll()
    assert type(exchange.error) is ReadTimeout and clock.now_ns() - start_ns == 5_000_000_000


def test_next_deadline_with_a_backlog_is_now(wide: Loop, peer: Peer) -> None:
    _, connections = start_many(wide, peer, 2)
    for connection in connections:
        connection.send(OK)
    while len(wide.reactor.line) < 2:
        wide.reactor.collect(0.1)
    wide.poll(max_bytes=1)
    drain(wide)
    assert wide.next_deadline() == 0.0


def test_wakeup_from_another_thread_ends_the_wait(mode: Mode) -> None:
    with Loop(make_config(*mode)) as loop:
        polling = threading.Event()

        class Announced(WatchedPoller):
            """A poller that waits, and says so before."""

            def wait(self, timeout_s: float) -> list[tuple[int, int]]:
                polling.set()
                ready: list[tuple[int, int]] = self.real.wait(timeout_s)
                return ready

        def wake() -> None:
            assert polling.wait(10.0)
            loop.wakeup()

        Announced(loop)
        thread = threading.Thread(target=wake)
        thread.start()
        # Without a deadline this would wait for an hour.
        assert loop.poll(None).stop is Stop.IDLE
        thread.join()


def test_cancel_from_another_thread_ends_the_wait(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url)
    connect(wide, peer)
    polling = threading.Event()
    reports: list[list[tuple[int, int]]] = []

    class Announced(WatchedPoller):
        """A poller that waits, says so before, and remembers what ended the wait."""

        def wait(self, timeout_s: float) -> list[tuple[int, int]]:
            polling.set()
            reports.append(self.real.wait(timeout_s))
            return reports[-1]

    def cancel() -> None:
        assert polling.wait(10.0)
        exchange.cancel()

    Announced(wide)
    thread = threading.Thread(target=cancel)
    thread.start()
    wide.poll(None)
    thread.join()
    assert reports[0], "the wake-up ended it, not a deadline"
    wide.poll()
    assert isinstance(exchange.error, Cancelled)


def test_wakeup_before_the_poll_is_not_lost(mode: Mode) -> None:
    with Loop(make_config(*mode)) as loop:
        loop.wakeup()
        loop.wakeup()
        loop.poll(None)
        assert loop.next_deadline() is None


@pytest.mark.parametrize("notify", [True, False])
def test_poll_does_not_wait_when_an_exchange_ends_as_it_begins(wide: Loop, tmp_path: Path, notify: bool) -> None:
    poller = WatchedPoller(wide)
    wide.request("GET", f"http+unix://{quote(str(tmp_path / 'none'), safe='')}/", notify=notify)
    wide.poll(None)
    assert poller.waits == [0.0] and len(wide.events) == notify


def test_poll_does_not_wait_while_dials_are_left_for_the_next_turn(
    wide: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_DIALS_PER_TURN", 1)
    poller = WatchedPoller(wide)
    for number in range(2):
        wide.request("GET", f"{peer.url}/{number}")
    wide.poll(None)
    assert poller.waits == [0.0]


def test_poll_does_not_wait_when_memory_came_back(wide: Loop, peer: Peer) -> None:
    wide.events.max_queued = 1
    wide.request("GET", peer.url, stream=True)
    connect(wide, peer).send(HEAD_OF_A_LONG_BODY + bytes(300_000))
    turns(wide, lambda: wide.requests.starved)
    poller = WatchedPoller(wide)
    drain(wide)
    assert wide.poll(None).delivered == 1 and poller.waits == [0.0]


def test_poll_does_not_wait_while_events_wait(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url)
    connect(wide, peer).send(OK)
    turns(wide, lambda: exchange.done)
    poller = WatchedPoller(wide)
    wide.poll(None)
    assert poller.waits == [0.0]
    drain(wide)
    wide.poll(None)
    # Until the idle connection expires.
    assert 0.0 < poller.waits[1] <= 60.0


def test_poll_waits_for_as_long_as_it_is_told(mode: Mode) -> None:
    with Loop(make_config(*mode)) as loop:
        poller = WatchedPoller(loop)
        for timeout in (None, 2.5, 0.0, 0):
            loop.poll(timeout)
        assert poller.waits == [limits.MAX_POLL_WAIT_S, 2.5, 0.0, 0]


# Exchanges are pooled


def test_exchange_that_is_held_is_never_used_again(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode)) as loop:
        buffer = bytearray(8)
        held = loop.request("GET", peer.url + "/held", into=buffer)
        held.user = "mine"
        connection = connect(loop, peer)
        connection.read_head()
        connection.send(answer(b"held", "X-Own: held"))
        turns(loop, lambda: held.done)
        others = set()
        for number in range(100):
            drain(loop)
            exchange = loop.request("GET", f"{peer.url}/{number}", into=bytearray(8))
            assert exchange is not held
            others.add(id(exchange))
            connection.read_head()
            connection.send(answer(b"%d" % number, status="404 Not Found"))
            turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # this round's one
            del exchange
        assert held.status_code == 200 and held.headers["x-own"] == "held" and held.user == "mine"
        assert held.nbytes == 4 and buffer[:4] == b"held" and held.url.endswith("/held")
        if mode[1]:
            assert len(others) < 5, "the others were used again"


def test_exchange_used_again_shows_nothing_of_its_last_request(peer: Peer) -> None:
    with Loop() as loop:
        identity = None
        connection = None
        reused = 0
        for number in range(6):
            drain(loop)
            # Until this the DATA event holds its exchange.
            loop.poll()
            exchange = loop.request("GET", peer.url, stream=True)
            if identity == id(exchange):
                reused += 1
            identity = id(exchange)
            assert exchange.error is None and exchange.head is None and exchange.nbytes == 0
            assert exchange.user is None and exchange.trailers is None and not exchange.cancelled
            connection = connection or connect(loop, peer)
            connection.read_head()
            exchange.user = number
            connection.send(chunked(b"data", trailers="X-Sum: 1\r\n"))
            turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # this round's one
            assert exchange.trailers is not None
            del exchange
        assert reused > 0


def test_held_event_does_not_show_another_requests_data(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode)) as loop:
        connection = None
        held = []
        for number in range(10):
            exchange = loop.request("GET", f"{peer.url}/{number}", stream=True)
            connection = connection or connect(loop, peer)
            connection.read_head()
            connection.send(answer(b"%d" % number))
            turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # this round's one
            held += [event for event in loop.events if event.kind is EventKind.DATA]
        loop.poll()
        assert len({id(event) for event in held}) == 10
        assert all(event.data is None and event.exchange is None for event in held)


def test_lent_data_ends_at_the_next_poll(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode)) as loop:
        loop.request("GET", peer.url, stream=True)
        connect(loop, peer).send(OK)
        turns(loop, lambda: len(loop.events))
        data = next(loop.events).data
        assert data is not None and bytes(data) == b"ok"
        loop.poll()
        with pytest.raises(ValueError, match="released"):
            bytes(data)


def test_data_that_was_not_taken_yet_outlives_any_number_of_polls(mode: Mode, peer: Peer) -> None:
    with Loop(make_config(*mode)) as loop:
        loop.request("GET", peer.url, stream=True)
        connect(loop, peer).send(OK)
        turns(loop, lambda: len(loop.events))
        settle(loop, 5)
        assert collected(loop)[0][2] == b"ok"


def test_diagnostics_report_data_that_was_kept_beyond_its_life(peer: Peer) -> None:
    with Loop(Config(diagnostics=True)) as loop:
        loop.request("GET", peer.url, stream=True)
        connect(loop, peer).send(OK)
        turns(loop, lambda: len(loop.events))
        event = next(loop.events)
        assert event.data is not None
        part = event.data[:1]
        with pytest.warns(ResourceWarning, match="still alive"):
            loop.poll()
        assert bytes(part) != b"o", "returned memory is poisoned"
        with pytest.raises(StateError, match="poll"):
            _ = event.data


# Misuse


@pytest.mark.parametrize("verb", ["get", "head", "options", "delete", "post", "put", "patch"])
def test_every_verb_passes_its_options_on(loop: Loop, peer: Peer, verb: str) -> None:
    has_body = verb in ("post", "put", "patch")
    options: dict[str, Any] = {"content": b"body"} if has_body else {}
    mark = object()
    exchange = getattr(loop, verb)(
        f"{peer.url}/path",
        params={"a": "b"},
        headers={"X-Mark": "here"},
        auth=("user", "password"),
        timeout=4.0,
        user=mark,
        stream=True,
        notify=False,
        **options,
    )
    connection = connect(loop, peer)
    head = connection.read_head()
    assert head.startswith(b"%s /path?a=b HTTP/1.1\r\n" % verb.upper().encode())
    assert b"X-Mark: here\r\n" in head and b"Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n" in head
    assert not has_body or connection.read(4) == b"body"
    connection.send(answer(b"" if verb == "head" else b"data"))
    turns(loop, lambda: exchange.done)
    assert exchange.ok and exchange.user is mark and exchange.timeouts.total_s == 4.0
    # The body in an event, and none for the end.
    assert [event[2] for event in collected(loop)] == ([] if verb == "head" else [b"data"])


def test_verb_with_an_unknown_option_names_it(loop: Loop, peer: Peer) -> None:
    with pytest.raises(InvalidOption, match=r"^contents: "):
        loop.post(peer.url, contents=b"")  # type: ignore[call-arg]  # the mistake under test
    assert repr(loop) == "<Loop open exchanges=0 events=0>"


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"into": b"read-only"}, "into"),
        ({"into": "text"}, "into"),
        ({"into": memoryview(bytearray(8))[::2]}, "into"),
        ({"into": bytearray(8), "stream": True}, "into"),
        ({"timeout": None}, "timeout"),
        ({"timeout": 0}, "timeout"),
        ({"content": 5}, "content"),
        ({"content": b"", "json": 1}, "content, data, json"),
        ({"auth": "user"}, "auth"),
    ],
)
def test_request_with_a_wrong_argument_names_it_and_sends_nothing(options: dict[str, Any], argument: str) -> None:
    with Loop() as loop:
        with pytest.raises(InvalidOption, match=argument):
            loop.request("GET", "http://127.0.0.1:1/", **options)
        assert loop.next_deadline() is None and loop.stats()[:3] == (0, 0, 0)


def test_request_into_a_released_view_is_refused() -> None:
    view = memoryview(bytearray(8))
    view.release()
    with Loop() as loop, pytest.raises(InvalidOption, match="into"):
        loop.request("GET", "http://127.0.0.1:1/", into=view)


@pytest.mark.parametrize("url", ["/path", "ftp://host/", "http://", 5, ["http://host/"], None])
def test_request_with_a_wrong_url_names_it(url: Any) -> None:
    with Loop() as loop:
        for method in ("GET", "HEAD"):
            with pytest.raises(InvalidUrl, match="url"):
                loop.request(method, url)


def test_wide_items_are_taken_as_bytes(wide: Loop, peer: Peer) -> None:
    numbers = array.array("I", [0, 0])
    exchange = wide.request("GET", peer.url, into=memoryview(numbers))
    connect(wide, peer).send(answer(b"\x01\0\0\0\x02\0\0\0"))
    turns(wide, lambda: exchange.done)
    assert exchange.error is None and numbers.tobytes() == b"\x01\0\0\0\x02\0\0\0"


def test_config_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidOption, match="config"):
        Loop("fast")  # type: ignore[arg-type]  # what is refused


def test_loop_cannot_be_pickled() -> None:
    with Loop() as loop, pytest.raises(StateError, match="pickle"):
        pickle.dumps(loop)


def test_results_and_loops_say_what_they_are(wide: Loop, peer: Peer) -> None:
    exchange = wide.request("GET", peer.url)
    assert repr(wide) == "<Loop open exchanges=1 events=0>"
    assert repr(exchange) == f"<Exchange GET {peer.url}/ no answer under way>"
    connect(wide, peer).send(OK)
    turns(wide, lambda: exchange.done)
    assert repr(exchange) == f"<Exchange GET {peer.url}/ 200 done>"
    assert repr(wide.poll()) == "<PollResult delivered=0 backlog=0 bytes_in=0 bytes_out=0 stop=IDLE>"
    wide.close()
    assert repr(wide).startswith("<Loop closed exchanges=0")


# The end


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("phase", [*PHASES, "idle"])
def test_close_in_any_phase_ends_everything(mode: Mode, clock: ManualClock, peer: Peer, deaf: str, phase: str) -> None:
    before = descriptors()
    config = make_config(*mode, timeouts=TIMEOUTS, pool=PoolConfig(max_connections_per_origin=1))
    loop = Loop(config, clock=clock)
    if phase == "idle":
        exchange = loop.request("GET", peer.url)
        connect(loop, peer).send(OK)
        turns(loop, lambda: exchange.done)
    else:
        exchange = in_phase(loop, peer, deaf, phase)
        assert not exchange.done
    loop.close()
    loop.close()
    open_gate(loop)
    assert exchange.done
    if phase == "idle":
        assert exchange.content == b"ok"
    else:
        assert type(exchange.error) is ClientClosed
    assert loop.stats()[:3] == (0, 0, 0) and not list(loop.events)
    assert loop.buffers.stats().outstanding == 0
    exchange.cancel()
    for connection in peer.connections:
        connection.close()
    peer.waiting()
    for connection in peer.connections:
        connection.close()
    assert descriptors() <= before


USES: dict[str, Callable[[Loop], object]] = {
    "request": lambda loop: loop.request("GET", "http://127.0.0.1/"),
    "get": lambda loop: loop.get("http://127.0.0.1/"),
    "poll": lambda loop: loop.poll(),
    "flush": lambda loop: loop.flush(),
    "next_deadline": lambda loop: loop.next_deadline(),
}


@pytest.mark.parametrize("use", USES)
def test_use_after_close_says_so(use: str) -> None:
    loop = Loop()
    loop.close()
    with pytest.raises(ClientClosed, match=use if use != "get" else "request"):
        USES[use](loop)


def test_harmless_calls_after_close_stay_harmless() -> None:
    loop = Loop()
    loop.close()
    loop.wakeup()
    assert loop.stats()[:3] == (0, 0, 0) and list(loop.events) == []


def test_close_while_events_are_iterated_ends_the_iteration(wide: Loop, peer: Peer) -> None:
    exchanges, connections = start_many(wide, peer, 3)
    for connection in connections:
        connection.send(OK)
    turns(wide, lambda: all(exchange.done for exchange in exchanges))
    seen = 0
    for _ in wide.events:
        seen += 1
        wide.close()
    assert seen == 1


def test_every_error_of_the_loop_is_of_the_tree() -> None:
    for kind in (ConnectTimeout, PoolTimeout, ReadTimeout, TotalTimeout, WriteTimeout, Cancelled, ClientClosed):
        assert issubclass(kind, TurbosockError)
