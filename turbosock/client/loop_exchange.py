"""Exchange: one request and its answer inside a Loop; the same state as a Response, stepped by readiness.

What the blocking face does by waiting is done here by being called: `offer()` when the pool has a connection or a
place, `on_readable()` and `on_writable()` when the socket is ready, `on_timer()` when the nearer deadline passed.
What is here is the exchange from its beginning to the head, and its end. Where its body goes is in `exchange_body.py`.

Invariants: an exchange ends exactly once, with one RESPONSE or ERROR event if it asked for events; nothing here runs
outside the loop's thread except `cancel()`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from turbosock.client.events import Event, EventKind
from turbosock.client.exchange import CONTINUE_WAIT_NS
from turbosock.client.exchange_body import ExchangeBody, TickedConnection
from turbosock.client.flow import Flow
from turbosock.client.hold_timer import HoldTimer
from turbosock.client.pooled_steps import PooledSteps
from turbosock.client.queue_timer import QueueTimer
from turbosock.client.ticking_dial import TickingDial
from turbosock.errors import (
    Cancelled,
    Origin,
    Phase,
    PoolTimeout,
    ReadTimeout,
    TotalTimeout,
    TurbosockError,
    WriteError,
    WriteTimeout,
)
from turbosock.reactor.context import PENDING

if TYPE_CHECKING:
    from turbosock.client.flow import Hop
    from turbosock.client.loop_services import LoopServices
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.source import BodySource
    from turbosock.pool.origin_pool import Place, PooledConnection
    from turbosock.protocol.http1.head import ResponseHead


# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_BODY = Phase.BODY
_CONNECT = Phase.CONNECT
_HEAD = Phase.HEAD
_NONE = Phase.NONE
_QUEUE = Phase.QUEUE
_SEND = Phase.SEND
_RESPONSE = EventKind.RESPONSE
_ERROR = EventKind.ERROR

# Of what is not ours, whose catcher raises it again.
_BROKEN_OFF: Final = "broken_off"
# Of an exchange that ended when there was no memory even for an error of its own; nothing is written into it.
_WITHOUT_WORDS = TurbosockError("there was no memory; the call that took the step said so", code=_BROKEN_OFF)


class Exchange(ExchangeBody, Event):
    """A request under way in a Loop, and the event of its end.

    Attributes:
        done: whether it has ended, with an answer or an error.
        error: what failed, or None.
        user: yours.
    """

    __slots__ = (
        "_hold",
        "_hop",
        "notifies",
        "_queue_timer",
        "dial",
        "kind",
        "user",
    )

    # What an event has and an exchange has not.
    data = None
    # Whether it may serve another request once nobody holds it.
    pooled = True

    def __init__(self, loop: LoopServices) -> None:
        self._loop = loop
        self._now_ns = loop.reactor.clock.now_ns
        # Only the loop's thread touches the connection: cancel() of another thread goes through the loop.
        self._guard = None
        self.forget()

    def forget(self) -> None:
        """Back to the state of a new exchange; nothing of the last request stays reachable."""
        self.connection = None
        self.head = None
        self.error = None
        self.source = None
        self.ring = None
        self.trailers = None
        self.tls = None
        self._content = None
        self._encoding = None
        self.on_informational = None
        self.cancelled = False
        self.nbytes = 0
        self.retries = 0
        self.phase = _NONE
        self.started_ns = 0
        self.sent_since_ns = 0
        self.series = None
        self.finished_ns = 0
        self.flow = None
        self.deadline_ns = 0
        self._bytes_moved = 0.0
        self._quiet_since_ns = 0
        self.dial: TickingDial | None = None
        self._gatherer = None
        self._queue_timer: QueueTimer | None = None
        # The request that comes next, while it is waited for.
        self._hop: Hop | None = None
        self._hold: HoldTimer | None = None
        self.notifies = True
        self._stream = False
        self.gathers = False
        self.kind = _RESPONSE
        self.done = False
        self.into = None
        self.user: object = None

    # Starting

    def begin(
        self,
        prepared: PreparedRequest,
        source: BodySource | None,
        timeouts: Timeouts,
        into: memoryview | None,
        stream: bool,
        notify: bool,
        flow: Flow | None = None,
    ) -> None:
        """Take a connection, or ask for one; for Loop only."""
        now_ns = self._now_ns()
        self.prepared = prepared
        self.source = source
        self.timeouts = timeouts
        self.into = into
        self._stream = stream
        self.gathers = into is None and not stream
        self.notifies = notify
        self.flow = flow
        self.started_ns = now_ns
        self.deadline_ns = now_ns + timeouts.total_ns
        self._proceed(now_ns)

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

    def _send_on(self, connection: TickedConnection, now_ns: int) -> None:
        prepared = self.prepared
        self.connection = connection
        transport = connection.transport
        self.tls = transport.tls
        connection.owner = self
        self.phase = _SEND
        self._quiet_since_ns = now_ns
        timeouts = self.timeouts
        limit_ns = timeouts.read_ns if timeouts.read_ns < timeouts.write_ns else timeouts.write_ns
        source = self.source
        try:
            if self.on_informational is not None:
                connection.on_interim = self.on_informational
            if source is None:
                connection.start(prepared.method, prepared.head, None, prepared)
            else:
                connection.start(
                    prepared.method,
                    prepared.head,
                    source,
                    prepared,
                    wait_for_continue=prepared.expect_continue,
                )
                if self.done:
                    # The upload's progress callback closed the loop.
                    return
                if prepared.expect_continue:
                    limit_ns = min(limit_ns, CONTINUE_WAIT_NS)
                self._bytes_moved = transport.bytes_in + transport.bytes_out
            deadline_ns = now_ns + limit_ns
            if deadline_ns > self.deadline_ns:
                deadline_ns = self.deadline_ns
            # An earlier deadline of the same connection is left standing: when it fires, on_timer() puts it right.
            # That is rare, and this is every request.
            timer = connection.timer
            if timer.deadline_ns > deadline_ns:
                timer.move(deadline_ns)
            if connection.sent:
                self.phase = _HEAD
            if transport.receive_context.state != PENDING:
                connection.arm()
        except WriteError as error:
            self._send_failed(connection, error)
        except TurbosockError as error:
            self._broken(error)
        except BaseException as error:
            self.break_off(error)
            raise

    # Steps

    def on_writable(self) -> None:
        """The socket takes bytes again."""
        connection = self.connection
        if connection is None:
            return
        try:
            connection.on_writable()
            if self.done:
                # As in _send_on().
                return
            if connection.sent and self.phase is _SEND:
                self.phase = _HEAD
            self._note_progress(connection)
        except WriteError as error:
            self._send_failed(connection, error)
        except TurbosockError as error:
            self._broken(error)
        except BaseException as error:
            self.break_off(error)
            raise

    def _send_failed(self, connection: TickedConnection, error: WriteError) -> None:
        """A server that refuses an upload answers, closes, and resets what still comes: its answer may be here."""
        if error.origin is not Origin.REMOTE or self.source is None or not self._answered_anyway(connection):
            self._broken(error)
            return
        connection.abandon_request()
        head = connection.head
        assert head is not None, "it answered"
        self.head = head
        self.series = None
        self.prepared.note_answer(head)
        self.phase = _BODY
        try:
            self._take_special(connection, head)
        except TurbosockError as failure:
            self._broken(failure)
        except BaseException as failure:
            self.break_off(failure)
            raise

    def _answered_anyway(self, connection: TickedConnection) -> bool:
        transport = connection.transport
        try:
            while not transport.is_quiet():
                transport.readable = True
                if connection.read_head() is not None:
                    return True
        except TurbosockError:
            # There is no whole answer: the failed write stands as the error.
            return False
        return False

    def on_readable(self) -> None:
        """The socket has bytes, or its end."""
        connection = self.connection
        if connection is None:
            return
        try:
            head = self.head
            if head is None:
                head = connection.read_head()
                if head is None:
                    if self.done:
                        # The callback for interim answers ended it.
                        return
                    if connection.transport.readable:
                        self._requeue(connection)
                    else:
                        connection.arm()
                    if connection.sent and self.phase is _SEND:
                        # An interim 100 let the body go, whole.
                        self.phase = _HEAD
                    self._note_progress(connection)
                    return
                if not connection.sent:
                    connection.abandon_request()
                self.head = head
                self.phase = _BODY
                prepared = self.prepared
                if head is prepared.expected:
                    self.series = prepared.series
                else:
                    self.series = None
                    prepared.note_answer(head)
                    if not head.special and self.flow is None:
                        self._check_fits(head.whole_length)
                if head.special or self.flow is not None:
                    self._take_special(connection, head)
                    return
            if connection.whole:
                self._take_whole(connection, connection.ring)
            else:
                self._take_body(connection)
        except TurbosockError as error:
            self._broken(error)
        except BaseException as error:
            self.break_off(error)
            raise

    def _take_special(self, connection: TickedConnection, head: ResponseHead) -> None:
        """An answer that may ask for another request."""
        if self._goes_on(None):
            return
        self._check_fits(head.whole_length)
        if connection.whole:
            self._take_whole(connection, connection.ring)
        else:
            self._take_body(connection)

    def _goes_on(self, failure: TurbosockError | None) -> bool:
        """Have another request follow this answer, or this failure; False: it stands."""
        flow = self.flow
        if flow is None:
            flow = self.flow = Flow(self._loop.session)
        now_ns = self._now_ns()
        hop = flow.after(self.prepared, self.head, failure, now_ns, self.deadline_ns)
        if hop is None:
            return False
        if not self.done:
            self._let_connection_go()
            self.forget_answer()
            self._bytes_moved = 0.0
        # In a later step, even without a delay: an origin that answers at once must not hold the loop.
        if not self.done:
            self._hop = hop
            self._hold_until(now_ns + max(hop.delay_ns, 1))
        return True

    def _let_connection_go(self) -> None:
        """Another request follows: let go of what this one held, and keep its connection if that costs no wait."""
        if self._gatherer is not None:
            self._gatherer.abandon()
            self._gatherer = None
        self._stop_connecting()
        connection = self.connection
        if connection is not None:
            if self.head is not None and connection.drain():
                self._release(connection)
            else:
                self._count_left()
                self.drop_connection()

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

    def on_timer(self, now_ns: int) -> None:
        """The connection's timer: fail if a limit passed, else set it anew."""
        connection = self.connection
        assert connection is not None, "the timer of a connection finds its exchange through it"
        try:
            self._look_at_limits(connection, now_ns)
        except TurbosockError as error:
            self._broken(error)
        except BaseException as error:
            self.break_off(error)
            raise

    def _look_at_limits(self, connection: TickedConnection, now_ns: int) -> None:
        timeouts = self.timeouts
        if now_ns >= self.deadline_ns:
            self.fail(TotalTimeout(f"the total deadline of {timeouts.total_s} s passed; raise it or ask for less"))
            return
        if connection.unread:
            # Bytes wait here for memory, for room or for their turn. The peer is not late.
            self._quiet_since_ns = now_ns
        elif not connection.sent and connection.transport.tls is not None:
            # A peer takes what a TLS engine holds without a step of this exchange.
            self._note_progress(connection)
        if not connection.sent and not connection.continued and self.source is not None:
            limit_ns = min(CONTINUE_WAIT_NS, timeouts.write_ns)
            if now_ns - self._quiet_since_ns >= limit_ns:
                connection.send_body()
                if connection.sent:
                    self.phase = _HEAD
                self._note_progress(connection)
        else:
            limit_ns = timeouts.read_ns if connection.sent else timeouts.write_ns
        if now_ns - self._quiet_since_ns >= limit_ns:
            if connection.sent:
                self.fail(ReadTimeout(f"the peer sent nothing for {timeouts.read_s} s; raise read_s or try later"))
            else:
                self.fail(WriteTimeout(f"the peer took no byte for {timeouts.write_s} s; raise write_s or try later"))
            return
        due_ns = min(self._quiet_since_ns + limit_ns, self.deadline_ns)
        connection.timer.move(max(due_ns, now_ns + 1))

    # Ending

    def _finish(self) -> None:
        if self._gatherer is not None:
            self._content = self._gatherer.take()
            self._gatherer = None
        connection = self.connection
        assert connection is not None, "finished once"
        self._release(connection)
        # The caller's memory is free again, though the exchange may be held for long.
        self.into = None
        if self.source is not None:
            self._release_source()
        self.done = True
        try:
            if self.notifies:
                self._loop.events.append(self)
        except MemoryError:
            # A second attempt: an end that is not told would be none.
            self._loop.events.append(self)
            raise
        finally:
            self._loop.requests.take_back(self)

    def _release(self, connection: TickedConnection) -> None:
        """The answer was read: the connection goes back to its origin, and is watched there."""
        # A receive that filled its buffer left this unknown. Only the poller tells whether there is more, and the next
        # exchange has to wait for it.
        transport = connection.transport
        transport.readable = False
        try:
            self.release_connection(self._now_ns())
        except BaseException:
            connection.discard()
            raise
        if transport.fd >= 0 and connection.owner is None:
            try:
                # Idle: it is told when the peer closes, and closes itself when it was idle for too long.
                transport.arm()
                due_ns = self.finished_ns + self._loop.pool.max_idle_ns
                retire_ns = connection.retire_ns
                if due_ns > retire_ns:
                    due_ns = retire_ns
                timer = connection.timer
                if timer.deadline_ns > due_ns:
                    timer.move(due_ns)
            except TurbosockError:
                # It cannot be watched, or there is no timer. The answer is here all the same.
                connection.discard()
            except BaseException:
                connection.discard()
                raise

    def _broken(self, error: TurbosockError) -> None:
        if not self.may_send_again(error):
            self.fail(error)
            return
        try:
            self.retries += 1
            self.drop_connection()
            if self.source is not None:
                self.source.replay()
            self._dial_or_queue(self._now_ns())
        except WriteError as failure:
            self.fail(failure)
        except BaseException as interrupt:
            # As in fail().
            self.break_off(interrupt)
            raise

    def break_off(self, error: BaseException) -> None:
        """End with an error that is not ours, whose catcher raises it again: no exchange is left without an end."""
        if self.done:
            return
        try:
            broken = TurbosockError(
                # Not what it says: a callback may say anything. Its catcher has it.
                f"a step broke off with {type(error).__name__}; the call that took it raised the same",
                code=_BROKEN_OFF,
            )
        except MemoryError:
            broken = _WITHOUT_WORDS
        self.fail(broken)

    def fail(self, error: TurbosockError) -> None:
        """End the exchange with an error, unless it is worth another attempt."""
        if self.done:
            return
        if self.flow is not None and self.head is None and error.code != _BROKEN_OFF:
            try:
                if self._goes_on(self.explained(error)):
                    return
            except TurbosockError as failure:
                error = failure
            except BaseException as interrupt:
                # Who called this may be past where it would look for it.
                self.break_off(interrupt)
                raise
        self._conclude(error)
        # Whatever breaks off in here, for want of memory or by an interrupt: what is held is given back, and the end
        # is told.
        try:
            if error is not _WITHOUT_WORDS:
                error = self.explained(error)
            # Their frames are ours, and would keep the caller's buffer for as long as the exchange is held: those of
            # the error, and of what it came from.
            cause: BaseException | None = error
            while cause is not None:
                cause.__traceback__ = None
                cause = cause.__cause__ or cause.__context__
            if self._gatherer is not None:
                self._gatherer.abandon()
                self._gatherer = None
        finally:
            try:
                self._stop_connecting()
            finally:
                try:
                    self.drop_connection()
                finally:
                    self._tell_failure()

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

    def _conclude(self, error: TurbosockError) -> None:
        self.error = error
        self.done = True
        self.kind = _ERROR
        self.into = None

    def _release_source(self) -> None:
        source = self.source
        assert source is not None, "asked for where there is one"
        self.source = None
        source.release()

    def _tell_failure(self) -> None:
        if self.source is not None:
            # Not before its connection, which views its memory.
            self._release_source()
        try:
            self.finished_ns = self._now_ns()
            if self.notifies:
                self._loop.events.append(self)
        except MemoryError:
            # As in _finish(). That the time is not known can be borne.
            if self.notifies:
                self._loop.events.append(self)
            raise
        finally:
            self._loop.requests.take_back(self)

    def drop(self, error: TurbosockError) -> None:
        """In the child of a fork: end without a step. The connection, the dial and the line are the parent's."""
        if self.done:
            return
        self._conclude(error)
        self.source = None
        self.explained(error)
        self.finished_ns = self._now_ns()
        self.connection = None
        self.dial = None
        self._hold = None
        self._hop = None
        self._queue_timer = None
        if self._gatherer is not None:
            self._gatherer.abandon()
            self._gatherer = None

    def cancel(self) -> None:
        """End the exchange: at once on the loop's thread, in its next turn from any other."""
        if self.done:
            return
        self.cancelled = True
        self._loop.requests.cancel_later(self)

    def attend(self) -> None:
        """The loop was asked to look after this exchange, by `cancel()` for one."""
        if self.cancelled:
            self.end_cancelled()

    def end_cancelled(self) -> None:
        """The loop's part of `cancel()`."""
        if not self.done:
            self.fail(Cancelled("the exchange was cancelled"))

    def resume_later(self) -> None:
        """There seems to be memory, and room for events, again: go on in a step of its own."""
        if self.connection is not None:
            self._requeue(self.connection)

    def resume(self) -> None:
        """See whether there is memory, and room for events, again."""
        connection = self.connection
        if connection is None:
            return
        try:
            if connection.whole:
                self._take_whole(connection, connection.ring)
            else:
                self._take_body(connection)
        except TurbosockError as error:
            self._broken(error)
        except BaseException as error:
            self.break_off(error)
            raise

    # What the user reads

    @property
    def exchange(self) -> Exchange:
        """The exchange itself: it is the event of its own end."""
        return self

    @property
    def elapsed(self) -> timedelta:
        """From the start of the request to the end of the answer, or to now."""
        end_ns = self.finished_ns or self._now_ns()
        return timedelta(microseconds=(end_ns - self.started_ns) / 1000)

    def __repr__(self) -> str:
        status = self.head.status_code if self.head is not None else "no answer"
        state = "done" if self.done else "under way"
        return f"<Exchange {self.prepared.method} {self.prepared.url.safe} {status} {state}>"
