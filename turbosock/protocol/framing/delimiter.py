"""Delimited: each message ends with the same few bytes, which stand nowhere inside it: lines, say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import InvalidOption
from turbosock.limits import MAX_DELIMITER_BYTES
from turbosock.protocol.framing.framing import MESSAGE, FrameReader, Framing

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer


class Delimited(Framing):
    r"""Each message ends with a delimiter, which is not part of it.

    Args:
        delimiter: b"\n" for lines; 1 to MAX_DELIMITER_BYTES bytes.

    Raises:
        InvalidOption: the delimiter is none.
    """

    __slots__ = ("trailer",)

    def __init__(self, delimiter: bytes = b"\n") -> None:
        if not isinstance(delimiter, bytes) or not 1 <= len(delimiter) <= MAX_DELIMITER_BYTES:
            raise InvalidOption(f"delimiter={delimiter!r}: give 1 to {MAX_DELIMITER_BYTES} bytes")
        self.trailer = delimiter

    def reader(self, max_message: int) -> FrameReader:
        return _DelimiterReader(max_message, self.trailer)

    def check(self, data: bytes | bytearray | memoryview) -> None:
        if isinstance(data, memoryview):
            data = bytes(data)
        trailer = self.trailer
        # The end of the message and the beginning of the delimiter may make another one.
        tail = data[len(data) - len(trailer) + 1 :] if len(trailer) <= len(data) else data
        if data.find(trailer) >= 0 or (len(trailer) > 1 and (tail + trailer).find(trailer) != len(tail)):
            raise InvalidOption(f"data: holds the delimiter {trailer!r}, and would arrive in two messages")

    def __repr__(self) -> str:
        return f"Delimited({self.trailer!r})"


class _DelimiterReader(FrameReader):
    __slots__ = ("_delimiter",)

    def __init__(self, max_message: int, delimiter: bytes) -> None:
        super().__init__(max_message)
        self._delimiter = delimiter

    def next(self, ring: RingBuffer) -> int:
        delimiter = self._delimiter
        length = ring.length
        start = ring.start
        end = start + length
        stop = ring.storage.find(delimiter, start + self._examined, end)
        if stop < 0:
            # The last bytes may be the beginning of a delimiter.
            examined = length - len(delimiter) + 1
            if examined > self._max_message:
                return self._too_long()
            self._examined = examined if examined > 0 else 0
            return self._await(ring, 2 * length)
        if stop - start > self._max_message:
            return self._too_long()
        self._examined = 0
        self.data = ring.root[start:stop]
        stop += len(delimiter)
        ring.length = end - stop
        ring.start = stop if stop < end else 0
        return MESSAGE
