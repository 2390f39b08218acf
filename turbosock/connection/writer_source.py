"""WriterSource: a body that was serialised into pooled memory, and is sent from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.connection.source import BodySource

if TYPE_CHECKING:
    from turbosock.buffers import BufferWriter


class WriterSource(BodySource):
    """What `writer` holds; its memory goes back to the pool when the request is over.

    Args:
        writer: written to its end, and the source's from here on.
    """

    __slots__ = ("_next", "_writer")

    def __init__(self, writer: BufferWriter) -> None:
        self._writer = writer
        self._next = 0
        super().__init__(len(writer), replayable=True)

    def next_block(self) -> memoryview | None:
        segments = self._writer.segments()
        if self._next == len(segments):
            return None
        self._next += 1
        return segments[self._next - 1]

    def rewind(self) -> None:
        self._next = 0

    def release(self) -> None:
        self._writer.release()
