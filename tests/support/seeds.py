"""Seeds for tests by random operations: fixed ones, so that a run can be repeated, or those that you name.

A test is parametrised with its seed, so a failure prints it; `TURBOSOCK_SEEDS=7,1234` runs these instead.
"""

from __future__ import annotations

import os


def seeds(count: int) -> list[int]:
    """Return `count` fixed seeds, or those of TURBOSOCK_SEEDS."""
    named = os.environ.get("TURBOSOCK_SEEDS", "")
    return [int(seed) for seed in named.split(",")] if named else list(range(count))
