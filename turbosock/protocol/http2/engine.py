"""Engine: one HTTP/2 connection without I/O (RFC 9113): frames in from a ring, frames out into a ring.

The calling order:

1. `begin()` puts our preface and settings into `out`.
2. When bytes have come: `receive(ring)` takes every whole frame out of the ring, and steps the streams concerned by
   their hooks. It stops early where `out` has no room for replies: send, and call it again.
3. To send: `open(stream)` and `send_headers(...)`, `send_data(...)`, `reset(...)`; what cannot go now (`writable`, the
   windows) is asked for again in the stream's `on_room()`, for which it stands in line by `wait_for_room()`.
4. Whoever owns the socket sends what `outgoing()` shows, and tells by `sent(n)`.

Invariants: the frames in `out` are whole, in the order in which they were put there; header blocks are put there in the
order in which they were encoded, and decoded in the order in which they came, whatever becomes of their streams
(RFC 7541 §2.2); `streams` holds those that are not closed; a peer never has more credit than
`HTTP2_CONNECTION_WINDOW_BYTES`, nor a stream more than its `window`. What breaks a stream resets it, and its hooks are
told; what breaks the connection is raised out of `receive()`, after a GOAWAY was put into `out`.

Left to others: sockets and time (PING and SETTINGS are answered here; when to send our own is a driver's business),
memory for payload, which stream is whose.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.errors import ConnectionClosed, HeadTooLarge, Http2Error, Origin, StateError, TurbosockError
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http2.block_decoder import BlockDecoder
from turbosock.protocol.http2.block_encoder import BlockEncoder
from turbosock.protocol.http2.error_codes import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    name_of,
)
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GOAWAY_FRAME,
    GOAWAY_PAYLOAD,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PADDED,
    PING,
    PING_BYTES,
    PING_FRAME,
    PREFACE,
    PRIORITY_BYTES,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    WORD,
    WORD_FRAME,
    kind_name,
)
from turbosock.protocol.http2.settings import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, Settings
from turbosock.protocol.http2.stream_state import (
    CLOSED,
    CONNECTION_ERROR,
    HALF_CLOSED_LOCAL,
    RECEIVE_DATA,
    RECEIVE_END,
    RECEIVE_HEADERS,
    SEND_END,
    SEND_HEADERS,
    STATE_NAMES,
    column,
)

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.field_block import FieldBlock
    from turbosock.protocol.http2.stream import Stream

_ON_RECEIVE_HEADERS: Final = column(RECEIVE_HEADERS)
_ON_RECEIVE_DATA: Final = column(RECEIVE_DATA)
_ON_RECEIVE_END: Final = column(RECEIVE_END)
_ON_SEND_HEADERS: Final = column(SEND_HEADERS)
_ON_SEND_END: Final = column(SEND_END)

_LENGTH: Final = Framing.LENGTH
_NONE: Final = Framing.NONE
_HEADERS_WHOLE: Final = END_HEADERS
_NEEDS_LOOK: Final = PADDED | WITH_PRIORITY

# Of a request that its peer says it has not looked at: it may be sent again, whatever its method (RFC 9113 §8.7).
UNPROCESSED: Final = "unprocessed"

_unpack_header = HEADER.unpack_from

# The payload of the PINGs that measure the path.
_PROBE: Final = b"measure!"

# Packs a HEADERS frame whole, by the length of its block: one call, and no temporary. Lengths are few.
_packers: dict[int, Callable[..., None]] = {}


def _headers_packer(length: int) -> Callable[..., None]:
    packer = struct.Struct(f">BHBBL{length}s").pack_into
    if length <= _MAX_PACKED_BYTES:
        _packers[length] = packer
    return packer


# Blocks up to here are packed by a remembered layout, of which there are so many at most.
_MAX_PACKED_BYTES: Final = 1024


class Engine:
    """One side of a connection; see the module.

    Args:
        client: which side.
        out: an empty ring that frames are written into; contiguous at all times.
        accept: for a server, gives the stream for a new request, or None to refuse it.
        initial_window: the first window of each stream.
        max_streams: for a server: that its client may have open.
        max_list_bytes, max_fields: bounds of what one header section decodes to.

    Attributes:
        streams: those that are not closed, by id.
        local, remote: the settings of this side, and of the peer; `remote_known` once the peer's came.
        encoder, decoder: of header blocks.
        send_window, receive_window: of the connection.
        last_stream: the highest id that the peer opened.
        goaway: the last stream that the peer will look at, once it said so; else MAX_STREAM_ID.
        goaway_code, closing: what it gave as the reason; whether we have said that we end.
        pings_acknowledged: PINGs of ours that were answered.
        frames, data_bytes: that were received; the second is of DATA, padding included.
        grown_bytes: by how much the windows of open streams have grown beyond the first ones.
        pinned: whether `outgoing()` is in a send that must find the same bytes at the same address again.
    """

    __slots__ = (
        "_accept",
        "_block",
        "_block_flags",
        "_block_frames",
        "_block_stream",
        "_credit_floor",
        "_idle_frames",
        "_large",
        "_large_sent",
        "_next_id",
        "_pending_settings",
        "_preface_left",
        "_resets",
        "_reset_by_us",
        "_reset_order",
        "_fresh",
        "_probe_begin",
        "_probed",
        "_waiting",
        "client",
        "closing",
        "data_bytes",
        "decoder",
        "encoder",
        "frames",
        "goaway",
        "goaway_code",
        "grown_bytes",
        "last_stream",
        "local",
        "out",
        "pinned",
        "pings_acknowledged",
        "receive_window",
        "remote",
        "remote_known",
        "send_window",
        "streams",
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
        self.client = client
        self.out = out
        self._accept = accept
        self.streams: dict[int, Stream] = {}
        self.local = Settings()
        self.local.initial_window_size = initial_window
        self.local.max_header_list_size = max_list_bytes
        if client:
            self.local.enable_push = False
        else:
            self.local.max_concurrent_streams = max_streams
            self.local.enable_connect_protocol = True
        self.remote = Settings()
        self.remote_known = False
        self.decoder = BlockDecoder(max_list_bytes=max_list_bytes, max_fields=max_fields)
        self.encoder = BlockEncoder()
        self.send_window = DEFAULT_WINDOW
        self.receive_window = limits.HTTP2_CONNECTION_WINDOW_BYTES
        self._credit_floor = limits.HTTP2_CONNECTION_WINDOW_BYTES // 2
        self.last_stream = 0
        self.goaway = MAX_STREAM_ID
        self.goaway_code = NO_ERROR
        self.closing = False
        self.pings_acknowledged = 0
        self.frames = 0
        self.data_bytes = 0
        self.grown_bytes = 0
        self.pinned = False
        self._next_id = 1 if client else 2
        self._preface_left = b"" if client else PREFACE
        # Settings of ours that the peer has not acknowledged, oldest first.
        self._pending_settings: deque[int | None] = deque()
        # A header section that goes on in CONTINUATION frames.
        self._block = bytearray()
        self._block_stream = 0
        self._block_flags = 0
        self._block_frames = 0
        self._idle_frames = 0
        self._resets = 0
        self._reset_by_us: set[int] = set()
        self._reset_order: deque[int] = deque()
        # Frames of a header section that is longer than the ring has room for, and what of them was sent.
        self._large = b""
        self._large_sent = 0
        self._waiting: deque[Stream] = deque()
        # The stream whose path is being measured, and `data_bytes` when that began.
        self._probed: Stream | None = None
        self._probe_begin = 0
        # A stream that got its head in the last frame: it is told with what the next frame brings.
        self._fresh: Stream | None = None

    # Output

    def begin(self) -> None:
        """Say hello: the preface, our settings, and the connection's whole window (RFC 9113 §3.4)."""
        payload = self.local.payload()
        update = WORD_FRAME.pack(
            0, 4, WINDOW_UPDATE, 0, 0, limits.HTTP2_CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW
        )  # fmt: skip
        hello = HEADER.pack(0, len(payload), SETTINGS, 0, 0) + payload + update
        self.out.write((PREFACE + hello) if self.client else hello)
        self._pending_settings.append(None)

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
        return not self._large and self.out.length < self.out.capacity // 2

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

    def leave_line(self, stream: Stream) -> None:
        """The stream does not wait for room any more."""
        stream.waits = False
        self._waiting.remove(stream)

    def give_room(self) -> None:
        """Let those that wait for room try: after a send, and when the peer opened a window."""
        waiting = self._waiting
        for _ in range(len(waiting)):
            if not self.writable:
                return
            stream = waiting.popleft()
            stream.waits = False
            stream.on_room()

    def open(self, stream: Stream) -> None:
        """Give a stream of ours its number and its windows; its first headers are sent next.

        Raises:
            StateError: there are no numbers left, or the connection ends; take another one.
        """
        if self._next_id > MAX_STREAM_ID or self.closing or self.goaway != MAX_STREAM_ID:
            raise StateError("the HTTP/2 connection takes no more streams: use another one")
        stream.id = number = self._next_id
        self._next_id = number + 2
        # As adopt(): a call saved for every request.
        stream.send_window = self.remote.initial_window_size
        stream.window = stream.receive_window = self.local.initial_window_size
        self.streams[number] = stream

    def adopt(self, stream: Stream) -> None:
        """Give a stream that has its number its windows."""
        stream.send_window = self.remote.initial_window_size
        stream.window = stream.receive_window = self.local.initial_window_size
        self.streams[stream.id] = stream

    @property
    def exhausted(self) -> bool:
        """Whether no stream can be opened any more: the numbers are used up, or one side ends the connection."""
        return self._next_id > MAX_STREAM_ID or self.closing or self.goaway != MAX_STREAM_ID

    def send_headers(self, stream: Stream, block: bytes, end: bool) -> None:
        """Put one header section into the output; call it while `writable`, right after the block was encoded."""
        stream.state = _ON_SEND_HEADERS[stream.state]
        assert stream.state >= 0, "headers are sent on open streams"
        length = len(block)
        out = self.out
        at = out.start + out.length
        if at + length + HEADER_BYTES > out.capacity - limits.HTTP2_REPLY_BYTES or length > self.remote.max_frame_size:
            self._send_long_headers(stream, block, end)
        else:
            out.length += length + HEADER_BYTES
            packer = _packers.get(length) or _headers_packer(length)
            packer(
                out.storage,
                at,
                length >> 16,
                length & 0xFFFF,
                HEADERS,
                END_HEADERS | END_STREAM if end else END_HEADERS,
                stream.id,
                block,
            )
        if end:
            self._sent_end(stream)

    def _send_long_headers(self, stream: Stream, block: bytes, end: bool) -> None:
        """A header section of several frames, or of more than there is room for behind what is in the output."""
        most = self.remote.max_frame_size
        frames = []
        kind = HEADERS
        flags = END_STREAM if end else 0
        for start in range(0, len(block), most):
            piece = block[start : start + most]
            if start + most >= len(block):
                flags |= END_HEADERS
            frames.append(HEADER.pack(len(piece) >> 16, len(piece) & 0xFFFF, kind, flags, stream.id))
            frames.append(piece)
            kind = CONTINUATION
            flags = 0
        self._put(b"".join(frames))

    def send_data(self, stream: Stream, view: memoryview, end: bool) -> int:
        """Put as much of `view` into the output as one frame, the windows and the room allow.

        Args:
            end: nothing follows `view`: END_STREAM, if all of it goes.

        Returns:
            How many bytes went; -1: none can now, also of an empty view.
        """
        out = self.out
        room = out.capacity - out.length - limits.HTTP2_REPLY_BYTES - HEADER_BYTES
        if self.pinned:
            room -= out.start
        if self._large or room <= 0:
            return -1
        asked = len(view)
        count = min(asked, room, stream.send_window, self.send_window, self.remote.max_frame_size)
        if count <= 0 and asked:
            return -1
        last = end and count == asked
        at = self._place(count + HEADER_BYTES)
        assert at >= 0, "the room was looked at"
        HEADER.pack_into(out.storage, at, count >> 16, count & 0xFFFF, DATA, END_STREAM if last else 0, stream.id)
        if count:
            at += HEADER_BYTES
            out.root[at : at + count] = view if count == asked else view[:count]
            stream.send_window -= count
            self.send_window -= count
            self._idle_frames = 0
        if last:
            self._sent_end(stream)
        return count

    def _sent_end(self, stream: Stream) -> None:
        state = stream.state = _ON_SEND_END[stream.state]
        assert state >= 0, "a stream is ended once"
        if state == CLOSED:
            self._forget(stream)

    def reset(self, stream: Stream, error_code: int = CANCEL) -> None:
        """End a stream at once; what still comes for it is ignored. Nothing where it is over, or was never open."""
        if stream.state == CLOSED or self.streams.get(stream.id) is not stream:
            return
        stream.state = CLOSED
        self._forget(stream)
        self._remember_reset(stream.id)
        self._put_reset(stream.id, error_code)

    def _remember_reset(self, stream_id: int) -> None:
        if stream_id not in self._reset_by_us:
            self._reset_by_us.add(stream_id)
            self._reset_order.append(stream_id)
            if len(self._reset_order) > limits.MAX_HTTP2_REMEMBERED_RESETS:
                self._reset_by_us.discard(self._reset_order.popleft())

    def _put_reset(self, stream_id: int, error_code: int) -> None:
        self._put(WORD_FRAME.pack(0, 4, RST_STREAM, 0, stream_id, error_code))

    def consumed(self, stream: Stream, count: int) -> None:
        """The reader has taken `count` bytes of payload: their memory is free, and the peer may send as many more."""
        owed = stream.owed = stream.owed + count
        if stream.ended or stream.state == CLOSED:
            return
        if owed >= stream.window >> 1:
            stream.owed = 0
            stream.receive_window += owed
            self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, stream.id, owed))
            if self._probed is None:
                self._probe(stream)

    def _probe(self, stream: Stream) -> None:
        """Measure what the path holds: the payload that comes between a PING and its answer is bandwidth × delay."""
        if stream.window < limits.MAX_HTTP2_STREAM_WINDOW_BYTES:
            self._probed = stream
            self._probe_begin = self.data_bytes
            self._put(PING_FRAME.pack(0, PING_BYTES, PING, 0, 0, _PROBE))

    def _probe_answered(self) -> None:
        """Let the peer send twice what the path holds before it is read, where it was held up by less."""
        stream = self._probed
        if stream is None:
            return
        self._probed = None
        held = self.data_bytes - self._probe_begin
        window = stream.window
        if held * 3 < window * 2 or stream.ended or stream.state == CLOSED:
            return
        more = min(2 * held, limits.MAX_HTTP2_STREAM_WINDOW_BYTES) - window
        more = min(more, limits.MAX_HTTP2_GROWTH_BYTES - self.grown_bytes)
        if more > 0:
            self.grown_bytes += more
            stream.window += more
            stream.receive_window += more
            self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, stream.id, more))

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life with eight bytes of one's own; `pings_acknowledged` counts the answers."""
        self._put(PING_FRAME.pack(0, PING_BYTES, PING, 0, 0, data))

    def change_initial_window(self, size: int) -> None:
        """Tell the peer of another first window; open streams follow when it has acknowledged (RFC 9113 §6.5.3)."""
        payload = SETTING.pack(INITIAL_WINDOW_SIZE, size)
        self._put(HEADER.pack(0, len(payload), SETTINGS, 0, 0) + payload)
        self._pending_settings.append(size)

    def close(self, error_code: int = NO_ERROR) -> None:
        """Say that this side ends: GOAWAY with the last stream that was looked at. Streams that are open go on."""
        if self.closing and error_code == NO_ERROR:
            return
        self.closing = True
        self._put(GOAWAY_FRAME.pack(0, 8, GOAWAY, 0, 0, self.last_stream, error_code))

    # Input

    def receive(self, ring: RingBuffer) -> None:
        """Take the whole frames out of `ring`, whose content is contiguous; what is left of it needs more bytes.

        Raises:
            Http2Error: the peer broke the connection; a GOAWAY with the code is in the output.
        """
        # One function, because most of an answer's cost is a few of these microseconds.
        storage = ring.storage
        root = ring.root
        streams = self.streams
        client = self.client
        decode = self.decoder.decode
        out = self.out
        reply_floor = out.capacity - limits.HTTP2_REPLY_BYTES // 2
        try:
            while True:
                if ring.length < HEADER_BYTES or out.length > reply_floor or self._large:
                    break
                start = ring.start
                high, low, kind, flags, stream_id = _unpack_header(storage, start)
                length = high << 16 | low
                if ring.length < HEADER_BYTES + length:
                    if length > self.local.max_frame_size or self._preface_left:
                        self._refuse_start(ring, length)
                        continue
                    break
                # Whatever breaks off from here on, the frame was taken. Its bytes stay where they are meanwhile.
                size = HEADER_BYTES + length
                left = ring.length = ring.length - size
                ring.start = start + size if left else 0
                at = start + HEADER_BYTES
                self.frames += 1
                if self._block_stream or not self.remote_known:
                    if self._preface_left:
                        ring.start = start
                        ring.length = left + size
                        self._refuse_start(ring, length)
                        continue
                    self._check_turn(kind, flags, stream_id)
                if kind == DATA:
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    self.receive_window -= length
                    self.data_bytes += length
                    if self.receive_window < self._credit_floor:
                        self._credit_connection()
                    stream = streams.get(stream_id)
                    if stream is None:
                        self._data_of_none(stream_id, length)
                        continue
                    fresh = self._fresh
                    if fresh is not None and fresh is not stream:
                        self._fresh = None
                        fresh.on_news()
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
                    stream.receive_window -= length
                    remaining = stream.remaining
                    if remaining >= 0:
                        remaining -= count
                        if remaining < 0 or (remaining and flags & END_STREAM):
                            stream.remaining = remaining
                            self._fail_stream(stream, self._wrong_length(stream))
                            continue
                        stream.remaining = remaining
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
                    if count:
                        stream.on_data(root, at, count)
                        if count != length and not stream.failure:
                            # Padding needs no memory.
                            self.consumed(stream, length - count)
                    self._fresh = None
                    stream.on_news()
                elif kind == HEADERS and flags & (END_HEADERS | _NEEDS_LOOK) == _HEADERS_WHOLE:
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    fresh = self._fresh
                    if fresh is not None:
                        self._fresh = None
                        fresh.on_news()
                    stream = streams.get(stream_id)
                    if stream is None or not client or stream.head is not None or flags & END_STREAM:
                        self._on_block(stream_id, flags, bytes(root[at : at + length]))
                        continue
                    # The usual answer's head, as _on_block() takes it: one that is known and has a body.
                    block = decode(bytes(root[at : at + length]))
                    head = block.heads[stream.kind]
                    if head is None or head.interim or stream.state > HALF_CLOSED_LOCAL:
                        self._on_fields(stream, block, 0)
                        continue
                    self._idle_frames = 0
                    stream.head = head
                    framing = head.framing
                    stream.remaining = head.content_length if framing is _LENGTH else 0 if framing is _NONE else -1
                    self._fresh = stream
                else:
                    fresh = self._fresh
                    if fresh is not None:
                        self._fresh = None
                        fresh.on_news()
                    if length > self.local.max_frame_size:
                        raise self._too_long(kind, length)
                    if kind <= CONTINUATION:
                        _HANDLERS[kind](self, flags, stream_id, root, at, length)
                    else:
                        # RFC 9113 §5.5: what is not known is ignored.
                        self._count_idle()
        except Http2Error as error:
            if not error.stream_id:
                self._break(error)
            raise
        finally:
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
                raise Http2Error("the server answered in HTTP/1", PROTOCOL_ERROR, code="http1_answer")
            raise Http2Error(f"a frame of {length} bytes, above our limit", FRAME_SIZE_ERROR, code="frame_too_long")
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

    def _count_idle(self) -> None:
        """A frame came that moves nothing."""
        self._idle_frames += 1
        if self._idle_frames > limits.MAX_HTTP2_IDLE_FRAMES:
            raise Http2Error(
                f"more than {limits.MAX_HTTP2_IDLE_FRAMES} frames in a row that move nothing",
                ENHANCE_YOUR_CALM,
                code="flood",
            )

    def _count_reset(self) -> None:
        """A client gave a stream up, or had to be stopped: a server does not let that go on for ever."""
        if not self.client:
            self._resets += 1
            if self._resets > limits.MAX_HTTP2_RESETS:
                raise Http2Error(
                    f"more than {limits.MAX_HTTP2_RESETS} streams were reset and not finished",
                    ENHANCE_YOUR_CALM,
                    code="flood",
                )

    def _credit_connection(self) -> None:
        if self.receive_window < 0:
            raise Http2Error("DATA beyond the connection's window", FLOW_CONTROL_ERROR, code="flow_control")
        more = limits.HTTP2_CONNECTION_WINDOW_BYTES - self.receive_window
        self.receive_window += more
        self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, 0, more))

    def _data_of_none(self, stream_id: int, length: int) -> None:
        """DATA of a stream that is closed, or was never open."""
        self._check_known(DATA, stream_id)
        self._count_idle()
        if stream_id not in self._reset_by_us:
            self._remember_reset(stream_id)
            self._put_reset(stream_id, STREAM_CLOSED)

    def _check_known(self, kind: int, stream_id: int) -> None:
        """Refuse a frame of a stream that nobody has opened."""
        if not stream_id:
            raise Http2Error(f"{kind_name(kind)} on stream 0", PROTOCOL_ERROR, code="bad_stream")
        ours = bool(stream_id & 1) is self.client
        if stream_id >= self._next_id if ours else stream_id > self.last_stream:
            raise Http2Error(
                f"{kind_name(kind)} on stream {stream_id}, which is idle", PROTOCOL_ERROR, code="bad_stream"
            )

    def _look_at_data(self, stream: Stream, storage: bytearray, at: int, length: int, flags: int, state: int) -> int:
        """Payload bytes of DATA that is not as usual, or -1: its stream has ended."""
        if state < 0:
            self._refuse_input(stream, state, "DATA")
            return -1
        if length > stream.receive_window:
            self._fail_stream(
                stream,
                Http2Error("DATA beyond the stream's window", FLOW_CONTROL_ERROR, code="flow_control"),
            )
            return -1
        count = length
        if flags & PADDED:
            if not length or storage[at] >= length:
                raise Http2Error("DATA with more padding than payload", PROTOCOL_ERROR, code="bad_padding")
            count = length - 1 - storage[at]
        if stream.head is None and stream.request is None:
            self._fail_stream(stream, Http2Error("DATA before the head", PROTOCOL_ERROR, code="malformed"))
            return -1
        return count

    def _wrong_length(self, stream: Stream) -> Http2Error:
        if stream.remaining < 0:
            return Http2Error("the body is longer than announced", PROTOCOL_ERROR, code="body_too_long")
        return stream.cut_short()

    def _refuse_input(self, stream: Stream, outcome: int, what: str) -> None:
        """What the table says of an input that the state does not allow."""
        message = f"{what} on stream {stream.id}, which is {STATE_NAMES[stream.state]}"
        if outcome <= CONNECTION_ERROR:
            raise Http2Error(message, CONNECTION_ERROR - outcome, code="bad_state")
        self._fail_stream(stream, Http2Error(message, ~outcome, code="bad_state"))

    def _fail_stream(self, stream: Stream, error: TurbosockError) -> None:
        """End one stream for what its peer did wrong; the others go on."""
        code = error.error_code if isinstance(error, Http2Error) else INTERNAL_ERROR
        if isinstance(error, HeadTooLarge):
            code = ENHANCE_YOUR_CALM
        if isinstance(error, Http2Error):
            error.stream_id = stream.id
        if self._fresh is stream:
            self._fresh = None
        self.reset(stream, code)
        self._count_idle()
        self._count_reset()
        if stream.failure is None:
            stream.failure = error
            stream.on_news()

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        grown = stream.window - self.local.initial_window_size
        if grown > 0:
            self.grown_bytes -= min(grown, self.grown_bytes)
        if self._probed is stream:
            self._probed = None
        if stream.waits:
            self.leave_line(stream)

    # Header sections

    def _on_headers(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        """HEADERS with padding, priority, or a block that is not whole."""
        end = at + length
        if flags & PADDED:
            if not length:
                raise Http2Error("HEADERS without its padding's length", FRAME_SIZE_ERROR, code="bad_padding")
            end -= root[at]
            at += 1
        if flags & WITH_PRIORITY:
            at += PRIORITY_BYTES
        if at > end:
            raise Http2Error("HEADERS with more padding than payload", PROTOCOL_ERROR, code="bad_padding")
        if flags & END_HEADERS:
            self._on_block(stream_id, flags, bytes(root[at:end]))
            return
        self._check_headers_stream(stream_id)
        self._block_stream = stream_id
        self._block_flags = flags
        self._block_frames = 0
        self._block += root[at:end]

    def _on_continuation(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if not self._block_stream:
            raise Http2Error("CONTINUATION without a header section", PROTOCOL_ERROR, code="bad_continuation")
        self._block_frames += 1
        if len(self._block) + length > limits.MAX_HEAD_BYTES or self._block_frames > limits.MAX_HTTP2_CONTINUATIONS:
            raise Http2Error(
                f"a header section of more than {limits.MAX_HEAD_BYTES} bytes, or "
                f"{limits.MAX_HTTP2_CONTINUATIONS} CONTINUATION frames",
                ENHANCE_YOUR_CALM,
                code="head_too_large",
            )
        self._block += root[at : at + length]
        if flags & END_HEADERS:
            block = bytes(self._block)
            self._block = bytearray()
            self._block_stream = 0
            self._on_block(stream_id, self._block_flags, block)

    def _check_headers_stream(self, stream_id: int) -> None:
        if not stream_id:
            raise Http2Error("HEADERS on stream 0", PROTOCOL_ERROR, code="bad_stream")
        if self.client:
            self._check_known(HEADERS, stream_id)
        elif not stream_id & 1:
            raise Http2Error(f"HEADERS on stream {stream_id}, which is no client's", PROTOCOL_ERROR, code="bad_stream")

    def _on_block(self, stream_id: int, flags: int, data: bytes) -> None:
        """A whole header section."""
        stream = self.streams.get(stream_id)
        if stream is None:
            self._check_headers_stream(stream_id)
        # Before anything else: the table is the connection's, whatever becomes of the stream.
        block = self.decoder.decode(data)
        if stream is None:
            stream = self._opened_by_peer(stream_id)
            if stream is None:
                return
        self._on_fields(stream, block, flags & END_STREAM)

    def _on_fields(self, stream: Stream, block: FieldBlock, end: int) -> None:
        """The fields of a header section of `stream`."""
        state = _ON_RECEIVE_HEADERS[stream.state]
        if state < 0:
            self._refuse_input(stream, state, "HEADERS")
            return
        stream.state = state
        self._idle_frames = 0
        try:
            if self.client:
                told = stream.take_response_fields(block, end > 0)
            else:
                told = stream.take_request_fields(block, end > 0)
        except (Http2Error, HeadTooLarge) as error:
            self._fail_stream(stream, error)
            return
        if not told or self.streams.get(stream.id) is not stream:
            # An interim head, whose callback may have ended the stream.
            return
        if end:
            stream.state = state = _ON_RECEIVE_END[stream.state]
            if state == CLOSED:
                self._forget(stream)
                if self._resets > 0:
                    self._resets -= 1
            stream.on_news()
        else:
            self._fresh = stream

    def _opened_by_peer(self, stream_id: int) -> Stream | None:
        """The new stream of a request; None: it is over already, or refused."""
        if self.client or stream_id <= self.last_stream:
            if stream_id in self._reset_by_us:
                self._count_idle()
                return None
            raise Http2Error(f"HEADERS on stream {stream_id}, which is closed", STREAM_CLOSED, code="bad_state")
        self.last_stream = stream_id
        stream = None
        if not self.closing and len(self.streams) < self.local.max_concurrent_streams:
            assert self._accept is not None, "a server accepts streams"
            stream = self._accept(stream_id)
        if stream is None:
            self._remember_reset(stream_id)
            self._put_reset(stream_id, REFUSED_STREAM)
            self._count_reset()
            return None
        stream.id = stream_id
        self.adopt(stream)
        return stream

    # The other frames

    def _on_data(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        raise AssertionError("DATA is handled where it is received")

    def _on_priority(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if not stream_id:
            raise Http2Error("PRIORITY on stream 0", PROTOCOL_ERROR, code="bad_stream")
        self._count_idle()
        if length != PRIORITY_BYTES:
            error = Http2Error(f"PRIORITY of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
            stream = self.streams.get(stream_id)
            if stream is not None:
                self._fail_stream(stream, error)
            else:
                raise error

    def _on_rst_stream(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if length != 4:
            raise Http2Error(f"RST_STREAM of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        self._check_known(RST_STREAM, stream_id)
        self._count_idle()
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        (error_code,) = WORD.unpack_from(root, at)
        stream.state = CLOSED
        self._forget(stream)
        self._count_reset()
        if stream.ended:
            # The whole answer came: the peer wants no more of the request (RFC 9113 §8.1).
            stream.on_room()
            return
        if error_code == REFUSED_STREAM:
            stream.unprocessed = True
        stream.failure = Http2Error(
            f"the peer ended the stream with {name_of(error_code)}"
            + ("; it did not look at the request" if stream.unprocessed else "; try again, or ask for less"),
            error_code,
            code=UNPROCESSED if stream.unprocessed else "stream_reset",
            origin=Origin.REMOTE,
            stream_id=stream_id,
        )
        stream.on_news()

    def _on_settings(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if stream_id:
            raise Http2Error(f"SETTINGS on stream {stream_id}", PROTOCOL_ERROR, code="bad_stream")
        self._count_idle()
        if flags & ACK:
            if length:
                raise Http2Error(
                    "an acknowledgement of SETTINGS with a payload", FRAME_SIZE_ERROR, code="bad_frame_size"
                )
            self._settings_acknowledged()
            return
        if length % SETTING.size:
            raise Http2Error(f"SETTINGS of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        self.remote_known = True
        remote = self.remote
        for offset in range(at, at + length, SETTING.size):
            identifier, value = SETTING.unpack_from(root, offset)
            before = remote.initial_window_size
            remote.set(identifier, value)
            if identifier == INITIAL_WINDOW_SIZE:
                self._move_send_windows(value - before)
            elif identifier == HEADER_TABLE_SIZE:
                self.encoder.resize(value)
        self._put(HEADER.pack(0, 0, SETTINGS, ACK, 0))
        self.give_room()

    def _move_send_windows(self, delta: int) -> None:
        """The peer changed the first window of its streams, and with it that of the open ones (RFC 9113 §6.9.2)."""
        for stream in self.streams.values():
            stream.send_window += delta
            if stream.send_window > MAX_WINDOW:
                raise Http2Error("SETTINGS drove a window above 2^31-1", FLOW_CONTROL_ERROR, code="flow_control")

    def _settings_acknowledged(self) -> None:
        if not self._pending_settings:
            # RFC 9113 has no rule for an acknowledgement of nothing.
            return
        size = self._pending_settings.popleft()
        if size is not None:
            delta = size - self.local.initial_window_size
            self.local.initial_window_size = size
            for stream in self.streams.values():
                stream.window = max(stream.window + delta, 0)
                stream.receive_window += delta

    def _on_push_promise(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        raise Http2Error("PUSH_PROMISE, which was not allowed", PROTOCOL_ERROR, code="push_refused")

    def _on_ping(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if stream_id:
            raise Http2Error(f"PING on stream {stream_id}", PROTOCOL_ERROR, code="bad_stream")
        if length != PING_BYTES:
            raise Http2Error(f"PING of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        self._count_idle()
        data = bytes(root[at : at + PING_BYTES])
        if not flags & ACK:
            self._put(PING_FRAME.pack(0, PING_BYTES, PING, ACK, 0, data))
        elif data == _PROBE:
            self._probe_answered()
        else:
            self.pings_acknowledged += 1

    def _on_goaway(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if stream_id:
            raise Http2Error(f"GOAWAY on stream {stream_id}", PROTOCOL_ERROR, code="bad_stream")
        if length < GOAWAY_PAYLOAD.size:
            raise Http2Error(f"GOAWAY of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        last, error_code = GOAWAY_PAYLOAD.unpack_from(root, at)
        last &= MAX_STREAM_ID
        if last > self.goaway:
            raise Http2Error("a second GOAWAY with a higher stream", PROTOCOL_ERROR, code="bad_goaway")
        # The largest number says only that an end is near; so does it here.
        self.goaway = min(last, MAX_STREAM_ID - 1)
        self.goaway_code = error_code
        self._count_idle()
        for stream in [each for each in self.streams.values() if each.id > last and each.id & 1 == self.client]:
            stream.state = CLOSED
            self._forget(stream)
            stream.unprocessed = True
            stream.failure = Http2Error(
                f"the peer ends the connection ({name_of(error_code)}), and did not look at the request",
                error_code,
                code=UNPROCESSED,
                origin=Origin.REMOTE,
            )
            stream.on_news()

    def _on_window_update(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if length != 4:
            raise Http2Error(f"WINDOW_UPDATE of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        self._count_idle()
        increment = WORD.unpack_from(root, at)[0] & MAX_WINDOW
        if not stream_id:
            if not increment:
                raise Http2Error("WINDOW_UPDATE by nothing", PROTOCOL_ERROR, code="bad_window_update")
            self.send_window += increment
            if self.send_window > MAX_WINDOW:
                raise Http2Error("the connection's window above 2^31-1", FLOW_CONTROL_ERROR, code="flow_control")
        else:
            stream = self.streams.get(stream_id)
            if stream is None:
                self._check_known(WINDOW_UPDATE, stream_id)
                return
            if not increment:
                self._fail_stream(
                    stream, Http2Error("WINDOW_UPDATE by nothing", PROTOCOL_ERROR, code="bad_window_update")
                )
                return
            stream.send_window += increment
            if stream.send_window > MAX_WINDOW:
                self._fail_stream(
                    stream, Http2Error("the stream's window above 2^31-1", FLOW_CONTROL_ERROR, code="flow_control")
                )
                return
        if self._waiting:
            self.give_room()

    # The end

    def end_of_stream(self, error: TurbosockError | None = None) -> None:
        """The connection is over: every stream that is open fails, with `error` or because the peer closed."""
        for stream in list(self.streams.values()):
            stream.state = CLOSED
            stream.waits = False
            if stream.failure is None:
                stream.failure = error or ConnectionClosed(
                    "the peer closed the HTTP/2 connection before the answer was whole; try again"
                )
        streams = list(self.streams.values())
        self.streams.clear()
        self._waiting.clear()
        for stream in streams:
            stream.on_news()


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
