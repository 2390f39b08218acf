"""Prewarming in a Loop: idle connections of chosen origins, kept ready by dials of its own turns.

    loop.prewarm("https://api.example", min_ready=2)

Invariants: everything here runs in the thread of the loop, inside its turns; such a dial is a dial like any
other, within the same caps of a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.prewarm import Prewarming, PrewarmOwner, PrewarmStats
from turbosock.client.ticking_dial import TickingDial
from turbosock.errors import Cancelled, ClientClosed, Phase, TurbosockError
from turbosock.reactor.timers import NEVER

if TYPE_CHECKING:
    from turbosock.client.loop_connection import LoopConnection
    from turbosock.client.loop_services import LoopServices
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.pool.refill import Refill


class LoopPrewarmer(PrewarmOwner):
    """Keeps the prewarmed origins of one Loop.

    Args:
        loop: what dials need of it.
    """

    def __init__(self, loop: LoopServices) -> None:
        self._loop = loop
        self._kept: list[Prewarming] = []
        self._timer = loop.reactor.timers.idle(self)

    def add(self, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> Prewarming:
        """Keep connections to `origin` ready from now on."""
        prewarming = Prewarming(self, origin, refill, timeouts, url)
        self._kept.append(prewarming)
        self.wake()
        return prewarming

    def wake(self) -> None:
        self._timer.move(self._loop.reactor.clock.now_ns())

    def remove(self, prewarming: Prewarming) -> None:
        self._kept = [kept for kept in self._kept if kept is not prewarming]
        if not self._kept:
            self._timer.disarm()

    def on_timer(self, now_ns: int) -> None:
        """Dial what is due, and set the next time."""
        due_ns = NEVER
        for prewarming in tuple(self._kept):
            if now_ns >= prewarming.interval_end_ns:
                # What is unfit needs no looking for: the reactor watches every idle connection.
                prewarming.begin_interval(now_ns)
            for _ in range(prewarming.warm.builds_due(now_ns)):
                place = prewarming.warm.origin.reserve_spare()
                prewarming.refill.began()
                if place is None:
                    # The pool's limits come first; the next interval looks again.
                    prewarming.refill.abandoned()
                    prewarming.begin_interval(now_ns)
                    break
                target = _Target(self._loop, prewarming, now_ns)
                target.dial = TickingDial(target, self._loop, prewarming.warm.origin, place)
                self._loop.queue_dial(target.dial)
            due_ns = min(due_ns, prewarming.next_due_ns())
        # A timer's own step must not make it due again: that would hold the turn.
        self._timer.move(max(due_ns, now_ns + 1))

    def stats(self) -> tuple[PrewarmStats, ...]:
        """Of each origin."""
        return tuple(prewarming.stats() for prewarming in self._kept)

    def close(self) -> None:
        """End with the loop."""
        for prewarming in tuple(self._kept):
            prewarming.close()


class _Target:
    """For whom a prewarming's dial is; see ticking_dial.DialTarget."""

    def __init__(self, loop: LoopServices, prewarming: Prewarming, now_ns: int) -> None:
        self._loop = loop
        self._prewarming = prewarming
        self.timeouts = prewarming.timeouts
        self.deadline_ns = now_ns + prewarming.timeouts.total_ns
        self.phase = Phase.NONE
        self.dial: TickingDial | None = None
        self._over = False

    def on_connected(self, connection: LoopConnection) -> None:
        """One more is ready, unless somebody waits for it."""
        self._over = True
        try:
            now_ns = self._loop.reactor.clock.now_ns()
            self._prewarming.warm.origin.give_back(connection, now_ns)
            connection.rest(now_ns)
        except BaseException:
            self._prewarming.refill.abandoned()
            raise
        self._prewarming.built(now_ns)

    def fail(self, error: TurbosockError) -> None:
        """The dial failed, or was given up."""
        if self._over:
            return
        self._over = True
        prewarming = self._prewarming
        if isinstance(error, (Cancelled, ClientClosed)):
            prewarming.refill.abandoned()
        else:
            prewarming.failed(error, self._loop.reactor.clock.now_ns())
        if not prewarming.closed:
            prewarming.wake()
        if self.dial is not None:
            self.dial.orphan()

    def break_off(self, error: BaseException) -> None:
        """A step of the dial raised what is not the network's, and raises it again."""
        self.fail(Cancelled(f"a step broke off with {type(error).__name__}"))
