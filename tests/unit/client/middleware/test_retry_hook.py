"""RetryHook: whom it asks, how often, and what it takes for an answer."""

from __future__ import annotations

from typing import Any

import pytest

from support.middleware import FakeExchange
from turbosock import RetryHook, limits
from turbosock.client.middleware import NOT_AGAIN
from turbosock.errors import InvalidOption


def again(hook: RetryHook, method: str = "GET", attempts: int = 1) -> int:
    exchange = FakeExchange(method=method)
    exchange.attempts = attempts
    return hook.again(exchange, 0)


@pytest.mark.parametrize(("delay_s", "expected"), [(None, NOT_AGAIN), (0, 0), (1.5, 1_500_000_000)])
def test_answer_in_seconds_becomes_nanoseconds(delay_s: float | None, expected: int) -> None:
    assert again(RetryHook(lambda exchange: delay_s)) == expected


@pytest.mark.parametrize("delay_s", [-1, float("nan"), float("inf"), limits.MAX_TIMEOUT_S + 1])
def test_answer_that_is_no_time_is_refused(delay_s: float) -> None:
    with pytest.raises(InvalidOption, match=r"decide\(\) returned"):
        again(RetryHook(lambda exchange: delay_s))


def test_hook_is_not_asked_once_its_attempts_are_used_up() -> None:
    hook = RetryHook(lambda exchange: 0, max_attempts=2)
    assert again(hook, attempts=1) == 0 and again(hook, attempts=2) == NOT_AGAIN


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_hook_is_asked_for_other_methods_where_it_is_told_so(method: str) -> None:
    assert again(RetryHook(lambda exchange: 0), method) == NOT_AGAIN
    assert again(RetryHook(lambda exchange: 0, any_method=True), method) == 0


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"decide": None}, "decide"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": limits.MAX_ATTEMPTS + 1}, "max_attempts"),
        ({"max_attempts": 1.5}, "max_attempts"),
        ({"any_method": 1}, "any_method=1"),
        ({"any_method": ("POST",)}, "any_method="),
    ],
)
def test_argument_that_cannot_work_is_refused_by_name(options: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidOption, match=name):
        RetryHook(**({"decide": lambda exchange: None} | options))
