"""Heads as `-v` shows them: a line each with a mark in front, credentials hidden, nothing that moves a terminal.

A head is bytes of a peer, and a terminal obeys bytes: what is not printable is written as an escape.
"""

from __future__ import annotations

import re
from typing import Final

from turbosock.protocol.http1.headers import SECRET_KEYS

HIDDEN: Final = "(hidden)"
# Beside the standard fields, the names that services give to their own secrets end in one of these.
_SECRET_ENDINGS: Final = ("-token", "api-key", "apikey", "-secret", "-password")
# Fields whose value is a URL, which may hold user information.
_URL_KEYS: Final = frozenset(("location", "content-location", "referer"))
_USER_INFORMATION: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*@")


def shown_head(raw: bytes, mark: str) -> str:
    """The head `raw` as lines that begin with `mark`, for people; its empty line included."""
    start, *fields = raw.decode("latin-1").rstrip("\r\n").split("\n")
    lines = [start.rstrip("\r")]
    for field in fields:
        name, _, value = field.rstrip("\r").partition(":")
        lines.append(f"{name}: {_shown_value(name.lower(), value.strip())}")
    return "".join(f"{mark} {_printable(line)}\n" for line in lines) + f"{mark}\n"


def _shown_value(key: str, value: str) -> str:
    if key.encode("latin-1") in SECRET_KEYS or key.endswith(_SECRET_ENDINGS):
        return HIDDEN
    if key in _URL_KEYS:
        return _USER_INFORMATION.sub(rf"\1//{HIDDEN}@", value)
    return value


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
