"""How often something may be done, by ticks."""

from __future__ import annotations

from turbosock.examples.arena.allowance import Allowance


def taken(allowance: Allowance, tick: int) -> int:
    """How often it may be done at a tick."""
    count = 0
    while allowance.take(tick):
        count += 1
    return count


def test_allowance_begins_full_and_fills_up_no_further() -> None:
    allowance = Allowance(10, 4)
    assert taken(allowance, 1000) == 4
    assert taken(allowance, 100_000) == 4


def test_allowance_comes_back_with_the_ticks() -> None:
    allowance = Allowance(30, 60)
    assert taken(allowance, 0) == 60
    assert [taken(allowance, tick) for tick in range(1, 7)] == [0, 1, 0, 1, 0, 1]
    assert taken(allowance, 66) == 30


def test_allowance_that_is_refused_is_not_used_up() -> None:
    allowance = Allowance(1, 1)
    assert allowance.take(0)
    assert not any(allowance.take(tick) for tick in range(1, 59))
    assert allowance.take(61)
