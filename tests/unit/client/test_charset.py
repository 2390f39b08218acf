"""What charset a text has, and how it is read."""

from __future__ import annotations

import codecs

import pytest

from turbosock.client.charset import codec_for, decoded, marked_charset, named_charset, usable_codec


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        (None, None),
        ("", None),
        ("text/plain", None),
        ("text/plain; charset=latin-1", "latin-1"),
        ("text/plain;CHARSET = 'utf-16' ; x=y", "utf-16"),
        ('text/plain; x=y; charset="utf-8"', "utf-8"),
        ("text/plain; charset=", None),
    ],
)
def test_charset_is_the_parameter_of_that_name(content_type: str | None, charset: str | None) -> None:
    assert named_charset(content_type) == charset


@pytest.mark.parametrize(
    ("codec", "mark"),
    [
        ("utf-8-sig", codecs.BOM_UTF8),
        ("utf-16", codecs.BOM_UTF16_LE),
        ("utf-16", codecs.BOM_UTF16_BE),
        ("utf-32", codecs.BOM_UTF32_LE),
        ("utf-32", codecs.BOM_UTF32_BE),
    ],
)
def test_mark_tells_the_codec_and_is_no_part_of_the_text(codec: str, mark: bytes) -> None:
    order = "-be" if mark in (codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE) else "-le"
    content = mark + "é\n".encode(codec + order if codec != "utf-8-sig" else "utf-8")

    assert marked_charset(content[:4]) == codec
    assert decoded(content, None) == "é\n"


def test_charset_that_is_named_comes_before_a_mark() -> None:
    assert decoded(b"\xff\xfea", "latin-1") == "ÿþa"
    assert decoded(codecs.BOM_UTF8 + b"a", "UTF8") == "a"
    assert decoded(b"\xff\xfea\0", None) == "a"


@pytest.mark.parametrize("name", ["no-such", "hex", "rot13", "zlib", "undefined", "a\0b", ""])
def test_what_is_no_charset_counts_as_utf_8(name: str) -> None:
    assert usable_codec(name) == "utf-8"
    assert codec_for(name, b"abc") == "utf-8"
    assert decoded(b"\xc3\xa4\xff", name) == "ä�"


@pytest.mark.parametrize("name", ["utf-8", "UTF-16", "latin-1", "cp1252", "shift_jis", "utf-7"])
def test_charset_that_python_knows_is_itself(name: str) -> None:
    assert usable_codec(name) == name
