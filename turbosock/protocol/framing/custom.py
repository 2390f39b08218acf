"""CustomFraming: a function of the user's finds the messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turbosock.errors import InvalidOption, Origin, ProtocolError, TurbosockError
from turbosock.protocol.framing.framing import FAILED, MESSAGE, NEED_BYTES, FrameReader, Framing

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer

Find = Callable[[memoryview, int], "int | tuple[int, int, int]"]


class CustomFraming(Framing):
    """Messages as a function finds them; what is sent leaves as it is, framed by the caller.

    Args:
        find: called with a view of what has come and was not taken, lent for the call, and with how many bytes of it
            were there at the last call that returned 0 (so that nothing needs to be searched twice). It returns 0: no
            message is whole; n: the first n bytes are one message; (start, stop, n): they are one whose payload is from
            `start` to `stop`; n is above 0. It raises where the peer breaks the rules, and may close
            the connection, or the loop.

    Raises:
        InvalidOption: it cannot be called.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Find) -> None:
        if not callable(find):
            raise InvalidOption(f"framing={find!r}: give a Framing, or a function that finds messages")
        self._find = find

    def reader(self, max_message: int) -> FrameReader:
        return _CustomReader(max_message, self._find)

    def __repr__(self) -> str:
        return f"CustomFraming({self._find!r})"


class _CustomReader(FrameReader):
    __slots__ = ("_find", "_stopped")

    def __init__(self, max_message: int, find: Find) -> None:
        super().__init__(max_message)
        self._find = find
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def next(self, ring: RingBuffer) -> int:
        length = ring.length
        if length == self._examined:
            # Nothing has come since the last look.
            return NEED_BYTES if length < ring.capacity else self._more(ring)
        start = ring.start
        try:
            found = self._find(ring.root[start : start + length], self._examined)
        except TurbosockError as error:
            self.error = error
            return FAILED
        except Exception as error:
            self.error = ProtocolError(f"the framing raised {type(error).__name__}: {error}", code="framing")
            self.error.__cause__ = error
            return FAILED
        if self._stopped:
            # It has ended the connection, whose ring may be another's by now.
            return FAILED
        if isinstance(found, int):
            if not found:
                self._examined = length
                return self._more(ring)
            first = 0
            last = size = found
        else:
            first, last, size = found if _is_range(found) else (0, 0, 0)
        # A message that takes nothing would be found again for ever.
        if not 0 <= first <= last <= size <= length or not size:
            self.error = ProtocolError(
                f"the framing returned {found!r} for {length} bytes", code="framing", origin=Origin.LOCAL
            )
            return FAILED
        if last - first > self._max_message:
            return self._too_long(last - first)
        self._examined = 0
        self.data = ring.root[start + first : start + last]
        ring.length = length - size
        ring.start = start + size if ring.length else 0
        return MESSAGE

    def _more(self, ring: RingBuffer) -> int:
        """A header is the function's own matter: a message and its header may be twice as long as a message."""
        if ring.length > 2 * self._max_message:
            return self._too_long()
        return self._await(ring, 2 * ring.length)


def _is_range(found: object) -> bool:
    """Whether a function of the user's returned (start, stop, n)."""
    return isinstance(found, tuple) and len(found) == 3 and all(isinstance(number, int) for number in found)
