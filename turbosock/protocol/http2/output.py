"""Output: the bytes that one HTTP/2 connection has yet to send, and the line of streams that wait for room among them.

Frames go into a ring. What has no room there, a header section that is longer than the ring or a reply that comes at a
bad time, gets memory of its own behind it, and until that has left nothing else goes in.

Invariants: the frames are whole, in the order in which they were put here; the ring is contiguous at all times; while a
send is `pinned`, what it sends stays where it is; the line is fair: who comes later goes later, and who has had a turn
goes to its end.

Left to others: what the frames say (`sending_half.py`), and who sends them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.protocol.http2.frames import HEADER_BYTES

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.stream import Stream


class Output:
    """See the module.

    Attributes:
        out: an empty ring that frames are written into.
        pinned: whether `outgoing()` is in a send that must find the same bytes at the same address again.
    """

    __slots__ = ("_half", "_headers_end", "_large", "_large_sent", "_waiting", "out", "pinned")

    def __init__(self, out: RingBuffer) -> None:
        self.lend(out)
        self.pinned = False
        # What did not go into the ring, and how much of it was sent.
        self._large = b""
        self._large_sent = 0
        self._waiting: deque[Stream] = deque()

    def lend(self, out: RingBuffer) -> None:
        """Write into this ring from now on; the one before holds nothing."""
        self.out = out
        # Reckoned once: the length up to which a header section may be put here, and where the payload of one ends.
        self._half = out.capacity // 2
        self._headers_end = out.capacity - limits.HTTP2_REPLY_BYTES - HEADER_BYTES

    def outgoing(self) -> memoryview | None:
        """What is to be sent next, or None: all of it has been; valid until the next call of anything here."""
        out = self.out
        if out.length:
            start = out.start
            return out.root[start : start + out.length]
        if self._large:
            return memoryview(self._large)[self._large_sent :]
        return None

    def sent(self, count: int) -> None:
        """`count` bytes of `outgoing()` have left."""
        out = self.out
        if out.length:
            out.length -= count
            out.start = out.start + count if out.length else 0
        else:
            self._large_sent += count
            if self._large_sent == len(self._large):
                self._large = b""
                self._large_sent = 0

    @property
    def unsent(self) -> bool:
        """Whether `outgoing()` has something."""
        return bool(self.out.length or self._large)

    @property
    def writable(self) -> bool:
        """Whether a header section may be put into the output now."""
        return not self._large and self.out.length < self._half

    def _place(self, count: int) -> int:
        """Where `count` bytes go behind what is in the output, which the caller fills; -1: they have no room."""
        out = self.out
        at = out.start + out.length
        if at + count > out.capacity:
            if self.pinned or out.length + count > out.capacity:
                return -1
            out.make_contiguous()
            at = out.length
        out.length += count
        return at

    def _put(self, frame: bytes) -> None:
        """Put a small frame behind all that is in the output, in memory of its own where there is no room.

        That memory is bounded: nothing is received while there is some, and what else is put here (resets, updates,
        goodbyes) is a few frames a stream.
        """
        if not self._large:
            at = self._place(len(frame))
            if at >= 0:
                self.out.root[at : at + len(frame)] = frame
                return
        self._large = self._large[self._large_sent :] + frame
        self._large_sent = 0

    def wait_for_room(self, stream: Stream) -> None:
        """Call the stream's `on_room()` when there may be room again, in the output or in a window, in fair order."""
        if not stream.waits:
            stream.waits = True
            self._waiting.append(stream)

    @property
    def crowded(self) -> bool:
        """Whether a stream waits for room."""
        return bool(self._waiting)

    def leave_line(self, stream: Stream) -> None:
        """The stream does not wait for room any more."""
        stream.waits = False
        self._waiting.remove(stream)

    def give_room(self) -> None:
        """Let those that wait for room try: after a send, and when the peer opened a window."""
        waiting = self._waiting
        for _ in range(len(waiting)):
            # A turn may end the wait of others.
            if not waiting or not self.writable:
                return
            stream = waiting.popleft()
            stream.waits = False
            stream.on_room()
