"""A line by priority: order, ageing, bounds, and things that leave from the middle."""

from __future__ import annotations

import pytest

from turbosock.errors import InvalidOption, QueueFull, StateError
from turbosock.pool.priority_line import Priority, PriorityLine
from turbosock.reactor.clock import NS_PER_S

CRITICAL, HIGH, NORMAL, LOW = Priority


def line_of(*items: tuple[str, Priority, int], ageing_s: float | None = None) -> PriorityLine[str]:
    """A line with items pushed at times in seconds."""
    line: PriorityLine[str] = PriorityLine(100, ageing_s)
    for item, priority, second in items:
        line.push(item, priority, second * NS_PER_S)
    return line


def all_of(line: PriorityLine[str], second: int = 0) -> list[str]:
    left = []
    while (item := line.pop(second * NS_PER_S)) is not None:
        left.append(item)
    return left


def test_priorities_are_ordered_from_critical_to_low() -> None:
    assert [each.name for each in sorted(Priority)] == ["CRITICAL", "HIGH", "NORMAL", "LOW"]


def test_items_leave_by_priority_and_in_order_within_one() -> None:
    line = line_of(("a", LOW, 0), ("b", NORMAL, 0), ("c", HIGH, 0), ("d", LOW, 0), ("e", CRITICAL, 0), ("f", HIGH, 0))
    assert all_of(line) == ["e", "c", "f", "b", "a", "d"]


def test_item_without_ageing_waits_for_every_higher_one() -> None:
    line = line_of(("old", LOW, 0), ("new", NORMAL, 10_000))
    assert all_of(line, 20_000) == ["new", "old"]


@pytest.mark.parametrize(("second", "first"), [(29, "new"), (30, "old")])
def test_low_item_that_waited_for_three_agings_goes_before_a_critical_one(second: int, first: str) -> None:
    line = line_of(("old", LOW, 0), ("new", CRITICAL, 29), ageing_s=10)
    assert line.pop(second * NS_PER_S) == first


def test_items_of_equal_effective_priority_leave_by_their_age() -> None:
    line = line_of(("low", LOW, 0), ("normal", NORMAL, 1), ageing_s=10)
    assert all_of(line, 10) == ["low", "normal"]


def test_age_before_the_push_counts_for_nothing() -> None:
    line = line_of(("a", LOW, 100), ("b", NORMAL, 100), ageing_s=1)
    assert all_of(line, 0) == ["b", "a"]


def test_low_item_under_a_flood_of_critical_ones_is_not_starved() -> None:
    line = line_of(("low", LOW, 0), ageing_s=10)
    for second in range(100):
        line.push(f"critical {second}", CRITICAL, second * NS_PER_S)
        if line.pop(second * NS_PER_S) == "low":
            break
    assert second == 30


def test_full_line_refuses_and_takes_again_when_one_left() -> None:
    line: PriorityLine[str] = PriorityLine(2)
    line.push("a", LOW, 0)
    line.push("b", LOW, 0)
    assert line.is_full
    with pytest.raises(QueueFull, match="2 stand in line"):
        line.push("c", CRITICAL, 0)
    assert "c" not in line
    line.pop(0)
    line.push("c", CRITICAL, 0)
    assert all_of(line) == ["c", "b"]


def test_item_removed_from_the_middle_leaves_the_others_in_order() -> None:
    line = line_of(("a", LOW, 0), ("b", LOW, 0), ("c", LOW, 0), ("d", HIGH, 0))
    assert line.remove("b")
    assert not line.remove("b")
    assert not line.remove("never there")
    assert len(line) == 3
    assert all_of(line) == ["d", "a", "c"]


def test_item_stands_in_a_line_once() -> None:
    line = line_of(("a", LOW, 0))
    with pytest.raises(StateError, match="already"):
        line.push("a", HIGH, 0)
    assert all_of(line) == ["a"]
    line.push("a", HIGH, 0)
    assert len(line) == 1


def test_clear_returns_what_was_left_in_order() -> None:
    line = line_of(("a", LOW, 0), ("b", HIGH, 0), ("c", LOW, 0))
    assert line.clear() == ["b", "a", "c"]
    assert (len(line), line.pop(0)) == (0, None)


def test_line_shows_its_name_and_length() -> None:
    assert repr(line_of(("a", LOW, 0))) == "<PriorityLine 'line' 1 of 100>"


@pytest.mark.parametrize(
    ("max_items", "ageing_s", "named"),
    [(0, None, "max_items=0"), (True, None, "max_items"), (2**40, None, "max_items"), (1, 0, "ageing_s=0")]
    + [(1, -1.0, "ageing_s"), (1, float("nan"), "ageing_s"), (1, "1", "ageing_s")],
)
def test_line_with_impossible_settings_is_refused(max_items: int, ageing_s: float | None, named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        PriorityLine(max_items, ageing_s)


@pytest.mark.parametrize("priority", [0, "HIGH", None])
def test_priority_that_is_none_of_the_four_is_refused(priority: object) -> None:
    with pytest.raises(InvalidOption, match=r"priority=.*Priority\.CRITICAL"):
        line_of().push("a", priority, 0)  # type: ignore[arg-type]  # what the test is about
