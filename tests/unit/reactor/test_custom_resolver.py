"""A user's own resolver: what it may answer, what it may not, and that its answers are its own to keep."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock.errors import ResolveError
from turbosock.limits import MAX_ADDRESSES_PER_NAME
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.custom_resolver import CustomResolver
from turbosock.reactor.resolver import Lookup, Resolver
from turbosock.reactor.waker import Waker

LONG_NS = 60_000_000_000


def ask(answer: object, port: int = 443) -> list[tuple[int, Any]]:
    """What a resolver's answer comes to: families and socket addresses."""
    found = CustomResolver(lambda host, port: answer).getaddrinfo("host.example", port, 0, socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("192.0.2.1", [(V4, ("192.0.2.1", 0))]),
        (["192.0.2.1", "2001:DB8::1"], [(V4, ("192.0.2.1", 0)), (V6, ("2001:db8::1", 0, 0, 0))]),
        ([("192.0.2.1", 8443)], [(V4, ("192.0.2.1", 8443))]),
        ((one for one in ("192.0.2.1",)), [(V4, ("192.0.2.1", 0))]),
        ({"192.0.2.1"}, [(V4, ("192.0.2.1", 0))]),
        (["fe80::1%7"], [(V6, ("fe80::1", 0, 0, 7))]),
        ([("fe80::1", 80, 0, 7)], [(V6, ("fe80::1", 80, 0, 7))]),
        (socket.getaddrinfo("127.0.0.1", 99, type=socket.SOCK_STREAM), [(V4, ("127.0.0.1", 99))]),
        ([], []),
    ],
)
def test_answer_in_any_usual_form_is_taken(answer: object, found: object) -> None:
    assert ask(answer) == found


def test_answer_without_end_is_bounded() -> None:
    assert len(ask(f"192.0.2.{1 + number % 250}" for number in itertools.count())) == MAX_ADDRESSES_PER_NAME


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (None, "a NoneType"),
        (5, "an? int"),
        (["host.example"], "'host.example'"),
        (["127.1"], "'127.1'"),
        (["0x7f.1"], "'0x7f.1'"),
        ([b"192.0.2.1"], "a bytes"),
        ([("192.0.2.1", -1)], r"\('192.0.2.1', -1\)"),
        ([("192.0.2.1", 65_536)], "65536"),
        ([("192.0.2.1", True)], "True"),
        ([("192.0.2.1", "80")], "'80'"),
        ([("192.0.2.1",)], "192"),
        ([("192.0.2.1", 80, 0)], "192"),
        ([("fe80::1", 80, 0, "eth0")], "eth0"),
        ([("fe80::1", 80, 0, -1)], "fe80"),
        ([None], "a NoneType"),
        ([5], "an? int"),
        (["fe80::1%nosuchinterface"], "nosuchinterface"),
        (["x" * 1000], "a str"),
    ],
)
def test_answer_of_something_else_is_an_error_that_names_it(answer: object, shown: str) -> None:
    with pytest.raises(ResolveError, match=f"^the resolver answered with .*{shown}"):
        ask(answer)


class Book:
    """A resolver with a method, which counts."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.error: BaseException | None = None
        self.held: threading.Event | None = None

    def resolve(self, host: str, port: int) -> list[str | tuple[Any, ...]]:
        self.asked.append((host, port))
        if self.held is not None:
            assert self.held.wait(30)
        if self.error is not None:
            raise self.error
        return ["192.0.2.1", ("192.0.2.2", 99)]


class Target:
    def __init__(self) -> None:
        self.lookups: list[Lookup] = []

    def on_resolved(self, lookup: Lookup) -> None:
        self.lookups.append(lookup)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def resolver(book: Book, waker: Waker) -> Iterator[Resolver]:
    made = Resolver(clock=ManualClock(1_000), waker=waker, custom=book)
    yield made
    made.close()


def test_resolver_with_a_method_is_asked_for_host_and_port_each_time(resolver: Resolver, book: Book) -> None:
    for port in (80, 443, 443):
        found = resolver.resolve("Host.example", port, LONG_NS)
        assert [address.sockaddr for address in found] == [("192.0.2.1", port), ("192.0.2.2", 99)]
    assert book.asked == [("host.example", 80), ("host.example", 443), ("host.example", 443)]


def test_address_and_localhost_are_not_asked_of_a_custom_resolver(resolver: Resolver, book: Book) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "app.localhost"):
        assert resolver.resolve(host, 80, LONG_NS)
    assert book.asked == []


def test_equal_look_ups_of_a_loop_are_asked_once_and_other_ports_apart(resolver: Resolver, book: Book) -> None:
    book.held = threading.Event()
    target = Target()
    lookups = [resolver.start("host.example", port, target) for port in (80, 80, 443)]
    assert not any(lookup.finished for lookup in lookups)
    book.held.set()
    while len(target.lookups) < 3:
        resolver.deliver()
    assert sorted(book.asked) == [("host.example", 80), ("host.example", 443)]
    assert [lookup.addresses[0].sockaddr for lookup in lookups] == [("192.0.2.1", port) for port in (80, 80, 443)]


@pytest.mark.parametrize("error", [ValueError("hunter2"), SystemExit("hunter2"), RuntimeError()])
def test_resolver_that_raises_fails_the_look_up_without_its_words(
    resolver: Resolver, book: Book, error: BaseException
) -> None:
    book.error = error
    with pytest.raises(ResolveError, match=f"cannot resolve host.example: .*raised {type(error).__name__}") as caught:
        resolver.resolve("host.example", 80, LONG_NS)
    assert "hunter2" not in str(caught.value)
    # The thread lives, and a failure is not remembered.
    book.error = None
    assert resolver.resolve("host.example", 80, LONG_NS)


def test_resolver_that_raises_what_getaddrinfo_raises_keeps_its_errno(resolver: Resolver, book: Book) -> None:
    book.error = socket.gaierror(socket.EAI_NONAME, "no such name")
    with pytest.raises(ResolveError, match="no such name") as caught:
        resolver.resolve("host.example", 80, LONG_NS)
    assert caught.value.errno == socket.EAI_NONAME


def test_resolver_without_an_address_fails_the_look_up() -> None:
    resolver = Resolver(clock=ManualClock(1_000), custom=lambda host, port: [])
    with pytest.raises(ResolveError, match=r"cannot resolve host\.example"):
        resolver.resolve("host.example", 80, LONG_NS)
    resolver.close()
