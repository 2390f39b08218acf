"""Exchange: one request and its answer inside a Loop; the same state as a Response, stepped by readiness.

What the blocking face does by waiting is done here by being called: `offer()` when the pool has a connection or a
place, `on_readable()` and `on_writable()` when the socket is ready, `on_timer()` when the nearer deadline passed.
What is here is the request on its connection, up to the head of the answer, and what follows from that: a further
request, or another attempt. How it comes to a connection is in `exchange_connecting.py`, where its body goes in
`exchange_body.py`, how it ends in `exchange_ending.py`: each is built upon the next, and all of it is one object.

Invariant: each step leaves the exchange done, or waiting: for its socket, its connection's timer, memory, or another
connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.events import EventKind
from turbosock.client.exchange import CONTINUE_WAIT_NS
from turbosock.client.exchange_body import ExchangeBody
from turbosock.client.flow import Flow
from turbosock.errors import Origin, Phase, ReadTimeout, TotalTimeout, TurbosockError, WriteError, WriteTimeout
from turbosock.reactor.context import PENDING

if TYPE_CHECKING:
    from turbosock.client.exchange_ending import TickedConnection
    from turbosock.client.loop_services import LoopServices
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.head import ResponseHead


# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_BODY = Phase.BODY
_HEAD = Phase.HEAD
_NONE = Phase.NONE
_SEND = Phase.SEND
_RESPONSE = EventKind.RESPONSE


class Exchange(ExchangeBody):
    """A request under way in a Loop, and the event of its end.

    Attributes:
        done: whether it has ended, with an answer or an error.
        error: what failed, or None.
        user: yours.
    """

    __slots__ = ("user",)

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
        self.dial = None
        self._gatherer = None
        self._queue_timer = None
        self._hop = None
        self._hold = None
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

    def _broken(self, error: TurbosockError) -> None:
        """The connection failed: send the request again where its idle connection was stale, or fail."""
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

    def __repr__(self) -> str:
        status = self.head.status_code if self.head is not None else "no answer"
        state = "done" if self.done else "under way"
        return f"<Exchange {self.prepared.method} {self.prepared.url.safe} {status} {state}>"
