"""RawFraming: no framing: what has come is the message, cut where the stream happened to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.protocol.framing.framing import MESSAGE, NEED_BYTES, FrameReader, Framing

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer


class RawFraming(Framing):
    """Bytes as they come and go, in pieces of any size; for protocols that the program itself reads."""

    __slots__ = ()

    def reader(self, max_message: int) -> FrameReader:
        return _RawReader(max_message)

    def __repr__(self) -> str:
        return "RawFraming()"


class _RawReader(FrameReader):
    __slots__ = ()

    def next(self, ring: RingBuffer) -> int:
        size = ring.length
        if not size:
            return NEED_BYTES
        if size > self._max_message:
            size = self._max_message
        start = ring.start
        self.data = ring.root[start : start + size]
        ring.consume(size)
        return MESSAGE
