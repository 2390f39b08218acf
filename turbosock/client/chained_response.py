"""ChainedResponse: a Response with middleware around it; what a Client with links makes instead.

Waiting for a link is the thread's own sleep, which `wake()`, `cancel()` and the client's end cut short. The links are
left when the exchange has let its connection go, and it is known why: at the end of the body, at `close()`, or at a
failure. Those of a response that was dropped are left by the next thread that asks its client for something.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from turbosock.client.middleware.base import GO
from turbosock.client.middleware.chained import Chained, broken_off
from turbosock.client.response import Response, StreamedResponse
from turbosock.errors import Phase, TurbosockError
from turbosock.reactor.clock import NS_PER_S, virtual

if TYPE_CHECKING:
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.middleware.timeline import Timeline
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.http2_stream import Http2Stream
    from turbosock.connection.source import BodySource
    from turbosock.pool.origin_pool import PooledConnection
    from turbosock.transport.transport import Transport

_QUEUE = Phase.QUEUE


class _ChainedPerformance(Chained, Response):
    """What both kinds of response do with links."""

    # Whether perform() runs, and decides itself when the links are left.
    _performing: bool
    _woken: bool
    # What the thread sleeps on, once it must: of all locks and queues this one may be woken from a finalizer.
    _wakes: SimpleQueue[None] | None

    def forget(self) -> None:
        self.timeline: Timeline | None = None
        super().forget()
        self._entered = 0
        self._performing = False
        self._woken = False
        self._wakes = None
        self.attempts = 0

    def now_ns(self) -> int:
        return self._now_ns()

    def _chain(self) -> Chain:
        chain = self._client.chain
        assert chain is not None, "a client with links makes these"
        return chain

    def perform(self, prepared: PreparedRequest, source: BodySource | None, timeouts: Timeouts) -> None:
        """As Response.perform, within the links."""
        chain = self._chain()
        self.prepared = prepared
        self.timeouts = timeouts
        if not self.deadline_ns:
            # A redirect, or another attempt, has what is left of the first request's.
            self.started_ns = self._now_ns()
            self.deadline_ns = self.started_ns + timeouts.total_ns
        # A link may cancel it from any thread.
        self.make_cancellable()
        self._performing = True
        try:
            while not self._attempt(chain, source):
                pass
            if self.connection is None:
                self.leave_links(chain)
            self._performing = False
        except TurbosockError as error:
            failure = self.explained(error)
            self._end_attempt(chain, 0)
            raise failure from error.__cause__
        except BaseException as error:
            self.error = broken_off(error)
            self._end_attempt(chain, 0)
            raise

    def _attempt(self, chain: Chain, source: BodySource | None) -> bool:
        """Send the request once; False: a link wants another attempt, and its time has come."""
        count = len(chain.standing)
        now_ns = self._now_ns()
        while self._entered < count:
            index = self._entered
            self._entered = index + 1
            self._woken = False
            due_ns = chain.enter(index, self, now_ns)
            if due_ns != GO:
                self._wait_for_link(chain, index, due_ns, now_ns)
                now_ns = self._now_ns()
        self.begin_attempt()
        failure = None
        try:
            Response.perform(self, self.prepared, source, self.timeouts)
        except TurbosockError as error:
            failure = error
        if failure is None:
            if chain.answers:
                chain.answered(self)
            if not chain.repeats:
                return True
        repeat = self.asked_again(chain, failure, source, self._now_ns())
        if repeat is None:
            if failure is not None:
                raise failure from failure.__cause__
            return True
        kept, delay_ns = repeat
        self._end_attempt(chain, kept)
        due_ns = self._now_ns() + delay_ns
        while self._now_ns() < due_ns:
            self._woken = False
            self._sleep_until(due_ns)
        return False

    def _end_attempt(self, chain: Chain, first: int) -> None:
        """Let go of what an attempt has left behind, and of the links from `first` on."""
        self._count_left()
        self.drop_connection()
        try:
            self.leave_links(chain, first)
        finally:
            self._give_ring_back()
            self.forget_answer()

    def _wait_for_link(self, chain: Chain, index: int, due_ns: int, now_ns: int) -> None:
        began_ns = now_ns
        limit_ns = min(now_ns + self.timeouts.pool_ns, self.deadline_ns)
        # Not a moment of the timeline: `held_ns` tells.
        self._phase = _QUEUE
        try:
            while due_ns != GO:
                # A response that was dropped unclosed may hold what is waited for.
                self._client.connections.close_abandoned()
                self.check_wait(due_ns, limit_ns, now_ns)
                self._sleep_until(min(due_ns, limit_ns))
                self._woken = False
                now_ns = self._now_ns()
                due_ns = chain.enter(index, self, now_ns)
        finally:
            self.note_held(self._now_ns() - began_ns)

    def _sleep_until(self, due_ns: int) -> None:
        """Sleep until then, or until `wake()`; raises as check_deadline."""
        wakes = self._wakes
        if wakes is None:
            wakes = self._wakes = SimpleQueue()
        held = self._client.held
        held.add(self)
        self.waiter = self
        try:
            # cancel(), wake() and the client's end may have come before they could see that it sleeps.
            self.check_deadline()
            passing = virtual(self._client.clock)
            if passing is not None:
                passing.wait(due_ns - self._now_ns(), lambda: self._woken)
            elif not self._woken:
                wakes.get(timeout=max(0, due_ns - self._now_ns()) / NS_PER_S)
        except Empty:
            pass
        finally:
            self.waiter = None
            held.discard(self)
        self.check_deadline()

    def wake(self) -> None:
        """Have the link that holds this exchange asked again; from any thread, and from finalizers."""
        self._woken = True
        wakes = self._wakes
        if wakes is not None:
            wakes.put(None)

    # What cancel() and the end of the client call.
    interrupt = wake

    # Where links are left once perform() has returned: each failure drops the connection and then explains itself, an
    # interrupt only drops it, and close() drops it where the body was not read.

    def release_connection(self, now_ns: int) -> None:
        Response.release_connection(self, now_ns)
        if self._entered and not self._performing:
            self._end_links()

    def take_over(self, now_ns: int) -> tuple[Transport | Http2Stream, bytes]:
        taken = super().take_over(now_ns)
        self._end_links()
        return taken

    def _let_connection_go(self) -> None:
        super()._let_connection_go()
        # While the links can see the answer; the next request enters them anew.
        self._end_links()
        self.attempts = 0

    def drop_connection(self) -> None:
        super().drop_connection()
        if self.closed:
            self._end_links()

    def explained(self, error: TurbosockError) -> TurbosockError:
        error = super().explained(error)
        if self.connection is None:
            self._end_links()
        return error

    def _read_on(self, buffer: memoryview) -> int:
        try:
            return super()._read_on(buffer)
        except BaseException as error:
            self._end_broken(error)
            raise

    def _gather_rest(self, connection: PooledConnection) -> bytes:
        try:
            return super()._gather_rest(connection)
        except BaseException as error:
            self._end_broken(error)
            raise

    def _end_broken(self, error: BaseException) -> None:
        if self.connection is None and self._entered:
            self.error = broken_off(error)
            self._end_links()

    def _end_links(self) -> None:
        if self._entered and not self._performing:
            self.leave_links(self._chain())

    def end_abandoned(self) -> None:
        """Leave the links of a response that was dropped; for Client."""
        self._performing = False
        self._end_links()

    def __del__(self) -> None:
        if self._entered:
            # A finalizer may run inside anything, a link's own lock included: it only leaves itself to be found, and
            # wakes those who may wait for what it holds.
            client = self._client
            client.connections.abandon_links(self)  # type: ignore[arg-type]  # it asks for `end_abandoned` alone
            for other in tuple(client.held):
                other.interrupt()

    def _wait(self, connection: PooledConnection) -> None:
        if self.timeline is not None and connection.answered:
            self.note_first_byte()
        super()._wait(connection)


class ChainedResponse(_ChainedPerformance):
    """A Response that is its user's for good."""


class ChainedStreamedResponse(_ChainedPerformance, StreamedResponse):
    """A Response of `stream()`."""

    def __del__(self) -> None:
        try:
            StreamedResponse.__del__(self)
        finally:
            # Its warning may be an error.
            _ChainedPerformance.__del__(self)
