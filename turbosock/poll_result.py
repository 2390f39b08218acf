"""PollResult: what `loop.poll()` returns: what one turn did, and why it ended.

Invariant: a Loop has one, which each turn overwrites: a turn allocates none.
"""

from __future__ import annotations

import enum


class Stop(enum.Enum):
    """Why a turn ended."""

    IDLE = "idle"
    TIME = "time"
    EVENTS = "events"
    BYTES = "bytes"
    POOL = "pool"


class PollResult:
    """What one turn did; the same object every time, overwritten by the next `poll()`.

    Attributes:
        delivered: events put into `loop.events` by this turn.
        backlog: connections that were ready and not served: poll again soon.
        stop: IDLE: nothing was left to do. TIME, EVENTS, BYTES: that budget was spent. POOL: memory ran out, and
            reading resumes when it is back.
    """

    __slots__ = ("backlog", "delivered", "moved_in", "moved_out", "stop")

    def __init__(self) -> None:
        self.delivered = 0
        self.backlog = 0
        # The loop's to write: floats, whose freed ones CPython keeps for the next.
        self.moved_in = 0.0
        self.moved_out = 0.0
        self.stop = Stop.IDLE

    @property
    def bytes_in(self) -> int:
        """Bytes received since the last turn ended."""
        return int(self.moved_in)

    @property
    def bytes_out(self) -> int:
        """Bytes sent since the last turn ended."""
        return int(self.moved_out)

    def __repr__(self) -> str:
        return (
            f"<PollResult delivered={self.delivered} backlog={self.backlog} "
            f"bytes_in={self.bytes_in} bytes_out={self.bytes_out} stop={self.stop.name}>"
        )
