"""Request bodies: where the bytes come from, block by block.

A `BodySource` lends one block at a time, valid until the next `next_block()` or `close()`. `length` is what
Content-Length will say, or -1 when it is not known, and then the body is sent in chunks (RFC 9112 §7.1).

A request may be sent more than once: after a stale connection, a redirect, a retry. The order of calls is:

1. `next_block()` until it returns None, or until the sending is given up; then `close()`.
2. For each further sending `rewind()`, which only a `replayable` source has to offer, and 1 again.
3. `release()` when the request will not be sent again, however it ended. `close()` and `release()` may come twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from turbosock.connection.file_range import FileRange
from turbosock.errors import InvalidHeader, InvalidOption, Origin, WriteError

Buffer = bytes | bytearray | memoryview
Progress = Callable[[int, int | None], object]


class BodySource:
    """A body; see the module for the order of calls.

    Attributes:
        length: bytes in all, or -1 when that is not known.
        replayable: whether `rewind()` works.
        takes_files: whether whoever sends it takes a FileRange for a block, too; set before each sending.
        progress: called with the bytes sent so far, and their number in all or None, as they leave; or None.
    """

    __slots__ = ("length", "progress", "replayable", "takes_files")

    def __init__(self, length: int, *, replayable: bool) -> None:
        self.length = length
        self.replayable = replayable
        self.takes_files = False
        self.progress: Progress | None = None

    def next_block(self) -> Buffer | FileRange | None:
        """The next bytes, lent until the next call; None at the end. Never empty."""
        return None

    @property
    def whole(self) -> Buffer | None:
        """The body where it lies in memory in one piece, or None."""
        return None

    def rewind(self) -> None:
        """Start again from the beginning; only when `replayable`, also after `close()`, not after `release()`.

        What the user's own file raises is raised: it may be closed by now.
        """

    def replay(self) -> None:
        """`rewind()` for another sending of the request.

        Raises:
            WriteError: it failed; `origin` is LOCAL.
        """
        try:
            self.rewind()
        except Exception as failure:
            # The caller's file, which may be closed by now.
            raise WriteError(
                f"the body of the request cannot be sent again: {type(failure).__name__}: {failure}",
                origin=Origin.LOCAL,
            ) from failure

    def announce(self, length: int) -> None:
        """Content-Length says `length` where `length` was not known: nothing else may come.

        Raises:
            InvalidHeader: this kind of body cannot keep to it.
        """
        raise InvalidHeader("headers: 'Content-Length' for a body whose length is not known; leave it out")

    def close(self) -> None:
        """A sending is over: give back what only it needed. The user's own file stays open."""

    def release(self) -> None:
        """The request is over: give everything back and forget the user's memory."""
        self.close()
        self.progress = None


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

    @property
    def whole(self) -> Buffer | None:
        return self._view

    def rewind(self) -> None:
        self._given = False

    def release(self) -> None:
        # The user's bytearray may grow again.
        self._view = memoryview(b"")


class IterableSource(BodySource):
    """Blocks from an iterable of buffers, sent in chunks unless their length was announced.

    Args:
        blocks: an iterable; an iterator can be sent only once.
    """

    __slots__ = ("_argument", "_blocks", "_iterator", "_left")

    def __init__(self, blocks: Iterable[Buffer], argument: str = "content") -> None:
        self._argument = argument
        self._blocks = blocks
        self._iterator: Iterator[Buffer] | None = None
        self._left = 0
        super().__init__(-1, replayable=not isinstance(blocks, Iterator))

    def announce(self, length: int) -> None:
        self.length = self._left = length

    def next_block(self) -> Buffer | None:
        if self._iterator is None:
            self._iterator = iter(self._blocks)
        for block in self._iterator:
            if not isinstance(block, (bytes, bytearray, memoryview)):
                raise InvalidOption(
                    f"{self._argument}: the iterable gave {type(block).__name__}; give bytes or buffers"
                )
            if isinstance(block, memoryview) and not block.c_contiguous:
                raise InvalidOption(f"{self._argument}: the iterable gave a memoryview that is not contiguous; copy it")
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

    def release(self) -> None:
        self._iterator = None
        self._blocks = ()
