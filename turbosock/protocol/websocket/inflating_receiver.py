"""InflatingReceiver: a MessageReceiver where permessage-deflate was agreed (RFC 7692 §6, §7.2.2).

Payload is inflated as it comes, in bounded steps: what came of a message is never kept in its compressed form, and what
it expands to never exceeds `max_message`, nor `max_ratio` times its own size. A message that comes to its end in one
step is delivered as the bytes that zlib made; any other is put together in lent memory.

Invariants: nothing of a compressed message is kept in the ring; `_clear` unread bytes of the frame are unmasked
already; `_chunk` came out last and is stored nowhere else.
"""

from __future__ import annotations

from typing import ClassVar

from turbosock.buffers.ring import RingBuffer
from turbosock.errors import InvalidOption
from turbosock.limits import (
    DECODE_INPUT_BYTES,
    DECODE_RATIO_FREE_BYTES,
    DECODE_STEP_BYTES,
    MAX_DECODE_RATIO,
    MAX_DECODE_STEPS,
    MAX_WEBSOCKET_FRAGMENTS,
    MAX_WEBSOCKET_MESSAGE_BYTES,
)
from turbosock.protocol.websocket.close import INVALID_DATA, TOO_BIG
from turbosock.protocol.websocket.frame import TEXT
from turbosock.protocol.websocket.inflater import TAIL, Inflater
from turbosock.protocol.websocket.masking import mask, rotated
from turbosock.protocol.websocket.outcomes import AGAIN, GO_ON, NEED_BYTES
from turbosock.protocol.websocket.receiver import MessageReceiver


class InflatingReceiver(MessageReceiver):
    """Reads the messages of one connection, compressed ones too.

    Args:
        inflater: belongs to this connection.
        max_message: bytes that a message may have, after it was decompressed.
        max_ratio: what a message may decompress to for each byte of it, above DECODE_RATIO_FREE_BYTES.

    The others, and the attributes, are those of MessageReceiver.
    """

    __slots__ = ("_chunk", "_clear", "_expanded", "_inflater", "_max_ratio", "_tail")

    inflates: ClassVar[bool] = True

    def __init__(
        self,
        is_client: bool,
        inflater: Inflater,
        *,
        max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES,
        max_fragments: int = MAX_WEBSOCKET_FRAGMENTS,
        max_ratio: float = MAX_DECODE_RATIO,
    ) -> None:
        if not isinstance(max_ratio, (int, float)) or isinstance(max_ratio, bool) or not max_ratio >= 1:
            raise InvalidOption(f"max_ratio={max_ratio!r}: give a number, 1 or more")
        self._inflater = inflater
        self._max_ratio = max_ratio
        super().__init__(is_client, max_message=max_message, max_fragments=max_fragments)

    def abandon(self) -> None:
        """See MessageReceiver."""
        super().abandon()
        self._chunk = b""

    def _begin(self) -> None:
        super()._begin()
        self._clear = 0
        self._expanded = 0
        self._chunk = b""
        # What is still to come of it.
        self._tail = TAIL

    def _least_lent(self) -> int:
        return max(super()._least_lent(), self._size + len(self._chunk))

    def _take_compressed(self, ring: RingBuffer) -> int:
        """Inflate payload, as owned bytes if they come all at once, else into lent memory."""
        inflater = self._inflater
        for _ in range(MAX_DECODE_STEPS):
            start = ring.start
            n = min(ring.length, self._left, DECODE_INPUT_BYTES)
            ends = not n and not self._left and self._fin and inflater.hungry
            if self._chunk and not ends and not self._store_chunk():
                return self._need_memory(self._size + len(self._chunk), self._max_message)
            room = min(DECODE_STEP_BYTES, self._max_message - self._expanded + 1)
            if n or not inflater.hungry:
                clear = self._clear
                if self._masked and n > clear:
                    mask(ring.root, start + clear, start + n, self._key)
                    self._key = rotated(self._key, n - clear)
                    self._clear = clear = n
                data = inflater.step(ring.root[start : start + n], room)
                taken = inflater.taken
                ring.consume(taken)
                self._left -= taken
                if self._masked:
                    self._clear = clear - taken
            elif self._left:
                return NEED_BYTES
            elif not self._fin:
                self._in_frame = False
                return GO_ON
            elif self._tail and self._wire:
                # Without a byte the message is empty: zlib makes nothing of nothing, and not every sender mends that.
                data = inflater.step(self._tail, room)
                self._tail = self._tail[inflater.taken :]
            else:
                return self._end_compressed(inflater)
            if inflater.failure:
                return self._fail(INVALID_DATA, inflater.failure)
            if data:
                expanded = self._expanded = self._expanded + len(data)
                if expanded > self._max_message:
                    return self._fail_size()
                if expanded > DECODE_RATIO_FREE_BYTES and expanded > self._max_ratio * (self._wire - self._left):
                    return self._fail(TOO_BIG, f"a message expands to over max_ratio={self._max_ratio:g} times itself")
                if self._message == TEXT and not self._utf8.feed(memoryview(data), 0, len(data)):
                    return self._fail_text()
                self._chunk = self._chunk + data if self._chunk else data
        return AGAIN

    def _end_compressed(self, inflater: Inflater) -> int:
        """Deliver what a compressed message expanded to."""
        if self._size and self._chunk and not self._store_chunk():
            return self._need_memory(self._size + len(self._chunk), self._max_message)
        inflater.end_message()
        if self._size:
            return self._end_frame(self.lent, 0, self._size)
        chunk = self._chunk
        code = self._end_frame(None, 0, 0)
        self.data = chunk
        return code

    def _store_chunk(self) -> bool:
        """Move the chunk to lent memory, if that has room."""
        lent = self.lent
        size = self._size
        stop = size + len(self._chunk)
        if lent is None or stop > len(lent):
            return False
        lent[size:stop] = self._chunk
        self._size = stop
        self._chunk = b""
        return True
