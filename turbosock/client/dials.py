"""Dials: those of one Loop that are under way, and how many of them may take a dear step in a turn.

A dial that is added stands in line until a turn begins it, and its deadline stands meanwhile. Beginning one, and each
step of a TLS handshake, is work that no reading waits for long: each turn has a number of them, and what is left over
waits for the next one.

Invariants: a dial is here from when it is added until it has ended; in line are those that have not begun, beside ones
that ended meanwhile, whose beginning does nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from turbosock import limits

if TYPE_CHECKING:
    from turbosock.client.dial_steps import DialingTarget, DialSteps
    from turbosock.reactor.clock import Clock


class Dials:
    """See the module.

    Args:
        clock: the Loop's.

    Attributes:
        under_way: the dials. One that has ended takes itself out of the set, a step that no interrupt comes before.
        line: those that have not begun, in order.
        beginnings_left, handshake_steps_left: of the present turn; the Loop sets them at its beginning.
    """

    __slots__ = ("_clock", "beginnings_left", "handshake_steps_left", "line", "under_way")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.under_way: set[DialSteps] = set()
        self.line: deque[DialSteps] = deque()
        self.beginnings_left = limits.MAX_DIALS_PER_TURN
        self.handshake_steps_left = limits.MAX_DIAL_HANDSHAKES_PER_TURN

    def __len__(self) -> int:
        return len(self.under_way)

    def __iter__(self) -> Iterator[DialSteps]:
        return iter(self.under_way)

    def add(self, dial: DialSteps) -> None:
        """Begin a dial in this turn, or in a later one when too many begin at once; its deadline stands."""
        dial.arm()
        self.under_way.add(dial)
        self.line.append(dial)

    def take_handshake_step(self) -> bool:
        """Whether a TLS handshake may take a step in this turn; each True is one."""
        if not self.handshake_steps_left:
            return False
        self.handshake_steps_left -= 1
        return True

    def begin(self, end_ns: int | None) -> None:
        """Begin as many as this turn may; one at least, then until `end_ns`."""
        while self.line and self.beginnings_left:
            self.beginnings_left -= 1
            self.line.popleft().start()
            if end_ns is not None and self._clock.now_ns() >= end_ns:
                return

    def mend(self) -> None:
        """A turn broke off: each has its deadline, and those that have not begun stand in line."""
        for dial in tuple(self.under_way):
            dial.arm()
            if not dial.begun:
                self.line.append(dial)

    def close(self) -> None:
        """The loop is closed: each ends, and whom it is for is told."""
        self.line.clear()
        for dial in tuple(self.under_way):
            dial.close()

    def drop(self) -> list[DialingTarget | None]:
        """In the child of a fork: close the copies of their sockets. Whom they were for."""
        targets = [dial.drop() for dial in self.under_way]
        self.under_way.clear()
        self.line.clear()
        return targets
