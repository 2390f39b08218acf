"""The bytes that mark memory which nobody may read, so that a read of it is seen.

Poison (0xDB) fills memory that was given back. The canary (0xCA) fills the part of a lent buffer that lies
beyond what was asked for, where nobody may write. Both are outside ASCII, so no protocol token contains them.
"""

from __future__ import annotations

POISON = 0xDB
CANARY = 0xCA


def fill(view: memoryview, byte: int) -> None:
    """Set every byte of `view` to `byte`; allocates as much as it fills, so it is for diagnostics alone."""
    view[:] = bytes((byte,)) * len(view)
