"""HeaderDefaults: what it takes, and when values are made."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock import HeaderDefaults
from turbosock.client.middleware import Draft
from turbosock.errors import InvalidHeader, InvalidOption


def prepared(link: HeaderDefaults, headers: Any = None) -> Any:
    draft = Draft("GET", "http://example.com/", None, headers, None)
    link.prepare(draft)
    return draft.headers


def test_fields_are_added_in_their_order() -> None:
    assert prepared(HeaderDefaults({"B": "2", "A": "1"})) == [("B", "2"), ("A", "1")]


def test_value_is_made_for_each_request() -> None:
    values = iter("12")
    link = HeaderDefaults({"A": lambda: next(values)})
    assert prepared(link) == [("A", "1")] and prepared(link) == [("A", "2")]


def test_later_changes_of_the_mapping_change_nothing() -> None:
    headers = {"A": "1"}
    link = HeaderDefaults(headers)
    headers["B"] = "2"
    assert prepared(link) == [("A", "1")]


@pytest.mark.parametrize("headers", [None, "A: 1", [("A", "1")], 5, {1: "a"}, {"A": 1}, {"A": None}], ids=repr)
def test_headers_that_are_no_defaults_are_refused(headers: Any) -> None:
    with pytest.raises(InvalidOption, match="headers"):
        HeaderDefaults(headers)


@pytest.mark.parametrize("value", ["1", lambda: "1"], ids=["str", "function"])
@pytest.mark.parametrize("name", ["", "A b", "A:", "\u00e9"])
def test_name_that_cannot_be_sent_is_refused_where_it_is_given(name: str, value: Any) -> None:
    with pytest.raises(InvalidHeader, match=r"^headers: "):
        HeaderDefaults({name: value})


@pytest.mark.parametrize("value", ["1\r\nB: 2", "\0", "\u20ac"])
def test_value_that_cannot_be_sent_is_refused_where_it_is_given(value: str) -> None:
    with pytest.raises(InvalidHeader, match=r"^headers: .*'A'"):
        HeaderDefaults({"A": value})
