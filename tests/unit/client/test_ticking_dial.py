"""TickingDial: dials that cannot be, and what one leaves behind."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.loop_peer import OK, Peer, connect, make_clock, make_config, settle, turns
from turbosock import Loop
from turbosock.errors import ConnectTimeout, LimitError, NetworkError, Origin, Phase
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.poller import OUT
from turbosock.reactor.resolver import Resolver
from turbosock.reactor.sockets import open_unix, start_connect


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def clock() -> ManualClock:
    return make_clock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[Loop]:
    with Loop(make_config(), clock=clock) as loop:
        yield loop


def test_socket_that_cannot_be_had_is_an_error_event(loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(family: int) -> Any:
        raise NetworkError("cannot open a TCP socket: too many open files", code="exhausted", origin=Origin.LOCAL)

    monkeypatch.setattr("turbosock.transport.connect_race.open_tcp", none_left)
    exchange = loop.request("GET", peer.url)
    settle(loop)
    assert exchange.error is not None and exchange.error.code == "exhausted"
    assert exchange.error.method == "GET" and loop.stats().open == 0


def test_connected_socket_that_cannot_be_watched_is_closed_and_told(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def remembered() -> Any:
        opened.append(open_unix())
        return opened[-1]

    def refuse(fd: int, handler: object, *, read: bool, write: bool) -> None:
        raise LimitError("select() takes no such descriptor")

    monkeypatch.setattr("turbosock.transport.connect_race.open_unix", remembered)
    # A Unix socket connects at once: it is watched for the first time when it is connected.
    monkeypatch.setattr(type(loop.reactor), "register", staticmethod(refuse))
    with Peer(tmp_path / "s") as unix:
        exchange = loop.request("GET", unix.url)
        settle(loop)
        assert type(exchange.error) is LimitError and loop.stats().open == 0
        assert [sock.fileno() for sock in opened] == [-1]


def test_look_up_that_is_refused_is_an_error_event(loop: Loop) -> None:
    loop.reactor.resolver.close()
    loop.reactor.resolver = Resolver(clock=loop.reactor.clock, waker=loop.reactor.waker, max_pending=1)
    loop.reactor.resolver._waiting = 1
    exchange = loop.request("GET", "http://name.test/")
    settle(loop)
    assert type(exchange.error) is LimitError and exchange.error.phase is Phase.RESOLVE
    assert loop.stats().open == 0
    loop.reactor.resolver._waiting = 0


def test_addresses_that_do_not_answer_are_raced_a_delay_apart(
    loop: Loop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Addresses that answer nothing: connects stay under way, whatever the network of this machine.
    begun_s: list[float] = []

    def pending(sock: Any, address: Any) -> int:
        begun_s.append(clock.now_ns() / 1e9 - 1)
        return errno.EINPROGRESS

    def addresses(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [(2, kind, 6, "", (f"192.0.2.{number}", 0)) for number in range(1, 5)]

    loop.reactor.resolver._getaddrinfo = addresses
    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", pending)
    exchange = loop.request("GET", "http://many.test/")
    turns(loop, lambda: begun_s)
    # An unconnected socket is ready, with a hang-up: only the timers are looked at here.
    while not exchange.done:
        clock.advance(0.05)
        loop.reactor.expire_timers()
    assert begun_s == pytest.approx([0.0, 0.25, 0.5, 0.75]) and clock.now_ns() == 11_000_000_000
    assert type(exchange.error) is ConnectTimeout
    for number in range(1, 5):
        assert f"192.0.2.{number} port 80: no answer" in str(exchange.error)
    assert not loop.reactor.handlers()[1:]


def test_loop_takes_the_address_that_answers_while_others_do_not(
    loop: Loop, clock: ManualClock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def some(sock: Any, address: Any) -> int:
        started.append(sock)
        return start_connect(sock, address) if address[0] == "127.0.0.1" else errno.EINPROGRESS

    def addresses(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [(2, kind, 6, "", (address, 0)) for address in ("192.0.2.1", "192.0.2.2", "127.0.0.1", "192.0.2.3")]

    loop.reactor.resolver._getaddrinfo = addresses
    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", some)
    loop.reactor.resolver.resolve("many.test", 80)
    exchange = loop.request("GET", peer.url.replace("127.0.0.1", "many.test"))
    # No turn: an unconnected socket is ready, with a hang-up.
    loop.dials.begin(None)
    for _ in range(2):
        clock.advance(0.25)
        loop.reactor.expire_timers()
    assert len(started) == 3
    winner = started[2].fileno()
    next(handler for handler in loop.reactor.handlers() if getattr(handler, "_fd", -1) == winner).on_ready(OUT)
    connection = peer.accept()
    assert [sock.fileno() for sock in started[:2]] == [-1, -1]
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and len(started) == 3


def localhost(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
    return [(2, kind, 6, "", ("127.0.0.1", 0))]


def test_look_up_whose_answer_was_lost_on_its_way_is_taken_up_again(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.reactor.resolver._getaddrinfo = localhost
    exchange = loop.request("GET", peer.url.replace("127.0.0.1", "name.test"))

    def interrupted(dial: object, lookup: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("turbosock.client.ticking_dial.TickingDial.on_resolved", interrupted)
        with pytest.raises(KeyboardInterrupt):
            turns(loop, lambda: exchange.done)
    connect(loop, peer).send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and loop.stats().open == 1


def test_look_up_whose_beginning_broke_off_brings_nobody_back(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = loop.reactor.resolver
    resolver._getaddrinfo = localhost
    start = resolver.start
    begun: list[Any] = []

    def broken_off(*arguments: Any) -> Any:
        begun.append(start(*arguments))
        raise KeyboardInterrupt

    exchange = loop.request("GET", peer.url.replace("127.0.0.1", "name.test"))
    with monkeypatch.context() as patch:
        patch.setattr(resolver, "start", broken_off)
        with pytest.raises(KeyboardInterrupt):
            loop.poll()
    assert exchange.done and not begun[0].finished
    turns(loop, lambda: begun[0].finished)
    assert loop.stats().open == 0 and not loop.dials
    again = loop.request("GET", peer.url)
    connect(loop, peer).send(OK)
    turns(loop, lambda: again.done)
    assert again.content == b"ok"


@pytest.mark.parametrize("poller", ["epoll", "poll", "select"])
def test_dial_that_ran_out_of_time_leaves_its_descriptor_to_others(
    poller: str, clock: ManualClock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Loop(make_config(poller), clock=clock) as loop:
        with monkeypatch.context() as unanswered:
            unanswered.setattr(
                "turbosock.transport.connect_race.start_connect", lambda sock, address: errno.EINPROGRESS
            )
            exchange = loop.request("GET", peer.url)
            # No turn: an unconnected socket is ready, with a hang-up.
            loop.dials.begin(None)
        clock.advance(10.0)
        loop.reactor.expire_timers()
        assert type(exchange.error) is ConnectTimeout
        # The system gives the lowest free number: the next dial's descriptor is the last one's.
        exchange = loop.request("GET", peer.url)
        connect(loop, peer).send(OK)
        turns(loop, lambda: exchange.done)
        assert exchange.content == b"ok"
