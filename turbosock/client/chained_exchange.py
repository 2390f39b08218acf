"""ChainedExchange: an Exchange with middleware around it; what a Loop with links makes instead.

A link that makes it wait costs a timer; `wake()` has the link asked again in the loop's next turn. Links are left when
the exchange is done, before its event can be seen.

Invariant: while a link holds it, or it waits before another attempt, it has a timer, by which the loop finds it when it
closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.loop_exchange import Exchange
from turbosock.client.middleware.base import GO
from turbosock.client.middleware.chained import Chained
from turbosock.errors import Phase, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.client.loop_services import LoopServices
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.middleware.timeline import Timeline
    from turbosock.connection.receive_ring import ReceiveRing
    from turbosock.protocol.http1.head import ResponseHead

_QUEUE = Phase.QUEUE


class ChainedExchange(Chained, Exchange):
    """See the module."""

    def __init__(self, loop: LoopServices) -> None:
        self.timeline: Timeline | None = None
        super().__init__(loop)

    def forget(self) -> None:
        self.timeline = None
        super().forget()
        self._entered = 0
        # Whether link `_entered - 1` was asked and has not said GO.
        self._held = False
        self._held_since_ns = 0
        self._limit_ns = 0
        # Whether an attempt is under way, and the links know of no answer.
        self._awaiting = False
        self.attempts = 0

    def now_ns(self) -> int:
        return self._now_ns()

    def _proceed(self, now_ns: int) -> None:
        """Enter the links that are left, then send the request."""
        chain = self._chain()
        count = len(chain.standing)
        try:
            while self._entered < count or self._held:
                if not self._held:
                    self._entered += 1
                due_ns = chain.enter(self._entered - 1, self, now_ns)
                if self.done:
                    # The link cancelled it.
                    return
                if due_ns != GO:
                    self._wait_for_link(due_ns, now_ns)
                    return
                if self._held:
                    self._end_hold()
                    now_ns = self._now_ns()
        except TurbosockError as error:
            self.fail(error)
            return
        except BaseException as error:
            self.break_off(error)
            raise
        self.begin_attempt()
        self._awaiting = True
        super()._proceed(now_ns)

    def _chain(self) -> Chain:
        chain = self._loop.chain
        assert chain is not None, "a loop with links makes these"
        return chain

    def _wait_for_link(self, due_ns: int, now_ns: int) -> None:
        if not self._held:
            self._held = True
            self._held_since_ns = now_ns
            self._limit_ns = min(now_ns + self.timeouts.pool_ns, self.deadline_ns)
            # Not a moment of the timeline: `held_ns` tells.
            self._phase = _QUEUE
        self.check_wait(due_ns, self._limit_ns, now_ns)
        self._hold_until(min(due_ns, self._limit_ns))

    def _end_hold(self) -> None:
        self._hold_until(0)
        if self._held:
            self._held = False
            self.note_held(self._now_ns() - self._held_since_ns)

    def wake(self) -> None:
        """Have the link that holds this exchange asked again, in the loop's next turn; from any thread."""
        self._loop.requests.attend_later(self)

    def attend(self) -> None:
        super().attend()
        if self._held and not self.done:
            self._proceed(self._now_ns())

    # The answer, and another attempt

    def _take_special(self, connection: TickedConnection, head: ResponseHead) -> None:
        if not self._awaiting or self._show_answer():
            super()._take_special(connection, head)

    def _let_connection_go(self) -> None:
        super()._let_connection_go()
        # While the links can see the answer; the next request enters them anew.
        self.leave_links(self._chain())
        self.attempts = 0

    def _take_whole(self, connection: TickedConnection, ring: ReceiveRing | None) -> None:
        if not self._awaiting or self._show_answer():
            super()._take_whole(connection, ring)

    def _take_body(self, connection: TickedConnection) -> None:
        if not self._awaiting or self._show_answer():
            super()._take_body(connection)

    def _show_answer(self) -> bool:
        """Tell the links of the answer; False: one of them wants another, or has cancelled the exchange."""
        self._awaiting = False
        chain = self._chain()
        if chain.answers:
            chain.answered(self)
        return not (self.done or self._try_again(None) or self.done)

    def _try_again(self, failure: TurbosockError | None) -> bool:
        """Begin another attempt where a link wants one and it is possible."""
        chain = self._chain()
        if not chain.repeats:
            return False
        now_ns = self._now_ns()
        repeat = self.asked_again(chain, failure, self.source, now_ns)
        if repeat is None:
            return False
        kept, delay_ns = repeat
        self._count_left()
        self.drop_connection()
        self.leave_links(chain, kept)
        if self.done:
            # A link cancelled it.
            return True
        self.forget_answer()
        self._bytes_moved = 0.0
        # In a later step, even without a delay: an origin that fails at once must not hold the loop.
        self._hold_until(now_ns + max(delay_ns, 1))
        return True

    # Ending

    def _finish(self) -> None:
        self.leave_links(self._chain())
        # A link may have cancelled it.
        if not self.done:
            super()._finish()

    def fail(self, error: TurbosockError) -> None:
        if self.done:
            return
        error = self.explained(error)
        self._end_hold()
        # Once the links have seen an answer, what its body does is not theirs.
        if self._awaiting:
            self._awaiting = False
            try:
                if self._try_again(error):
                    return
            except TurbosockError as failure:
                error = self.explained(failure)
            except BaseException as interrupt:
                self.break_off(interrupt)
                raise
        try:
            self.leave_links(self._chain())
        finally:
            super().fail(error)

    def _note_progress(self, connection: TickedConnection) -> None:
        if self.timeline is not None and connection.answered:
            self.note_first_byte()
        super()._note_progress(connection)
