"""Heads as `-v` shows them: a line each with a mark in front, credentials hidden, nothing that moves a terminal.

A head is bytes of a peer, and a terminal obeys bytes: what is not printable is written as an escape.
"""

from __future__ import annotations

from turbosock.observe.hidden import shown_url, shown_value


def shown_head(raw: bytes, mark: str) -> str:
    """The head `raw` as lines that begin with `mark`, for people; its empty line included."""
    start, *fields = raw.decode("latin-1").rstrip("\r\n").split("\n")
    lines = [" ".join(shown_url(word) for word in start.rstrip("\r").split(" "))]
    for field in fields:
        name, _, value = field.rstrip("\r").partition(":")
        lines.append(f"{name}: {shown_value(name.lower(), value.strip())}")
    return "".join(f"{mark} {_printable(line)}\n" for line in lines) + f"{mark}\n"


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
