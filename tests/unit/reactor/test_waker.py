"""The waker, over an eventfd and over a socket pair."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from turbosock.reactor.poller import SingleWaiter
from turbosock.reactor.waker import Waker


@pytest.fixture(params=[None, False], ids=["native", "socketpair"])
def waker(request: pytest.FixtureRequest) -> Iterator[Waker]:
    made = Waker(use_eventfd=request.param)
    yield made
    made.close()


def is_readable(waker: Waker) -> bool:
    return SingleWaiter(waker.fileno()).wait(0)


def test_waker_when_new_is_not_readable(waker: Waker) -> None:
    assert not is_readable(waker)


def test_wake_makes_readable_until_drained(waker: Waker) -> None:
    waker.wake()
    assert is_readable(waker)
    waker.drain()
    assert not is_readable(waker)


def test_many_wakes_coalesce_into_one_drain(waker: Waker) -> None:
    for _ in range(100_000):
        waker.wake()
    waker.drain()
    assert not is_readable(waker)


def test_many_wakes_make_one_system_call(waker: Waker) -> None:
    for _ in range(100):
        waker.wake()
    if waker._read_socket is None:
        assert os.eventfd_read(waker.fileno()) == 1
    else:
        assert waker._read_socket.recv(1000) == b"\0"


def test_wake_after_drain_is_seen_again(waker: Waker) -> None:
    for _ in range(3):
        waker.wake()
        assert is_readable(waker)
        waker.drain()


def test_drain_without_wake_does_nothing(waker: Waker) -> None:
    waker.drain()
    waker.wake()
    assert is_readable(waker)


def test_wake_from_a_thread_ends_a_wait(waker: Waker) -> None:
    thread = threading.Thread(target=waker.wake)
    thread.start()
    assert SingleWaiter(waker.fileno()).wait(5_000_000_000)
    thread.join()


def test_wake_from_a_signal_handler_ends_a_wait(waker: Waker) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: waker.wake())
    try:
        signal.raise_signal(signal.SIGUSR1)
        assert SingleWaiter(waker.fileno()).wait(5_000_000_000)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_drain_after_threads_raced_past_the_flag_leaves_nothing(waker: Waker) -> None:
    for _ in range(150):
        # What two threads do that both saw the flag down.
        waker._pending = False
        waker.wake()
    waker.drain()
    assert not is_readable(waker)


def test_wakes_and_drains_on_two_threads_lose_no_item(waker: Waker) -> None:
    items: list[int] = []
    taken = 0

    def produce() -> None:
        for number in range(2000):
            items.append(number)
            waker.wake()

    thread = threading.Thread(target=produce)
    waiter = SingleWaiter(waker.fileno())
    thread.start()
    while taken < 2000:
        assert waiter.wait(5_000_000_000), f"a wake-up was lost after {taken} items"
        waker.drain()
        taken = len(items)
    thread.join()


def test_close_is_final_and_late_calls_touch_no_other_descriptor(waker: Waker) -> None:
    old_fd = waker.fileno()
    waker.close()
    waker.close()
    assert waker.fileno() == -1
    reader, writer = os.pipe()
    try:
        assert old_fd in (reader, writer), "the system reuses the lowest number"
        waker.wake()
        # What a thread does that saw the flag down just before the close.
        waker._pending = False
        waker.wake()
        waker.drain()
        assert not SingleWaiter(reader).wait(0)
    finally:
        os.close(reader)
        os.close(writer)


def test_descriptor_is_close_on_exec(waker: Waker) -> None:
    assert not os.get_inheritable(waker.fileno())


def descriptor_of_dropped(*, use_eventfd: bool) -> int:
    return Waker(use_eventfd=use_eventfd).fileno()


@pytest.mark.parametrize("use_eventfd", [True, False])
def test_waker_that_is_dropped_unclosed_closes_its_descriptor(use_eventfd: bool) -> None:
    fd = descriptor_of_dropped(use_eventfd=use_eventfd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
