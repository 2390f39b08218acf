"""Accepting: bounds, exhaustion, addresses, counts and the end of a listener."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from support.http_stage import Peer, Stage, request
from turbosock import limits
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import InvalidOption, LimitError, NetworkError
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.poller import available_pollers
from turbosock.reactor.reactor import Reactor
from turbosock.reactor.sockets import accept
from turbosock.reactor.timers import TimerHeap
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, None, b"ok")


@pytest.mark.parametrize("poller", available_pollers())
def test_connections_above_the_bound_wait_until_one_closes(poller: str) -> None:
    with Stage(answer, poller=poller, max_connections=2) as stage:
        peers = [stage.connect() for _ in range(3)]
        for peer in peers:
            peer.send(request())
        assert [bool(peer.look()) for peer in peers] == [True, True, False]
        assert stage.listener.stats().open == 2
        peers[0].close()
        assert peers[2].look()
        stats = stage.listener.stats()
        assert (stats.accepted, stats.open, stats.requests) == (3, 2, 3)


def test_burst_of_clients_is_accepted_in_shares() -> None:
    with Stage(answer) as stage:
        clients = [socket.socket(socket.AF_UNIX) for _ in range(limits.MAX_ACCEPTS_PER_TURN + 3)]
        try:
            for client in clients:
                client.connect(stage.path)
            stage.reactor.collect(0.0)
            stage.reactor.step()
            assert stage.listener.stats().open == limits.MAX_ACCEPTS_PER_TURN
            assert stage.reactor.line
            stage.turn()
            assert stage.listener.stats().open == len(clients)
        finally:
            for client in clients:
                client.close()
        stage.turn()
        assert stage.listener.stats().open == 0


def test_exhausted_descriptors_stop_accepting_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def exhausted(listener: socket.socket) -> socket.socket | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise NetworkError("no descriptors", errno=errno.EMFILE, code="exhausted")
        return accept(listener)

    monkeypatch.setattr("turbosock.server.stream_listener.accept", exhausted)
    with Stage(answer) as stage:
        peer = stage.connect()
        for _ in range(5):
            stage.turn()
        assert calls == 1 and stage.listener.stats().exhausted == 1
        stage.advance(limits.ACCEPT_RETRY_S)
        peer.send(request())
        assert peer.answers()[0].status_code == 200


def test_exhausted_descriptors_and_timers_leave_the_listener_open(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [
        NetworkError("no descriptors", errno=errno.EMFILE, code="exhausted"),
        LimitError("no timers"),
    ]

    def refuse(*arguments: Any) -> Any:
        raise refusals.pop(0)

    with Stage(answer) as stage:
        with monkeypatch.context() as patched:
            patched.setattr("turbosock.server.stream_listener.accept", refuse)
            patched.setattr(TimerHeap, "_arm", refuse)
            peer = Peer(stage)
            stage.peers.append(peer)
            stage.reactor.collect(0.0)
            stage.reactor.step()
        assert not refusals and stage.listener.stats().exhausted == 1
        peer.send(request())
        assert peer.answers()[0].status_code == 200


NO_ROOM = NetworkError("cannot watch a socket", errno=errno.ENOSPC, code="exhausted")


@pytest.mark.parametrize("refusal", [LimitError("descriptor too high"), NO_ROOM])
def test_client_that_cannot_be_watched_is_turned_away(monkeypatch: pytest.MonkeyPatch, refusal: Exception) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise refusal

    with Stage(answer) as stage:
        with monkeypatch.context() as patched:
            patched.setattr(Reactor, "register", full)
            peer = stage.connect()
        assert peer.look() == b"" and peer.ended
        stats = stage.listener.stats()
        assert (stats.accepted, stats.open, stats.exhausted) == (0, 0, 1)
        stage.connect().send(request())
        assert stage.listener.stats().requests == 1


def test_listener_that_cannot_be_watched_again_tries_again_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(reactor: Reactor, fd: int, *, read: bool, write: bool) -> None:
        nonlocal calls
        calls += 1
        raise NO_ROOM

    with Stage(answer, max_connections=1) as stage:
        first, second = stage.connect(), stage.connect()
        with monkeypatch.context() as patched:
            patched.setattr(Reactor, "set_interest", full)
            first.close()
            for _ in range(3):
                stage.turn()
            assert calls == 1
            stage.advance(limits.ACCEPT_RETRY_S)
            assert calls == 2 and stage.listener.stats().exhausted == 2
        assert stage.listener.stats().open == 0
        stage.advance(limits.ACCEPT_RETRY_S)
        second.send(request())
        assert second.answers()[0].status_code == 200


def test_listener_that_cannot_be_watched_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise NO_ROOM

    path = tmp_path / "s"
    reactor = Reactor()
    monkeypatch.setattr(Reactor, "register", full)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NetworkError) as caught:
        HttpListener(reactor, RingPool(), str(path), answer)
    assert caught.value is NO_ROOM
    assert not path.exists() and len(os.listdir("/proc/self/fd")) == before
    reactor.close(lambda handler: None)


def test_counts_tell_what_happened() -> None:
    with Stage(answer, idle_timeout_s=5) as stage:
        good, bad, idle = stage.connect(), stage.connect(), stage.connect()
        good.send(request() + request())
        bad.send(b"nonsense\r\n\r\n")
        good.finish()
        bad.finish()
        stage.advance(5)
        assert idle.look() == b"" and idle.ended
        stats = stage.listener.stats()
        assert stats == (3, 0, 2, 1, 1, 0, 2 * len(request()) + 12, len(good.look()) + len(bad.look()), 0, 0, 0, 0)
        assert stage.reactor.bytes_in == stats.bytes_in and stage.reactor.bytes_out == stats.bytes_out
        assert repr(stage.listener) == f"<HttpListener {stage.path!r} open=0>"


def test_close_ends_everything_once_and_tells_nobody() -> None:
    closed: list[HttpExchange] = []

    def keep(exchange: HttpExchange) -> None:
        exchange.on_closed = closed.append

    with Stage(keep) as stage:
        waiting, idle = stage.connect(), stage.connect()
        waiting.send(request())
        assert Path(stage.path).exists()
        for _ in range(2):
            stage.listener.close()
        assert not Path(stage.path).exists()
        for peer in (waiting, idle):
            assert peer.look() == b"" and peer.ended
        assert stage.exchanges[0].closed and not closed
        assert stage.listener.closed and stage.listener.stats().open == 0
        assert stage.idle_rings
        stage.advance(1000)
        assert len(stage.reactor.timers) == 0


def test_close_inside_a_handler_ends_its_own_exchange() -> None:
    def shut(exchange: HttpExchange) -> None:
        stage.listener.close()
        assert exchange.closed
        exchange.respond()

    with Stage(shut) as stage:
        peer = stage.connect()
        peer.send(request() + request())
        assert peer.look() == b"" and peer.ended
        assert len(stage.exchanges) == 1


def test_path_that_is_gone_already_does_not_hinder_close() -> None:
    with Stage(answer) as stage:
        os.unlink(stage.path)
        stage.listener.close()


def test_address_tells_the_real_port_and_clients_their_own() -> None:
    reactor = Reactor(clock=ManualClock())
    seen: list[object] = []

    def note(exchange: HttpExchange) -> None:
        seen.append(exchange.request.peer)
        exchange.respond()

    listener = HttpListener(reactor, RingPool(), ("127.0.0.1", 0), note)
    assert isinstance(listener.address, tuple)
    host, port = listener.address
    assert host == "127.0.0.1" and port > 0
    with socket.create_connection((host, port), 5) as client:
        client.sendall(request())
        while not seen:
            reactor.collect(5.0)
            while reactor.line:
                reactor.step()
        assert seen == [client.getsockname()]
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    listener.close()
    reactor.close(lambda handler: None)


def test_address_in_use_says_so() -> None:
    reactor = Reactor()
    first = HttpListener(reactor, RingPool(), ("127.0.0.1", 0), answer)
    with pytest.raises(NetworkError) as raised:
        HttpListener(reactor, RingPool(), first.address, answer)
    assert raised.value.errno == errno.EADDRINUSE
    first.close()
    reactor.close(lambda handler: None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("handler", None),
        ("handler", "answer"),
        ("address", 80),
        ("address", "relative"),
        ("address", ("127.0.0.1", 65536)),
        ("max_connections", 0),
        ("max_connections", 1.5),
        ("stream_body", 1),
        ("max_body_bytes", -1),
        ("max_body_bytes", None),
        ("max_head_bytes", limits.MAX_HEAD_BYTES + 1),
        ("max_head_fields", 0),
        ("max_unsent_bytes", 0),
        ("head_timeout_s", 0),
        ("body_timeout_s", "1"),
        ("idle_timeout_s", None),
        ("write_timeout_s", float("nan")),
        ("backlog", 0),
        ("mode", 0o600),
        ("dual_stack", True),
    ],
)
def test_option_that_cannot_work_is_refused_by_name(name: str, value: Any) -> None:
    reactor = Reactor()
    options: dict[str, Any] = {"address": ("127.0.0.1", 0), "handler": answer, name: value}
    with pytest.raises(InvalidOption, match=name):
        HttpListener(reactor, RingPool(), options.pop("address"), options.pop("handler"), **options)
    reactor.close(lambda handler: None)
