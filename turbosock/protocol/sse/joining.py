"""Lines of data joined many at once, and taken apart again.

A step of Python for each short line would cost more than searching all of them twice. Memory without CR has a character
to spare: in what is joined, LF stands between lines of data and CR for every other line end. So nothing is lost, and
what ends the data is found by searching one byte.

Left to others: that there is no CR, and what the other line ends mean (`lines.py`, `parser.py`).
"""

from __future__ import annotations

from typing import Final

# What stands between two lines of data.
NEXT_DATA: Final = b"\ndata: "


def joined(lines: memoryview) -> bytes:
    """`lines` with LF for each NEXT_DATA, and CR for any other LF."""
    return b"\n".join(bytes(lines).replace(b"\n", b"\r").split(b"\rdata: "))


def parted(text: memoryview) -> bytes:
    """What `text` was joined from."""
    return bytes(text).replace(b"\n", b"\rdata: ").replace(b"\r", b"\n")
