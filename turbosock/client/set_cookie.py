"""Set-Cookie: one field value read as RFC 6265 section 5.2 says, with the bounds that browsers keep (6265bis).

`http.cookiejar` has a reader of its own, for Netscape's draft: it takes the first of repeated attributes and not the
last, drops a cookie for an attribute that it should ignore, and warns of some values. So cookies are read here, and the
jar is given what was read.

Invariants: the work is linear in the length of the field, which is bounded before any of it is read; nothing that a
server writes raises. Attributes that are not known, not valid or too long count as absent.
"""

from __future__ import annotations

from calendar import monthrange, timegm
from typing import Final

from turbosock import limits

# The latest time kept: the end of the year 9999, which is as far as the formats of jar files can write.
LATEST: Final = 253_402_300_799
# Anything before now: RFC 6265 section 5.2.2 asks for the earliest representable time.
_EARLIEST: Final = 0
_MAX_AGE_DIGITS: Final = 11

_CONTROLS: Final = frozenset(chr(code) for code in (*range(0x20), 0x7F) if code != 0x09)
# RFC 6265 section 5.1.1: what stands between the parts of a date. Letters, digits and ":" are not among them.
_DATE_DELIMITERS: Final = dict.fromkeys(
    (0x09, *range(0x20, 0x30), *range(0x3B, 0x41), *range(0x5B, 0x61), *range(0x7B, 0x7F)), " "
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


class SetCookie:
    """What one Set-Cookie field says.

    Attributes:
        name, value: as written, without white space at their ends; quotes are part of the value.
        domain: in lower case without its leading dot, or "".
        path: beginning with "/", or "" for the default.
        expires: seconds since the epoch, or None for a session cookie.
        secure, http_only: whether the attribute is there.
        same_site: its value, or "".
    """

    __slots__ = ("domain", "expires", "http_only", "name", "path", "same_site", "secure", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value
        self.domain = ""
        self.path = ""
        self.expires: int | None = None
        self.secure = False
        self.http_only = False
        self.same_site = ""

    def __repr__(self) -> str:
        return f"<SetCookie {self.name}>"


def parse_set_cookie(field: str, now_s: int) -> SetCookie | None:
    """The cookie of one field value, at most `MAX_SET_COOKIE_BYTES` long; None where it holds none.

    Args:
        now_s: the present in seconds since the epoch, which Max-Age counts from.
    """
    pair, _, rest = field.partition(";")
    name, equals, value = pair.partition("=")
    name = name.strip(" \t")
    value = value.strip(" \t")
    if not equals or not name or not _CONTROLS.isdisjoint(field):
        return None
    cookie = SetCookie(name, value)
    has_max_age = False
    for attribute in rest.split(";"):
        key, _, text = attribute.partition("=")
        key = key.strip(" \t").lower()
        text = text.strip(" \t")
        if len(text) > limits.MAX_COOKIE_ATTRIBUTE_BYTES:
            continue
        if key == "expires":
            date = None if has_max_age else parse_date(text)
            if date is not None:
                cookie.expires = date
        elif key == "max-age":
            age = _max_age(text)
            if age is not None:
                has_max_age = True
                cookie.expires = min(now_s + age, LATEST) if age > 0 else _EARLIEST
        elif key == "domain":
            # Section 5.2.3: an empty value is as good as none, and so is a lone dot.
            if text:
                cookie.domain = text.removeprefix(".").lower()
        elif key == "path":
            cookie.path = text if text.startswith("/") else ""
        elif key == "secure":
            cookie.secure = True
        elif key == "httponly":
            cookie.http_only = True
        elif key == "samesite":
            cookie.same_site = text
    return cookie


def _max_age(text: str) -> int | None:
    """The seconds of a Max-Age (section 5.2.2), or None where it is no number."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        return None
    if len(digits) < len(text):
        return -1
    digits = digits.lstrip("0")
    return LATEST if len(digits) > _MAX_AGE_DIGITS else int(digits or "0")


def parse_date(text: str) -> int | None:
    """The seconds since the epoch of a cookie's date (section 5.1.1), or None where it is no date."""
    time: tuple[int, int, int] | None = None
    day = month = year = -1
    for token in text.translate(_DATE_DELIMITERS).split(" "):
        if time is None:
            time = _time(token)
            if time is not None:
                continue
        if day < 0:
            day = _leading_number(token, 1, 2)
            if day >= 0:
                continue
        if month < 0 and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
            continue
        if year < 0:
            year = _leading_number(token, 2, 4)
    if 70 <= year <= 99:
        year += 1900
    elif 0 <= year <= 69:
        year += 2000
    if time is None or month < 0 or year < 1601 or not 1 <= day <= monthrange(year, month)[1]:
        return None
    hour, minute, second = time
    if hour > 23 or minute > 59 or second > 59:
        return None
    return timegm((year, month, day, hour, minute, second))


def _time(token: str) -> tuple[int, int, int] | None:
    """`hh:mm:ss`, each of one or two digits; what follows a character that is no digit is ignored."""
    parts = token.split(":", 2)
    if len(parts) != 3:
        return None
    hour, minute = (int(part) if part.isascii() and part.isdigit() and len(part) <= 2 else -1 for part in parts[:2])
    second = _leading_number(parts[2], 1, 2)
    return (hour, minute, second) if hour >= 0 and minute >= 0 and second >= 0 else None


def _leading_number(token: str, fewest: int, most: int) -> int:
    """The number that a token begins with, of so many digits and no more; -1 without one."""
    count = 0
    while count < len(token) and "0" <= token[count] <= "9":
        count += 1
        if count > most:
            return -1
    return int(token[:count]) if count >= fewest else -1
