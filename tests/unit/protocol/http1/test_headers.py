from __future__ import annotations

import pytest

from turbosock.errors import InvalidHeader
from turbosock.protocol.http1.headers import HeaderList


def sample() -> HeaderList:
    return HeaderList(
        [("Content-Type", "text/html"), ("Via", "a"), ("Set-Cookie", "x=1"), ("VIA", "b"), ("set-cookie", "y")]
    )


def test_header_list_found_without_case() -> None:
    headers = sample()
    assert headers["content-type"] == headers["CONTENT-TYPE"] == headers.get("Content-Type") == "text/html"
    assert "content-TYPE" in headers


def test_header_list_keeps_order_case_and_duplicates() -> None:
    headers = sample()
    assert list(headers) == headers.keys() == ["Content-Type", "Via", "Set-Cookie", "VIA", "set-cookie"]
    assert headers.items()[3] == ("VIA", "b")
    assert headers.values() == ["text/html", "a", "x=1", "b", "y"]
    assert headers.raw[0] == (b"Content-Type", b"text/html")
    assert len(headers) == 5


def test_header_list_duplicates_are_joined() -> None:
    assert sample()["via"] == "a, b"
    assert sample().get("via") == "a, b"
    assert sample().get_all("Via") == ["a", "b"]


def test_header_list_cookies_are_never_joined() -> None:
    assert sample()["set-cookie"] == sample().get("Set-Cookie") == "x=1"
    assert sample().get_all("set-cookie") == ["x=1", "y"]
    assert HeaderList().get("set-cookie") is None


def test_header_list_missing_field_gives_default_or_key_error() -> None:
    headers = sample()
    assert headers.get("x") is None
    assert headers.get("x", "d") == "d"
    assert headers.get_all("x") == []
    assert "x" not in headers
    assert 5 not in headers
    assert headers.get("\u20ac") is None
    with pytest.raises(KeyError):
        headers["x"]


def test_header_list_copies_into_a_dict_as_a_mapping_does() -> None:
    assert dict(sample())["VIA"] == "a, b"


@pytest.mark.parametrize("secret", ["Authorization", "proxy-authorization", "COOKIE", "Set-Cookie"])
def test_header_list_repr_hides_credentials(secret: str) -> None:
    text = repr(HeaderList({secret: "hunter2", "Accept": "*/*"}))
    assert "hunter2" not in text
    assert secret in text
    assert "'*/*'" in text


def test_header_list_equality_ignores_the_case_of_names_alone() -> None:
    assert HeaderList({"A": "1"}) == HeaderList([(b"a", b"1")])
    assert hash(HeaderList({"A": "1"})) == hash(HeaderList([(b"a", b"1")]))
    assert HeaderList({"A": "x"}) != HeaderList({"A": "X"})
    assert HeaderList({"A": "x"}) != HeaderList({"B": "x"})
    assert HeaderList([("a", "1"), ("b", "2")]) != HeaderList([("b", "2"), ("a", "1")])
    assert HeaderList({"A": "1"}) != {"A": "1"}


def test_header_list_of_a_header_list_is_equal() -> None:
    assert HeaderList(sample()) == sample()


def test_header_list_text_is_latin_1() -> None:
    assert HeaderList({"a": "D\xfcsseldorf"}).raw == ((b"a", b"D\xfcsseldorf"),)
    assert HeaderList([(b"a", b"D\xfcsseldorf")])["a"] == "D\xfcsseldorf"


@pytest.mark.parametrize(("name", "value"), [("a b", "1"), ("a", "1\r\nb: 2"), ("", "1"), ("a", " 1"), ("a:", "1")])
def test_header_list_of_an_invalid_field_raises(name: str, value: str) -> None:
    with pytest.raises(InvalidHeader):
        HeaderList({name: value})
    with pytest.raises(InvalidHeader):
        HeaderList([(name.encode(), value.encode())])


@pytest.mark.parametrize("items", [["ab"], [("a",)], [("a", "b", "c")], [5], "ab"])
def test_header_list_of_something_else_than_pairs_raises(items: object) -> None:
    with pytest.raises(InvalidHeader, match="pairs"):
        HeaderList(items)  # type: ignore[arg-type]  # the mistake that is tested


def test_header_list_joined_and_count_take_lower_case_bytes() -> None:
    headers = sample()
    assert headers.joined(b"via") == b"a, b"
    assert headers.joined(b"content-type") == b"text/html"
    assert headers.joined(b"x") is None
    assert headers.count(b"via") == 2
