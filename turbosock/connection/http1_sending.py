"""Http1Sending: a client's connection of HTTP/1.1, as far as its request is sent (RFC 9112 §2.1, §6, §7.1).

What is outgoing is a list of buffers, of which the socket takes as many bytes as it has room for, or a part of a file,
which goes from the file to the socket. A body's next block follows when nothing is outgoing; one whose length is not
known goes in chunks.

Invariants: `_outgoing_bytes` is the length of what is in `_outgoing`; what it views is the source's memory, and nobody
views it any more once the request was sent or given up; a connection of which a send failed serves no other exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.connection.file_range import FileRange
from turbosock.protocol.http1.serialize import LAST_CHUNK, chunk_prefix
from turbosock.protocol.http1.state import CLIENT_TABLE, REQUEST_DONE, column
from turbosock.reactor.context import COMPLETED, PENDING

if TYPE_CHECKING:
    from turbosock.connection.send_progress import SendProgress
    from turbosock.connection.source import BodySource, Buffer
    from turbosock.reactor.context import IOContext
    from turbosock.transport.transport import Transport

# The connection's step through the table of states: one index.
ON_REQUEST_DONE: Final = column(CLIENT_TABLE, REQUEST_DONE)


def _without_frames(error: BaseException) -> BaseException:
    """The error of a send without the frames of it and its causes, which view memory that the body's source lent."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error


class Http1Sending:
    """See the module.

    Attributes:
        transport: the connected socket.
        sent: whether the request has been sent whole, or its rest was given up.
        continued: whether the body may follow its head.
        state: where the connection stands in the client's table of `protocol/http1/state.py`.
    """

    __slots__ = (
        "_file",
        "_outgoing",
        "_outgoing_bytes",
        "_progress",
        "_send_broke",
        "_source",
        "continued",
        "sent",
        "state",
        "transport",
    )

    # What is being sent: buffers, then the rest of a part of a file. Http1Connection sets every slot.
    _file: FileRange | None
    _outgoing: list[Buffer]
    _outgoing_bytes: int
    _progress: SendProgress | None
    # For good.
    _send_broke: bool
    _source: BodySource | None
    continued: bool
    sent: bool
    state: int
    transport: Transport

    def send_body(self) -> None:
        """Send the body that waited for a 100 (Continue), which need not come."""
        if not self.continued:
            self.continued = True
            if not self.sent and not self._outgoing_bytes:
                self.on_writable()

    def on_writable(self) -> None:
        """Go on sending; afterwards `sent`, or the socket must become writable first, or it is the driver's turn.

        However fast the peer takes a body, and however long it is, one call sends little more than the transport's
        `burst_bytes` of it.

        Raises:
            WriteError: the connection is broken, or the source cannot keep its length.
        """
        transport = self.transport
        context = transport.send_context
        enough = transport.bytes_out + transport.burst_bytes
        while not self.sent:
            if context.state == PENDING:
                return
            if context.state == COMPLETED:
                transferred = context.bytes_transferred
                error = context.error
                context.release()
                if error is not None:
                    self._send_broke = True
                    raise _without_frames(error)
                if transferred > 0:
                    self._skip(transferred)
                elif not transferred and self._file is not None and not self._outgoing_bytes:
                    raise self._file.ended()
                if transferred < 0 or (transport.blocking and self._outgoing_bytes):
                    # A kernel-blocking send has used its time: the driver looks at the deadline first.
                    return
            if not self._outgoing_bytes:
                if self._file is None:
                    if self._source is None or (self.continued and not self._append_block()):
                        self._end_request()
                        return
                    if not self.continued:
                        return
                if transport.bytes_out >= enough:
                    self._configure(context)
                    transport.send_later(context)
                    return
            self._configure(context)
            if transport.send(context):
                return

    def _configure(self, context: IOContext) -> None:
        """Give the next send what is outgoing."""
        file = self._file
        if self._outgoing_bytes or file is None:
            context.set_vector(self._outgoing, self._outgoing_bytes)
        else:
            # Others wait for their turn where a burst has a length.
            most = limits.MOVED_STEP_BYTES if self.transport.burst_bytes == 1 else limits.SEND_BLOCK_BYTES
            context.set_file(file, file.offset, min(file.count, most))

    def _append_block(self) -> bool:
        """Put the next block of the body behind what is outgoing; False at its end."""
        source = self._source
        assert source is not None, "only a request with a body appends blocks"
        block = source.next_block()
        if self._progress is not None and block is not None:
            self._progress.taken(len(block), 0 if source.length >= 0 else 2)
        if source.length >= 0:
            if block is None:
                return False
            if isinstance(block, FileRange):
                self._file = block
                return True
            self._outgoing.append(block)
            self._outgoing_bytes += len(block)
            return True
        assert not isinstance(block, FileRange), "a body whose length is not known has no parts of files"
        if block is None:
            # The last chunk is sent once; afterwards there is no source any more.
            self._source = None
            source.close()
            if self._progress is not None:
                self._progress.taken(0, len(LAST_CHUNK))
            self._outgoing.append(LAST_CHUNK)
            self._outgoing_bytes += len(LAST_CHUNK)
            return True
        prefix = chunk_prefix(len(block))
        self._outgoing += (prefix, block, b"\r\n")
        self._outgoing_bytes += len(prefix) + len(block) + 2
        return True

    def _skip(self, count: int) -> None:
        """Drop the first `count` outgoing bytes, which were sent."""
        file = self._file
        if not self._outgoing_bytes:
            assert file is not None, "a send is of buffers or of a file"
            file.moved(count)
            if not file.count:
                self._file = None
        else:
            self._outgoing_bytes -= count
            if not self._outgoing_bytes:
                self._outgoing = []
            else:
                self._drop_first(count)
        if self._progress is not None:
            self._progress.look(self._outgoing_bytes + (0 if file is None else file.count))

    def _drop_first(self, count: int) -> None:
        outgoing = self._outgoing
        while count:
            first = outgoing[0]
            if len(first) > count:
                outgoing[0] = memoryview(first)[count:]
                return
            count -= len(first)
            del outgoing[0]

    def _end_request(self) -> None:
        self.sent = True
        self.state = ON_REQUEST_DONE[self.state]
        self._outgoing = []
        self._outgoing_bytes = 0
        self._file = None
        self._progress = None
        if self._source is not None:
            self._source.close()
            self._source = None

    def abandon_request(self) -> None:
        """Stop sending: the final answer came first (RFC 9110 §7.5). The connection is then not reusable."""
        if not self.sent:
            context = self.transport.send_context
            if context.error is not None:
                # It failed while the answer was waited for, and nobody has looked.
                self._send_broke = True
            # What it would send is the source's memory.
            context.disarm()
            self._end_request()
