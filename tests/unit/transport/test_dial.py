"""Dialling: from addresses to one connected socket, and an error that names them all."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from support.peers import unused_port
from turbosock.errors import ConnectError, ConnectTimeout, Phase, TlsHandshakeError
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import wait_for_any
from turbosock.reactor.resolver import Address
from turbosock.reactor.timers import NEVER
from turbosock.tls.carrier import SocketCarrier
from turbosock.tls.provider import DONE, WANTS_READ, WANTS_WRITE, TlsSession
from turbosock.transport.connect_race import ATTEMPT_DELAY_NS
from turbosock.transport.dial import Dial


class StillClock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.ns = 1_000

    def now_ns(self) -> int:
        return self.ns


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def tcp(port: int, host: str = "127.0.0.1") -> Address:
    return Address(socket.AF_INET, (host, port))


def dial(*addresses: Address, clock: StillClock | None = None, seconds: int = 10) -> Dial:
    clock = clock or StillClock()
    return Dial(addresses, clock, clock.ns + seconds * NS_PER_S)


def finish(dial: Dial) -> None:
    """Drive a dial to its end."""
    dial.start()
    while dial.pending:
        ready = wait_for_any(dial.watched, 10 * NS_PER_S, write=True)
        assert ready
        dial.on_ready(ready[0])


def test_dial_to_a_listener_gives_a_connected_socket(listener: socket.socket) -> None:
    one = dial(tcp(listener.getsockname()[1]))
    finish(one)
    assert one.connected
    sock = one.take()
    with sock:
        assert sock.getpeername() == listener.getsockname()
        assert not sock.getblocking()
        # What was taken is not the dial's to close.
        one.close()
        assert sock.fileno() >= 0


def test_dial_to_a_unix_socket_gives_a_connected_socket(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        one = dial(Address(socket.AF_UNIX, path))
        finish(one)
        with one.take() as sock:
            assert sock.getpeername() == path


def test_dial_refused_goes_on_with_the_next_address(listener: socket.socket) -> None:
    one = dial(tcp(unused_port()), tcp(unused_port()), tcp(listener.getsockname()[1]))
    finish(one)
    with one.take() as sock:
        assert sock.getpeername() == listener.getsockname()
    assert one.error is None


def test_dial_refused_everywhere_names_every_address() -> None:
    ports = (unused_port(), unused_port())
    one = dial(*map(tcp, ports))
    finish(one)
    assert isinstance(one.error, ConnectError)
    assert one.error.phase is Phase.CONNECT
    for port in ports:
        assert f"127.0.0.1 port {port}: " in str(one.error)
    assert (one.connected, one.pending, one.session, one.fd) == (False, False, None, -1)


def test_dial_to_a_missing_unix_socket_says_so(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "missing")
    one = dial(Address(socket.AF_UNIX, path))
    finish(one)
    assert one.error is not None
    assert path in str(one.error)
    assert "no such path" in str(one.error)


def test_dial_that_is_given_up_watches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", lambda sock, address: errno.EINPROGRESS)
    clock = StillClock()
    one = dial(tcp(81), tcp(82), tcp(83), clock=clock)
    one.start()
    clock.ns += ATTEMPT_DELAY_NS
    one.on_timeout()
    sockets = [attempt.sock for attempt in one._race.attempts.values()]
    assert len(one.watched) == 2 and one.tried() == " (127.0.0.1 port 81: no answer; 127.0.0.1 port 82: no answer)"
    one.close()
    one.close()
    assert [sock.fileno() for sock in sockets] == [-1, -1]
    assert (one.session, one.pending, list(one.watched)) == (None, False, [])


def test_dial_is_never_due_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", lambda sock, address: errno.EINPROGRESS)
    clock = StillClock()
    one = Dial([tcp(81), tcp(82)], clock, clock.ns + ATTEMPT_DELAY_NS - 1)
    one.start()
    assert one.due_ns == one.deadline_ns
    one.on_timeout()
    assert len(one.watched) == 1
    one.close()


class Handshake:
    """A TLS session that says what the test wants."""

    alpn = None
    host = "host.example"

    def __init__(self, sock: socket.socket, wanted: list[object]) -> None:
        self.sock = sock
        self.wanted = wanted

    def handshake(self) -> object:
        step = self.wanted.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.sock.close()


def secured(wanted: list[object], *ports: int) -> tuple[Dial, list[Handshake], StillClock]:
    """A dial with TLS over loopback ports, and the sessions that it begins."""
    sessions: list[Handshake] = []

    def wrap(sock: socket.socket | SocketCarrier | TlsSession) -> TlsSession:
        assert isinstance(sock, socket.socket)
        sessions.append(Handshake(sock, wanted))
        return cast(TlsSession, sessions[-1])

    clock = StillClock()
    return Dial([tcp(port) for port in ports], clock, clock.ns + 10 * NS_PER_S, wrap, NS_PER_S), sessions, clock


def until_handshake(dial: Dial) -> None:
    dial.start()
    while dial.pending and dial.session is None:
        ready = wait_for_any(dial.watched, 10 * NS_PER_S, write=True)
        dial.on_ready(ready[0])


def test_handshake_begins_on_the_winner_alone_and_is_watched_as_it_wants(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    one, sessions, clock = secured([WANTS_READ, WANTS_WRITE, DONE], unused_port(), port, port)
    until_handshake(one)
    assert len(sessions) == 1 and list(one.watched) == [sessions[0].sock.fileno()] == [one.fd]
    assert not one.wants_write and one.due_ns == clock.ns + NS_PER_S
    one.on_ready(one.fd)
    assert one.wants_write
    one.on_ready(one.fd)
    assert one.connected and one.due_ns == NEVER
    one.take_session()
    one.close()
    assert sessions[0].sock.fileno() >= 0
    sessions[0].close()


def test_handshake_that_fails_is_not_tried_with_another_address(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    one, sessions, _ = secured([TlsHandshakeError("no")], port, port)
    until_handshake(one)
    assert type(one.error) is TlsHandshakeError and one.error.phase is Phase.TLS
    assert len(sessions) == 1 and sessions[0].sock.fileno() == -1 and not one.pending


def test_handshake_that_stalls_is_not_tried_with_another_address(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    one, sessions, clock = secured([WANTS_READ], port, port)
    until_handshake(one)
    clock.ns = one.due_ns
    one.on_timeout()
    assert type(one.error) is ConnectTimeout and "handshake_s" in str(one.error)
    assert len(sessions) == 1 and sessions[0].sock.fileno() == -1
