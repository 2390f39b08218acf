"""The clocks: monotonic, and moved by hand."""

from __future__ import annotations

import time

import pytest

from turbosock.errors import InvalidOption
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock, ManualClock, MonotonicClock


def test_monotonic_clock_now_is_the_builtin_and_makes_no_frame() -> None:
    assert MonotonicClock().now_ns is time.monotonic_ns


def test_both_clocks_serve_as_clock() -> None:
    clocks: list[Clock] = [SYSTEM_CLOCK, ManualClock()]
    assert all(isinstance(clock.now_ns(), int) for clock in clocks)


def test_manual_clock_stands_still_until_advanced() -> None:
    clock = ManualClock(start_ns=7)
    assert clock.now_ns() == clock.now_ns() == 7
    assert clock.advance(1.5) == 1_500_000_007
    assert clock.advance(ns=3) == 1_500_000_010
    assert clock.advance(0.001, ns=-1_000_000) == 1_500_000_010
    assert clock.now_ns() == 1_500_000_010


def test_manual_clock_going_backwards_is_refused() -> None:
    clock = ManualClock(5)
    with pytest.raises(InvalidOption, match="seconds and ns"):
        clock.advance(ns=-1)
    assert clock.now_ns() == 5
