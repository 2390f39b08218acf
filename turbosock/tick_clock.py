"""TickClock: says when a simulation's next step is due, and lets a Loop wait for it.

    ticks = turbosock.TickClock(60)
    while running:
        ticks.wait(loop)
        for event in loop.events:
            ...
        for _ in range(ticks.due()):
            world.step(ticks.step_s)
        loop.flush()

Each step stands for the same time, `step_s`. Step n is due at the beginning plus n steps, computed anew each time, so
that nothing drifts. A program that was late is told of several steps at once, up to `max_catch_up`; what is beyond is
missed, and counted: a simulation that cannot keep up falls behind real time, instead of never seeing its network again.

Invariant: `number + missed` is how many steps lie between the beginning and the last one that was due.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from turbosock.poll_result import PollResult

_MIN_RATE_HZ: Final = 1 / limits.MAX_POLL_WAIT_S


class Pollable(Protocol):
    """What a TickClock needs of a Loop."""

    def poll(self, timeout: float | None = 0.0, *, max_time: float | None = None) -> PollResult:
        """Wait at most `timeout` seconds for something to happen, then work."""


class TickClock:
    """A clock of fixed steps; it begins when it is made, and its first step is due at once.

    Args:
        rate_hz: steps a second; a float counts as the decimal number that it is written as.
        max_catch_up: steps that are due at once, at most, after a delay; 1: those that were missed are never made up.
        clock: tells the time; tests give their own.

    Attributes:
        rate_hz, max_catch_up: as given.
        step_s: seconds of one step.
        number: steps that were due so far.
        missed: steps that were left out.
        late: how often more than one step was due.
        late_s: by how much the last step that was due was late when it was asked for.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_begun_ns",
        "_now_ns",
        "_rate",
        "_told",
        "late",
        "late_s",
        "max_catch_up",
        "missed",
        "number",
        "rate_hz",
        "step_s",
    )

    def __init__(
        self, rate_hz: float, *, max_catch_up: int = limits.MAX_CATCH_UP_STEPS, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, (int, float)):
            raise InvalidOption(f"rate_hz={rate_hz!r}: give steps a second as a number")
        if not _MIN_RATE_HZ <= rate_hz <= limits.MAX_TICK_RATE_HZ:
            raise InvalidOption(f"rate_hz={rate_hz!r}: give {_MIN_RATE_HZ:g} to {limits.MAX_TICK_RATE_HZ:,}")
        check_count("max_catch_up", max_catch_up, 1, limits.MAX_TICK_RATE_HZ)
        self.rate_hz = rate_hz
        self.max_catch_up = max_catch_up
        self._rate = Fraction(str(rate_hz))
        self.step_s = float(1 / self._rate)
        self._now_ns = clock.now_ns
        self.restart()

    def restart(self) -> None:
        """Begin anew, after a pause that nobody should make up: the next step is due now, and nothing was missed."""
        self._begun_ns = self._now_ns()
        # Steps between the beginning and the next one that is due.
        self._told = 0
        self.number = 0
        self.missed = 0
        self.late = 0
        self.late_s = 0.0

    def due(self) -> int:
        """How many steps are due now, 0 to `max_catch_up`; each is told once."""
        elapsed_ns = self._now_ns() - self._begun_ns
        rate = self._rate
        count = elapsed_ns * rate.numerator // (NS_PER_S * rate.denominator) + 1 - self._told
        if count <= 0:
            return 0
        self.late_s = (elapsed_ns - self._due_ns(self._told)) / NS_PER_S
        self._told += count
        if count > 1:
            self.late += 1
            if count > self.max_catch_up:
                self.missed += count - self.max_catch_up
                count = self.max_catch_up
        self.number += count
        return count

    def remaining_s(self) -> float:
        """Seconds until the next step is due; 0.0 if it is."""
        left_ns = self._due_ns(self._told) - (self._now_ns() - self._begun_ns)
        return left_ns / NS_PER_S if left_ns > 0 else 0.0

    def wait(self, loop: Pollable, *, max_time: float | None = None) -> PollResult:
        """Poll a Loop once, which waits until the next step is due, or until something happens if that is sooner.

        Args:
            loop: the Loop; `poll()` raises as it does.
            max_time: as in `poll()`.
        """
        return loop.poll(self.remaining_s(), max_time=max_time)

    def _due_ns(self, step: int) -> int:
        """When a step is due, from the beginning on; rounded up, so that it is due when that has passed."""
        rate = self._rate
        return -(-step * NS_PER_S * rate.denominator // rate.numerator)

    def __repr__(self) -> str:
        return f"<TickClock {self.rate_hz:g} Hz number={self.number} missed={self.missed}>"
