"""PooledSteps: what a Loop's connection and a Loop's stream do while they are idle, or when their time has come.

Each has one timer, for the deadline of its exchange or the end of idleness, and closes itself once it was idle for too
long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbosock.errors import TurbosockError

if TYPE_CHECKING:
    from turbosock.reactor.timers import Timer


class PooledSteps:
    """Mixed into `LoopConnection` and `LoopHttp2Stream`; their pool is an OriginPool, their owners are Exchanges.

    Attributes:
        timer: the one timer.
    """

    __slots__ = ()

    # Each of the two has these as slots or properties of its own.
    timer: Timer
    transport: Any
    owner: Any
    origin: Any
    idle_since_ns: int
    retire_ns: int

    @property
    def unread(self) -> bool:
        """Whether bytes wait here for memory, for room or for their turn."""
        raise AssertionError("each of the two says it in its own way")

    def requeue(self) -> None:
        """Step the exchange again when the line has come round."""
        raise AssertionError("as above")

    def rest(self, now_ns: int) -> None:
        """Idle from now on, unless somebody has it already: watched, and closed when it was idle for too long."""
        if self.transport.fd < 0 or self.owner is not None:
            return
        try:
            self.transport.arm()
            self.timer.move(min(now_ns + self.origin.max_idle_ns, self.retire_ns))
        except TurbosockError:
            # It cannot be watched, or there is no timer.
            self.discard()

    def on_timer(self, now_ns: int) -> None:
        """The deadline of the present exchange, or of idleness, has passed or was moved."""
        exchange = self.owner
        if exchange is not None:
            exchange.on_timer(now_ns)
            return
        due_ns = min(self.idle_since_ns + self.origin.max_idle_ns, self.retire_ns)
        if now_ns >= due_ns:
            self.origin.count_expired()
            self.discard()
        else:
            self.timer.move(due_ns)

    def discard(self) -> None:
        """Close what no exchange has, idle or between two owners, and give its place back."""
        self.origin.discard_idle(self)
