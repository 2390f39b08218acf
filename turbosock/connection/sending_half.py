"""SendingHalf: how a message connection sends; the base of `MessageConnection`, which describes the strategy.

Messages are framed when they are given, and wait in the outbox until `flush()`, which sends all of them at once: a
connection that has something to send stands in the services' line. A small frame is an object of its own; a long
message leaves from where it lies where that is possible, and otherwise from pooled memory, as one that was built there.

Invariants: a message is taken whole or not at all, also where an interrupt or want of memory breaks the call off (see
`outbox.py`); who has something to send stands in the line, and so takes its place before it has; nothing is sent while
a send is pending, and what that send holds stays as it is (`Outbox.locked`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.outbox import Outbox, check_key
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption, NetworkError, PoolExhausted, StateError
from turbosock.reactor.context import CONFIGURED, EMPTY, PENDING

if TYPE_CHECKING:
    from turbosock.buffers import PooledBuffer
    from turbosock.connection.message_limits import MessageLimits
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.message_strategy import Data, MessageWriter
    from turbosock.connection.outbox import Frame
    from turbosock.reactor.context import IOContext
    from turbosock.reactor.timers import Timer
    from turbosock.transport.transport import SaeaTransport

CONNECTING: Final = 0
OPEN: Final = 1
CLOSING: Final = 2
ENDING: Final = 3
LINGERING: Final = 4
CLOSED: Final = 5

# Bound once: before 3.12 each look-up of an enum's member makes an object.
_OK: Final = Send.OK

_NO_COPY_BYTES: Final = limits.JOINED_FRAME_BYTES
# A float, whose freed ones CPython keeps for the next; as are other counts that grow with each message.
_QUANTUM_BYTES: Final = float(limits.TURN_QUANTUM_BYTES)


class SendingHalf:
    """The sending half of a MessageConnection, which says what its arguments and attributes are."""

    __slots__ = (
        "_bounds",
        "_dirty",
        "_full",
        "_last_ns",
        "_lease",
        "_mark",
        "_out",
        "_outbox",
        "_reserved",
        "_services",
        "_stalled_ns",
        "_timer",
        "_writer",
        "busy",
        "state",
        "transport",
    )

    def __init__(self, services: MessageServices, bounds: MessageLimits, writer: MessageWriter) -> None:
        self._services = services
        self._bounds = bounds
        self._writer = writer
        self.transport: SaeaTransport | None = None
        self.state = CONNECTING
        self.busy = False
        # A float, whose freed ones CPython keeps for the next.
        self._out = 0.0
        self._outbox = Outbox()
        # Whether it stands in the line of those with something to send; whether a send was refused.
        self._dirty = False
        self._full = False
        # Since when the peer takes nothing, or 0; when it last took or sent anything.
        self._stalled_ns = 0
        self._last_ns = services.now_ns
        # The place in the outbox behind frames of the protocol's own, or 0: `_left` is called when they have left.
        self._mark = 0
        # The memory of a message that is being built.
        self._lease: PooledBuffer | None = None
        self._reserved = 0
        self._timer: Timer | None = None

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self.state == OPEN

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent."""
        return self._outbox.unsent

    @property
    def messages_out(self) -> int:
        """Messages taken to be sent."""
        return int(self._out)

    @property
    def replaced(self) -> int:
        """Unsent messages that a newer one with their key has replaced."""
        return self._outbox.replaced

    def send(self, data: Data, key: object = None) -> Send:
        """Send one message, whole or not at all; it leaves with the others of this tick.

        Args:
            data: bytes, which are sent from where they lie; or a buffer, of which a copy is made.
            key: the message replaces an unsent one with an equal key, as a newer snapshot does an older one.

        Returns:
            OK: taken, and sent by the next `poll()` or `flush()`. FULL: nothing was taken, because too much waits for
            this peer; a WRITABLE event follows. CLOSED: the connection is not open.

        Raises:
            InvalidOption: this is no message, or one that cannot be said in this protocol; or `key` cannot be hashed.
        """
        if self.state != OPEN:
            return Send.CLOSED
        if key is not None:
            check_key(key)
        writer = self._writer
        payload: Data = data if type(data) is bytes else writer.payload(data)
        size = len(payload)
        if size > self._bounds.max_message:
            raise self._too_long(size)
        outbox = self._outbox
        if outbox.unsent and not self._has_room(size, key):
            return self._refuse()
        if not self._dirty:
            self._mark_dirty()
        if size <= _NO_COPY_BYTES:
            frame: Frame = writer.frame(payload)
            if not frame:
                # Nothing, without framing, is nothing.
                return Send.OK
            if key is None or not writer.replaces:
                # As Outbox.put, a call saved.
                unsent = outbox.unsent
                outbox.unsent = unsent + len(frame)
                try:
                    outbox.frames.append(frame)
                except MemoryError:
                    outbox.unsent = unsent
                    raise
            else:
                outbox.put_keyed(key, frame)
        elif not self._put_long(payload, size, key):
            return self._refuse()
        self._out += 1.0
        return _OK

    def reserve(self, size: int) -> memoryview | None:
        """Memory in which the next message can be built in place; `commit()` sends it.

        Args:
            size: bytes, at most max_message.

        Returns:
            A view of so many bytes, yours until `commit()` or the next `reserve()`, also where the connection ends
            before that; None where `send()` would say FULL or CLOSED.

        Raises:
            InvalidOption: `size` is no possible size of a message.
        """
        if self.state != OPEN:
            return None
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise InvalidOption(f"size={size!r}: give a number of bytes")
        if size > self._bounds.max_message:
            raise self._too_long(size)
        if self._outbox.unsent and not self._has_room(size, None):
            self._refuse()
            return None
        self._drop_reservation()
        writer = self._writer
        at = writer.head_bytes
        lease = self._rent(max(at + size + writer.tail_bytes, 1))
        if lease is None:
            self._refuse()
            return None
        self._lease = lease
        self._reserved = size
        return lease.view[at : at + size]

    def commit(self, size: int | None = None, key: object = None) -> Send:
        """Send the message that was built in the memory of `reserve()`; let go of the view before.

        Args:
            size: bytes of it; None: all that were reserved.
            key: as in `send`.

        Returns:
            OK, or CLOSED: the connection has ended meanwhile.

        Raises:
            StateError: nothing is reserved.
            InvalidOption: `size` is more than was reserved, or the message cannot be said in this protocol; or `key`
                cannot be hashed. The memory is still reserved.
        """
        if self.state != OPEN:
            self._drop_reservation()
            return Send.CLOSED
        if key is not None:
            check_key(key)
        lease = self._lease
        if lease is None:
            raise StateError("commit() without reserve(): reserve memory for the message first")
        if size is None:
            size = self._reserved
        elif isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= self._reserved:
            raise InvalidOption(f"size={size!r}: give 0 to the {self._reserved} bytes that were reserved")
        if not self._dirty:
            self._mark_dirty()
        writer = self._writer
        at = writer.head_bytes
        # Before: what is masked already must not be built on, nor sent, a second time.
        self._lease = None
        try:
            start = writer.seal(lease.view, at, size)
        except InvalidOption:
            self._lease = lease
            raise
        stop = at + size + writer.tail_bytes
        if start == stop:
            lease.release()
            return Send.OK
        self._put(lease.view[start:stop], key, lease)
        self._out += 1.0
        return _OK

    # For the machinery around

    def push(self, frame: Frame) -> None:
        """Send a frame of the protocol's own, whatever waits already."""
        if OPEN <= self.state <= ENDING:
            if not self._dirty:
                self._mark_dirty()
            self._outbox.put(frame)

    def share(self, frame: Frame, size: int, key: object = None) -> Send:
        """As `send`, of a message of `size` bytes that the writer has framed already; broadcasts have checked `key`."""
        if self.state != OPEN:
            return Send.CLOSED
        if size > self._bounds.max_message:
            raise self._too_long(size)
        outbox = self._outbox
        if outbox.unsent and not self._has_room(size, key):
            return self._refuse()
        if not frame:
            return Send.OK
        if not self._dirty:
            self._mark_dirty()
        if key is None:
            # Likewise.
            unsent = outbox.unsent
            outbox.unsent = unsent + len(frame)
            try:
                outbox.frames.append(frame)
            except MemoryError:
                outbox.unsent = unsent
                raise
        else:
            self._put(frame, key, None)
        self._out += 1.0
        return _OK

    @property
    def writer(self) -> MessageWriter:
        """The sending half of its strategy."""
        return self._writer

    @property
    def max_message(self) -> int:
        """Bytes that a message may have."""
        return self._bounds.max_message

    def _has_room(self, size: int, key: object) -> bool:
        outbox = self._outbox
        if len(outbox.frames) >= limits.MAX_UNSENT_FRAMES:
            return key is not None and outbox.waiting(key) >= 0
        after = outbox.unsent + size
        if after <= self._bounds.high:
            return True
        if key is None:
            return False
        old = outbox.waiting(key)
        return old >= 0 and (after - old <= self._bounds.high or size <= old)

    def _refuse(self) -> Send:
        self._full = True
        self._services.full += 1
        if not self._outbox.unsent and not self._dirty:
            # Only memory is missing: nothing of this connection's will tell of room.
            self._mark_dirty()
        return Send.FULL

    def _too_long(self, size: int) -> InvalidOption:
        return InvalidOption(f"data: {size} bytes are above max_message={self._bounds.max_message}")

    def _rent(self, size: int) -> PooledBuffer | None:
        try:
            return self._services.buffers.rent(size)
        except PoolExhausted:
            return None

    def _put(self, frame: Frame, key: object, lease: PooledBuffer | None) -> None:
        if key is None or not self._writer.replaces:
            self._outbox.put(frame, lease)
        else:
            self._outbox.put_keyed(key, frame, lease)

    def _put_long(self, payload: Data, size: int, key: object) -> bool:
        """Take a message of `size` bytes, not a few: from where it lies, or in pooled memory; False: there is none."""
        writer = self._writer
        outbox = self._outbox
        if type(payload) is bytes and (key is None or not writer.head_bytes):
            header = writer.header(payload)
            if header is not None:
                trailer = writer.trailer
                if not header and not trailer:
                    self._put(payload, key, None)
                    return True
                if key is None:
                    parts = (header, payload, trailer) if trailer else (header, payload)
                    outbox.put_parts(parts if header else parts[1:], len(header) + size + len(trailer))
                    return True
        at = writer.head_size(size)
        stop = at + size
        lease = self._rent(stop + writer.tail_bytes if writer.tail_bytes else stop)
        if lease is None:
            return False
        try:
            view = lease.view
            view[at:stop] = payload
            start = writer.seal(view, at, size, payload)
        except BaseException:
            lease.release()
            raise
        self._put(view[start:] if start else view, key, lease)
        return True

    def _drop_reservation(self) -> None:
        lease = self._lease
        if lease is not None:
            self._lease = None
            lease.release()

    def _lose_reservation(self) -> None:
        """The connection ends: whoever builds a message may go on, in memory that nobody else is lent."""
        lease = self._lease
        if lease is not None:
            self._lease = None
            lease.pool.give_up(lease)

    def _mark_dirty(self) -> None:
        # Twice in the line does no harm, not at all would.
        self._services.dirty.append(self)
        self._dirty = True

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it; for the services."""
        self._dirty = False
        transport = self.transport
        if transport is None or self.state == CLOSED:
            return
        context = transport.send_context
        outbox = self._outbox
        if self._full and not outbox.unsent and self.state == OPEN:
            # Only memory was missing.
            self._tell_of_room()
        share = _QUANTUM_BYTES
        secure = transport.tls is not None or transport.keeps_unsent
        while outbox.unsent and context.state != PENDING:
            frames = outbox.frames
            count = len(frames)
            copied = False
            vector: list[Frame] | None = None
            if count == 1:
                frame: Frame = frames[0]
                size = outbox.unsent
                outbox.locked = 1
            elif secure:
                frame = outbox.join(limits.JOINED_SEND_BYTES)
                size = len(frame)
            elif count <= limits.MAX_GATHERED_FRAMES:
                vector = frames
                frame = EMPTY
                size = outbox.unsent
            else:
                scratch = self._services.scratch
                size = outbox.gather(scratch)
                copied = size > 0
                if copied:
                    frame = scratch[:size]
                else:
                    frame = frames[0]
                    size = len(frame)
                    outbox.locked = 1
            context.buffer = frame
            context.vector = vector
            context.file = None
            context.offset = 0
            context.count = size
            context.state = CONFIGURED
            try:
                pending = transport.send(context)
                if pending:
                    if copied or vector is not None:
                        # What it waits with must stay as it is: the first frame alone does.
                        context.disarm()
                        context.buffer = frames[0]
                        context.count = len(frames[0])
                        context.state = CONFIGURED
                        outbox.locked = 1
                        transport.send_later(context)
                    if not self._stalled_ns:
                        self._stall()
                    return
            except NetworkError as error:
                self._break(error)
                return
            if context.error is not None:
                self._break(context.error)
                return
            sent = context.bytes_transferred
            # Before memory is given back that it lies in.
            context.buffer = frame = EMPTY
            self._after_send(sent)
            share -= sent
            if outbox.unsent and (sent < size or share <= 0):
                if not self._send_later(context, transport):
                    return
        if self.state == ENDING and not outbox.unsent and context.state != PENDING:
            self._part()

    def _go_on_sending(self, context: IOContext) -> None:
        error = context.error
        if error is not None:
            self._break(error)
            return
        if context.bytes_transferred > 0:
            context.buffer = EMPTY
            self._after_send(context.bytes_transferred)
        if self.state == ENDING and not self._outbox.unsent:
            self._part()
        elif self._outbox.unsent:
            self.flush()

    def _send_later(self, context: IOContext, transport: SaeaTransport) -> bool:
        """The socket is full, or others have their turn first: go on when it can be written; False: it has broken."""
        outbox = self._outbox
        frame = outbox.frames[0]
        outbox.locked = 1
        context.buffer = frame
        context.vector = None
        context.offset = 0
        context.count = len(frame)
        context.state = CONFIGURED
        try:
            transport.send_later(context)
        except NetworkError as error:
            self._break(error)
            return False
        if not self._stalled_ns:
            self._stall()
        return True

    def _stall(self) -> None:
        """The peer, for now, takes nothing."""
        now_ns = self._services.now_ns
        self._stalled_ns = now_ns
        due_ns = now_ns + self._bounds.write_ns
        timer = self._timer
        if timer is not None and timer.deadline_ns > due_ns:
            timer.move(due_ns)

    def _after_send(self, sent: int) -> None:
        """The socket took so much."""
        outbox = self._outbox
        outbox.sent(sent)
        now_ns = self._services.now_ns
        self._last_ns = now_ns
        if self._stalled_ns:
            self._stalled_ns = now_ns if outbox.unsent else 0
        if self._full and outbox.unsent <= self._bounds.low and self.state == OPEN:
            self._tell_of_room()
        if self._mark and outbox.has_left(self._mark):
            self._mark = 0
            self._left()

    def _tell_of_room(self) -> None:
        self._full = False
        self._services.events.put_writable(self)

    # What the whole connection does

    def _left(self) -> None:
        """Everything before the mark has left."""

    def _part(self) -> None:
        """Everything has left: say goodbye."""
        raise AssertionError("the connection says how it ends")

    def _break(self, error: BaseException) -> None:
        """The connection is broken."""
        raise AssertionError("as above")
