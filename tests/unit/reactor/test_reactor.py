"""The reactor: the line, its order and what it is told; waits cut by timers; flushing; the end."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock import limits
from turbosock.errors import NetworkError
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.poller import READABLE, WRITABLE, Poller, available_pollers, make_poller
from turbosock.reactor.reactor import Handler, Reactor

IN = 1
OUT = 4
HANG_UP = 16


class Recorder:
    """A handler that writes down its name and what it was told."""

    def __init__(self, name: str, told: list[tuple[str, int]]) -> None:
        self.name = name
        self.told = told
        self.mask = 0
        self.queued = False
        self.closed = 0

    def on_ready(self, mask: int) -> None:
        self.told.append((self.name, mask))

    def close(self) -> None:
        self.closed += 1


class Again(Recorder):
    """A handler that always has more to do."""

    def __init__(self, name: str, told: list[tuple[str, int]], reactor: Reactor, mask: int = IN) -> None:
        super().__init__(name, told)
        self.reactor = reactor
        self.again = mask

    def on_ready(self, mask: int) -> None:
        super().on_ready(mask)
        self.reactor.requeue(self, self.again)


class FakePoller:
    """A poller that reports what the test says, and remembers for how long it was to wait."""

    def __init__(self, batch: int = 42) -> None:
        self.tokens: dict[int, Any] = {}
        self.batch = batch
        self.reports: list[list[tuple[int, int]]] = []
        self.timeouts: list[float] = []

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        self.timeouts.append(timeout_s)
        return self.reports.pop(0) if self.reports else []

    def register(self, fd: int, read: bool, write: bool, token: object) -> None:
        self.tokens[fd] = token

    def unregister(self, fd: int) -> None:
        del self.tokens[fd]

    def modify(self, fd: int, read: bool, write: bool) -> None:
        assert fd in self.tokens

    def close(self) -> None:
        self.tokens.clear()


class Target:
    """A target of a timer that counts, and lets time pass."""

    def __init__(self, clock: ManualClock, cost_ns: int = 0) -> None:
        self.clock = clock
        self.cost_ns = cost_ns
        self.fired = 0

    def on_timer(self, now_ns: int) -> None:
        self.fired += 1
        self.clock.advance(ns=self.cost_ns)


@pytest.fixture(params=available_pollers())
def reactor(request: pytest.FixtureRequest) -> Iterator[Reactor]:
    reactor = Reactor(request.param, ManualClock())
    yield reactor
    reactor.close(close)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(100)]
    yield pairs
    for pair in pairs:
        for sock in pair:
            sock.close()


@pytest.fixture
def told() -> list[tuple[str, int]]:
    return []


def close(handler: Handler) -> None:
    assert isinstance(handler, Recorder)
    handler.close()


def faked(clock: ManualClock, batch: int = 42) -> tuple[Reactor, FakePoller]:
    """A reactor over a fake poller; its own is closed."""
    reactor = Reactor(None, clock)
    reactor._poller.close()
    poller = FakePoller(batch)
    reactor._poller = poller
    return reactor, poller


# The line


def test_ready_handlers_stand_in_line_once_with_all_that_was_found(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    (left, right), (other, silent) = pairs[:2]
    both, quiet = Recorder("both", told), Recorder("quiet", told)
    reactor.register(left.fileno(), both, read=True, write=False)
    reactor.register(other.fileno(), quiet, read=True, write=False)
    right.send(b"x")
    reactor.collect(0.0)
    reactor.set_interest(left.fileno(), read=True, write=True)
    reactor.collect(0.0)
    assert list(reactor.line) == [both] and both.mask == IN | OUT
    reactor.step()
    assert told == [("both", IN | OUT)] and both.mask == 0 and not both.queued and not reactor.line
    assert silent.fileno() >= 0


def test_handler_is_told_again_while_it_leaves_its_socket_readable(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    left, right = pairs[0]
    reactor.register(left.fileno(), Recorder("a", told), read=True, write=False)
    right.send(b"x")
    for _ in range(3):
        reactor.collect(0.0)
        reactor.step()
    assert told == [("a", IN)] * 3


def test_more_ready_handlers_than_one_report_holds_all_stand_in_line(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    for number, (left, right) in enumerate(pairs):
        reactor.register(left.fileno(), Recorder(str(number), told), read=True, write=False)
        right.send(b"x")
    reactor.collect(0.0)
    assert len(reactor.line) == len(pairs) > reactor._poller.batch or reactor._poller.batch > 1000
    while reactor.line:
        reactor.step()
    assert sorted(int(name) for name, _ in told) == list(range(len(pairs)))


def test_repeated_full_reports_end_when_nothing_new_comes(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock(), batch=2)
    for fd in (10, 11, 12):
        poller.register(fd, True, False, Recorder(str(fd), told))
    poller.reports = [[(10, IN), (11, IN)], [(12, IN), (10, IN)], [(11, IN), (12, IN)], [(10, IN), (11, IN)]]
    reactor.collect(5.0)
    assert [handler.name for handler in reactor.line if isinstance(handler, Recorder)] == ["10", "11", "12"]
    assert poller.timeouts == [5.0, 0, 0]
    reactor.close(close)


def test_what_was_found_in_two_waits_is_told_together(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock(), batch=2)
    for fd in (10, 11):
        poller.register(fd, True, True, Recorder(str(fd), told))
    # The first wait is repeated because its report was full.
    poller.reports = [[(10, IN), (11, IN)], [(11, OUT)], [(10, OUT)]]
    reactor.collect(0.0)
    reactor.collect(0.0)
    reactor.step()
    reactor.step()
    assert told == [("10", IN | OUT), ("11", IN | OUT)]
    reactor.close(close)


def test_requeued_handler_goes_to_the_back(told: list[tuple[str, int]]) -> None:
    reactor, _ = faked(ManualClock())
    for name in ("a", "b", "c"):
        reactor.requeue(Again(name, told, reactor), IN)
    for _ in range(7):
        reactor.step()
    assert [name for name, _ in told] == ["a", "b", "c", "a", "b", "c", "a"]
    reactor.close(close)


def test_requeue_of_one_in_line_keeps_its_place_and_adds_to_its_mask(told: list[tuple[str, int]]) -> None:
    reactor, _ = faked(ManualClock())
    first, second = Recorder("first", told), Recorder("second", told)
    reactor.requeue(first, IN)
    reactor.requeue(second, IN)
    reactor.requeue(first, OUT)
    assert list(reactor.line) == [first, second]
    reactor.step()
    assert told == [("first", IN | OUT)]
    reactor.close(close)


def test_deferred_handler_is_served_in_the_next_turn_and_not_before(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock())
    first, last = Recorder("first", told), Recorder("last", told)
    reactor.handshakes_left = 0
    reactor.defer(first, IN)
    reactor.defer(first, OUT)
    reactor.requeue(last, IN)
    assert reactor.backlog == 2
    reactor.step()
    assert told == [("last", IN)] and not reactor.line
    assert reactor.backlog == 1 and reactor.next_deadline_ns() == reactor.clock.now_ns()
    reactor.collect(5.0)
    assert poller.timeouts == [0.0]
    assert reactor.handshakes_left == limits.MAX_HANDSHAKES_PER_TURN
    reactor.step()
    assert told == [("last", IN), ("first", IN | OUT)]
    assert reactor.backlog == 0
    reactor.close(close)


def test_unregistered_handler_is_told_nothing_when_its_turn_comes(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    left, right = pairs[0]
    reactor.register(left.fileno(), Recorder("a", told), read=True, write=False)
    right.send(b"x")
    reactor.collect(0.0)
    reactor.unregister(left.fileno())
    reactor.step()
    assert told == [] and not reactor.line
    reactor.unregister(left.fileno())


def test_report_of_a_forgotten_descriptor_is_passed_over(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock())
    poller.register(10, True, False, Recorder("a", told))
    poller.reports = [[(99, IN), (10, IN)]]
    reactor.collect(0.0)
    assert len(reactor.line) == 1
    reactor.close(close)


# Waiting


@pytest.mark.parametrize(
    ("due_s", "asked_s", "waited_s"),
    [(None, 7.0, 7.0), (2.0, 7.0, 2.0), (9.0, 7.0, 7.0), (-1.0, 7.0, 0.0), (2.0, 0.0, 0.0)],
)
def test_wait_ends_with_the_first_timer(due_s: float | None, asked_s: float, waited_s: float) -> None:
    clock = ManualClock(100 * NS_PER_S)
    reactor, poller = faked(clock)
    if due_s is not None:
        reactor.timers.add(clock.now_ns() + round(due_s * NS_PER_S), Target(clock))
    reactor.collect(asked_s)
    assert poller.timeouts == [waited_s]
    reactor.close(close)


def test_line_that_is_not_empty_is_not_waited_for(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock())
    reactor.requeue(Recorder("a", told), IN)
    reactor.collect(7.0)
    assert poller.timeouts == [0.0]
    reactor.close(close)


def test_wake_up_of_another_thread_ends_the_wait(reactor: Reactor) -> None:
    thread = threading.Thread(target=reactor.waker.wake)
    thread.start()
    reactor.collect(30.0)
    thread.join()
    assert len(reactor.line) == 1
    reactor.step()
    # Drained: nothing is ready any more.
    reactor.collect(0.0)
    assert not reactor.line


def test_answer_of_a_worker_ends_the_wait(reactor: Reactor) -> None:
    resolved: list[bool] = []

    class Wanted:
        def on_resolved(self, lookup: Any) -> None:
            resolved.append(lookup.finished)

    reactor.resolver._getaddrinfo = lambda host, port, family, kind: [(socket.AF_INET, kind, 6, "", ("127.0.0.1", 0))]
    reactor.resolver.start("name.test", 80, Wanted())
    reactor.collect(30.0)
    while not resolved:
        reactor.resolver.deliver()
    assert resolved == [True]


# Flushing


def test_flush_tells_writers_and_leaves_readers_in_their_order(told: list[tuple[str, int]]) -> None:
    reactor, poller = faked(ManualClock())
    names = ("reader", "writer", "both", "broken", "last")
    handlers = {name: Recorder(name, told) for name in names}
    masks = {"reader": IN, "writer": OUT, "both": IN | OUT, "broken": IN | OUT | HANG_UP, "last": IN}
    for name in names:
        reactor.requeue(handlers[name], masks[name])
    reactor.flush_writable()
    assert told == [("writer", OUT), ("both", OUT)]
    assert [handler.name for handler in reactor.line if isinstance(handler, Recorder)] == [
        "reader",
        "both",
        "broken",
        "last",
    ]
    assert handlers["both"].mask == IN and not handlers["writer"].queued
    while reactor.line:
        reactor.step()
    assert told[2:] == [("reader", IN), ("both", IN), ("broken", IN | OUT | HANG_UP), ("last", IN)]
    assert poller.timeouts == [0.0]
    reactor.close(close)


def test_flush_tells_a_writer_that_comes_back_once(told: list[tuple[str, int]]) -> None:
    reactor, _ = faked(ManualClock())
    again = Again("again", told, reactor, OUT)
    reactor.requeue(again, OUT)
    reactor.flush_writable()
    assert told == [("again", OUT)] and list(reactor.line) == [again] and again.mask == OUT
    reactor.close(close)


def test_flush_collects_what_became_writable(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    left, _ = pairs[0]
    reactor.register(left.fileno(), Recorder("a", told), read=True, write=True)
    reactor.flush_writable()
    assert told == [("a", OUT)] and not reactor.line


# Timers


def test_expired_timers_are_told_all_when_nothing_limits_them() -> None:
    clock = ManualClock()
    reactor, _ = faked(clock)
    targets = [Target(clock, cost_ns=10) for _ in range(5)]
    for target in targets:
        reactor.timers.add(1, target)
    clock.advance(ns=1)
    assert reactor.expire_timers() is False
    assert [target.fired for target in targets] == [1] * 5
    reactor.close(close)


def test_expiring_timers_stop_at_the_end_after_one_at_least() -> None:
    clock = ManualClock()
    reactor, _ = faked(clock)
    targets = [Target(clock, cost_ns=10) for _ in range(5)]
    for target in targets:
        reactor.timers.add(1, target)
    clock.advance(ns=1)
    assert reactor.expire_timers(0) is True and sum(target.fired for target in targets) == 1
    # Two more take the clock from 11 to 31.
    assert reactor.expire_timers(25) is True and sum(target.fired for target in targets) == 3
    assert reactor.expire_timers(1000) is False and sum(target.fired for target in targets) == 5
    assert reactor.expire_timers(1000) is False
    reactor.close(close)


def test_next_deadline_is_now_with_a_line_else_the_first_timers(told: list[tuple[str, int]]) -> None:
    clock = ManualClock(50)
    reactor, _ = faked(clock)
    assert reactor.next_deadline_ns() is None
    reactor.timers.add(70, Target(clock))
    assert reactor.next_deadline_ns() == 70
    reactor.requeue(Recorder("a", told), IN)
    assert reactor.next_deadline_ns() == 50
    reactor.close(close)


# The end


def test_close_closes_what_is_registered_once_and_gives_descriptors_back(
    pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for poller in available_pollers():
        reactor = Reactor(poller, ManualClock())
        handlers = [Recorder(str(number), told) for number in range(3)]
        for handler, (left, right) in zip(handlers, pairs, strict=False):
            reactor.register(left.fileno(), handler, read=True, write=False)
            right.send(b"x")
        reactor.collect(0.0)
        reactor.close(close)
        reactor.close(close)
        assert [handler.closed for handler in handlers] == [1, 1, 1] and not reactor.line and told == []
        # Late, and harmless.
        reactor.waker.wake()
    assert len(os.listdir("/proc/self/fd")) == before


def test_masks_mean_what_the_poller_reports() -> None:
    assert IN & READABLE and not IN & WRITABLE
    assert OUT & WRITABLE and not OUT & READABLE
    assert HANG_UP & READABLE and HANG_UP & WRITABLE


def refuse(*arguments: object, **options: object) -> Any:
    raise OSError(errno.ENOSPC, "injected")


def test_descriptor_that_the_system_cannot_watch_is_refused_in_our_words(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]], monkeypatch: Any
) -> None:
    (near, _), (other, far) = pairs[:2]
    handler = Recorder("a", told)
    poller = reactor._poller
    reactor.register(other.fileno(), handler, read=False, write=False)
    with monkeypatch.context() as patch:
        patch.setattr(reactor, "_poller", Refusing(poller))
        with pytest.raises(NetworkError, match="max_user_watches") as caught:
            reactor.register(near.fileno(), Recorder("b", told), read=True, write=False)
        assert caught.value.code == "exhausted" and caught.value.errno == errno.ENOSPC
        with pytest.raises(NetworkError):
            reactor.set_interest(other.fileno(), read=True, write=False)
        with pytest.raises(NetworkError, match="wait for sockets"):
            reactor.collect(0.0)
    # Nothing of it was kept.
    assert near.fileno() not in poller.tokens
    reactor.set_interest(other.fileno(), read=True, write=False)
    far.send(b"x")
    reactor.collect(1.0)
    reactor.step()
    assert told == [("a", IN)]
    reactor.unregister(other.fileno())


class Refusing:
    """A poller whose system calls are refused."""

    def __init__(self, poller: Any) -> None:
        self.tokens = poller.tokens
        self.register = self.modify = self.wait = refuse


@pytest.mark.parametrize("kind", [OSError, MemoryError, KeyboardInterrupt])
def test_registration_that_breaks_off_leaves_nothing_behind(
    pairs: list[tuple[socket.socket, socket.socket]], kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaking:
        """What a poller registers with: it breaks off once it has done so, as an interrupt may."""

        def __init__(self, whole: Any) -> None:
            self.whole = whole

        def register(self, fd: int, mask: int) -> None:
            self.whole.register(fd, mask)
            raise kind

        def __getattr__(self, name: str) -> Any:
            return getattr(self.whole, name)

    near, far = pairs[0]
    far.send(b"x")
    for name, inner in (("epoll", "_epoll"), ("poll", "_poll"), ("select", "_selector")):
        if name not in available_pollers():
            continue
        poller: Any = make_poller(name)
        whole = getattr(poller, inner)
        setattr(poller, inner, Breaking(whole))
        with pytest.raises(kind):
            poller.register(near.fileno(), True, False, "token")
        assert poller.tokens == {} and poller._masks == {}
        setattr(poller, inner, whole)
        if name == "epoll":
            # Its caller closes the descriptor; here it lives on.
            whole.unregister(near.fileno())
        poller.register(near.fileno(), True, False, "token")
        assert poller.wait(1.0) == [(near.fileno(), IN)]
        poller.close()


@pytest.mark.parametrize("refused", ["poller", "waker", "registration"])
def test_reactor_that_cannot_be_made_says_what_to_do_and_keeps_nothing_open(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*arguments: object, **options: object) -> Any:
        raise OSError(errno.EMFILE, "injected")

    before = len(os.listdir("/proc/self/fd"))
    for poller in available_pollers():
        with monkeypatch.context() as patch:
            if refused == "poller":
                patch.setattr("turbosock.reactor.reactor.make_poller", none_left)
            elif refused == "waker":
                patch.setattr("os.eventfd", none_left)
            else:
                patch.setattr(type(make_and_close(poller)), "register", none_left)
            with pytest.raises(NetworkError, match="ulimit -n") as caught:
                Reactor(poller)
        assert caught.value.code == "exhausted" and caught.value.errno == errno.EMFILE
    assert len(os.listdir("/proc/self/fd")) == before


def make_and_close(kind: str) -> Poller:
    """A poller, for its class."""
    poller = make_poller(kind)
    poller.close()
    return poller


def test_handler_that_fell_out_of_the_line_stands_in_it_again(
    reactor: Reactor, pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    handlers = [Recorder(name, told) for name in "abc"]
    for handler, (near, _) in zip(handlers, pairs, strict=False):
        reactor.register(near.fileno(), handler, read=True, write=False)
        reactor.requeue(handler, IN)
    # As an interrupt between the line and the step leaves it.
    assert reactor.line.popleft() is handlers[0]
    reactor.mend()
    while reactor.line:
        reactor.step()
    assert told == [("b", IN), ("c", IN), ("a", IN)] and not any(handler.queued for handler in handlers)


def test_dropped_reactor_closes_its_descriptors_and_unregisters_nothing(
    pairs: list[tuple[socket.socket, socket.socket]], told: list[tuple[str, int]]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for poller in available_pollers():
        reactor = Reactor(poller, ManualClock())
        handlers = [Recorder(str(number), told) for number in range(3)]
        for handler, (near, _) in zip(handlers, pairs, strict=False):
            reactor.register(near.fileno(), handler, read=True, write=False)
        # A thread of the parent held it at the fork.
        held = threading.Thread(target=reactor.waker._lock.acquire)
        held.start()
        held.join()
        assert reactor.drop() == handlers and reactor.closed and not reactor.line
        reactor.unregister(pairs[0][0].fileno())
        reactor.waker.wake()
        reactor.close(close)
    assert [handler.closed for handler in handlers] == [0, 0, 0]
    assert len(os.listdir("/proc/self/fd")) == before
