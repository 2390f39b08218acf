"""Set-Cookie: read by RFC 6265 sections 5.1.1 and 5.2, in linear time, whatever is written."""

from __future__ import annotations

import random
from functools import partial

import pytest

from support.seeds import seeds
from support.steps import count_steps
from turbosock import limits
from turbosock.client.set_cookie import LATEST, parse_date, parse_set_cookie

NOW = 1_700_000_000


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        ("a=b", "a", "b"),
        ("  a \t=  b \t; x", "a", "b"),
        ("a=", "a", ""),
        ("a=b=c==", "a", "b=c=="),
        ('a="b c"', "a", '"b c"'),
        ("a=b,c", "a", "b,c"),
        ("a b=c", "a b", "c"),
        ("a=\xe9", "a", "\xe9"),
        ("a=b\tc", "a", "b\tc"),
        ("$Version=1", "$Version", "1"),
    ],
)
def test_set_cookie_name_and_value_are_taken_as_written(field: str, name: str, value: str) -> None:
    cookie = parse_set_cookie(field, NOW)
    assert cookie is not None
    assert (cookie.name, cookie.value) == (name, value)
    assert (cookie.domain, cookie.path, cookie.expires, cookie.secure, cookie.http_only) == ("", "", None, False, False)


@pytest.mark.parametrize(
    "field",
    ["", "a", "=b", " =b", ";a=b", "; Path=/", *[f"a=b{chr(code)}" for code in (*range(9), *range(10, 32), 127)]],
)
def test_set_cookie_without_a_pair_or_with_controls_is_none(field: str) -> None:
    assert parse_set_cookie(field, NOW) is None


@pytest.mark.parametrize(
    ("attributes", "attribute", "expected"),
    [
        ("Secure", "secure", True),
        ("sEcUrE = anything", "secure", True),
        ("HttpOnly", "http_only", True),
        ("SameSite=Lax", "same_site", "Lax"),
        ("Domain=Example.COM", "domain", "example.com"),
        ("Domain=.example.com", "domain", "example.com"),
        ("Domain=..example.com", "domain", ".example.com"),
        ("Domain=", "domain", ""),
        ("Domain=a; Domain=b", "domain", "b"),
        ("Domain=a; Domain=", "domain", "a"),
        ("Path=/a/b", "path", "/a/b"),
        ("Path=a", "path", ""),
        ("Path=/a; Path=", "path", ""),
        ("Path=/a; Path=/b", "path", "/b"),
        ("Max-Age=10", "expires", NOW + 10),
        ("Max-Age=0", "expires", 0),
        ("Max-Age=-5", "expires", 0),
        ("Max-Age=-", "expires", None),
        ("Max-Age=1x", "expires", None),
        ("Max-Age=+1", "expires", None),
        ("Max-Age=1_0", "expires", None),
        ("Max-Age=\xb2", "expires", None),
        ("Max-Age=", "expires", None),
        ("Max-Age=" + "9" * 1000, "expires", LATEST),
        ("Max-Age=" + "0" * 100 + "7", "expires", NOW + 7),
        ("Expires=Wed, 09 Jun 2021 10:18:14 GMT", "expires", 1_623_233_894),
        ("Expires=garbage", "expires", None),
        # Max-Age has precedence, wherever it stands; an invalid one has none.
        ("Max-Age=10; Expires=Wed, 09 Jun 2021 10:18:14 GMT", "expires", NOW + 10),
        ("Expires=Wed, 09 Jun 2021 10:18:14 GMT; Max-Age=10", "expires", NOW + 10),
        ("Expires=Wed, 09 Jun 2021 10:18:14 GMT; Max-Age=x", "expires", 1_623_233_894),
        # What is not known is nothing, what Netscape's reader makes of it included.
        ('Version=x; Port="80"; Discard; Comment; =; ;', "expires", None),
        ("Path=/" + "a" * limits.MAX_COOKIE_ATTRIBUTE_BYTES, "path", ""),
    ],
)
def test_set_cookie_attributes_are_read_by_the_rfc(attributes: str, attribute: str, expected: object) -> None:
    cookie = parse_set_cookie(f"a=b; {attributes}", NOW)
    assert cookie is not None
    assert getattr(cookie, attribute) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wed, 09 Jun 2021 10:18:14 GMT", 1_623_233_894),
        ("Wednesday, 09-Jun-21 10:18:14 GMT", 1_623_233_894),
        ("Wed Jun  9 10:18:14 2021", 1_623_233_894),
        ("2021 june 9 10:18:14", 1_623_233_894),
        ("9 Jun 2021 10:18:14 +0200", 1_623_233_894),
        ("9jun 9x 2021 10:18:14z", None),
        ("1 Jan 70 0:0:0", 0),
        ("1 Jan 69 0:0:0", 3_124_224_000),
        ("29 Feb 2020 00:00:00", 1_582_934_400),
        ("29 Feb 2021 00:00:00", None),
        ("31 Jun 2021 00:00:00", None),
        ("0 Jun 2021 00:00:00", None),
        ("1 Jan 1600 00:00:00", None),
        ("1 Jan 1601 00:00:00", -11_644_473_600),
        ("1 Jan 20211 00:00:00", None),
        ("1 Jan 2021 24:00:00", None),
        ("1 Jan 2021 00:60:00", None),
        ("1 Jan 2021 00:00:60", None),
        ("1 Jan 2021 000:00:00", None),
        ("1 Jan 2021 00:00", None),
        ("1 Jan 2021", None),
        ("1 2021 00:00:00", None),
        ("Jan 2021 00:00:00", None),
        ("", None),
        ("\xb2 Jan 2021 00:00:00", None),
    ],
)
def test_set_cookie_dates_are_read_by_the_rfc(text: str, expected: int | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    "unit",
    ["a", "=", ";", " ", ";a=b", "; Expires=1 ", ":", "1", "1:", "1:1:1 ", ";Domain=.", "; Max-Age=9", "\t", '"'],
)
def test_set_cookie_of_double_length_takes_double_the_work(unit: str) -> None:
    for start in ("", "a=b; Expires=", "a=b;"):
        once, twice = (count_steps(partial(parse_set_cookie, start + unit * count, NOW)) for count in (500, 1000))
        assert twice <= 2.2 * once + 100


@pytest.mark.parametrize("seed", seeds(50))
def test_set_cookie_of_chance_never_raises(seed: int) -> None:
    rng = random.Random(seed)
    pieces = [
        "a",
        "=",
        ";",
        " ",
        "\t",
        "Expires",
        "Max-Age",
        "Domain",
        "Path",
        "-",
        ".",
        ":",
        "9",
        "Jun",
        "\xff",
        "\0",
        "/",
    ]
    for _ in range(50):
        parse_set_cookie("".join(rng.choices(pieces, k=25)), NOW)
