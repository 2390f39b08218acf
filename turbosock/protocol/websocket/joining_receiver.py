"""JoiningReceiver: from the bytes in a connection's ring to whole messages, however they come (RFC 6455 §5, §6.2).

Frames are read, unmasked, checked and joined in the ring's own memory: payload is unmasked where it lies, and fragments
are pushed together over the headers between them. A message that the ring cannot hold goes on into memory that the
owner lends. `MessageReceiver`, which owners use, adds a short way for messages that come whole in one frame, and
`InflatingReceiver` compressed messages.

The calling order, for the owner of ring and transport:
1. Receive into `room(ring)`, and count what came: `ring.advance(n)`; or, while `direct(ring)` gives a view, receive
   into that and call `took_direct(n)`.
2. Call `next(ring)` until it returns NEED_BYTES, and do what it says: MESSAGE, PING, PONG, CLOSE tell what came;
   NEED_MEMORY asks for `lend`; AGAIN means that one step was long enough, and more is there; FAILED says with which
   code and reason to close. After CLOSE and FAILED it drops whatever comes and returns ENDED.
3. Answer a PING with its payload, the last one where several wait, and call `pong_sent()` when its bytes are away.

What came is described by `opcode`, `data`, `text`, `view()`, `tobytes()` and `totext()` until the next call of `next`.
Bytes and text are owned. A view is intact until the owner calls `room` or receives, or uses the memory that it lent for
something else, so several messages that came together can be looked at together.

Invariants: the unread bytes begin at `ring.start + kept + gap`: `kept` bytes of a message that is being joined, `gap`
bytes behind them that are dropped already, and no gap without something kept. What goes to lent memory is not kept once
there is some. After NEED_BYTES at most an unfinished header or control frame is unread. `_busy` is False if and only if
no message is being joined and the stream has not ended.
"""

from __future__ import annotations

from typing import ClassVar, Final

from turbosock.buffers.ring import RingBuffer
from turbosock.errors import InvalidOption, StateError
from turbosock.limits import (
    DECODE_STEP_BYTES,
    MAX_UNANSWERED_PINGS,
    MAX_WEBSOCKET_FRAGMENTS,
    MAX_WEBSOCKET_MESSAGE_BYTES,
    UTF8_STEP_BYTES,
    WEBSOCKET_STEP_FRAMES,
)
from turbosock.protocol.websocket import frame
from turbosock.protocol.websocket.close import INVALID_DATA, POLICY_VIOLATION, PROTOCOL_ERROR, TOO_BIG, read_close
from turbosock.protocol.websocket.frame import MAX_CONTROL_BYTES, MAX_HEADER_BYTES, FrameHeader
from turbosock.protocol.websocket.masking import mask, prepare, rotated
from turbosock.protocol.websocket.outcomes import (
    AGAIN,
    CLOSE,
    ENDED,
    FAILED,
    GO_ON,
    MESSAGE,
    NEED_BYTES,
    NEED_MEMORY,
    PING,
    PONG,
)
from turbosock.protocol.websocket.utf8 import Utf8Check

# Beside a message that is being joined, a ring has room for one control frame and one header.
_RESERVE: Final = MAX_CONTROL_BYTES + 2 * MAX_HEADER_BYTES
MIN_RING_BYTES: Final = 512


class JoiningReceiver:
    """Reads the messages of one connection.

    Args:
        is_client: whether the peer is a server.
        max_message: bytes that a message may have.
        max_fragments: frames that a message may have.

    Attributes:
        opcode: TEXT or BINARY, of the message that came.
        data: what came as bytes, where they were made on the way, else None.
        text: the text that came as str, where it was made on the way, else None.
        close_code: after CLOSE the peer's code or NO_STATUS; after FAILED the code to close with.
        close_reason: the peer's reason; why the connection fails.
        wanted: after NEED_MEMORY: bytes to lend, of which some more than arrived.
        lent: the memory that was lent and is in use, or None: the owner's again, with the message if one came.
        unanswered_pings: Pings that came since `pong_sent()`.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_busy",
        "_compressed",
        "_ended",
        "_fin",
        "_fragments",
        "_gap",
        "_header",
        "_in_frame",
        "_kept",
        "_key",
        "_left",
        "_masked",
        "_max_compressed",
        "_max_fragments",
        "_max_message",
        "_message",
        "_size",
        "_spilled",
        "_start",
        "_stop",
        "_unchecked",
        "_utf8",
        "_view",
        "_wire",
        "close_code",
        "close_reason",
        "data",
        "lent",
        "opcode",
        "text",
        "unanswered_pings",
        "wanted",
    )

    # Whether permessage-deflate was agreed.
    inflates: ClassVar[bool] = False

    def __init__(
        self,
        is_client: bool,
        *,
        max_message: int = MAX_WEBSOCKET_MESSAGE_BYTES,
        max_fragments: int = MAX_WEBSOCKET_FRAGMENTS,
    ) -> None:
        if type(max_message) is not int or not 1 <= max_message < 1 << 63:
            raise InvalidOption(f"max_message={max_message!r}: give a number of bytes, 1 or more")
        if type(max_fragments) is not int or max_fragments < 1:
            raise InvalidOption(f"max_fragments={max_fragments!r}: give a number of frames, 1 or more")
        self._masked = not is_client
        if self._masked:
            prepare()
        self._header = FrameHeader(self._masked, self.inflates)
        self._max_message = max_message
        # Blocks that are stored add five bytes to some hundreds: a compressed message may be that much longer.
        self._max_compressed = max_message + (max_message >> 3) + 1024
        self._max_fragments = max_fragments
        self._utf8 = Utf8Check()
        self.opcode = 0
        self.data: bytes | None = None
        self.text: str | None = None
        self.close_code = 0
        self.close_reason = ""
        self.wanted = 0
        self.lent: memoryview | None = None
        self.unanswered_pings = 0
        self._ended = False
        # The message that came lies in `_view[_start:_stop]`, unless it is `data`.
        self._view: memoryview | None = None
        self._start = 0
        self._stop = 0
        self._begin()

    def _begin(self) -> None:
        """Be ready for a new message."""
        self._busy = False
        # The opcode of the message that is being joined, or 0, its frames, and its payload bytes on the wire.
        self._message = 0
        self._fragments = 0
        self._wire = 0
        self._kept = 0
        self._gap = 0
        # The present frame. `_key` is turned to the next masked byte.
        self._in_frame = False
        self._left = 0
        self._fin = False
        self._key = 0
        # Bytes in lent memory, and how many of them came there directly and were not looked at.
        self._spilled = False
        self._size = 0
        self._unchecked = 0
        self._compressed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} kept={self._kept} gap={self._gap} left={self._left} size={self._size}>"

    @property
    def joining(self) -> bool:
        """Whether a message has begun and is not whole."""
        return self._message != 0

    def next(self, ring: RingBuffer) -> int:
        """Read on in `ring` to the next thing that its owner must know; one of `outcomes.py`."""
        return self._advance(ring)

    def view(self) -> memoryview:
        """What came, as a view."""
        if self.data is not None:
            return memoryview(self.data)
        assert self._view is not None, "something came"
        return self._view[self._start : self._stop]

    def view_to_read(self, ring: RingBuffer) -> memoryview:
        """As `view`, read-only; of what came in `ring`, or in lent memory."""
        # One view instead of two, wherever that can be.
        if self.data is not None:
            return memoryview(self.data)
        if self._view is ring.root:
            return ring.reading[self._start : self._stop]
        return self.view().toreadonly()

    def tobytes(self) -> bytes:
        """What came, as bytes of one's own."""
        return bytes(self.view()) if self.data is None else self.data

    def totext(self) -> str:
        """The text that came."""
        return str(self.view(), "utf-8") if self.text is None else self.text

    def room(self, ring: RingBuffer) -> memoryview:
        """The free memory of `ring` to receive into after NEED_BYTES: one run, never empty. Ends the views lent before.

        Raises:
            InvalidOption: the ring is smaller than MIN_RING_BYTES.
        """
        if ring.capacity < MIN_RING_BYTES:
            raise InvalidOption(f"ring: has {ring.capacity} bytes; give one of at least {MIN_RING_BYTES}")
        if ring.length == 0:
            return ring.root
        free = ring.capacity - ring.start - ring.length
        if free < _RESERVE or free < self._left:
            self._close_gap(ring)
            ring.make_contiguous()
        return ring.writable()

    def direct(self, ring: RingBuffer) -> memoryview | None:
        """The part of the lent memory where the bytes that come next belong, or None.

        They may be received there after NEED_BYTES instead of into the ring, which is empty.
        """
        lent = self.lent
        if lent is None or self._compressed or ring.length or not self._left:
            return None
        size = self._size
        stop = min(size + self._left, len(lent))
        return lent[size:stop] if size < stop else None

    def took_direct(self, n: int) -> None:
        """Tell that `n` bytes were received into the view that `direct` gave.

        Raises:
            StateError: there is no such view, or it is shorter.
        """
        lent = self.lent
        size = self._size
        if lent is None or self._compressed or self._kept or not 0 <= n <= min(self._left, len(lent) - size):
            raise StateError(f"took_direct({n}) beyond the view that direct() gave")
        if self._masked:
            mask(lent, size, size + n, self._key)
            self._key = rotated(self._key, n)
        self._size = size + n
        self._left -= n
        self._unchecked += n

    def lend(self, memory: memoryview) -> None:
        """Lend memory, writable bytes, for the present message until `lent` is None or something else is lent.

        Raises:
            StateError: nothing asked for it, or it has no room for what is there already.
        """
        least = self._least_lent()
        if not self._spilled or len(memory) < least:
            raise StateError(f"lend() of {len(memory)} bytes: lend `wanted` bytes after NEED_MEMORY, {least} at least")
        if self.lent is not None:
            memory[: self._size] = self.lent[: self._size]
        self.lent = memory

    def abandon(self) -> None:
        """Let go of everything, lent memory included: the connection ends."""
        self._ended = self._busy = True
        self.lent = self._view = None

    def pong_sent(self) -> None:
        """Tell that a Pong for the last Ping is away."""
        self.unanswered_pings = 0

    def _least_lent(self) -> int:
        """Bytes of lent memory with which the present message goes on."""
        return max(self._size, self._kept) + 1

    def _close_gap(self, ring: RingBuffer) -> None:
        """Move what is unread to where the kept bytes end."""
        gap = self._gap
        if gap:
            root = ring.root
            stop = ring.start + ring.length
            kept_stop = ring.start + self._kept
            root[kept_stop : stop - gap] = root[kept_stop + gap : stop]
            ring.length -= gap
            self._gap = 0

    def _skip(self, ring: RingBuffer, n: int) -> None:
        """Drop the first `n` unread bytes."""
        if self._kept:
            self._gap += n
        else:
            ring.consume(n)

    def _advance(self, ring: RingBuffer) -> int:
        """`next`, in bounded steps."""
        if self._ended:
            ring.clear()
            return ENDED
        if not ring.contiguous:
            ring.make_contiguous()
        frames = WEBSOCKET_STEP_FRAMES
        while frames:
            frames -= 1
            code = GO_ON if self._in_frame else self._read_header(ring)
            if code == GO_ON:
                if self._compressed:
                    code = self._take_compressed(ring)
                elif self._spilled:
                    code = self._take_spilled(ring)
                else:
                    code = self._take(ring)
            if code != GO_ON:
                return code
        return AGAIN

    def _read_header(self, ring: RingBuffer) -> int:
        """Read the next frame's header; deal with a whole control frame. GO_ON: a data frame begins."""
        header = self._header
        at = ring.start + self._kept + self._gap
        end = ring.start + ring.length
        size = header.read(ring.storage, at, end)
        if size <= 0:
            return NEED_BYTES if size == 0 else self._fail(header.close_code, header.failure)
        opcode = header.opcode
        length = header.length
        if opcode >= frame.CLOSE:
            if end - at < size + length:
                return NEED_BYTES
            return self._take_control(ring, at + size, size + length)
        if opcode == frame.CONTINUATION:
            if not self._message:
                return self._fail(PROTOCOL_ERROR, "a continuation frame continues no message")
        elif self._message:
            return self._fail(PROTOCOL_ERROR, "a message begins before the last frame of the one before")
        else:
            self._message = opcode
            self._compressed = header.compressed
            self._busy = True
            self.text = None
        self._fragments += 1
        if self._fragments > self._max_fragments:
            return self._fail(POLICY_VIOLATION, f"a message has more than max_fragments={self._max_fragments} frames")
        self._wire += length
        if self._wire > (self._max_compressed if self._compressed else self._max_message):
            return self._fail_size()
        self._skip(ring, size)
        self._in_frame = True
        self._fin = header.fin
        self._left = length
        self._key = header.key
        if self._kept + length > ring.capacity - _RESERVE:
            self._spilled = True
        return GO_ON

    def _take_control(self, ring: RingBuffer, at: int, size: int) -> int:
        """Take a whole control frame of `size` bytes whose payload begins at `at`."""
        header = self._header
        n = header.length
        if self._masked:
            mask(ring.root, at, at + n, header.key)
        data = bytes(ring.root[at : at + n])
        self._skip(ring, size)
        self.data = data
        self.text = None
        if header.opcode == frame.PONG:
            return PONG
        if header.opcode == frame.PING:
            self.unanswered_pings += 1
            if self.unanswered_pings > MAX_UNANSWERED_PINGS:
                return self._fail(
                    POLICY_VIOLATION, f"more than {MAX_UNANSWERED_PINGS} Pings came before a Pong could go"
                )
            return PING
        said = read_close(data)
        if not said.valid:
            return self._fail(said.code, said.reason)
        self.abandon()
        ring.clear()
        self.close_code = said.code
        self.close_reason = said.reason
        return CLOSE

    def _take(self, ring: RingBuffer) -> int:
        """Take payload where it lies, behind what is kept already."""
        kept = self._kept
        left = self._left
        root = ring.root
        start = ring.start + kept
        at = start + self._gap
        n = ring.length - kept - self._gap
        if n > left:
            n = left
        if n:
            if self._masked:
                mask(root, at, at + n, self._key)
            stop = start + n
            if at != start:
                root[start:stop] = root[at : at + n]
            self._kept = kept + n
            self._left = left = left - n
            if self._message == frame.TEXT:
                if n <= UTF8_STEP_BYTES and not kept and not left and self._fin and self._fragments == 1:
                    # The whole message: the text that the check makes is the one that its reader wants.
                    try:
                        self.text = str(root[start:stop], "utf-8")
                    except UnicodeDecodeError:
                        return self._fail_text()
                elif not self._utf8.feed(root, start, stop):
                    return self._fail_text()
            if left:
                self._key = rotated(self._key, n)
        if left:
            return NEED_BYTES
        start = ring.start
        stop = start + self._kept
        if self._fin:
            # What was kept stays where it is until the owner receives again.
            ring.consume(self._kept + self._gap)
        return self._end_frame(root, start, stop)

    def _take_spilled(self, ring: RingBuffer) -> int:
        """Take payload into lent memory."""
        kept = self._kept
        size = self._size
        n = min(ring.length - kept - self._gap, self._left)
        lent = self.lent
        root = ring.root
        if kept and lent is not None:
            lent[:kept] = root[ring.start : ring.start + kept]
            ring.consume(kept + self._gap)
            self._kept = self._gap = 0
            self._size = size = kept
        is_text = self._message == frame.TEXT
        if self._unchecked and lent is not None:
            if is_text and not self._utf8.feed(lent, size - self._unchecked, size):
                return self._fail_text()
            self._unchecked = 0
        while n:
            room = 0 if lent is None else len(lent) - size
            if lent is None or not room:
                return self._need_memory(size + self._kept + n, self._wire if self._fin else self._max_message)
            step = min(n, room)
            start = ring.start
            lent[size : size + step] = root[start : start + step]
            if self._masked:
                mask(lent, size, size + step, self._key)
                self._key = rotated(self._key, step)
            if is_text and not self._utf8.feed(lent, size, size + step):
                return self._fail_text()
            ring.consume(step)
            size += step
            n -= step
            self._size = size
            self._left -= step
        if self._left:
            return NEED_BYTES
        return self._end_frame(lent, 0, size)

    def _take_compressed(self, ring: RingBuffer) -> int:
        """Take payload of a compressed message: `inflating_receiver.py`."""
        raise AssertionError("a compressed frame came where that was not agreed")

    def _end_frame(self, view: memoryview | None, start: int, stop: int) -> int:
        """End the present frame, and with the last one the message, which lies in `view[start:stop]`."""
        self._in_frame = False
        if not self._fin:
            return GO_ON
        if self._message == frame.TEXT and self.text is None and not self._utf8.finish():
            return self._fail_text()
        self.opcode = self._message
        self.data = None
        self._view = view
        self._start = start
        self._stop = stop
        self.lent = None
        self._begin()
        return MESSAGE

    def _need_memory(self, there: int, bound: int) -> int:
        """Ask for memory for more than the `there` bytes that arrived, at most for `bound` bytes.

        What a peer announces makes no memory; what it sends makes no more than twice as much.
        """
        self._spilled = True
        self.wanted = min(max(2 * there, DECODE_STEP_BYTES), bound)
        return NEED_MEMORY

    def _fail(self, code: int, reason: str) -> int:
        self.abandon()
        self.close_code = code
        self.close_reason = reason
        return FAILED

    def _fail_text(self) -> int:
        return self._fail(INVALID_DATA, "a text message is not UTF-8")

    def _fail_size(self) -> int:
        return self._fail(TOO_BIG, f"a message has more than max_message={self._max_message} bytes")
