"""VirtualClock: time that passes only where somebody waits, from one happening to the next; nobody ever sleeps.

A wait runs what is due, and moves the clock on to the next happening until it has what it wants, or its time is over:
hours pass in milliseconds, and in the same way each time.

Invariants: happenings run in the order of their times, and of their planning where these are equal, one at a time, on
the thread that waits; `now_ns()` never decreases. Several threads may wait: time is that of all. So a happening, and
the handler or answer that runs in one, must not wait for another thread: that may be waiting for its end.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from turbosock import limits
from turbosock.config import check_seconds
from turbosock.errors import StateError
from turbosock.pool.queue_handle import check_wait
from turbosock.reactor.clock import NS_PER_S, ManualClock


class VirtualClock(ManualClock):
    """See the module; what a Client or a Loop waits for by it takes no time.

    Args:
        max_s: for how long it can go on: a wait beyond is one for something that never happens.

    Raises:
        InvalidOption: `max_s` is no number of seconds.
    """

    __slots__ = ("_happenings", "_lock", "_max_ns", "_numbers")

    def __init__(self, max_s: float = limits.MAX_VIRTUAL_S) -> None:
        check_seconds("max_s", max_s)
        # Not at 0, which is none of the engine's times.
        super().__init__(NS_PER_S)
        self._max_ns = NS_PER_S + int(max_s * NS_PER_S)
        self._numbers = itertools.count()
        self._happenings: list[tuple[int, int, Callable[[], object]]] = []
        self._lock = threading.RLock()

    def after(self, delay_s: float, happening: Callable[[], object]) -> None:
        """Let something happen later, or at the next look where `delay_s` is 0.

        Raises:
            InvalidOption: `delay_s` is negative, or no number.
        """
        check_wait("delay_s", delay_s)
        self.at(self.now_ns() + int(delay_s * NS_PER_S), happening)

    def at(self, due_ns: int, happening: Callable[[], object]) -> None:
        """Let something happen at a time of this clock."""
        with self._lock:
            heapq.heappush(self._happenings, (due_ns, next(self._numbers), happening))

    def look(self) -> None:
        """Let happen what is due."""
        with self._lock:
            while self._happenings and self._happenings[0][0] <= self.now_ns():
                heapq.heappop(self._happenings)[2]()

    def wait(self, timeout_ns: int, ready: Callable[[], object]) -> bool:
        """Let time pass until `ready()`, `timeout_ns` at most; whether it is.

        Raises:
            StateError: the time of this clock is over.
        """
        end_ns = self.now_ns() + max(timeout_ns, 0)
        while True:
            with self._lock:
                self.look()
                if ready():
                    return True
                now_ns = self.now_ns()
                next_ns = self._happenings[0][0] if self._happenings else end_ns
                if next_ns >= end_ns:
                    if end_ns > self._max_ns:
                        raise StateError(
                            f"a virtual clock waits for what does not happen within {self._max_ns // NS_PER_S - 1} s; "
                            "give the wait a timeout, or the clock a longer max_s"
                        )
                    self.advance(ns=max(0, end_ns - now_ns))
                    self.look()
                    return bool(ready())
                self.advance(ns=next_ns - now_ns)

    def sleep(self, seconds: float) -> None:
        """Let time pass, and what is due in it happen.

        Raises:
            InvalidOption: `seconds` is negative, or no number.
            StateError: as wait().
        """
        check_wait("seconds", seconds)
        self.wait(int(seconds * NS_PER_S), lambda: False)
