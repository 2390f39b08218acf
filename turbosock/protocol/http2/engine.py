"""Engine: one HTTP/2 connection without I/O (RFC 9113): frames in from a ring, frames out into a ring.

The calling order:

1. `begin()` puts our preface and settings into `out`.
2. When bytes have come: `receive(ring)` takes every whole frame out of the ring, and steps the streams concerned by
   their hooks. It stops early where `out` has no room for replies: send, and call it again.
3. To send: `open(stream)` and `send_headers(...)`, `send_data(...)`, `reset(...)`; what cannot go now (`writable`, the
   windows) is asked for again in the stream's `on_room()`, for which it stands in line by `wait_for_room()`.
4. Whoever owns the socket sends what `outgoing()` shows, and tells by `sent(n)`.

It stands on four floors: `output.py` (bytes to send, and the line for room there), `sending_half.py` (what we say),
`control_frames.py` (what the peer says beside messages), `header_sections.py` (its HEADERS). Here are the frames as
such, and DATA.

Invariants: a peer never has more credit than `HTTP2_CONNECTION_WINDOW_BYTES`, nor a stream more than its `window`. What
breaks a stream resets it, and its hooks are told; what breaks the connection is raised out of `receive()`, after a
GOAWAY was put into `out`.

Left to others: sockets and time (PING and SETTINGS are answered here; when to send our own is a driver's business),
memory for payload, which stream is whose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.errors import Http2Error
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http2.error_codes import (
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    WORD_FRAME,
    kind_name,
)
from turbosock.protocol.http2.header_sections import HeaderSections
from turbosock.protocol.http2.stream_state import (
    CLOSED,
    HALF_CLOSED_LOCAL,
    RECEIVE_DATA,
    RECEIVE_END,
    column,
)

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.stream import Stream

_ON_RECEIVE_DATA: Final = column(RECEIVE_DATA)
_ON_RECEIVE_END: Final = column(RECEIVE_END)

_LENGTH: Final = Framing.LENGTH
_NONE: Final = Framing.NONE
_HEADERS_WHOLE: Final = END_HEADERS
_NEEDS_LOOK: Final = PADDED | WITH_PRIORITY

_unpack_header = HEADER.unpack_from


class Engine(HeaderSections):
    """One side of a connection; see the module, and the floors below for what they keep.

    Args:
        out: an empty ring that frames are written into; contiguous at all times.
        client: which side.
        accept: for a server, gives the stream for a new request, or None to refuse it.
        initial_window: the first window of each stream.
        max_streams: for a server: that its client may have open.
        max_list_bytes, max_fields: bounds of what one header section decodes to.

    Attributes:
        receive_window: of the connection.
        frames: that were received.
        paused: set by a hook to end the present pass behind its frame; nothing is received until it is unset.
    """

    __slots__ = (
        "_credit_floor",
        "_preface_left",
        "frames",
        "paused",
        "receive_window",
    )

    def __init__(
        self,
        out: RingBuffer,
        *,
        client: bool,
        accept: Callable[[int], Stream | None] | None = None,
        initial_window: int = limits.HTTP2_STREAM_WINDOW_BYTES,
        max_streams: int = limits.MAX_HTTP2_STREAMS,
        max_list_bytes: int = limits.MAX_HEAD_BYTES,
        max_fields: int = limits.MAX_HEAD_FIELDS,
    ) -> None:
        assert client or accept is not None, "a server accepts streams"
        super().__init__(
            out,
            client=client,
            accept=accept,
            initial_window=initial_window,
            max_streams=max_streams,
            max_list_bytes=max_list_bytes,
            max_fields=max_fields,
        )
        self.receive_window = limits.HTTP2_CONNECTION_WINDOW_BYTES
        self.frames = 0
        self.paused = False
        self._credit_floor = limits.HTTP2_CONNECTION_WINDOW_BYTES // 2
        self._preface_left = b"" if client else PREFACE

    def receive(self, ring: RingBuffer) -> None:
        """Take the whole frames out of `ring`, whose content is contiguous; what is left of it needs more bytes.

        Raises:
            Http2Error: the peer broke the connection; a GOAWAY with the code is in the output.
        """
        # One function, because most of an answer's cost is a few of these microseconds; and each number above 256 is an
        # allocation, as is each call of a dictionary's get().
        storage = ring.storage
        root = ring.root
        streams = self.streams
        client = self.client
        decode = self.decoder.decode
        if self._idle_frames:
            # Signs of life that come one by one, for hours, are no flood.
            self._idle_frames = max(self._idle_frames - limits.HTTP2_FORGIVEN_FRAMES, 0)
        out = self.out
        reply_floor = out.capacity - limits.HTTP2_REPLY_BYTES // 2
        taken = 0
        try:
            while True:
                if ring.length < HEADER_BYTES or out.length > reply_floor or self._large or self.paused:
                    break
                start = ring.start
                high, low, kind, flags, stream_id = _unpack_header(storage, start)
                if stream_id > MAX_STREAM_ID:
                    # The bit above says nothing (RFC 9113 §4.1).
                    stream_id &= MAX_STREAM_ID
                length = high << 16 | low if high else low
                at = start + HEADER_BYTES
                following = at + length
                left = start + ring.length - following
                if left < 0:
                    if length > self.local.max_frame_size or self._preface_left:
                        self._refuse_start(ring, length)
                        continue
                    break
                fresh = self._fresh
                if fresh is not None and (fresh.id != stream_id or kind != DATA):
                    # Before the frame is taken: it is not lost where this breaks off.
                    self._fresh = None
                    fresh.on_news()
                    continue
                # Whatever breaks off from here on, the frame was taken. Its bytes stay where they are meanwhile.
                ring.length = left
                ring.start = following if left else 0
                taken += 1
                if self._block_stream or not self.remote_known:
                    if self._preface_left:
                        ring.start = start
                        ring.length = left + following - start
                        self._refuse_start(ring, length)
                        continue
                    self._check_turn(kind, flags, stream_id)
                if kind == DATA:
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    self.receive_window -= length
                    if self.receive_window < self._credit_floor:
                        self._credit_connection()
                    if stream_id not in streams:
                        self._data_of_none(stream_id, storage, at, length, flags)
                        continue
                    stream = streams[stream_id]
                    state = _ON_RECEIVE_DATA[stream.state]
                    count = length
                    if (
                        state < 0
                        or length > stream.receive_window
                        or flags & PADDED
                        or (stream.head is None and stream.request is None)
                    ):
                        count = self._look_at_data(stream, storage, at, length, flags, state)
                        if count < 0:
                            continue
                        if flags & PADDED:
                            at += 1
                    if not flags & END_STREAM:
                        stream.receive_window -= length
                    remaining = stream.remaining
                    if remaining >= 0:
                        remaining -= count
                        if remaining < 0 or (remaining and flags & END_STREAM):
                            stream.remaining = remaining
                            self._fail_stream(stream, self._wrong_length(stream))
                            continue
                        stream.remaining = remaining
                    if count:
                        # Before the end is noted: a body that an interrupt robbed of this is never taken for whole.
                        stream.on_data(root, at, count)
                    if flags & END_STREAM:
                        stream.ended = True
                        self._idle_frames = 0
                        stream.state = state = _ON_RECEIVE_END[state]
                        if state == CLOSED:
                            self._forget(stream)
                            if self._resets > 0:
                                self._resets -= 1
                    elif not count:
                        self._count_idle()
                    else:
                        self._idle_frames = 0
                    if count != length:
                        # Padding needs no memory.
                        self.consumed(stream, length - count)
                    elif left > length and not flags and stream.takes_runs and length:
                        self._take_run(ring, stream, length)
                    self._fresh = None
                    stream.on_news()
                elif kind == HEADERS and flags & (END_HEADERS | _NEEDS_LOOK) == _HEADERS_WHOLE:
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    if stream_id not in streams or not client or flags & END_STREAM:
                        self._on_block(stream_id, flags, bytes(root[at:following]))
                        continue
                    stream = streams[stream_id]
                    if stream.head is not None:
                        self._on_block(stream_id, flags, bytes(root[at:following]))
                        continue
                    # The usual answer's head, as _on_block() takes it: one that is known and has a body.
                    block = decode(bytes(root[at:following]))
                    head = block.heads[stream.kind]
                    if head is None or head.interim or head.upgrade or stream.state > HALF_CLOSED_LOCAL:
                        self._on_fields(stream, block, 0)
                        continue
                    self._idle_frames = 0
                    stream.head = head
                    framing = head.framing
                    stream.remaining = head.content_length if framing is _LENGTH else 0 if framing is _NONE else -1
                    self._fresh = stream
                else:
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    if kind <= CONTINUATION:
                        _HANDLERS[kind](self, flags, stream_id, root, at, length)
                    else:
                        # RFC 9113 §5.5: what is not known is ignored.
                        self._count_idle()
            if self._room_came:
                self._room_came = False
                self.give_room()
        except Http2Error as error:
            if not error.stream_id:
                self._break(error)
            raise
        finally:
            self.frames += taken
            fresh = self._fresh
            if fresh is not None:
                self._fresh = None
                fresh.on_news()

    def _break(self, error: Http2Error) -> None:
        self.closing = False
        self.close(error.error_code)

    def _refuse_start(self, ring: RingBuffer, length: int) -> None:
        """The bytes at the beginning of the ring are no frame that fits: the client's preface, or too long a frame."""
        expected = self._preface_left
        if not expected:
            if not self.remote_known and ring.peek(7) == b"HTTP/1.":
                raise Http2Error(
                    "the server answered in HTTP/1; allow it in http_versions", PROTOCOL_ERROR, code="http1_answer"
                )
            kind = ring.storage[ring.start + 3]
            if not self.remote_known:
                self._check_turn(kind, 0, 0)
            raise self._too_long(kind, length)
        seen = ring.peek(len(expected))
        if not expected.startswith(seen):
            raise Http2Error("the client's first bytes are not HTTP/2's preface", PROTOCOL_ERROR, code="bad_preface")
        ring.consume(len(seen))
        self._preface_left = expected[len(seen) :]

    def _check_turn(self, kind: int, flags: int, stream_id: int) -> None:
        """Whether this frame may come now: settings first, and nothing between the frames of a header section."""
        if self._block_stream:
            if kind != CONTINUATION or stream_id != self._block_stream:
                raise Http2Error(
                    f"{kind_name(kind)} inside a header section of stream {self._block_stream}",
                    PROTOCOL_ERROR,
                    code="bad_continuation",
                )
        elif kind != SETTINGS or flags & ACK:
            raise Http2Error(f"the first frame was {kind_name(kind)}, not SETTINGS", PROTOCOL_ERROR, code="bad_preface")

    def _too_long(self, kind: int, length: int) -> Http2Error:
        return Http2Error(
            f"{kind_name(kind)} of {length} bytes, above our limit of {self.local.max_frame_size}",
            FRAME_SIZE_ERROR,
            code="frame_too_long",
        )

    def _take_run(self, ring: RingBuffer, stream: Stream, length: int) -> None:
        """Take the DATA that follows as far as its headers are the one before them: a download is little else.

        What that one was judged by holds for them, but for the windows and the length, which are reckoned up at once.
        """
        start = at = ring.start
        step = HEADER_BYTES + length
        room = stream.receive_window
        if 0 <= stream.remaining < room:
            room = stream.remaining
        end = at + min(ring.length // step, room // length) * step
        startswith = ring.storage.startswith
        header = bytes(ring.root[at - step : at - length])
        while at < end and startswith(header, at):
            at += step
        if at == start:
            return
        times = (at - start) // step
        ring.length -= at - start
        ring.start = at if ring.length else 0
        count = times * length
        self.frames += times
        self.receive_window -= count
        if self.receive_window < self._credit_floor:
            self._credit_connection()
        stream.receive_window -= count
        if stream.remaining > 0:
            stream.remaining -= count
        stream.on_run(ring.root, start + HEADER_BYTES, length, times)

    def _credit_connection(self) -> None:
        """Fill the connection's window up, which no frame can overrun: it is many times as large as one."""
        more = limits.HTTP2_CONNECTION_WINDOW_BYTES - self.receive_window
        self.receive_window += more
        self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, 0, more))

    def _data_of_none(self, stream_id: int, storage: bytearray, at: int, length: int, flags: int) -> None:
        """DATA of a stream that is closed, or was never open."""
        self._check_known(DATA, stream_id)
        _payload_bytes(storage, at, length, flags)
        if stream_id not in self._reset_by_us:
            self._remember_reset(stream_id, 0)
            self._put_reset(stream_id, STREAM_CLOSED)
        elif 0 < length <= self._stray_bytes:
            # It was under way when the stream was reset; many streams may have been at once.
            self._stray_bytes -= length
            return
        self._count_idle()

    def _look_at_data(self, stream: Stream, storage: bytearray, at: int, length: int, flags: int, state: int) -> int:
        """Payload bytes of DATA that is not as usual, or -1: its stream has ended."""
        count = _payload_bytes(storage, at, length, flags)
        if state < 0:
            self._refuse_input(stream, state, "DATA")
            return -1
        if length > stream.receive_window:
            self._fail_stream(
                stream,
                Http2Error("DATA beyond the stream's window", FLOW_CONTROL_ERROR, code="flow_control"),
            )
            return -1
        if stream.head is None and stream.request is None:
            self._fail_stream(stream, Http2Error("DATA before the head", PROTOCOL_ERROR, code="malformed"))
            return -1
        return count

    def _wrong_length(self, stream: Stream) -> Http2Error:
        if stream.remaining < 0:
            return Http2Error("the body is longer than announced", PROTOCOL_ERROR, code="body_too_long")
        return stream.cut_short()

    def _on_data(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        raise AssertionError("DATA is handled where it is received")


def _payload_bytes(storage: bytearray, at: int, length: int, flags: int) -> int:
    """What of DATA is payload and not padding (RFC 9113 §6.1)."""
    if not flags & PADDED:
        return length
    if not length:
        raise Http2Error("DATA without its padding's length", FRAME_SIZE_ERROR, code="bad_frame_size")
    if storage[at] >= length:
        raise Http2Error("DATA with more padding than payload", PROTOCOL_ERROR, code="bad_padding")
    return length - 1 - storage[at]


_HANDLERS: Final[tuple[Callable[[Engine, int, int, Any, int, int], None], ...]] = (
    Engine._on_data,
    Engine._on_headers,
    Engine._on_priority,
    Engine._on_rst_stream,
    Engine._on_settings,
    Engine._on_push_promise,
    Engine._on_ping,
    Engine._on_goaway,
    Engine._on_window_update,
    Engine._on_continuation,
)
