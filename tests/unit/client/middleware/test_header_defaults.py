"""HeaderDefaults: what it takes, and when values are made."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock import HeaderDefaults
from turbosock.client.middleware import Draft
from turbosock.errors import InvalidOption


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
