"""Course: one direction of one connection, as its faults let it go: bytes in, and what becomes of them, with its delay.

Invariants: bytes come out in their order, each once, up to an end or a reset; a fault is told of when it happens, and
happens at its byte, however the bytes are cut into pieces.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable

from turbosock.reactor.clock import NS_PER_S
from turbosock.testing.faults.fault import Fault, FaultKind


class End(enum.Enum):
    """How a stream ends; what follows it is lost. CLOSED is what the peer does, and no fault."""

    CLOSED = "closed"
    CUT = "cut"
    RESET = "reset"


# What happens next, so many ns after what happened before it.
Step = tuple[int, bytes | End]

_ENDS = {FaultKind.CUT: End.CUT, FaultKind.RESET: End.RESET}


class Course:
    """See the module.

    Args:
        faults: of this direction.
        note: called with each fault that happens.

    Attributes:
        over: whether it has come to an end of its own making.
    """

    __slots__ = ("_ahead", "_delay_ns", "_drip", "_drip_left", "_note", "_position", "_xor", "over")

    def __init__(self, faults: Iterable[Fault], note: Callable[[Fault], object]) -> None:
        self._ahead = deque(sorted(faults, key=lambda fault: fault.at))
        self._note = note
        self._position = 0
        # What was told of, and awaits the next byte.
        self._delay_ns = 0
        self._xor = 0
        self._drip: Fault | None = None
        # Bytes that still drip; -1: all that come.
        self._drip_left = 0
        self.over = False

    def feed(self, data: bytes) -> list[Step]:
        """What becomes of these bytes; of none: what happens before the first one."""
        steps: list[Step] = []
        start = 0
        while not self.over:
            if self._happens(start < len(data), steps):
                continue
            if start == len(data):
                break
            size = self._run(len(data) - start)
            piece = data[start : start + size]
            if self._xor:
                piece = bytes((piece[0] ^ self._xor,)) + piece[1:]
                self._xor = 0
            self._put(piece, steps)
            start += size
            self._position += size
        return steps

    def _happens(self, has_bytes: bool, steps: list[Step]) -> bool:
        """Let the next fault happen, if this is its byte; an end does not wait for one."""
        if not self._ahead:
            return False
        fault = self._ahead[0]
        end = _ENDS.get(fault.kind)
        if fault.at > self._position or not (has_bytes or end):
            return False
        self._ahead.popleft()
        self._note(fault)
        if end is not None:
            self.over = True
            self._put(end, steps)
        elif fault.kind is FaultKind.DELAY:
            self._delay_ns += int(fault.seconds * NS_PER_S)
        elif fault.kind is FaultKind.CORRUPT:
            self._xor ^= fault.xor
        else:
            self._drip = fault
            self._drip_left = -1 if fault.nbytes is None else fault.nbytes
        return True

    def _run(self, count: int) -> int:
        """How many of `count` bytes go together."""
        if self._ahead:
            count = min(count, self._ahead[0].at - self._position)
        drip = self._drip
        if drip is None or not self._drip_left:
            return count
        count = min(count, drip.size, self._drip_left if self._drip_left > 0 else count)
        self._delay_ns += int(drip.seconds * NS_PER_S)
        if self._drip_left > 0:
            self._drip_left -= count
        return count

    def _put(self, what: bytes | End, steps: list[Step]) -> None:
        steps.append((self._delay_ns, what))
        self._delay_ns = 0
