"""One conformance suite over every poller of the platform, and the waiter for a single descriptor."""

from __future__ import annotations

import errno
import select
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from support.forks import NEEDS_FORK, in_child
from support.interrupts import Interrupter
from turbosock.errors import InvalidOption, LimitError, NetworkError, Origin
from turbosock.limits import FEW_POLL_BATCH, MAX_POLL_WAIT_S, POLL_BATCH
from turbosock.reactor.poller import (
    POLLER_VARIABLE,
    READABLE,
    WRITABLE,
    Poller,
    SelectorPoller,
    SingleWaiter,
    available_pollers,
    make_poller,
    wait_for_any,
)

LONG_S = 10.0
LONG_NS = 10_000_000_000

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=[*available_pollers(), "selectors"])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    made = SelectorPoller() if request.param == "selectors" else make_poller(request.param)
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    with left, right:
        yield left, right


@pytest.fixture
def tcp_pair() -> Iterator[Pair]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        left = socket.create_connection(listener.getsockname())
        right, _ = listener.accept()
    left.setblocking(False)
    with left, right:
        yield left, right


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that its peer sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    block = bytes(65_536)
    try:
        while True:
            sock.send(block)
    except BlockingIOError:
        pass


def masks(poller: Poller, timeout_s: float = 0) -> dict[int, int]:
    return dict(poller.wait(timeout_s))


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_masks_agree_with_the_systems_and_errors_count_as_both() -> None:
    assert READABLE & WRITABLE == select.EPOLLERR | select.EPOLLHUP | select.POLLNVAL
    assert READABLE & ~WRITABLE == select.EPOLLIN == select.POLLIN
    assert WRITABLE & ~READABLE == select.EPOLLOUT == select.POLLOUT


def test_wait_with_nothing_registered_returns_an_empty_list(poller: Poller) -> None:
    assert poller.wait(0) == []


def test_readable_descriptor_is_reported_readable_only(poller: Poller, pair: Pair) -> None:
    left, right = pair
    poller.register(left.fileno(), True, False, "left")
    assert poller.wait(0) == []
    right.send(b"x")
    [(fd, mask)] = poller.wait(LONG_S)
    assert fd == left.fileno() and poller.tokens[fd] == "left"
    assert mask & READABLE and not mask & WRITABLE


def test_writable_descriptor_is_reported_writable_only(poller: Poller, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    poller.register(left.fileno(), False, True, None)
    [(fd, mask)] = poller.wait(LONG_S)
    assert fd == left.fileno()
    assert mask & WRITABLE and not mask & READABLE


def test_both_interests_are_reported_in_one_mask(poller: Poller, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    poller.register(left.fileno(), True, True, None)
    [(_, mask)] = poller.wait(LONG_S)
    assert mask & READABLE and mask & WRITABLE


def test_readiness_is_level_triggered(poller: Poller, pair: Pair) -> None:
    left, right = pair
    right.send(b"xy")
    poller.register(left.fileno(), True, False, None)
    assert len(poller.wait(LONG_S)) == 1
    left.recv(1)
    assert len(poller.wait(0)) == 1
    left.recv(1)
    assert poller.wait(0) == []


def test_full_socket_becomes_writable_once_the_peer_reads(poller: Poller, pair: Pair) -> None:
    left, right = pair
    fill(left)
    poller.register(left.fileno(), False, True, None)
    assert poller.wait(0) == []
    try:
        while right.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    [(_, mask)] = poller.wait(LONG_S)
    assert mask & WRITABLE


def test_modify_changes_what_is_reported(poller: Poller, pair: Pair) -> None:
    left, right = pair
    fd = left.fileno()
    right.send(b"x")
    poller.register(fd, True, False, "token")
    poller.modify(fd, False, True)
    assert not masks(poller)[fd] & READABLE
    poller.modify(fd, True, True)
    assert masks(poller)[fd] & READABLE and masks(poller)[fd] & WRITABLE
    poller.modify(fd, True, True)
    assert poller.tokens == {fd: "token"}


def test_descriptor_without_interest_is_not_reported_even_after_a_hang_up(poller: Poller, tcp_pair: Pair) -> None:
    left, right = tcp_pair
    fd = left.fileno()
    poller.register(fd, True, True, "token")
    poller.modify(fd, False, False)
    right.send(b"x")
    reset(right)
    assert poller.wait(0) == []
    assert poller.tokens[fd] == "token"
    poller.modify(fd, True, False)
    assert masks(poller, LONG_S)[fd] & READABLE


def test_descriptor_registered_without_interest_waits_for_modify(poller: Poller, pair: Pair) -> None:
    left, right = pair
    fd = left.fileno()
    right.send(b"x")
    poller.register(fd, False, False, None)
    assert poller.wait(0) == []
    poller.modify(fd, True, False)
    assert fd in masks(poller, LONG_S)
    poller.modify(fd, False, False)
    poller.unregister(fd)
    assert poller.tokens == {}


def test_end_of_stream_is_readable(poller: Poller, tcp_pair: Pair) -> None:
    left, right = tcp_pair
    poller.register(left.fileno(), True, False, None)
    right.close()
    [(_, mask)] = poller.wait(LONG_S)
    assert mask & READABLE


@pytest.mark.parametrize("write", [False, True])
def test_reset_is_reported_in_the_direction_of_interest(poller: Poller, tcp_pair: Pair, write: bool) -> None:
    left, right = tcp_pair
    reset(right)
    poller.register(left.fileno(), not write, write, None)
    [(_, mask)] = poller.wait(LONG_S)
    assert mask & (WRITABLE if write else READABLE)


def test_refused_connect_is_writable(poller: Poller) -> None:
    with socket.socket() as unheard, socket.socket() as sock:
        unheard.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        code = sock.connect_ex(unheard.getsockname())
        assert code != 0
        poller.register(sock.fileno(), False, True, None)
        [(_, mask)] = poller.wait(LONG_S)
        assert mask & WRITABLE


def test_unregistered_descriptor_is_not_reported(poller: Poller, pair: Pair) -> None:
    left, right = pair
    right.send(b"x")
    poller.register(left.fileno(), True, False, None)
    poller.unregister(left.fileno())
    assert poller.wait(0) == [] and poller.tokens == {}
    poller.register(left.fileno(), True, False, "again")
    assert len(poller.wait(LONG_S)) == 1


def test_descriptor_closed_before_unregister_is_forgotten_quietly(poller: Poller, pair: Pair) -> None:
    left, right = pair
    fd = left.fileno()
    poller.register(fd, True, False, None)
    left.close()
    poller.unregister(fd)
    poller.register(right.fileno(), True, False, None)
    assert len(poller.wait(LONG_S)) == 1, "the peer's end of stream"


def unregister(poller: Poller, fd: int) -> None:
    poller.unregister(fd)


def modify_there_and_back(poller: Poller, fd: int) -> None:
    poller.modify(fd, False, False)
    poller.modify(fd, True, True)


@pytest.mark.parametrize("step", [unregister, modify_there_and_back])
@pytest.mark.parametrize("interest", [False, True], ids=["held", "watched"])
def test_interrupt_anywhere_leaves_no_closed_number_in_the_set(
    poller: Poller, step: Callable[[Poller, int], None], interest: bool
) -> None:
    interrupter = Interrupter()
    target = 0
    while True:
        target += 1
        left, right = socket.socketpair()
        with left, right:
            fd = left.fileno()
            poller.register(fd, interest, False, None)
            try:
                interrupter.run(partial(step, poller, fd), target)
            except KeyboardInterrupt:
                pass
            if fd in poller.tokens:
                poller.unregister(fd)
        assert poller.wait(0) == [], interrupter.where
        if interrupter.where is None:
            break
    assert target > 1


def test_registering_twice_is_our_own_bug(poller: Poller, pair: Pair) -> None:
    poller.register(pair[0].fileno(), True, False, None)
    with pytest.raises(AssertionError):
        poller.register(pair[0].fileno(), True, False, None)


def test_full_batch_is_followed_by_the_rest(poller: Poller) -> None:
    pairs = [socket.socketpair() for _ in range(POLL_BATCH + 5)]
    try:
        for left, right in pairs:
            right.send(b"x")
            poller.register(left.fileno(), True, False, None)
        first = poller.wait(LONG_S)
        assert len(first) == min(poller.batch, len(pairs))
        seen = {fd for fd, _ in first}
        while len(first) == poller.batch and len(seen) < len(pairs):
            first = poller.wait(0)
            assert {fd for fd, _ in first} - seen, "unreported descriptors come before reported ones"
            seen.update(fd for fd, _ in first)
        assert seen == {left.fileno() for left, _ in pairs}
    finally:
        for left, right in pairs:
            left.close()
            right.close()


@pytest.mark.parametrize("timeout_s", [0.0000004, 0.0003, 0.0011])
def test_wait_never_returns_before_its_timeout(poller: Poller, pair: Pair, timeout_s: float) -> None:
    poller.register(pair[0].fileno(), True, False, None)
    start_ns = time.monotonic_ns()
    assert poller.wait(timeout_s) == []
    assert time.monotonic_ns() - start_ns >= timeout_s * 1e9


@pytest.mark.parametrize("timeout_s", [-1.0, -0.0, 0, -float("inf")])
def test_negative_timeout_does_not_wait_for_ever(poller: Poller, timeout_s: float) -> None:
    assert poller.wait(timeout_s) == []


@pytest.mark.parametrize("timeout_s", [MAX_POLL_WAIT_S + 1, 1e30, float("inf")])
def test_huge_timeout_is_accepted(poller: Poller, pair: Pair, timeout_s: float) -> None:
    poller.register(pair[0].fileno(), False, True, None)
    assert len(poller.wait(timeout_s)) == 1


def test_wait_interrupted_by_a_signal_goes_on(poller: Poller, pair: Pair) -> None:
    left, right = pair
    calls: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        calls.append(number)
        if len(calls) == 2:
            right.send(b"x")
        else:
            signal.setitimer(signal.ITIMER_REAL, 0.005)

    before = signal.signal(signal.SIGALRM, on_signal)
    try:
        poller.register(left.fileno(), True, False, None)
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        assert len(poller.wait(LONG_S)) == 1
        assert len(calls) == 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_close_twice_does_nothing_more(poller: Poller, pair: Pair) -> None:
    poller.register(pair[0].fileno(), True, False, None)
    poller.close()
    poller.close()
    assert poller.tokens == {}


def test_select_refuses_a_descriptor_beyond_its_bound() -> None:
    poller = make_poller("select")
    with pytest.raises(LimitError, match="descriptor 1024"):
        poller.register(1024, True, False, None)
    assert poller.tokens == {} and poller.wait(0) == []
    poller.close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_epoll_is_asked_for_many_while_many_come_and_for_few_again() -> None:
    poller = make_poller("epoll")
    pairs = [socket.socketpair() for _ in range(FEW_POLL_BATCH + 5)]
    try:
        for left, right in pairs:
            right.send(b"x")
            poller.register(left.fileno(), True, False, None)
        assert len(poller.wait(0)) == poller.batch == FEW_POLL_BATCH
        assert len(poller.wait(0)) == len(pairs) < poller.batch == POLL_BATCH
        for left, _ in pairs:
            left.recv(1)
        assert not poller.wait(0) and poller.batch == POLL_BATCH
        assert not poller.wait(0) and poller.batch == FEW_POLL_BATCH
    finally:
        poller.close()
        for left, right in pairs:
            left.close()
            right.close()


@pytest.mark.skipif(sys.platform != "linux", reason="epoll is Linux's")
def test_epoll_returns_its_own_list_of_plain_pairs(pair: Pair) -> None:
    poller = make_poller("epoll")
    poller.register(pair[0].fileno(), False, True, None)
    ready = poller.wait(0)
    assert type(ready) is list and type(ready[0]) is tuple and poller.batch <= POLL_BATCH
    poller.close()


def test_make_poller_takes_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in available_pollers():
        monkeypatch.setenv(POLLER_VARIABLE, kind)
        chosen = make_poller()
        named = make_poller(kind)
        assert type(chosen) is type(named)
        chosen.close()
        named.close()


@pytest.mark.parametrize("value", ["", None])
def test_make_poller_without_the_variable_takes_the_best(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv(POLLER_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(POLLER_VARIABLE, value)
    poller = make_poller()
    if sys.platform == "linux":
        assert type(poller).__name__ == "EpollPoller"
    poller.close()


def test_make_poller_of_an_unknown_kind_names_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOption, match="kind is 'iocp'"):
        make_poller("iocp")
    with pytest.raises(InvalidOption, match="kind is ''"):
        make_poller("")
    monkeypatch.setenv(POLLER_VARIABLE, "EPOLL")
    with pytest.raises(InvalidOption, match="TURBOSOCK_POLLER is 'EPOLL'"):
        make_poller()


def test_selector_poller_takes_a_selector_given() -> None:
    selector = selectors.SelectSelector()
    poller = SelectorPoller(selector)
    with socket.socket() as sock:
        poller.register(sock.fileno(), True, False, None)
        assert sock.fileno() in selector.get_map()
    poller.close()


def test_single_waiter_reports_each_direction(pair: Pair) -> None:
    left, right = pair
    waiter = SingleWaiter(left.fileno())
    assert not waiter.wait(0)
    assert waiter.wait(0, write=True)
    assert not waiter.wait(0), "the direction is changed back"
    right.send(b"x")
    assert waiter.wait(LONG_NS)
    left.recv(1)
    fill(left)
    assert not waiter.wait(0, write=True)


@pytest.mark.parametrize("end", [reset, socket.socket.close])
def test_single_waiter_finds_an_ended_idle_connection(tcp_pair: Pair, end: Callable[[socket.socket], None]) -> None:
    left, right = tcp_pair
    waiter = SingleWaiter(left.fileno())
    assert not waiter.wait(0)
    end(right)
    assert waiter.wait(LONG_NS)


@pytest.mark.parametrize("timeout_ns", [1, 999_999, 1_000_001])
def test_single_waiter_never_returns_before_its_timeout(pair: Pair, timeout_ns: int) -> None:
    waiter = SingleWaiter(pair[0].fileno())
    start_ns = time.monotonic_ns()
    assert not waiter.wait(timeout_ns)
    assert time.monotonic_ns() - start_ns >= timeout_ns


def test_single_waiter_with_negative_or_huge_timeout_is_bounded(pair: Pair) -> None:
    waiter = SingleWaiter(pair[0].fileno())
    assert not waiter.wait(-5)
    assert waiter.wait(10**30, write=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no poll() to refuse")
@pytest.mark.parametrize("timeout_ns", [0, LONG_NS])
def test_single_waiter_that_the_system_refuses_raises_in_our_words(
    pair: Pair, timeout_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def register(self, fd: int, mask: int) -> None:
            """Nothing is asked of the system yet."""

        def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
            raise OSError(errno.ENOMEM, "injected")

    monkeypatch.setattr(select, "poll", Refusing)
    with pytest.raises(NetworkError, match="wait for a socket") as caught:
        SingleWaiter(pair[0].fileno()).wait(timeout_ns)
    assert (caught.value.code, caught.value.origin) == ("exhausted", Origin.LOCAL)


def test_single_waiter_is_ended_by_shutdown_on_another_thread(tcp_pair: Pair) -> None:
    left, _ = tcp_pair
    thread = threading.Thread(target=left.shutdown, args=(socket.SHUT_RDWR,))
    thread.start()
    assert SingleWaiter(left.fileno()).wait(LONG_NS)
    thread.join()


@NEEDS_FORK
def test_child_after_fork_with_its_own_poller_leaves_the_parents_alone(poller: Poller, pair: Pair) -> None:
    left, right = pair
    poller.register(left.fileno(), True, False, None)

    def use() -> None:
        poller.close()
        own = make_poller()
        own.register(left.fileno(), True, False, None)
        own.unregister(left.fileno())
        own.close()

    in_child(use)
    right.send(b"x")
    assert len(poller.wait(LONG_S)) == 1


def test_wait_for_any_tells_which_of_several_is_ready(pair: Pair) -> None:
    left, right = pair
    fds = [left.fileno(), right.fileno()]
    assert wait_for_any(fds, 0) == []
    right.send(b"x")
    assert wait_for_any(fds, LONG_NS) == [left.fileno()]
    assert sorted(wait_for_any(fds, 0, write=True)) == sorted(fds)


def test_wait_for_any_that_the_system_refuses_is_a_local_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def register(self, fd: int, mask: int) -> None:
            raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("turbosock.reactor.poller.select.poll", Refusing)
    with pytest.raises(NetworkError) as caught:
        wait_for_any([0], 0)
    assert (caught.value.code, caught.value.origin) == ("exhausted", Origin.LOCAL)
