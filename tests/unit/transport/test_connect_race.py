"""Happy Eyeballs: who is tried when, who wins, and what is left of the others; in virtual time."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from support.peers import unused_port
from support.seeds import seeds
from turbosock.errors import ConnectError, NetworkError, Origin, Phase
from turbosock.limits import CONNECT_ATTEMPT_DELAY_S
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.resolver import Address
from turbosock.reactor.timers import NEVER
from turbosock.transport.connect_race import ATTEMPT_DELAY_NS, ConnectRace


def delay(steps: float) -> float:
    """So many attempt delays in seconds."""
    return steps * CONNECT_ATTEMPT_DELAY_S


class Network:
    """Connects that end when the test says so; the sockets are real and connect nowhere."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = ManualClock(1_000)
        # When each attempt began, in seconds.
        self.begun: list[tuple[str, float]] = []
        self.sockets: dict[str, socket.socket] = {}
        # What connecting says at once; under way unless named.
        self.at_once: dict[str, int] = {}
        # How an attempt ended, for when it is asked.
        self.results: dict[int, int] = {}
        monkeypatch.setattr("turbosock.transport.connect_race.start_connect", self._start)
        monkeypatch.setattr("turbosock.transport.connect_race.connect_result", lambda sock: self.results[sock.fileno()])

    @property
    def now_s(self) -> float:
        return (self.clock.now_ns() - 1_000) / NS_PER_S

    def _start(self, sock: socket.socket, sockaddr: Any) -> int:
        host = sockaddr[0]
        self.begun.append((host, self.now_s))
        self.sockets[host] = sock
        return self.at_once.get(host, errno.EINPROGRESS)

    def race(self, *hosts: str) -> ConnectRace:
        race = ConnectRace([Address(socket.AF_INET, (host, 443)) for host in hosts], self.clock)
        race.start()
        return race

    def end(self, race: ConnectRace, host: str, code: int = 0) -> None:
        fd = self.sockets[host].fileno()
        self.results[fd] = code
        race.on_ready(fd)

    def wait(self, race: ConnectRace, seconds: float) -> None:
        """Let time pass, and take the steps that fall due."""
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        while race.next_ns <= end_ns:
            self.clock.advance(ns=race.next_ns - self.clock.now_ns())
            race.on_timeout()
        self.clock.advance(ns=end_ns - self.clock.now_ns())

    def open(self) -> list[str]:
        return [host for host, sock in self.sockets.items() if sock.fileno() >= 0]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


A, B, C, D = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"


def test_attempts_begin_a_delay_apart_and_stay_under_way(network: Network) -> None:
    race = network.race(A, B, C)
    network.wait(race, 60.0)
    assert network.begun == [(A, 0.0), (B, delay(1)), (C, delay(2))]
    assert len(race.attempts) == 3 and race.next_ns == NEVER and not race.failed
    assert race.tried() == "; ".join(f"{host} port 443: no answer" for host in (A, B, C))
    race.close()
    assert network.open() == []


def test_first_address_that_answers_in_time_is_the_only_one_tried(network: Network) -> None:
    race = network.race(A, B)
    network.wait(race, delay(0.96))
    network.end(race, A)
    assert race.next_ns == NEVER and network.begun == [(A, 0.0)]
    with race.take() as sock:
        assert sock is network.sockets[A]


@pytest.mark.parametrize("winner", [A, B, C])
def test_whoever_connects_first_wins_and_the_others_are_closed(network: Network, winner: str) -> None:
    race = network.race(A, B, C, D)
    network.wait(race, delay(2.4))
    network.end(race, winner)
    assert network.open() == [winner] and not race.attempts and race.next_ns == NEVER
    sock = race.take()
    # What was taken is not the race's to close.
    race.close()
    assert sock.fileno() >= 0
    sock.close()
    assert [host for host, _ in network.begun] == [A, B, C]


def test_address_that_fails_has_the_next_one_begin_at_once(network: Network) -> None:
    race = network.race(A, B, C)
    network.wait(race, delay(0.4))
    network.end(race, A, errno.ECONNREFUSED)
    assert network.begun == [(A, 0.0), (B, delay(0.4))]
    # The delay is counted from the attempt before.
    network.wait(race, delay(0.9))
    assert len(network.begun) == 2
    network.wait(race, delay(0.2))
    assert network.begun[2] == (C, delay(1.4))
    race.close()


def test_addresses_that_fail_while_they_are_begun_are_passed_over(network: Network) -> None:
    network.at_once = {A: errno.ENETUNREACH, B: errno.ECONNREFUSED}
    race = network.race(A, B, C)
    assert [host for host, _ in network.begun] == [A, B, C] and network.open() == [C]
    network.end(race, C, errno.ETIMEDOUT)
    assert race.failed and network.open() == []
    error = race.error()
    assert type(error) is ConnectError and error.phase is Phase.CONNECT
    for host, name in ((A, "ENETUNREACH"), (B, "ECONNREFUSED"), (C, "ETIMEDOUT")):
        assert f"{host} port 443: " in str(error) and name in str(error)


def test_address_that_connects_at_once_wins(network: Network) -> None:
    network.at_once = {B: 0}
    race = network.race(A, B, C)
    network.wait(race, delay(1))
    assert network.open() == [B] and race.winner is network.sockets[B] and not race.failed
    race.close()
    assert network.open() == []


def test_older_attempt_may_win_after_newer_ones_failed(network: Network) -> None:
    race = network.race(A, B)
    network.wait(race, delay(1))
    network.end(race, B, errno.EHOSTUNREACH)
    assert not race.failed and race.next_ns == NEVER
    network.wait(race, 3.0)
    network.end(race, A)
    assert race.take() is network.sockets[A]
    network.sockets[A].close()


def refusing(*families: int, code: str = "network") -> Callable[[int], socket.socket]:
    def open_tcp(family: int) -> socket.socket:
        if family in families:
            raise NetworkError("cannot open a TCP socket: not here", code=code, origin=Origin.LOCAL)
        return socket.socket(family)

    return open_tcp


def test_family_that_this_machine_lacks_fails_its_addresses_only(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.transport.connect_race.open_tcp", refusing(socket.AF_INET6))
    addresses = [Address(socket.AF_INET6, ("2001:db8::1", 443, 0, 0)), Address(socket.AF_INET, (A, 443))]
    race = ConnectRace(addresses, network.clock)
    race.start()
    assert [host for host, _ in network.begun] == [A]
    network.end(race, A, errno.ECONNREFUSED)
    assert type(race.error()) is ConnectError and "2001:db8::1 port 443: cannot open" in str(race.error())


def test_socket_that_cannot_be_had_for_any_address_is_this_machines_error(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.transport.connect_race.open_tcp", refusing(socket.AF_INET, code="exhausted"))
    race = network.race(A, B)
    assert race.failed
    assert (race.error().code, race.error().origin, race.error().phase) == ("exhausted", Origin.LOCAL, Phase.CONNECT)


def test_socket_that_cannot_be_had_leaves_the_attempts_under_way(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    race = network.race(A, B)
    monkeypatch.setattr("turbosock.transport.connect_race.open_tcp", refusing(socket.AF_INET, code="exhausted"))
    network.wait(race, delay(1))
    assert not race.failed and len(race.attempts) == 1
    network.end(race, A)
    race.take().close()


def test_step_that_breaks_off_leaves_no_socket_open(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    def interrupted(sock: socket.socket, sockaddr: object) -> int:
        opened.append(sock)
        raise KeyboardInterrupt

    monkeypatch.setattr("turbosock.transport.connect_race.start_connect", interrupted)
    race = ConnectRace([Address(socket.AF_INET, (A, 443))], network.clock)
    with pytest.raises(KeyboardInterrupt):
        race.start()
    race.close()
    assert [sock.fileno() for sock in opened] == [-1]


@pytest.mark.parametrize("seed", seeds(60))
def test_race_by_chance_keeps_its_promises(network: Network, seed: int) -> None:
    # Whatever ends when: one winner at most, nothing else open, each address once, in order, never more than a delay
    # after the one before, and never sooner unless one failed.
    chance = random.Random(seed)
    hosts = [f"192.0.2.{number}" for number in range(1, chance.randint(2, 17))]
    network.at_once = {host: errno.ENETUNREACH for host in hosts if chance.random() < 0.15}
    race = network.race(*hosts)
    failures_ns: list[float] = [at for host, at in network.begun if host in network.at_once]
    while race.winner is None and not race.failed:
        network.wait(race, delay(chance.choice((0.0, 0.3, 1.0, 2.5))))
        if race.attempts and chance.random() < 0.5:
            attempt = chance.choice(list(race.attempts.values()))
            lost = chance.random() < 0.8
            failures_ns.append(network.now_s)
            network.end(race, attempt.address.sockaddr[0], errno.ECONNREFUSED if lost else 0)
    begun = network.begun
    assert [host for host, _ in begun] == hosts[: len(begun)]
    for (host, at), (_, before) in zip(begun[1:], begun, strict=False):
        early = at - before < delay(1) - 1e-9
        assert at - before <= delay(1) + 1e-9, host
        assert not early or any(abs(at - failed) < 1e-9 for failed in failures_ns) or before == at, host
    if race.winner is not None:
        assert [network.sockets[host] for host in network.open()] == [race.winner]
        race.take().close()
    assert network.open() == [] and not race.attempts and race.next_ns == NEVER


def test_refused_loopback_address_gives_way_to_one_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ports = (unused_port(), listener.getsockname()[1])
        race = ConnectRace([Address(socket.AF_INET, ("127.0.0.1", port)) for port in ports], ManualClock())
        race.start()
        while race.winner is None:
            assert not race.failed
            for fd in tuple(race.attempts):
                race.on_ready(fd)
        with race.take() as sock:
            assert sock.getpeername() == listener.getsockname()


def test_attempt_delay_is_what_the_rfc_recommends() -> None:
    assert ATTEMPT_DELAY_NS == 250_000_000
