"""TickClock, in virtual time: steps that do not drift, what a delay does, and waiting by a Loop."""

from __future__ import annotations

import pytest

from turbosock import Loop, PollResult, TickClock, limits
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(123_456_789)


class VirtualLoop:
    """A Loop whose waits pass at once; `events` are the seconds from the beginning on at which something happens."""

    def __init__(self, clock: ManualClock, *events: float) -> None:
        self._clock = clock
        self._events = [clock.now_ns() + round(each * NS_PER_S) for each in events]
        self.waits: list[float] = []

    def poll(self, timeout: float | None = 0.0, *, max_time: float | None = None) -> PollResult:
        assert timeout is not None
        self.waits.append(timeout)
        end_ns = self._clock.now_ns() + round(timeout * NS_PER_S)
        if self._events and self._events[0] < end_ns:
            end_ns = max(self._events.pop(0), self._clock.now_ns())
        self._clock.advance(ns=end_ns - self._clock.now_ns())
        return PollResult()


def test_first_step_is_due_at_once_and_the_next_a_step_later(clock: ManualClock) -> None:
    ticks = TickClock(50, clock=clock)
    assert (ticks.due(), ticks.due(), ticks.remaining_s()) == (1, 0, 0.02)
    clock.advance(ns=19_999_999)
    assert ticks.due() == 0
    clock.advance(ns=1)
    assert (ticks.due(), ticks.remaining_s()) == (1, 0.02)
    assert ticks.number == 2 and ticks.missed == 0 and ticks.late == 0


@pytest.mark.parametrize("rate_hz", [60, 1 / 3600, 0.1, 29.97, 144, 1000])
def test_steps_do_not_drift(clock: ManualClock, rate_hz: float) -> None:
    ticks = TickClock(rate_hz, clock=clock, max_catch_up=1000)
    loop = VirtualLoop(clock)
    start_ns = clock.now_ns()
    for _ in range(10_000):
        ticks.wait(loop)
        ticks.due()
    # The last one was due 9,999 steps after the first.
    expected_ns = 9_999 / rate_hz * NS_PER_S
    assert ticks.number == 10_000 and ticks.missed == 0
    assert abs(clock.now_ns() - start_ns - expected_ns) <= max(2, expected_ns * 1e-9)


def test_each_wait_for_a_step_finds_it_due(clock: ManualClock) -> None:
    # Were the time of a step rounded down, a wait would end before it, and be followed by another one of nothing.
    ticks = TickClock(60, clock=clock)
    loop = VirtualLoop(clock)
    for _ in range(1000):
        ticks.wait(loop)
        assert ticks.due() == 1


def test_event_ends_a_wait_and_no_step_is_due(clock: ManualClock) -> None:
    ticks = TickClock(10, clock=clock)
    loop = VirtualLoop(clock, 0.03, 0.05)
    due = []
    for _ in range(4):
        ticks.wait(loop)
        due.append(ticks.due())
    assert due == [1, 0, 0, 1]
    assert loop.waits == [0.0, 0.1, 0.07, 0.05]


def test_delay_is_caught_up_to_the_bound_and_the_rest_is_missed(clock: ManualClock) -> None:
    ticks = TickClock(10, max_catch_up=3, clock=clock)
    ticks.due()
    clock.advance(0.25)
    assert ticks.due() == 2 and ticks.late_s == pytest.approx(0.15)
    clock.advance(1.0)
    assert ticks.due() == 3
    assert (ticks.number, ticks.missed, ticks.late) == (6, 7, 2)
    # The phase stays: the next one is due at 1.3 s.
    assert ticks.remaining_s() == pytest.approx(0.05)


def test_catch_up_of_one_leaves_out_what_was_missed(clock: ManualClock) -> None:
    ticks = TickClock(10, max_catch_up=1, clock=clock)
    ticks.due()
    clock.advance(0.55)
    assert (ticks.due(), ticks.due(), ticks.missed) == (1, 0, 4)


def test_restart_forgets_the_time_before(clock: ManualClock) -> None:
    ticks = TickClock(10, clock=clock)
    ticks.due()
    clock.advance(60)
    ticks.restart()
    assert (ticks.due(), ticks.due(), ticks.missed, ticks.number) == (1, 0, 0, 1)
    assert "10 Hz" in repr(ticks)


def test_loop_waits_no_longer_than_the_next_step() -> None:
    with Loop() as loop:
        ticks = TickClock(100)
        for _ in range(3):
            while not ticks.due():
                ticks.wait(loop, max_time=0.001)
        assert ticks.number >= 3 and ticks.step_s == 0.01


@pytest.mark.parametrize("rate_hz", [0, -1, True, "60", float("nan"), limits.MAX_TICK_RATE_HZ + 1, 1e-9])
def test_wrong_rate_is_named(rate_hz: float) -> None:
    with pytest.raises(InvalidOption, match="rate_hz="):
        TickClock(rate_hz)


@pytest.mark.parametrize("max_catch_up", [0, -1, 1.5, True])
def test_wrong_catch_up_is_named(max_catch_up: int) -> None:
    with pytest.raises(InvalidOption, match="max_catch_up="):
        TickClock(60, max_catch_up=max_catch_up)
