"""Bodies gathered into owned bytes, with one copy at most and memory only for what has come.

A body of known length above one ring is received straight into the buffer of a `BytesIO`, whose `getvalue()` hands
that very memory out as bytes: no second copy, no second allocation. It grows in steps, as bytes arrive: a peer that
announces a terabyte and sends ten bytes costs one step.
"""

from __future__ import annotations

import io

from turbosock import limits
from turbosock.errors import BodyTooLarge


class Gatherer:
    """Collects one body.

    Args:
        expected: its announced length, or -1.
        max_bytes: what it may hold.

    Raises:
        BodyTooLarge: `expected` is above the bound.
    """

    __slots__ = ("_file", "_lent", "_room", "_view", "expected", "length", "max_bytes")

    def __init__(self, expected: int, max_bytes: int) -> None:
        self.expected = expected
        self.max_bytes = max_bytes
        self.length = 0
        self._file = io.BytesIO()
        self._room = 0
        self._view: memoryview | None = None
        self._lent: memoryview | None = None
        if expected > max_bytes:
            raise too_large(max_bytes)

    def writable(self, max_bytes: int = limits.MAX_GATHERED_BODY_BYTES) -> memoryview:
        """Where the next bytes go, `max_bytes` at most; lent until `advance`, `take` or `abandon`. Never empty."""
        if self._view is None or self.length == self._room:
            self._grow()
        assert self._view is not None, "grown above"
        self._lent = lent = self._view[self.length : self.length + max_bytes]
        return lent

    def _grow(self) -> None:
        self._view = self._lent = None
        # Doubling bounds the moves; a known length bounds the doubling, and one byte more lets the end be seen. What is
        # large is moved by its pages where the system can, and twice a large body is much: it grows by an eighth.
        grown = self._room + (self._room >> (0 if self._room < limits.GATHER_DOUBLING_BYTES else 3))
        room = max(limits.RECEIVE_RING_BYTES, min(limits.GATHER_STEP_BYTES, self.expected), grown)
        if self.expected >= 0:
            # Full, and asked again: the end may come by itself, as over HTTP/2. What is here stays as it is, and one
            # byte more is lent.
            room = min(room, self.expected + 1 if self._room >= self.expected else self.expected)
        if room > self.max_bytes:
            room = self.max_bytes + 1
        if self._room > self.max_bytes:
            raise too_large(self.max_bytes)
        self._file.seek(room - 1)
        self._file.write(b"\0")
        self._room = room
        self._view = self._file.getbuffer()

    def advance(self, count: int) -> None:
        """`count` bytes were written at `writable()`.

        Raises:
            BodyTooLarge: the bound is exceeded.
        """
        self.length += count
        if self.length > self.max_bytes:
            raise too_large(self.max_bytes)

    def abandon(self) -> None:
        """End what is lent: there will be no body.

        The frames of an error's traceback may hold the view for long, and a BytesIO that is collected while it is
        viewed complains aloud from CPython 3.13 on.
        """
        for view in (self._lent, self._view):
            if view is not None:
                view.release()
        self._view = self._lent = None

    def take(self) -> bytes:
        """The body; the gatherer is empty afterwards."""
        self._view = self._lent = None
        if self.length != self._room:
            self._file.truncate(self.length)
        content = self._file.getvalue()
        self._file = io.BytesIO()
        self._room = self.length = 0
        return content


def too_large(max_bytes: int) -> BodyTooLarge:
    """The error for a body that is not gathered."""
    return BodyTooLarge(f"the body is larger than max_body_bytes={max_bytes}; stream it, or raise the bound in Config")
