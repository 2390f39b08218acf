"""Ctrl-C that is noted, and raised when there is time for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from turbosock.cli.interrupt import Interrupt


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Python's own handler, whatever the tests' process has, and what it has afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(times: int, reached: list[bool], error: Exception | None = None) -> None:
    """A block that is interrupted so often, notes each time whether that was noted, and then fails."""
    with Interrupt() as interrupt:
        for _ in range(times):
            signal.raise_signal(signal.SIGINT)
            reached.append(interrupt.asked)
        if error is not None:
            raise error


def test_interrupt_is_noted_and_raised_at_the_end() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(1, reached)
    assert reached == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_second_interrupt_is_raised_where_it_comes() -> None:
    reached: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted(3, reached)
    assert reached == [True]


def test_error_of_the_block_goes_before_an_interrupt() -> None:
    with pytest.raises(ValueError, match="first"):
        interrupted(1, [], ValueError("first"))


def test_block_without_an_interrupt_leaves_everything_as_it_was() -> None:
    with Interrupt() as interrupt:
        pass
    assert not interrupt.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handler_of_somebody_else_stays() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
    assert not interrupt.asked
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_thread_that_is_not_the_main_one_changes_no_handler() -> None:
    seen = []

    def enter() -> None:
        with Interrupt():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
