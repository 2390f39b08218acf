"""One server connection speaking HTTP/1.1 (RFC 9112): steps that a listener takes, one exchange after another.

The calling order of an exchange:

1. `read_head()` until it returns a head.
2. The body: `gather_body(content, max_bytes)` until it returns True, or `read_body(view)` until it returns 0; or
   neither, and then the answer is the connection's last.
3. `begin_answer()`, `send(...)` as often as it takes, `end_answer()`. `on_writable()` when the socket can be written
   again, while `unsent` is above 0.
4. When nothing is unsent: `finish()`, which says whether the connection may carry another exchange.

No step waits. One that could do nothing has asked the transport to be told when the socket is readable. Requests that
came in a row (pipelining, RFC 9112 §9.3.2) wait as bytes in the ring until the answer before theirs has left.

Invariants: a ring is held only while there are bytes in it or an exchange is being read; its content is contiguous;
`unsent` is the length of everything in `_outgoing`; after `error` or `close()` nothing is sent any more. A system that
refuses to watch the socket (NetworkError) has broken the connection, too: that is in `error`, and never raised here.
Left to others: what is answered (floor 7), time, and how much may be unsent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from turbosock import limits
from turbosock.errors import BodyTooLarge, NetworkError
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.head import RequestHead, parse_request_head
from turbosock.protocol.http1.state import (
    CLOSE,
    FINAL_HEAD,
    INTERIM_HEAD,
    PEER_CLOSED,
    REQUEST_COMING,
    REQUEST_DONE,
    REQUEST_STARTED,
    RESPONSE_DONE,
    SWITCHED,
    ServerExchangeState,
)
from turbosock.reactor.context import CONFIGURED, EMPTY, PENDING

if TYPE_CHECKING:
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.transport.transport import SaeaTransport

Buffer = bytes | bytearray | memoryview

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

# Payload goes straight into the caller's memory from this size on; below it one receive into the ring brings several
# small pieces (chunks, say) for one system call.
DIRECT_BYTES: Final = 16 * limits.KIB


class Http1ServerConnection:
    """A server's side of one HTTP/1.1 connection; see the module for the calling order.

    Args:
        transport: the connected socket; its contexts are this connection's from now on.
        rings: lends receive rings.
        origin: whose bytes the ring holds; a ring that comes from another origin is wiped first.
        max_head_bytes, max_head_fields: bounds of a request head.

    Attributes:
        head: the head of the present request, or of the last one.
        body: the framing of its body.
        state: whether the connection may carry another exchange.
        unsent: bytes that wait for the socket.
        error: what broke the connection, or None.
        peer_closed: the client has closed its sending half.
    """

    __slots__ = (
        "_continued",
        "_examined",
        "_expected",
        "_max_head_bytes",
        "_max_head_fields",
        "_origin",
        "_outgoing",
        "_rings",
        "_starved",
        "body",
        "error",
        "head",
        "peer_closed",
        "ring",
        "state",
        "transport",
        "unsent",
    )

    def __init__(
        self,
        transport: SaeaTransport,
        rings: RingPool,
        origin: object,
        *,
        max_head_bytes: int = limits.MAX_HEAD_BYTES,
        max_head_fields: int = limits.MAX_HEAD_FIELDS,
    ) -> None:
        self.transport = transport
        self.ring: ReceiveRing | None = None
        self.head: RequestHead | None = None
        self.body = BodyFraming()
        self.state = ServerExchangeState()
        self.unsent = 0
        self.error: BaseException | None = None
        self.peer_closed = False
        self._rings = rings
        self._origin = origin
        self._max_head_bytes = max_head_bytes
        self._max_head_fields = max_head_fields
        self._expected: RequestHead | None = None
        self._examined = 0
        self._starved = False
        self._continued = False
        self._outgoing: list[Buffer] = []

    # Receiving

    def read_head(self) -> RequestHead | None:
        """The next request's head from what has come, with one receive at most.

        None: it is not whole, `error` or `peer_closed` may say why. Where `transport.readable` is still true and
        neither is set, another call may get on.

        Raises:
            ProtocolError, HeadTooLarge: the bytes are no request; see `parse_request_head` for how to answer.
        """
        ring = self.ring
        if ring is None or self._starved:
            if not self._receive():
                return None
            ring = self.ring
            assert ring is not None, "a receive that brought bytes has put them into a ring"
        start = ring.start
        head = self._expected
        # The bytes behind ring.length are stale: a match must lie within what came.
        if head is None or not ring.storage.startswith(head.raw, start) or head.size > ring.length:
            head = parse_request_head(
                ring.storage, start, start + ring.length, self._examined, self._max_head_bytes, self._max_head_fields
            )
            if head is None:
                self._examined = start + ring.length
                self._starved = True
                return None
            if head.size == len(head.raw) <= limits.MAX_REMEMBERED_HEAD_BYTES:
                self._expected = head
        self._examined = 0
        self._starved = False
        ring.length -= head.size
        ring.start = start + head.size if ring.length else 0
        self.head = head
        self._continued = not head.expect_continue
        state = self.state
        state.on(REQUEST_STARTED)
        if not head.keep_alive:
            state.end_after_this()
        body = self.body
        body.begin(head.framing, head.content_length)
        if body.complete:
            state.on(REQUEST_DONE)
        return head

    def gather_body(self, content: bytearray, max_bytes: int) -> bool:
        """Append what has come of the body, with one receive at most; True at its end.

        False: as None of `read_head`.

        Raises:
            BodyTooLarge: it has, or announces, more than `max_bytes`.
            ProtocolError, LimitError: its framing is broken.
        """
        body = self.body
        if body.complete:
            return True
        if len(content) + body.run > max_bytes:
            self._refuse_size(max_bytes)
        self.want_body()
        ring = self.ring
        if ring is None or not ring.length or self._starved:
            if not self._receive():
                return False
            ring = self.ring
            assert ring is not None, "a receive that brought bytes has put them into a ring"
            self._starved = False
        while ring.length:
            start = ring.start
            run = body.run
            if run:
                if len(content) + run > max_bytes:
                    self._refuse_size(max_bytes)
                count = run if run < ring.length else ring.length
                content += ring.root[start : start + count]
                ring.consume(count)
                body.payload(count)
            else:
                ring.consume(body.advance(ring.storage, start, start + ring.length) - start)
                if not body.run and not body.complete:
                    # Bytes may be left of a line that is not whole yet.
                    self._starved = ring.length > 0
                    return False
            if body.complete:
                self.state.on(REQUEST_DONE)
                return True
        return False

    def read_body(self, view: memoryview) -> int:
        """Move payload into `view`: what has come, with one receive at most.

        Args:
            view: a writable byte view, not empty.

        Returns:
            The number of bytes, 0 at the end of the body, or -1: nothing has come, ask again when it has.

        Raises:
            BodyTruncated: the client closed too early.
            ReadError, ProtocolError, LimitError: the connection or the framing is broken.
        """
        body = self.body
        self.want_body()
        while not body.complete:
            ring = self.ring
            if ring is not None and ring.length:
                start = ring.start
                run = body.run
                if run:
                    count = min(run, ring.length, len(view))
                    view[:count] = ring.root[start : start + count]
                    ring.consume(count)
                    return self._took(count)
                ring.consume(body.advance(ring.storage, start, start + ring.length) - start)
                if body.run:
                    continue
                if body.complete:
                    self.state.on(REQUEST_DONE)
                    return 0
            if body.run >= len(view) >= DIRECT_BYTES:
                count = self._receive_payload(view)
                if count > 0:
                    return self._took(count)
            elif self._receive():
                continue
            if self.error is not None:
                raise self.error
            if self.peer_closed:
                body.end_of_stream()
            return -1
        return 0

    def _took(self, count: int) -> int:
        body = self.body
        body.payload(count)
        if body.complete:
            self.state.on(REQUEST_DONE)
        return count

    def _refuse_size(self, max_bytes: int) -> NoReturn:
        raise BodyTooLarge(f"a request body is longer than {max_bytes} bytes, the limit max_body_bytes")

    def want_body(self) -> None:
        """Tell a client that waits with its body to send it (RFC 9110 §10.1.1)."""
        if not self._continued:
            self._continued = True
            # One that did not wait needs no telling, nor does one that was answered already.
            waits = self.ring is None or not self.ring.length
            if waits and not self.body.complete and self.state.state == REQUEST_COMING:
                self.state.on(INTERIM_HEAD)
                self.send(CONTINUE)

    @property
    def waiting(self) -> bool:
        """Whether the transport will tell when the socket is readable."""
        return self.transport.receive_context.state == PENDING

    def watch(self) -> None:
        """While an answer is being made: learn whether the client sends more, or has gone; bytes stay in the ring."""
        ring = self.ring
        if (ring is None or not ring.length) and not self.peer_closed and self.error is None:
            self._receive()

    def discard(self) -> int:
        """After `end_output()`, receive once and throw it away; the answer is that of `Transport.discard`."""
        ring = self.ring
        if ring is None:
            ring = self.ring = self._rings.rent()
            if ring.origin is not self._origin:
                ring.belongs_to(self._origin)
        ring.clear()
        count = self.transport.discard(ring.root)
        self._give_ring_back()
        if count < 0:
            self.arm()
        elif self.transport.reactor is not None:
            self.transport.reactor.bytes_in += count
        return count

    def _receive(self) -> bool:
        """One receive behind the ring's content; False: nothing came, and `error` or `peer_closed` may say why."""
        transport = self.transport
        if not transport.readable:
            self.arm()
            return False
        ring = self.ring
        if ring is None:
            ring = self.ring = self._rings.rent()
            if ring.origin is not self._origin:
                ring.belongs_to(self._origin)
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        if ring.length:
            if ring.start and ring.start + ring.length == ring.capacity:
                self._examined = max(0, self._examined - ring.start)
                ring.make_contiguous()
            assert ring.length < ring.capacity, "the parsers refuse what cannot fit"
            view = ring.writable()
            context.count = len(view)
        else:
            view = ring.root
            context.count = ring.capacity
        context.buffer = view
        context.vector = None
        context.offset = 0
        context.state = CONFIGURED
        try:
            pending = transport.receive(context)
        except NetworkError as error:
            self._break(error)
            pending = True
        if not pending:
            count = context.bytes_transferred
            if count > 0:
                ring.length += count
                return True
            self._note_end()
        elif context.count and self.error is None:
            # Ready without bytes: a hint is only a hint.
            self.arm()
        if not ring.length:
            self._give_ring_back()
        return False

    def _receive_payload(self, view: memoryview) -> int:
        """One receive straight into the caller's memory; the ring is empty. 0: nothing came, as in `_receive`."""
        transport = self.transport
        if not transport.readable:
            self.arm()
            return 0
        self._give_ring_back()
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        context.set_buffer(view, 0, min(len(view), self.body.run))
        try:
            pending = transport.receive(context)
        except NetworkError as error:
            self._break(error)
            return 0
        if pending:
            self.arm()
            return 0
        count = context.bytes_transferred
        context.buffer = EMPTY
        if count <= 0:
            self._note_end()
            return 0
        return count

    def _note_end(self) -> None:
        """The stream ended or broke."""
        context = self.transport.receive_context
        self.error = context.error
        self.peer_closed = True
        if self.error is None:
            self.state.on(PEER_CLOSED)

    def _break(self, error: NetworkError) -> None:
        """Nothing will be told of the socket any more."""
        self.error = error
        self.peer_closed = True

    def arm(self) -> None:
        """Ask to be told when the socket is readable; needs no memory. A failure is in `error` afterwards."""
        context = self.transport.receive_context
        if context.state == PENDING:
            if context.count == 0:
                return
            context.disarm()
        self.transport.readable = False
        context.buffer = EMPTY
        context.vector = None
        context.offset = 0
        context.count = 0
        context.state = CONFIGURED
        try:
            self.transport.receive(context)
        except NetworkError as error:
            self._break(error)

    # Sending

    def begin_answer(self, *, last: bool) -> None:
        """The final head is about to be sent; `last`: it says that the connection ends with this exchange.

        An answer to a request that is not whole must say so: the two sides might disagree on where the next begins.
        """
        state = self.state
        if last:
            state.end_after_this()
        state.on(FINAL_HEAD)

    def end_answer(self) -> None:
        """The last byte of the answer was handed to `send`."""
        self.state.on(RESPONSE_DONE)

    def send(self, data: bytes) -> None:
        """Send `data` after what is unsent; what the socket does not take now waits in `unsent`.

        A failure is in `error` afterwards.
        """
        if self.unsent:
            self._keep(data)
            return
        transport = self.transport
        context = transport.send_context
        count = len(data)
        context.buffer = data
        context.vector = None
        context.offset = 0
        context.count = count
        context.state = CONFIGURED
        try:
            pending = transport.send(context)
        except NetworkError as error:
            self._break(error)
            return
        if pending:
            self._outgoing.append(data)
            self.unsent = count
            return
        sent = context.bytes_transferred
        if sent == count:
            return
        if context.error is not None:
            self.error = context.error
            return
        self._outgoing.append(memoryview(data)[sent:])
        self.unsent = count - sent
        self.on_writable()

    def send_parts(self, parts: list[Buffer], size: int) -> bool:
        """Send several buffers of `size` bytes in all, as `send` does for one.

        Memory that is not `bytes` is copied where it must wait. Returns whether more could be sent at once:
        call `on_writable()` again in another turn.
        """
        if self.unsent:
            for part in parts:
                self._keep(part)
            return False
        if self.transport.keeps_unsent:
            parts = [part if isinstance(part, bytes) else bytes(part) for part in parts]
        # What is a bytearray in here is this connection's own.
        outgoing = self._outgoing
        outgoing += [memoryview(part) if isinstance(part, bytearray) else part for part in parts]
        self.unsent = size
        more = self.on_writable()
        for index, part in enumerate(outgoing):
            if isinstance(part, memoryview) and not isinstance(part.obj, bytes):
                outgoing[index] = bytes(part)
        context = self.transport.send_context
        if context.state == PENDING:
            context.vector = self._share(limits.TURN_QUANTUM_BYTES)
        return more

    def _keep(self, data: Buffer) -> None:
        """Put `data` behind what is unsent; small pieces are put together."""
        outgoing = self._outgoing
        size = len(data)
        self.unsent += size
        last = outgoing[-1]
        if isinstance(last, bytearray) and size + len(last) <= limits.SMALL_PIECE_BYTES:
            last += data
        elif size < limits.SMALL_PIECE_BYTES:
            outgoing.append(bytearray(data))
        else:
            outgoing.append(data if isinstance(data, bytes) else bytes(data))

    def on_sent(self) -> bool:
        """A pending send has completed: go on; returns as `on_writable` does."""
        context = self.transport.send_context
        if context.error is not None:
            self.error = context.error
            return False
        self._skip(context.bytes_transferred)
        return self.on_writable()

    def on_writable(self) -> bool:
        """Go on sending, up to a turn's share; whether more could be sent at once, in another turn.

        False: nothing is unsent, or the socket must become writable first, or `error` says what broke.
        """
        transport = self.transport
        context = transport.send_context
        budget = limits.TURN_QUANTUM_BYTES
        while self.unsent and context.state != PENDING:
            if budget <= 0:
                return True
            share = self._share(budget)
            context.set_vector(share, sum(map(len, share)))
            try:
                if transport.send(context):
                    return False
            except NetworkError as error:
                self._break(error)
                return False
            # Nobody's memory is held back from being resized.
            context.vector = None
            if context.error is not None:
                self.error = context.error
                return False
            budget -= context.bytes_transferred
            self._skip(context.bytes_transferred)
        return False

    def _share(self, budget: int) -> list[Buffer]:
        """The first of what is unsent, about `budget` bytes of it."""
        share: list[Buffer] = []
        copies = self.transport.keeps_unsent
        for part in self._outgoing[: limits.MAX_SENT_PIECES]:
            if copies and isinstance(part, bytearray):
                # It may grow while it waits.
                part = bytes(part)
            # A view of a bytearray would keep it from growing, and those are small.
            if len(part) > budget and not isinstance(part, bytearray):
                share.append(memoryview(part)[:budget])
                break
            share.append(part)
            budget -= len(part)
            if budget <= 0:
                break
        return share

    def _skip(self, count: int) -> None:
        """Drop the first `count` bytes of what is unsent, which were sent."""
        self.unsent -= count
        outgoing = self._outgoing
        while count:
            first = outgoing[0]
            size = len(first)
            if size <= count:
                count -= size
                del outgoing[0]
            elif isinstance(first, bytearray):
                del first[:count]
                return
            else:
                outgoing[0] = memoryview(first)[count:]
                return

    # Ending

    def finish(self) -> bool:
        """End the exchange, whose answer has left; whether the connection may carry another one."""
        ring = self.ring
        if ring is not None and not ring.length:
            self.ring = None
            self._rings.give_back(ring)
        self.transport.send_context.buffer = EMPTY
        return self.state.reusable

    def end_output(self) -> bool:
        """Close our sending half, so that the client sees the end of the answer; False: the connection has gone."""
        return self.transport.end_output()

    def take_over(self) -> bytes:
        """Change the protocol (RFC 9110 §7.8): the transport is the caller's, and what came behind the request.

        Raises:
            StateError: the request was not read whole, or is answered already.
        """
        self.state.on(SWITCHED)
        ring = self.ring
        rest = b"" if ring is None else bytes(ring.peek(ring.length))
        self._give_ring_back()
        return rest

    def close(self) -> None:
        """Close the socket and give back what is held; a second call does nothing."""
        if self.transport.fd >= 0:
            self.state.on(CLOSE)
            self.transport.close()
        self._outgoing.clear()
        self.unsent = 0
        self._give_ring_back()

    def release_ring(self) -> None:
        """Hold no ring while nothing is in it: what comes next may be long in coming."""
        ring = self.ring
        if ring is not None and not ring.length:
            self._give_ring_back()

    def _give_ring_back(self) -> None:
        ring = self.ring
        if ring is not None:
            self.ring = None
            self._rings.give_back(ring)
