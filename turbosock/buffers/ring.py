"""RingBuffer: a preallocated bytearray with a read and a write cursor, for bytes between a socket and a parser.

Three faces over one content:

- contiguous, for parsers: readable() and consume(), writable() and advance(), make_contiguous();
- two segments, for sockets: readable_segments(), writable_segments(), receive_from(), send_to();
- random access from the read cursor: find(), peek().

Invariant: 0 <= start < capacity, 0 <= length <= capacity, and start == 0 when length == 0.
The content is storage[start : start + length], wrapping at capacity.

Reset to the front when it empties, a ring that is read as fast as it fills lends its one cached view and makes
none. Hot code may read and set `start` and `length` itself, keeping the invariant. The storage is never resized;
a ring belongs to one thread at a time; who reads, and when, is left to the connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from turbosock.buffers.poison import POISON, fill
from turbosock.errors import InvalidOption, StateError
from turbosock.limits import ROTATION_BLOCK_BYTES


class ReceivingSocket(Protocol):
    """What receive_from() needs; socket.socket has it. TLS sockets have no recvmsg_into: use writable()."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Receive into `buffer` and return the number of bytes, 0 at the end."""
        ...

    def recvmsg_into(self, buffers: Sequence[memoryview], /) -> tuple[int, Any, int, Any]:
        """Receive into `buffers` in turn and return a tuple that begins with the number of bytes."""
        ...


class SendingSocket(Protocol):
    """What send_to() needs; socket.socket has it. TLS sockets have no sendmsg: use readable()."""

    def send(self, data: memoryview, /) -> int:
        """Send some of `data` and return the number of bytes taken."""
        ...

    def sendmsg(self, buffers: Sequence[memoryview], /) -> int:
        """Send some of `buffers`, in turn, and return the number of bytes taken."""
        ...


class RingBuffer:
    """A ring of `capacity` bytes that is never resized.

    Views that it lends are valid until the ring is written, consumed, moved or cleared.

    Attributes:
        storage: the memory.
        root: a view of all of it, made once; `reading` is one that cannot be written to.
        capacity: its length in bytes.
        start: where the content begins.
        length: bytes of content.
        words: all of it in another shape, for who has use for that and makes it once; or None.

    Args:
        capacity: bytes, at least 1.
        storage: memory of exactly that length, or None for new memory.

    Raises:
        InvalidOption: an argument has a wrong type or length.
    """

    __slots__ = ("capacity", "length", "reading", "root", "start", "storage", "words")

    def __init__(self, capacity: int, storage: bytearray | None = None) -> None:
        if type(capacity) is not int or capacity < 1:
            raise InvalidOption(f"capacity must be an int of at least 1 byte, not {capacity!r}")
        if storage is None:
            storage = bytearray(capacity)
        elif not isinstance(storage, bytearray) or len(storage) != capacity:
            raise InvalidOption(f"storage must be a bytearray of capacity = {capacity} bytes")
        self.storage = storage
        self.root = memoryview(storage)
        self.reading = self.root.toreadonly()
        self.capacity = capacity
        self.start = 0
        self.length = 0
        self.words: object = None

    def __len__(self) -> int:
        return self.length

    def __repr__(self) -> str:
        return f"<RingBuffer start={self.start} length={self.length} capacity={self.capacity}>"

    @property
    def contiguous(self) -> bool:
        """Whether the content is one run, so that readable() shows all of it."""
        return self.start + self.length <= self.capacity

    def readable(self) -> memoryview:
        """Return the first contiguous run of the content; empty when the ring is empty."""
        start = self.start
        end = start + self.length
        if end > self.capacity:
            end = self.capacity
        if start == 0 and end == self.capacity:
            return self.root
        return self.root[start:end]

    def writable(self) -> memoryview:
        """Return the contiguous free run after the content; empty when the ring is full.

        A receive into an empty view returns 0, which reads like the end of the stream: look at the length first.
        """
        length = self.length
        if length == 0:
            return self.root
        capacity = self.capacity
        end = self.start + length
        if end >= capacity:
            return self.root[end - capacity : self.start]
        return self.root[end:]

    def advance(self, n: int) -> None:
        """Count `n` bytes that were written at the front of the free memory as content.

        Raises:
            StateError: n is negative or more than is free.
        """
        if n < 0 or n > self.capacity - self.length:
            raise StateError(f"advance({n}) in a ring with {self.capacity - self.length} bytes free")
        self.length += n

    def consume(self, n: int) -> None:
        """Drop the first `n` bytes of the content.

        Raises:
            StateError: n is negative or more than the ring holds.
        """
        length = self.length - n
        if n < 0 or length < 0:
            raise StateError(f"consume({n}) in a ring that holds {self.length} bytes")
        self.length = length
        if length == 0:
            self.start = 0
            return
        start = self.start + n
        self.start = start if start < self.capacity else start - self.capacity

    def readable_segments(self) -> tuple[memoryview, ...]:
        """Return the content in order as no, one or two views."""
        start = self.start
        rest = start + self.length - self.capacity
        if rest > 0:
            return self.root[start:], self.root[:rest]
        if self.length == 0:
            return ()
        return (self.readable(),)

    def writable_segments(self) -> tuple[memoryview, ...]:
        """Return the free memory in the order in which it fills as no, one or two views."""
        capacity = self.capacity
        start = self.start
        end = start + self.length
        if self.length == capacity:
            return ()
        if start > 0 and end < capacity:
            return self.root[end:], self.root[:start]
        return (self.writable(),)

    def receive_from(self, sock: ReceivingSocket) -> int:
        """Receive as much as is free with one system call and return the number of bytes, 0 at the end.

        Raises:
            StateError: the ring is full.
            OSError: as the socket raises it, BlockingIOError included; the ring is unchanged.
        """
        segments = self.writable_segments()
        if len(segments) == 2:
            n = sock.recvmsg_into(segments)[0]
        elif segments:
            n = sock.recv_into(segments[0])
        else:
            raise StateError("receive_from() with a full ring: consume something first")
        self.advance(n)
        return n

    def send_to(self, sock: SendingSocket) -> int:
        """Send the content with one system call, drop what was taken and return the number of bytes.

        An empty ring returns 0 without a system call.

        Raises:
            OSError: as the socket raises it, BlockingIOError included; the ring is unchanged.
        """
        segments = self.readable_segments()
        if len(segments) == 2:
            n = sock.sendmsg(segments)
        elif segments:
            n = sock.send(segments[0])
        else:
            return 0
        self.consume(n)
        return n

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Copy as much of `data` as fits after the content and return the number of bytes copied."""
        source = memoryview(data).cast("B")
        done = 0
        for target in self.writable_segments():
            n = min(len(target), len(source) - done)
            target[:n] = source[done : done + n]
            done += n
        self.length += done
        return done

    def peek(self, n: int) -> bytes:
        """Return a copy of the first `n` bytes, of all when the ring holds fewer.

        Raises:
            StateError: n is negative.
        """
        if n < 0:
            raise StateError(f"peek({n}): a number of bytes is not negative")
        end = self.start + min(n, self.length)
        if end <= self.capacity:
            return bytes(self.root[self.start : end])
        return b"".join((self.root[self.start :], self.root[: end - self.capacity]))

    def find(self, needle: bytes, start: int = 0) -> int:
        """Return where `needle` first occurs at or after `start`, counted from the read cursor, or -1.

        Raises:
            StateError: start is negative.
        """
        if start < 0:
            raise StateError(f"find() from {start}: positions count from the read cursor")
        capacity = self.capacity
        origin = self.start
        end = origin + self.length
        first = origin + start
        if end <= capacity:
            found = self.storage.find(needle, first, end) if first <= end else -1
            return found - origin if found >= 0 else -1
        end -= capacity
        if first < capacity:
            found = self.storage.find(needle, first)
            if found >= 0:
                return found - origin
            # A needle that begins before the wrap and ends after it.
            overlap = len(needle) - 1
            first = max(first, capacity - overlap)
            joint = b"".join((self.root[first:], self.root[: min(end, overlap)]))
            found = joint.find(needle)
            if found >= 0:
                return first + found - origin
            first = capacity
        first -= capacity
        found = self.storage.find(needle, first, end) if first <= end else -1
        return found + capacity - origin if found >= 0 else -1

    def make_contiguous(self) -> None:
        """Move the content to the front of the storage, in place; no more than one small block is copied aside."""
        start = self.start
        length = self.length
        if start == 0:
            return
        root = self.root
        before_wrap = self.capacity - start
        if length <= before_wrap:
            root[:length] = root[start : start + length]
        else:
            after_wrap = length - before_wrap
            if before_wrap <= start - after_wrap:
                root[before_wrap:length] = root[:after_wrap]
                root[:before_wrap] = root[start:]
            else:
                root[after_wrap:length] = root[start:]
                _rotate(root, after_wrap, length)
        self.start = 0

    def clear(self) -> None:
        """Drop the content."""
        self.start = 0
        self.length = 0

    def poison(self) -> None:
        """Drop the content and fill all memory with 0xDB, so that whoever still reads it sees that."""
        self.clear()
        fill(self.root, POISON)


def _rotate(view: memoryview, left: int, length: int) -> None:
    """Exchange view[:left] and view[left:length], which may differ in length, in place.

    The shorter part changes places with the far end of the longer one until a part fits in one block: each byte
    moves to its final place once, and every round but the last settles more than a block.
    """
    base = 0
    right = length - left
    while left > ROTATION_BLOCK_BYTES and right > ROTATION_BLOCK_BYTES:
        if left <= right:
            # Left changes places with the end of right, and is then where it belongs.
            _swap(view, base, base + right, left)
            right -= left
        else:
            # Right changes places with the beginning of left, and is then where it belongs.
            _swap(view, base, base + left, right)
            base += right
            left -= right
    if left <= right:
        aside = bytes(view[base : base + left])
        view[base : base + right] = view[base + left : base + left + right]
        view[base + right : base + right + left] = aside
    else:
        aside = bytes(view[base + left : base + left + right])
        view[base + right : base + right + left] = view[base : base + left]
        view[base : base + right] = aside


def _swap(view: memoryview, one: int, other: int, count: int) -> None:
    for offset in range(0, count, ROTATION_BLOCK_BYTES):
        n = min(ROTATION_BLOCK_BYTES, count - offset)
        aside = bytes(view[one + offset : one + offset + n])
        view[one + offset : one + offset + n] = view[other + offset : other + offset + n]
        view[other + offset : other + offset + n] = aside
