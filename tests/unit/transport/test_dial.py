"""Dialling: one address after another, each with its share of the time, and an error that names them all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.peers import unused_port
from turbosock.errors import ConnectError, Phase
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import SingleWaiter
from turbosock.reactor.resolver import Address
from turbosock.transport.dial import MIN_ATTEMPT_NS, Dial


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
        assert SingleWaiter(dial.fd).wait(10 * NS_PER_S, write=True)
        dial.on_ready()


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


def test_dial_shares_its_time_among_the_addresses_that_are_left() -> None:
    clock = StillClock()
    # 192.0.2.0/24 is for documentation (RFC 5737): the attempt stays pending, or the system refuses it at once.
    one = dial(tcp(81, "192.0.2.1"), tcp(81, "192.0.2.2"), clock=clock, seconds=10)
    one.start()
    if not one.pending:
        pytest.skip("this machine has no route that swallows packets")
    assert one.attempt_deadline_ns == clock.ns + 5 * NS_PER_S
    clock.ns += 9 * NS_PER_S
    one.on_timeout()
    assert one.pending
    assert one.attempt_deadline_ns == one.deadline_ns
    one.on_timeout()
    assert one.error is not None
    assert "192.0.2.1 port 81: no answer in time; 192.0.2.2 port 81: no answer in time" in str(one.error)


def test_dial_with_little_time_gives_an_attempt_its_least() -> None:
    clock = StillClock()
    addresses = [tcp(81, f"192.0.2.{i}") for i in range(1, 17)]
    one = Dial(addresses, clock, clock.ns + NS_PER_S)
    one.start()
    if not one.pending:
        pytest.skip("this machine has no route that swallows packets")
    assert one.attempt_deadline_ns == clock.ns + MIN_ATTEMPT_NS
    one.close()
    one.close()
    assert (one.session, one.pending) == (None, False)
