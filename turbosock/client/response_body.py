"""ResponseBody: the body of an answer as a blocking program reads it, from the connection or from memory.

A body is read in one of these ways, and the first one taken decides: into the caller's memory (`readinto`), in pieces
of owned bytes (the iterators, `read(size)`), whole into owned bytes (`content`, `text`, `json()`), or whole into pooled
memory that is lent until the response is closed (`view()`, `segments()`, `reader()`). What was gathered into `content`
may be read again in the other ways of owned bytes.

Content codings are undone on the way: every length here is one of content, but for `iter_raw()`. At the end of the body
the connection is given back.

A memoryview cannot be of several pieces of memory. So `view()` is for bodies that fit one pooled buffer, and of a
longer one it is a view of `content`; `segments()` is what needs no memory in one piece, however long the body is.

Lent memory: `view()`, `segments()` and what `reader()` reads are valid until the response is closed.
"""

from __future__ import annotations

import io
import json as json_module
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from turbosock import limits
from turbosock.buffers import SegmentedReader, SegmentedSequence
from turbosock.client.blocking_exchange import BlockingExchange
from turbosock.client.charset import decoded
from turbosock.client.exchange import writable_bytes
from turbosock.client.gather import Gatherer, too_large
from turbosock.client.line_splitter import LineSplitter
from turbosock.config import check_count
from turbosock.errors import BodyTooLarge, InvalidOption, Origin, ReadError, ResponseClosed, TurbosockError
from turbosock.protocol.http1.framing import Framing

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from turbosock.buffers import PooledBuffer
    from turbosock.client.download import ProgressArgument
    from turbosock.pool.origin_pool import PooledConnection


class ResponseBody(BlockingExchange):
    """What a Response does with its body."""

    __slots__ = ("_lent", "_replayed", "_view")

    # As of ClientExchange, `Response.forget()` sets every slot. What was lent whole, and what is behind it.
    _lent: PooledBuffer | SegmentedSequence | None
    # Of a body that was gathered: where the next readinto() begins.
    _replayed: int
    _view: memoryview | None

    def _await_body(self, connection: PooledConnection, view: memoryview, bytes_before: float) -> int:
        reader = connection.decoded or connection
        transport = connection.transport
        self._bytes_seen = transport.bytes_in
        self._quiet_since_ns = self._now_ns()
        if transport.blocking and transport.bytes_in == bytes_before and not reader.busy:
            # The receive that brought nothing has waited already.
            self._quiet_since_ns -= transport.receive_budget_ns
        while True:
            if reader.busy:
                # Nothing to wait for; but what decodes to nothing must not outlast the deadline either.
                self._quiet_since_ns = self._now_ns()
                left_ns = self._within_deadline(self.timeouts.read_ns, self._quiet_since_ns)
                if transport.blocking and left_ns < transport.receive_budget_ns:
                    transport.await_readable(left_ns)
            else:
                self._wait(connection)
            count = reader.read_body(view)
            if count >= 0:
                return count

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Read what has arrived into your buffer, waiting for the first byte; 0 is the end of the body.

        Nothing is allocated, and payload that has not arrived yet is received straight into the buffer. At the end
        of the body the connection is given back.

        Raises:
            InvalidOption: the buffer is read-only or empty.
            ResponseClosed: after close().
            TurbosockError: as the exchange ends.
        """
        if type(buffer) is not memoryview or buffer.readonly or buffer.format != "B" or not buffer.c_contiguous:
            buffer = writable_bytes(buffer, "buffer")
        ring = self.ring
        if ring is not None and self._view is None:
            count = ring.length
            room = len(buffer)
            if count > room:
                count = room
            start = ring.start
            buffer[:count] = ring.root[start : start + count]
            ring.start = start + count
            ring.length -= count
            self.nbytes += count
            if count or not ring.length:
                return count
        return self._read_on(buffer)

    def _read_on(self, buffer: memoryview) -> int:
        """readinto() of a body that is still coming, or over."""
        if not len(buffer):
            raise InvalidOption("buffer: it has no room; give at least one byte")
        connection = self.connection
        if connection is None:
            if self._content is not None:
                return self._replay(buffer)
            if self.error is not None:
                # Not an end: what failed once stays failed, however often it is asked.
                raise self.error
            if self.closed:
                raise ResponseClosed("the response is closed; read its body inside the with block")
            return 0
        try:
            # Before each receive: a peer that drips, or never ends, must not outlast the deadline.
            transport = connection.transport
            left_ns = self._within_deadline(self.timeouts.read_ns, self._now_ns())
            if left_ns < transport.receive_budget_ns:
                transport.await_readable(left_ns)
            bytes_before = transport.bytes_in
            count = (connection.decoded or connection).read_body(buffer)
            if count < 0:
                count = self._await_body(connection, buffer, bytes_before)
            if not count and (self.cancelled or self._client.closed):
                # A body that ends with its connection: this end was made here.
                self.check_deadline()
        except TurbosockError as error:
            self.drop_connection()
            raise self.explained(error) from error.__cause__
        except BaseException as error:
            self.drop_connection()
            # What comes next must not look like the end of the body.
            self.explained(
                ReadError(
                    f"an earlier read was broken off by {type(error).__name__}, and the rest of the body with it",
                    origin=Origin.LOCAL,
                    code="broken_off",
                )
            )
            raise
        self.nbytes += count
        if connection.body.complete and connection.decoded is None:
            self.release_connection(self._now_ns())
        return count

    def _replay(self, view: memoryview) -> int:
        """readinto() of a body that is in memory already."""
        content = self._content
        assert content is not None, "asked for by _read_on"
        start = self._replayed
        count = min(len(view), len(content) - start)
        view[:count] = memoryview(content)[start : start + count]
        self._replayed = start + count
        return count

    def gather(self) -> None:
        """Read the body whole into `content`; for Client, which then lets the connection go."""
        ring = self.ring
        if ring is not None:
            if ring.length > self._client.config.max_body_bytes:
                self.ring = None
                self._client.rings.give_back(ring)
                raise self.explained(too_large(self._client.config.max_body_bytes))
            start = ring.start
            self.nbytes = ring.length
            self._content = bytes(ring.root[start : start + ring.length])
            self.ring = None
            self._client.rings.give_back(ring)
        elif self.connection is not None:
            self._content = self._gather_rest(self.connection)
        elif self._content is None:
            self._content = b""

    def end_with(self, content: bytes) -> None:
        """Let the connection go, and have this for the content, whatever else the body had."""
        if self.connection is not None:
            self._count_left()
            self.drop_connection()
        self._content = content
        self.error = None

    def _gather_rest(self, connection: PooledConnection) -> bytes:
        body = connection.body
        if body.complete:
            self.release_connection(self._now_ns())
            return b""
        gatherer = None
        try:
            known = body.framing is Framing.LENGTH and connection.decoded is None
            gatherer = Gatherer(body.run if known else -1, self._client.config.max_body_bytes)
            while self.connection is not None:
                gatherer.advance(self._read_on(gatherer.writable()))
        except BaseException as error:
            # No memory for it, for one.
            if gatherer is not None:
                gatherer.abandon()
            self.drop_connection()
            if isinstance(error, TurbosockError):
                raise self.explained(error) from error.__cause__
            raise
        return gatherer.take()

    @property
    def content(self) -> bytes:
        """The body as owned bytes, read whole at first use.

        Raises:
            ResponseClosed: the response was closed, or partly read by other means, before.
            BodyTooLarge: above `Config.max_body_bytes`.
        """
        if self._content is None:
            if self.error is not None:
                raise self.error
            if self.closed:
                raise ResponseClosed("the response is closed; read its content inside the with block")
            if self.nbytes or self._view is not None or self._lent is not None:
                raise ResponseClosed("part of the body was read already; use either content or the stream")
            self.gather()
        assert self._content is not None, "gathered above"
        return self._content

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes as owned bytes, fewer only at the end of the body, b"" there; -1: all, as `content`.

        Raises:
            InvalidOption: `size` is no number of bytes.
            ResponseClosed, TurbosockError: as readinto().
        """
        if size == -1:
            return self.content
        check_count("size", size, 0, limits.MAX_WRITER_BYTES)
        if not size:
            return b""
        gatherer = Gatherer(size, size)
        try:
            while gatherer.length < size:
                count = self.readinto(gatherer.writable())
                if not count:
                    break
                gatherer.advance(count)
        except BaseException:
            gatherer.abandon()
            raise
        return gatherer.take()

    @property
    def text(self) -> str:
        """The body as text, by `encoding`; what does not decode is replaced."""
        content = self.content
        return decoded(content, self._charset())

    def json(self) -> Any:
        """The body as JSON (RFC 8259), in UTF-8, UTF-16 or UTF-32; of lent memory, if it was lent.

        Raises:
            ValueError: it is not JSON.
        """
        serializer = self._client.config.serializer
        lent = self._view if self._view is not None else self._lent
        if lent is None:
            return json_module.loads(self.content) if serializer is None else serializer.deserialize(self.content)
        if serializer is None:
            return json_module.loads(bytes(lent))  # type: ignore[arg-type]  # a lone lease is never lent
        return serializer.deserialize(lent)

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body in pieces of owned bytes, as they arrive, or of exactly `chunk_size` but for the last.

        Raises:
            InvalidOption: `chunk_size` is not a number of bytes above 0.
            ResponseClosed, TurbosockError: as readinto(), while it is iterated.
        """
        if chunk_size is not None:
            check_count("chunk_size", chunk_size, 1, limits.MAX_WRITER_BYTES)
        return self._pieces(chunk_size)

    def _pieces(self, chunk_size: int | None) -> Iterator[bytes]:
        if self._content is not None:
            step = chunk_size or max(1, len(self._content))
            for start in range(0, len(self._content), step):
                yield self._content[start : start + step]
            return
        with self._client.buffers.rent(chunk_size or limits.SEGMENT_BYTES) as lease:
            view = lease.view
            filled = 0
            while True:
                if filled:
                    # Released, since the frames of an error would hold it beyond the lease.
                    with view[filled:] as rest:
                        count = self.readinto(rest)
                else:
                    count = self.readinto(view)
                filled += count
                if filled and (not count or chunk_size is None or filled == chunk_size):
                    yield bytes(view[:filled])
                    filled = 0
                if not count:
                    return

    def iter_raw(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """The body in pieces as `iter_bytes`, but as it came: content codings are not undone.

        Raises:
            ResponseClosed: it was decoded already.
            InvalidOption, TurbosockError: as `iter_bytes`.
        """
        connection = self.connection
        if connection is not None and connection.decoded is not None and not self.nbytes:
            connection.decoded.close()
        elif (self.nbytes or self._content) and self._answer().coded and self._client.config.decode:
            raise ResponseClosed("the body was decoded already, or is being; call iter_raw() first, of a stream")
        return self.iter_bytes(chunk_size)

    def iter_lines(self) -> Iterator[str]:
        """The body's lines as text without their ends; CR, LF and CRLF end a line.

        Raises:
            BodyTooLarge: a line has more than `Config.max_body_bytes` characters.
        """
        splitter = LineSplitter(self._charset())
        for piece in self._pieces(None):
            yield from splitter.feed(piece)
            if splitter.kept > self._client.config.max_body_bytes:
                self.drop_connection()
                raise self.explained(BodyTooLarge("a line is longer than max_body_bytes; use iter_bytes()"))
        yield from splitter.finish()

    def download(self, path: str | os.PathLike[str], *, progress: ProgressArgument = None) -> Path:
        """Write the body to a file, which appears, or is replaced, when all of it is there; see `Client.download`.

        Args:
            path: the file.
            progress: called as `progress(received, total)`, or True for a bar on standard error.

        Returns:
            The path.

        Raises:
            OSError: the file cannot be written.
            ResponseClosed: the response was closed, or partly read by other means, before.
            InvalidOption, TurbosockError: as readinto().
        """
        if self._content is None:
            self._check_unread("download()")
        # Of a body that is in memory all is written, whatever was read of it.
        self._replayed = 0
        # Not with the module, as in Client.
        from turbosock.client.download import save

        return save(self, self._client.buffers, path, progress)

    def view(self) -> memoryview:
        """The body as a read-only view of memory in one piece, read whole at first use; lent until close().

        A short body is not copied at all: the view is of the receive ring itself. A body above MAX_BUCKET_BYTES, one
        whose length is not announced, and one that is decoded, are gathered as `content`; see `segments()`.

        Raises:
            ResponseClosed, BodyTooLarge: as `content`.
        """
        if self._view is None:
            if self._content is not None:
                self._view = memoryview(self._content)
            else:
                self._check_unread("view()")
                self._view = self._lend_body()
        return self._view

    def _check_unread(self, what: str) -> None:
        if self.error is not None:
            raise self.error
        if self.closed or self.nbytes or self._lent is not None or self._view is not None:
            raise ResponseClosed(
                f"the response is closed, partly read, or lent in another way; call {what} first, inside the with block"
            )

    def _lend_body(self) -> memoryview:
        ring = self.ring
        if ring is not None:
            return ring.readable().toreadonly()
        connection = self.connection
        if connection is None or connection.body.complete:
            return memoryview(self.content)
        body = connection.body
        if body.framing is not Framing.LENGTH or body.run > limits.MAX_BUCKET_BYTES or connection.decoded is not None:
            return memoryview(self.content)
        if body.run > self._client.config.max_body_bytes:
            raise self._refused(too_large(self._client.config.max_body_bytes))
        self._lent = lease = self._client.buffers.rent(body.run)
        while self.connection is not None:
            # As in _pieces().
            with lease.view[self.nbytes :] as rest:
                self._read_on(rest)
        return lease.view.toreadonly()

    def segments(self) -> SegmentedSequence:
        """The body in pooled segments, read whole at first use; lent until close().

        However long the body is, and whether or not its length is known, no memory is made but segments, and none of
        them is moved.

        Raises:
            ResponseClosed: the response was closed, read, or lent as a view, before.
            BodyTooLarge: above `Config.max_body_bytes`.
        """
        lent = self._lent
        if isinstance(lent, SegmentedSequence):
            return lent
        if self._content is not None:
            raise ResponseClosed("the body is in content already; call segments() first, of a stream")
        self._check_unread("segments()")
        return self._lend_segments()

    def _lend_segments(self) -> SegmentedSequence:
        max_bytes = self._client.config.max_body_bytes
        # Its own bound is behind ours, whose message says what to do.
        segments = SegmentedSequence(self._client.buffers, max_bytes=max_bytes + limits.SEGMENT_BYTES)
        try:
            self._fill_segments(segments, max_bytes)
        except BaseException:
            # Part of a body is none.
            segments.release()
            raise
        self._lent = segments
        return segments

    def _fill_segments(self, segments: SegmentedSequence, max_bytes: int) -> None:
        ring = self.ring
        connection = self.connection
        if ring is not None:
            if ring.length > max_bytes:
                raise self._refused(too_large(max_bytes))
            start = ring.start
            self.ring = None
            with ring.root[start : start + ring.length] as content:
                segments.append(content)
            self.nbytes = len(segments)
            self._client.rings.give_back(ring)
        elif connection is not None:
            body = connection.body
            if body.complete:
                self.release_connection(self._now_ns())
            elif body.framing is Framing.LENGTH and connection.decoded is None and body.run > max_bytes:
                raise self._refused(too_large(max_bytes))
        while self.connection is not None:
            # A view of its own, as in _pieces().
            with segments.writable()[:] as room:
                segments.advance(self._read_on(room))
            if len(segments) > max_bytes:
                raise self._refused(too_large(max_bytes))

    def _refused(self, error: BodyTooLarge) -> TurbosockError:
        """The failure of a body that will not be read on."""
        self.drop_connection()
        return self.explained(error)

    def reader(self) -> SegmentedReader | io.BytesIO:
        """The body as a binary file that can be sought: over `segments()`, or over `content` if that was gathered.

        What json, csv, zipfile, tarfile and the like read in place. Lent until close().

        Raises:
            ResponseClosed, BodyTooLarge: as `segments()`.
        """
        if self._content is not None:
            return io.BytesIO(self._content)
        return SegmentedReader(self.segments())
