"""Bytes over one connected socket, in the two ways of waiting.

A transport takes an operation as an `IOContext` (floor 2) and answers as SocketAsyncEventArgs does:
`receive(context)` and `send(context)` return True when the operation is pending, and False when it completed
at once, in which case the context's callback does not run. Each makes one system call and completes with what
moved; asking for the rest is the caller's next step.

`StreamTransport` holds a kernel-blocking socket: SO_RCVTIMEO and SO_SNDTIMEO bound the wait, which is the
`recv_into` itself. `SaeaTransport` holds a non-blocking one, and completes pending contexts when its reactor, or a
blocking caller's own wait, finds the socket ready.

Invariants: one receive and one send context per socket, cached for its life; a closed transport has no pending
context; `bytes_in` and `bytes_out` only grow. A failure of the connection is in `context.error`, translated, never
raised here. What is raised (NetworkError) is that this system refuses to watch the socket, or to bound its waits: no
context is pending then.
"""

from __future__ import annotations

import os
import socket as socket_module
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeAlias

from turbosock import limits
from turbosock.errors import NetworkError, ReadError, TurbosockError, WriteError
from turbosock.reactor.context import COMPLETED, CONFIGURED, EMPTY, PENDING, RECEIVE, SEND, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE, SingleWaiter, WakeableWaiter
from turbosock.reactor.sockets import (
    discard,
    end_output,
    explain,
    has_left,
    set_blocking,
    set_receive_timeout,
    set_send_timeout,
)

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.context import SendableFile
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.waker import Waker
    from turbosock.tls.provider import TlsInfo

SLACK_NS: Final = limits.TIMEOUT_SLACK_NS

# recv_into(buffer, count), send(buffer) and sendmsg(buffers): how many bytes moved.
ReceiveCall: TypeAlias = Callable[[Any, int], int]
SendCall: TypeAlias = Callable[[Any], int]
SendVectorCall: TypeAlias = Callable[[Any], int]
SocketCalls: TypeAlias = tuple[ReceiveCall, SendCall, SendVectorCall]


def read_error(error: OSError) -> ReadError:
    """The translated failure of a read."""
    return ReadError(f"reading failed: {explain(error.errno or 0)}", errno=error.errno)


def write_error(error: OSError) -> WriteError:
    """The translated failure of a write; one of ours already where a file was at fault."""
    if isinstance(error, WriteError):
        return error
    return WriteError(f"writing failed: {explain(error.errno or 0)}", errno=error.errno)


def _fail(context: IOContext, error: BaseException) -> None:
    """Complete a context with an error that its operation raised."""
    context.bytes_transferred = 0
    context.error = error
    context.state = COMPLETED


class Waiter(Protocol):
    """Waits for one socket; one thread at a time uses it."""

    def wait(self, timeout_ns: int, write: bool = False) -> bool:
        """Whether the socket became readable (or writable) before `timeout_ns` passed; False may come early."""


class Transport:
    """The face that both ways of waiting share.

    Attributes:
        socket, fd: the connected socket and its descriptor (-1 once closed).
        receive_context, send_context: this socket's two contexts.
        readable: whether a receive is worth its system call now. Always True on a blocking socket.
        receive_budget_ns: how long the next receive may wait, as the kernel knows it; -1: it does not wait.
        bytes_in, bytes_out: what has moved since the connection stood.
        tls: what was agreed on, for TLS.
        sends_files: whether a send may be given a file instead of memory.
        burst_bytes: after so many bytes, one long message lets its driver have a turn: at once where a blocking caller
            has a deadline to look at, after a quantum where a reactor has other sockets.
    """

    __slots__ = (
        "_recv_into",
        "_send",
        "_sendmsg",
        "_waiter",
        "burst_bytes",
        "bytes_in",
        "bytes_out",
        "fd",
        "readable",
        "receive_budget_ns",
        "receive_context",
        "send_budget_ns",
        "send_context",
        "sends_files",
        "socket",
        "tls",
    )

    blocking: ClassVar[bool]
    # Whether memory that a send could not take whole is read again in later sends: it must not change until then.
    keeps_unsent: ClassVar[bool] = False
    # Whether the system can move a file's bytes to this kind of socket.
    moves_files: ClassVar[bool] = False
    # Whether a pending receive waits until the socket can be written, or a pending send until it can be read.
    receive_wants_write: bool = False
    send_wants_read: bool = False

    def __init__(self, sock: socket) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self._recv_into: ReceiveCall = sock.recv_into
        self._send: SendCall = sock.send
        self._sendmsg: SendVectorCall = sock.sendmsg
        self._waiter: SingleWaiter | None = None
        self.receive_context = IOContext()
        self.send_context = IOContext()
        self.readable = True
        self.receive_budget_ns = -1
        self.send_budget_ns = -1
        # Floats, whose freed ones CPython keeps for the next: each operation counts.
        self.bytes_in = 0.0
        self.bytes_out = 0.0
        self.burst_bytes = 1
        self.sends_files = self.moves_files
        self.tls: TlsInfo | None = None

    def interpose(self, recv_into: ReceiveCall, send: SendCall, sendmsg: SendVectorCall) -> SocketCalls:
        """Have these called from now on, instead of the socket's or the TLS session's own, which are returned.

        They are to behave as those do. Files are sent as memory.
        """
        own = self._recv_into, self._send, self._sendmsg
        self._recv_into, self._send, self._sendmsg = recv_into, send, sendmsg
        self.sends_files = False
        return own

    def receive(self, context: IOContext) -> bool:
        """Receive into the context's buffer; see the module for the answer.

        `bytes_transferred` is then the count, 0 at the end of the stream (or for a completed readiness wait), or -1
        when nothing came within the socket's own time limit.
        """
        raise AssertionError("a Transport is either blocking or not")

    def send(self, context: IOContext) -> bool:
        """Send the context's buffer or vector; `bytes_transferred` may be less than `count`, or -1 as in receive."""
        raise AssertionError("a Transport is either blocking or not")

    def send_later(self, context: IOContext) -> None:
        """Take the context's send without a system call now: it happens when the socket is next found writable.

        On a kernel-blocking socket the context stays CONFIGURED: its driver calls `send` itself.

        Raises:
            NetworkError: the socket cannot be watched.
        """
        raise AssertionError("a Transport is either blocking or not")

    def await_readable(self, budget_ns: int) -> None:
        """Let the next receive wait up to `budget_ns`: in itself, or here; `readable` tells the outcome.

        Raises:
            ReadError: the system refused to bound it.
            NetworkError: the system cannot wait here.
        """
        raise AssertionError("a Transport is either blocking or not")

    def arm(self) -> None:
        """Make the receive context a pending readiness wait, where a receive does not wait by itself.

        Raises:
            NetworkError: the socket cannot be watched.
        """

    def allow_send(self, budget_ns: int) -> None:
        """Let the next sends wait up to `budget_ns` each, where a send waits at all.

        Raises:
            WriteError: the system refused to bound them.
        """
        self.send_budget_ns = budget_ns

    def await_writable(self, budget_ns: int) -> None:
        """Let the next send wait up to `budget_ns`: in itself, or here.

        Raises:
            WriteError, NetworkError: as await_readable.
        """
        raise AssertionError("a Transport is either blocking or not")

    def _send_now(self, context: IOContext) -> None:
        """One system call for a send, into the context's fields; BlockingIOError is the caller's to read."""
        vector = context.vector
        if vector is not None:
            sent = self._sendmsg(vector)
        elif context.file is not None:
            sent = self._send_file(context.file, context.offset, context.count)
        elif context.offset or context.count != len(context.buffer):
            sent = self._send(memoryview(context.buffer)[context.offset : context.offset + context.count])
        else:
            sent = self._send(context.buffer)
        context.bytes_transferred = sent
        self.bytes_out += sent

    def _send_file(self, file: SendableFile, offset: int, count: int) -> int:
        return file.transfer(self.socket, offset, count)

    def _receive_now(self, context: IOContext) -> None:
        """One system call for a receive, into the context's fields; BlockingIOError is the caller's to read."""
        if context.offset:
            target = memoryview(context.buffer)[context.offset : context.offset + context.count]
            received = self._recv_into(target, context.count)
        else:
            received = self._recv_into(context.buffer, context.count)
        context.bytes_transferred = received
        self.bytes_in += received

    def end_error(self) -> TurbosockError | None:
        """What is wrong with an end of the stream that the peer's protocol relies on; None for a proper one."""
        return None

    def say_goodbye(self) -> bool:
        """Tell the peer that the stream ends here, where there are words for that; True: done.

        False: the socket has no room; the send context's callback is called, with 0 bytes, when it is done.
        """
        return True

    def end_output(self) -> bool:
        """Close the sending half, after `say_goodbye()`; False: the connection has gone. `discard` what still comes."""
        return end_output(self.socket)

    def discard(self, scratch: bytearray | memoryview) -> int:
        """Receive into `scratch` what nobody will look at, or decrypt, after `end_output()`.

        Returns:
            How many bytes came; 0 when none will come any more; WOULD_BLOCK, which is negative: none now.
        """
        count = discard(self.socket, scratch)
        if count > 0:
            self.bytes_in += count
        return count

    def is_drained(self) -> bool:
        """Whether nothing that was received waits where no poller sees it; no system call."""
        return True

    def is_quiet(self) -> bool:
        """Whether an idle connection has neither spoken nor closed: one system call, no wait.

        False also where the system cannot tell: nobody is to rely on such a connection.
        """
        try:
            return not self._wait(0, write=False)
        except NetworkError:
            return False

    def _wait(self, budget_ns: int, *, write: bool) -> bool:
        waiter = self._waiter
        if waiter is None:
            waiter = self._waiter = SingleWaiter(self.fd)
        return waiter.wait(budget_ns, write)

    def make_waiter(self) -> Waiter:
        """What waits for this socket beside others that do, in another thread; forget it when the socket is closed."""
        return SingleWaiter(self.fd)

    def make_wakeable_waiter(self, waker: Waker) -> WakeableWaiter:
        """What waits for this socket until another thread calls the waker; forget it when the socket is closed."""
        return WakeableWaiter(self.fd, waker)

    def has_left(self, *, half: bool) -> bool:
        """As `sockets.has_left`."""
        return has_left(self.socket, half=half)

    def abort(self) -> None:
        """Shut both directions down: any thread's wait on this socket ends at once. close() is still due."""
        try:
            self.socket.shutdown(socket_module.SHUT_RDWR)
        except OSError:
            # Not connected any more: whoever waits is being told so already.
            return

    def drop(self) -> None:
        """Close this process's copy of a socket that another process goes on using: nothing is sent or shut down."""
        self.fd = -1
        self.readable = False
        self.socket.close()

    def close(self) -> None:
        """Disarm both contexts and close the socket; a second call does nothing."""
        if self.fd < 0:
            return
        self.receive_context.disarm()
        self.send_context.disarm()
        self.fd = -1
        self.readable = False
        self._waiter = None
        self.socket.close()


class StreamTransport(Transport):
    """A kernel-blocking socket: the wait is the system call itself (TransportMode.STREAM)."""

    __slots__ = ()

    blocking = True
    moves_files = True

    def __init__(self, sock: socket) -> None:
        super().__init__(sock)
        set_blocking(sock, True)

    def receive(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("receive")
        context.error = None
        if context.count == 0:
            context.bytes_transferred = 0 if self._wait(self.receive_budget_ns, write=False) else -1
        else:
            try:
                # As _receive_now: a call saved on the path of every blocking request.
                if context.offset:
                    self._receive_now(context)
                else:
                    received = self._recv_into(context.buffer, context.count)
                    context.bytes_transferred = received
                    self.bytes_in += received
            except BlockingIOError:
                context.bytes_transferred = -1
            except OSError as error:
                context.bytes_transferred = 0
                context.error = read_error(error)
        context.state = COMPLETED
        return False

    def send(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        context.error = None
        try:
            self._send_now(context)
        except BlockingIOError:
            context.bytes_transferred = -1
        except OSError as error:
            context.bytes_transferred = 0
            context.error = write_error(error)
        context.state = COMPLETED
        return False

    def _send_file(self, file: SendableFile, offset: int, count: int) -> int:
        # A blocking sendfile may wait for so long at each page, and a peer that drips makes that hours: here it waits
        # once, and then takes what there is room for.
        os.set_blocking(self.fd, False)
        try:
            if not self._wait(self.send_budget_ns, write=True):
                raise BlockingIOError
            return file.transfer(self.socket, offset, count)
        finally:
            os.set_blocking(self.fd, True)

    def send_later(self, context: IOContext) -> None:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")

    def await_readable(self, budget_ns: int) -> None:
        # A setsockopt costs as much as a tenth of a request: the kernel's limit moves only when it is off by more
        # than anybody would notice.
        off_ns = self.receive_budget_ns - budget_ns
        if off_ns > SLACK_NS or off_ns < -SLACK_NS or self.receive_budget_ns < 0:
            set_receive_timeout(self.socket, budget_ns)
            self.receive_budget_ns = budget_ns

    def allow_send(self, budget_ns: int) -> None:
        off_ns = self.send_budget_ns - budget_ns
        if off_ns > SLACK_NS or off_ns < -SLACK_NS or self.send_budget_ns < 0:
            set_send_timeout(self.socket, budget_ns)
            self.send_budget_ns = budget_ns

    def await_writable(self, budget_ns: int) -> None:
        self.allow_send(budget_ns)


class SaeaTransport(Transport):
    """A non-blocking socket whose pending contexts complete when it is ready (TransportMode.SAEA, and every Loop).

    Args:
        sock: the connected socket.
        reactor: drives it; None for a blocking caller, which waits with `await_readable` and `await_writable`.
    """

    __slots__ = ("_reading", "_writing", "mask", "queued", "reactor")

    blocking = False
    moves_files = True

    def __init__(self, sock: socket, reactor: Reactor | None = None) -> None:
        super().__init__(sock)
        set_blocking(sock, False)
        self.readable = False
        self.reactor = reactor
        # What the poller is asked to report; a transport is registered for reading.
        self._reading = True
        self._writing = False
        # What the reactor found and has not delivered yet, and whether this transport stands in its line.
        self.mask = 0
        self.queued = False
        if reactor is not None:
            self.burst_bytes = limits.TURN_QUANTUM_BYTES
            reactor.register(self.fd, self, read=True, write=False)

    @property
    def wants_write(self) -> bool:
        """Whether something here waits until the socket can be written."""
        return self._writing

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
                # As _receive_now: a call saved on the path of every request.
                if context.offset:
                    self._receive_now(context)
                    received = context.bytes_transferred
                else:
                    received = self._recv_into(context.buffer, context.count)
                    context.bytes_transferred = received
                    self.bytes_in += received
                if self.reactor is not None:
                    self.reactor.bytes_in += received
                # A short read of a plain socket means that it is drained; asking again would raise, at 1 µs and 0.5 KB.
                self.readable = received == context.count or received == 0
                context.state = COMPLETED
                return False
            except BlockingIOError:
                self.readable = False
            except OSError as error:
                context.bytes_transferred = 0
                context.error = read_error(error)
                context.state = COMPLETED
                return False
        self._pend(context)
        return True

    def receive_behind(self, view: memoryview, at: int, until: int) -> int:
        """Receive the records of TLS that have come behind a received one, as long as the next begins before `until`.

        Afterwards `readable` says whether more may be here; what went wrong is told by the next receive.

        Args:
            view: where the next one goes to `view[at:]`, which has room for it.

        Returns:
            How many bytes came. Of a plain socket, which has no records, none.
        """
        return 0

    def _pend(self, context: IOContext) -> None:
        context.operation = RECEIVE
        context.bytes_transferred = 0
        context.error = None
        context.state = PENDING
        if not self._reading:
            self._watch_for_bytes(context)

    def _watch_for_bytes(self, context: IOContext) -> None:
        self._reading = True
        try:
            self._set_interest()
        except BaseException:
            self._reading = False
            context.disarm()
            raise

    def arm(self) -> None:
        context = self.receive_context
        if context.state == PENDING:
            if context.count == 0:
                return
            context.disarm()
        context.buffer = EMPTY
        context.offset = 0
        context.count = 0
        if self.readable:
            context.bytes_transferred = 0
            context.state = COMPLETED
        else:
            # As _pend(): a call saved on the path of every request.
            context.operation = RECEIVE
            context.bytes_transferred = 0
            context.error = None
            context.state = PENDING
            if not self._reading:
                self._watch_for_bytes(context)

    def send(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        context.error = None
        try:
            # As _send_now: calls saved on the path of every request.
            if context.vector is not None or context.offset or context.count != len(context.buffer):
                self._send_now(context)
                sent = context.bytes_transferred
            else:
                sent = self._send(context.buffer)
                context.bytes_transferred = sent
                self.bytes_out += sent
            if self.reactor is not None:
                self.reactor.bytes_out += sent
            context.state = COMPLETED
            return False
        except BlockingIOError:
            context.bytes_transferred = -1
        except OSError as error:
            context.bytes_transferred = 0
            context.error = write_error(error)
            context.state = COMPLETED
            return False
        context.operation = SEND
        context.state = PENDING
        if not self._writing:
            self._watch_for_room(context)
        return True

    def send_later(self, context: IOContext) -> None:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        context.operation = SEND
        context.state = PENDING
        if not self._writing:
            self._watch_for_room(context)

    def _watch_for_room(self, context: IOContext) -> None:
        self._writing = True
        try:
            self._set_interest()
        except BaseException:
            self._writing = False
            context.disarm()
            raise

    def _set_interest(self) -> None:
        # A closed transport is not watched: whoever was called in the middle of a step may have closed it.
        if self.reactor is not None and self.fd >= 0:
            self.reactor.set_interest(self.fd, read=self._reading, write=self._writing)

    def on_ready(self, mask: int) -> None:
        """The socket is ready as `mask` says: complete what was pending. Called by the reactor's turn."""
        if mask & WRITABLE and self._writing:
            context = self.send_context
            if context.state == PENDING:
                context.state = CONFIGURED
                try:
                    pending = self.send(context)
                except TurbosockError as error:
                    # The rest has to wait, and the system refuses to watch for it.
                    _fail(context, error)
                    pending = False
                except BaseException as error:
                    # Nobody knows what has left: the driver ends with this, and it is raised from there.
                    _fail(context, error)
                    if context.completed is not None:
                        context.completed(context)
                    raise
                if not pending:
                    self._stop_watching_for_room()
                    if context.completed is not None:
                        context.completed(context)
            else:
                self._stop_watching_for_room()
        if mask & READABLE and self.fd >= 0:
            self.readable = True
            context = self.receive_context
            if context.state == PENDING:
                if context.count == 0:
                    context.bytes_transferred = 0
                    context.state = COMPLETED
                else:
                    context.state = CONFIGURED
                    try:
                        if self.receive(context):
                            return
                    except TurbosockError as error:
                        # As above.
                        _fail(context, error)
                if context.completed is not None:
                    context.completed(context)
            elif self._reading:
                # Nobody asks: without this a level-triggered poller would report the socket in every turn.
                self._reading = False
                try:
                    self._set_interest()
                except TurbosockError:
                    # It is reported again, and this tried again.
                    self._reading = True

    def _stop_watching_for_room(self) -> None:
        self._writing = False
        try:
            self._set_interest()
        except TurbosockError:
            # As above.
            self._writing = True

    def await_readable(self, budget_ns: int) -> None:
        self.readable = self._wait(budget_ns, write=False)
        context = self.receive_context
        if self.readable and context.state == PENDING:
            self.on_ready(READABLE)

    def await_writable(self, budget_ns: int) -> None:
        if self._wait(budget_ns, write=True) and self.send_context.state == PENDING:
            self.on_ready(WRITABLE)

    def close(self) -> None:
        if self.fd >= 0 and self.reactor is not None:
            self.reactor.unregister(self.fd)
        self.mask = 0
        super().close()
