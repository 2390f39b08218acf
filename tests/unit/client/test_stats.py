"""What client.stats() and loop.stats() tell, number by number, in small scripted situations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from support.in_thread import GUARD_S, InThread
from support.loop_peer import OK, Peer, connect, make_clock, settle, turns
from support.middleware import Hold
from support.scripted_server import answer, await_close, await_event, read_request, scripted, send
from turbosock import Client, Config, Loop, Timeouts, limits
from turbosock.config import PoolConfig
from turbosock.errors import ClientClosed, ConnectError
from turbosock.reactor.reactor import Reactor
from turbosock.transport.connector import Target
from turbosock.transport.transport import Transport

ONE = Config(
    pool=PoolConfig(max_connections=1, max_connections_per_origin=1), timeouts=Timeouts.of(15), zero_alloc=True
)
LONG = b"x" * 200_000


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread, which tells nobody."""
    end_s = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < end_s, "it did not get there"


def numbers(stats: Any) -> dict[str, Any]:
    """Every number of a snapshot that is not 0, by its path."""
    found: dict[str, Any] = {}
    for name, value in stats._asdict().items():
        if hasattr(value, "_asdict"):
            found |= {f"{name}.{inner}": count for inner, count in numbers(value).items()}
        elif value and not isinstance(value, dict) and not name.endswith("buckets"):
            found[name] = value
    return found


# Client


def test_client_that_did_nothing_counts_nothing() -> None:
    with Client() as client:
        assert numbers(client.stats()) == {}


def test_client_counts_connections_by_what_they_do() -> None:
    with scripted((read_request, answer(LONG), read_request, answer(), await_close)) as server, Client(ONE) as client:
        with client.stream("GET", server.url()) as response:
            stats = client.stats()
            assert (stats.open, stats.idle, stats.waiting) == (1, 0, 0)
            connections = stats.connections
            assert (connections.in_use, connections.dialling, connections.opened, connections.origins) == (1, 0, 1, 1)
            assert (stats.rings.made, stats.rings.idle) == (1, 0)
            assert (stats.responses.made, stats.responses.rented, stats.responses.returned) == (1, 1, 0)
            line = InThread(lambda: client.get(server.url()).content)
            until(lambda: client.stats().waiting == 1)
            assert client.stats().connections.waiting == 1
            view = response.view()
            assert len(view) == len(LONG)
            assert line.outcome() == b"ok"
            assert (client.stats().buffers.outstanding, client.stats().buffers.rented) == (1, 1)
        stats = client.stats()
        assert (stats.open, stats.idle, stats.waiting, stats.connections.in_use) == (1, 1, 0, 0)
        assert (stats.buffers.outstanding, stats.buffers.idle) == (0, 1)
        assert (stats.responses.rented, stats.responses.returned, stats.responses.idle) == (1, 1, 1)
        assert stats.rings.made == stats.rings.idle >= 1
        assert stats.connections.opened == 1


class Slow:
    """A connector that answers when the test says so, and then with nothing."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        self.asked.set()
        assert self.go_on.wait(GUARD_S)
        raise ConnectError("nobody is there")


def test_client_counts_dials_under_way() -> None:
    slow = Slow()
    with Client(ONE, connector=slow) as client:
        call = InThread(lambda: client.get("http://anywhere/"))
        assert slow.asked.wait(GUARD_S)
        assert numbers(client.stats()) == {
            "open": 1,
            "connections.open": 1,
            "connections.dialling": 1,
            "connections.origins": 1,
        }
        slow.go_on.set()
        assert isinstance(call.outcome(), ConnectError)
        assert numbers(client.stats()) == {"connections.origins": 1}


def test_client_counts_calls_that_middleware_holds() -> None:
    hold = Hold()
    with scripted((read_request, answer(), await_close)) as server, Client(ONE, middleware=(hold,)) as client:
        call = InThread(lambda: client.get(server.url()).content)
        until(lambda: client.stats().held == 1)
        assert (client.stats().open, client.stats().waiting) == (0, 0)
        hold.release()
        assert call.outcome() == b"ok"
        assert client.stats().held == 0


def test_client_counts_what_is_prewarmed() -> None:
    with scripted((await_close,)) as server, Client() as client:
        warm = client.prewarm(server.url(), 2, 4, adaptive=True)
        assert warm.wait(GUARD_S)
        (told,) = client.stats().prewarmed
        assert told == warm.stats() == (2, 0, 2, 2, 0, "")
        assert (client.stats().open, client.stats().idle) == (2, 2)
        warm.close()
        assert client.stats().prewarmed == ()
        client.close()


def test_client_stats_of_a_closed_one_keep_what_was_counted() -> None:
    with scripted((read_request, answer(), await_close)) as server:
        client = Client(ONE)
        client.get(server.url())
        client.close()
        told = numbers(client.stats())
        assert told.pop("rings.made") == 1
        assert told.pop("connections.bytes_in") and told.pop("connections.bytes_out")
        assert told == {"connections.opened": 1, "connections.origins": 1}


def test_client_stats_never_fail_while_threads_are_at_it() -> None:
    steps = (read_request, answer(), read_request, answer(LONG), await_close)
    config = Config(pool=PoolConfig(max_connections=4, max_connections_per_origin=3), timeouts=Timeouts.of(15))
    with scripted(steps) as server, scripted(steps) as other, Client(config) as client:
        stop = threading.Event()

        def ask() -> int:
            count = 0
            while not stop.is_set():
                for url in (server.url(), other.url()):
                    try:
                        client.get(url)
                        with client.stream("GET", url) as response:
                            response.readinto(bytearray(10))
                    except ClientClosed:
                        return count
                    count += 1
            return count

        asking = [InThread(ask) for _ in range(6)]
        for _ in range(2000):
            stats = client.stats()
            assert 0 <= stats.open <= 4 and stats.connections.in_use >= 0 and stats.connections.dialling >= 0
        stop.set()
        client.close()
        assert all(isinstance(thread.outcome(), int) for thread in asking)
        assert client.stats()[:4] == (0, 0, 0, 0)


# Loop


def test_loop_that_did_nothing_counts_its_waker_alone() -> None:
    with Loop() as loop:
        assert numbers(loop.stats()) == {"watched": 1}
    assert numbers(loop.stats()) == {}


def test_loop_counts_an_exchange_from_step_to_step() -> None:
    with Peer() as peer, Loop(ONE) as loop:
        first = loop.get(peer.url)
        second = loop.get(peer.url)
        stats = loop.stats()
        assert (stats.exchanges, stats.dials, stats.waiting, stats.open, stats.idle) == (2, 1, 1, 1, 0)
        # The dial's, and that of the time in line.
        assert (stats.timers, stats.connections.dialling, stats.objects.rented) == (2, 1, 2)
        connection = connect(loop, peer)
        stats = loop.stats()
        assert (stats.dials, stats.connections.in_use, stats.watched) == (0, 1, 2)
        assert stats.bytes_out == len(connection.read_head()) and stats.bytes_in == 0
        connection.send(OK)
        turns(loop, lambda: first.done)
        stats = loop.stats()
        assert (stats.exchanges, stats.waiting, stats.events, stats.bytes_in) == (1, 0, 1, len(OK))
        connection.read_head()
        connection.send(OK)
        turns(loop, lambda: second.done)
        stats = loop.stats()
        assert (stats.exchanges, stats.open, stats.idle, stats.timers) == (0, 1, 1, 1)
        assert stats.rings.made == stats.rings.idle == 1
        list(loop.events)
        assert loop.stats().events == 0


def test_loop_counts_lookups() -> None:
    release = threading.Event()

    def stuck(*arguments: object) -> list[object]:
        assert release.wait(GUARD_S)
        raise OSError("no such name")

    with Loop() as loop:
        loop.reactor.resolver._getaddrinfo = stuck  # type: ignore[assignment]  # a name server that does not answer
        exchange = loop.get("http://name.invalid/")
        loop.poll()
        assert (loop.stats().lookups, loop.stats().dials) == (1, 1)
        release.set()
        turns(loop, lambda: exchange.done)
        assert (loop.stats().lookups, loop.stats().dials, loop.stats().timers) == (0, 0, 0)


def test_loop_counts_exchanges_that_starve_and_what_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_LENT_BYTES", 2 * limits.SEGMENT_BYTES)
    with Peer() as peer, Loop() as loop:
        exchange = loop.get(peer.url, stream=True)
        connection = connect(loop, peer)
        sent = threading.Thread(target=connection.send, args=(answer_of(10 * limits.SEGMENT_BYTES),))
        sent.start()
        turns(loop, lambda: loop.stats().starved)
        stats = loop.stats()
        assert (stats.starved, stats.buffers.outstanding, stats.events) == (1, 2, 2)
        assert stats.exhausted >= 1
        received = 0
        while not exchange.done:
            received += sum(len(event.data) for event in loop.events if event.data is not None)
            loop.poll(0.2)
        sent.join(GUARD_S)
        list(loop.events)
        loop.poll()
        assert (loop.stats().starved, loop.stats().buffers.outstanding) == (0, 0)
        assert received <= 10 * limits.SEGMENT_BYTES


def answer_of(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + b"x" * length


def test_loop_counts_listeners_and_prewarmed_origins() -> None:
    with Loop() as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=lambda exchange: exchange.respond(200, {}, b"ok"))
        warm = loop.prewarm(listener.url)
        turns(loop, lambda: warm.ready == 1 and listener.stats().open == 1)
        stats = loop.stats()
        assert stats.listeners == (listener.stats(),)
        assert stats.prewarmed == (warm.stats(),) and stats.prewarmed[0][:4] == (1, 0, 1, 1)
        # The waker, the listener, and both ends of the connection.
        assert stats.watched == 4


def test_loop_counts_exchanges_that_middleware_holds() -> None:
    hold = Hold()
    with Peer() as peer, Loop(middleware=(hold,)) as loop:
        loop.get(peer.url)
        stats = loop.stats()
        assert (stats.exchanges, stats.held, stats.dials, stats.timers) == (1, 1, 0, 1)


def test_loop_counts_what_waits_for_its_turn() -> None:
    with Peer() as peer, Loop() as loop:
        exchanges = [loop.get(peer.url) for _ in range(3)]
        settle(loop)
        connections = [peer.accept() for _ in range(3)]
        for connection in connections:
            connection.read_head()
            connection.send(OK)
        for left in (2, 1, 0):
            # Loopback delivers at once: all three were ready before the first turn.
            assert loop.poll(0.2, max_events=1).backlog == loop.stats().backlog == left
        turns(loop, lambda: all(exchange.done for exchange in exchanges))
        assert loop.stats().backlog == 0


def test_loop_counts_timers_and_retired_connections() -> None:
    clock = make_clock()
    config = Config(pool=PoolConfig(max_idle_s=5))
    with Peer() as peer, Loop(config, clock=clock) as loop:
        exchange = loop.get(peer.url)
        connect(loop, peer).send(OK)
        turns(loop, lambda: exchange.done)
        assert (loop.stats().timers, loop.stats().idle) == (1, 1)
        clock.advance(seconds=6)
        turns(loop, lambda: loop.stats().idle == 0)
        assert (loop.stats().timers, loop.stats().open, loop.stats().watched) == (0, 0, 1)


def test_loop_stats_of_another_thread_never_fail_while_it_turns() -> None:
    steps = (*(read_request, answer()) * 400, await_close)
    with scripted(steps) as server, Loop() as loop:
        stop = threading.Event()

        def look() -> int:
            count = 0
            while not stop.is_set():
                assert loop.stats().exchanges >= 0
                count += 1
            return count

        looking = InThread(look)
        for _ in range(100):
            exchanges = [loop.get(server.url(), notify=False) for _ in range(4)]
            turns(loop, lambda exchanges=exchanges: all(one.done for one in exchanges))  # type: ignore[misc]  # bound
        loop.close()
        stop.set()
        assert looking.outcome() > 0
        assert (loop.stats().open, loop.stats().exchanges, loop.stats().watched) == (0, 0, 0)


def test_snapshot_is_a_value_that_does_not_change() -> None:
    go_on = threading.Event()
    with scripted((read_request, await_event(go_on), send(OK), await_close)) as server, Client(ONE) as client:
        before = client.stats()
        go_on.set()
        client.get(server.url())
        assert before.connections.opened == 0 and hash(before.connections) is not None
        client.close()


def test_connections_of_dropped_responses_are_closed_once_by_threads_that_ask_at_once() -> None:
    begun = send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    with scripted((read_request, begun, await_close)) as server, Client() as client:
        for _ in range(10):
            response = client.stream("GET", server.url())
            connection = response.connection
            assert connection is not None
            response.connection = None
            client.connections.abandon(connection)
        looking = [InThread(client.stats) for _ in range(6)]
        assert all(thread.outcome().open <= 10 for thread in looking)
        assert client.stats()[:3] == (0, 0, 0)
