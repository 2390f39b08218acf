"""Bytes over one TLS session, with the contract of a non-blocking transport, for blocking callers and Loops alike.

The session decrypts straight into the context's buffer and encrypts from it. What differs from a plain socket:

- Decrypted bytes may wait inside the engine, where no poller sees them: after a receive that filled its buffer the
  transport stays `readable`, and a Loop keeps its connection in line. TLS inside TLS has encrypted ones there, too.
- The engine may need the other direction: to write before it can read, or to read before it can write. Both are
  watched for while that lasts.
- There is no gathering write in TLS. Small vectors are joined into one record; of others the first buffer goes.
- A connection may become readable without a byte of the application: session tickets, key updates. `is_quiet()` asks
  the engine, which can only be asked by reading: what it gave is kept for the next receive.
- The engine takes a long buffer all at once, and tells nothing of it while a slow peer takes its records one by one.
  Each time that the socket could be written meanwhile counts as one byte, so that a peer which reads is not taken for
  a silent one; the sum is right when the send is done.
- A peer that refuses us says why in an alert, and resets: a send that fails looks for the alert first.

Kernel-blocking sockets are not used: SO_RCVTIMEO does not reach through the engine, which tries again by itself.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import TlsError, TurbosockError, WriteError
from turbosock.reactor.context import COMPLETED, CONFIGURED, PENDING, SEND, Buffer, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE, SingleWaiter
from turbosock.tls.provider import WANTS_READ, WANTS_WRITE, TlsSession
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor


# Records of a long body have 16 KiB, or 4 where servers tune for latency; an answer that is whole has less.
LONG_RECORD_BYTES: Final = 4 * limits.KIB


class TlsTransport(SaeaTransport):
    """A TLS session whose pending contexts complete when its socket is ready.

    Args:
        session: shaken hands; the transport's from here on.
        reactor: as in SaeaTransport.
    """

    __slots__ = ("_credited", "_found", "_nested", "_stalled", "receive_wants_write", "send_wants_read", "session")

    # The engine encrypts memory.
    moves_files = False

    def __init__(self, session: TlsSession, reactor: Reactor | None = None) -> None:
        self.session = session
        self.receive_wants_write = False
        self.send_wants_read = False
        # What `is_quiet()` found in asking: a byte of the stream, or what is wrong with it.
        self._found: bytes | TurbosockError = b""
        # Whether the engine holds on to a send, and what of it was counted already.
        self._stalled = False
        self._credited = 0
        self._nested = session.nested
        super().__init__(session.socket, reactor)
        self._recv_into = session.recv_into
        self._send = session.send
        self.tls = session.info()

    def is_drained(self) -> bool:
        return not self.session.pending() and not self._found and not self.session.hides()

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
            if self._found:
                self._take_found(context)
                return False
            try:
                if context.offset:
                    target = memoryview(context.buffer)[context.offset : context.offset + context.count]
                    received = self._recv_into(target, context.count)
                else:
                    received = self._recv_into(context.buffer, context.count)
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
                # finds nothing is an exception of the engine, and dearer. Inside another session it sees not all.
                self.readable = (
                    received == context.count
                    or received >= LONG_RECORD_BYTES
                    or received == 0
                    or (self._nested and self.session.hides())
                )
                self.bytes_in += received
                if self.reactor is not None:
                    self.reactor.bytes_in += received
                return False
            self.readable = False
            if received == WANTS_WRITE:
                self.receive_wants_write = True
                self._watch_writing(True)
        self._pend(context)
        return True

    def receive_behind(self, view: memoryview, at: int, until: int) -> int:
        error = None
        begin = at
        room = len(view)
        recv_into = self._recv_into
        received = 1
        try:
            while at < until and received > 0:
                received = recv_into(view[at:], room - at)
                if received > 0:
                    at += received
        except TurbosockError as failure:
            # Without its frames, which hold this transport.
            error = failure.with_traceback(None)
        if error is not None:
            self._found = error
        # The end, and what the engine wants to write first, are found again by the next receive.
        self.readable = received != WANTS_READ
        moved = at - begin
        self.bytes_in += moved
        if self.reactor is not None:
            self.reactor.bytes_in += moved
        return moved

    def _take_found(self, context: IOContext) -> None:
        """Complete a receive with what `is_quiet()` found."""
        found = self._found
        context.bytes_transferred = 0
        context.state = COMPLETED
        if isinstance(found, bytes):
            self._found = b""
            memoryview(context.buffer)[context.offset : context.offset + 1] = found
            context.bytes_transferred = 1
            self.bytes_in += 1
            if self.reactor is not None:
                self.reactor.bytes_in += 1
        else:
            context.error = found

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
            sent = self._send(data)
        except TurbosockError as error:
            context.bytes_transferred = 0
            context.error = self._reason_for(error)
            context.state = COMPLETED
            return False
        if sent >= 0:
            context.bytes_transferred = sent
            context.state = COMPLETED
            if self._stalled:
                self._stalled = False
                self._count_out(sent - self._credited)
                self._credited = 0
                return False
            self.bytes_out += sent
            if self.reactor is not None:
                self.reactor.bytes_out += sent
            return False
        if not self._stalled:
            self._stalled = True
        elif sent == WANTS_WRITE and self._credited + 1 < len(data):
            self._credited += 1
            self._count_out(1)
        context.bytes_transferred = -1
        context.operation = SEND
        context.state = PENDING
        self.send_wants_read = sent == WANTS_READ
        self._watch_writing(not self.send_wants_read)
        return True

    def _count_out(self, count: int) -> None:
        self.bytes_out += count
        if self.reactor is not None:
            self.reactor.bytes_out += count

    def _reason_for(self, error: TurbosockError) -> TurbosockError:
        """The alert that the peer sent before it went, where there is one, for a send that failed."""
        if isinstance(error, WriteError):
            self.is_quiet()
            if isinstance(self._found, TlsError):
                return self._found
        return error

    def _watch_writing(self, wanted: bool) -> None:
        if self._writing is not wanted:
            self._writing = wanted
            try:
                self._set_interest()
            except BaseException:
                self._writing = not wanted
                raise

    def on_ready(self, mask: int) -> None:
        if mask & WRITABLE and self.receive_wants_write:
            self.receive_wants_write = False
            if self.send_context.state != PENDING:
                self._stop_watching_for_room()
            mask |= READABLE
        if mask & READABLE and self.send_wants_read:
            # The engine has what it wanted: the step goes on with the send, whatever the poller watches.
            self.send_wants_read = False
            self._writing = True
            mask |= WRITABLE
        super().on_ready(mask)

    def await_readable(self, budget_ns: int) -> None:
        if self.readable:
            return
        if self.receive_wants_write:
            if self._wait(budget_ns, write=True):
                self.on_ready(WRITABLE)
            return
        # As SaeaTransport's, and _wait(): calls saved on the path of every blocking request.
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = SingleWaiter(self.fd)
        self.readable = waiter.wait(budget_ns)
        if self.readable and self.receive_context.state == PENDING:
            self.on_ready(READABLE)

    def await_writable(self, budget_ns: int) -> None:
        if self.send_wants_read:
            if self._wait(budget_ns, write=False):
                self.on_ready(READABLE)
            return
        super().await_writable(budget_ns)

    def is_quiet(self) -> bool:
        """Whether an idle connection has neither spoken nor closed; a ticket or a key update is not speech."""
        if self._found or self.session.pending():
            self.readable = True
            return False
        if not self.session.hides() and super().is_quiet():
            self.readable = False
            return True
        probe = bytearray(1)
        try:
            count = self._recv_into(probe, 1)
        except TurbosockError as error:
            # Without its frames, which hold this transport.
            self._found = error.with_traceback(None)
        else:
            if count == WANTS_READ:
                self.readable = False
                return True
            if count > 0:
                self._found = bytes(probe)
        self.readable = True
        return False

    def abort(self) -> None:
        try:
            # Not SSLSocket's own, which lets go of the engine under the thread that uses it.
            socket_module.socket.shutdown(self.socket, socket_module.SHUT_RDWR)
        except OSError:
            # As in Transport.
            return

    def drop(self) -> None:
        """As in Transport: the other process's session is not told goodbye, and its tickets are not used here."""
        self.session.forget_tickets()
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
    if len(vector) == 1 or count > limits.JOINED_SEND_BYTES:
        return vector[0]
    return b"".join(vector)
