"""JoinedSource: several bodies as one, such as the parts of a multipart form and what stands between them.

Short pieces, and what is read from files, are put together in one pooled block; long buffers are lent from where they
lie, and long files moved by the system where that is possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.connection.file_range import FileRange
from turbosock.connection.file_source import FileSource
from turbosock.connection.source import BodySource, Buffer

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool, BufferWriter, PooledBuffer


class JoinedSource(BodySource):
    """The bytes of `pieces`, one after the other; the sources among them are its own from here on.

    Args:
        pieces: buffers and sources; its length is known if all of theirs are.
        buffers: lends the block, while the body is sent.
    """

    __slots__ = ("_buffers", "_index", "_lease", "_pieces", "_rest")

    def __init__(self, pieces: Sequence[bytes | BodySource], buffers: BufferPool) -> None:
        self._pieces = pieces
        self._buffers = buffers
        self._lease: PooledBuffer | None = None
        self._index = 0
        # Of a piece that is a buffer, or of a block of one that is not: what has not been given.
        self._rest: memoryview | None = None
        lengths = [len(piece) if isinstance(piece, bytes) else piece.length for piece in pieces]
        replayable = all(isinstance(piece, bytes) or piece.replayable for piece in pieces)
        super().__init__(-1 if min(lengths, default=0) < 0 else sum(lengths), replayable=replayable)

    def next_block(self) -> Buffer | FileRange | None:
        lease = self._lease
        if lease is None:
            size = limits.SEND_BLOCK_BYTES
            if 0 < self.length < size:
                size = self.length
            lease = self._lease = self._buffers.rent(size)
        view = lease.view
        filled = 0
        while filled < len(view):
            rest = self._rest
            if rest is not None:
                if len(rest) > limits.JOINED_PART_BYTES:
                    if filled:
                        break
                    self._rest = None
                    return rest
                count = min(len(rest), len(view) - filled)
                view[filled : filled + count] = rest[:count]
                filled += count
                self._rest = rest[count:] if count < len(rest) else None
                continue
            piece = self._piece()
            if piece is None:
                break
            if isinstance(piece, FileSource):
                if piece.moves:
                    if filled:
                        break
                    return piece.next_block()
                # Released, since the frames of an error would hold it beyond the lease.
                with view[filled:] as room:
                    filled += self._fill_from(piece, room)
            else:
                self._open(piece)
        if not filled:
            return None
        return view if filled == len(view) else view[:filled]

    def write_to(self, writer: BufferWriter) -> int:
        """Copy all that is left into a writer; how many bytes.

        Raises:
            LimitError: it is more than the writer may hold.
            WriteError, InvalidOption: as the pieces' own.
        """
        before = len(writer)
        while True:
            rest = self._rest
            if rest is not None:
                writer.write(rest)
                self._rest = None
                continue
            piece = self._piece()
            if piece is None:
                return len(writer) - before
            if isinstance(piece, FileSource):
                writer.advance(self._fill_from(piece, writer.reserve(0)))
            else:
                self._open(piece)

    def _piece(self) -> bytes | BodySource | None:
        """The piece that is next; it sees whether files may be moved."""
        if self._index == len(self._pieces):
            return None
        piece = self._pieces[self._index]
        if isinstance(piece, BodySource):
            piece.takes_files = self.takes_files and self.length >= 0
        return piece

    def _open(self, piece: bytes | BodySource) -> None:
        """Go on with a buffer, or with the next block of a source; the piece after it, at its end."""
        block = piece if isinstance(piece, bytes) else piece.next_block()
        if block is None or isinstance(piece, bytes):
            self._index += 1
        if block is not None:
            assert not isinstance(block, FileRange), "only a FileSource gives one"
            self._rest = memoryview(block)

    def _fill_from(self, piece: FileSource, view: memoryview) -> int:
        count = piece.fill(view)
        if not count:
            self._index += 1
        return count

    def rewind(self) -> None:
        for piece in self._pieces:
            if isinstance(piece, BodySource):
                piece.rewind()
        self._index = 0
        self._rest = None

    def close(self) -> None:
        self._rest = None
        for piece in self._pieces:
            if isinstance(piece, BodySource):
                piece.close()
        lease = self._lease
        if lease is not None:
            self._lease = None
            lease.release()

    def release(self) -> None:
        self.close()
        for piece in self._pieces:
            if isinstance(piece, BodySource):
                piece.release()
        self._pieces = ()
