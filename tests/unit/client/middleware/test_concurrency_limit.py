"""ConcurrencyLimit: permits, waits, the limiter's end, and what the link remembers."""

from __future__ import annotations

import gc
import weakref
from itertools import pairwise
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.middleware import FakeExchange
from turbosock.client.middleware import GO, UNTIL_WOKEN, ConcurrencyLimit
from turbosock.client.middleware.concurrency_limit import host_of
from turbosock.errors import ClientClosed, InvalidOption, LimitError, PoolTimeout
from turbosock.pool.limiter import ConcurrencyLimiter


def test_exchange_goes_while_there_are_permits_and_waits_when_there_are_none() -> None:
    link = ConcurrencyLimit(2)
    first, second, third = (FakeExchange() for _ in range(3))
    assert [link.enter(exchange, 0) for exchange in (first, second, third)] == [GO, GO, UNTIL_WOKEN]
    assert link.enter(third, 0) == UNTIL_WOKEN and third.wakes == 0
    link.leave(first)
    assert third.wakes == 1 and link.enter(third, 0) == GO
    link.leave(second)
    link.leave(third)
    assert link.limiter.stats()[:3] == (0, 0, 0) and not link._tickets


def test_permits_go_in_the_order_of_asking() -> None:
    link = ConcurrencyLimit(1)
    exchanges = [FakeExchange() for _ in range(4)]
    assert [link.enter(exchange, 0) for exchange in exchanges] == [GO] + [UNTIL_WOKEN] * 3
    for exchange, follower in pairwise(exchanges):
        link.leave(exchange)
        assert [other.wakes for other in exchanges].count(1) == exchanges.index(follower)
        assert link.enter(follower, 0) == GO


def test_exchange_that_leaves_the_line_gives_its_place_up() -> None:
    link = ConcurrencyLimit(1)
    first, second, third = (FakeExchange() for _ in range(3))
    for exchange in (first, second, third):
        link.enter(exchange, 0)
    second.error = PoolTimeout("too long")
    link.leave(second)
    link.leave(first)
    assert (second.wakes, third.wakes) == (0, 1)
    assert link.limiter.stats().timed_out == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.com/a", "example.com:80"),
        ("https://example.com/", "example.com:443"),
        ("http://user:pw@example.com:8080/", "example.com:8080"),
        ("http://[::1]:81/", "::1:81"),
        ("http+unix://%2Frun%2Fapp.sock/path", "unix:/run/app.sock"),
    ],
)
def test_host_is_its_name_and_port(url: str, host: str) -> None:
    assert host_of(FakeExchange(url)) == host


def test_leave_without_enter_and_twice_does_nothing() -> None:
    link, exchange = ConcurrencyLimit(1), FakeExchange()
    link.leave(exchange)
    link.enter(exchange, 0)
    link.leave(exchange)
    link.leave(exchange)
    assert link.limiter.stats().granted == 1 and link.limiter.in_flight == 0


def test_enter_that_was_refused_is_left_all_the_same() -> None:
    link = ConcurrencyLimit(ConcurrencyLimiter(1, max_hosts=1))
    first, other = FakeExchange("http://a/"), FakeExchange("http://b/")
    link.enter(first, 0)
    with pytest.raises(LimitError, match="max_hosts"):
        link.enter(other, 0)
    link.leave(other)
    assert len(link._tickets) == 1
    link.leave(first)
    assert link.enter(other, 0) == GO


def test_closed_limiter_refuses_and_sends_those_who_wait_away() -> None:
    link = ConcurrencyLimit(1)
    holder, waiter = FakeExchange(), FakeExchange()
    link.enter(holder, 0)
    link.enter(waiter, 0)
    assert link.limiter.close() == 1
    assert (holder.cancels, waiter.wakes) == (0, 1)
    with pytest.raises(ClientClosed, match="was closed while the request stood in its line"):
        link.enter(waiter, 0)
    with pytest.raises(ClientClosed):
        link.enter(FakeExchange(), 0)
    link.leave(waiter)
    link.leave(holder)
    assert link.limiter.close() == 0


def test_closed_limiter_cancels_those_who_hold_a_permit_where_asked() -> None:
    link = ConcurrencyLimit(1)
    holder, waiter = FakeExchange(), FakeExchange()
    link.enter(holder, 0)
    link.enter(waiter, 0)
    link.limiter.close(cancel=True)
    assert (holder.cancels, waiter.cancels) == (1, 0)


def test_tickets_are_used_again() -> None:
    link = ConcurrencyLimit(1)
    for _ in range(5):
        exchange = FakeExchange()
        link.enter(exchange, 0)
        link.leave(exchange)
    assert len(link._free) == 1 and link._free[0].exchange is None


def test_link_does_not_keep_an_exchange_alive() -> None:
    link, exchange = ConcurrencyLimit(1), FakeExchange()
    link.enter(exchange, 0)
    ticket = link._tickets[id(exchange)]
    seen = weakref.ref(exchange)
    del exchange
    gc.collect()
    assert seen() is None
    # What comes of its ticket then concerns nobody.
    ticket.on_granted()
    ticket.cancel()


@pytest.mark.parametrize("limiter", [0, -1, True, None, 1.5, "2"])
def test_limiter_that_is_none_is_refused(limiter: Any) -> None:
    with pytest.raises(InvalidOption):
        ConcurrencyLimit(limiter)


def test_limiter_may_be_shared_by_links() -> None:
    limiter = ConcurrencyLimiter(1)
    one, other = ConcurrencyLimit(limiter), ConcurrencyLimit(limiter)
    first, second = FakeExchange(), FakeExchange()
    assert one.enter(first, 0) == GO and other.enter(second, 0) == UNTIL_WOKEN
    one.leave(first)
    assert second.wakes == 1 and other.enter(second, 0) == GO


@NEEDS_FORK
def test_child_of_a_fork_has_every_permit() -> None:
    link, holder = ConcurrencyLimit(1), FakeExchange()
    link.enter(holder, 0)

    def use() -> None:
        exchange = FakeExchange()
        assert link.enter(exchange, 0) == GO
        link.leave(holder)
        link.leave(exchange)
        assert link.limiter.in_flight == 0

    in_child(use)
    assert link.limiter.in_flight == 1 and link.enter(holder, 0) == GO
