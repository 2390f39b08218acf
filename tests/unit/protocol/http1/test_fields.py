from __future__ import annotations

import pytest

from turbosock.errors import ProtocolError
from turbosock.protocol.http1.fields import USUAL_KEYS, has_stray_control, parse_field_lines


def test_field_lines_are_split_and_stripped() -> None:
    headers = parse_field_lines([b"Host: a", b"x-y:b", b"Empty:", b"Accept: ", b"Z:\t c : d \t", b"a:b: c"])
    assert headers.raw == (
        (b"Host", b"a"),
        (b"x-y", b"b"),
        (b"Empty", b""),
        (b"Accept", b""),
        (b"Z", b"c : d"),
        (b"a", b"b: c"),
    )
    assert "X-Y" in headers


def test_field_lines_inside_a_value_keep_their_spaces() -> None:
    assert parse_field_lines([b"A: b  \t c"])["a"] == "b  \t c"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b" folded", "folding"),
        (b"\tfolded: x", "folding"),
        (b" : x", "folding"),
        (b"Host", "no colon"),
        (b"", "no colon"),
        (b": x", "empty name"),
        (b":", "empty name"),
        (b"Host : x", "between"),
        (b"Host\t: x", "between"),
        (b"Content-Length : 5", "between"),
        (b"a b: x", "not a field name"),
        (b"caf\xc3\xa9: x", "not a field name"),
        (b"a@b: x", "not a field name"),
    ],
)
def test_field_line_outside_the_grammar_is_refused(line: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as raised:
        parse_field_lines([b"Host: a", line])
    assert raised.value.code == "bad_field"


def test_field_line_refused_never_shows_its_value() -> None:
    for line in (b"Authorization : hunter2", b" hunter2", b"hunter2", b"a b: hunter2", b": hunter2"):
        with pytest.raises(ProtocolError) as raised:
            parse_field_lines([line])
        assert "hunter2" not in str(raised.value)


def test_usual_keys_are_lower_case_tokens() -> None:
    for name, key in USUAL_KEYS.items():
        assert name.lower() == key
        assert parse_field_lines([name.swapcase() + b": x"]).count(key) == 1


@pytest.mark.parametrize("byte", range(256))
def test_stray_control_is_any_control_byte_but_tab(byte: int) -> None:
    expected = (byte < 0x20 and byte != 9) or byte == 0x7F
    assert has_stray_control(b"a: b" + bytes([byte]) + b"c\r\n", 1) is expected
