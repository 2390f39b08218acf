"""I/O contexts: one operation on one socket, made once and used again (SocketAsyncEventArgs, in Python).

::

    FREE ──set_buffer──▶ CONFIGURED ──submit──▶ PENDING ──complete──▶ COMPLETED ──release──▶ FREE
                             │                     └──disarm──▶ FREE       │
                             └───────────submit, done at once──────────────┤
                             ◀──────────────────set_buffer─────────────────┘

`set_buffer` on a COMPLETED context takes the result and configures the next operation in one step: a socket's
cached context goes round that short loop for as long as the socket lives. A wrong step raises StateError: here, and
from the transport that is asked to take a context (`wrong_step`).

Invariants: 0 <= bytes_transferred <= count; a PENDING context is never in a pool; `generation` grows with
every release, so that whoever kept (context, generation) can tell that its operation is over. Submitting and
completing are the transport's, which reads and writes the fields directly: the hot path makes no call for a transition.

A receive with count 0 is a readiness wait (a zero-byte receive): it completes when the socket has something to
read and moves nothing, so an idle connection needs no buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.errors import StateError

if TYPE_CHECKING:
    from socket import socket

FREE: Final = 0
CONFIGURED: Final = 1
PENDING: Final = 2
COMPLETED: Final = 3
STATE_NAMES: Final = ("FREE", "CONFIGURED", "PENDING", "COMPLETED")

NONE: Final = 0
RECEIVE: Final = 1
SEND: Final = 2
CONNECT: Final = 3
ACCEPT: Final = 4
RECEIVE_FROM: Final = 5
SEND_TO: Final = 6
OPERATION_NAMES: Final = ("NONE", "RECEIVE", "SEND", "CONNECT", "ACCEPT", "RECEIVE_FROM", "SEND_TO")

Buffer = bytes | bytearray | memoryview


class SendableFile(Protocol):
    """A file whose bytes the system moves to a socket by itself."""

    def transfer(self, sock: socket, offset: int, count: int) -> int:
        """Move up to `count` bytes from `offset` on to `sock`; how many, 0 at the end of the file.

        Raises:
            OSError: as a socket's own send, BlockingIOError included.
            WriteError: the file's fault; `origin` is LOCAL.
        """


EMPTY: Final = memoryview(bytearray(0))


class IOContext:
    """A reusable I/O operation with a buffer.

    Attributes:
        state, operation: see the module's picture.
        buffer: what the operation reads into or sends; its first `offset` bytes are left alone, `count` are used.
        vector: the buffers of a gathering send, or None; `count` is their length in all.
        file: what a send takes its bytes from, `count` of them from `offset` on, or None.
        bytes_transferred: the result. 0 after a receive with count > 0: the peer has closed. -1: nothing happened,
            and the socket's own time limit passed (kernel-blocking sockets only).
        error: the exception that ended the operation, or None.
        user_token: yours.
        completed: called with the context when a pending operation completes, on the thread that polls; it does
            not run when the operation completed at once.
        generation: grows with each release.
    """

    __slots__ = (
        "buffer",
        "bytes_transferred",
        "completed",
        "count",
        "error",
        "file",
        "generation",
        "offset",
        "operation",
        "pooled",
        "state",
        "user_token",
        "vector",
    )

    def __init__(self, completed: Callable[[IOContext], object] | None = None, user_token: object = None) -> None:
        self.state = FREE
        self.operation = NONE
        self.buffer: Buffer = EMPTY
        self.vector: Sequence[Buffer] | None = None
        self.file: SendableFile | None = None
        self.offset = 0
        self.count = 0
        self.bytes_transferred = 0
        self.error: BaseException | None = None
        self.pooled = False
        self.completed = completed
        self.user_token = user_token
        self.generation = 0

    def set_buffer(self, buffer: Buffer, offset: int, count: int) -> None:
        """Configure the next operation; the buffer is lent to it until it completes or is disarmed.

        Raises:
            StateError: while the context is PENDING, or when offset and count leave the buffer.
        """
        if self.state == PENDING:
            raise StateError("set_buffer on a PENDING I/O context: wait for its completion, or disarm it")
        if offset < 0 or count < 0 or offset + count > len(buffer):
            raise StateError(f"set_buffer: offset {offset} and count {count} leave a buffer of {len(buffer)} bytes")
        self.buffer = buffer
        self.vector = None
        self.file = None
        self.offset = offset
        self.count = count
        self.state = CONFIGURED

    def set_vector(self, buffers: Sequence[Buffer], count: int) -> None:
        """Configure a gathering send of `buffers`, `count` bytes in all, that leaves in one system call.

        Raises:
            StateError: while the context is PENDING.
        """
        if self.state == PENDING:
            raise StateError("set_vector on a PENDING I/O context: wait for its completion, or disarm it")
        self.buffer = EMPTY
        self.vector = buffers
        self.file = None
        self.offset = 0
        self.count = count
        self.state = CONFIGURED

    def set_file(self, file: SendableFile, offset: int, count: int) -> None:
        """Configure a send of `count` bytes of a file from `offset` on, for a transport that `sends_files`.

        Raises:
            StateError: while the context is PENDING.
        """
        if self.state == PENDING:
            raise StateError("set_file on a PENDING I/O context: wait for its completion, or disarm it")
        self.buffer = EMPTY
        self.vector = None
        self.file = file
        self.offset = offset
        self.count = count
        self.state = CONFIGURED

    def disarm(self) -> None:
        """Give up a pending operation without its callback; what closing a socket does first."""
        if self.state == PENDING:
            self.state = COMPLETED
            self.bytes_transferred = 0
        if self.state != FREE:
            self.release()

    def release(self) -> None:
        """COMPLETED or CONFIGURED → FREE; forgets buffer, result and operation, and bumps the generation."""
        if self.state == PENDING or self.state == FREE:
            raise self.wrong_step("release")
        self.state = FREE
        self.operation = NONE
        self.buffer = EMPTY
        self.vector = None
        self.file = None
        self.offset = 0
        self.count = 0
        self.bytes_transferred = 0
        self.error = None
        self.generation += 1

    def wrong_step(self, step: str) -> StateError:
        """The error for a step that the present state does not allow."""
        return StateError(f"{step} on an I/O context in state {STATE_NAMES[self.state]}: see the order of states")

    def __repr__(self) -> str:
        return (
            f"<IOContext {OPERATION_NAMES[self.operation]} {STATE_NAMES[self.state]} "
            f"{self.bytes_transferred}/{self.count} generation={self.generation}>"
        )


class IOContextPool:
    """A bounded free list of I/O contexts; it belongs to one reactor and its thread.

    Args:
        max_idle: contexts kept; one given back above it is dropped and counted.
    """

    __slots__ = ("_idle", "dropped", "made", "max_idle", "rented", "returned")

    def __init__(self, max_idle: int = limits.MAX_IDLE_OBJECTS) -> None:
        self.max_idle = max_idle
        self._idle: list[IOContext] = []
        self.made = 0
        self.rented = 0
        self.returned = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._idle)

    def rent(self) -> IOContext:
        """A FREE context, without callback and token."""
        self.rented += 1
        if not self._idle:
            self.made += 1
            return IOContext()
        context = self._idle.pop()
        context.pooled = False
        return context

    def give_back(self, context: IOContext) -> None:
        """Take a context back, fully reset.

        Raises:
            StateError: when it is PENDING (disarm it first) or is already here.
        """
        if context.state == PENDING:
            raise context.wrong_step("give_back")
        if context.pooled:
            raise StateError("give_back of an I/O context that is already in its pool")
        if context.state != FREE:
            context.release()
        context.completed = None
        context.user_token = None
        self.returned += 1
        if len(self._idle) < self.max_idle:
            context.pooled = True
            self._idle.append(context)
        else:
            self.dropped += 1

    def clear(self) -> None:
        """Drop the idle contexts."""
        self._idle.clear()
