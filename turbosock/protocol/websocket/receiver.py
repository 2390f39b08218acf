"""MessageReceiver: JoiningReceiver with a short way for messages that come whole in one frame, as nearly all do.

What is short about it: a message of up to 125 bytes is read, unmasked and checked in one function, and taken out as
bytes; one of up to 65,535 bytes in two, which unmask it where it lies. Whatever is not whole, or not valid, goes the
long way, which knows why: both ways come to the same.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from turbosock.buffers.ring import RingBuffer
from turbosock.limits import MAX_WEBSOCKET_FRAGMENTS, MAX_WEBSOCKET_MESSAGE_BYTES, UTF8_STEP_BYTES
from turbosock.protocol.websocket.frame import BINARY, FIN, MASKED, MAX_CONTROL_BYTES, READ_MASKED, READ_PLAIN, TEXT
from turbosock.protocol.websocket.joining_receiver import JoiningReceiver
from turbosock.protocol.websocket.masking import REPEATS, SHIFTS, SMALL_BYTES, mask_ring
from turbosock.protocol.websocket.outcomes import MESSAGE, NEED_BYTES

# The first byte of a message in one frame.
_WHOLE_TEXT: Final = FIN | TEXT
_WHOLE: Final = (FIN | BINARY, _WHOLE_TEXT)
# From the second byte of a small masked frame to the frame's size: the mask bit away, header and key added.
_MASKED_LESS_HEADER: Final = MASKED - 6
# The second byte of a frame whose length stands in the next two, less the mask bit.
_LENGTH_IN_2: Final = 126

_read_length = Struct(">H").unpack_from

_from_bytes = int.from_bytes


class MessageReceiver(JoiningReceiver):
    """Reads the messages of one connection; see JoiningReceiver."""

    __slots__ = ("_last_small", "_middle")

    def __init__(
        self,
        is_client: bool,
        *,
        max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES,
        max_fragments: int = MAX_WEBSOCKET_FRAGMENTS,
    ) -> None:
        super().__init__(is_client, max_message=max_message, max_fragments=max_fragments)
        # The second byte of the largest small frame, and of the frames of middle size.
        bit = MASKED if self._masked else 0
        self._last_small = min(MAX_CONTROL_BYTES, max_message) | bit
        self._middle = _LENGTH_IN_2 | bit

    # Longer than most: this is the whole way of a small message, and each call below it would cost a quarter of it.
    def next(self, ring: RingBuffer) -> int:
        """See JoiningReceiver."""
        length = ring.length
        start = ring.start
        # A ring that begins at its front does not wrap.
        if length < 2 or self._busy or (start and start + length > ring.capacity):
            return self._advance(ring) if length or self._busy else NEED_BYTES
        storage = ring.storage
        first = storage[start]
        second = storage[start + 1]
        if first not in _WHOLE:
            return self._advance(ring)
        if second > self._last_small:
            return self._take_middle(ring) if second == self._middle else self._advance(ring)
        if not self._masked:
            size = second + 2
            if length < size:
                return self._advance(ring)
            data: bytes = READ_PLAIN[second](storage, start + 2)[0]
        else:
            size = second - _MASKED_LESS_HEADER
            # A frame that is not masked has a second byte below MASKED, and so a size below 6.
            if length < size or size < 6:
                return self._advance(ring)
            n = second - MASKED
            key, data = READ_MASKED[n](storage, start + 2)
            key *= REPEATS[n]
            if n & 3:
                key >>= SHIFTS[n]
            data = (_from_bytes(data, "big") ^ key).to_bytes(n, "big")
        if first == _WHOLE_TEXT:
            try:
                self.text = data.decode()
            except UnicodeDecodeError:
                return self._fail_text()
            self.opcode = TEXT
        else:
            self.text = None
            self.opcode = BINARY
        self.data = data
        length -= size
        ring.length = length
        ring.start = start + size if length else 0
        return MESSAGE

    def _take_middle(self, ring: RingBuffer) -> int:
        """Take a message of 126 to 65,535 bytes, if its one frame is there."""
        storage = ring.storage
        start = ring.start
        length = ring.length
        if length < 8:
            return self._advance(ring)
        filled = start + length if start else length
        n = _read_length(storage, start + 2)[0]
        at = start + (8 if self._masked else 4)
        stop = at + n
        if n <= MAX_CONTROL_BYTES or n > self._max_message or stop > filled:
            return self._advance(ring)
        root = ring.root
        data: bytes | None = None
        if self._masked:
            key = READ_MASKED[0](storage, start + 4)[0]
            if n <= SMALL_BYTES:
                key *= REPEATS[n]
                if n & 3:
                    key >>= SHIFTS[n]
                data = (_from_bytes(root[at:stop], "big") ^ key).to_bytes(n, "big")
            else:
                mask_ring(ring, at, n, key)
        text: str | None = None
        if storage[start] == _WHOLE_TEXT:
            if n <= UTF8_STEP_BYTES:
                try:
                    text = str(root[at:stop] if data is None else data, "utf-8")
                except UnicodeDecodeError:
                    return self._fail_text()
            elif not (self._utf8.feed(root, at, stop) and self._utf8.finish()):
                return self._fail_text()
            self.opcode = TEXT
        else:
            self.opcode = BINARY
        self.text = text
        self.data = data
        self._view = root
        self._start = at
        self._stop = stop
        length = filled - stop
        ring.length = length
        ring.start = stop if length else 0
        return MESSAGE
