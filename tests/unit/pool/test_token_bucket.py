"""Turns at a steady rate: exact over any time, bounded, in order, and given back."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.errors import InvalidOption
from turbosock.pool.token_bucket import TokenBucket
from turbosock.reactor.clock import NS_PER_S

YEAR_NS = 365 * 86_400 * NS_PER_S


class NaiveBucket:
    """Tokens in fractions: the bucket as the textbooks have it, which may owe some."""

    def __init__(self, rate_per_s: float, burst: int) -> None:
        self.per_ns = Fraction(str(rate_per_s)) / NS_PER_S
        self.burst = Fraction(burst)
        self.level = self.burst
        self.then_ns = 0

    def reserve(self, now_ns: int) -> int:
        self.level = min(self.burst, self.level + (now_ns - self.then_ns) * self.per_ns) - 1
        self.then_ns = now_ns
        if self.level >= 0:
            return now_ns
        wait = -self.level / self.per_ns
        return now_ns - (-wait.numerator // wait.denominator)


def check_rate(used_ns: list[int], rate_per_s: float, burst: int) -> None:
    """No span of time holds more than its tokens and the burst; times are whole nanoseconds, so to one of them."""
    per_ns = Fraction(str(rate_per_s)) / NS_PER_S
    level = Fraction(burst)
    then_ns = 0
    for now_ns in sorted(used_ns):
        level = min(Fraction(burst), level + (now_ns - then_ns) * per_ns)
        level -= 1
        then_ns = now_ns
        assert level >= -per_ns, f"one too many at {now_ns}"


# One bucket


def test_bucket_full_lets_its_burst_go_at_once_and_the_others_at_the_rate() -> None:
    bucket = TokenBucket(10, 3)
    assert [bucket.reserve(1000) for _ in range(5)] == [1000, 1000, 1000, 100_001_000, 200_001_000]


def test_bucket_of_one_spaces_every_turn() -> None:
    bucket = TokenBucket(4)
    assert [bucket.reserve(0) for _ in range(3)] == [0, 250_000_000, 500_000_000]


def test_bucket_rested_holds_no_more_than_its_burst() -> None:
    bucket = TokenBucket(1, 2)
    now_ns = 1000 * NS_PER_S
    assert [bucket.reserve(now_ns) - now_ns for _ in range(3)] == [0, 0, NS_PER_S]


def test_next_turn_is_what_reserve_returns_and_takes_nothing() -> None:
    bucket = TokenBucket(10, 2)
    turns = [bucket.reserve(0) for _ in range(5)]
    bucket.give_back(turns[2])
    for now_ns in (0, 5, 150_000_000, 900_000_000):
        foreseen = bucket.next_ns(now_ns), bucket.next_ns(now_ns)
        assert foreseen == (bucket.reserve(now_ns),) * 2


def test_turn_is_told_in_whole_nanoseconds_rounded_up_and_never_drifts() -> None:
    bucket = TokenBucket(3)
    turns = [bucket.reserve(0) for _ in range(3001)]
    assert turns[1:4] == [333_333_334, 666_666_667, 1_000_000_000]
    assert turns[3000] == 1000 * NS_PER_S


@pytest.mark.parametrize("rate", [0.1, 0.7, 3, 7, 1 / 3, 99.9, 1e6 + 0.1, 999_999_937])
def test_bucket_after_a_million_years_is_as_exact_as_at_first(rate: float) -> None:
    bucket, late = TokenBucket(rate, 3), TokenBucket(rate, 3)
    start_ns = 1_000_000 * YEAR_NS
    first = [bucket.reserve(0) for _ in range(500)]
    assert [late.reserve(start_ns) - start_ns for _ in range(500)] == first


def test_bucket_kept_busy_for_centuries_loses_no_nanosecond() -> None:
    bucket = TokenBucket(0.7)
    # Seven turns take ten seconds; asked for one by one, each as soon as it may go.
    now_ns = due_ns = 500 * YEAR_NS
    for _ in range(7000):
        due_ns = bucket.reserve(due_ns)
    assert due_ns - now_ns == -(-6999 * 10 * NS_PER_S // 7)


def test_float_rate_means_the_decimal_number_that_it_is_written_as() -> None:
    bucket = TokenBucket(0.1)
    assert [bucket.reserve(0) for _ in range(4)] == [0, 10 * NS_PER_S, 20 * NS_PER_S, 30 * NS_PER_S]


@pytest.mark.parametrize("seed", seeds(40))
def test_bucket_agrees_with_tokens_counted_in_fractions(seed: int) -> None:
    chance = random.Random(seed)
    rate = chance.choice([1, 3, 0.7, 12.34, 1000 / 7, 1e8])
    burst = chance.randrange(1, 6)
    bucket, naive = TokenBucket(rate, burst), NaiveBucket(rate, burst)
    now_ns = chance.randrange(100 * YEAR_NS)
    last_ns = 0
    for _ in range(300):
        now_ns += int(chance.choice([0, 0.1, 1, 1, 2, burst + 1]) * chance.random() * NS_PER_S / rate)
        due_ns = bucket.reserve(now_ns)
        assert due_ns == naive.reserve(now_ns)
        assert due_ns >= last_ns, "a later caller goes first"
        last_ns = due_ns


# What is given back


def test_turn_last_given_back_is_as_never_taken() -> None:
    bucket = TokenBucket(10)
    turns = [bucket.reserve(0) for _ in range(4)]
    for turn in reversed(turns):
        bucket.give_back(turn)
        assert bucket.next_ns(0) == turn
    assert bucket.is_full(0)


def test_turns_given_back_in_order_all_come_back() -> None:
    bucket = TokenBucket(10, 2)
    turns = [bucket.reserve(0) for _ in range(5)]
    for turn in turns:
        bucket.give_back(turn)
    assert bucket.is_full(0)
    assert [bucket.reserve(0) for _ in range(5)] == turns


def test_turn_given_back_among_others_goes_to_the_next_who_asks_and_delays_nobody() -> None:
    bucket = TokenBucket(10)
    turns = [bucket.reserve(0) for _ in range(4)]
    bucket.give_back(turns[2])
    bucket.give_back(turns[1])
    assert [bucket.reserve(50) for _ in range(3)] == [turns[1], turns[2], turns[3] + NS_PER_S // 10]


def test_turn_given_back_while_others_wait_is_lost_once_its_time_has_passed() -> None:
    bucket = TokenBucket(10)
    turns = [bucket.reserve(0) for _ in range(3)]
    bucket.give_back(turns[1])
    assert bucket.reserve(turns[1] + 1) == turns[2] + NS_PER_S // 10


def test_token_put_back_does_not_make_the_bucket_hold_more_than_it_holds() -> None:
    bucket = TokenBucket(10, 2)
    first = bucket.reserve(0)
    # Half a token had come back: of the one that is put back the other half fits.
    assert bucket.reserve(50_000_000) == 50_000_000
    bucket.give_back(first)
    assert [bucket.reserve(50_000_000) for _ in range(2)] == [50_000_000, 150_000_000]


def test_tokens_put_back_share_what_room_there_was() -> None:
    bucket = TokenBucket(10, 3)
    turns = [bucket.reserve(0) for _ in range(2)]
    # A tenth of a token was missing; without the first two turns the bucket would have been full.
    bucket.reserve(190_000_000)
    for turn in turns:
        bucket.give_back(turn)
    assert bucket.full_ns() == 290_000_000


def test_room_for_what_is_put_back_is_not_that_of_a_time_before_the_bucket_was_full() -> None:
    bucket = TokenBucket(10, 3)
    bucket.reserve(0)
    bucket.reserve(99_000_000)
    first = bucket.reserve(10 * NS_PER_S)
    bucket.reserve(10 * NS_PER_S + 20_000_000)
    bucket.give_back(first)
    assert bucket.full_ns() == 10 * NS_PER_S + 120_000_000


def test_token_put_back_after_the_bucket_was_full_again_is_no_more() -> None:
    bucket = TokenBucket(10, 2)
    first = bucket.reserve(0)
    assert bucket.reserve(NS_PER_S) == NS_PER_S
    bucket.give_back(first)
    assert [bucket.reserve(NS_PER_S) for _ in range(2)] == [NS_PER_S, NS_PER_S + 100_000_000]


def test_returned_turns_are_bounded() -> None:
    bucket = TokenBucket(10)
    turns = [bucket.reserve(0) for _ in range(limits.MAX_RETURNED_TURNS + 10)]
    for turn in turns[:-1]:
        bucket.give_back(turn)
    again = [bucket.reserve(0) for _ in range(limits.MAX_RETURNED_TURNS + 1)]
    assert again == [*turns[: limits.MAX_RETURNED_TURNS], turns[-1] + NS_PER_S // 10]


@pytest.mark.parametrize("seed", seeds(150))
def test_turns_taken_and_given_back_at_random_never_exceed_the_rate(seed: int) -> None:
    chance = random.Random(seed)
    rate = chance.choice([1, 3, 0.7, 1000 / 7])
    burst = chance.randrange(1, 5)
    step_ns = NS_PER_S / rate
    bucket = TokenBucket(rate, burst)
    held: list[int] = []
    used: list[int] = []
    now_ns = 0
    for _ in range(150):
        now_ns += int(chance.choice([0, 0, 0.5, 1, 2]) * chance.random() * step_ns)
        used += [turn for turn in held if turn < now_ns and chance.random() < 0.5]
        held = [turn for turn in held if turn not in used]
        if held and chance.random() < 0.4:
            bucket.give_back(held.pop(chance.randrange(len(held))))
        else:
            held.append(bucket.reserve(now_ns))
            assert held[-1] >= now_ns
    check_rate(used + held, rate, burst)


# Settings


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 2e9, True, "5", None])
def test_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(InvalidOption, match="rate_per_s="):
        TokenBucket(rate)


@pytest.mark.parametrize("burst", [0, -1, 1.5, True, limits.MAX_LIMITER_COUNT + 1, None])
def test_burst_that_is_none_is_refused(burst: int) -> None:
    with pytest.raises(InvalidOption, match="burst="):
        TokenBucket(10, burst)


def test_burst_that_takes_more_than_a_year_to_come_is_refused_with_both_names() -> None:
    TokenBucket(0.001, 31_536)
    with pytest.raises(InvalidOption, match=r"burst=31537 at rate_per_s=0\.001"):
        TokenBucket(0.001, 31_537)
