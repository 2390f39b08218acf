"""When to build how many more: targets, allowances, pauses after failures, and options that contradict each other."""

from __future__ import annotations

import random
from typing import Any

import pytest

from turbosock import limits
from turbosock.errors import InvalidOption
from turbosock.pool.refill import Refill
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.timers import NEVER


class Longest(random.Random):
    """Draws the longest pause, less one nanosecond or so."""

    def random(self) -> float:
        return 1.0 - 2.0**-53


class Shortest(random.Random):
    """Draws the shortest pause."""

    def random(self) -> float:
        return 0.0


def refill(min_ready: int = 2, max_ready: int = 8, **options: Any) -> Refill:
    return Refill(min_ready, max_ready, **{"interval_s": 1.0, "max_building": 8, **options})


def filled(policy: Refill, now_ns: int = 0) -> int:
    """Build everything that is due at `now_ns`; returns how many are ready then."""
    ready = 0
    while count := policy.builds_due(ready, now_ns):
        for _ in range(count):
            policy.began()
            policy.built(now_ns)
        ready += count
    return ready


# Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_ready": 5, "max_ready": 3}, ("min_ready=5", "max_ready=3")),
        ({"backoff_first_s": 2.0, "backoff_cap_s": 1.0}, ("backoff_first_s=2.0", "backoff_cap_s=1.0")),
        ({"min_ready": 0}, ("min_ready=0",)),
        ({"min_ready": -1}, ("min_ready=-1",)),
        ({"min_ready": True}, ("min_ready=True",)),
        ({"max_ready": 0}, ("max_ready=0",)),
        ({"max_ready": limits.MAX_PREWARM_READY + 1}, ("max_ready=1025",)),
        ({"max_building": 0}, ("max_building=0",)),
        ({"interval_s": 0}, ("interval_s=0",)),
        ({"interval_s": -1.0}, ("interval_s=-1.0",)),
        ({"backoff_first_s": 0.0}, ("backoff_first_s=0.0",)),
        ({"backoff_cap_s": -2}, ("backoff_cap_s=-2",)),
        ({"adaptive": 1}, ("adaptive=1",)),
        ({"rng": 7}, ("rng",)),
    ],
)
def test_refill_wrong_options_are_refused_by_name(options: dict[str, Any], named: tuple[str, ...]) -> None:
    with pytest.raises(InvalidOption) as caught:
        refill(**options)
    for name in named:
        assert name in str(caught.value)


def test_refill_defaults_are_the_limits() -> None:
    policy = Refill(1, 1)
    assert policy.interval_ns == limits.PREWARM_INTERVAL_S * NS_PER_S
    assert policy.backoff_first_ns == limits.PREWARM_BACKOFF_FIRST_S * NS_PER_S
    assert policy.backoff_cap_ns == limits.PREWARM_BACKOFF_CAP_S * NS_PER_S
    assert policy.max_building == limits.PREWARM_BUILDING


# What is due


def test_builds_due_at_the_start_fill_to_the_minimum() -> None:
    policy = refill(3)
    assert policy.next_due_ns(0) == 0
    assert policy.builds_due(0, 100) == 3
    assert policy.builds_due(2, 100) == 1
    assert policy.builds_due(4, 100) == 0


def test_builds_under_way_count_and_are_bounded() -> None:
    policy = refill(5, max_building=2)
    assert policy.builds_due(0, 0) == 2
    policy.began()
    assert policy.builds_due(0, 0) == 1
    policy.began()
    assert policy.builds_due(0, 0) == 0
    assert policy.next_due_ns(0) == NEVER
    policy.built(0)
    assert policy.builds_due(1, 0) == 1
    assert policy.next_due_ns(1) == 0


def test_builds_beyond_the_bound_make_nothing_due() -> None:
    policy = refill(5, max_building=1)
    policy.began()
    policy.began()
    assert policy.builds_due(0, 0) == 0


def test_next_due_when_satisfied_is_never() -> None:
    policy = refill(2)
    assert filled(policy) == 2
    assert policy.next_due_ns(2) == NEVER


def test_taken_one_is_replaced_at_once() -> None:
    policy = refill(2)
    filled(policy)
    policy.taken(10)
    assert policy.next_due_ns(1) == 0
    assert policy.builds_due(1, 10) == 1


def test_taken_many_are_all_replaced_at_once() -> None:
    policy = refill(2)
    filled(policy)
    # Two were ready, three more wait.
    policy.taken(10, 5)
    assert policy.builds_due(-3, 10) == 5


def test_vanished_ones_are_replaced_once_an_interval() -> None:
    policy = refill(2)
    filled(policy)
    assert policy.builds_due(0, NS_PER_S - 1) == 0
    assert policy.next_due_ns(0) == NS_PER_S
    assert policy.builds_due(0, NS_PER_S) == 2
    filled(policy, NS_PER_S)
    # An origin that accepts and closes at once gets two more in the next interval, and not before.
    assert policy.builds_due(0, 2 * NS_PER_S - 1) == 0
    assert policy.builds_due(0, 2 * NS_PER_S) == 2


def test_vanished_ones_come_back_one_for_each_taken() -> None:
    policy = refill(4)
    filled(policy)
    policy.taken(10)
    assert policy.builds_due(0, 10) == 1


def test_callers_who_found_none_do_not_add_up() -> None:
    policy = refill(2)
    filled(policy)
    policy.taken(10, 1000)
    assert policy.builds_due(2, 10) == 0
    assert filled(policy, 20) == 2
    assert policy.builds_due(0, 30) == 0


def test_interval_skipped_by_time_is_made_up_once() -> None:
    policy = refill(2)
    filled(policy)
    assert filled(policy, 10 * NS_PER_S) == 2
    assert policy.builds_due(0, 10 * NS_PER_S) == 0
    assert policy.next_due_ns(0) == 11 * NS_PER_S


# When builds fail


def test_failure_pauses_within_its_bound() -> None:
    for rng, pause_ns in ((Longest(), NS_PER_S), (Shortest(), 1)):
        policy = refill(2, backoff_first_s=1.0, backoff_cap_s=60.0, rng=rng)
        assert policy.builds_due(0, 0) == 2
        policy.began()
        policy.failed(5)
        assert policy.builds_due(0, 5) == 0
        assert policy.next_due_ns(0) == 5 + pause_ns
        assert policy.builds_due(0, 5 + pause_ns - 1) == 0
        assert policy.builds_due(0, 5 + pause_ns) == 1


def test_pauses_double_up_to_the_cap() -> None:
    policy = refill(1, backoff_first_s=1.0, backoff_cap_s=6.0, rng=Longest())
    now_ns = 0
    pauses = []
    for _ in range(100):
        assert policy.builds_due(0, now_ns) == 1
        policy.began()
        policy.failed(now_ns)
        pauses.append(policy.next_due_ns(0) - now_ns)
        now_ns = policy.next_due_ns(0)
    assert pauses == [NS_PER_S, 2 * NS_PER_S, 4 * NS_PER_S] + [6 * NS_PER_S] * 97


def test_failures_of_one_pause_are_one() -> None:
    policy = refill(4, backoff_first_s=1.0, backoff_cap_s=60.0, rng=Longest())
    assert policy.builds_due(0, 0) == 4
    for _ in range(4):
        policy.began()
    policy.failed(0)
    assert policy.next_due_ns(0) == NEVER, "the others are still to end"
    for _ in range(3):
        policy.failed(NS_PER_S // 2)
    assert policy.next_due_ns(0) == NS_PER_S


def test_origin_that_is_down_is_tried_once_at_a_time_and_filled_when_it_is_back() -> None:
    policy = refill(4, rng=Shortest())
    policy.builds_due(0, 0)
    policy.began()
    policy.failed(0)
    assert policy.builds_due(0, 1) == 1
    policy.began()
    assert policy.builds_due(0, 1) == 0
    policy.built(2)
    assert policy.builds_due(1, 2) == 3


def test_success_ends_the_doubling() -> None:
    policy = refill(1, backoff_first_s=1.0, backoff_cap_s=60.0, rng=Longest())
    policy.builds_due(0, 0)
    for now_ns in (0, 10 * NS_PER_S, 20 * NS_PER_S):
        policy.began()
        policy.failed(now_ns)
    policy.began()
    policy.built(21 * NS_PER_S)
    policy.taken(22 * NS_PER_S)
    policy.began()
    policy.failed(22 * NS_PER_S)
    assert policy.next_due_ns(0) == 23 * NS_PER_S


def test_build_given_up_is_due_again_without_a_pause() -> None:
    policy = refill(2)
    filled(policy)
    policy.taken(10)
    assert policy.builds_due(1, 10) == 1
    policy.began()
    policy.abandoned()
    assert policy.builds_due(1, 10) == 1


def test_pauses_repeat_with_their_seed() -> None:
    def pauses(seed: int) -> list[int]:
        policy = refill(1, rng=random.Random(seed))
        found: list[int] = []
        for _ in range(5):
            policy.builds_due(0, 10**12 * len(found))
            policy.began()
            policy.failed(10**12 * len(found))
            found.append(policy.next_due_ns(0))
        return found

    assert pauses(1) == pauses(1) != pauses(2)


def test_build_that_ends_without_having_begun_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        refill().built(0)


# Demand


def test_target_without_adaption_is_the_minimum() -> None:
    policy = refill(2)
    filled(policy)
    policy.taken(0, 100)
    policy.builds_due(0, NS_PER_S)
    assert policy.target() == 2


def test_target_follows_demand_between_its_bounds() -> None:
    policy = refill(2, 8, adaptive=True)
    filled(policy)
    targets = []
    for second in range(30):
        policy.taken(second * NS_PER_S, 5)
        policy.builds_due(2, (second + 1) * NS_PER_S)
        targets.append(policy.target())
    assert targets == sorted(targets)
    assert (targets[0], targets[-1]) == (2, 5)
    for second in range(30, 60):
        policy.taken(second * NS_PER_S, 50)
        policy.builds_due(2, (second + 1) * NS_PER_S)
    assert policy.target() == 8
    policy.builds_due(2, 120 * NS_PER_S)
    assert policy.target() == 2


def test_target_after_silence_falls_as_if_each_interval_had_been_seen() -> None:
    often, seldom = refill(1, 100, adaptive=True), refill(1, 100, adaptive=True)
    for policy in (often, seldom):
        policy.builds_due(0, 0)
        policy.taken(0, 300)
    for second in range(1, 8):
        often.builds_due(0, second * NS_PER_S)
    seldom.builds_due(0, 7 * NS_PER_S)
    assert often.target() == seldom.target() == 16


def test_target_after_a_burst_falls_to_the_demand_and_not_one_above() -> None:
    policy = refill(1, 100, adaptive=True)
    policy.builds_due(0, 0)
    policy.taken(0, 300)
    for second in range(1, 60):
        policy.taken(second * NS_PER_S, 3)
    policy.builds_due(0, 60 * NS_PER_S)
    assert policy.target() == 3


def test_rising_demand_is_due_when_its_interval_ends() -> None:
    policy = refill(2, 8, adaptive=True)
    filled(policy)
    assert policy.next_due_ns(2) == NEVER
    policy.taken(10, 20)
    assert policy.next_due_ns(2) == NS_PER_S
    assert policy.builds_due(2, NS_PER_S) == 2
    assert policy.target() == 4


# The end of what was


def test_restart_forgets_builds_failures_and_demand() -> None:
    policy = refill(2, 8, adaptive=True, rng=Longest())
    policy.builds_due(0, 0)
    policy.taken(0, 100)
    policy.began()
    policy.began()
    policy.failed(2 * NS_PER_S)
    policy.restart()
    assert (policy.building, policy.target(), policy.next_due_ns(0)) == (0, 2, 0)
    assert policy.builds_due(0, 2 * NS_PER_S) == 2


def test_restart_draws_other_pauses_than_before_the_fork() -> None:
    policy = refill()
    before = policy._rng.getstate()
    policy.restart()
    assert policy._rng.getstate() != before
