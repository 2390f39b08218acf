"""MessageConnection: one connection whose messages are events of a Loop; the machinery of TCP and WebSocket.

What a message is on the wire is the business of a *strategy* in two halves, which the owner makes for the connection
(`message_strategy.py` has their types):

The reader, one for each connection, finds messages in a ring (`FrameReader` in `protocol/framing/framing.py`):
- `next(ring)` returns an int: NEED_BYTES (0), MESSAGE (1), NEED_MEMORY (5), AGAIN (6: a step was long enough, and more
  is there) or FAILED (7). The ring's content is contiguous; what was taken is consumed.
- after MESSAGE `data` is the message: a view of the ring, or of the memory that was lent; or bytes, or str, its own.
- after NEED_MEMORY `wanted` says how many bytes. A reader whose class has `borrows = True` is then lent so much memory
  by `lend(view)`, keeps it in `lent`, and sets `lent` to None at the latest when it returns the message that lies
  there. Others get a larger ring with what is in theirs.
- after FAILED `error` says why: the connection ends with it, once what waits has left (see `push`).
- `room(ring)` gives the memory to receive into when something is in the ring or `lent`; nothing in the ring is lent to
  anybody then, so it may be moved. `received(ring, n)` is told what came while `lent` is not None; else the ring's
  length is raised here. `end(ring)` says what is wrong with a stream that ends here, or None.
- after `stop()` the connection wants nothing more: a reader that runs the user's code, which may have ended it, then
  returns FAILED.

The writer (`FrameWriter` in `frame_writer.py`) may serve many connections:
- `payload(data)` makes bytes-like of what is not bytes; `frame(payload)` makes a whole frame, an object of its own, of
  a small message; `header(payload)` what stands before one that is sent from where it lies, with `trailer` behind it,
  or None where that is not possible; `seal(memory, at, size, payload)` frames in place, with `head_bytes` before, or
  `head_size(size)` of a size that is known, and `tail_bytes` behind, and returns where the frame begins. It is told
  what was copied there, unless the message was built there. All of them raise InvalidOption for what cannot be sent.
- `shares`: a frame is the same for all connections of the writer, and is made once for a broadcast. `replaces`: a frame
  that has not left may be replaced by a newer one.

A subclass answers its protocol's own words with `push(frame)`, which knows no bound and so is for what the reader
bounds, and takes its leave by overriding `close()`: `push()` the last words, and call `end()` or, when the peer has
answered, `finish()`.

The order of events: OPEN, any number of MESSAGE and WRITABLE, one CLOSED; a connection that never stood has CLOSED
alone. A message is lent until the next `poll()`; see `message_ring.py` for who holds its memory.

Here is a connection's life; how it receives is `receiving_half.py`, and how it sends `sending_half.py`.

Invariants: user code runs in no step, except for a framing that is a function; one timer, armed for as long as the
connection lives, serves all its waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.config import NS_PER_S
from turbosock.connection.lingering import LINGER_NS, MORE, OVER, Lingering
from turbosock.connection.receiving_half import ReceivingHalf
from turbosock.connection.sending_half import CLOSED, CLOSING, CONNECTING, ENDING, LINGERING, OPEN
from turbosock.errors import ClientClosed, NetworkError, Origin, ReadTimeout, TurbosockError, WriteTimeout
from turbosock.reactor.context import EMPTY
from turbosock.reactor.poller import IN

if TYPE_CHECKING:
    from turbosock.connection.message_limits import MessageLimits
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.message_strategy import MessageOwner, MessageReader, MessageWriter
    from turbosock.reactor.context import IOContext
    from turbosock.tls.provider import TlsInfo
    from turbosock.transport.transport import SaeaTransport

_BROKEN_RULES: Final = (Origin.PROTOCOL, Origin.LIMIT)
_STATE_NAMES: Final = ("connecting", "open", "closing", "ending", "lingering", "closed")
# What is waited for where nothing is: a timer that is armed anew each time.
_LONG_NS: Final = int(limits.MAX_TIMEOUT_S) * NS_PER_S


class MessageConnection(ReceivingHalf):
    """One connection whose messages are events of a Loop.

    Args:
        services: the Loop's.
        owner: is told of the end.
        bounds: what it may take.
        reader, writer: the strategy.
        address: the peer's, (host, port, ...), or a Unix path.

    Attributes:
        user: whatever you want to find again.
        address: the peer's.
        paused: whether `pause()` was called.
        held: whether it is left unread because its quota is used up.
        state: CONNECTING, OPEN, CLOSING (both sides say goodbye, where the protocol has words for it), ENDING (what
            waits is sent), LINGERING (the peer may read it), or CLOSED.
        ring_bytes, untaken: what counts against the quota: memory, and messages whose events are not over.
        error: why it ended, or None.
        busy: whether a step of it is being taken.
        mask, queued: the reactor's.
    """

    __slots__ = ("__weakref__", "_lingering", "_owner", "address", "error", "user")

    def __init__(
        self,
        services: MessageServices,
        owner: MessageOwner,
        bounds: MessageLimits,
        reader: MessageReader,
        writer: MessageWriter,
        address: Any,
    ) -> None:
        super().__init__(services, bounds, reader, writer, owner)
        self._owner = owner
        self.address = address
        self.user: Any = None
        self.error: TurbosockError | None = None
        self._lingering: Lingering | None = None

    def begin(self, transport: SaeaTransport) -> None:
        """For the owner: the connection stands on `transport`, which is its own from here on.

        Raises:
            LimitError: the reactor has no timer for it; the transport is still the caller's.
        """
        services = self._services
        bounds = self._bounds
        reactor = services.reactor
        self._last_ns = reactor.clock.now_ns()
        self._timer = timer = reactor.timers.idle(self)
        # As in a step: what breaks off in these lines ends it.
        self.busy = True
        services.connections.add(self)
        # Armed for as long as it lives, so that no later wait can fail for want of a timer.
        try:
            timer.move(self._last_ns + (bounds.idle_ns or _LONG_NS))
        except TurbosockError:
            services.connections.discard(self)
            self.state = CLOSED
            raise
        self.transport = transport
        self.state = OPEN
        # Of whoever had the transport before: the request of a WebSocket, say.
        transport.send_context.buffer = EMPTY
        transport.receive_context.completed = self._on_readable
        transport.send_context.completed = self._on_sent
        services.events.put_open(self)
        self._arm(transport)
        self.busy = False

    # What the user calls

    @property
    def bytes_in(self) -> int:
        """Bytes received, of all kinds."""
        return 0 if self.transport is None else int(self.transport.bytes_in)

    @property
    def bytes_out(self) -> int:
        """Bytes that have left, of all kinds."""
        return 0 if self.transport is None else int(self.transport.bytes_out)

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed on, for TLS."""
        return None if self.transport is None else self.transport.tls

    def close(self) -> None:
        """Take nothing more, send what waits, and end; CLOSED follows. A second call does nothing."""
        try:
            if self.state == OPEN:
                self.end()
            elif self.state == CONNECTING:
                self.finish(None)
        except BaseException:
            self._give_up()
            raise

    def abort(self) -> None:
        """End at once; what waits is not sent. CLOSED follows."""
        try:
            self.finish(None)
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """An interrupt broke off what its user called, nobody knows where: as in a step."""
        self.busy = True
        self.mend()

    # For the machinery around

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self.state == CLOSED

    def say_last_words(self) -> None:
        """For the Loop that closes: what its protocol says at the end is to be sent with what waits."""

    def end(self, error: TurbosockError | None = None) -> None:
        """Deliver nothing more; when what waits has left, end with `error`."""
        if self.state != OPEN and self.state != CLOSING:
            return
        self.state = ENDING
        self.error = error
        self._reader.stop()
        self._lose_reservation()
        if not self._outbox.unsent:
            self._part()
            return
        self._give_rings_back()
        assert self._timer is not None, "it stood"
        self._last_ns = self._services.reactor.clock.now_ns()
        self._timer.move(self._last_ns + self._bounds.write_ns)

    def _part(self) -> None:
        """Everything has left: say goodbye, and let the peer read it first where it is still sending."""
        transport = self.transport
        assert transport is not None and self._timer is not None, "it stood"
        try:
            parted = transport.say_goodbye()
        except NetworkError:
            # It waits for room in a socket that cannot be watched.
            self.finish(self.error)
            return
        if not parted:
            return
        self._give_rings_back()
        # A close with bytes that nobody read would reset the connection, and may destroy what the peer has not read.
        if self._ended or not transport.end_output():
            self.finish(self.error)
            return
        self.state = LINGERING
        self._lingering = Lingering()
        self._timer.move(self._services.reactor.clock.now_ns() + LINGER_NS)
        self._linger()

    def _linger(self) -> None:
        transport = self.transport
        assert transport is not None and self._lingering is not None, "the state says so"
        scratch = self._services.scratch
        left = self._lingering.turn(lambda: transport.discard(scratch))
        if left == OVER:
            self.finish(self.error)
        elif left == MORE:
            self._services.reactor.requeue(self, IN)
        else:
            transport.readable = False
            try:
                transport.arm()
            except NetworkError:
                self.finish(self.error)

    def finish(self, error: TurbosockError | None) -> None:
        """End now, with the one CLOSED event; a second call does nothing."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.error = error
            self._clear_up(told=False)

    def _clear_up(self, *, told: bool) -> None:
        """Let go of everything and tell of the end, unless that was `told`; it stands with the services until then."""
        services = self._services
        self.mask = 0
        if self._timer is not None:
            services.reactor.timers.cancel(self._timer)
        self._reader.stop()
        self._give_rings_back()
        self._lose_reservation()
        transport = self.transport
        if transport is not None:
            transport.receive_context.completed = None
            transport.send_context.completed = None
            transport.close()
        self._outbox.clear()
        if not told:
            services.events.put_closed(self, self.error)
        self._owner.forget(self, transport)
        services.connections.discard(self)
        services.messages_in += self.messages_in
        services.messages_out += self.messages_out
        services.replaced += self._outbox.replaced
        if self.error is not None and self.error.origin in _BROKEN_RULES:
            services.failed += 1

    # What the reactor calls

    def on_ready(self, mask: int) -> None:
        """Go on where the last step had used its share."""
        self.busy = True
        if self.state <= CLOSING:
            self._step()
        elif self.state == LINGERING:
            self._linger()
        self.busy = False

    def _on_readable(self, context: IOContext) -> None:
        # As on_ready(): a call saved for every ready connection.
        self.busy = True
        if self.state <= CLOSING:
            self._step()
        elif self.state == LINGERING:
            self._linger()
        self.busy = False

    def _on_sent(self, context: IOContext) -> None:
        """A send that had to wait is done."""
        if self.state == CLOSED:
            return
        self.busy = True
        self._go_on_sending(context)
        self.busy = False

    def on_timer(self, now_ns: int) -> None:
        """A wait may have taken too long: which one?"""
        assert self._timer is not None, "it stood"
        if self.state == LINGERING:
            self.finish(self.error)
            return
        bounds = self._bounds
        transport = self.transport
        if self._stalled_ns and transport is not None:
            due_ns = self._stalled_ns + bounds.write_ns
            if due_ns <= now_ns:
                self._count_timeout()
                seconds = bounds.write_ns / NS_PER_S
                self.finish(WriteTimeout(f"the peer took nothing for write_timeout_s={seconds:g}: it is given up"))
                return
            if self.state == ENDING:
                self._timer.move(due_ns)
                return
        elif self.state == ENDING:
            # Its last words have no room.
            self.finish(self.error)
            return
        else:
            due_ns = now_ns + _LONG_NS
        reads = not (self.paused or self.held or self._starved)
        if self._partial_ns and reads:
            partial_ns = self._partial_ns + bounds.message_ns
            if partial_ns <= now_ns:
                self._count_timeout()
                self.finish(
                    ReadTimeout(f"a message was not whole after message_timeout_s={bounds.message_ns / NS_PER_S:g}")
                )
                return
            due_ns = min(due_ns, partial_ns)
        if bounds.idle_ns:
            if not reads:
                self._last_ns = now_ns
            idle_ns = self._last_ns + bounds.idle_ns
            if idle_ns <= now_ns:
                self._count_timeout()
                seconds = bounds.idle_ns / NS_PER_S
                self.finish(ReadTimeout(f"nothing came or went for idle_timeout_s={seconds:g}"))
                return
            due_ns = min(due_ns, idle_ns)
        self._timer.move(due_ns)

    def _count_timeout(self) -> None:
        """It is given up."""
        self._services.timeouts += 1
        self._owner.count_timeout()

    def mend(self) -> None:
        """For the Loop, a turn of which broke off: end if it was in a step of this one; nobody knows what that did."""
        if self.state == CLOSED:
            # It was about to end.
            self._clear_up(told=self._services.events.tells_end(self))
        elif self.busy or (self.transport is not None and self.transport.fd < 0):
            self.busy = False
            self.finish(NetworkError("a turn of the loop broke off in a step of this connection", origin=Origin.LOCAL))
        elif self.state != CONNECTING:
            timer = self._timer
            if timer is not None and not timer.armed:
                # It had expired, and nobody was told.
                timer.move(self._services.reactor.clock.now_ns())
            if self._outbox.unsent and self not in self._services.dirty:
                self._mark_dirty()
            if self._starved and self not in self._services.starving:
                self._services.starving.append(self)
            self._step_later()

    def drop(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self.state = CLOSED
        self.error = ClientClosed("the connection is another process's, of which this one is a fork")

    def _break(self, error: BaseException) -> None:
        """The connection is broken."""
        if isinstance(error, TurbosockError):
            self.finish(error)
            return
        self.finish(NetworkError(f"the connection ended by {type(error).__name__}", origin=Origin.LOCAL))
        raise error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address!r} {_STATE_NAMES[self.state]} unsent={self.unsent}>"
