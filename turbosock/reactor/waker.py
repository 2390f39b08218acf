"""Wake a thread that waits in a poller, from another thread or from a signal handler.

A `Waker` is a descriptor that the poller watches for reading: an eventfd on Linux, a socket pair elsewhere. Wake-ups
coalesce: any number of `wake()` calls before one `drain()` cost one system call and make one readiness.

Invariants:

- The flag is set before the write and cleared after the read. A `wake()` in between is skipped, which is safe under
  one rule: the woken thread looks at what it was woken for *after* `drain()`.
- The descriptor is written and closed under one re-entrant lock, so that a late `wake()` never writes into a
  descriptor number that something else has taken over, and a signal handler never deadlocks with the code it
  interrupted.

After `fork()` both processes hold the same descriptor, and a wake-up in one may be drained by the other: whoever owns
a waker drops it in the child. An eventfd takes eight bytes at a time and so does not serve for
`signal.set_wakeup_fd`; call `wake()` from a Python signal handler instead.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

_DRAIN_BYTES = 64


class Waker:
    """One coalescing wake-up for the owner of a poller.

    1. The owner registers `fileno()` for reading. 2. Any thread calls `wake()`. 3. The owner, finding the descriptor
    ready, calls `drain()` and then looks at its queues. 4. The owner unregisters it and calls `close()`.

    Args:
        use_eventfd: whether to use an eventfd; None uses it where there is one.

    Raises:
        OSError: the system has no descriptor to give.
    """

    __slots__ = ("_lock", "_pending", "_read_fd", "_read_socket", "_write_socket", "closed")

    def __init__(self, *, use_eventfd: bool | None = None) -> None:
        self._lock = threading.RLock()
        self._pending = False
        # Until it has its descriptor: a finalizer finds nothing to close.
        self.closed = True
        self._read_socket: socket.socket | None = None
        self._write_socket: socket.socket | None = None
        if sys.platform == "linux" and use_eventfd is not False:
            self._read_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.closed = False
            return
        reader, writer = socket.socketpair()
        try:
            reader.setblocking(False)
            writer.setblocking(False)
        except BaseException:
            reader.close()
            writer.close()
            raise
        self._read_socket = reader
        self._write_socket = writer
        self._read_fd = reader.fileno()
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor to watch for reading; -1 after `close()`."""
        return self._read_fd

    def wake(self) -> None:
        """Make the descriptor readable; any thread or signal handler may call it, it never blocks, and it does
        nothing after `close()`."""
        if self._pending:
            return
        self._pending = True
        with self._lock:
            if self.closed:
                return
            writer = self._write_socket
            try:
                if sys.platform == "linux" and writer is None:
                    os.eventfd_write(self._read_fd, 1)
                elif writer is not None:
                    writer.send(b"\0")
            except BlockingIOError:
                # Full: the reader has yet to drain earlier wake-ups, so it is awake already.
                pass

    def drain(self) -> None:
        """Make the descriptor unreadable again; only the owner calls it, and looks at its queues afterwards."""
        if self.closed:
            return
        reader = self._read_socket
        try:
            if sys.platform == "linux" and reader is None:
                os.eventfd_read(self._read_fd)
            elif reader is not None:
                # Several bytes appear only where two threads raced past the flag.
                while len(reader.recv(_DRAIN_BYTES)) == _DRAIN_BYTES:
                    pass
        except BlockingIOError:
            # Nothing to read: a drain without a wake-up.
            pass
        self._pending = False

    def drop(self) -> None:
        """In the child of a fork: close its copy, although a thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self.close()

    def __del__(self) -> None:
        # An eventfd is a number, which nobody else would close.
        if not getattr(self, "closed", True):
            self.drop()

    def close(self) -> None:
        """Close the descriptor; unregister it first. A second call does nothing."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._pending = True
            reader = self._read_socket
            writer = self._write_socket
            fd = self._read_fd
            self._read_fd = -1
            if reader is None or writer is None:
                os.close(fd)
            else:
                writer.close()
                reader.close()
