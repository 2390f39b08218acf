"""Virtual time: what happens when, in which order, and what a wait that nothing ends says."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from turbosock import InvalidOption
from turbosock.errors import StateError
from turbosock.reactor.clock import NS_PER_S
from turbosock.testing import VirtualClock


def seconds(clock: VirtualClock) -> float:
    """Since its beginning."""
    return clock.now_ns() / NS_PER_S - 1


def test_wait_passes_from_happening_to_happening_until_it_is_ready() -> None:
    clock = VirtualClock()
    told: list[tuple[str, float]] = []
    for name, delay_s in (("late", 5.0), ("first", 1.0), ("second", 1.0)):
        clock.after(delay_s, lambda name=name: told.append((name, seconds(clock))))  # type: ignore[misc]  # its default
    assert clock.wait(10 * NS_PER_S, lambda: len(told) == 2)
    assert told == [("first", 1.0), ("second", 1.0)]
    assert seconds(clock) == 1.0


def test_wait_that_nothing_ends_takes_all_of_its_time() -> None:
    clock = VirtualClock()
    assert not clock.wait(3600 * NS_PER_S, lambda: False)
    assert seconds(clock) == 3600.0


def test_wait_without_time_lets_happen_what_is_due() -> None:
    clock = VirtualClock()
    told: list[int] = []
    clock.after(0.0, lambda: told.append(1))
    assert clock.wait(0, lambda: told)
    assert seconds(clock) == 0.0


def test_happening_may_plan_others_and_wait_itself() -> None:
    clock = VirtualClock()
    told: list[float] = []

    def outer() -> None:
        clock.after(1.0, lambda: told.append(seconds(clock)))
        clock.sleep(2.0)
        told.append(seconds(clock))

    clock.after(1.0, outer)
    clock.sleep(10.0)
    assert told == [2.0, 3.0]
    assert seconds(clock) == 10.0


def test_wait_for_what_never_happens_is_refused() -> None:
    clock = VirtualClock(max_s=60.0)
    with pytest.raises(StateError, match="60 s"):
        clock.wait(61 * NS_PER_S, lambda: False)


def test_threads_share_its_time() -> None:
    clock = VirtualClock()
    told: list[float] = []
    clock.after(5.0, lambda: told.append(seconds(clock)))
    threads = [threading.Thread(target=clock.wait, args=(10 * NS_PER_S, lambda: told)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert told == [5.0]


@pytest.mark.parametrize("bad", [-1.0, True, "1", None])
def test_delays_that_are_none_are_refused(bad: Any) -> None:
    clock = VirtualClock()
    with pytest.raises(InvalidOption, match="delay_s"):
        clock.after(bad, lambda: None)
    with pytest.raises(InvalidOption, match="seconds"):
        clock.sleep(bad)
