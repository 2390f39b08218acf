"""Draft: default fields, and headers that are not what they should be."""

from __future__ import annotations

from typing import Any

import pytest

from turbosock.client.middleware import Draft


def drafted(headers: Any, auth: tuple[str, str] | None = None) -> Draft:
    return Draft("GET", "http://example.com/", None, headers, auth)


@pytest.mark.parametrize("headers", [None, {}, [], (), iter([])], ids=["none", "mapping", "list", "tuple", "iterator"])
def test_default_is_added_where_there_are_no_fields(headers: Any) -> None:
    draft = drafted(headers)
    draft.set_default("X-A", "1")
    assert draft.headers == [("X-A", "1")]


@pytest.mark.parametrize("named", [{"x-a": "own"}, [("X-A", "own")], [["X-a", "own"]], [(b"X-A", b"own")]], ids=repr)
def test_default_gives_way_to_a_field_of_that_name_in_any_case(named: Any) -> None:
    draft = drafted(named)
    draft.set_default("x-A", "default")
    assert list(draft.headers.items() if isinstance(draft.headers, dict) else draft.headers or ()) == (
        list(named.items()) if isinstance(named, dict) else named
    )


def test_default_stands_behind_what_the_request_has() -> None:
    draft = drafted({"B": "2"})
    draft.set_default("A", "1")
    draft.set_default("C", "3")
    assert draft.headers == [("B", "2"), ("A", "1"), ("C", "3")]


def test_iterator_is_read_once_and_kept() -> None:
    draft = drafted(iter([("A", "own")]))
    for _ in range(2):
        draft.set_default("A", "default")
    assert draft.headers == [("A", "own")]


def test_users_own_mapping_is_not_changed() -> None:
    headers = {"A": "1"}
    drafted(headers).set_default("B", "2")
    assert headers == {"A": "1"}


def test_auth_names_authorization() -> None:
    draft = drafted(None, ("user", "password"))
    draft.set_default("AUTHORIZATION", "Bearer token")
    assert draft.headers is None


@pytest.mark.parametrize("headers", ["text", b"bytes", 5])
def test_headers_that_are_none_are_left_to_who_refuses_them(headers: Any) -> None:
    draft = drafted(headers)
    draft.set_default("A", "1")
    assert draft.headers is headers


@pytest.mark.parametrize("pair", ["ab", 5, (), None])
def test_field_that_is_none_is_left_to_who_refuses_it(pair: Any) -> None:
    draft = drafted([pair])
    draft.set_default("A", "1")
    assert draft.headers == [pair, ("A", "1")]
