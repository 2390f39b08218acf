"""Turns for each host by itself or for all together: waits, bounds, forks and threads."""

from __future__ import annotations

import sys
import threading

import pytest

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from turbosock import limits
from turbosock.errors import InvalidOption, LimitError
from turbosock.pool.origin_pool import OriginKey
from turbosock.pool.rate_limiter import RateLimiter
from turbosock.reactor.clock import ManualClock


@pytest.mark.parametrize("wait_s", [-1, True, "1", None, float("nan"), limits.MAX_TIMEOUT_S + 1])
def test_max_wait_that_is_none_is_refused(wait_s: float) -> None:
    with pytest.raises(InvalidOption, match="max_wait_s="):
        RateLimiter(10, max_wait_s=wait_s)


def test_max_hosts_for_one_bucket_is_refused_with_both_names() -> None:
    with pytest.raises(InvalidOption, match="max_hosts=5 with per_host=False"):
        RateLimiter(10, per_host=False, max_hosts=5)


@pytest.mark.parametrize("option", [{"max_hosts": 0}, {"max_hosts": "5"}, {"per_host": 1}, {"burst": 0}])
def test_limiter_option_of_the_wrong_kind_is_refused_by_name(option: dict[str, int]) -> None:
    with pytest.raises(InvalidOption, match=f"{next(iter(option))}="):
        RateLimiter(10, **option)  # type: ignore[arg-type]  # wrong on purpose


# Hosts


def test_hosts_have_a_rate_each() -> None:
    limiter = RateLimiter(10, clock=ManualClock())
    assert [limiter.reserve(host) for host in "aabb"] == [0, 100_000_000, 0, 100_000_000]
    assert limiter.stats() == (2, 4, 2, 0, 0)


def test_one_rate_for_all_hosts() -> None:
    limiter = RateLimiter(10, per_host=False, clock=ManualClock())
    assert [limiter.reserve(host) for host in "abc"] == [0, 100_000_000, 200_000_000]
    limiter.give_back("c", 200_000_000)
    assert limiter.reserve("a") == 200_000_000
    assert limiter.stats() == (1, 4, 3, 1, 0)


def test_turn_too_late_is_refused_and_takes_nothing() -> None:
    clock = ManualClock()
    limiter = RateLimiter(10, max_wait_s=0.2, clock=clock)
    assert [limiter.reserve("a") for _ in range(3)] == [0, 100_000_000, 200_000_000]
    for _ in range(5):
        with pytest.raises(LimitError, match=r"'a' is 0\.3 s away, more than max_wait_s=0\.2: raise"):
            limiter.reserve("a")
    clock.advance(0.1)
    assert limiter.reserve("a") == 300_000_000
    assert limiter.stats().refused == 5


def test_no_wait_at_all_is_a_setting() -> None:
    clock = ManualClock()
    limiter = RateLimiter(10, max_wait_s=0, clock=clock)
    assert limiter.reserve("a") == 0
    with pytest.raises(LimitError):
        limiter.reserve("a")
    assert clock.advance(0.1) == limiter.reserve("a")


def test_hosts_beyond_the_bound_take_the_place_of_full_buckets_only() -> None:
    clock = ManualClock()
    limiter = RateLimiter(10, max_hosts=2, clock=clock)
    assert [limiter.reserve(host) for host in "aab"] == [0, 100_000_000, 0]
    with pytest.raises(LimitError, match=r"no turn for 'c', because max_hosts=2 others"):
        limiter.reserve("c")
    clock.advance(0.1)
    # The bucket of b is full again, that of a is not.
    assert limiter.reserve("c") == 100_000_000
    assert limiter.reserve("a") == 200_000_000
    assert limiter.stats() == (2, 5, 2, 0, 1)


def test_turn_given_back_may_make_room_for_another_host() -> None:
    limiter = RateLimiter(10, max_hosts=1, clock=ManualClock())
    due_ns = limiter.reserve("a")
    with pytest.raises(LimitError):
        limiter.reserve("b")
    limiter.give_back("a", due_ns)
    assert limiter.reserve("b") == 0
    limiter.give_back("a", due_ns)
    assert limiter.stats() == (1, 2, 0, 2, 1)


def test_refusal_shows_no_credentials() -> None:
    limiter = RateLimiter(10, max_wait_s=0, clock=ManualClock())
    for host in ("user:secret@a", OriginKey("http", "secret@a", 80), ("secret", 1)):
        limiter.reserve(host)
        with pytest.raises(LimitError) as caught:
            limiter.reserve(host)
        assert "secret" not in str(caught.value)


@NEEDS_FORK
def test_child_of_a_fork_goes_on_at_the_pace_whoever_held_the_lock() -> None:
    limiter = RateLimiter(10, clock=ManualClock())
    limiter.reserve("a")

    def use() -> None:
        assert limiter.reserve("a") == 100_000_000

    with held_elsewhere(limiter._lock):
        in_child(use)
    assert limiter.reserve("a") == 100_000_000


# Threads


def test_turns_of_many_threads_are_all_different() -> None:
    limiter = RateLimiter(1000, max_wait_s=10, clock=ManualClock())
    turns: list[list[int]] = [[] for _ in range(8)]
    start = threading.Barrier(8)

    def take(mine: list[int]) -> None:
        start.wait(30)
        for _ in range(250):
            turn = limiter.reserve("a")
            if len(mine) % 5 == 4:
                limiter.give_back("a", turn)
                turn = limiter.reserve("a")
            mine.append(turn)

    threads = [threading.Thread(target=take, args=(mine,)) for mine in turns]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert sorted(turn for mine in turns for turn in mine) == [number * 1_000_000 for number in range(2000)]
