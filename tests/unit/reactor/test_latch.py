"""Latch: who passes and when, and that no interrupt and no race shuts it for good."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest

from support.in_thread import GUARD_S, InThread
from support.interrupts import Interrupter
from turbosock.reactor.latch import Latch


def test_latch_lets_everybody_pass_once_it_is_set() -> None:
    latch = Latch()
    waiting = [InThread(lambda: latch.wait(GUARD_S)) for _ in range(8)]
    assert not latch.is_set and not latch.wait(0)
    latch.set()
    assert [one.outcome() for one in waiting] == [True] * 8
    assert latch.is_set and latch.wait(0) and latch.wait(GUARD_S)


@pytest.mark.parametrize("timeout_s", [0, -1, -1e300, 1e-9])
def test_latch_that_is_not_set_is_not_waited_for_longer_than_asked(timeout_s: float) -> None:
    assert not Latch().wait(timeout_s)


@pytest.mark.parametrize("timeout_s", [threading.TIMEOUT_MAX, 2 * threading.TIMEOUT_MAX, float("inf")])
def test_latch_takes_a_time_that_no_lock_does(timeout_s: float) -> None:
    latch = Latch()
    waiting = InThread(lambda: latch.wait(timeout_s))
    latch.set()
    assert waiting.outcome() is True


def test_latch_set_by_many_threads_lets_many_pass() -> None:
    for _ in range(50):
        latch = Latch()
        start = threading.Barrier(8)

        def meet(number: int, latch: Latch = latch, start: threading.Barrier = start) -> bool:
            start.wait(GUARD_S)
            if number % 2:
                latch.set()
            return latch.wait(GUARD_S)

        threads = [InThread(lambda number=number: meet(number)) for number in range(8)]  # type: ignore[misc]  # bound in this round
        assert [one.outcome() for one in threads] == [True] * 8
        assert latch.wait(0)


def test_latch_interrupted_anywhere_in_set_is_set_by_the_next_call() -> None:
    interrupter = Interrupter()
    for target in itertools.count(1):
        latch = Latch()
        try:
            interrupter.run(latch.set, target)
        except KeyboardInterrupt:
            latch.set()
        # The gate itself, whatever the flag says.
        assert latch._gate.acquire(timeout=GUARD_S)
        if interrupter.where is None:
            assert target > 1
            return


class LateGate:
    """A latch's gate that is opened by another thread just when somebody has begun to wait at it."""

    def __init__(self, latch: Latch) -> None:
        self.lock = latch._gate
        self._latch = latch

    def acquire(self, timeout: float) -> bool:
        self._latch.is_set = True
        self.lock.release()
        return self.lock.acquire(timeout=timeout)

    def release(self) -> None:
        self.lock.release()


def test_latch_whose_waiter_is_interrupted_anywhere_lets_the_others_pass() -> None:
    interrupter = Interrupter()
    for target in itertools.count(1):
        latch: Any = Latch()
        latch._gate = gate = LateGate(latch)
        try:
            interrupter.run(lambda latch=latch: latch.wait(GUARD_S), target)  # type: ignore[misc]  # bound in this round
        except KeyboardInterrupt:
            if not latch.is_set:
                # It came before anybody waited.
                latch.set()
        assert gate.lock.acquire(timeout=GUARD_S)
        if interrupter.where is None:
            assert target > 1
            return
