"""Allowance: how often something may be done, counted in ticks, so that a test needs no clock."""

from __future__ import annotations

from turbosock.examples.arena.rules import TICK_RATE_HZ


class Allowance:
    """So much each second, and no more at once than was saved up; it begins full.

    Args:
        per_s: how often a second.
        burst: how often at once, at most.
    """

    __slots__ = ("_burst", "_left", "_per_tick", "_tick")

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_tick = per_s / TICK_RATE_HZ
        self._burst = self._left = float(burst)
        self._tick = 0

    def take(self, tick: int) -> bool:
        """Whether it may be done once more, which then counts; `tick` is the present one."""
        self._left = min(self._burst, self._left + (tick - self._tick) * self._per_tick)
        self._tick = tick
        if self._left < 1:
            return False
        self._left -= 1
        return True
