"""Chained: which links are left, when another attempt is asked for, and which waits cannot end in time."""

from __future__ import annotations

from typing import Any

import pytest

from support.middleware import TIMEOUTS, FakeExchange, Spy
from turbosock import Timeouts, limits
from turbosock.client.middleware import NOT_AGAIN, UNTIL_WOKEN, Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.middleware.chained import Chained, broken_off
from turbosock.connection.source import BodySource, BufferSource
from turbosock.errors import (
    Cancelled,
    ClientClosed,
    ConnectError,
    InvalidOption,
    PoolTimeout,
    TotalTimeout,
    TurbosockError,
    WriteError,
)
from turbosock.reactor.clock import NS_PER_S


class Again(Middleware):
    """Always wants another attempt, after `delay_ns`."""

    def __init__(self, delay_ns: int = 0) -> None:
        self.delay_ns = delay_ns
        self.asked = 0

    def again(self, exchange: Chained, now_ns: int) -> int:
        self.asked += 1
        return self.delay_ns


def entered(exchange: FakeExchange, chain: Chain) -> FakeExchange:
    """The exchange within all links."""
    for index in range(len(chain.links)):
        exchange._entered = index + 1
        chain.enter(index, exchange, 0)
    return exchange


def test_links_are_left_from_the_innermost_to_the_first_that_is_named() -> None:
    calls: list[str] = []
    chain = Chain([Spy("a", calls), Spy("b", calls), Spy("c", calls)])
    exchange = entered(FakeExchange(), chain)
    calls.clear()
    exchange.leave_links(chain, 1)
    assert calls == ["c.leave", "b.leave"]
    exchange.leave_links(chain)
    exchange.leave_links(chain)
    assert calls == ["c.leave", "b.leave", "a.leave"]


def test_interrupt_while_a_link_is_left_has_it_left_again_and_the_others_too() -> None:
    calls: list[str] = []

    class Interrupted(Spy):
        def leave(self, exchange: Chained) -> None:
            calls.append("begun")
            if calls.count("begun") == 1:
                raise KeyboardInterrupt
            super().leave(exchange)

    chain = Chain([Spy("a", calls), Interrupted("b", calls)])
    exchange = entered(FakeExchange(), chain)
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        exchange.leave_links(chain)
    assert calls == ["begun", "begun", "b.leave", "a.leave"]


def test_link_that_leads_back_while_it_is_left_is_left_once() -> None:
    calls: list[str] = []

    class Nested(Spy):
        def leave(self, exchange: Chained) -> None:
            super().leave(exchange)
            exchange.leave_links(chain)

    chain = Chain([Spy("a", calls), Nested("b", calls)])
    exchange = entered(FakeExchange(), chain)
    calls.clear()
    exchange.leave_links(chain)
    assert calls == ["b.leave", "a.leave"]


# Another attempt


def ask(link: Again, failure: TurbosockError | None = None, source: BodySource | None = None, **state: Any) -> Any:
    """What comes of asking for another attempt of an exchange in this state."""
    exchange = FakeExchange()
    exchange.attempts = 1
    for name, value in state.items():
        setattr(exchange, name, value)
    return exchange.asked_again(Chain([link]), failure, source, exchange.now_ns())


@pytest.mark.parametrize("failure", [None, ConnectError("refused"), PoolTimeout("busy")])
def test_link_is_asked_after_an_answer_and_after_a_failure(failure: TurbosockError | None) -> None:
    assert ask(Again(7), failure) == (0, 7)


@pytest.mark.parametrize(
    "failure",
    [Cancelled("c"), ClientClosed("c"), InvalidOption("i"), TotalTimeout("t"), broken_off(ZeroDivisionError())],
    ids=lambda failure: failure.code,
)
def test_link_is_not_asked_after_what_no_attempt_can_mend(failure: TurbosockError) -> None:
    link = Again()
    assert ask(link, failure) is None and link.asked == 0


@pytest.mark.parametrize("state", [{"cancelled": True}, {"attempts": limits.MAX_ATTEMPTS}])
def test_link_is_not_asked_where_no_attempt_may_follow(state: dict[str, Any]) -> None:
    link = Again()
    assert ask(link, **state) is None and link.asked == 0


def test_link_is_not_asked_where_the_body_cannot_be_sent_again() -> None:
    link = Again()
    assert ask(link, source=BodySource(-1, replayable=False)) is None and link.asked == 0


def test_body_is_at_its_beginning_where_another_attempt_follows() -> None:
    source = BufferSource(b"body")
    assert source.next_block() is not None and source.next_block() is None
    assert ask(Again(), source=source) == (0, 0)
    assert source.next_block() is not None


def test_body_that_cannot_be_rewound_after_all_is_a_write_error() -> None:
    class Closed(BodySource):
        def rewind(self) -> None:
            raise ValueError("seek of closed file")

    with pytest.raises(WriteError, match="cannot be sent again: ValueError: seek of closed file"):
        ask(Again(), source=Closed(-1, replayable=True))


@pytest.mark.parametrize(("left_ns", "expected"), [(0, None), (1, (0, 0))])
def test_attempt_that_would_begin_at_the_deadline_is_not_made(left_ns: int, expected: object) -> None:
    link = Again(TIMEOUTS.total_ns)
    assert ask(link) is None and link.asked == 1
    link.delay_ns = TIMEOUTS.total_ns - 1
    assert ask(link) == (0, TIMEOUTS.total_ns - 1)
    assert ask(Again(), deadline_ns=NS_PER_S + left_ns) == expected


def test_exchange_that_a_link_cancels_when_it_is_asked_is_not_tried_again() -> None:
    class Canceller(Again):
        def again(self, exchange: Chained, now_ns: int) -> int:
            exchange.cancelled = True
            return 0

    assert ask(Canceller()) is None


def test_no_link_wants_another_attempt() -> None:
    assert ask(Again(NOT_AGAIN)) is None


# Waits


def test_wait_that_ends_in_time_is_let_be() -> None:
    exchange = FakeExchange()
    now_ns = exchange.now_ns()
    exchange.check_wait(now_ns + 99, now_ns + 100, now_ns)
    exchange.check_wait(UNTIL_WOKEN, now_ns + 100, now_ns)


@pytest.mark.parametrize(("due_ns", "now_ns"), [(100, 0), (UNTIL_WOKEN, 100), (50, 100), (200, 0)])
def test_wait_that_cannot_end_in_time_is_told_by_which_limit(due_ns: int, now_ns: int) -> None:
    exchange = FakeExchange()
    exchange.timeouts = Timeouts(pool_s=3, total_s=4)
    exchange.deadline_ns = 101
    with pytest.raises(PoolTimeout, match="pool_s=3"):
        exchange.check_wait(due_ns, 100, now_ns)
    exchange.deadline_ns = 100
    with pytest.raises(TotalTimeout, match="total deadline of 4 s"):
        exchange.check_wait(due_ns, 100, now_ns)
