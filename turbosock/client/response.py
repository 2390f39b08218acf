"""Response: an answer as a blocking program reads it.

`client.get()` and its like return a Response whose body was read whole into owned bytes: it is yours for as long as
you keep it. `client.stream()` returns one whose body is still in the connection: read it within the `with` block, by
`readinto()` without a copy, or by the iterators. Its Response object is used again for a later request once you hold
it no more, never before.

What is here is the exchange from its beginning to the head, and its end. How it waits is in `blocking_exchange.py`,
how its body is read in `response_body.py`.
"""

from __future__ import annotations

import threading
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.blocking_dial import BlockingWaiter
from turbosock.client.exchange import CONTINUE_WAIT_NS
from turbosock.client.response_body import ResponseBody
from turbosock.errors import (
    LeaseError,
    Origin,
    Phase,
    TurbosockError,
    WriteError,
    WriteTimeout,
)

if TYPE_CHECKING:
    from turbosock.buffers import ObjectPool
    from turbosock.client.client_base import ClientBase
    from turbosock.client.flow import Flow
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.source import BodySource
    from turbosock.pool.origin_pool import PooledConnection
    from turbosock.protocol.http1.head import ResponseHead
from turbosock.reactor.clock import NS_PER_S

# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_BODY = Phase.BODY
_HEAD = Phase.HEAD
_NONE = Phase.NONE
_SEND = Phase.SEND


_UPLOAD_LOOK_NS = int(limits.UPLOAD_LOOK_S * NS_PER_S)
# A body up to this length fits the send buffer of a new connection, and sending it does not wait.
_SMALL_BODY_BYTES = 16 * limits.KIB


class Response(ResponseBody):
    """An answer; see the module for the two ways to get one."""

    __slots__ = ("_pool",)

    def __init__(self, client: ClientBase, pool: ObjectPool[StreamedResponse] | None = None) -> None:
        self._client = client
        self._now_ns = client.now_ns
        # Where a streamed response goes when it is closed; None for one that is its user's for good.
        self._pool = pool
        self._lock = None if pool is None else threading.Lock()
        self.forget()

    # The same assignments as Exchange.forget(), written out: one function, one call, for every request.
    def forget(self) -> None:
        """Back to the state of a new exchange, before it is lent again; until then its answer stays readable."""
        self.connection = None
        self.head = None
        self.error = None
        self.source = None
        self.ring = None
        self.trailers = None
        self.tls = None
        self._content = None
        self._guard = None
        self.cancelled = False
        self.nbytes = 0
        self._replayed = 0
        self.retries = 0
        self.phase = _NONE
        self.started_ns = 0
        self.sent_since_ns = 0
        self.series = None
        self.finished_ns = 0
        self.flow = None
        self.deadline_ns = 0
        self._bytes_seen = 0.0
        self._quiet_since_ns = 0
        self._encoding = None
        self.on_informational = None
        self._view = None
        self._lent = None
        self.waiter = None
        self.closed = False

    # From nothing to the head

    def perform(self, prepared: PreparedRequest, source: BodySource | None, timeouts: Timeouts) -> None:
        """Send the request and wait for the final head; for Client only.

        Raises:
            TurbosockError: as the exchange ends.
        """
        # One function, because the whole cost of a request is a few of these microseconds.
        now_ns = self._now_ns()
        self.prepared = prepared
        self.timeouts = timeouts
        self.source = source
        self.sent_since_ns = now_ns
        if not self.deadline_ns:
            # Where middleware held it, or this is another attempt, it runs already.
            self.started_ns = now_ns
            self.deadline_ns = now_ns + timeouts.total_ns
        wait_ns = timeouts.read_ns
        while True:
            try:
                # A kept connection was stale: its idle neighbours are probably no better.
                connection = None if self.retries else prepared.origin.take_idle(now_ns)
                if connection is None:
                    # Held from here on: whatever is raised next, drop_connection() finds it.
                    connection = self.connection = self._client.connections.connect(self)
                    now_ns = self._now_ns()
                    wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                else:
                    self.connection = connection
                    if self.started_ns != now_ns:
                        # Of the one deadline for all that a request takes, a part is gone.
                        wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                if self.cancelled:
                    # cancel() came before there was a connection that it could shut down.
                    self.check_deadline()
                transport = connection.transport
                self.tls = transport.tls
                self.phase = _SEND
                if transport.send_budget_ns != timeouts.write_ns:
                    transport.allow_send(timeouts.write_ns)
                if self.on_informational is not None:
                    connection.on_interim = self.on_informational
                if source is None:
                    connection.start(prepared.method, prepared.head, None, prepared)
                    if not connection.sent:
                        self._send_rest(connection, now_ns)
                        now_ns = self._now_ns()
                        wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                else:
                    self._send_with_body(connection, source)
                    now_ns = self._now_ns()
                    wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                self.phase = _HEAD
                head = connection.head
                if head is None:
                    if transport.receive_budget_ns != wait_ns:
                        transport.await_readable(wait_ns)
                    head = connection.read_head()
                    if head is None:
                        head = self._await_head(connection, now_ns)
                self.head = head
                if head is prepared.expected:
                    self.series = prepared.series
                else:
                    self.series = None
                    prepared.note_answer(head)
                self.phase = _BODY
                # A response may be kept for long, and what it sent with it.
                self.source = None
                if connection.whole:
                    # The ring stays with the response until it is read; the connection is free for the next request.
                    self.ring = connection.ring
                    connection.ring = None
                    self.release_connection(self._now_ns())
                elif self._lock is not None:
                    # From here on its user may hand it to a thread that cancels it.
                    self._guard = self._lock
                return
            except TurbosockError as error:
                if not self.may_send_again(error):
                    self.drop_connection()
                    raise self.explained(error) from error.__cause__
                self.retries += 1
                self.drop_connection()
                if source is not None:
                    try:
                        source.replay()
                    except WriteError as failure:
                        raise self.explained(failure) from failure.__cause__
            except BaseException:
                # KeyboardInterrupt and the like: nobody knows how much was sent or read.
                self.drop_connection()
                raise

    def begin(self, flow: Flow, prepared: PreparedRequest, timeouts: Timeouts) -> None:
        """As `perform`, and then whatever `flow` wants; the response is the answer to the last request.

        Raises:
            TurbosockError: as the last exchange ends; or the flow's own.
        """
        self.flow = flow
        failure = None
        try:
            self.perform(prepared, flow.source, timeouts)
        except TurbosockError as error:
            failure = error
        self.pursue(flow, failure)

    def pursue(self, flow: Flow, failure: TurbosockError | None = None) -> None:
        """Send the requests that `flow` wants after the first answer, or failure; raises as `begin`."""
        self.flow = flow
        while True:
            try:
                hop = flow.after(self.prepared, self.head, failure, self._now_ns(), self.deadline_ns)
                if hop is None:
                    break
                self._let_connection_go()
                self.forget_answer()
                if hop.delay_ns:
                    self._pause(hop.delay_ns)
                prepared = flow.again(self.prepared) if hop.prepared is None else hop.prepared
            except TurbosockError as error:
                self._give_ring_back()
                self.drop_connection()
                raise self.explained(error) from error.__cause__
            except BaseException:
                self._give_ring_back()
                self.drop_connection()
                raise
            failure = None
            try:
                self.perform(prepared, flow.source, self.timeouts)
            except TurbosockError as error:
                failure = error
        if failure is not None:
            raise failure from failure.__cause__

    def _let_connection_go(self) -> None:
        """Another request follows: keep the connection of this one if that costs no wait, and close it otherwise."""
        connection = self.connection
        if connection is not None:
            if connection.drain():
                self.release_connection(self._now_ns())
            else:
                self._count_left()
                self.drop_connection()
        self._give_ring_back()

    def _give_ring_back(self) -> None:
        ring = self.ring
        if ring is not None:
            self.ring = None
            self._client.rings.give_back(ring)

    def _pause(self, delay_ns: int) -> None:
        """Sleep before another attempt; raises as check_deadline."""
        waiter = BlockingWaiter()
        held = self._client.held
        held.add(waiter)
        self.waiter = waiter
        try:
            # cancel() and the client's end may have come before they could see that it sleeps.
            self.check_deadline()
            waiter.sleep(delay_ns, self._client.clock)
        finally:
            self.waiter = None
            held.discard(waiter)
        self.check_deadline()

    def _send_with_body(self, connection: PooledConnection, source: BodySource) -> None:
        prepared = self.prepared
        now_ns = self._now_ns()
        if not 0 <= source.length <= _SMALL_BODY_BYTES:
            # One send may wait for all of a large block: it must not sleep through a refusal, or the deadline.
            limit_ns = min(self.timeouts.write_ns, _UPLOAD_LOOK_NS)
            connection.transport.allow_send(self._within_deadline(limit_ns, now_ns))
        try:
            connection.start(
                prepared.method, prepared.head, source, prepared, wait_for_continue=prepared.expect_continue
            )
            if prepared.expect_continue and not connection.continued:
                self._await_continue(connection)
                now_ns = self._now_ns()
            if not connection.sent:
                self._send_rest(connection, now_ns)
        except WriteError as error:
            # A server that refuses an upload answers, closes, and resets what still comes: its answer may be here.
            if error.origin is not Origin.REMOTE or self.cancelled or not self._answered_anyway(connection):
                raise

    def _answered_anyway(self, connection: PooledConnection) -> bool:
        try:
            while not connection.transport.is_quiet():
                self.check_deadline()
                if self._answered_early(connection):
                    return True
        except TurbosockError:
            # There is no whole answer: the failed write stands as the error.
            return False
        return False

    def _await_continue(self, connection: PooledConnection) -> None:
        """Wait for a 100, a final answer, or the moment when waiting is pointless (RFC 9110 §10.1.1)."""
        end_ns = min(self._now_ns() + CONTINUE_WAIT_NS, self.deadline_ns)
        while not connection.continued and connection.head is None:
            left_ns = end_ns - self._now_ns()
            if left_ns <= 0:
                break
            connection.transport.await_readable(left_ns)
            connection.read_head()
        if connection.head is None:
            connection.send_body()
        else:
            connection.abandon_request()

    def _send_rest(self, connection: PooledConnection, quiet_since_ns: int) -> None:
        """Send what the first call did not take, until all is sent or the server answers."""
        transport = connection.transport
        timeouts = self.timeouts
        bytes_out = transport.bytes_out
        while not connection.sent:
            now_ns = self._now_ns()
            if transport.bytes_out != bytes_out:
                bytes_out = transport.bytes_out
                quiet_since_ns = now_ns
            self.check_deadline()
            left_ns = min(quiet_since_ns + timeouts.write_ns, self.deadline_ns) - now_ns
            if left_ns <= 0:
                raise WriteTimeout(f"the peer took no byte for {timeouts.write_s} s; raise write_s or try later")
            if not transport.is_quiet():
                # An answer before the end of the request (a refusal, mostly), or the end of the connection.
                if self._answered_early(connection):
                    return
            transport.await_writable(min(left_ns, _UPLOAD_LOOK_NS))
            connection.on_writable()
        transport.allow_send(timeouts.write_ns)

    def _answered_early(self, connection: PooledConnection) -> bool:
        connection.transport.await_readable(_UPLOAD_LOOK_NS)
        if connection.read_head() is None:
            return False
        connection.abandon_request()
        return True

    def _await_head(self, connection: PooledConnection, sent_ns: int) -> ResponseHead:
        self._bytes_seen = connection.transport.bytes_in
        # Without a byte of the answer, the first receive has waited since the request was sent.
        self._quiet_since_ns = self._now_ns() if connection.answered else sent_ns
        while True:
            self._wait(connection)
            head = connection.read_head()
            if head is not None:
                return head

    # The end

    def close(self) -> None:
        """Let the response go: lent views end, an unread body costs the connection. A second call does nothing."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Response:
        return self

    # The end of every streamed request: written out here instead of in close(), which is called less often.
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.closed:
            return
        self.closed = True
        if self.connection is not None:
            self._leave(self.connection)
        ring = self.ring
        if ring is not None:
            self.ring = None
            self._client.rings.give_back(ring)
        if self._view is not None or self._lent is not None:
            self._end_lending()
        # Whoever gathered the content may still read it: that response is an ordinary object from now on.
        # One that failed is not kept either: its error holds the frames of its traceback, and their buffers.
        if self._pool is not None and self._content is None and self.error is None:
            self._pool.give_back(self)  # type: ignore[arg-type]  # only a StreamedResponse has a pool

    def _leave(self, connection: PooledConnection) -> None:
        if connection.body.complete and connection.decoded is None:
            self.release_connection(self._now_ns())
        else:
            self._count_left()
            self.drop_connection()
            self.finished_ns = self._now_ns()

    def _end_lending(self) -> None:
        view = self._view
        lent = self._lent
        self._view = self._lent = None
        try:
            if view is not None:
                view.release()
        except BufferError as error:
            raise LeaseError(
                "the response was closed while something still looks at its view(): drop arrays and views made of it "
                "before the with block ends, or copy them"
            ) from error
        finally:
            if lent is not None:
                lent.release()

    def __repr__(self) -> str:
        status = self.head.status_code if self.head is not None else "no answer"
        return f"<Response {self.prepared.method} {self.prepared.url.safe} {status}>"


class StreamedResponse(Response):
    """A Response of `stream()`, which notices when it was dropped without being closed."""

    __slots__ = ("taken_at",)

    def __init__(self, client: ClientBase, pool: ObjectPool[StreamedResponse]) -> None:
        # With diagnostics: where the user took it, in words.
        self.taken_at = ""
        super().__init__(client, pool)

    def __del__(self) -> None:
        # An interrupt in its making leaves it without any attribute.
        connection: PooledConnection | None = getattr(self, "connection", None)
        if connection is None:
            return
        self.connection = None
        self._client.connections.abandon(connection)
        warnings.warn(
            f"a streamed response of {self.prepared.method} {self.prepared.url.safe} was dropped without close(), "
            f"and cost its connection; use a with block{self.taken_at}",
            ResourceWarning,
            stacklevel=2,
        )
