"""ChainedResponse: a Response with middleware around it; what a Client with links makes instead.

Waiting for a link is the thread's own sleep, which `wake()`, `cancel()` and the client's end cut short. The links are
left when the exchange has let its connection go: at the end of the body, at `close()`, or at a failure.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from turbosock.client.middleware.base import GO
from turbosock.client.middleware.chained import Chained
from turbosock.client.response import Response, StreamedResponse
from turbosock.errors import Phase, TurbosockError
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.middleware.timeline import Timeline
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.source import BodySource

_QUEUE = Phase.QUEUE

_monotonic_ns = time.monotonic_ns


class _ChainedPerformance(Chained, Response):
    """What both kinds of response do with links."""

    _event: threading.Event | None
    _performing: bool
    _woken: bool

    def forget(self) -> None:
        self.timeline: Timeline | None = None
        super().forget()
        self._entered = 0
        self._event = None
        self._performing = False
        self._woken = False
        self.attempts = 0

    now_ns = staticmethod(_monotonic_ns)

    def perform(self, prepared: PreparedRequest, source: BodySource | None, timeouts: Timeouts) -> None:
        """As Response.perform, within the links."""
        chain = self._client.chain
        assert chain is not None, "a client with links makes these"
        now_ns = _monotonic_ns()
        self.prepared = prepared
        self.timeouts = timeouts
        self.started_ns = now_ns
        self.deadline_ns = now_ns + timeouts.total_ns
        self._performing = True
        try:
            while True:
                failure = None
                try:
                    self._enter_links(chain)
                    self.begin_attempt()
                    super().perform(prepared, source, timeouts)
                    chain.answered(self)
                except TurbosockError as error:
                    failure = self.explained(error)
                repeat = self.asked_again(chain, failure, source, _monotonic_ns())
                if repeat is None:
                    break
                self._forget_answer()
                if source is not None:
                    source.rewind()
                index, delay_ns = repeat
                self.leave_links(chain, index + 1)
                if delay_ns:
                    self._sleep_until(_monotonic_ns() + delay_ns)
            if failure is not None:
                raise failure from failure.__cause__
        except BaseException:
            self._performing = False
            self._forget_answer()
            self.leave_links(chain)
            raise
        self._performing = False
        if self.connection is None:
            self.leave_links(chain)

    def _forget_answer(self) -> None:
        """Let go of what an attempt left behind."""
        self.drop_connection()
        ring = self.ring
        if ring is not None:
            self.ring = None
            self._client.rings.give_back(ring)
        self.head = None
        self.trailers = None
        self.tls = None
        self.retries = 0

    def _enter_links(self, chain: Chain) -> None:
        count = len(chain.links)
        while self._entered < count:
            index = self._entered
            self._entered = index + 1
            self._woken = False
            now_ns = _monotonic_ns()
            due_ns = chain.enter(index, self, now_ns)
            if due_ns != GO:
                self._wait_for_link(chain, index, due_ns, now_ns)

    def _wait_for_link(self, chain: Chain, index: int, due_ns: int, now_ns: int) -> None:
        began_ns = now_ns
        limit_ns = min(now_ns + self.timeouts.pool_ns, self.deadline_ns)
        # Not a moment of the timeline: `held_ns` tells.
        self._phase = _QUEUE
        client = self._client
        # A response that was dropped unclosed may hold what is waited for.
        client.close_abandoned()
        client.held.add(self)
        self.waiter = self
        try:
            while due_ns != GO:
                self.check_wait(due_ns, limit_ns, now_ns)
                self._sleep_until(min(due_ns, limit_ns))
                self._woken = False
                now_ns = _monotonic_ns()
                due_ns = chain.enter(index, self, now_ns)
                if due_ns != GO and now_ns >= limit_ns:
                    self.check_wait(now_ns, limit_ns, now_ns)
        finally:
            self.waiter = None
            client.held.discard(self)
        if self.timeline is not None:
            self.timeline.held_ns += now_ns - began_ns

    def _sleep_until(self, due_ns: int) -> None:
        """Sleep until then, or until `wake()`; raises as check_deadline."""
        event = self._event
        if event is None:
            event = self._event = threading.Event()
        event.clear()
        self.check_deadline()
        if not self._woken:
            event.wait(max(0, due_ns - _monotonic_ns()) / NS_PER_S)
        self.check_deadline()

    def wake(self) -> None:
        """Have the link that holds this exchange asked again; from any thread."""
        self._woken = True
        event = self._event
        if event is not None:
            event.set()

    # What cancel() and the end of the client call.
    interrupt = wake

    def release_connection(self, now_ns: int) -> None:
        super().release_connection(now_ns)
        self._end_links()

    def drop_connection(self) -> None:
        super().drop_connection()
        self._end_links()

    def _end_links(self) -> None:
        if self._entered and not self._performing:
            chain = self._client.chain
            assert chain is not None, "a client with links makes these"
            self.leave_links(chain)

    def _wait(self, connection: Http1Connection) -> None:
        timeline = self.timeline
        if timeline is not None and connection.answered:
            timeline.note_first_byte()
        super()._wait(connection)


class ChainedResponse(_ChainedPerformance):
    """A Response that is its user's for good."""


class ChainedStreamedResponse(_ChainedPerformance, StreamedResponse):
    """A Response of `stream()`."""

    def __del__(self) -> None:
        super().__del__()
        if self._entered:
            # A finalizer may run inside anything, a link's own lock included: it only leaves itself to be found.
            self._performing = False
            self._client.abandon_links(self)

    def end_abandoned(self) -> None:
        """Leave the links of a response that was dropped; for Client."""
        self._end_links()
