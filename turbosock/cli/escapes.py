"""Escapes: what is printed in a line for characters that would end it, or do something to a terminal."""

from __future__ import annotations

from typing import Final

# For str.translate().
ESCAPES: Final = {i: f"\\x{i:02x}" for i in (*range(0x20), *range(0x7F, 0xA0))} | {0x0A: "\\n", 0x09: "\t"}
