"""When a stream is connected to again: settings that are refused, and pauses within their bounds."""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.seeds import seeds
from turbosock.client.reconnect import Reconnection, ReconnectPolicy
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"max_first_attempts": 1.5}, "max_first_attempts"),
        ({"backoff_first_s": 0}, "backoff_first_s"),
        ({"backoff_cap_s": "1"}, "backoff_cap_s"),
        ({"max_retry_s": -1}, "max_retry_s"),
        ({"backoff_first_s": 40}, "backoff_cap_s"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        ReconnectPolicy(**options)


@pytest.mark.parametrize("seed", seeds(3))
def test_pauses_keep_to_their_bounds(seed: int) -> None:
    rng = random.Random(seed)
    policy = ReconnectPolicy(backoff_first_s=0.5, backoff_cap_s=8, max_retry_s=100)
    reconnection = Reconnection(policy)
    now_ns = 0
    for _ in range(500):
        reconnection.failures = rng.choice((0, 0, 1, 2, 5, 60, 1000))
        asked_ns = rng.choice((0, 0, NS_PER_S, 10**18))
        kept_ns = min(asked_ns, 100 * NS_PER_S)
        pause_ns = reconnection.pause_ns(asked_ns, now_ns)
        assert kept_ns <= pause_ns <= kept_ns + 8 * NS_PER_S
        if reconnection.failures <= 1:
            assert pause_ns <= kept_ns + NS_PER_S // 2
        now_ns += rng.randrange(2 * NS_PER_S)


def test_attempts_are_counted_apart_before_and_after_the_first_opening() -> None:
    reconnection = Reconnection(ReconnectPolicy(max_attempts=3, max_first_attempts=1))
    reconnection.failures = 1
    assert reconnection.is_over
    reconnection.was_open = True
    assert not reconnection.is_over
    reconnection.failures = 3
    assert reconnection.is_over


def test_attempts_without_a_limit_are_never_over() -> None:
    reconnection = Reconnection(ReconnectPolicy(max_first_attempts=None))
    reconnection.failures = 10**9
    assert not reconnection.is_over
