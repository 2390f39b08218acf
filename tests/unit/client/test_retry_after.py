"""Retry-After: both forms, all three dates, capped, and nothing guessed."""

from __future__ import annotations

import calendar
import random
import time

import pytest

from support.seeds import seeds
from turbosock.client.retry_after import http_date_s, retry_after_ns
from turbosock.reactor.clock import NS_PER_S

CAP_NS = 60 * NS_PER_S
# Sun, 06 Nov 1994 08:49:37 GMT, of RFC 9110 §5.6.7.
EXAMPLE_S = 784_111_777


def no_clock() -> float:
    raise AssertionError("seconds need no clock")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"0", 0), (b"1", 1), (b"59", 59), (b"60", 60), (b"61", 60), (b"007", 7), (b"0" * 50, 0), (b"0" * 50 + b"5", 5),
     (b"9" * 18, 60), (b"9" * 60_000, 60), (b"31536001", 60)],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_seconds_are_waited_up_to_the_cap(value: bytes, seconds: int) -> None:
    assert retry_after_ns(value, CAP_NS, no_clock) == seconds * NS_PER_S


@pytest.mark.parametrize(
    "value",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
)
@pytest.mark.parametrize(
    ("ahead_s", "wait_s"),
    [(10.0, 10.0), (0.25, 0.25), (60.0, 60.0), (3600.0, 60.0), (0.0, 0.0), (-1.0, 0.0), (-1e9, 0.0)],
)
def test_date_in_each_form_is_waited_for_up_to_the_cap(value: bytes, ahead_s: float, wait_s: float) -> None:
    delay_ns = retry_after_ns(value, CAP_NS, lambda: EXAMPLE_S - ahead_s)
    assert delay_ns == int(wait_s * NS_PER_S)


GARBAGE = [
    b"", b" ", b"-1", b"+1", b"1.5", b"1e3", b"0x10", b"5s", b"5, 10", b"5 ", "\u0665".encode(), b"\xb2", b"soon",
    b"1994-11-06T08:49:37Z", b"Sun, 6 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37",
    b"Sun, 06 Nov 94 08:49:37 GMT",
    b"Sun, 06 Nov 1994 08:49:37 UTC", b"Sun, 06 Nov 1994 08:49:37 +0000", b"sun, 06 Nov 1994 08:49:37 GMT",
    b"Sun, 06 nov 1994 08:49:37 GMT", b"Xxx, 06 Nov 1994 08:49:37 GMT", b"Sun, 06  Nov 1994 08:49:37 GMT",
    b"Sun, 31 Nov 1994 08:49:37 GMT", b"Sun, 00 Nov 1994 08:49:37 GMT", b"Sun, 29 Feb 2023 08:49:37 GMT",
    b"Sun, 06 Nov 1994 24:49:37 GMT", b"Sun, 06 Nov 1994 08:60:37 GMT", b"Sun, 06 Nov 1994 08:49:61 GMT",
    b"Sun, 06 Nov 1994 8:49:37 GMT", b"Sun, 06 Nov 1994 08:49 GMT", b"Sun, 06 Nov 0000 08:49:37 GMT",
    b"Sun, 06 Nov 1994 -8:49:37 GMT", b"Sun, 06 Nov +994 08:49:37 GMT", b"Sun, 06 Nov 1994 08:49:37 GMT, x",
    b"Sunday, 06-Nov-1994 08:49:37 GMT", b"Sun, 06-Nov-94 08:49:37 GMT", b"Sunday, 06-Nov 08:49:37 GMT",
    b"Sun Nov 6 08:49:37 1994", b"Sun Nov  16 08:49:37 1994", b"Sun Nov 06 08:49:37 1994 GMT",
    b"Sunday Nov  6 08:49:37 1994",
    b"Sun, 06 Nov 1994 08:49:37 GMT" * 1000, b",,,,,", b"     ",
]  # fmt: skip


@pytest.mark.parametrize("value", GARBAGE, ids=lambda value: repr(value)[:40])
def test_garbage_is_no_time(value: bytes) -> None:
    assert retry_after_ns(value, CAP_NS, lambda: EXAMPLE_S - 10.0) is None


@pytest.mark.parametrize(
    ("text", "this_year", "year"),
    [
        ("94", 1994, 1994),
        ("94", 2026, 1994),
        ("26", 2026, 2026),
        ("76", 2026, 2076),
        ("77", 2026, 1977),
        ("00", 1999, 1900),
    ],
)
def test_year_of_two_digits_is_at_most_fifty_ahead(text: str, this_year: int, year: int) -> None:
    date_s = http_date_s(f"Sunday, 06-Nov-{text} 08:49:37 GMT", this_year)
    assert date_s is not None
    assert time.gmtime(date_s).tm_year == year


def test_date_with_a_leap_second_or_a_leap_day_is_one() -> None:
    assert http_date_s("Sat, 31 Dec 2016 23:59:60 GMT", 2026) == calendar.timegm((2017, 1, 1, 0, 0, 0))
    assert http_date_s("Thu, 29 Feb 2024 00:00:00 GMT", 2026) == calendar.timegm((2024, 2, 29, 0, 0, 0))


@pytest.mark.parametrize("seed", seeds(5))
def test_date_written_in_any_form_reads_back(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        date_s = rng.randrange(0, 2**32)
        moment = time.gmtime(date_s)
        assert http_date_s(time.strftime("%a, %d %b %Y %H:%M:%S GMT", moment), 2026) == date_s
        assert http_date_s(time.strftime("%A, %d-%b-%y %H:%M:%S GMT", moment), moment.tm_year) == date_s
        assert http_date_s(time.asctime(moment), 2026) == date_s
