"""SpoiltSocket: what stands where a transport has its socket, and moves its bytes over another transport, spoilt.

Bytes go through the courses of their directions, which say what becomes of them and when. What is held back waits here,
and readiness is that of what is here: so it is told, and waited for, as a socket in memory is.

Time: under a Loop, timers on the Loop's own clock. For a Client the clock that the connector has: a virtual one passes,
a ManualClock is moved on to what is due, and the system's is waited for.

Invariants: bytes keep their order; what came before an end or a reset is received before it. Several threads may use
it at once, as HTTP/2 does: one waits, others send.
"""

from __future__ import annotations

import errno
import os
import socket as socket_module
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.errors import TurbosockError
from turbosock.reactor.clock import NS_PER_S, Clock, ManualClock
from turbosock.reactor.context import COMPLETED, PENDING, Buffer, IOContext
from turbosock.testing.faults.course import Course, End
from turbosock.testing.faults.held import Held

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.timers import Timer
    from turbosock.transport.transport import Transport, Waiter

# As of sockets in memory: no process has so many descriptors, so that a stray system call fails.
_FIRST_NUMBER: Final = 3 << 28
# What each direction holds before its sender has to wait.
_WINDOW_BYTES: Final = limits.SEGMENT_BYTES


class SpoiltSocket:
    """See the module.

    Args:
        inner: what carries the bytes, which is this socket's from here on.
        receiving, sending: what becomes of them.
        clock: the time that delays are of.
        reactor: drives it; None for a blocking caller.

    Attributes:
        inner: the same.
    """

    _numbers = count(_FIRST_NUMBER)

    def __init__(
        self, inner: Transport, receiving: Course, sending: Course, clock: Clock, reactor: Reactor | None
    ) -> None:
        self.inner = inner
        self._clock = clock
        self._reactor = reactor
        self._lock = threading.RLock()
        self._number = next(self._numbers)
        self._notice: Callable[[], object] | None = None
        self._timer: Timer | None = None
        self._waiter: Waiter | None = None
        # Set when this side ends it.
        self._ended = threading.Event()
        self._receiving = Held(receiving)
        self._sending = Held(sending)
        # How much of the first piece was received already.
        self._offset = 0
        # What is being sent, and how much of it has left.
        self._outgoing = b""
        self._sent = 0
        self._scratch = bytearray(limits.SEGMENT_BYTES)
        # Whether inner brings nothing more, and whether it takes nothing more.
        self._drained = False
        self._gone = False
        self._refusal_code = errno.EPIPE
        now_ns = clock.now_ns()
        self._receiving.feed(b"", now_ns)
        self._sending.feed(b"", now_ns)

    # What inner brings and takes

    def _pull(self) -> None:
        """Receive once from inner, if that brings something now."""
        inner, held = self.inner, self._receiving
        if self.deaf:
            return
        if inner.blocking:
            if inner.is_quiet():
                return
        elif not inner.readable:
            if self._reactor is not None:
                inner.arm()
                return
            inner.await_readable(0)
            if not inner.readable:
                return
        context = inner.receive_context
        if context.state == PENDING:
            context.disarm()
        context.set_buffer(self._scratch, 0, len(self._scratch))
        if inner.receive(context):
            context.disarm()
            if self._reactor is not None:
                inner.arm()
            return
        received, error = context.bytes_transferred, context.error
        context.release()
        now_ns = self._clock.now_ns()
        if error is not None:
            assert isinstance(error, TurbosockError), "a transport translates what fails"
            self._drained = True
            held.end(error, now_ns)
        elif received > 0:
            held.feed(bytes(memoryview(self._scratch)[:received]), now_ns)
            self._drained = held.course.over
        elif not received:
            self._drained = True
            held.end(End.CLOSED, now_ns)
        if self._reactor is not None and not (self._drained or inner.readable):
            inner.arm()

    def _flush(self) -> None:
        """Send what is due, as far as inner takes it."""
        held, context = self._sending, self.inner.send_context
        if context.state == PENDING and self._reactor is None:
            # Nobody else lets it go on.
            self.inner.await_writable(0)
        while not self._gone:
            if context.state == PENDING:
                return
            if context.state == COMPLETED:
                if not self._take_sent(context):
                    return
                continue
            if not self._outgoing:
                if not held.due:
                    return
                what = held.due.popleft()
                if not isinstance(what, bytes):
                    assert isinstance(what, End), "nothing but a fault ends what is sent"
                    self._break(what)
                    return
                self._outgoing = what
                self._sent = 0
            context.set_buffer(self._outgoing, self._sent, len(self._outgoing) - self._sent)
            if self.inner.send(context):
                return

    def _take_sent(self, context: IOContext) -> bool:
        """A send of inner's is over; whether to go on."""
        sent, error = context.bytes_transferred, context.error
        context.release()
        if error is not None:
            assert isinstance(error, TurbosockError), "as in _pull()"
            self._refusal_code = getattr(error, "errno", None) or errno.EPIPE
            self._gone = True
            return False
        if sent <= 0:
            return False
        self._sent += sent
        self._sending.nbytes -= sent
        if self._sent == len(self._outgoing):
            self._outgoing = b""
        return True

    def _break(self, end: End) -> None:
        """A fault ends the connection, in both directions."""
        self._gone = self._drained = True
        if end is End.RESET:
            self._refusal_code = errno.ECONNRESET
        if not self._receiving.ends:
            self._receiving.end(end, self._clock.now_ns())
        self.inner.abort()

    def _step(self) -> None:
        """Let go on what is due."""
        now_ns = self._clock.now_ns()
        self._receiving.catch_up(now_ns)
        self._sending.catch_up(now_ns)
        self._flush()
        end = self._receiving.ends
        if end is not None and not self._gone:
            self._break(end)
        due_ns = self._next_ns()
        if due_ns is not None and self._reactor is not None and self._number >= 0:
            if self._timer is None:
                self._timer = self._reactor.timers.idle(self)
            self._timer.move(due_ns)

    def _next_ns(self) -> int | None:
        due = [held.next_ns for held in (self._receiving, self._sending) if held.next_ns is not None]
        return min(due) if due else None

    # What a reactor calls

    def drive(self, reactor: Reactor, notice: Callable[[], object]) -> None:
        """From now on `notice` is called when the socket may have become ready."""
        self._notice = notice
        self.inner.receive_context.completed = self._on_readable
        self.inner.send_context.completed = self._on_sent
        with self._lock:
            self._step()
            self._pull()

    def _on_readable(self, context: IOContext) -> None:
        with self._lock:
            self._pull()
            self._step()
        self._tell()

    def _on_sent(self, context: IOContext) -> None:
        with self._lock:
            self._step()
        self._tell()

    def on_timer(self, now_ns: int) -> None:
        """Something that was held back is due."""
        with self._lock:
            self._step()
        self._tell()

    def _tell(self) -> None:
        if self._notice is not None and self._number >= 0:
            self._notice()

    @property
    def readable(self) -> bool:
        """Whether a receive may bring something."""
        inner = self.inner
        return bool(self._receiving.due) or (not (self.deaf or inner.blocking) and inner.readable)

    @property
    def writable(self) -> bool:
        """Whether a send does anything, and be it fail."""
        return self._gone or self._sending.nbytes < _WINDOW_BYTES

    @property
    def failure(self) -> TurbosockError | None:
        """What failed in inner, once all that came before it was received."""
        due = self._receiving.due
        what = due[0] if due else None
        return what if isinstance(what, TurbosockError) else None

    @property
    def holds(self) -> bool:
        """Whether there is anything here that was not received."""
        return self._receiving.nbytes > 0

    # Waiting, for blocking callers

    def wait(self, timeout_ns: int, write: bool = False) -> bool:
        """Whether the socket becomes ready within so much time."""
        end_ns = self._clock.now_ns() + timeout_ns
        while True:
            if self.look(write):
                return True
            left_ns = end_ns - self._clock.now_ns()
            if left_ns <= 0 or self._number < 0:
                return False
            self._wait_for_inner(left_ns)

    def look(self, write: bool) -> bool:
        """Take what has come and is due; whether the socket is ready."""
        with self._lock:
            self._step()
            if not (write or self._receiving.due):
                self._pull()
                self._step()
            return self.writable if write else bool(self._receiving.due)

    @property
    def deaf(self) -> bool:
        """Whether inner is not to bring anything, now or ever."""
        return self._drained or self._receiving.nbytes >= _WINDOW_BYTES

    @property
    def waits_for_room(self) -> bool:
        """Whether inner has something to send and no room for it."""
        return bool(self._outgoing) and not self._gone

    def limited_ns(self, timeout_ns: int) -> int:
        """How long to wait at most, since something here may be due before."""
        due_ns = self._next_ns()
        return timeout_ns if due_ns is None else max(0, min(timeout_ns, due_ns - self._clock.now_ns()))

    def _wait_for_inner(self, left_ns: int) -> None:
        limit_ns = self.limited_ns(left_ns)
        inner, clock = self.inner, self._clock
        deaf = self.deaf
        passing: Any = getattr(clock, "wait", None)
        if passing is not None:
            memory: Any = getattr(inner, "memory", None)
            passing(limit_ns, lambda: memory is not None and not deaf and memory.readable)
        elif isinstance(clock, ManualClock) and limit_ns < left_ns:
            # Time that nobody has to wait for really.
            if deaf or not self._inner_waiter().wait(0):
                clock.advance(ns=limit_ns)
        elif self.waits_for_room:
            inner.await_writable(limit_ns)
        elif deaf:
            self._ended.wait(limit_ns / NS_PER_S)
        else:
            self._inner_waiter().wait(limit_ns)

    def _inner_waiter(self) -> Waiter:
        if self._waiter is None:
            self._waiter = self.inner.make_waiter()
        return self._waiter

    # What a socket has

    def fileno(self) -> int:
        """A number that is no descriptor; -1 once it is closed."""
        return self._number

    def setblocking(self, flag: bool) -> None:
        """As a socket's; calls never wait here."""

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """As a socket's."""
        with self._lock:
            self._check_open()
            self._step()
            held = self._receiving
            if not held.due:
                self._pull()
                self._step()
            if not held.due:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            what = held.due[0]
            if what is End.RESET:
                raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            if isinstance(what, TurbosockError):
                raise what
            if isinstance(what, End):
                return 0
            return self._receive_pieces(memoryview(buffer).cast("B"), nbytes or len(buffer))

    def _receive_pieces(self, view: memoryview, room: int) -> int:
        due = self._receiving.due
        filled = 0
        while filled < room and due:
            piece = due[0]
            if not isinstance(piece, bytes):
                break
            count = min(len(piece) - self._offset, room - filled)
            view[filled : filled + count] = piece[self._offset : self._offset + count]
            filled += count
            self._offset += count
            if self._offset == len(piece):
                due.popleft()
                self._offset = 0
        self._receiving.nbytes -= filled
        return filled

    def send(self, data: Buffer) -> int:
        """As a socket's: it takes what there is room for, and passes it on when its time has come."""
        with self._lock:
            self._check_open()
            self._step()
            if self._gone:
                raise OSError(self._refusal_code, os.strerror(self._refusal_code))
            room = _WINDOW_BYTES - self._sending.nbytes
            if room <= 0:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            taken = bytes(memoryview(data).cast("B")[:room])
            self._sending.feed(taken, self._clock.now_ns())
            self._step()
            return len(taken)

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        """As a socket's."""
        return self.send(b"".join(buffers))

    def shutdown(self, how: int) -> None:
        """As a socket's; who waits for it wakes up."""
        # Without the lock, which somebody may hold who sends: this is what ends that.
        if how == socket_module.SHUT_WR:
            self.inner.end_output()
            return
        self._gone = self._drained = True
        self._receiving.due.append(End.CLOSED)
        self._ended.set()
        self.inner.abort()
        self._tell()

    def close(self) -> None:
        """As a socket's."""
        if self._number < 0:
            return
        self._number = -1
        self._ended.set()
        if self._timer is not None and self._reactor is not None:
            self._reactor.timers.cancel(self._timer)
        self._notice = None
        # Without these two, each would hold the other.
        self.inner.receive_context.completed = self.inner.send_context.completed = None
        self.inner.close()

    def forget(self) -> None:
        """This copy belongs to a process that does not use it: closing it tells nobody."""
        self._number = -1
        self.inner.drop()

    def _check_open(self) -> None:
        if self._number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
