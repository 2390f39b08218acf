from __future__ import annotations

import pytest

from turbosock.errors import InvalidHeader
from turbosock.protocol.http1 import grammar

CONTROLS = [*range(0x20), 0x7F]
SEPARATORS = b'()<>@,;:\\"/[]?={} \t'


@pytest.mark.parametrize("byte", range(256))
def test_token_of_one_byte_is_accepted_exactly_for_tchar(byte: int) -> None:
    expected = 0x21 <= byte <= 0x7E and byte not in SEPARATORS
    assert grammar.is_token(bytes([byte])) is expected


def test_token_without_a_byte_is_refused() -> None:
    assert not grammar.is_token(b"")


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"example.com",
        b"EXAMPLE.com:443",
        b"under_score:1",
        b"127.0.0.1:65535",
        b"a:",
        b"0.0.0.0=5000",
        b"a%20b",
        b"[::1]",
        b"[2001:db8::1]:8080",
        b"[::ffff:1.2.3.4]",
    ],
)
def test_host_by_the_grammar_is_accepted(host: bytes) -> None:
    assert grammar.is_host(host)


@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"a/b",
        b"a@b",
        b"a:b",
        b"a:65536",
        b"a:123456",
        b"a:-1",
        b":80",
        b"a:1:2",
        b"a%2",
        b"a%zz",
        b"[::1",
        b"[::1]x",
        b"[::1]80",
        b"[1.2.3.4]",
        b"[::g]",
        b"\xc3\xa4",
        b"a\x00b",
        b"a\r\nb",
    ],
)
def test_host_outside_the_grammar_is_refused(host: bytes) -> None:
    assert not grammar.is_host(host)


@pytest.mark.parametrize("control", CONTROLS)
def test_checked_method_with_a_control_byte_raises(control: int) -> None:
    with pytest.raises(InvalidHeader, match="method"):
        grammar.checked_method(f"GE{chr(control)}T")


@pytest.mark.parametrize("method", ["", "GET ", "G T", "GÉT", "GET\u0660", "GET/"])
def test_checked_method_not_a_token_raises(method: str) -> None:
    with pytest.raises(InvalidHeader, match="method"):
        grammar.checked_method(method)


def test_checked_method_of_another_type_raises_and_names_it() -> None:
    with pytest.raises(InvalidHeader, match="method: must be str, not bytes"):
        grammar.checked_method(b"GET")  # type: ignore[arg-type]  # the mistake that is tested


def test_checked_method_keeps_its_case() -> None:
    assert grammar.checked_method("pAtCh") == b"pAtCh"


@pytest.mark.parametrize("byte", [*CONTROLS, 0x20, *range(0x80, 0x100)])
def test_checked_target_with_a_byte_outside_visible_ascii_raises(byte: int) -> None:
    with pytest.raises(InvalidHeader, match="target"):
        grammar.checked_target(b"/a" + bytes([byte]))
    with pytest.raises(InvalidHeader, match="target"):
        grammar.checked_target("/a" + chr(byte))


@pytest.mark.parametrize("target", ["", b"", "/a#b", "/\u2028"])
def test_checked_target_empty_or_with_fragment_raises(target: str | bytes) -> None:
    with pytest.raises(InvalidHeader, match="target"):
        grammar.checked_target(target)


def test_checked_target_of_another_type_raises() -> None:
    with pytest.raises(InvalidHeader, match="target: must be str or bytes, not int"):
        grammar.checked_target(5)  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize("control", [c for c in CONTROLS if c != 9])
@pytest.mark.parametrize("where", ["{}value", "va{}lue", "value{}"])
def test_checked_value_with_a_control_byte_raises_names_the_field_and_hides_the_value(control: int, where: str) -> None:
    with pytest.raises(InvalidHeader, match="X-Secret") as raised:
        grammar.checked_value(b"X-Secret", where.format(chr(control)))
    assert "value'" not in str(raised.value)


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " ", "\u20ac", "\udc80"])
def test_checked_value_with_outer_space_or_outside_latin_1_raises(value: str) -> None:
    with pytest.raises(InvalidHeader, match="X-A"):
        grammar.checked_value(b"X-A", value)


def test_checked_value_of_another_type_raises() -> None:
    with pytest.raises(InvalidHeader, match="'X-A' must be str or bytes, not int"):
        grammar.checked_value(b"X-A", 5)  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize("value", ["", "a\tb c", "\xfc", "~"])
def test_checked_value_of_text_is_latin_1(value: str) -> None:
    assert grammar.checked_value(b"X-A", value) == value.encode("latin-1")


@pytest.mark.parametrize("control", [*CONTROLS, 0x20, 0x3A, 0xE4])
def test_checked_name_with_a_byte_outside_tchar_raises(control: int) -> None:
    for name in (b"X-" + bytes([control]), "X-" + chr(control)):
        with pytest.raises(InvalidHeader, match="field name"):
            grammar.checked_name(name)


def test_checked_name_of_another_type_raises() -> None:
    with pytest.raises(InvalidHeader, match="must be str or bytes, not NoneType"):
        grammar.checked_name(None)  # type: ignore[arg-type]  # the mistake that is tested


@pytest.mark.parametrize("control", [c for c in CONTROLS if c != 9])
def test_checked_reason_with_a_control_byte_raises(control: int) -> None:
    with pytest.raises(InvalidHeader, match="reason"):
        grammar.checked_reason("O" + chr(control) + "K")


def test_checked_reason_outside_latin_1_raises() -> None:
    with pytest.raises(InvalidHeader, match="reason"):
        grammar.checked_reason("\u20ac")


def test_shown_escapes_and_cuts() -> None:
    assert grammar.shown(b"\x00\r\n") == r"'\x00\r\n'"
    assert grammar.shown(b"a" * 100) == "'" + "a" * 40 + "'..."
