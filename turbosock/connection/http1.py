"""One client connection speaking HTTP/1.1 (RFC 9112): steps that either driver may take.

The calling order of an exchange:

1. `start(...)` sends the request, or as much of it as the socket takes.
2. While not `sent`: `on_writable()` when the socket may be written again.
3. `read_head()` until it returns the final head; interim heads are consumed on the way.
4. `read_body(view)` until it returns 0; where the body is coded, `decoded` has one that reads its content.
5. `finish()` gives the receive ring back and says whether the connection may serve another exchange.

Every step returns at once on a non-blocking socket; on a kernel-blocking one it waits at most the time that the
transport was given. A step that could do nothing (`None`, -1) is taken again after the driver's wait.

Invariants: a ring is held from the first byte of an answer to `finish()`, and never by an idle connection; the content
of the ring is contiguous; payload is copied at most once, from the ring, and not at all when it is received straight
into the caller's memory. A connection is reusable only if the request was sent whole, the answer was read whole, both
sides agreed to go on, and no byte came after the answer (RFC 9112 §9.3, §9.6).
Left to others: how a request goes on that the socket does not take at once (`http1_sending.py`), which socket this is
(floor 4), which request comes next (floors 6 and 7), and time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.connection.decoded_body import DecodedBody
from turbosock.connection.http1_sending import ON_REQUEST_DONE, Http1Sending
from turbosock.connection.send_progress import SendProgress
from turbosock.errors import ConnectionClosed, ProtocolError, TurbosockError
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.head import ResponseHead, parse_response_head
from turbosock.protocol.http1.state import (
    CLIENT_TABLE,
    FINAL_HEAD,
    IDLE,
    REQUEST_STARTED,
    RESPONSE_DONE,
    column,
)
from turbosock.reactor.context import CONFIGURED, EMPTY, PENDING

if TYPE_CHECKING:
    from collections.abc import Callable

    from turbosock.buffers import RingBuffer
    from turbosock.connection.receive_ring import ReceiveRing, RingPool
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.transport.transport import Transport

# Payload goes straight into the caller's memory from this size on; below it one receive into the ring brings several
# small pieces (chunks, say) for one system call.
DIRECT_BYTES: Final = 16 * limits.KIB

# Of a connection that was in use all its time; earlier than any clock's times.
NEVER_IDLE: Final = -1


# The connection's steps through the table of states: one index each.
_ON_REQUEST_STARTED: Final = column(CLIENT_TABLE, REQUEST_STARTED)
_ON_FINAL_HEAD: Final = column(CLIENT_TABLE, FINAL_HEAD)
_ON_RESPONSE_DONE: Final = column(CLIENT_TABLE, RESPONSE_DONE)


class Expectation(Protocol):
    """Knows the head that an equal request was answered with last, or None."""

    @property
    def expected(self) -> ResponseHead | None: ...


class Http1Connection(Http1Sending):
    """A client's side of one HTTP/1.1 connection; see the module for the calling order.

    Args:
        transport: the connected socket.
        rings: lends receive rings.
        max_head_bytes, max_head_fields: bounds of a response head.
        decodes: whether content codings are undone.

    Attributes:
        head: the final head of the present exchange, or None before it came.
        body: the framing of its body.
        decoded: reads the content of a coded body; None where the body is the content, and once it was read whole. The
            answer has been read when `body` is complete and this is None.
        on_interim: called with status code and fields of each interim head (RFC 9110 §15.2) of the present exchange, if
            set before its `start`. It may end the exchange.
        answered: whether any byte of the answer came.
        whole: whether head and body came together and nothing else: the body is the ring's content, `body` is not
            used, and whoever takes the ring may finish the exchange at once.
        served: exchanges finished on this connection.
        origin, place, retire_ns: the pool's.
        idle_since_ns: when the pool last had it idle; NEVER_IDLE: it has been in use since it was made.
        owner: the exchange that uses the connection, for the driver.
    """

    __slots__ = (
        "__weakref__",
        "_examined",
        "_interims",
        "_max_head_bytes",
        "_max_head_fields",
        "_method",
        "answered",
        "body",
        "decoded",
        "decodes",
        "expected",
        "head",
        "idle_since_ns",
        "on_interim",
        "origin",
        "owner",
        "place",
        "retire_ns",
        "ring",
        "rings",
        "served",
        "whole",
    )

    # As a DecodedBody's: a read that returned -1 waits for the peer.
    busy: Final = False

    def __init__(
        self,
        transport: Transport,
        rings: RingPool,
        *,
        max_head_bytes: int = limits.MAX_HEAD_BYTES,
        max_head_fields: int = limits.MAX_HEAD_FIELDS,
        decodes: bool = True,
    ) -> None:
        self.transport = transport
        self.rings = rings
        self.decodes = decodes
        self.decoded: DecodedBody | None = None
        self.on_interim: Callable[[int, HeaderList], object] | None = None
        self.ring: ReceiveRing | None = None
        self.body = BodyFraming()
        self.head: ResponseHead | None = None
        self.expected: Expectation | None = None
        self.owner: object = None
        self.origin: object = None
        self.place: object = None
        self.idle_since_ns = NEVER_IDLE
        self.retire_ns = 0
        self.served = 0
        self.sent = True
        self.answered = False
        self.whole = False
        self.continued = False
        self._method = ""
        self._max_head_bytes = max_head_bytes
        self._max_head_fields = max_head_fields
        self._examined = 0
        self._interims = 0
        self._source = None
        self._outgoing = []
        self._outgoing_bytes = 0
        self._file = None
        self._progress = None
        self._send_broke = False
        self.state = IDLE

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        """Begin an exchange and send what the socket takes at once.

        Args:
            method: decides whether the answer has a body.
            head: the serialised request head.
            source: the body, or None. Its framing must be what the head announces.
            expected: knows the head that an earlier, equal request was answered with; when the same bytes come again
                they are recognised instead of parsed. It is asked when they come: where many requests are under way, a
                Date that goes on is parsed once.
            wait_for_continue: hold the body back until `send_body()` or an interim 100 (RFC 9110 §10.1.1).

        Raises:
            WriteError: the connection is broken.
        """
        self.state = _ON_REQUEST_STARTED[self.state]
        self._method = method
        # The final head ends the time of `on_interim`, where it is parsed.
        self.expected = expected if self.on_interim is None else None
        self.head = None
        self.answered = False
        self.whole = False
        self._examined = 0
        context = self.transport.send_context
        if source is None:
            context.buffer = head
            context.vector = None
            context.offset = 0
            context.count = len(head)
            context.state = CONFIGURED
            if not self.transport.send(context) and context.bytes_transferred == context.count:
                self.sent = True
                self.state = ON_REQUEST_DONE[self.state]
                return
            self._outgoing = [head]
            self._outgoing_bytes = len(head)
        else:
            self._source = source
            source.takes_files = self.transport.sends_files
            if source.progress is not None:
                self._progress = SendProgress(source, source.progress)
            self.continued = not wait_for_continue
            self._outgoing = [head]
            self._outgoing_bytes = len(head)
            if self.continued:
                self._append_block()
            context.set_vector(self._outgoing, self._outgoing_bytes)
            self.transport.send(context)
        self.sent = False
        self.on_writable()

    # Receiving

    def read_head(self) -> ResponseHead | None:
        """One receive at most, and the final head if it is whole; None: more is needed, wait and call again.

        Raises:
            ConnectionClosed: the peer closed before or inside the head.
            ReadError: the connection is broken.
            ProtocolError, HeadTooLarge: the answer is not HTTP/1.1.
        """
        # One function, because a request's whole cost is a few of these microseconds.
        transport = self.transport
        if not transport.readable:
            self.arm()
            return None
        ring = self.ring
        if ring is None:
            ring = self.ring = self.rings.rent()
            if ring.origin is not self.origin:
                ring.belongs_to(self.origin)
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        if ring.length:
            view = self._room(ring)
            context.count = len(view)
        else:
            view = ring.root
            context.count = ring.capacity
        context.buffer = view
        context.offset = 0
        context.state = CONFIGURED
        if transport.receive(context):
            self.arm()
            return None
        count = context.bytes_transferred
        if count <= 0:
            self._no_head_bytes()
            return None
        self.answered = True
        ring.length += count
        expected = self.expected
        head = None if expected is None else expected.expected
        if head is None or not ring.startswith(head.raw, ring.start):
            head = self._parse_head(ring)
            if head is None:
                return None
        # The bytes behind ring.length are stale: a match must lie within what came.
        elif head.size > ring.length:
            return None
        ring.length -= head.size
        ring.start = ring.start + head.size if ring.length else 0
        self.head = head
        self.state = _ON_FINAL_HEAD[self.state]
        # -1 without a length, so that this is true only for a body framed by its length that has come to its end.
        if head.whole_length == ring.length:
            self.whole = True
        else:
            self.body.begin(head.framing, head.content_length)
            if head.coded and self.decodes and not self.body.complete:
                self.decoded = DecodedBody(self, head)
        return head

    def _parse_head(self, ring: RingBuffer) -> ResponseHead | None:
        """The final head in the ring, past interim ones; None while it is not whole."""
        while True:
            head = parse_response_head(
                ring.storage,
                ring.start,
                ring.start + ring.length,
                self._method,
                self._examined,
                self._max_head_bytes,
                self._max_head_fields,
            )
            if head is None:
                self._examined = ring.start + ring.length
                return None
            if not head.interim:
                self._interims = 0
                self.on_interim = None
                return head
            self._interims += 1
            # From here on everything is parsed, up to the final head, which ends this count.
            self.expected = None
            if self._interims > limits.MAX_INTERIM_RESPONSES:
                raise ProtocolError(
                    f"more than {limits.MAX_INTERIM_RESPONSES} interim responses before the final one",
                    code="too_many_interim",
                )
            ring.consume(head.size)
            self._examined = 0
            if self.on_interim is not None:
                self.on_interim(head.status_code, head.headers)
                if self.ring is not ring:
                    # It has ended the exchange.
                    return None
            if head.status_code == 100:
                self.send_body()

    def _room(self, ring: RingBuffer) -> memoryview:
        """Free memory behind the content, which stays contiguous."""
        if ring.start and ring.start + ring.length == ring.capacity:
            shift = ring.start
            ring.make_contiguous()
            self._examined = max(0, self._examined - shift)
        assert ring.length < ring.capacity, "the parsers refuse what cannot fit"
        return ring.writable()

    def _no_head_bytes(self) -> None:
        context = self.transport.receive_context
        if context.error is not None:
            raise context.error
        if context.bytes_transferred < 0:
            return
        if self.answered:
            raise ConnectionClosed("the peer closed inside the response head; try again")
        raise ConnectionClosed("the peer closed before it answered; try again", code="closed_early")

    def arm(self) -> None:
        """Ask to be told when the socket is readable; an idle connection needs no memory for it."""
        self.transport.arm()

    def arm_ready(self) -> None:
        """As `arm`, while the socket is known to be readable: the wait completes when the loop comes round."""
        transport = self.transport
        transport.readable = False
        self.arm()

    def read_body(self, view: memoryview) -> int:
        """Move payload into `view`: what has arrived, with one receive at most.

        Args:
            view: a writable byte view, not empty.

        Returns:
            The number of bytes, 0 at the end of the body, or -1: nothing has arrived, wait and call again.

        Raises:
            BodyTruncated: the peer closed too early.
            ConnectionClosed: a send had failed, and nothing but the end of the connection marks that of the body.
            ReadError, ProtocolError, LimitError: the connection or the framing is broken.
        """
        body = self.body
        ring = self.ring
        room = len(view)
        filled = 0
        asked = False
        while True:
            if not body.run:
                if body.complete:
                    return filled
                if ring is not None and ring.length:
                    start = ring.start
                    ring.consume(body.advance(ring.storage, start, start + ring.length) - start)
                    if body.run or body.complete:
                        continue
                if filled:
                    return filled
                if asked:
                    break
                if not self._fill():
                    return 0 if body.complete else -1
                asked = True
                ring = self.ring
            elif ring is not None and ring.length:
                start = ring.start
                count = min(body.run, ring.length, room - filled)
                view[filled : filled + count] = ring.root[start : start + count]
                ring.consume(count)
                body.payload(count)
                filled += count
                if filled == room:
                    return filled
            elif filled:
                return filled
            elif asked:
                break
            elif room >= DIRECT_BYTES or body.run <= room:
                return self._receive_payload(view)
            elif not self._fill():
                return 0 if body.complete else -1
            else:
                asked = True
                ring = self.ring
        # What came was framing alone. However it drips, the driver looks at its deadline before the next receive.
        if not self.transport.blocking:
            self.arm_ready()
        return -1

    def _receive_payload(self, view: memoryview) -> int:
        """Receive payload straight into the caller's memory; the ring is empty."""
        transport = self.transport
        if not transport.readable:
            self.arm()
            return -1
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        body = self.body
        run = body.run
        context.buffer = view
        context.offset = 0
        context.count = run if run < len(view) else len(view)
        context.state = CONFIGURED
        if transport.receive(context):
            self.arm()
            return -1
        count = context.bytes_transferred
        context.buffer = EMPTY
        if count > 0:
            body.payload(count)
            return count
        return 0 if self._no_body_bytes() else -1

    def drain(self) -> bool:
        """Read away what is left of an answer that nobody wants, as far as it is here.

        It never waits, but where a blocking socket has a part of the framing and no more: then for the shortest time
        that the kernel knows, one tick of its clock.

        Returns:
            Whether the answer is over, and the exchange can be finished.
        """
        if self.whole:
            if self.ring is not None:
                self.ring.clear()
            return True
        body = self.body
        transport = self.transport
        scratch = memoryview(bytearray(DIRECT_BYTES))
        drained = 0
        try:
            if transport.blocking:
                transport.await_readable(0)
            while not body.complete and drained < limits.MAX_DRAINED_BYTES:
                ring = self.ring
                if transport.blocking and (ring is None or not ring.length) and transport.is_quiet():
                    return False
                count = self.read_body(scratch)
                if count < 0:
                    return False
                drained += count
        except TurbosockError:
            return False
        return body.complete

    def _fill(self) -> bool:
        """One receive into the ring; False: nothing came, or the body ended with the connection."""
        transport = self.transport
        if not transport.readable:
            self.arm()
            return False
        ring = self.ring
        if ring is None:
            ring = self.ring = self.rings.rent()
            if ring.origin is not self.origin:
                ring.belongs_to(self.origin)
        context = transport.receive_context
        if context.state == PENDING:
            context.disarm()
        view = self._room(ring)
        context.set_buffer(view, 0, len(view))
        if transport.receive(context):
            self.arm()
            return False
        if context.bytes_transferred > 0:
            ring.length += context.bytes_transferred
            return True
        self._no_body_bytes()
        return False

    def _no_body_bytes(self) -> bool:
        """Nothing came: raise what broke; True when the body ended with the connection."""
        context = self.transport.receive_context
        if context.error is not None:
            raise context.error
        if context.bytes_transferred < 0:
            return False
        body = self.body
        if self._send_broke and body.framing is Framing.CLOSE:
            # The system tells of a reset once. The send took it, and what is left looks like an end.
            raise ConnectionClosed(
                f"the connection broke while the request was sent, after {body.received} bytes of an answer whose end "
                "nothing else marks: whether that is all of it cannot be told; try again"
            )
        body.end_of_stream()
        error = self.transport.end_error()
        if error is not None:
            # The end of the connection was the end of the body, and anybody on the path can bring that about.
            raise error
        return True

    # Ending

    def finish(self) -> bool:
        """End the exchange and give the ring back; whether the connection may serve another one."""
        ring = self.ring
        head = self.head
        if self.whole or self.body.complete:
            self.state = _ON_RESPONSE_DONE[self.state]
        reusable = (
            self.state == IDLE
            and head is not None
            and head.keep_alive
            and (ring is None or not ring.length)
            # What came in pieces may have more behind it, which the ring never saw.
            and (self.transport.is_drained() if self.whole else self.transport.is_quiet())
        )
        if ring is not None:
            self.ring = None
            self.rings.give_back(ring)
        if self.decoded is not None:
            # The payload was read, and its content was not wanted.
            self.decoded.close()
        self.owner = None
        self.served += 1
        return reusable

    def take_over(self) -> tuple[Transport, bytes]:
        """After an upgrade or CONNECT: the transport, and the bytes that came behind the head (RFC 9110 §7.8).

        The connection is of no further use; closing the transport is the caller's duty.
        """
        ring = self.ring
        leftover = b""
        if ring is not None:
            leftover = bytes(ring.readable())
            self.ring = None
            self.rings.give_back(ring)
        return self.transport, leftover

    def drop(self) -> None:
        """In the child of a fork: the connection is the parent's, and goes on there."""
        self.transport.drop()

    def close(self) -> None:
        """Close the socket and give back what is held; a second call does nothing."""
        self.transport.close()
        if self.decoded is not None:
            self.decoded.close()
        # Before the source, whose memory they view.
        self._outgoing = []
        self._outgoing_bytes = 0
        self._file = None
        self._progress = None
        if self._source is not None:
            self._source.close()
            self._source = None
        ring = self.ring
        if ring is not None:
            self.ring = None
            self.rings.give_back(ring)
        self.owner = None
