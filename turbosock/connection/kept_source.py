"""KeptSource: the body of a request that is sent again and again, each time as a request of its own.

Whoever sends a request releases its source when it is over. This one stays, at its beginning again, until its keeper
drops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.connection.source import BodySource, Buffer

if TYPE_CHECKING:
    from turbosock.connection.file_range import FileRange


class KeptSource(BodySource):
    """A body that outlives its requests.

    Args:
        source: the body; one that is not replayable serves one request.
    """

    __slots__ = ("_source", "_used")

    def __init__(self, source: BodySource) -> None:
        super().__init__(source.length, replayable=source.replayable)
        self._source = source
        self._used = False
        self.progress = source.progress

    def begin(self) -> None:
        """Be at the beginning for the next request.

        Raises:
            WriteError: it cannot be sent again; `origin` is LOCAL.
        """
        if self._used:
            self._source.replay()
        self._used = True

    def next_block(self) -> Buffer | FileRange | None:
        source = self._source
        source.takes_files = self.takes_files
        return source.next_block()

    @property
    def whole(self) -> Buffer | None:
        return self._source.whole

    def rewind(self) -> None:
        self._source.rewind()

    def announce(self, length: int) -> None:
        self._source.announce(length)
        self.length = length

    def close(self) -> None:
        self._source.close()

    def release(self) -> None:
        """A request is over; the next one may come."""
        self._source.close()

    def drop(self) -> None:
        """No request will come: give everything back."""
        self._source.release()
