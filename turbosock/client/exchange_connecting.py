"""ExchangeConnecting: an exchange of a Loop, as far as it waits to be sent: for a time, in line, or for a dial.

A request asks its origin for an idle connection, else for a place to dial into, else it stands in line, where it is
offered the one or the other. Before a further request, or where middleware says so, it waits for a time of its own.

Invariants: it waits for one of the three at most; a place that was reserved is the dial's to give back, or goes back
here; whatever comes after the exchange has ended is not taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.exchange_ending import ExchangeEnding
from turbosock.client.hold_timer import HoldTimer
from turbosock.client.pooled_steps import PooledSteps
from turbosock.client.queue_timer import QueueTimer
from turbosock.client.ticking_dial import TickingDial
from turbosock.errors import Phase, PoolTimeout, TotalTimeout, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.client.flow import Hop
    from turbosock.pool.origin_pool import Place, PooledConnection

# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_CONNECT = Phase.CONNECT
_QUEUE = Phase.QUEUE


class ExchangeConnecting(ExchangeEnding):
    """A request under way in a Loop, and how it comes to its connection.

    Attributes:
        dial: the one that is under way for it, or None.
    """

    __slots__ = ("_hold", "_hop", "_queue_timer", "dial")

    # As of ClientExchange, `Exchange.forget()` sets every slot.
    _hold: HoldTimer | None
    # The request that comes next, while it is waited for.
    _hop: Hop | None
    _queue_timer: QueueTimer | None
    dial: TickingDial | None

    def _send_on(self, connection: TickedConnection, now_ns: int) -> None:
        """Send the request on a connection that is the exchange's from here on."""
        raise AssertionError("an Exchange says how it is sent")

    def _proceed(self, now_ns: int) -> None:
        """Send the request, the first or a further one, as soon as there is a connection."""
        self.sent_since_ns = now_ns
        # The pool of a Loop has nothing else.
        connection: TickedConnection | None = self.prepared.origin.take_idle(now_ns)  # type: ignore[assignment]
        if connection is not None:
            try:
                self._send_on(connection, now_ns)
            except BaseException as error:
                self._take_to_end(connection, error)
                raise
        else:
            self._dial_or_queue(now_ns)

    def _dial_or_queue(self, now_ns: int) -> None:
        try:
            place = self.prepared.origin.reserve()
            if place is not None:
                self._dial_now(place)
            else:
                self._queue(now_ns)
        except TurbosockError as error:
            # There are no more timers, say.
            self.fail(error)
        except BaseException as error:
            self.break_off(error)
            raise

    def _queue(self, now_ns: int) -> None:
        self.phase = _QUEUE
        deadline_ns = min(now_ns + self.timeouts.pool_ns, self.deadline_ns)
        self._queue_timer = QueueTimer(self, self._loop.reactor.timers, deadline_ns, now_ns)
        self.prepared.origin.wait(self)

    def _leave_queue(self) -> None:
        if self._queue_timer is not None:
            self.prepared.origin.note_queued(self._now_ns() - self._queue_timer.since_ns)
            self._queue_timer.cancel()
            self._queue_timer = None

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        """See `pool.Waiter`."""
        if self.done:
            return False
        try:
            self._leave_queue()
            if place is not None:
                self._dial_now(place)
            else:
                assert isinstance(connection, PooledSteps), "a connection of the loop, or a place, is offered"
                self._send_on(connection, self._now_ns())
        except TurbosockError as error:
            # There are no more timers, say.
            self.fail(error)
        except BaseException as error:
            if place is not None:
                self.prepared.origin.released(place)
            self._take_to_end(connection, error)  # type: ignore[arg-type]  # one of the loop's, as above
            raise
        return True

    def on_queue_timer(self, timer: QueueTimer, now_ns: int) -> None:
        """No connection was free in time."""
        if timer is not self._queue_timer:
            # As in on_hold_timer().
            return
        try:
            if now_ns >= self.deadline_ns:
                self.fail(TotalTimeout(f"the total deadline of {self.timeouts.total_s} s passed; raise it"))
            else:
                self.fail(
                    PoolTimeout(
                        f"no connection was free for {self.timeouts.pool_s} s; "
                        "raise the limits of PoolConfig, or pool_s"
                    )
                )
        except BaseException as error:
            self.break_off(error)
            raise

    def _dial_now(self, place: Place) -> None:
        """Dial into a place that was reserved."""
        self.phase = _CONNECT
        try:
            self.dial = dial = TickingDial(self, self._loop, self.prepared.origin, place)
        except BaseException:
            self.prepared.origin.released(place)
            raise
        # From here on the place is the dial's to give back.
        self._loop.dials.add(dial)

    def on_connected(self, connection: TickedConnection) -> None:
        """The dial succeeded."""
        self.dial = None
        self._send_on(connection, self._now_ns())

    def _take_to_end(self, connection: TickedConnection | None, error: BaseException) -> None:
        """A step broke off around a connection that was given to this exchange, which may not have taken it yet."""
        if connection is not None and not self.done:
            self.connection = connection
        self.break_off(error)

    def _hold_until(self, due_ns: int) -> None:
        """Wait for that time, and then proceed; 0: wait no more."""
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if due_ns:
            self._hold = HoldTimer(self, self._loop, due_ns)

    def on_hold_timer(self, timer: HoldTimer) -> None:
        """The time has come to proceed."""
        if timer is not self._hold:
            # An interrupt came before it was kept, and the exchange may serve another request by now.
            self._loop.requests.held.discard(timer)
            return
        try:
            self._hold_until(0)
            hop = self._hop
            if hop is not None:
                flow = self.flow
                assert flow is not None, "it said what comes next"
                self._hop = None
                self.prepared = flow.again(self.prepared) if hop.prepared is None else hop.prepared
                self.source = flow.source
            self._proceed(self._now_ns())
        except TurbosockError as error:
            self.fail(error)
        except BaseException as error:
            self.break_off(error)
            raise

    def _stop_connecting(self) -> None:
        """Wait for a connection no more: neither for the time to look for one, nor in line, nor for a dial."""
        try:
            self._hold_until(0)
            self._hop = None
            self._leave_queue()
            if self.phase is _QUEUE:
                self.prepared.origin.leave(self)
        finally:
            dial = self.dial
            if dial is not None:
                self.dial = None
                dial.orphan()

    def drop(self, error: TurbosockError) -> None:
        super().drop(error)
        self.dial = None
        self._hold = None
        self._hop = None
        self._queue_timer = None
