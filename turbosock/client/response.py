"""Response: an answer as a blocking program reads it.

`client.get()` and its like return a Response whose body was read whole into owned bytes: it is yours for as long as
you keep it. `client.stream()` returns one whose body is still in the connection: read it within the `with` block, by
`readinto()` without a copy, or by the iterators. Its Response object is used again for a later request once you hold
it no more, never before.

Waiting is one loop: step the connection, and when the step could do nothing, let the transport wait until the nearer
of the read limit and the total deadline. On a kernel-blocking socket the step itself waits.

Lent memory: `view()` is valid until the response is closed; `readinto()` writes into your own buffer.
"""

from __future__ import annotations

import json as json_module
import threading
import time
import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from turbosock import limits
from turbosock.client.blocking_dial import BlockingWaiter
from turbosock.client.exchange import CONTINUE_WAIT_NS, ClientExchange, writable_bytes
from turbosock.client.gather import Gatherer, too_large
from turbosock.config import check_count
from turbosock.errors import (
    BodyTooLarge,
    Cancelled,
    ClientClosed,
    InvalidOption,
    LeaseError,
    Origin,
    Phase,
    ReadError,
    ReadTimeout,
    ResponseClosed,
    TotalTimeout,
    TurbosockError,
    WriteError,
    WriteTimeout,
)
from turbosock.protocol.http1.framing import Framing

if TYPE_CHECKING:
    from turbosock.buffers import ObjectPool, PooledBuffer
    from turbosock.client.blocking_dial import Interruptible
    from turbosock.client.client import Client
    from turbosock.client.flow import Flow
    from turbosock.client.request import PreparedRequest
    from turbosock.config import Timeouts
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.head import ResponseHead
from turbosock.reactor.clock import NS_PER_S

# Looking a member up on its enum class costs a descriptor call in CPython 3.11.
_BODY = Phase.BODY
_HEAD = Phase.HEAD
_NONE = Phase.NONE
_SEND = Phase.SEND

_monotonic_ns = time.monotonic_ns

_UPLOAD_LOOK_NS = int(limits.UPLOAD_LOOK_S * NS_PER_S)
# A body up to this length fits the send buffer of a new connection, and sending it does not wait.
_SMALL_BODY_BYTES = 16 * limits.KIB


class Response(ClientExchange):
    """An answer; see the module for the two ways to get one."""

    __slots__ = (
        "_bytes_seen",
        "_client",
        "_lease",
        "_lock",
        "_pool",
        "_quiet_since_ns",
        "_view",
        "closed",
        "waiter",
    )

    def __init__(self, client: Client, pool: ObjectPool[StreamedResponse] | None = None) -> None:
        self._client = client
        # Where a streamed response goes when it is closed; None for one that is its user's for good.
        self._pool = pool
        self._lock: threading.Lock | None = None if pool is None else threading.Lock()
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
        self.retries = 0
        self.phase = _NONE
        self.started_ns = 0
        self.finished_ns = 0
        self.flow = None
        self.deadline_ns = 0
        self._bytes_seen = 0
        self._quiet_since_ns = 0
        self._view: memoryview | None = None
        self._lease: PooledBuffer | None = None
        # What the exchange waits for before it has a connection, so that cancel() can wake it.
        self.waiter: Interruptible | None = None
        self.closed = False

    # From nothing to the head

    def perform(self, prepared: PreparedRequest, source: BodySource | None, timeouts: Timeouts) -> None:
        """Send the request and wait for the final head; for Client only.

        Raises:
            TurbosockError: as the exchange ends.
        """
        # One function, because the whole cost of a request is a few of these microseconds.
        now_ns = _monotonic_ns()
        self.prepared = prepared
        self.timeouts = timeouts
        self.source = source
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
                    connection = self.connection = self._client.connect(self)
                    now_ns = _monotonic_ns()
                    wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                else:
                    self.connection = connection
                if self.cancelled:
                    # cancel() came before there was a connection that it could shut down.
                    self.check_deadline()
                transport = connection.transport
                self.tls = transport.tls
                self.phase = _SEND
                if transport.send_budget_ns != timeouts.write_ns:
                    transport.allow_send(timeouts.write_ns)
                if source is None:
                    connection.start(prepared.method, prepared.head, None, prepared.expected)
                    if not connection.sent:
                        self._send_rest(connection, now_ns)
                        now_ns = _monotonic_ns()
                        wait_ns = self._within_deadline(timeouts.read_ns, now_ns)
                else:
                    self._send_with_body(connection, source)
                    now_ns = _monotonic_ns()
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
                if head is not prepared.expected:
                    prepared.expected = head
                self.phase = _BODY
                # A response may be kept for long, and what it sent with it.
                self.source = None
                if connection.whole:
                    # The ring stays with the response until it is read; the connection is free for the next request.
                    self.ring = connection.ring
                    connection.ring = None
                    self.release_connection(_monotonic_ns())
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
                hop = flow.after(self.prepared, self.head, failure, _monotonic_ns(), self.deadline_ns)
                if hop is None:
                    break
                self.let_answer_go()
                if hop.delay_ns:
                    self._pause(hop.delay_ns)
            except TurbosockError as error:
                self.drop_connection()
                raise self.explained(error) from error.__cause__
            except BaseException:
                self.drop_connection()
                raise
            failure = None
            try:
                self.perform(hop.prepared, flow.source, self.timeouts)
            except TurbosockError as error:
                failure = error
        if failure is not None:
            raise failure from failure.__cause__

    def let_answer_go(self) -> None:
        """Another request follows: forget this one's answer, and keep its connection if that costs no wait."""
        connection = self.connection
        if connection is not None:
            if connection.drain():
                self.release_connection(_monotonic_ns())
            else:
                self.drop_connection()
        ring = self.ring
        if ring is not None:
            self.ring = None
            self._client.rings.give_back(ring)
        self.forget_answer()

    def _pause(self, delay_ns: int) -> None:
        """Sleep before another attempt; raises as check_deadline."""
        waiter = BlockingWaiter()
        held = self._client.held
        held.add(waiter)
        self.waiter = waiter
        try:
            # cancel() and the client's end may have come before they could see that it sleeps.
            self.check_deadline()
            waiter.wait(delay_ns)
        finally:
            self.waiter = None
            held.discard(waiter)
        self.check_deadline()

    def _send_with_body(self, connection: Http1Connection, source: BodySource) -> None:
        prepared = self.prepared
        now_ns = _monotonic_ns()
        if not 0 <= source.length <= _SMALL_BODY_BYTES:
            # One send may wait for all of a large block: it must not sleep through a refusal, or the deadline.
            limit_ns = min(self.timeouts.write_ns, _UPLOAD_LOOK_NS)
            connection.transport.allow_send(self._within_deadline(limit_ns, now_ns))
        try:
            connection.start(
                prepared.method, prepared.head, source, prepared.expected, wait_for_continue=prepared.expect_continue
            )
            if prepared.expect_continue and not connection.continued:
                self._await_continue(connection)
                now_ns = _monotonic_ns()
            if not connection.sent:
                self._send_rest(connection, now_ns)
        except WriteError as error:
            # A server that refuses an upload answers, closes, and resets what still comes: its answer may be here.
            if error.origin is not Origin.REMOTE or self.cancelled or not self._answered_anyway(connection):
                raise

    def _answered_anyway(self, connection: Http1Connection) -> bool:
        try:
            while not connection.transport.is_quiet():
                self.check_deadline()
                if self._answered_early(connection):
                    return True
        except TurbosockError:
            # There is no whole answer: the failed write stands as the error.
            return False
        return False

    def _await_continue(self, connection: Http1Connection) -> None:
        """Wait for a 100, a final answer, or the moment when waiting is pointless (RFC 9110 §10.1.1)."""
        end_ns = min(_monotonic_ns() + CONTINUE_WAIT_NS, self.deadline_ns)
        while not connection.continued and connection.head is None:
            left_ns = end_ns - _monotonic_ns()
            if left_ns <= 0:
                break
            connection.transport.await_readable(left_ns)
            connection.read_head()
        if connection.head is None:
            connection.send_body()
        else:
            connection.abandon_request()

    def _send_rest(self, connection: Http1Connection, quiet_since_ns: int) -> None:
        """Send what the first call did not take, until all is sent or the server answers."""
        transport = connection.transport
        timeouts = self.timeouts
        bytes_out = transport.bytes_out
        while not connection.sent:
            now_ns = _monotonic_ns()
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

    def _answered_early(self, connection: Http1Connection) -> bool:
        connection.transport.await_readable(_UPLOAD_LOOK_NS)
        if connection.read_head() is None:
            return False
        connection.abandon_request()
        return True

    def _await_head(self, connection: Http1Connection, sent_ns: int) -> ResponseHead:
        self._bytes_seen = connection.transport.bytes_in
        # Without a byte of the answer, the first receive has waited since the request was sent.
        self._quiet_since_ns = _monotonic_ns() if connection.answered else sent_ns
        while True:
            self._wait(connection)
            head = connection.read_head()
            if head is not None:
                return head

    def check_deadline(self) -> None:
        """Raise Cancelled, ClientClosed or TotalTimeout where it is time."""
        if self.cancelled:
            raise Cancelled("the exchange was cancelled")
        if self._client.closed:
            raise ClientClosed("the client was closed while the request was under way")
        if _monotonic_ns() >= self.deadline_ns:
            raise TotalTimeout(f"the total deadline of {self.timeouts.total_s} s passed; raise it or ask for less")

    def _within_deadline(self, limit_ns: int, now_ns: int) -> int:
        """`limit_ns`, or what is left until the deadline where that is less; raises as check_deadline."""
        left_ns = self.deadline_ns - now_ns
        if left_ns <= 0 or self.cancelled:
            self.check_deadline()
        return limit_ns if limit_ns < left_ns else left_ns

    def explained(self, error: TurbosockError) -> TurbosockError:
        # Client.close() shuts the sockets of calls under way down: what they meet then is its doing.
        if self._client.closed and not self.cancelled and not isinstance(error, ClientClosed):
            error = ClientClosed("the client was closed while the request was under way")
        return super().explained(error)

    def make_cancellable(self) -> None:
        """Another thread will be able to reach the response before its request is done; for Client."""
        if self._lock is None:
            self._lock = threading.Lock()
        self._guard = self._lock

    def cancel(self) -> None:
        """End the exchange from any thread: a blocked call wakes up at once and raises Cancelled."""
        if self.closed:
            # Over; the object may be another request's next.
            return
        super().cancel()
        waiter = self.waiter
        if waiter is not None:
            waiter.interrupt()

    def _wait(self, connection: Http1Connection) -> None:
        """Let the transport wait for bytes, no longer than the read limit and the total deadline allow."""
        transport = connection.transport
        timeouts = self.timeouts
        now_ns = _monotonic_ns()
        if transport.bytes_in != self._bytes_seen:
            self._bytes_seen = transport.bytes_in
            self._quiet_since_ns = now_ns
        if self.cancelled or now_ns >= self.deadline_ns:
            self.check_deadline()
        left_ns = min(self._quiet_since_ns + timeouts.read_ns, self.deadline_ns) - now_ns
        if left_ns <= 0:
            raise ReadTimeout(f"the peer sent nothing for {timeouts.read_s} s; raise read_s or try later")
        transport.await_readable(left_ns)

    # The body

    def _await_body(self, connection: Http1Connection, view: memoryview, bytes_before: int) -> int:
        reader = connection.decoded or connection
        transport = connection.transport
        self._bytes_seen = transport.bytes_in
        self._quiet_since_ns = _monotonic_ns()
        if transport.blocking and transport.bytes_in == bytes_before and not reader.busy:
            # The receive that brought nothing has waited already.
            self._quiet_since_ns -= transport.receive_budget_ns
        while True:
            if reader.busy:
                # Nothing to wait for; but what decodes to nothing must not outlast the deadline either.
                self._quiet_since_ns = _monotonic_ns()
                left_ns = self._within_deadline(self.timeouts.read_ns, self._quiet_since_ns)
                if transport.blocking and left_ns < transport.receive_budget_ns:
                    transport.await_readable(left_ns)
            else:
                self._wait(connection)
            count = reader.read_body(view)
            if count >= 0:
                return count

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read what has arrived into your buffer, waiting for the first byte; 0 is the end of the body.

        Nothing is allocated, and payload that has not arrived yet is received straight into the buffer. At the end
        of the body the connection is given back.

        Raises:
            InvalidOption: the buffer is read-only or empty.
            ResponseClosed: after close().
            TurbosockError: as the exchange ends.
        """
        if type(buffer) is not memoryview or buffer.readonly or buffer.format != "B" or not buffer.c_contiguous:
            buffer = writable_bytes(buffer, "buffer")
        ring = self.ring
        if ring is not None and self._view is None:
            count = ring.length
            room = len(buffer)
            if count > room:
                count = room
            start = ring.start
            buffer[:count] = ring.root[start : start + count]
            ring.start = start + count
            ring.length -= count
            self.nbytes += count
            if count or not ring.length:
                return count
        return self._read_on(buffer)

    def _read_on(self, buffer: memoryview) -> int:
        """readinto() of a body that is still coming, or over."""
        if not len(buffer):
            raise InvalidOption("buffer: it has no room; give at least one byte")
        connection = self.connection
        if connection is None:
            if self._content is not None:
                return self._replay(buffer)
            if self.error is not None:
                # Not an end: what failed once stays failed, however often it is asked.
                raise self.error
            if self.closed:
                raise ResponseClosed("the response is closed; read its body inside the with block")
            return 0
        try:
            # Before each receive: a peer that drips, or never ends, must not outlast the deadline.
            transport = connection.transport
            left_ns = self._within_deadline(self.timeouts.read_ns, _monotonic_ns())
            if left_ns < transport.receive_budget_ns:
                transport.await_readable(left_ns)
            bytes_before = transport.bytes_in
            count = (connection.decoded or connection).read_body(buffer)
            if count < 0:
                count = self._await_body(connection, buffer, bytes_before)
            if not count and (self.cancelled or self._client.closed):
                # A body that ends with its connection: this end was made here.
                self.check_deadline()
        except TurbosockError as error:
            self.drop_connection()
            raise self.explained(error) from error.__cause__
        except BaseException as error:
            self.drop_connection()
            # What comes next must not look like the end of the body.
            self.explained(
                ReadError(
                    f"an earlier read was broken off by {type(error).__name__}, and the rest of the body with it",
                    origin=Origin.LOCAL,
                    code="broken_off",
                )
            )
            raise
        self.nbytes += count
        if connection.body.complete and connection.decoded is None:
            self.release_connection(_monotonic_ns())
        return count

    def _replay(self, view: memoryview) -> int:
        """readinto() of a body that is in memory already."""
        content = self._content
        assert content is not None, "asked for by _read_on"
        count = min(len(view), len(content) - self.nbytes)
        view[:count] = memoryview(content)[self.nbytes : self.nbytes + count]
        self.nbytes += count
        return count

    def gather(self) -> None:
        """Read the body whole into `content`; for Client, which then lets the connection go."""
        ring = self.ring
        if ring is not None:
            if ring.length > self._client.config.max_body_bytes:
                raise self.explained(too_large(self._client.config.max_body_bytes))
            start = ring.start
            self._content = bytes(ring.root[start : start + ring.length])
            self.ring = None
            self._client.rings.give_back(ring)
        elif self.connection is not None:
            self._content = self._gather_rest(self.connection)
        elif self._content is None:
            self._content = b""

    def _gather_rest(self, connection: Http1Connection) -> bytes:
        body = connection.body
        if body.complete:
            self.release_connection(_monotonic_ns())
            return b""
        gatherer = None
        try:
            known = body.framing is Framing.LENGTH and connection.decoded is None
            gatherer = Gatherer(body.run if known else -1, self._client.config.max_body_bytes)
            while self.connection is not None:
                gatherer.advance(self._read_on(gatherer.writable()))
        except BaseException as error:
            # No memory for it, for one.
            if gatherer is not None:
                gatherer.abandon()
            self.drop_connection()
            if isinstance(error, TurbosockError):
                raise self.explained(error) from error.__cause__
            raise
        # From here on it is where the next readinto() begins.
        self.nbytes = 0
        return gatherer.take()

    @property
    def content(self) -> bytes:
        """The body as owned bytes, read whole at first use.

        Raises:
            ResponseClosed: the response was closed, or partly read by other means, before.
            BodyTooLarge: above `Config.max_body_bytes`.
        """
        if self._content is None:
            if self.error is not None:
                raise self.error
            if self.closed:
                raise ResponseClosed("the response is closed; read its content inside the with block")
            if self.nbytes or self._view is not None:
                raise ResponseClosed("part of the body was read already; use either content or the stream")
            self.gather()
        assert self._content is not None, "gathered above"
        return self._content

    def read(self) -> bytes:
        """The body as owned bytes; the same as `content`."""
        return self.content

    @property
    def text(self) -> str:
        """The body as text, by the charset of its Content-Type or UTF-8; what does not decode is replaced."""
        return self._decode(self.content)

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not JSON.
        """
        serializer = self._client.config.serializer
        return json_module.loads(self.content) if serializer is None else serializer.deserialize(self.content)

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body in pieces of owned bytes, as they arrive, or of exactly `chunk_size` but for the last.

        Raises:
            InvalidOption: `chunk_size` is not a number of bytes above 0.
            ResponseClosed, TurbosockError: as readinto(), while it is iterated.
        """
        if chunk_size is not None:
            check_count("chunk_size", chunk_size, 1, limits.MAX_WRITER_BYTES)
        return self._pieces(chunk_size)

    def _pieces(self, chunk_size: int | None) -> Iterator[bytes]:
        if self._content is not None:
            step = chunk_size or max(1, len(self._content))
            for start in range(0, len(self._content), step):
                yield self._content[start : start + step]
            return
        with self._client.buffers.rent(chunk_size or limits.SEGMENT_BYTES) as lease:
            view = lease.view
            filled = 0
            while True:
                if filled:
                    # Released, since the frames of an error would hold it beyond the lease.
                    with view[filled:] as rest:
                        count = self.readinto(rest)
                else:
                    count = self.readinto(view)
                filled += count
                if filled and (not count or chunk_size is None or filled == chunk_size):
                    yield bytes(view[:filled])
                    filled = 0
                if not count:
                    return

    def iter_lines(self) -> Iterator[str]:
        """The body's lines as text without their ends; CR, LF and CRLF end a line.

        Raises:
            BodyTooLarge: a line is longer than `Config.max_body_bytes`.
        """
        # The pieces of a line whose end has not come, put together once it has.
        begun: list[bytes] = []
        length = 0
        ended_with_cr = False
        for piece in self._pieces(None):
            if ended_with_cr and piece.startswith(b"\n"):
                # The line ended with the piece before.
                piece = piece[1:]
            ended_with_cr = piece.endswith(b"\r") if piece else False
            lines = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            rest = lines.pop()
            for line in lines:
                begun.append(line)
                yield self._decode(b"".join(begun))
                begun.clear()
                length = 0
            if rest:
                begun.append(rest)
                length += len(rest)
                if length > self._client.config.max_body_bytes:
                    self.drop_connection()
                    raise self.explained(BodyTooLarge("a line is longer than max_body_bytes; use iter_bytes()"))
        if begun:
            yield self._decode(b"".join(begun))

    def view(self) -> memoryview:
        """The body as a read-only view of pooled memory, read whole at first use; lent until close().

        A short body is not copied at all: the view is of the receive ring itself.

        Raises:
            ResponseClosed, BodyTooLarge: as `content`.
        """
        if self._view is None:
            if self._content is not None:
                self._view = memoryview(self._content)
            elif self.closed or self.nbytes:
                raise ResponseClosed("the response is closed or partly read; call view() first, inside the with block")
            else:
                self._view = self._lend_body()
        return self._view

    def _lend_body(self) -> memoryview:
        ring = self.ring
        if ring is not None:
            return ring.readable().toreadonly()
        connection = self.connection
        if connection is None or connection.body.complete:
            return memoryview(self.content)
        body = connection.body
        if body.framing is not Framing.LENGTH or body.run > limits.MAX_BUCKET_BYTES or connection.decoded is not None:
            return memoryview(self.content)
        self._lease = lease = self._client.buffers.rent(body.run)
        while self.connection is not None:
            # As in _pieces().
            with lease.view[self.nbytes :] as rest:
                self._read_on(rest)
        return lease.view.toreadonly()

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
        if self._view is not None or self._lease is not None:
            self._end_view()
        # Whoever gathered the content may still read it: that response is an ordinary object from now on.
        # One that failed is not kept either: its error holds the frames of its traceback, and their buffers.
        if self._pool is not None and self._content is None and self.error is None:
            self._pool.give_back(self)  # type: ignore[arg-type]  # only a StreamedResponse has a pool

    def _leave(self, connection: Http1Connection) -> None:
        if connection.body.complete and connection.decoded is None:
            self.release_connection(_monotonic_ns())
        else:
            self.drop_connection()
            self.finished_ns = _monotonic_ns()

    def _end_view(self) -> None:
        view = self._view
        lease = self._lease
        self._view = self._lease = None
        try:
            if view is not None:
                view.release()
        except BufferError as error:
            raise LeaseError(
                "the response was closed while something still looks at its view(): drop arrays and views made of it "
                "before the with block ends, or copy them"
            ) from error
        finally:
            if lease is not None:
                lease.release()

    def __repr__(self) -> str:
        status = self.head.status_code if self.head is not None else "no answer"
        return f"<Response {self.prepared.method} {self.prepared.url.safe} {status}>"


class StreamedResponse(Response):
    """A Response of `stream()`, which notices when it was dropped without being closed."""

    __slots__ = ("taken_at",)

    def __init__(self, client: Client, pool: ObjectPool[StreamedResponse]) -> None:
        # With diagnostics: where the user took it, in words.
        self.taken_at = ""
        super().__init__(client, pool)

    def __del__(self) -> None:
        # An interrupt in its making leaves it without any attribute.
        connection: Http1Connection | None = getattr(self, "connection", None)
        if connection is None:
            return
        self.connection = None
        self._client.abandon(connection)
        warnings.warn(
            f"a streamed response of {self.prepared.method} {self.prepared.url.safe} was dropped without close(), "
            f"and cost its connection; use a with block{self.taken_at}",
            ResourceWarning,
            stacklevel=2,
        )
