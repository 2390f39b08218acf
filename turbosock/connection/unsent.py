"""Unsent: what of one HTTP/2 stream waits for room, as its sender gave it."""

from __future__ import annotations

from collections import deque

from turbosock import limits

Buffer = bytes | bytearray | memoryview


class Unsent:
    """Bytes in, in pieces; bytes out from the front, in others.

    `bytes` are kept as they are, other memory is copied, and small pieces are put together. `bytearray`s in here are
    its own.

    Attributes:
        length: bytes that wait.
    """

    __slots__ = ("_pieces", "length")

    def __init__(self) -> None:
        self._pieces: deque[Buffer] = deque()
        self.length = 0

    def append(self, data: bytes | memoryview, start: int = 0) -> None:
        """Put what of `data` lies behind `start` behind what waits; not empty."""
        pieces = self._pieces
        size = len(data) - start
        self.length += size
        if size < limits.SMALL_PIECE_BYTES:
            last = pieces[-1] if pieces else None
            if isinstance(last, bytearray) and size + len(last) <= limits.SMALL_PIECE_BYTES:
                last += memoryview(data)[start:]
            else:
                pieces.append(bytearray(memoryview(data)[start:]))
        elif isinstance(data, bytes):
            pieces.append(memoryview(data)[start:] if start else data)
        else:
            pieces.append(bytes(data[start:]))

    def first(self) -> memoryview:
        """The first piece; let go of the view before anything else is called here."""
        return memoryview(self._pieces[0])

    def skip(self, count: int) -> None:
        """Drop the first `count` bytes of the first piece, which were sent."""
        self.length -= count
        first = self._pieces[0]
        if count == len(first):
            self._pieces.popleft()
        elif isinstance(first, bytearray):
            del first[:count]
        else:
            self._pieces[0] = memoryview(first)[count:]

    def clear(self) -> None:
        """Forget what waits."""
        self._pieces.clear()
        self.length = 0
