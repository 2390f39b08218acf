"""The resolver with a fake getaddrinfo: cache, sharing, workers, deadlines, cancelling, closing, forking."""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from turbosock.errors import ConnectTimeout, InvalidOption, InvalidUrl, LimitError, ResolveError, StateError
from turbosock.reactor.clock import SYSTEM_CLOCK, ManualClock
from turbosock.reactor.poller import SingleWaiter
from turbosock.reactor.resolver import Lookup, Resolver
from turbosock.reactor.waker import Waker

LONG_S = 10.0
LONG_NS = 10_000_000_000


class Names:
    """A getaddrinfo that knows a few names, counts its calls, and can be held back.

    A held call waits for `release()`; `entered` counts the calls that began.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.threads: set[int] = set()
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.answers: dict[str, Any] = {}

    def hold(self) -> None:
        self.gate.clear()

    def release(self) -> None:
        self.gate.set()

    def wait_entered(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.entered.acquire(timeout=LONG_S), "getaddrinfo was not called"

    def __call__(self, host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        assert (port, family, kind) == (0, socket.AF_UNSPEC, socket.SOCK_STREAM)
        self.calls.append(host)
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self.gate.wait(LONG_S)
        answer = self.answers.get(host, ["192.0.2.1"])
        if isinstance(answer, BaseException):
            raise answer
        return [
            (socket.AF_INET6, kind, 6, "", (address, 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, 0))
            for address in answer
        ]


class Target:
    """Remembers the look-ups that it was told of, and the thread."""

    def __init__(self, then: Callable[[Lookup], None] | None = None) -> None:
        self.lookups: list[Lookup] = []
        self.threads: set[int] = set()
        self.then = then

    def on_resolved(self, lookup: Lookup) -> None:
        self.lookups.append(lookup)
        self.threads.add(threading.get_ident())
        if self.then is not None:
            self.then(lookup)


class AnnouncedCondition(threading.Condition):
    """A condition that tells when a thread begins to wait on it; the lock is held until it does."""

    def __init__(self, lock: threading.Lock) -> None:
        super().__init__(lock)
        self.waits = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.release()
        return super().wait(timeout)

    def wait_for_waiter(self, lock: threading.Lock) -> None:
        assert self.waits.acquire(timeout=LONG_S), "no worker became idle"
        with lock:
            pass


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.release()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    made.close()


@pytest.fixture
def make(names: Names, clock: ManualClock, waker: Waker) -> Iterator[Callable[..., Resolver]]:
    made: list[Resolver] = []

    def make(**options: Any) -> Resolver:
        resolver = Resolver(**{"clock": clock, "waker": waker, "getaddrinfo": names, **options})
        made.append(resolver)
        return resolver

    yield make
    for resolver in made:
        resolver.close()


@pytest.fixture
def resolver(make: Callable[..., Resolver]) -> Resolver:
    return make()


def deliver(resolver: Resolver, waker: Waker, count: int) -> None:
    """Deliver until `count` look-ups were; each wait is ended by the waker."""
    delivered = resolver.deliver()
    while delivered < count:
        assert SingleWaiter(waker.fileno()).wait(LONG_NS), "the waker was not woken"
        waker.drain()
        delivered += resolver.deliver()
    assert delivered == count


def hosts(addresses: list[Any]) -> list[str]:
    return [address.sockaddr[0] for address in addresses]


def test_resolve_without_a_deadline_asks_on_the_callers_thread(resolver: Resolver, names: Names) -> None:
    assert resolver.resolve("example.org", 443) == [(socket.AF_INET, ("192.0.2.1", 443))]
    assert names.threads == {threading.get_ident()}


def test_resolve_with_a_deadline_asks_on_a_worker(resolver: Resolver, names: Names, clock: ManualClock) -> None:
    assert hosts(resolver.resolve("example.org", 443, clock.now_ns() + LONG_NS)) == ["192.0.2.1"]
    assert threading.get_ident() not in names.threads and len(names.threads) == 1
    assert resolver.pending == 0


def test_resolve_orders_addresses_for_attempts(resolver: Resolver, names: Names) -> None:
    names.answers["example.org"] = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    assert hosts(resolver.resolve("example.org", 1)) == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "fe80::1%3"])
def test_resolve_of_an_address_asks_nobody(resolver: Resolver, names: Names, host: str) -> None:
    assert resolver.resolve(host, 80, deadline_ns=0)[0].sockaddr[1] == 80
    assert names.calls == []


def test_resolve_of_an_ambiguous_address_asks_nobody_and_raises(resolver: Resolver, names: Names) -> None:
    with pytest.raises(InvalidUrl):
        resolver.resolve("0x7f.1", 80)
    with pytest.raises(InvalidUrl):
        resolver.start("0x7f.1", 80, Target())
    assert names.calls == [] and resolver.pending == 0


def test_answer_is_remembered_for_its_lifetime_whatever_the_case_and_the_port(
    resolver: Resolver, names: Names, clock: ManualClock
) -> None:
    resolver.resolve("example.org", 80)
    assert resolver.resolve("EXAMPLE.org", 443, deadline_ns=0)[0].sockaddr == ("192.0.2.1", 443)
    clock.advance(59.999)
    resolver.resolve("example.org", 80)
    assert names.calls == ["example.org"]
    clock.advance(0.001)
    resolver.resolve("example.org", 80)
    assert names.calls == ["example.org"] * 2


def test_answers_given_out_are_the_callers_own(resolver: Resolver) -> None:
    resolver.resolve("example.org", 80).clear()
    assert len(resolver.resolve("example.org", 80)) == 1


def test_failure_is_remembered_briefly_and_raised_anew(resolver: Resolver, names: Names, clock: ManualClock) -> None:
    names.answers["none.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    with pytest.raises(ResolveError, match=r"cannot resolve none\.example: no such name; check") as first:
        resolver.resolve("none.example", 80)
    with pytest.raises(ResolveError) as second:
        resolver.resolve("none.example", 80, clock.now_ns() + LONG_NS)
    assert first.value is not second.value and first.value.errno == socket.EAI_NONAME
    assert names.calls == ["none.example"]
    clock.advance(1.0)
    names.answers["none.example"] = ["192.0.2.9"]
    assert hosts(resolver.resolve("none.example", 80)) == ["192.0.2.9"]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "no name server answered; check the network"),
        (socket.gaierror(socket.EAI_FAIL, "Failure"), "the name server failed"),
        (socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"), "Memory allocation failure"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError("odd"), "odd"),
        (UnicodeError("label too long"), "UnicodeError: label too long"),
        ([], "neither an IPv4 nor an IPv6 address"),
    ],
)
@pytest.mark.parametrize("inline", [True, False])
def test_failure_says_host_and_what_to_do(
    resolver: Resolver, names: Names, clock: ManualClock, answer: Any, complaint: str, inline: bool
) -> None:
    names.answers["bad.example"] = answer
    with pytest.raises(ResolveError, match=f"cannot resolve bad.example: .*{complaint}"):
        resolver.resolve("bad.example", 80, None if inline else clock.now_ns() + LONG_NS)


def test_addresses_of_other_families_are_left_out(make: Callable[..., Resolver]) -> None:
    def getaddrinfo(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_UNIX, kind, 0, "", "/x"), (socket.AF_INET, kind, 6, "", ("192.0.2.7", 0))]

    assert hosts(make(getaddrinfo=getaddrinfo).resolve("example.org", 1)) == ["192.0.2.7"]


def test_scope_ids_of_answers_are_kept(make: Callable[..., Resolver]) -> None:
    def getaddrinfo(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET6, kind, 6, "", ("fe80::9", 0, 0, 4))]

    assert make(getaddrinfo=getaddrinfo).resolve("example.org", 7)[0].sockaddr == ("fe80::9", 7, 0, 4)


def test_cache_is_bounded_and_forgets_the_least_recently_used(make: Callable[..., Resolver], names: Names) -> None:
    resolver = make(max_entries=2)
    for host in ("a", "b", "a", "c", "a", "b"):
        resolver.resolve(host, 1)
    assert names.calls == ["a", "b", "c", "b"]


def test_lifetime_zero_remembers_nothing(make: Callable[..., Resolver], names: Names) -> None:
    resolver = make(lifetime_s=0, failed_lifetime_s=0)
    for _ in range(2):
        resolver.resolve("a", 1)
    assert names.calls == ["a", "a"]


def test_forget_drops_one_name_or_all(resolver: Resolver, names: Names) -> None:
    for host in ("a", "b"):
        resolver.resolve(host, 1)
    resolver.forget("A")
    for host in ("a", "b"):
        resolver.resolve(host, 1)
    assert names.calls == ["a", "b", "a"]
    resolver.forget()
    resolver.resolve("b", 1)
    assert names.calls == ["a", "b", "a", "b"]


def test_deadline_passed_raises_timeout_and_the_answer_serves_the_next_caller(
    resolver: Resolver, names: Names, clock: ManualClock
) -> None:
    names.hold()
    with pytest.raises(ConnectTimeout, match=r"no name server answered for slow\.example in time"):
        resolver.resolve("slow.example", 1, clock.now_ns())
    assert resolver.pending == 0
    names.release()
    assert hosts(resolver.resolve("slow.example", 1, clock.now_ns() + LONG_NS)) == ["192.0.2.1"]


def test_deadline_on_the_system_clock_ends_the_wait_for_a_stuck_look_up(
    make: Callable[..., Resolver], names: Names
) -> None:
    resolver = make(clock=SYSTEM_CLOCK)
    names.hold()
    deadline_ns = time.monotonic_ns() + 5_000_000
    with pytest.raises(ConnectTimeout):
        resolver.resolve("slow.example", 1, deadline_ns)
    assert time.monotonic_ns() >= deadline_ns


def test_threads_that_want_one_name_share_one_look_up(make: Callable[..., Resolver], names: Names) -> None:
    resolver = make(clock=SYSTEM_CLOCK)
    names.hold()
    found: list[list[Any]] = []
    deadline_ns = SYSTEM_CLOCK.now_ns() + LONG_NS
    threads = [
        threading.Thread(target=lambda: found.append(resolver.resolve("example.org", 1, deadline_ns))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    names.wait_entered()
    names.release()
    for thread in threads:
        thread.join(LONG_S)
    assert len(found) == 8 and names.calls == ["example.org"] and resolver.pending == 0


def test_start_delivers_on_the_thread_that_calls_deliver(resolver: Resolver, names: Names, waker: Waker) -> None:
    target = Target()
    lookup = resolver.start("example.org", 443, target)
    assert target.lookups == [] and lookup.addresses == [] and resolver.pending == 1
    deliver(resolver, waker, 1)
    assert target.lookups == [lookup] and lookup.finished and lookup.error is None
    assert lookup.addresses == [(socket.AF_INET, ("192.0.2.1", 443))]
    assert target.threads == {threading.get_ident()} and threading.get_ident() not in names.threads
    assert resolver.pending == 0 and resolver.deliver() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "known.example"])
def test_start_with_a_known_answer_finishes_at_once_and_calls_nobody(resolver: Resolver, host: str) -> None:
    resolver.resolve("known.example", 1)
    target = Target()
    lookup = resolver.start(host, 443, target)
    assert lookup.finished and lookup.addresses[0].sockaddr[1] == 443
    assert resolver.deliver() == 0 and target.lookups == [] and resolver.pending == 0


def test_start_of_a_name_known_to_fail_finishes_at_once_with_the_error(resolver: Resolver, names: Names) -> None:
    names.answers["bad.example"] = []
    with pytest.raises(ResolveError):
        resolver.resolve("bad.example", 1)
    lookup = resolver.start("bad.example", 1, Target())
    assert lookup.finished and isinstance(lookup.error, ResolveError) and lookup.addresses == []


def test_start_with_an_unknown_interface_finishes_at_once_with_the_error(resolver: Resolver) -> None:
    lookup = resolver.start("fe80::1%nosuch0", 1, Target())
    assert lookup.finished and isinstance(lookup.error, ResolveError)


def test_failure_is_delivered_as_an_error_of_each_look_up(resolver: Resolver, names: Names, waker: Waker) -> None:
    names.answers["bad.example"] = socket.gaierror(socket.EAI_AGAIN, "x")
    names.hold()
    lookups = [resolver.start("bad.example", 1, Target()) for _ in range(2)]
    names.release()
    deliver(resolver, waker, 2)
    errors = [lookup.error for lookup in lookups]
    assert all(isinstance(error, ResolveError) for error in errors) and errors[0] is not errors[1]


def test_look_ups_of_one_name_in_flight_are_shared_each_with_its_port(
    resolver: Resolver, names: Names, waker: Waker
) -> None:
    names.hold()
    target = Target()
    for port in (80, 443):
        resolver.start("Example.org", port, target)
    names.wait_entered()
    resolver.start("example.ORG", 8080, target)
    names.release()
    deliver(resolver, waker, 3)
    assert [lookup.addresses[0].sockaddr[1] for lookup in target.lookups] == [80, 443, 8080]
    assert names.calls == ["example.org"]


def test_workers_are_bounded_and_the_rest_queues(make: Callable[..., Resolver], names: Names, waker: Waker) -> None:
    resolver = make(threads=2)
    names.hold()
    target = Target()
    for number in range(6):
        resolver.start(f"host{number}.example", 1, target)
    names.wait_entered(2)
    assert len(names.calls) == 2 and resolver.pending == 6
    names.release()
    deliver(resolver, waker, 6)
    assert len(names.threads) <= 2
    assert sorted(names.calls) == [f"host{number}.example" for number in range(6)]


def test_slow_name_does_not_hold_up_another(resolver: Resolver, names: Names, waker: Waker) -> None:
    release_slow = threading.Event()

    def getaddrinfo(host: str, port: int, family: int, kind: int) -> list[tuple[Any, ...]]:
        if host == "slow.example":
            assert release_slow.wait(LONG_S)
        return names(host, port, family, kind)

    resolver._getaddrinfo = getaddrinfo
    target = Target()
    slow = resolver.start("slow.example", 1, target)
    fast = resolver.start("fast.example", 1, target)
    deliver(resolver, waker, 1)
    assert target.lookups == [fast]
    release_slow.set()
    deliver(resolver, waker, 1)
    assert target.lookups == [fast, slow]


def test_idle_worker_is_used_again(resolver: Resolver, names: Names, waker: Waker) -> None:
    condition = AnnouncedCondition(resolver._lock)
    resolver._work = condition
    for number in range(5):
        resolver.start(f"host{number}.example", 1, Target())
        deliver(resolver, waker, 1)
        condition.wait_for_waiter(resolver._lock)
    assert len(names.threads) == 1


def test_more_waiting_than_allowed_is_refused_until_one_leaves(
    make: Callable[..., Resolver], names: Names, clock: ManualClock
) -> None:
    resolver = make(max_pending=2, threads=1)
    names.hold()
    first = resolver.start("a", 1, Target())
    resolver.start("b", 1, Target())
    with pytest.raises(LimitError, match="max_pending"):
        resolver.start("c", 1, Target())
    with pytest.raises(LimitError, match="max_pending"):
        resolver.resolve("a", 1, clock.now_ns() + 1)
    first.cancel()
    resolver.start("c", 1, Target())
    assert resolver.pending == 2


def test_cancelled_look_up_calls_nobody_but_its_answer_is_remembered(
    resolver: Resolver, names: Names, waker: Waker
) -> None:
    names.hold()
    target, other = Target(), Target()
    lookup = resolver.start("example.org", 1, target)
    resolver.start("example.org", 1, other)
    names.wait_entered()
    lookup.cancel()
    lookup.cancel()
    names.release()
    deliver(resolver, waker, 1)
    assert target.lookups == [] and len(other.lookups) == 1 and not lookup.finished
    assert resolver.start("example.org", 1, target).finished


def test_cancelled_between_answer_and_delivery_calls_nobody(resolver: Resolver, waker: Waker) -> None:
    target = Target()
    lookup = resolver.start("example.org", 1, target)
    assert SingleWaiter(waker.fileno()).wait(LONG_NS)
    lookup.cancel()
    assert resolver.pending == 0
    assert resolver.deliver() == 0 and target.lookups == []


def test_cancelling_the_last_who_wants_a_queued_name_takes_it_out_of_the_queue(
    make: Callable[..., Resolver], names: Names, waker: Waker
) -> None:
    resolver = make(threads=1)
    names.hold()
    target = Target()
    resolver.start("first.example", 1, target)
    names.wait_entered()
    queued = [resolver.start("queued.example", 1, target) for _ in range(2)]
    queued[0].cancel()
    resolver.start("last.example", 1, target)
    queued[1].cancel()
    names.release()
    deliver(resolver, waker, 2)
    assert names.calls == ["first.example", "last.example"] and resolver.pending == 0


def test_cancelling_one_of_two_who_want_a_queued_name_leaves_it_to_the_other(
    make: Callable[..., Resolver], names: Names, waker: Waker
) -> None:
    resolver = make(threads=1)
    names.hold()
    target = Target()
    first = resolver.start("first.example", 1, target)
    names.wait_entered()
    given_up = resolver.start("queued.example", 1, target)
    kept = resolver.start("queued.example", 1, target)
    given_up.cancel()
    names.release()
    deliver(resolver, waker, 2)
    assert target.lookups == [first, kept]


def test_cancel_of_another_look_up_inside_a_callback_stops_it(resolver: Resolver, names: Names, waker: Waker) -> None:
    names.hold()
    victim_target = Target()
    resolver.start("example.org", 1, Target(then=lambda lookup: victim.cancel()))
    victim = resolver.start("example.org", 1, victim_target)
    names.release()
    deliver(resolver, waker, 1)
    assert resolver.deliver() == 0 and victim_target.lookups == [] and resolver.pending == 0


def test_exception_of_a_target_passes_and_the_others_are_delivered_next(
    resolver: Resolver, names: Names, waker: Waker
) -> None:
    def fail(lookup: Lookup) -> None:
        raise RuntimeError("from the target")

    names.hold()
    other = Target()
    resolver.start("example.org", 1, Target(then=fail))
    resolver.start("example.org", 1, other)
    names.release()
    assert SingleWaiter(waker.fileno()).wait(LONG_NS)
    waker.drain()
    with pytest.raises(RuntimeError, match="from the target"):
        resolver.deliver()
    assert SingleWaiter(waker.fileno()).wait(0), "a loop that waits again would not come back for the rest"
    deliver(resolver, waker, 1)
    assert len(other.lookups) == 1 and resolver.pending == 0


def test_target_may_start_another_look_up(resolver: Resolver, waker: Waker) -> None:
    second = Target()

    def start_second(lookup: Lookup) -> None:
        resolver.start("b", 1, second)

    resolver.start("a", 1, Target(then=start_second))
    deliver(resolver, waker, 2)
    assert len(second.lookups) == 1


def test_target_may_close_the_resolver(resolver: Resolver, names: Names, waker: Waker) -> None:
    names.hold()
    other = Target()
    resolver.start("example.org", 1, Target(then=lambda lookup: resolver.close()))
    resolver.start("example.org", 1, other)
    names.release()
    deliver(resolver, waker, 1)
    assert other.lookups == [] and resolver.pending == 0


def test_close_returns_while_a_look_up_is_stuck_and_drops_its_answer(
    resolver: Resolver, names: Names, waker: Waker
) -> None:
    names.hold()
    target = Target()
    lookup = resolver.start("stuck.example", 1, target)
    names.wait_entered()
    [worker] = [thread for thread in threading.enumerate() if thread.ident in names.threads]
    assert worker.daemon
    resolver.close()
    resolver.close()
    lookup.cancel()
    names.release()
    worker.join(LONG_S)
    assert not worker.is_alive()
    assert resolver.deliver() == 0 and target.lookups == [] and not SingleWaiter(waker.fileno()).wait(0)


def test_close_ends_idle_workers(
    resolver: Resolver, names: Names, waker: Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.reactor.resolver.RESOLVER_IDLE_S", 1000.0)
    condition = AnnouncedCondition(resolver._lock)
    resolver._work = condition
    resolver.start("a", 1, Target())
    deliver(resolver, waker, 1)
    condition.wait_for_waiter(resolver._lock)
    [worker] = [thread for thread in threading.enumerate() if thread.ident in names.threads]
    resolver.close()
    worker.join(LONG_S)
    assert not worker.is_alive()


def test_close_ends_a_blocked_caller(make: Callable[..., Resolver], names: Names) -> None:
    resolver = make(clock=SYSTEM_CLOCK)
    names.hold()
    outcome: list[str] = []

    def ask() -> None:
        try:
            resolver.resolve("stuck.example", 1, SYSTEM_CLOCK.now_ns() + LONG_NS)
        except StateError as error:
            outcome.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    names.wait_entered()
    resolver.close()
    thread.join(LONG_S)
    assert outcome == ["closed"]


def test_closed_resolver_refuses_every_host(resolver: Resolver, clock: ManualClock) -> None:
    resolver.close()
    for host in ("example.org", "127.0.0.1"):
        with pytest.raises(StateError, match="closed"):
            resolver.resolve(host, 1)
        with pytest.raises(StateError, match="closed"):
            resolver.resolve(host, 1, clock.now_ns() + 1)
        with pytest.raises(StateError, match="closed"):
            resolver.start(host, 1, Target())


@NEEDS_FORK
def test_child_after_fork_resolves_although_every_worker_stayed_in_the_parent(
    make: Callable[..., Resolver], names: Names, waker: Waker, clock: ManualClock
) -> None:
    resolver = make(threads=1)
    resolver.resolve("cached.example", 1)
    names.hold()
    resolver.start("stuck.example", 1, Target())
    names.wait_entered()

    def use() -> None:
        resolver._getaddrinfo = Names()
        resolver.resolve("cached.example", 1, deadline_ns=0)
        resolver.resolve("fresh.example", 1, clock.now_ns() + LONG_NS)
        assert resolver.pending == 0

    in_child(use)
    names.release()
    deliver(resolver, waker, 1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", 0),
        ("max_entries", 0),
        ("max_pending", -1),
        ("lifetime_s", -1.0),
        ("failed_lifetime_s", float("nan")),
        ("lifetime_s", float("inf")),
    ],
)
def test_wrong_option_is_refused_by_name(option: str, value: float) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(InvalidOption, match=f"^{option} is"):
        Resolver(**options)


def test_thread_that_cannot_start_is_a_limit_and_leaves_nothing_behind(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, waker: Waker
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LimitError, match="cannot start a resolver thread"):
            resolver.start("example.org", 1, Target())
    assert resolver.pending == 0
    resolver.start("example.org", 1, Target())
    deliver(resolver, waker, 1)


def test_idle_worker_ends_by_itself_and_another_takes_its_place(
    resolver: Resolver, names: Names, waker: Waker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.reactor.resolver.RESOLVER_IDLE_S", 0.0)
    names.hold()
    resolver.start("a", 1, Target())
    names.wait_entered()
    [worker] = [thread for thread in threading.enumerate() if thread.ident in names.threads]
    names.release()
    deliver(resolver, waker, 1)
    worker.join(LONG_S)
    assert not worker.is_alive()
    resolver.start("b", 1, Target())
    deliver(resolver, waker, 1)


def test_system_getaddrinfo_answers_in_the_shape_expected() -> None:
    resolver = Resolver()
    try:
        try:
            addresses = resolver.resolve(socket.gethostname(), 80)
        except (ResolveError, InvalidUrl):
            pytest.skip("this machine does not know its own name")
        assert all(address.sockaddr[1] == 80 for address in addresses)
    finally:
        resolver.close()


def test_many_threads_on_few_names_leave_no_count_behind(make: Callable[..., Resolver]) -> None:
    resolver = make(clock=SYSTEM_CLOCK, lifetime_s=0, failed_lifetime_s=0)
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            for turn in range(50):
                resolver.resolve(f"host{(number + turn) % 3}.example", 1, SYSTEM_CLOCK.now_ns() + LONG_NS)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert failures == [] and resolver.pending == 0 and not resolver._jobs and not resolver._queue
