"""Request bodies: where the bytes come from, block by block.

A `BodySource` lends one block at a time, valid until the next `next_block()` or `close()`. `length` is what
Content-Length will say, or -1 when it is not known, and then the body is sent in chunks (RFC 9112 §7.1).

A request may be sent more than once: after a stale connection, a redirect, a retry. The order of calls is:

1. `next_block()` until it returns None, or until the sending is given up; then `close()`.
2. For each further sending `rewind()`, which only a `replayable` source has to offer, and 1 again.
3. `release()` when the request will not be sent again, however it ended. `close()` and `release()` may come twice.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import Protocol

from turbosock import limits
from turbosock.errors import InvalidOption, Origin, WriteError

Buffer = bytes | bytearray | memoryview


class BinaryFile(Protocol):
    """What a file must offer to be a body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


class BodySource:
    """A body; see the module for the order of calls.

    Attributes:
        length: bytes in all, or -1 when that is not known.
        replayable: whether `rewind()` works.
    """

    __slots__ = ("length", "replayable")

    def __init__(self, length: int, *, replayable: bool) -> None:
        self.length = length
        self.replayable = replayable

    def next_block(self) -> Buffer | None:
        """The next bytes, lent until the next call; None at the end. Never empty."""
        return None

    def rewind(self) -> None:
        """Start again from the beginning; only when `replayable`, also after `close()`, not after `release()`.

        What the user's own file raises is raised: it may be closed by now.
        """

    def close(self) -> None:
        """A sending is over: give back what only it needed. The user's own file stays open."""

    def release(self) -> None:
        """The request is over: give everything back and forget the user's memory."""
        self.close()


class BufferSource(BodySource):
    """A body that lies in memory; it is sent from there, without a copy.

    Args:
        data: any C-contiguous buffer; it must not change until the exchange is done.
    """

    __slots__ = ("_given", "_view")

    def __init__(self, data: Buffer, argument: str = "content") -> None:
        try:
            self._view = memoryview(data).cast("B")
        except TypeError as error:
            raise InvalidOption(f"{argument}: a {type(data).__name__} is not a contiguous buffer of bytes") from error
        self._given = False
        super().__init__(self._view.nbytes, replayable=True)

    def next_block(self) -> Buffer | None:
        if self._given or not self.length:
            return None
        self._given = True
        return self._view

    def rewind(self) -> None:
        self._given = False


class FileSource(BodySource):
    """A binary file from its present position on, read in large blocks.

    A regular file has a length, and one that turns out shorter while it is sent is a WriteError: the announced
    length can no longer be kept. Anything else that can be read is sent in chunks.
    """

    __slots__ = ("_block", "_file", "_left", "_position", "_view")

    def __init__(self, file: BinaryFile) -> None:
        self._file = file
        self._block: bytearray | None = None
        self._view: memoryview | None = None
        self._position = -1
        length = -1
        try:
            size = os.fstat(file.fileno()).st_size  # type: ignore[attr-defined]  # not every file has a descriptor
            self._position = file.tell()  # type: ignore[attr-defined]  # nor a position
            if size > 0:
                length = max(0, size - self._position)
        except (AttributeError, OSError, ValueError):
            try:
                self._position = file.tell()  # type: ignore[attr-defined]  # an io.BytesIO, for one
            except (AttributeError, OSError, ValueError):
                self._position = -1
        self._left = length
        super().__init__(length, replayable=self._position >= 0 and hasattr(file, "seek"))

    def next_block(self) -> Buffer | None:
        if self.length >= 0 and self._left == 0:
            return None
        readinto = getattr(self._file, "readinto", None)
        if readinto is None:
            data: Buffer = self._file.read(self._wanted())
        else:
            if self._block is None:
                self._block = bytearray(limits.SEND_BLOCK_BYTES)
                self._view = memoryview(self._block)
            assert self._view is not None, "made together with its block"
            target = self._view if self._wanted() == limits.SEND_BLOCK_BYTES else self._view[: self._wanted()]
            data = self._view[: readinto(target) or 0]
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InvalidOption(f"content: reading the file gave {type(data).__name__}; open it in binary mode")
        if not data:
            if self.length >= 0:
                raise WriteError(
                    f"the file ended {self._left} bytes before the {self.length} that were announced; "
                    "do not change a file while it is sent",
                    origin=Origin.LOCAL,
                )
            return None
        if self.length >= 0:
            self._left -= len(data)
        return data

    def _wanted(self) -> int:
        return limits.SEND_BLOCK_BYTES if self.length < 0 else min(self._left, limits.SEND_BLOCK_BYTES)

    def rewind(self) -> None:
        self._file.seek(self._position)  # type: ignore[attr-defined]  # `replayable` says that it is there
        self._left = self.length

    def close(self) -> None:
        self._block = None
        self._view = None


class IterableSource(BodySource):
    """Blocks from an iterable of buffers, sent in chunks unless their length was announced.

    Args:
        blocks: an iterable; an iterator can be sent only once.
    """

    __slots__ = ("_blocks", "_iterator", "_left")

    def __init__(self, blocks: Iterable[Buffer]) -> None:
        self._blocks = blocks
        self._iterator: Iterator[Buffer] | None = None
        self._left = 0
        super().__init__(-1, replayable=not isinstance(blocks, Iterator))

    def announce(self, length: int) -> None:
        """The blocks have `length` bytes in all: no chunks are needed, and nothing else may come."""
        self.length = self._left = length

    def next_block(self) -> Buffer | None:
        if self._iterator is None:
            self._iterator = iter(self._blocks)
        for block in self._iterator:
            if not isinstance(block, (bytes, bytearray, memoryview)):
                raise InvalidOption(f"content: the iterable gave {type(block).__name__}; give bytes or buffers")
            if isinstance(block, memoryview) and not block.c_contiguous:
                raise InvalidOption("content: the iterable gave a memoryview that is not contiguous; copy it")
            data = block.cast("B") if isinstance(block, memoryview) else block
            if not len(data):
                continue
            if self.length >= 0:
                self._left -= len(data)
                if self._left < 0:
                    self._refuse("more")
            return data
        if self.length >= 0 and self._left:
            self._refuse("less")
        return None

    def _refuse(self, amount: str) -> None:
        raise WriteError(
            f"the iterable gave {amount} than the {self.length} bytes that Content-Length announced; "
            "leave the field out",
            origin=Origin.LOCAL,
        )

    def rewind(self) -> None:
        self._iterator = None
        self._left = self.length


def body_source(content: object, argument: str = "content") -> BodySource | None:
    """The source for a body: a buffer, a str (UTF-8), a binary file or an iterable of buffers.

    Args:
        content: the body, or None.
        argument: what an error calls it.

    Raises:
        InvalidOption: anything else.
    """
    if content is None:
        return None
    if isinstance(content, str):
        try:
            return BufferSource(content.encode())
        except UnicodeEncodeError as error:
            raise InvalidOption(f"{argument}: it holds a lone surrogate, which is half a character") from error
    if isinstance(content, (bytes, bytearray, memoryview)):
        return BufferSource(content, argument)
    if isinstance(content, io.TextIOBase):
        raise InvalidOption(f"{argument}: a text file was given; open it in binary mode")
    if hasattr(content, "read"):
        return FileSource(content)
    try:
        memoryview(content)  # type: ignore[arg-type]  # asking whether it is a buffer is the point
    except TypeError:
        if isinstance(content, Iterable):
            return IterableSource(content)
        raise InvalidOption(
            f"{argument}: a {type(content).__name__} cannot be sent; "
            "give bytes, a buffer, str, a binary file or an iterable"
        ) from None
    return BufferSource(content, argument)  # type: ignore[arg-type]  # it just was one
