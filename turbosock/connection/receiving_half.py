"""ReceivingHalf: how a message connection receives and delivers; the base of `MessageConnection` over the sending half.

Invariants: a ring is held only while it has bytes, or the reader is lent memory; nothing is received while `paused`,
while the quota is used up (`held`) or while there is no memory (`_starved`), so TCP pushes back; a step takes at most
MESSAGES_PER_STEP messages and TURN_QUANTUM_BYTES, and then the connection goes to the back of the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.message_ring import LARGE, SMALL
from turbosock.connection.sending_half import CLOSING, OPEN, SendingHalf
from turbosock.errors import NetworkError, TurbosockError
from turbosock.protocol.framing.framing import MESSAGE, NEED_BYTES, NEED_MEMORY
from turbosock.reactor.context import CONFIGURED, PENDING
from turbosock.reactor.poller import IN

if TYPE_CHECKING:
    from turbosock.connection.message_limits import MessageLimits
    from turbosock.connection.message_ring import MessageRing
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.message_strategy import MessageReader, MessageWriter
    from turbosock.transport.transport import SaeaTransport

AGAIN: Final = 6

# A float, whose freed ones CPython keeps for the next; as are other counts that grow with each message.
_QUANTUM_BYTES: Final = float(limits.TURN_QUANTUM_BYTES)

# What `next` may end with where the ring is in order.
_FOUND: Final = (NEED_BYTES, MESSAGE)


class ReceivingHalf(SendingHalf):
    """The receiving half of a MessageConnection, which says what its arguments and attributes are."""

    __slots__ = (
        "_bulk",
        "_ended",
        "_in",
        "_lent",
        "_next",
        "_origin",
        "_partial_ns",
        "_reader",
        "_ring",
        "_starved",
        "_unread",
        "held",
        "mask",
        "paused",
        "queued",
        "ring_bytes",
        "untaken",
    )

    def __init__(
        self,
        services: MessageServices,
        bounds: MessageLimits,
        reader: MessageReader,
        writer: MessageWriter,
        origin: object,
    ) -> None:
        super().__init__(services, bounds, writer)
        self._reader = reader
        self._next = reader.next
        self._origin = origin
        self.paused = False
        self.held = False
        self._in = 0.0
        self.ring_bytes = 0.0
        self.untaken = 0
        self.mask = 0
        self.queued = False
        # What receives go into, and the memory that the reader is lent.
        self._ring: MessageRing | None = None
        self._lent: MessageRing | None = None
        # Whether a receive filled its ring, so that the next one is large; whether the ring may hold a message that was
        # not looked for; whether it waits for memory.
        self._bulk = False
        self._unread = False
        self._starved = False
        # When the present message began, or 0.
        self._partial_ns = 0
        # Whether the peer has closed its half.
        self._ended = False

    @property
    def messages_in(self) -> int:
        """Messages received."""
        return int(self._in)

    def pause(self) -> None:
        """Receive and deliver nothing more until `resume()`: the peer's sends back up. Nothing after `close()`."""
        if self.state <= OPEN:
            # Who closes delivers nothing anyway, and waits for the peer's answer.
            self.paused = True

    def resume(self) -> None:
        """Receive again."""
        if self.paused:
            self.paused = False
            self._renew_partial()
            self._step_later()

    # The steps

    def _step(self) -> None:
        """Receive and deliver, until nothing more is there or this step has done its share."""
        # Long, because a message's whole cost is a few of these microseconds.
        if self.paused or self.held or self._starved:
            return
        look = self._unread
        if look and self.untaken >= limits.MAX_QUEUED_MESSAGES:
            self._hold()
            return
        transport = self.transport
        assert transport is not None, "it stands"
        services = self._services
        reader = self._reader
        next_message = self._next
        put_message = services.put_message
        bounds = self._bounds
        messages_left = limits.MESSAGES_PER_STEP
        bytes_left = _QUANTUM_BYTES
        ring = self._ring
        self._unread = False
        while True:
            if not look:
                if not transport.readable:
                    break
                if self.untaken >= limits.MAX_QUEUED_MESSAGES or self.ring_bytes >= bounds.quota:
                    self._hold()
                    return
                if ring is None:
                    ring = services.rings.rent(LARGE if self._bulk else SMALL, self, self._origin)
                    if ring is None:
                        self._starve()
                        return
                    self._ring = ring
                    view = ring.root
                    count = ring.capacity
                else:
                    if ring.holders > 1:
                        # What is lent must not move.
                        ring = self._move(ring, ring.capacity)
                        if ring is None:
                            return
                    view = reader.room(ring)
                    count = len(view)
                context = transport.receive_context
                if context.state == PENDING:
                    context.disarm()
                context.buffer = view
                context.vector = None
                context.file = None
                context.offset = 0
                context.count = count
                context.state = CONFIGURED
                try:
                    pending = transport.receive(context)
                except NetworkError as error:
                    self._break(error)
                    return
                if pending:
                    # Nothing more, a spurious report, or a record without payload: ask again without memory.
                    context.disarm()
                    if not ring.length and reader.lent is None:
                        self._ring = None
                        ring.let_go()
                    break
                received = context.bytes_transferred
                if context.error is not None:
                    self._break(context.error)
                    return
                if not received:
                    self._end_of_stream(transport)
                    return
                if reader.lent is None:
                    ring.length = ring.length + received if ring.length else received
                else:
                    reader.received(ring, received)  # type: ignore[attr-defined]  # one that borrows has it
                bytes_left -= received
                self._last_ns = services.now_ns
                if received == count:
                    self._bulk = True
                elif received < SMALL:
                    self._bulk = False
            assert ring is not None, "what is looked at is in a ring"
            look = False
            outcome = next_message(ring)
            while outcome == MESSAGE:
                data = reader.data
                if type(data) is not memoryview:
                    put_message(self, data, None)
                    if self._lent is not None and reader.lent is None:
                        # It lay there, and was made into an object of its own.
                        self._lent.let_go()
                        self._lent = None
                elif self._lent is None or reader.lent is not None:
                    put_message(self, data, ring)
                else:
                    put_message(self, data, self._lent)
                    self._lent.let_go()
                    self._lent = None
                self._partial_ns = 0
                self.untaken += 1
                self._in += 1.0
                messages_left -= 1
                if messages_left <= 0:
                    if ring.length:
                        self._unread = True
                    break
                if not ring.length and reader.lent is None:
                    outcome = NEED_BYTES
                    break
                outcome = next_message(ring)
            if outcome in _FOUND:
                if not ring.length and reader.lent is None:
                    # Where no message was there to say so: what had begun may have been something else.
                    self._partial_ns = 0
                    self._ring = None
                    ring.let_go()
                    ring = None
                elif not self._partial_ns and not self._unread:
                    self._begin_partial()
                if messages_left <= 0 or bytes_left <= 0:
                    self._step_later()
                    return
            elif outcome == NEED_MEMORY:
                ring = self._grow(ring)
                if ring is None:
                    return
                look = True
            elif outcome == AGAIN:
                self._unread = True
                self._step_later()
                return
            else:
                self.end(reader.error)
                return
            if self.state > CLOSING:
                # A framing that is a function has closed it.
                return
        self._arm(transport)

    def _arm(self, transport: SaeaTransport) -> None:
        """Be told when the socket is readable."""
        context = transport.receive_context
        if context.state != PENDING:
            if transport.tls is not None and not transport.is_drained():
                # No poller sees what is inside the engine.
                transport.readable = True
                self._services.reactor.requeue(self, IN)
                return
            try:
                transport.arm()
            except NetworkError as error:
                self._break(error)
                return
            if context.state != PENDING:
                # There is something already.
                self._services.reactor.requeue(self, IN)

    def _step_later(self) -> None:
        """Take the next step when the line has come round."""
        if OPEN <= self.state <= CLOSING and not (self.held or self._starved):
            self._services.reactor.requeue(self, IN)

    def _begin_partial(self) -> None:
        """A message has begun and is not whole: it has its time."""
        now_ns = self._services.now_ns
        self._partial_ns = now_ns
        due_ns = now_ns + self._bounds.message_ns
        timer = self._timer
        if timer is not None and timer.deadline_ns > due_ns:
            timer.move(due_ns)

    def _renew_partial(self) -> None:
        """What was left unread is read again: a message that had begun before has its whole time from here on."""
        if self._partial_ns:
            self._begin_partial()

    def _grow(self, ring: MessageRing) -> MessageRing | None:
        """The reader needs memory for the present message; the ring to go on with, or None: there is none."""
        reader = self._reader
        if getattr(reader, "borrows", False):
            memory = self._services.rings.rent(reader.wanted, self, self._origin)
            if memory is None:
                self._unread = True
                self._starve()
                return None
            reader.lend(memory.root)  # type: ignore[attr-defined]  # one that borrows has it
            old = self._lent
            self._lent = memory
            if old is not None:
                old.let_go()
            return ring
        return self._move(ring, reader.wanted)

    def _move(self, ring: MessageRing, size: int) -> MessageRing | None:
        """Take what is in the ring to another one of at least `size` bytes; None: there is no memory for it."""
        larger = self._services.rings.rent(size, self, self._origin)
        if larger is None:
            self._unread = True
            self._starve()
            return None
        length = ring.length
        start = ring.start
        larger.root[:length] = ring.root[start : start + length]
        larger.length = length
        self._ring = larger
        ring.let_go()
        return larger

    def _hold(self) -> None:
        """The quota is used up: what was delivered has to be taken first."""
        self.held = True
        self._services.quota_hits += 1

    def on_room(self) -> None:
        """For the events and rings of a connection that is held: something of its quota is free again."""
        if self.untaken < limits.MAX_QUEUED_MESSAGES and self.ring_bytes < self._bounds.quota:
            self.held = False
            self._renew_partial()
            self._step_later()

    def _starve(self) -> None:
        services = self._services
        services.pool_hits += 1
        self._starved = True
        services.starving.append(self)

    def resume_starved(self) -> bool:
        """For the services: try again to find memory; whether it had something to receive."""
        self._starved = False
        if self.state > CLOSING:
            return False
        self._renew_partial()
        self.busy = True
        self._step()
        self.busy = False
        return True

    def _end_of_stream(self, transport: SaeaTransport) -> None:
        """The peer has closed its half."""
        self._ended = True
        error = transport.end_error()
        if error is None:
            error = self._reader.end(self._ring)
        self.end(error)

    def _give_rings_back(self) -> None:
        ring = self._ring
        if ring is not None:
            self._ring = None
            ring.let_go()
        lent = self._lent
        if lent is not None:
            self._lent = None
            lent.let_go()
        self._unread = False

    def on_ready(self, mask: int) -> None:
        """Go on where the last step had used its share."""
        raise AssertionError("the connection says what its steps are")

    def end(self, error: TurbosockError | None = None) -> None:
        """Deliver nothing more; when what waits has left, end with `error`."""
        raise AssertionError("the connection says how it ends")
