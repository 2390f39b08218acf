"""Bytes over one TLS session, with the contract of a non-blocking transport, for blocking callers and Loops alike.

The session decrypts straight into the context's buffer and encrypts from it. What differs from a plain socket:

- Decrypted bytes may wait inside the engine, where no poller sees them: after a receive that filled its buffer the
  transport stays `readable`, and a Loop keeps its connection in line.
- The engine may need the other direction: to write before it can read, or to read before it can write. Both are
  watched for while that lasts.
- There is no gathering write in TLS. Small vectors are joined into one record; of others the first buffer goes.
- A connection may become readable without a byte of the application: session tickets, key updates. `is_quiet()` asks
  the engine.

Kernel-blocking sockets are not used: SO_RCVTIMEO does not reach through the engine, which tries again by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import TurbosockError
from turbosock.reactor.context import COMPLETED, CONFIGURED, PENDING, SEND, Buffer, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE, SingleWaiter
from turbosock.tls.provider import WANTS_READ, WANTS_WRITE, TlsSession
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor

# Vectors up to one record's size are joined: a copy is cheaper than a record of its own for the head.
MAX_JOINED_BYTES: Final = 16 * limits.KIB

# Records of a long body have 16 KiB, or 4 where servers tune for latency; an answer that is whole has less.
LONG_RECORD_BYTES: Final = 4 * limits.KIB


class TlsTransport(SaeaTransport):
    """A TLS session whose pending contexts complete when its socket is ready.

    Args:
        session: shaken hands; the transport's from here on.
        reactor: as in SaeaTransport.
    """

    __slots__ = ("_read_wants_write", "_send_wants_read", "session")

    def __init__(self, session: TlsSession, reactor: Reactor | None = None) -> None:
        self.session = session
        self._read_wants_write = False
        self._send_wants_read = False
        super().__init__(session.socket, reactor)
        self.tls = session.info()

    def is_drained(self) -> bool:
        return not self.session.pending()

    def end_error(self) -> TurbosockError | None:
        return self.session.truncation() if self.session.truncated else None

    def receive(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("receive")
        if self.readable:
            if context.count == 0:
                context.bytes_transferred = 0
                context.state = COMPLETED
                return False
            context.error = None
            try:
                if context.offset:
                    target = memoryview(context.buffer)[context.offset : context.offset + context.count]
                    received = self.session.recv_into(target, context.count)
                else:
                    received = self.session.recv_into(context.buffer, context.count)  # type: ignore[arg-type]
            except TurbosockError as error:
                context.bytes_transferred = 0
                context.error = error
                context.state = COMPLETED
                return False
            if received >= 0:
                context.bytes_transferred = received
                context.state = COMPLETED
                # A read ends with its record. Another one is worth trying where this one filled the buffer, or was as
                # long as those of a long body; after a short one the poller is asked first, because a read that
                # finds nothing is an exception of the engine, and dearer.
                self.readable = received == context.count or received >= LONG_RECORD_BYTES or received == 0
                self.bytes_in += received
                if self.reactor is not None:
                    self.reactor.bytes_in += received
                return False
            self.readable = False
            if received == WANTS_WRITE:
                self._read_wants_write = True
                self._watch_writing(True)
        self._pend(context)
        return True

    def send(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        context.error = None
        vector = context.vector
        data: Buffer
        if vector is not None:
            data = _joined(vector, context.count)
        elif context.offset or context.count != len(context.buffer):
            data = memoryview(context.buffer)[context.offset : context.offset + context.count]
        else:
            data = context.buffer
        try:
            sent = self.session.send(data)
        except TurbosockError as error:
            context.bytes_transferred = 0
            context.error = error
            context.state = COMPLETED
            return False
        if sent >= 0:
            context.bytes_transferred = sent
            context.state = COMPLETED
            self.bytes_out += sent
            if self.reactor is not None:
                self.reactor.bytes_out += sent
            return False
        context.bytes_transferred = -1
        context.operation = SEND
        context.state = PENDING
        self._send_wants_read = sent == WANTS_READ
        self._watch_writing(not self._send_wants_read)
        return True

    def _watch_writing(self, wanted: bool) -> None:
        if self._writing is not wanted:
            self._writing = wanted
            self._set_interest()

    def on_ready(self, mask: int) -> None:
        if mask & WRITABLE and self._read_wants_write:
            self._read_wants_write = False
            self._watch_writing(self.send_context.state == PENDING)
            mask |= READABLE
        if mask & READABLE and self._send_wants_read:
            self._send_wants_read = False
            self._watch_writing(True)
            mask |= WRITABLE
        super().on_ready(mask)

    def await_readable(self, budget_ns: int) -> None:
        if self.readable:
            return
        if self._read_wants_write:
            self._read_wants_write = False
            self.readable = self._wait(budget_ns, write=True)
            return
        # As SaeaTransport's, and _wait(): calls saved on the path of every blocking request.
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = SingleWaiter(self.fd)
        self.readable = waiter.wait(budget_ns)
        if self.readable and self.receive_context.state == PENDING:
            self.on_ready(READABLE)

    def await_writable(self, budget_ns: int) -> None:
        if self._send_wants_read and self._wait(budget_ns, write=False):
            self.on_ready(READABLE)
            return
        super().await_writable(budget_ns)

    def is_quiet(self) -> bool:
        """Whether an idle connection has neither spoken nor closed; a ticket or a key update is not speech."""
        if self.session.pending():
            return False
        if super().is_quiet():
            return True
        probe = bytearray(1)
        try:
            return self.session.recv_into(probe, 1) == WANTS_READ
        except TurbosockError:
            return False

    def drop(self) -> None:
        """As in Transport; the other process's session is not told goodbye."""
        super().drop()
        self.session.close()

    def close(self) -> None:
        if self.fd < 0:
            return
        try:
            # One attempt, which does not wait: a peer that is owed an answer is not owed a farewell.
            self.session.close_notify()
        except TurbosockError:
            pass
        super().close()
        self.session.close()


def _joined(vector: Sequence[Buffer], count: int) -> Buffer:
    """What of a vector goes into one send: all of it if it is small, else its first buffer."""
    if len(vector) == 1 or count > MAX_JOINED_BYTES:
        return vector[0]
    return b"".join(vector)
