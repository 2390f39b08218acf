"""Chain: what it takes, whom it asks, and what becomes of what links raise or answer."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.middleware import FakeExchange, Raising, Spy
from turbosock import limits
from turbosock.client.middleware import NOT_AGAIN, Draft, Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.middleware.chained import Chained
from turbosock.errors import InvalidOption, LimitError, Origin, TurbosockError


def make_draft() -> Draft:
    return Draft("GET", "http://example.com/", None, None, None)


@pytest.mark.parametrize("links", [5, None, Middleware])
def test_links_that_are_no_iterable_are_refused(links: Any) -> None:
    with pytest.raises(InvalidOption, match="middleware"):
        Chain(links)


@pytest.mark.parametrize("link", [5, None, "log", Middleware])
def test_link_that_is_no_middleware_is_refused(link: Any) -> None:
    with pytest.raises(InvalidOption, match=r"middleware: .* is no Middleware"):
        Chain([Spy(), link])


def test_chain_is_as_long_as_its_limit_and_no_longer() -> None:
    assert len(Chain([Spy()] * limits.MAX_MIDDLEWARE).links) == limits.MAX_MIDDLEWARE
    with pytest.raises(InvalidOption, match="33 links; give 32 at most"):
        Chain([Spy()] * (limits.MAX_MIDDLEWARE + 1))


def test_chain_prepares_only_where_a_link_does() -> None:
    class Watcher(Middleware):
        def leave(self, exchange: Chained) -> None:
            pass

    assert not Chain([]).prepares and not Chain([Watcher()]).prepares
    assert Chain([Watcher(), Spy()]).prepares


def test_base_link_lets_everything_be() -> None:
    link, exchange, draft = Middleware(), FakeExchange(), make_draft()
    link.prepare(draft)
    assert draft.headers is None
    assert link.enter(exchange, 0) == 0 and link.again(exchange, 0) == NOT_AGAIN
    link.answered(exchange)
    link.leave(exchange)


def test_innermost_link_that_wants_another_attempt_has_its_way() -> None:
    class Again(Middleware):
        def __init__(self, delay_ns: int) -> None:
            self.delay_ns = delay_ns

        def again(self, exchange: Chained, now_ns: int) -> int:
            return self.delay_ns

    exchange = FakeExchange()
    assert Chain([Spy(), Again(5), Again(0), Again(NOT_AGAIN), Spy()]).again(exchange, 0) == (1, 0)
    assert Chain([Again(5), Again(NOT_AGAIN), Spy()]).again(exchange, 0) == (0, 5)
    assert Chain([Again(NOT_AGAIN)]).again(exchange, 0) is None


def test_link_that_wants_another_attempt_stays_entered_with_those_around_it() -> None:
    class StandingAgain(Spy):
        def again(self, exchange: Chained, now_ns: int) -> int:
            return 7

    assert Chain([Spy(), Middleware(), StandingAgain(), Spy()]).again(FakeExchange(), 0) == (2, 7)


def test_links_that_only_watch_are_not_entered() -> None:
    class Watcher(Middleware):
        def answered(self, exchange: Chained) -> None:
            pass

    class Leaver(Middleware):
        def leave(self, exchange: Chained) -> None:
            pass

    spy, leaver = Spy(), Leaver()
    chain = Chain([Watcher(), spy, Middleware(), leaver])
    assert chain.standing == (spy, leaver) and len(chain.links) == 4
    assert chain.answers and chain.repeats and not Chain([leaver]).answers and not Chain([leaver]).repeats


def walk(chain: Chain, step: str, exchange: FakeExchange) -> None:
    """One step of the first link."""
    if step == "prepare":
        chain.prepare(make_draft())
    elif step == "enter":
        chain.enter(0, exchange, 0)
    elif step == "answered":
        chain.answered(exchange)
    elif step == "again":
        chain.again(exchange, 0)
    else:
        chain.leave(0, exchange)


@pytest.mark.parametrize("step", ["prepare", "enter", "answered", "again"])
def test_error_of_ours_comes_out_as_it_is(step: str) -> None:
    error = LimitError("enough")
    with pytest.raises(LimitError) as caught:
        walk(Chain([Raising(step, error)]), step, FakeExchange())
    assert caught.value is error


@pytest.mark.parametrize("step", ["prepare", "enter", "answered", "again"])
def test_other_error_comes_out_as_one_of_ours_that_names_the_link(step: str) -> None:
    error = ZeroDivisionError("token=secret")
    with pytest.raises(TurbosockError, match=rf"Raising\.{step}\(\) raised ZeroDivisionError; mend") as caught:
        walk(Chain([Raising(step, error)]), step, FakeExchange())
    assert caught.value.code == "middleware_failed" and caught.value.origin is Origin.LOCAL
    assert caught.value.__cause__ is error
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("step", ["prepare", "enter", "answered", "again", "leave"])
def test_interrupt_comes_out_as_it_is(step: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        walk(Chain([Raising(step, KeyboardInterrupt())]), step, FakeExchange())


@pytest.mark.parametrize("error", [LimitError("enough"), ZeroDivisionError("a bug")])
def test_error_of_leave_is_logged(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    walk(Chain([Raising("leave", error)]), "leave", FakeExchange())
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and "Raising.leave() failed" in record.getMessage()
    assert record.exc_info is not None and record.exc_info[1] is error
