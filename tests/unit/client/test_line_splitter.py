"""Lines of a text that comes in pieces: the same wherever it is cut."""

from __future__ import annotations

import codecs

import pytest

from turbosock.client.line_splitter import LineSplitter

TEXTS = [
    "",
    "a",
    "\n",
    "\r\n",
    "a\nb",
    "a\r\nb\r\n",
    "a\rb",
    "\r\r\n\n",
    "é€𝄞\n…\r\nx",
    "a\r",
    "\u2028x\x0by\n",
    "a\n\n\nb",
]
CHARSETS = ["utf-8", "latin-1", "utf-16", "utf-16-be", "utf-32", "shift_jis", None]


def lines_of(charset: str | None, pieces: list[bytes]) -> list[str]:
    splitter = LineSplitter(charset)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.finish()


def expected(text: str) -> list[str]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("text", TEXTS)
def test_lines_are_the_same_whole_at_each_cut_and_byte_by_byte(text: str, charset: str | None) -> None:
    data = text.encode(charset or "utf-8", "replace")
    lines = expected(data.decode(charset or "utf-8"))

    assert lines_of(charset, [data]) == lines
    assert lines_of(charset, [data[i : i + 1] for i in range(len(data))]) == lines
    for cut in range(len(data)):
        assert lines_of(charset, [data[:cut], data[cut:]]) == lines


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF32_BE])
def test_mark_tells_the_charset_where_none_is_named(mark: bytes) -> None:
    codec = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF32_BE: "utf-32-be"}[mark]
    data = mark + "one\ntwo".encode(codec)

    assert lines_of(None, [data[:1], data[1:3], data[3:]]) == ["one", "two"]


def test_what_does_not_decode_is_replaced() -> None:
    assert lines_of("utf-8", [b"a\xff\n\xc3"]) == ["a�", "�"]


def test_what_is_no_charset_counts_as_utf_8() -> None:
    assert lines_of("hex", [b"abcd\nx"]) == ["abcd", "x"]


def test_kept_counts_the_line_that_has_not_ended() -> None:
    splitter = LineSplitter("utf-8")

    assert splitter.feed(b"abc\ndefg") == ["abc"]
    assert splitter.kept == 4
    assert splitter.feed(b"h") == []
    assert splitter.kept == 5
    assert splitter.feed(b"\n") == ["defgh"]
    assert splitter.kept == 0
