"""Chained: what an exchange with middleware around it has on either face: links entered, attempts, and a timeline.

A mixin of `ChainedResponse` and `ChainedExchange`, which do the waiting. An exchange without middleware is neither, and
pays for nothing here.

Invariants: `_entered` standing links, from the first on, have been entered and not left; nothing that an exchange holds
refers back to it, so that one that its user drops ends at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.client.exchange import ClientExchange
from turbosock.errors import (
    Cancelled,
    MisuseError,
    Phase,
    PoolTimeout,
    TotalTimeout,
    TurbosockError,
)
from turbosock.reactor.timers import NEVER

if TYPE_CHECKING:
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.middleware.timeline import Timeline
    from turbosock.connection.source import BodySource


# What broke off inside a step is a bug to be seen, not a fault of the network.
_BROKEN_OFF: Final = "broken_off"


class Chained(ClientExchange):
    """An exchange as links see it; see the module.

    Attributes:
        attempts: how often the request was begun; above 1 where a link asked for another attempt. A redirect is another
            request.
        timeline: the record that a link attached, until that link is left; or None.
    """

    # No slots: a mixin with slots of its own does not go with two faces that have theirs.
    # Zero also where an interrupt cut the constructor short, for the finalizer.
    _entered: int = 0
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
            now_ns = self.now_ns()
            while timeline is not None:
                timeline.reach(phase, now_ns)
                timeline = timeline.outer

    @property
    def received(self) -> int:
        """Bytes of the answer's body so far, those that nobody has read yet included where they came with the head."""
        ring = self.ring
        return self.nbytes if ring is None else self.nbytes + ring.length

    def begin_attempt(self) -> None:
        """The links let it go: the request is sent now."""
        self.attempts += 1
        timeline = self.timeline
        while timeline is not None:
            timeline.begin_attempt()
            timeline = timeline.outer

    def note_first_byte(self) -> None:
        """A part of the answer's head was seen."""
        timeline = self.timeline
        while timeline is not None:
            if not timeline.first_byte_ns:
                timeline.first_byte_ns = self.now_ns()
            timeline = timeline.outer

    def note_held(self, held_ns: int) -> None:
        """A link made it wait for so long."""
        timeline = self.timeline
        while timeline is not None:
            timeline.held_ns += held_ns
            timeline = timeline.outer

    def leave_links(self, chain: Chain, first: int = 0) -> None:
        """Leave the links from the innermost to `first`."""
        while self._entered > first:
            index = self._entered - 1
            try:
                # First, because a link that cancels the exchange leads here again.
                self._entered = index
                chain.leave(index, self)
            except BaseException:
                # An interrupt, and perhaps before the link gave anything back.
                self._entered = index
                chain.leave(index, self)
                self.leave_links(chain, first)
                raise

    def asked_again(
        self, chain: Chain, failure: TurbosockError | None, source: BodySource | None, now_ns: int
    ) -> tuple[int, int] | None:
        """How many links stay entered for another attempt, and the ns to wait before it; None: this one stands.

        The source is at its beginning again where there is one.

        Raises:
            TurbosockError: a link's own, or the body could not be rewound.
        """
        if (
            not chain.repeats
            or self.cancelled
            or self.attempts >= limits.MAX_ATTEMPTS
            or isinstance(failure, (Cancelled, MisuseError, TotalTimeout))
            or (failure is not None and failure.code == _BROKEN_OFF)
            or not (source is None or source.replayable)
        ):
            return None
        repeat = chain.again(self, now_ns)
        if repeat is None or self.cancelled or now_ns + repeat[1] >= self.deadline_ns:
            # Where no time is left for it, what there is now is better than a timeout.
            return None
        if source is not None:
            source.replay()
        return repeat

    def check_wait(self, due_ns: int, limit_ns: int, now_ns: int) -> None:
        """Raise where a link's wait cannot end in time: at once, not when the time has passed.

        Raises:
            TotalTimeout, PoolTimeout.
        """
        if now_ns < limit_ns and (due_ns < limit_ns or due_ns == NEVER):
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


def broken_off(error: BaseException) -> TurbosockError:
    """What links are told of an error that is not ours, and that the call itself raises."""
    return TurbosockError(f"a step broke off with {type(error).__name__}", code=_BROKEN_OFF)
