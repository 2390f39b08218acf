"""Duplex: the bytes of a connection that one thread sends to while another receives from it.

Each direction is one thread's at a time, which is for the owner to see to; the two do not wait for each other. Over a
kernel-blocking socket the wait is the system call itself. Over any other, TLS above all, whose engine must not be
entered by two threads at once, every step is taken under one lock, and each direction waits for the socket without it,
by a poll of its own.

`abort()`, from any thread, ends both waits at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING

from turbosock.reactor.context import PENDING
from turbosock.reactor.poller import IN, OUT
from turbosock.transport.transport import SaeaTransport, read_error, write_error

if TYPE_CHECKING:
    from turbosock.transport.transport import Transport, Waiter

Now = Callable[[], int]


class Duplex:
    """The face of both kinds.

    Args:
        transport: owned from here on.
        write_ns: for how long the peer may take nothing of what is sent.
        now_ns: tells the time.
    """

    __slots__ = ("_now_ns", "_write_ns", "bytes_in", "bytes_out", "transport")

    def __init__(self, transport: Transport, write_ns: int, now_ns: Now = monotonic_ns) -> None:
        self.transport = transport
        self._write_ns = write_ns
        self._now_ns = now_ns
        self.bytes_in = transport.bytes_in
        self.bytes_out = transport.bytes_out

    def receive(self, view: memoryview, budget_ns: int) -> int:
        """Receive into `view`, waiting at most so long.

        Returns:
            The count; 0 at the end of the stream; -1: nothing came.

        Raises:
            TurbosockError: the connection broke.
        """
        raise AssertionError("a Duplex is either blocking or polled")

    def await_readable(self, budget_ns: int) -> bool:
        """Wait for something to receive, with no memory for it; False: nothing came in so long.

        Raises:
            TurbosockError: the system cannot wait.
        """
        raise AssertionError("a Duplex is either blocking or polled")

    def send(self, view: memoryview | bytes, budget_ns: int) -> int:
        """Send `view` whole, waiting at most so long in all, and `write_ns` for each byte.

        Returns:
            How much has left. After less than all the rest is due next, in the same memory.

        Raises:
            TurbosockError: the connection broke.
        """
        raise AssertionError("a Duplex is either blocking or polled")

    def abort(self) -> None:
        """End the waits of both directions; from any thread. `close()` is still due."""
        self.transport.abort()

    def close(self) -> None:
        """Close the connection, which nobody is using."""
        self.transport.close()

    def drop(self) -> None:
        """Close this process's copy of a connection that another process goes on using."""
        self.transport.drop()


class BlockingDuplex(Duplex):
    """Over a kernel-blocking socket."""

    __slots__ = ("_reading", "_recv_into", "_send")

    def __init__(self, transport: Transport, write_ns: int, now_ns: Now = monotonic_ns) -> None:
        super().__init__(transport, write_ns, now_ns)
        # Made when it is needed.
        self._reading: Waiter | None = None
        self._recv_into = transport.socket.recv_into
        self._send = transport.socket.send

    def receive(self, view: memoryview, budget_ns: int) -> int:
        transport = self.transport
        if budget_ns != transport.receive_budget_ns:
            transport.await_readable(budget_ns)
        try:
            count = self._recv_into(view)
        except BlockingIOError:
            return -1
        except OSError as error:
            raise read_error(error) from error
        self.bytes_in += count
        return count

    def await_readable(self, budget_ns: int) -> bool:
        waiter = self._reading
        if waiter is None:
            waiter = self._reading = self.transport.make_waiter()
        return _await_readable(waiter, False, budget_ns, self._now_ns)

    def send(self, view: memoryview | bytes, budget_ns: int) -> int:
        step_ns = self._write_ns
        if budget_ns < step_ns:
            step_ns = budget_ns
        if step_ns != self.transport.send_budget_ns:
            self.transport.allow_send(step_ns)
        try:
            sent = self._send(view)
        except BlockingIOError:
            # The peer took nothing in all that time.
            return 0
        except OSError as error:
            raise write_error(error) from error
        self.bytes_out += sent
        if sent == len(view):
            return sent
        # The kernel's limit is for the whole call: it has passed.
        return self._send_rest(view, sent, self._now_ns() + budget_ns - step_ns)

    def _send_rest(self, view: memoryview | bytes, sent: int, end_ns: int) -> int:
        size = len(view)
        while sent < size:
            left_ns = min(end_ns - self._now_ns(), self._write_ns)
            if left_ns <= 0:
                break
            self.transport.allow_send(left_ns)
            try:
                count = self._send(view[sent:])
            except BlockingIOError:
                break
            except OSError as error:
                raise write_error(error) from error
            self.bytes_out += count
            sent += count
        return sent


class PolledDuplex(Duplex):
    """Over a socket that does not block, and over TLS."""

    __slots__ = ("_lock", "_reading", "_step", "_writing")

    def __init__(self, transport: SaeaTransport, write_ns: int, now_ns: Now = monotonic_ns) -> None:
        super().__init__(transport, write_ns, now_ns)
        self._step = transport.on_ready
        # Of one thread at most, but for what a signal handler does in the middle of it.
        self._lock = threading.RLock()
        self._reading = transport.make_waiter()
        self._writing = transport.make_waiter()

    def receive(self, view: memoryview, budget_ns: int) -> int:
        transport = self.transport
        context = transport.receive_context
        end_ns = self._now_ns() + budget_ns
        with self._lock:
            context.disarm()
            context.set_buffer(view, 0, len(view))
            pending = transport.receive(context)
        while pending:
            wants_write = transport.receive_wants_write
            self._reading.wait(end_ns - self._now_ns(), wants_write)
            with self._lock:
                if context.state == PENDING:
                    self._step(OUT if wants_write else IN)
                pending = context.state == PENDING
                if pending and self._now_ns() >= end_ns:
                    # Its memory is another's from here on.
                    context.disarm()
                    return -1
        count = context.bytes_transferred
        error = context.error
        context.release()
        if error is not None:
            raise error
        self.bytes_in += count
        if not count:
            broken = transport.end_error()
            if broken is not None:
                raise broken
        return count

    def await_readable(self, budget_ns: int) -> bool:
        return _await_readable(self._reading, self.transport.receive_wants_write, budget_ns, self._now_ns)

    def send(self, view: memoryview | bytes, budget_ns: int) -> int:
        transport = self.transport
        context = transport.send_context
        size = len(view)
        sent = 0
        now_ns = self._now_ns()
        end_ns = now_ns + budget_ns
        with self._lock:
            if context.state != PENDING:
                # Else the engine still has what an earlier call began: the same bytes.
                context.set_buffer(view, 0, size)
                transport.send(context)
        moved = transport.bytes_out
        quiet_ns = now_ns + self._write_ns
        while True:
            if context.state != PENDING:
                count = context.bytes_transferred
                error = context.error
                context.release()
                if error is not None:
                    raise error
                self.bytes_out += count
                sent += count
                if sent >= size:
                    return sent
                with self._lock:
                    context.set_buffer(view, sent, size - sent)
                    transport.send(context)
                continue
            now_ns = self._now_ns()
            if transport.bytes_out != moved:
                moved = transport.bytes_out
                quiet_ns = now_ns + self._write_ns
            left_ns = min(end_ns, quiet_ns) - now_ns
            if left_ns <= 0:
                return sent
            wants_read = transport.send_wants_read
            if self._writing.wait(left_ns, not wants_read):
                with self._lock:
                    if context.state == PENDING:
                        self._step(IN if wants_read else OUT)


def _await_readable(waiter: Waiter, wants_write: bool, budget_ns: int, now_ns: Now) -> bool:
    end_ns = now_ns() + budget_ns
    while not waiter.wait(budget_ns, wants_write):
        # It may come back early.
        budget_ns = end_ns - now_ns()
        if budget_ns <= 0:
            return False
    return True


def make_duplex(transport: Transport, write_ns: int, now_ns: Now = monotonic_ns) -> Duplex:
    """The kind that suits the transport; over streams it is StreamDuplex (`shared_http2_opening.py`).

    Raises:
        NetworkError: the system refuses to bound its waits.
    """
    if transport.blocking:
        transport.allow_send(write_ns)
        return BlockingDuplex(transport, write_ns, now_ns)
    assert isinstance(transport, SaeaTransport), "a transport that does not block"
    return PolledDuplex(transport, write_ns, now_ns)
