"""Chained: what an exchange with middleware around it has on either face: links entered, attempts, and a timeline.

A mixin of `ChainedResponse` and `ChainedExchange`, which do the waiting. An exchange without middleware is neither, and
pays for nothing here.

Invariant: `_entered` links, from the first on, have been entered and not left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.client.exchange import ClientExchange
from turbosock.errors import Cancelled, MisuseError, Phase, PoolTimeout, TotalTimeout, TurbosockError
from turbosock.reactor.timers import NEVER

if TYPE_CHECKING:
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.middleware.timeline import Timeline
    from turbosock.connection.source import BodySource


# What broke off inside a step or a link is a bug to be seen, not a fault of the network.
_OURS: Final = ("broken_off", "middleware_failed")


class Chained(ClientExchange):
    """An exchange as links see it; see the module.

    Attributes:
        attempts: how often the request was begun; above 1 where a link asked for another attempt.
        timeline: the record that a link attached, until that link is left; or None.
    """

    # No slots: a mixin with slots of its own does not go with two faces that have theirs.
    _entered: int
    _phase: Phase
    attempts: int
    timeline: Timeline | None

    def wake(self) -> None:
        """Have the link that holds this exchange asked again; from any thread."""
        raise AssertionError("each face wakes in its own way")

    def now_ns(self) -> int:
        """The time on the clock of the exchange's driver."""
        raise AssertionError("each face has its own clock")

    @property
    def phase(self) -> Phase:
        """What the exchange is doing; each change is a moment of its timeline."""
        return self._phase

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._phase = phase
        timeline = self.timeline
        if timeline is not None:
            timeline.reach(phase)

    @property
    def received(self) -> int:
        """Bytes of the answer's body so far, those that nobody has read yet included where they came with the head."""
        ring = self.ring
        return self.nbytes if ring is None else self.nbytes + ring.length

    def begin_attempt(self) -> None:
        """The links let it go: the request is sent now."""
        self.attempts += 1
        timeline = self.timeline
        if timeline is not None:
            timeline.begin_attempt()

    def leave_links(self, chain: Chain, first: int = 0) -> None:
        """Leave the links from the innermost to `first`."""
        while self._entered > first:
            self._entered = index = self._entered - 1
            chain.leave(index, self)

    def asked_again(
        self, chain: Chain, failure: TurbosockError | None, source: BodySource | None, now_ns: int
    ) -> tuple[int, int] | None:
        """The link that wants another attempt, and the ns to wait before it; None: this one stands."""
        if (
            self.cancelled
            or self.attempts >= limits.MAX_ATTEMPTS
            or isinstance(failure, (Cancelled, MisuseError, TotalTimeout))
            or (failure is not None and failure.code in _OURS)
            or not (source is None or source.replayable)
        ):
            return None
        repeat = chain.again(self, now_ns)
        if repeat is None or now_ns + repeat[1] >= self.deadline_ns:
            # No time is left for it: what there is now is better than a timeout.
            return None
        return repeat

    def check_wait(self, due_ns: int, limit_ns: int, now_ns: int) -> None:
        """Raise where a link's wait cannot end in time: at once, not when the time has passed.

        Raises:
            TotalTimeout, PoolTimeout.
        """
        if due_ns == NEVER:
            due_ns = now_ns
        if due_ns < limit_ns:
            return
        if limit_ns >= self.deadline_ns:
            raise TotalTimeout(
                f"middleware would hold the request past its total deadline of {self.timeouts.total_s} s; raise it, or "
                "the limit that the middleware keeps"
            )
        raise PoolTimeout(
            f"middleware held the request for pool_s={self.timeouts.pool_s} s, or would; raise it, or the limit that "
            "the middleware keeps"
        )
