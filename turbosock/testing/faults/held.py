"""Held: one direction's bytes on their way: those that may go on, and those that have to wait for their time.

Invariant: they keep their order; what waits lets nothing behind it go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from turbosock.errors import TurbosockError
from turbosock.testing.faults.course import Course, End

# Bytes, or what comes instead of any.
What = bytes | End | TurbosockError


class Held:
    """See the module.

    Args:
        course: what becomes of the bytes.

    Attributes:
        course: the same.
        due: what may go on, in order.
        nbytes: bytes that are held, due or not.
    """

    __slots__ = ("_later", "course", "due", "nbytes")

    def __init__(self, course: Course) -> None:
        self.course = course
        self.due: deque[What] = deque()
        self.nbytes = 0
        self._later: deque[tuple[int, What]] = deque()

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take bytes that have come this far."""
        self._put(self.course.feed(data), now_ns)

    def end(self, what: End | TurbosockError, now_ns: int) -> None:
        """Take the end of all bytes."""
        self._put([(0, what)], now_ns)

    def _put(self, steps: Sequence[tuple[int, What]], now_ns: int) -> None:
        later = self._later
        at_ns = max(now_ns, later[-1][0]) if later else now_ns
        for delay_ns, what in steps:
            at_ns += delay_ns
            if type(what) is bytes:
                self.nbytes += len(what)
            if at_ns > now_ns or later:
                later.append((at_ns, what))
            else:
                self.due.append(what)

    def catch_up(self, now_ns: int) -> None:
        """Let go on what has waited for long enough."""
        later = self._later
        while later and later[0][0] <= now_ns:
            self.due.append(later.popleft()[1])

    @property
    def next_ns(self) -> int | None:
        """When the next of it may go on; None: nothing waits for its time."""
        return self._later[0][0] if self._later else None

    @property
    def ends(self) -> End | None:
        """The fault that comes next, instead of bytes, where it is due."""
        last = self.due[-1] if self.due else None
        return last if last is End.CUT or last is End.RESET else None
