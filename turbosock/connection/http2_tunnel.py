"""Http2Tunnel: one stream of an HTTP/2 connection with the face of a transport (RFC 8441 §5, RFC 9113 §8.5).

After an extended CONNECT was agreed to, the DATA of its stream are the bytes of a connection: END_STREAM is its orderly
end, and RST_STREAM its reset. To the message connection on it a tunnel is a SaeaTransport like any other: contexts
complete when the engine has news, inside the steps of the HTTP/2 connection.

The stream tells it: `took()` for payload, `news()` after it and at the end, `room()` when the stream's turn to send has
come. While `held` is set nothing is sent: the head has not left yet. When it is closed, it calls `on_closed`, once.

Invariants: the peer is given credit for what a receive has taken, and for nothing else, so what waits here (the
backlog) is bounded by the stream's window; what came before a failure is received before it is told.
Left to others: whose stream it is, and the connection's end (the two kinds of session).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.connection.backlog import Backlog
from turbosock.errors import ReadError, TurbosockError, WriteError
from turbosock.protocol.http2.error_codes import CANCEL
from turbosock.protocol.http2.stream_state import CLOSED, HALF_CLOSED_LOCAL
from turbosock.reactor.context import COMPLETED, CONFIGURED, EMPTY, PENDING, RECEIVE, SEND, IOContext
from turbosock.reactor.sockets import WOULD_BLOCK
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from turbosock.connection.http2_connection import Http2Connection
    from turbosock.protocol.http2.stream import Stream

_NOTHING: Final = memoryview(b"")
# What our own end of the stream leaves it in.
_SAID_END: Final = (HALF_CLOSED_LOCAL, CLOSED)


class Http2Tunnel(SaeaTransport):
    """See the module.

    Args:
        connection: whose stream it is.
        stream: the stream, open.
        backlog: of the stream: what came already.
        on_closed: called when the tunnel is closed, from this side or after a failure.

    Attributes:
        held: whether nothing may be sent yet.
    """

    __slots__ = ("_backlog", "_connection", "_ending", "_lent", "_on_closed", "_root", "_start", "_stream", "held")

    # A send is one piece of memory: what is joined becomes one frame.
    keeps_unsent = True

    def __init__(
        self, connection: Http2Connection, stream: Stream, backlog: Backlog | None, on_closed: Callable[[], None]
    ) -> None:
        # What the base makes of a socket, which is the connection's here, and watched by it.
        carrier = connection.transport
        self.socket = carrier.socket
        self.fd = carrier.fd
        self.tls = carrier.tls
        self.reactor = None
        self.burst_bytes = carrier.burst_bytes
        self.sends_files = False
        self.receive_budget_ns = self.send_budget_ns = -1
        self.receive_context = IOContext()
        self.send_context = IOContext()
        self.bytes_in = 0
        self.bytes_out = 0
        self.mask = 0
        self.queued = False
        self._waiter = None
        self._connection = connection
        self._stream: Stream | None = stream
        self._backlog = Backlog(connection.rings) if backlog is None else backlog
        self._on_closed = on_closed
        self.held = False
        # Payload that lies in the connection's ring, for the time of one step.
        self._root = _NOTHING
        self._start = 0
        self._lent = 0
        # Whether the end of our half waits for room.
        self._ending = False
        self.readable = self._has_news()

    # What the stream tells

    def took(self, root: memoryview, start: int, count: int) -> None:
        """Payload came: it lies there until `news()` returns."""
        if self._stream is None:
            return
        if self._backlog.length:
            self._backlog.append(root[start : start + count], self._connection.origin)
        else:
            self._root = root
            self._start = start
            self._lent = count

    def news(self) -> None:
        """There was payload, the peer has ended its half, or the stream failed."""
        if self._has_news():
            self.readable = True
            context = self.receive_context
            if context.state == PENDING:
                if context.count:
                    context.state = CONFIGURED
                    self.receive(context)
                else:
                    context.bytes_transferred = 0
                    context.state = COMPLETED
                if context.completed is not None:
                    context.completed(context)
        lent = self._lent
        if lent:
            self._lent = 0
            if self._stream is not None:
                view = self._root[self._start : self._start + lent]
                self._backlog.append(view, self._connection.origin)
        stream = self._stream
        if stream is not None and stream.failure is not None:
            # What waits for room has its answer, too.
            self.room()

    def room(self) -> None:
        """There may be room to send, or none is needed any more."""
        context = self.send_context
        if context.state != PENDING or self.held:
            return
        if self._ending:
            if not self._put_end():
                return
            self._ending = False
            context.bytes_transferred = 0
            context.error = None
            context.state = COMPLETED
        else:
            context.state = CONFIGURED
            if self.send(context):
                return
        if context.completed is not None:
            context.completed(context)

    def _has_news(self) -> bool:
        stream = self._stream
        return stream is not None and bool(
            self._lent or self._backlog.length or stream.ended or stream.failure is not None
        )

    # The face of a transport

    def receive(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("receive")
        context.error = None
        if not self.readable:
            context.operation = RECEIVE
            context.bytes_transferred = 0
            context.state = PENDING
            return True
        count = 0
        if context.count:
            view = memoryview(context.buffer)
            if context.offset or context.count != len(view):
                view = view[context.offset : context.offset + context.count]
            count = self._take(view)
            if not count:
                context.error = self._failure()
        context.bytes_transferred = count
        context.state = COMPLETED
        return False

    def _take(self, view: memoryview) -> int:
        """Move what is here into `view`, and give credit for it; 0: the stream is over."""
        lent = self._lent
        if lent:
            count = min(lent, len(view))
            start = self._start
            view[:count] = self._root[start : start + count]
            self._start = start + count
            self._lent = lent - count
        else:
            count = self._backlog.take(view)
        self.bytes_in += count
        self.readable = self._has_news()
        stream = self._stream
        if count and stream is not None and not self._connection.closed:
            owed = stream.owed
            self._connection.engine.consumed(stream, count)
            if stream.owed < owed + count:
                self._connection.flush_soon()
        return count

    def _failure(self) -> TurbosockError | None:
        stream = self._stream
        if stream is None:
            return ReadError("the stream is closed")
        return None if stream.ended else stream.failure

    def arm(self) -> None:
        context = self.receive_context
        if context.state == PENDING:
            if context.count == 0:
                return
            context.disarm()
        context.buffer = EMPTY
        context.offset = 0
        context.count = 0
        context.bytes_transferred = 0
        context.error = None
        if self.readable:
            context.state = COMPLETED
        else:
            context.operation = RECEIVE
            context.state = PENDING

    def send(self, context: IOContext) -> bool:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        assert context.vector is None and context.file is None, "it keeps what is unsent"
        context.error = None
        stream = self._stream
        if stream is None or stream.state in _SAID_END:
            context.bytes_transferred = 0
            failure = None if stream is None else stream.failure
            context.error = failure or WriteError("the peer has ended the stream: nothing more can be sent")
            context.state = COMPLETED
            return False
        sent = 0 if self.held else self._put(stream, context)
        if not sent:
            self._stand_in_line(stream, context)
            return True
        self.bytes_out += sent
        context.bytes_transferred = sent
        context.state = COMPLETED
        return False

    def _put(self, stream: Stream, context: IOContext) -> int:
        """Put as much of what the context sends into the output as there is room for."""
        connection = self._connection
        connection.lend_output()
        engine = connection.engine
        view = memoryview(context.buffer)
        at = context.offset
        stop = at + context.count
        while at < stop:
            count = engine.send_data(stream, view[at:stop] if at or stop != len(view) else view, False)
            if count <= 0:
                break
            at += count
            if engine.crowded:
                # One frame at a time, where others wait as well.
                break
        connection.flush_soon()
        return at - context.offset

    def _stand_in_line(self, stream: Stream, context: IOContext) -> None:
        context.operation = SEND
        context.bytes_transferred = 0
        context.state = PENDING
        self._connection.engine.wait_for_room(stream)

    def send_later(self, context: IOContext) -> None:
        if context.state != CONFIGURED:
            raise context.wrong_step("send")
        stream = self._stream
        if stream is None or stream.state in _SAID_END:
            raise WriteError("the peer has ended the stream: nothing more can be sent")
        self._stand_in_line(stream, context)
        self._connection.flush_soon()

    def say_goodbye(self) -> bool:
        stream = self._stream
        if stream is None or stream.state in _SAID_END or (not self.held and self._put_end()):
            return True
        self._ending = True
        context = self.send_context
        context.disarm()
        self._stand_in_line(stream, context)
        return False

    def _put_end(self) -> bool:
        """End our half; False: there is no room for it."""
        stream = self._stream
        if stream is None or stream.state in _SAID_END:
            return True
        connection = self._connection
        connection.lend_output()
        ended = connection.engine.send_data(stream, _NOTHING, True) >= 0
        connection.flush_soon()
        if not ended:
            connection.engine.wait_for_room(stream)
        return ended

    def end_output(self) -> bool:
        stream = self._stream
        return stream is not None and stream.state == HALF_CLOSED_LOCAL

    def discard(self, scratch: bytearray | memoryview) -> int:
        if not self._has_news():
            return WOULD_BLOCK
        return self._take(memoryview(scratch))

    def is_drained(self) -> bool:
        return not self._has_news()

    def is_quiet(self) -> bool:
        return not self._has_news() and not self._connection.closed

    def drop(self) -> None:
        self._stream = None
        self.fd = -1
        self.readable = False

    def abort(self) -> None:
        self.close()

    def close(self) -> None:
        stream = self._stream
        if stream is None:
            return
        self._stream = None
        self.receive_context.disarm()
        self.send_context.disarm()
        self.fd = -1
        self.readable = False
        self._lent = 0
        self._backlog.clear()
        connection = self._connection
        if stream.state != CLOSED and not connection.closed:
            connection.lend_output()
            connection.engine.reset(stream, CANCEL)
            connection.flush_soon()
        self._on_closed()
