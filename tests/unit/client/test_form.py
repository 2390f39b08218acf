"""Urlencoded forms, against what the standard library reads in them."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from support.seeds import seeds
from turbosock.client.form import form_fields, urlencoded
from turbosock.errors import InvalidOption


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({}, b""),
        ({"a": "b c", "d": "&=+%/~"}, b"a=b+c&d=%26%3D%2B%25%2F~"),
        ([("a", "1"), ("a", "2")], b"a=1&a=2"),
        ({"a": ["x", "y"], "b": ("z",), "c": []}, b"a=x&a=y&b=z"),
        ({"a": None, "b": ["x", None]}, b"b=x"),
        ({"a": b"\xff\x00", b"b": "ä"}, b"a=%FF%00&b=%C3%A4"),
        ({"a": 1, "b": 2.5, "c": True, "d": False, 5: ""}, b"a=1&b=2.5&c=true&d=false&5="),
        ((("a", "b"),), b"a=b"),
    ],
)
def test_form_is_encoded_as_it_says(data: object, body: bytes) -> None:
    assert urlencoded(data) == body


@pytest.mark.parametrize("seed", seeds(20))
def test_form_of_any_text_is_what_urllib_reads(seed: int) -> None:
    chance = random.Random(seed)

    def text() -> str:
        return "".join(chr(chance.choice([chance.randrange(128), chance.randrange(0xD800)])) for _ in range(8))

    pairs = [(text(), text()) for _ in range(chance.randrange(1, 6))]
    body = urlencoded(pairs).decode("ascii")
    assert body == urlencode(pairs)
    assert parse_qsl(body, keep_blank_values=True, strict_parsing=True) == pairs


@pytest.mark.parametrize("data", [5, "abc", ["abc"], [("a",)], [("a", "b", "c")], [5]])
def test_what_is_no_form_is_refused_by_name(data: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^data: "):
        form_fields(data)


def test_half_a_character_is_refused_by_name() -> None:
    with pytest.raises(InvalidOption, match=r"^data: .*surrogate"):
        urlencoded({"a": "\ud800"})
