"""Time as the engine sees it: one monotonic counter of nanoseconds, replaceable by tests and simulations.

Everything that waits or expires takes its time from a `Clock`, so that a test moves time by hand and never sleeps.
Nanoseconds in an int never lose precision and compare in one step; seconds appear only in what users write.

Invariant: `now_ns()` never decreases. The zero point is arbitrary, so only differences mean anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

# Here too, beside its kind: settings are on a floor below.
from turbosock.config import NS_PER_S as NS_PER_S
from turbosock.errors import InvalidOption

NS_PER_MS: Final = 1_000_000
NS_PER_US: Final = 1_000


class Clock(Protocol):
    """Whatever tells monotonic time in nanoseconds."""

    def now_ns(self) -> int:
        """Return the present time in nanoseconds since an arbitrary moment."""
        ...


class PassingClock(Clock, Protocol):
    """A clock whose time passes where somebody waits, and only there: that of a simulation, which nobody sleeps in."""

    def wait(self, timeout_ns: int, ready: Callable[[], object]) -> bool:
        """Let time pass until `ready()`, or `timeout_ns` at most; whether it is."""


def virtual(clock: Clock) -> PassingClock | None:
    """The clock itself where its time is virtual."""
    return clock if callable(getattr(clock, "wait", None)) else None  # type: ignore[return-value]


class MonotonicClock:
    """The system's monotonic clock; it does not jump when the date is set."""

    __slots__ = ()

    # The builtin itself: a call makes no Python frame.
    now_ns = staticmethod(time.monotonic_ns)


class ManualClock:
    """A clock that stands still until it is advanced.

    Args:
        start_ns: the first time it tells, in nanoseconds.
    """

    __slots__ = ("_now_ns",)

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time it was advanced to, in nanoseconds."""
        return self._now_ns

    def advance(self, seconds: float = 0.0, *, ns: int = 0) -> int:
        """Move time forward by `seconds` plus `ns` nanoseconds and return the new time in nanoseconds.

        Raises:
            InvalidOption: the sum is negative; monotonic time does not run backwards.
        """
        step_ns = round(seconds * NS_PER_S) + ns
        if step_ns < 0:
            raise InvalidOption(f"seconds and ns together are {step_ns} ns: a monotonic clock only moves forward")
        self._now_ns += step_ns
        return self._now_ns


SYSTEM_CLOCK: Final = MonotonicClock()
