"""How long tests of chance and of every fault run: short by default, long with TURBOSOCK_LONG_TESTS=1."""

from __future__ import annotations

import os

LONG = os.environ.get("TURBOSOCK_LONG_TESTS", "") not in ("", "0")


def short_or_long(short: int, long: int) -> int:
    """One of the two, as the environment has it."""
    return long if LONG else short
