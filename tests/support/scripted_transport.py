"""A transport without a socket: what it receives, and how much each send takes, is a script.

It answers as `StreamTransport` does when it is blocking and as `SaeaTransport` does when it is not, so that every step
of a connection can be brought about, one by one and at every cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from turbosock.errors import TurbosockError
from turbosock.reactor.context import COMPLETED, CONFIGURED, EMPTY, PENDING, RECEIVE, SEND, IOContext

# Bytes that arrive, b"" for the end of the stream, None for "nothing now", or the error of this receive.
Incoming = bytes | TurbosockError | None
# How many bytes this send takes, None for "nothing now", or the error of this send.
Taking = int | TurbosockError | None


class ScriptedTransport:
    """See the module.

    Args:
        incoming: what the receives bring, in order; after the last one, nothing comes any more.
        taking: what the sends take, in order; after the last one, everything.
        blocking: which of the two kinds of transport it answers as.

    Attributes:
        sent: all bytes that the sends took.
        sends, receives: how many there were.
        quiet, drained: what `is_quiet` and `is_drained` say.
    """

    sends_files = False

    def __init__(
        self, incoming: Iterable[Incoming] = (), taking: Iterable[Taking] = (), *, blocking: bool = True
    ) -> None:
        self.incoming = deque(incoming)
        self.taking = deque(taking)
        self.blocking = blocking
        self.burst_bytes = 1 if blocking else 262_144
        self.readable = True
        self.receive_context = IOContext()
        self.send_context = IOContext()
        self.sent = bytearray()
        self.sends = 0
        self.receives = 0
        self.quiet = True
        self.drained = True
        self.tls = None
        self.closed = False
        self.aborted = False
        self.bytes_in = 0
        self.bytes_out = 0

    def receive(self, context: IOContext) -> bool:
        """As Transport.receive."""
        assert context.state == CONFIGURED, "a receive takes a configured context"
        assert not self.closed, "a closed transport is not read"
        assert context.count > 0, "a connection arms for readiness, it does not receive nothing"
        self.receives += 1
        context.error = None
        item = self.incoming.popleft() if self.incoming else None
        if item is None:
            if not self.blocking:
                self.readable = False
                context.operation = RECEIVE
                context.state = PENDING
                return True
            context.bytes_transferred = -1
        elif isinstance(item, TurbosockError):
            context.bytes_transferred = 0
            context.error = item
        else:
            count = min(len(item), context.count)
            memoryview(context.buffer)[context.offset : context.offset + count] = item[:count]
            if count < len(item):
                self.incoming.appendleft(item[count:])
            context.bytes_transferred = count
            self.bytes_in += count
        context.state = COMPLETED
        return False

    def arm(self) -> None:
        """As Transport.arm."""
        context = self.receive_context
        if context.state == PENDING:
            context.disarm()
        context.buffer = EMPTY
        context.count = 0
        context.state = COMPLETED if self.readable else PENDING

    def send(self, context: IOContext) -> bool:
        """As Transport.send."""
        assert context.state == CONFIGURED, "a send takes a configured context"
        assert not self.closed, "a closed transport is not written"
        self.sends += 1
        context.error = None
        vector = context.vector if context.vector is not None else [context.buffer]
        data = b"".join(bytes(piece) for piece in vector)
        assert len(data) == context.count, "count is the length of all buffers"
        item = self.taking.popleft() if self.taking else len(data)
        if item is None:
            if not self.blocking:
                context.operation = SEND
                context.state = PENDING
                return True
            context.bytes_transferred = -1
        elif isinstance(item, TurbosockError):
            context.bytes_transferred = 0
            context.error = item
        else:
            self.sent += data[:item]
            context.bytes_transferred = min(item, len(data))
            self.bytes_out += context.bytes_transferred
        context.state = COMPLETED
        return False

    def send_later(self, context: IOContext) -> None:
        """As Transport.send_later."""
        assert context.state == CONFIGURED, "a send takes a configured context"
        if not self.blocking:
            context.operation = SEND
            context.state = PENDING

    def on_writable(self) -> None:
        """The socket takes bytes again: complete a pending send, as the reactor or a wait does."""
        if self.send_context.state == PENDING:
            self.send_context.state = CONFIGURED
            self.send(self.send_context)

    def on_readable(self) -> None:
        """The socket has bytes again: end the wait for them, as the reactor or a wait does."""
        self.readable = True
        if self.receive_context.state == PENDING:
            self.receive_context.bytes_transferred = 0
            self.receive_context.state = COMPLETED

    def is_quiet(self) -> bool:
        """As Transport.is_quiet."""
        return self.quiet

    def is_drained(self) -> bool:
        """As Transport.is_drained."""
        return self.drained

    def end_error(self) -> TurbosockError | None:
        """As Transport.end_error: every end of the script is a proper one."""
        return None

    def abort(self) -> None:
        """As Transport.abort."""
        self.aborted = True

    def close(self) -> None:
        """As Transport.close."""
        self.closed = True
        self.receive_context.disarm()
        self.send_context.disarm()
