"""Charsets of texts: what a Content-Type, or the first bytes, say (RFC 9110 §8.3.2, Unicode §23.8).

The order is: the charset of the Content-Type, then a byte order mark, then UTF-8, which is what the web means. A mark
of the charset that is used is no part of the text.
"""

from __future__ import annotations

import codecs
from typing import Final

UTF_8: Final = "utf-8"
# The longest first: UTF-32's little-endian mark begins as UTF-16's. Each of these codecs takes its mark away.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Bytes that tell the longest mark.
MAX_MARK_BYTES: Final = 4


def named_charset(content_type: str | None) -> str | None:
    """The charset that a Content-Type names, whether or not there is one of that name; None without."""
    for parameter in (content_type or "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'") or None
    return None


def marked_charset(start: bytes) -> str | None:
    """The codec for a text whose first bytes, MAX_MARK_BYTES of them if it has so many, are a mark; None without."""
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name
    return None


def usable_codec(name: str) -> str:
    """`name`, or UTF-8 where it is no codec from bytes to text, or one that cannot replace."""
    try:
        # Of no bytes, CPython makes no text by any codec, and says nothing.
        b"x".decode(name, "replace")
    except (LookupError, UnicodeError, ValueError):
        return UTF_8
    return name


def codec_for(charset: str | None, start: bytes) -> str:
    """The codec for a text of this charset, or of none, that begins with `start`."""
    if charset is None:
        return marked_charset(start) or UTF_8
    codec = usable_codec(charset)
    if start.startswith(codecs.BOM_UTF8) and codecs.lookup(codec).name == UTF_8:
        return "utf-8-sig"
    return codec


def decoded(content: bytes, charset: str | None) -> str:
    """`content` as text; what does not decode is replaced, and so is a charset that cannot replace."""
    try:
        return content.decode(codec_for(charset, content[:MAX_MARK_BYTES]), "replace")
    except UnicodeError:
        return content.decode(UTF_8, "replace")
