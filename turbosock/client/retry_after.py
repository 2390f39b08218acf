"""Retry-After: how long an answer asks to be left alone, in seconds or until a date (RFC 9110 §10.2.3).

A date comes in any of the three forms of RFC 9110 §5.6.7, the two obsolete ones included. The names of days are not
held against their dates: a server whose calendar is off still says when.

Invariant: the time is never negative; what is not exactly one of the forms is None, not a guess.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Final

from turbosock.reactor.clock import NS_PER_S

_MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS: Final = frozenset(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
_LONG_DAYS: Final = frozenset(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"))
# The longest form has 33 characters: "Wednesday, 01-Jan-25 00:00:00 GMT".
_MAX_DATE_LENGTH: Final = 33
# RFC 850 years: one that seems more than so far ahead is a century ago.
_MAX_YEARS_AHEAD: Final = 50


def retry_after_ns(value: bytes, cap_ns: int, wall_clock: Callable[[], float] = time.time) -> int | None:
    """The time to wait in nanoseconds, at most `cap_ns`; 0 for a date that has passed, None for what is neither form.

    Args:
        value: of the field.
        cap_ns: what a longer wait is cut to.
        wall_clock: tells the date as `time.time` does; called for dates only.
    """
    if value.isdigit():
        # Without leading zeros, so that length tells size: int() of a very long text takes quadratic time.
        digits = value.lstrip(b"0")
        return cap_ns if len(digits) > len(str(cap_ns)) else min(int(digits or b"0") * NS_PER_S, cap_ns)
    if len(value) > _MAX_DATE_LENGTH or not value.isascii():
        return None
    now_s = wall_clock()
    date_s = http_date_s(value.decode("ascii"), time.gmtime(now_s).tm_year)
    if date_s is None:
        return None
    return max(0, min(int((date_s - now_s) * NS_PER_S), cap_ns))


def http_date_s(text: str, this_year: int) -> int | None:
    """The time of an HTTP-date in seconds since 1970; None where the text is none.

    Args:
        this_year: decides the century of a year with two digits.
    """
    words = text.split(" ")
    if len(words) == 6 and words[0][-1:] == "," and words[5] == "GMT":
        # Sun, 06 Nov 1994 08:49:37 GMT
        if words[0][:-1] not in _DAYS:
            return None
        return _time_s(_number(words[3], 4), words[2], _number(words[1], 2), words[4])
    if len(words) == 4 and words[0][-1:] == "," and words[3] == "GMT":
        # Sunday, 06-Nov-94 08:49:37 GMT
        parts = words[1].split("-")
        if words[0][:-1] not in _LONG_DAYS or len(parts) != 3:
            return None
        year = _number(parts[2], 2)
        if year >= 0:
            year += this_year - this_year % 100
            if year > this_year + _MAX_YEARS_AHEAD:
                year -= 100
        return _time_s(year, parts[1], _number(parts[0], 2), words[2])
    if len(words) == 6 and words[2] == "":
        # Sun Nov  6 08:49:37 1994: a day below ten has a space for its first digit.
        del words[2]
        day = _number(words[2], 1)
    elif len(words) == 5:
        day = _number(words[2], 2)
    else:
        return None
    return _time_s(_number(words[4], 4), words[1], day, words[3]) if words[0] in _DAYS else None


def _number(text: str, digits: int) -> int:
    """A number of exactly so many digits, or -1."""
    return int(text) if len(text) == digits and text.isascii() and text.isdigit() else -1


def _time_s(year: int, month_name: str, day: int, clock: str) -> int | None:
    """The seconds since 1970 of a date in GMT; None where there is no such time."""
    month = _MONTHS.index(month_name) if month_name in _MONTHS else 0
    parts = clock.split(":")
    if year < 1 or not month or len(parts) != 3 or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return None
    hour, minute, second = _number(parts[0], 2), _number(parts[1], 2), _number(parts[2], 2)
    # 60 is a leap second.
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 60):
        return None
    return calendar.timegm((year, month, day, hour, minute, second))
