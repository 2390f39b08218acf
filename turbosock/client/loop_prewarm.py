"""Prewarming in a Loop: idle connections of chosen origins, kept ready by dials of its own turns.

    loop.prewarm("https://api.example", min_ready=2)

Invariants: everything here runs in the thread of the loop, inside its turns; such a dial is a dial like any
other, within the same caps of a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.prewarm import Prewarming, PrewarmOwner, PrewarmStats, check_alone
from turbosock.client.ticking_dial import TickingDial
from turbosock.errors import Cancelled, ClientClosed, Phase, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.loop_connection import LoopConnection
    from turbosock.client.loop_http2 import LoopHttp2Stream
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
        # Those whose dials are under way.
        self._targets: set[_Target] = set()
        self._timer = loop.reactor.timers.idle(self)

    def add(self, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> Prewarming:
        """Keep connections to `origin` ready from now on.

        Raises:
            StateError: connections to it are kept ready already.
            LimitError: too many origins are, or there are no more timers.
        """
        check_alone(self._kept, origin)
        # First, because it may fail.
        self.wake()
        prewarming = Prewarming(self, origin, refill, timeouts, url)
        self._kept.append(prewarming)
        return prewarming

    def wake(self) -> None:
        self._timer.move(self._loop.reactor.clock.now_ns())

    def remove(self, prewarming: Prewarming) -> None:
        self._kept = [kept for kept in self._kept if kept is not prewarming]
        if not self._kept:
            self._timer.disarm()
        for target in tuple(self._targets):
            if target.prewarming is prewarming:
                target.give_up()

    def on_timer(self, now_ns: int) -> None:
        """Dial what is due, and set the next time."""
        try:
            for prewarming in tuple(self._kept):
                if now_ns >= prewarming.interval_end_ns:
                    # What is unfit needs no looking for: the reactor watches every idle connection.
                    prewarming.begin_interval(now_ns)
                for _ in range(prewarming.builds_due(now_ns)):
                    if not self._begin(prewarming, now_ns):
                        break
        finally:
            if self._kept:
                due_ns = min(prewarming.next_due_ns() for prewarming in self._kept)
                # A timer's own step must not make it due again: that would hold the turn.
                self._timer.move(max(due_ns, now_ns + 1))

    def _begin(self, prewarming: Prewarming, now_ns: int) -> bool:
        """Begin a dial; False: not now."""
        origin = prewarming.warm.origin
        place = origin.reserve_spare()
        prewarming.refill.began()
        if place is None:
            prewarming.found_no_room(now_ns)
            return False
        target = _Target(self._loop, prewarming, now_ns, self._targets)
        try:
            target.dial = dial = TickingDial(target, self._loop, origin, place)
            self._targets.add(target)
        except TurbosockError as error:
            # There are no more timers, say.
            origin.released(place)
            target.fail(error)
            return False
        except BaseException as error:
            origin.released(place)
            target.break_off(error)
            raise
        self._loop.dials.add(dial)
        return True

    def stats(self) -> tuple[PrewarmStats, ...]:
        """Of each origin."""
        return tuple(prewarming.stats() for prewarming in self._kept)

    def close(self) -> None:
        """End with the loop."""
        for prewarming in tuple(self._kept):
            prewarming.close()


class _Target:
    """For whom a prewarming's dial is; see ticking_dial.DialTarget."""

    def __init__(self, loop: LoopServices, prewarming: Prewarming, now_ns: int, under_way: set[_Target]) -> None:
        self._loop = loop
        self._under_way = under_way
        self.prewarming = prewarming
        self.timeouts = prewarming.timeouts
        self.deadline_ns = now_ns + prewarming.timeouts.total_ns
        self.phase = Phase.NONE
        self.dial: TickingDial | None = None
        self._over = False

    def on_connected(self, connection: LoopConnection | LoopHttp2Stream) -> None:
        """One more is ready, unless somebody waits for it."""
        now_ns = self._loop.reactor.clock.now_ns()
        origin = self.prewarming.warm.origin
        try:
            connection.rest(now_ns)
        except TurbosockError as error:
            # There is no timer for it, or the system cannot watch it.
            origin.discard(connection)
            self.fail(error)
            return
        except BaseException as error:
            origin.discard(connection)
            self.break_off(error)
            raise
        self._end()
        origin.give_back(connection, now_ns)
        self.prewarming.built(now_ns)

    def _end(self) -> None:
        self._over = True
        self._under_way.discard(self)

    def fail(self, error: TurbosockError) -> None:
        """The dial failed, or was given up."""
        if self._over:
            return
        self._end()
        prewarming = self.prewarming
        if isinstance(error, (Cancelled, ClientClosed)):
            prewarming.refill.abandoned()
        else:
            prewarming.failed(error, self._loop.reactor.clock.now_ns())
        if not prewarming.closed:
            prewarming.wake()
        self.give_up()

    def give_up(self) -> None:
        """Nobody wants the dial any more."""
        if self.dial is not None:
            self.dial.orphan()

    def break_off(self, error: BaseException) -> None:
        """A step of the dial raised what is not the network's, and raises it again."""
        self.fail(TurbosockError(f"a step broke off with {type(error).__name__}", code="broken_off"))
