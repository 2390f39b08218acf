"""RateLimit: turns, those that are given back, and what the link remembers."""

from __future__ import annotations

from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.middleware import FakeExchange
from turbosock.client.middleware import GO, RateLimit
from turbosock.errors import InvalidOption, LimitError
from turbosock.pool.rate_limiter import RateLimiter
from turbosock.reactor.clock import NS_PER_S, ManualClock


def made(clock: ManualClock, url: str = "http://example.com/") -> FakeExchange:
    """An exchange on that clock."""
    exchange = FakeExchange(url)
    exchange.clock = clock
    return exchange


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NS_PER_S)


def test_exchange_goes_when_its_turn_has_come(clock: ManualClock) -> None:
    link = RateLimit(RateLimiter(2, clock=clock))
    first, second = made(clock), made(clock)
    assert link.enter(first, clock.now_ns()) == GO
    due_ns = link.enter(second, clock.now_ns())
    assert due_ns == clock.now_ns() + NS_PER_S // 2
    # Asked before its time, it keeps its turn and takes no other.
    assert link.enter(second, clock.now_ns() + 1) == due_ns
    assert link.enter(second, due_ns) == GO
    assert link.limiter.stats().reserved == 2


def test_hosts_have_turns_of_their_own(clock: ManualClock) -> None:
    link = RateLimit(RateLimiter(1, clock=clock))
    first, other, third = (made(clock, url) for url in ("http://a/", "http://b/", "http://a/other"))
    assert link.enter(first, clock.now_ns()) == GO and link.enter(other, clock.now_ns()) == GO
    assert link.enter(third, clock.now_ns()) != GO


def test_turn_now_is_one_though_the_clock_went_on_meanwhile(clock: ManualClock) -> None:
    link, exchange = RateLimit(RateLimiter(1, clock=clock)), made(clock)
    before_ns = clock.now_ns()
    clock.advance(ns=10)
    assert link.enter(exchange, before_ns) == GO


def test_turn_comes_back_where_the_request_was_not_begun(clock: ManualClock) -> None:
    link = RateLimit(RateLimiter(1, clock=clock))
    first, second = made(clock), made(clock)
    link.enter(first, clock.now_ns())
    link.leave(first)
    assert link.limiter.stats().returned == 1
    assert link.enter(second, clock.now_ns()) == GO


def test_turn_is_used_where_the_request_was_begun(clock: ManualClock) -> None:
    link, exchange = RateLimit(RateLimiter(1, clock=clock)), made(clock)
    link.enter(exchange, clock.now_ns())
    exchange.begin_attempt()
    link.leave(exchange)
    link.leave(exchange)
    assert link.limiter.stats().returned == 0 and not link._turns
    # Another attempt takes another turn, and that one can come back.
    assert link.enter(exchange, clock.now_ns()) != GO
    link.leave(exchange)
    assert link.limiter.stats().returned == 1


def test_turn_that_was_refused_leaves_nothing_behind(clock: ManualClock) -> None:
    link = RateLimit(RateLimiter(1, max_wait_s=0, clock=clock))
    first, second = made(clock), made(clock)
    link.enter(first, clock.now_ns())
    with pytest.raises(LimitError, match="max_wait_s"):
        link.enter(second, clock.now_ns())
    link.leave(second)
    assert link.limiter.stats().returned == 0 and len(link._turns) == 1


def test_rate_and_burst_make_a_limiter() -> None:
    link = RateLimit(10, 3)
    # On a clock that stands, and cannot fill the bucket meanwhile.
    bucket = link.limiter._model
    assert [bucket.reserve(NS_PER_S) - NS_PER_S for _ in range(4)] == [0, 0, 0, NS_PER_S // 10]


@pytest.mark.parametrize("limiter", [0, -1, True, None, "2", float("nan")])
def test_limiter_that_is_none_is_refused(limiter: Any) -> None:
    with pytest.raises(InvalidOption):
        RateLimit(limiter)


@pytest.mark.parametrize("burst", [0, -1, 1.5])
def test_burst_that_is_no_count_is_refused(burst: Any) -> None:
    with pytest.raises(InvalidOption, match="burst"):
        RateLimit(1, burst)


def test_burst_with_a_limiter_is_refused() -> None:
    with pytest.raises(InvalidOption, match="burst=2 with a RateLimiter"):
        RateLimit(RateLimiter(1), 2)


@NEEDS_FORK
def test_child_of_a_fork_remembers_no_exchange(clock: ManualClock) -> None:
    link, exchange = RateLimit(RateLimiter(1, clock=clock)), made(clock)
    link.enter(exchange, clock.now_ns())

    def use() -> None:
        link.leave(exchange)
        assert link.limiter.stats().returned == 0
        # The parent's pace goes on.
        assert link.enter(exchange, clock.now_ns()) > clock.now_ns()

    in_child(use)
    assert len(link._turns) == 1
