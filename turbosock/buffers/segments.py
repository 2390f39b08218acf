"""SegmentedSequence: a long body as pooled segments in a row, and SegmentedReader, which reads it as a file.

A body grows by segments, so what has arrived is never copied to make room, and no memory is made for bytes that
were only announced. Every segment but the last is full: byte i lies in segment i // segment_bytes.

Invariant: 0 <= length <= max_bytes, and the segments hold at least length bytes, less than one segment more.

A sequence belongs to one thread at a time. Where the bytes come from is left to its owner.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, overload

from turbosock.errors import BodyTooLarge, InvalidOption, StateError
from turbosock.limits import MAX_BUCKET_BYTES, MAX_GATHERED_BODY_BYTES, MIN_BUCKET_BYTES, SEGMENT_BYTES

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import WriteableBuffer

    from turbosock.buffers.lease import PooledBuffer
    from turbosock.buffers.pool import BufferPool


class SegmentedSequence:
    """A growing sequence of bytes in segments from `pool`; a context manager that releases them.

    Args:
        pool: where segments come from.
        max_bytes: the most that the sequence may hold, at least 1.
        segment_bytes: the length of one segment.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = ("_length", "_max_bytes", "_pool", "_released", "_segment_bytes", "_segments")

    def __init__(
        self, pool: BufferPool, *, max_bytes: int = MAX_GATHERED_BODY_BYTES, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        if type(max_bytes) is not int or max_bytes < 1:
            raise InvalidOption(f"max_bytes must be an int of at least 1, not {max_bytes!r}")
        if type(segment_bytes) is not int or not MIN_BUCKET_BYTES <= segment_bytes <= MAX_BUCKET_BYTES:
            raise InvalidOption(
                f"segment_bytes must be an int from {MIN_BUCKET_BYTES} to {MAX_BUCKET_BYTES}, not {segment_bytes!r}"
            )
        self._pool = pool
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[PooledBuffer] = []
        self._length = 0
        self._released = False

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<SegmentedSequence length={self._length} segments={len(self._segments)}>"

    def __enter__(self) -> SegmentedSequence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def writable(self) -> memoryview:
        """Return the free end of the last segment, of a new one when it is full; never empty.

        The view is valid until the next advance(), append() or release(). It is not cut at `max_bytes`, so that
        a receive into it can see the end of a body of exactly that length.

        Raises:
            StateError: the sequence was released.
            PoolExhausted: the pool has nothing left to lend.
        """
        self._check_usable()
        segments = self._segments
        filled = self._length - (len(segments) - 1) * self._segment_bytes
        if not segments or filled == self._segment_bytes:
            segments.append(self._pool.rent(self._segment_bytes))
            return segments[-1].view
        view = segments[-1].view
        return view[filled:] if filled else view

    def advance(self, n: int) -> None:
        """Count `n` bytes that were written at the front of writable() as content.

        Raises:
            StateError: n is negative or more than writable() had.
            BodyTooLarge: the sequence would hold more than max_bytes.
        """
        self._check_usable()
        room = len(self._segments) * self._segment_bytes - self._length
        if n < 0 or n > room:
            raise StateError(f"advance({n}) with {room} bytes writable")
        self._check_bound(n)
        self._length += n

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Copy all of `data` to the end.

        Raises:
            StateError: the sequence was released.
            BodyTooLarge: the sequence would hold more than max_bytes; nothing was copied.
            PoolExhausted: the pool has nothing left to lend; what was copied so far stays.
        """
        self._check_usable()
        source = memoryview(data).cast("B")
        self._check_bound(len(source))
        done = 0
        while done < len(source):
            target = self.writable()
            n = min(len(target), len(source) - done)
            target[:n] = source[done : done + n]
            self._length += n
            done += n

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the filled part of each segment in order; the views are valid until release()."""
        self._check_usable()
        return self._views(0, self._length)

    def _views(self, start: int, stop: int) -> Iterator[memoryview]:
        """Yield views of the bytes from `start` to `stop`, which lie inside the sequence."""
        size = self._segment_bytes
        while start < stop:
            if stop > self._length:
                raise StateError("this body's memory was given back while it was read: finish reading first")
            index, offset = divmod(start, size)
            n = min(size - offset, stop - start)
            view = self._segments[index].view
            yield view if n == size else view[offset : offset + n]
            start += n

    def __bytes__(self) -> bytes:
        """Return a copy of everything, made in one allocation of its size."""
        self._check_usable()
        return b"".join(self._views(0, self._length))

    @overload
    def __getitem__(self, key: int) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: int | slice) -> int | bytes:
        """Return one byte as an int, or a copy of a slice as bytes.

        Raises:
            IndexError: there is no such byte.
        """
        self._check_usable()
        if isinstance(key, slice):
            start, stop, step = key.indices(self._length)
            if step == 1:
                return b"".join(self._views(start, stop))
            return bytes(self)[key]
        if key < 0:
            key += self._length
        if not 0 <= key < self._length:
            raise IndexError(f"a sequence of {self._length} bytes has no such byte")
        index, offset = divmod(key, self._segment_bytes)
        return self._segments[index].view[offset]

    def find(self, needle: bytes, start: int = 0) -> int:
        """Return where `needle` first occurs at or after `start`, or -1.

        Raises:
            StateError: start is negative, or the sequence was released.
        """
        self._check_usable()
        if start < 0:
            raise StateError(f"find() from {start}: positions count from the beginning")
        length = self._length
        if not needle:
            return start if start <= length else -1
        size = self._segment_bytes
        overlap = len(needle) - 1
        for index in range(start // size, len(self._segments)):
            base = index * size
            end = min(base + size, length)
            first = max(start, base)
            found = self._segments[index].storage.find(needle, first - base, end - base)
            if found >= 0:
                return base + found
            # A needle that begins in this segment and ends in a later one.
            first = max(first, end - overlap)
            if first < end < length:
                found = self[first : end + overlap].find(needle)
                if found >= 0:
                    return first + found
        return -1

    def readinto(self, start: int, target: memoryview) -> int:
        """Copy bytes from `start` on into `target`, which has bytes as items; returns how many, 0 at the end.

        Raises:
            StateError: the sequence was released.
        """
        self._check_usable()
        stop = min(start + len(target), self._length)
        done = 0
        for view in self._views(start, stop):
            n = len(view)
            target[done : done + n] = view
            done += n
        return done

    def clear(self) -> None:
        """Give every segment back and be empty, ready for the next body."""
        self._check_usable()
        segments = self._segments
        self._length = 0
        while segments:
            segments.pop().release()

    def release(self) -> None:
        """Give every segment back; the sequence cannot be used any more. A second call does nothing."""
        if not self._released:
            self.clear()
            self._released = True

    def _check_usable(self) -> None:
        if self._released:
            raise StateError("this body's memory was released: read it before, or copy it with bytes()")

    def _check_bound(self, n: int) -> None:
        if self._length + n > self._max_bytes:
            raise BodyTooLarge(
                f"{self._length + n} bytes of body are more than max_bytes = {self._max_bytes}: raise it, or read the"
                " body in parts"
            )


class SegmentedReader(io.RawIOBase):
    """A binary file over a SegmentedSequence, which it does not own: closing the reader releases nothing.

    Wrap it in io.BufferedReader for small reads and in io.TextIOWrapper for text. Bytes that the sequence gains
    later are read too.
    """

    def __init__(self, sequence: SegmentedSequence) -> None:
        super().__init__()
        self._sequence = sequence
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        self._check_open()
        return True

    def seekable(self) -> bool:
        """Return True."""
        self._check_open()
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Copy the next bytes into `buffer` and return how many, 0 at the end.

        Raises:
            ValueError: the reader is closed.
            StateError: the sequence was released.
        """
        self._check_open()
        n = self._sequence.readinto(self._position, memoryview(buffer).cast("B"))
        self._position += n
        return n

    def readall(self) -> bytes:
        """Return a copy of all bytes from the position to the end, in one allocation.

        Raises:
            ValueError: the reader is closed.
            StateError: the sequence was released.
        """
        self._check_open()
        data = self._sequence[self._position :]
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position relative to the beginning, the position or the end, and return it.

        A position beyond the end is allowed and reads nothing.

        Raises:
            ValueError: the reader is closed, whence is unknown, or the position would be negative.
        """
        self._check_open()
        if whence == io.SEEK_SET:
            position = offset
        elif whence == io.SEEK_CUR:
            position = self._position + offset
        elif whence == io.SEEK_END:
            position = len(self._sequence) + offset
        else:
            raise ValueError(f"whence must be 0, 1 or 2, not {whence!r}")
        if position < 0:
            raise ValueError(f"cannot seek to {position}, before the beginning")
        self._position = position
        return position

    def tell(self) -> int:
        """Return the position in bytes from the beginning."""
        self._check_open()
        return self._position

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
