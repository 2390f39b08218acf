"""BufferWriter: serialise straight into pooled memory, ready for one sendmsg.

It grows by segments, so nothing that was written is ever copied to make room. reserve() gives contiguous memory:
where the last segment has too little left, the rest of it stays unused.

What an encoder made whole in memory of its own is adopted as a part, instead of being copied.

Invariant: 0 <= length <= max_bytes, and length is the sum of the filled parts.

A writer belongs to one thread at a time. Sending, and how many buffers one system call takes, is left to its owner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import InvalidOption, LimitError, StateError
from turbosock.limits import MAX_BUCKET_BYTES, MAX_WRITER_BYTES, MIN_BUCKET_BYTES, SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from turbosock.buffers.lease import PooledBuffer
    from turbosock.buffers.pool import BufferPool


class _Adopted:
    """Memory that the writer was given, in the place of a segment."""

    __slots__ = ("_data", "_give_back", "size", "view")

    def __init__(self, data: bytes | bytearray, give_back: Callable[[bytearray], object] | None) -> None:
        self._data = data
        self._give_back = give_back
        self.view = memoryview(data)
        self.size = len(data)

    def release(self) -> None:
        self.view.release()
        if self._give_back is not None:
            assert isinstance(self._data, bytearray), "adopt() takes them together"
            self._give_back(self._data)


class BufferWriter:
    """Gathers bytes in segments from `pool`; a context manager that releases them, and a target for `.write`.

    Args:
        pool: where segments come from.
        max_bytes: the most that the writer may hold, at least 1.
        segment_bytes: the length of a segment, unless more is reserved at once.

    Attributes:
        pool: where segments come from.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_filled",
        "_last_filled",
        "_length",
        "_max_bytes",
        "_released",
        "_segment_bytes",
        "_segments",
        "pool",
    )

    def __init__(
        self, pool: BufferPool, *, max_bytes: int = MAX_WRITER_BYTES, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        if type(max_bytes) is not int or max_bytes < 1:
            raise InvalidOption(f"max_bytes must be an int of at least 1, not {max_bytes!r}")
        if type(segment_bytes) is not int or not MIN_BUCKET_BYTES <= segment_bytes <= MAX_BUCKET_BYTES:
            raise InvalidOption(
                f"segment_bytes must be an int from {MIN_BUCKET_BYTES} to {MAX_BUCKET_BYTES}, not {segment_bytes!r}"
            )
        self.pool = pool
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[PooledBuffer | _Adopted] = []
        # Bytes filled in each segment but the last, and in the last.
        self._filled: list[int] = []
        self._last_filled = 0
        self._length = 0
        self._released = False

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        """Return True, also when empty: libraries test a file that they were given with `if not fileobj`."""
        return True

    def __repr__(self) -> str:
        return f"<BufferWriter length={self._length} segments={len(self._segments)}>"

    def __enter__(self) -> BufferWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def reserve(self, n: int) -> memoryview:
        """Return at least `n` contiguous bytes to write into, before an advance(); 0 asks for whatever is free.

        The view is valid until the next reserve(), write() or release().

        Raises:
            StateError: n is negative, or the writer was released.
            LimitError: the writer would hold more than max_bytes.
            PoolExhausted: the pool has nothing left to lend.
        """
        self._check_usable()
        if n < 0:
            raise StateError(f"reserve({n}): a number of bytes is not negative")
        self._check_bound(n)
        segments = self._segments
        if segments:
            last = segments[-1]
            filled = self._last_filled
            if last.size - filled >= max(n, 1):
                return last.view[filled:] if filled else last.view
        last = self.pool.rent(max(n, self._segment_bytes))
        if segments:
            self._filled.append(self._last_filled)
        segments.append(last)
        self._last_filled = 0
        return last.view

    def advance(self, n: int) -> None:
        """Count `n` bytes that were written at the front of the reserved memory as content.

        Raises:
            StateError: n is negative or more than was reserved, or the writer was released.
            LimitError: the writer would hold more than max_bytes.
        """
        self._check_usable()
        room = self._segments[-1].size - self._last_filled if self._segments else 0
        if n < 0 or n > room:
            raise StateError(f"advance({n}) with {room} bytes reserved")
        self._check_bound(n)
        self._last_filled += n
        self._length += n

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Copy all of `data` to the end and return its length in bytes.

        Raises:
            StateError: the writer was released.
            LimitError: the writer would hold more than max_bytes; nothing was copied.
            PoolExhausted: the pool has nothing left to lend; what was copied so far stays.
        """
        self._check_usable()
        source = memoryview(data).cast("B")
        total = len(source)
        self._check_bound(total)
        done = 0
        while done < total:
            target = self.reserve(0)
            n = min(len(target), total - done)
            target[:n] = source[done : done + n]
            self._last_filled += n
            self._length += n
            done += n
        return total

    def adopt(self, data: bytes | bytearray, give_back: Callable[[bytearray], object] | None = None) -> None:
        """Take all of `data` as the next part, without a copy; it must not change until the writer is released.

        Args:
            data: what an encoder made.
            give_back: called with a bytearray when the writer needs it no more and nothing of the writer views it.

        Raises:
            StateError: the writer was released.
            LimitError: the writer would hold more than max_bytes.
        """
        self._check_usable()
        self._check_bound(len(data))
        if self._segments:
            self._filled.append(self._last_filled)
        part = _Adopted(data, give_back)
        self._segments.append(part)
        self._last_filled = part.size
        self._length += part.size

    def segments(self) -> list[memoryview]:
        """Return the filled parts in order, for sendmsg; the views are valid until release() or clear().

        One sendmsg takes no more than `os.sysconf("SC_IOV_MAX")` of them.

        Raises:
            StateError: the writer was released.
        """
        self._check_usable()
        if not self._segments:
            return []
        counts = [*self._filled, self._last_filled]
        return [
            segment.view if count == segment.size else segment.view[:count]
            for segment, count in zip(self._segments, counts, strict=True)
            if count
        ]

    def clear(self) -> None:
        """Give every segment back and be empty, ready for the next message."""
        self._check_usable()
        segments = self._segments
        self._filled.clear()
        self._last_filled = 0
        self._length = 0
        while segments:
            segments.pop().release()

    def release(self) -> None:
        """Give every segment back; the writer cannot be used any more. A second call does nothing."""
        if not self._released:
            self.clear()
            self._released = True

    def _check_usable(self) -> None:
        if self._released:
            raise StateError("this writer was released: use clear() instead to write again")

    def _check_bound(self, n: int) -> None:
        if self._length + n > self._max_bytes:
            raise LimitError(
                f"{self._length + n} bytes are more than max_bytes = {self._max_bytes}: raise it, or send what is"
                " written first"
            )
