from __future__ import annotations

import pytest

from turbosock.errors import ProtocolError
from turbosock.limits import MAX_EXTENSION_PARAMETERS, MAX_WEBSOCKET_EXTENSIONS
from turbosock.protocol.websocket.extensions import Extension, parse_extensions


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (b"foo", [Extension("foo", ())]),
        (b"Foo; A; b=C", [Extension("foo", (("a", None), ("b", "c")))]),
        (b"foo;bar=1;baz", [Extension("foo", (("bar", "1"), ("baz", None)))]),
        (b"foo; bar=10", [Extension("foo", (("bar", "10"),))]),
        (b'foo; bar="10"', [Extension("foo", (("bar", "10"),))]),
        (b'foo; bar="\\1\\0"', [Extension("foo", (("bar", "10"),))]),
        (b"a, b;c ,\td", [Extension("a", ()), Extension("b", (("c", None),)), Extension("d", ())]),
        (b", a,, b,", [Extension("a", ()), Extension("b", ())]),
        (b"a;b;b", [Extension("a", (("b", None), ("b", None)))]),
    ],
)
def test_extensions_are_read_in_order(value: bytes | None, expected: list[Extension]) -> None:
    assert parse_extensions(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b",",
        b";",
        b"a;",
        b"a;;b",
        b"a; b=",
        b"a; =b",
        b"a; b= c",
        b"a; b =c",
        b"a b",
        b'a; b="',
        b'a; b=""',
        b'a; b="c',
        b'a; b="c d"',
        b'a; b="c\\"',
        b'a; b="c,d"',
        b'a; b="c;d"',
        b"a; b=c=d",
        b"\xe4",
        b"a/b",
    ],
)
def test_value_outside_the_grammar_is_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_extensions(value)
    assert caught.value.code == "bad_extensions"


def test_extensions_up_to_the_limits_pass_and_more_are_refused() -> None:
    most = b", ".join([b"a"] * MAX_WEBSOCKET_EXTENSIONS)
    assert len(parse_extensions(most)) == MAX_WEBSOCKET_EXTENSIONS
    assert parse_extensions(b"a" + b"," * (2 * MAX_WEBSOCKET_EXTENSIONS - 1)) == [Extension("a", ())]
    parameters = b"a" + b";b" * MAX_EXTENSION_PARAMETERS
    assert len(parse_extensions(parameters)[0].parameters) == MAX_EXTENSION_PARAMETERS
    empty = b"a" + b"," * 2 * MAX_WEBSOCKET_EXTENSIONS
    for value in (empty, most + b", a", parameters + b";b", b"," * 10_000, b"a," * 10_000, b"a" + b";b" * 10_000):
        with pytest.raises(ProtocolError, match=r"more than|Sec-WebSocket-Extensions"):
            parse_extensions(value)
