"""Framing: how messages stand in a byte stream; FrameReader: finds them in one connection's ring, in place.

A framing is settings alone and may serve any number of connections. `reader(max_message)` makes what one connection
needs to find its messages. The calling order, for whoever owns the ring:

1. Receive into `room(ring)`, and add what came to the ring's length. The content is contiguous.
2. Call `next(ring)` until it does not return MESSAGE. After MESSAGE, `data` is a view of the message where it lies, and
   the ring has consumed it with its header and trailer. NEED_BYTES: it is not whole. NEED_MEMORY: the ring is full, and
   the rest of the message needs one of `wanted` bytes; move what is there into it. FAILED: `error` says why; the stream
   cannot be read on.
3. At the end of the stream, `end(ring)`: what is wrong with it, if anything.

For sending, a message is `header(size)`, its payload and `trailer`; `check(data)` refuses what would not arrive as it
is.

Invariants: no byte is searched twice (`_examined` counts from the ring's read cursor, and is 0 between messages); what
a peer announces makes no memory, since `wanted` is at most twice what has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from turbosock.errors import ConnectionClosed, LimitError, TurbosockError

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer

# What `next` returns.
NEED_BYTES: Final = 0
MESSAGE: Final = 1
NEED_MEMORY: Final = 5
FAILED: Final = 7

EMPTY_VIEW: Final = memoryview(b"")


class Framing:
    """How messages stand in a byte stream.

    Attributes:
        header_bytes: the longest header.
        trailer: what stands behind each message.
    """

    __slots__ = ()

    header_bytes: ClassVar[int] = 0
    trailer: bytes = b""

    def reader(self, max_message: int) -> FrameReader:
        """What finds the messages of one connection, of at most `max_message` bytes each."""
        raise AssertionError("a framing says how its messages are found")

    def header(self, size: int) -> bytes:
        """What stands before a message of `size` bytes.

        Raises:
            InvalidOption: a message so long cannot be said.
        """
        return b""

    def check(self, data: bytes | bytearray | memoryview) -> None:
        """Refuse a message that would not arrive as it is.

        Raises:
            InvalidOption: it would not.
        """


class FrameReader:
    """Finds the messages of one connection; see the module.

    Attributes:
        data: after MESSAGE, the message; a view of the ring's memory.
        wanted: after NEED_MEMORY, the bytes that a ring needs.
        error: after FAILED, why.
        lent: None: a reader of frames works in the ring alone.
    """

    __slots__ = ("_examined", "_max_message", "data", "error", "wanted")

    lent: ClassVar[memoryview | None] = None

    def __init__(self, max_message: int) -> None:
        self._max_message = max_message
        self._examined = 0
        self.data: memoryview = EMPTY_VIEW
        self.wanted = 0
        self.error: TurbosockError | None = None

    def next(self, ring: RingBuffer) -> int:
        """Find the next message in `ring`; one of the constants above."""
        raise AssertionError("a reader says how its messages are found")

    def room(self, ring: RingBuffer) -> memoryview:
        """The free memory of `ring` to receive into after NEED_BYTES: one run, never empty. Ends views lent before."""
        if ring.start + ring.length > ring.capacity - (ring.capacity >> 2):
            ring.make_contiguous()
        return ring.writable()

    def end(self, ring: RingBuffer | None) -> TurbosockError | None:
        """What is wrong with a stream that ends here, with what is left in `ring`; None: nothing."""
        if ring is not None and ring.length:
            return ConnectionClosed(f"the peer closed the connection inside a message, after {ring.length} bytes of it")
        return None

    def stop(self) -> None:
        """The stream is read no further; for readers that run the user's code, which may have ended it."""

    def _await(self, ring: RingBuffer, needed: int) -> int:
        """The present message is not whole, and `needed` bytes long at least, its header included."""
        if ring.length < ring.capacity:
            return NEED_BYTES
        self.wanted = min(max(needed, ring.length + 1), 2 * ring.length)
        return NEED_MEMORY

    def _too_long(self, size: int | None = None) -> int:
        """A message has more than max_message bytes; how many, where its peer has said so."""
        what = "a message" if size is None else f"a message of {size} bytes"
        self.error = LimitError(f"{what} is above max_message={self._max_message}", code="message_too_long")
        return FAILED
