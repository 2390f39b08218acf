"""AddressLimiter: rates of hosts, against a token bucket; memory under a flood of made-up addresses."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.pool.token_bucket import TokenBucket
from turbosock.reactor.clock import NS_PER_S
from turbosock.server.address_limiter import SWEEP_NS, AddressLimiter


@pytest.mark.parametrize("seed", seeds(10))
def test_limiter_agrees_with_a_token_bucket(seed: int) -> None:
    rng = random.Random(seed)
    rate, burst = rng.choice([1, 10, 125]), rng.randrange(1, 8)
    limiter = AddressLimiter(rate, burst, 100)
    bucket = TokenBucket(rate, burst)
    now_ns = 0
    for _ in range(500):
        now_ns += rng.randrange(2 * NS_PER_S // rate)
        if rng.random() < 0.2:
            now_ns += NS_PER_S
        for _ in range(rng.randrange(4)):
            allowed = bucket.next_ns(now_ns) == now_ns
            assert limiter.passes("a", now_ns) is allowed
            if allowed:
                bucket.reserve(now_ns)


def test_hosts_have_rates_of_their_own() -> None:
    limiter = AddressLimiter(1, 2, 100)
    assert [limiter.passes(host, 0) for host in "aaabbb"] == [True, True, False] * 2


def test_flood_of_made_up_hosts_is_bounded_and_does_not_push_out_others() -> None:
    limiter = AddressLimiter(1, 1000, 100)
    for _ in range(10):
        assert limiter.passes("player", 0)
    passed = sum(limiter.passes(f"10.0.{number >> 8}.{number & 255}", 1) for number in range(10_000))
    assert passed == 99 and len(limiter) == 100
    assert limiter.passes("player", 2)


def test_table_is_swept_now_and_then_and_not_for_each_stranger() -> None:
    limiter = AddressLimiter(1000, 1, 10)
    for number in range(10):
        assert limiter.passes(str(number), 0)
    assert not limiter.passes("late", 1)
    table = limiter._full_at
    # All of them are full again, but the next look is not due.
    assert not limiter.passes("late", SWEEP_NS - 1)
    assert limiter._full_at is table
    assert limiter.passes("late", SWEEP_NS + 1)
    assert len(limiter) == 1
