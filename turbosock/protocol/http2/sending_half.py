"""SendingHalf: what one side of an HTTP/2 connection says (RFC 9113 §5, §6), and the account of its streams.

Streams are opened, adopted and forgotten here; headers, data, resets and credit for what was read are put into the
output. What cannot go now, by room or by a window, is refused, and asked for again when the stream's turn has come.

Invariants: `streams` holds those that are not closed; no stream sends beyond its window, or the connection's; header
blocks are sent in the order in which they were encoded (RFC 7541 §2.2), and nothing stands inside a header section; a
peer is never given more credit than the limits allow, and none to a stream that nobody reads.

Left to others: what the peer says (`control_frames.py`, `engine.py`).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import StateError
from turbosock.protocol.http2.block_encoder import BlockEncoder
from turbosock.protocol.http2.error_codes import (
    CANCEL,
    NO_ERROR,
)
from turbosock.protocol.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GOAWAY_FRAME,
    HEADER,
    HEADER_BYTES,
    HEADERS,
    MAX_STREAM_ID,
    PING,
    PING_BYTES,
    PING_FRAME,
    PREFACE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    WORD_FRAME,
)
from turbosock.protocol.http2.output import Output
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE, Settings
from turbosock.protocol.http2.stream_state import CLOSED, IDLE, SEND_DATA, SEND_END, SEND_HEADERS, column

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.stream import Stream

_ON_SEND_HEADERS: Final = column(SEND_HEADERS)
_ON_SEND_DATA: Final = column(SEND_DATA)
_ON_SEND_END: Final = column(SEND_END)

# The payload of the PINGs that measure the path.
PROBE: Final = b"measure!"

# Blocks up to here are packed by a remembered layout, of which there are so many at most.
_MAX_PACKED_BYTES: Final = 1024

# Packs a HEADERS frame whole, by the length of its block: one call, and no temporary. Lengths are few.
_packers: dict[int, Callable[..., None]] = {}


def _headers_packer(length: int) -> Callable[..., None]:
    packer = struct.Struct(f">BHBBL{length}s").pack_into
    if length <= _MAX_PACKED_BYTES:
        _packers[length] = packer
    return packer


class SendingHalf(Output):
    """See the module.

    Args:
        out: an empty ring that frames are written into.
        client: which side this is.
        initial_window: the first window of each stream.
        max_streams: for a server: that its client may have open.
        max_list_bytes: of a header section, as the peer is told.

    Attributes:
        streams: those that are not closed, by id.
        local, remote: the settings of this side, and of the peer.
        encoder: of header blocks.
        send_window: of the connection.
        last_stream: the highest id that the peer opened.
        goaway: the last stream that the peer will look at, once it said so; else MAX_STREAM_ID.
        closing: whether we have said that we end.
        grown_bytes: by how much the windows of open streams have grown beyond the first ones.
    """

    __slots__ = (
        "_goodbye_stream",
        "_idle_frames",
        "_next_id",
        "_pending_settings",
        "_path_bytes",
        "_probe_begin",
        "_probe_sent",
        "_probed",
        "_reset_by_us",
        "_reset_order",
        "_resets",
        "_stray_bytes",
        "client",
        "closing",
        "encoder",
        "goaway",
        "grown_bytes",
        "last_stream",
        "local",
        "remote",
        "send_window",
        "streams",
    )

    def __init__(
        self, out: RingBuffer, *, client: bool, initial_window: int, max_streams: int, max_list_bytes: int
    ) -> None:
        super().__init__(out)
        self.client = client
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
        self.encoder = BlockEncoder()
        self.send_window = DEFAULT_WINDOW
        self.last_stream = 0
        self.goaway = MAX_STREAM_ID
        self.closing = False
        self.grown_bytes = 0
        self._next_id = 1 if client else 2
        # Settings of ours that the peer has not acknowledged, oldest first.
        self._pending_settings: deque[int | None] = deque()
        # What our GOAWAY named, which a second one may not exceed; -1 before the first.
        self._goodbye_stream = -1
        # Streams that a client gave up, less those that ended well.
        self._resets = 0
        # Frames in a row that moved nothing.
        self._idle_frames = 0
        # Streams that we reset: frames of theirs may still be on their way.
        self._reset_by_us: set[int] = set()
        self._reset_order: deque[int] = deque()
        # What their peer may still have sent by the windows that they had.
        self._stray_bytes = 0
        # Whether a PING that measures the path is under way; for which stream, unless that has ended meanwhile; and
        # what that stream's window was then, with the credit since.
        self._probe_sent = False
        self._probed: Stream | None = None
        # What this connection's path was found to hold, doubled; a later stream need not find out again.
        self._path_bytes = 0
        self._probe_begin = 0

    def begin(self) -> None:
        """Say hello: the preface, our settings, and the connection's whole window (RFC 9113 §3.4)."""
        payload = self.local.payload()
        update = WORD_FRAME.pack(
            0, 4, WINDOW_UPDATE, 0, 0, limits.HTTP2_CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW
        )  # fmt: skip
        hello = HEADER.pack(0, len(payload), SETTINGS, 0, 0) + payload + update
        self.out.write((PREFACE + hello) if self.client else hello)
        first = self.local.initial_window_size
        if not self.client and first < DEFAULT_WINDOW:
            # Its client may send by the usual windows until it has read that (RFC 9113 §6.9.3).
            self.local.initial_window_size = DEFAULT_WINDOW
            self._pending_settings.append(first)
        else:
            self._pending_settings.append(None)

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
        if at + length > self._headers_end or length > self.remote.max_frame_size or self._large:
            self._send_long_headers(stream, block, end)
        else:
            out.length += length + HEADER_BYTES
            packer = _packers[length] if length in _packers else _headers_packer(length)
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
        assert _ON_SEND_DATA[stream.state] >= 0, "data is sent on open streams"
        out = self.out
        room = out.capacity - out.length - limits.HTTP2_REPLY_BYTES - HEADER_BYTES
        if self.pinned:
            room -= out.start
        if self._large or room <= 0:
            return -1
        asked = len(view)
        count = 0
        if asked:
            # A window may be negative (RFC 9113 §6.9.2).
            count = min(asked, room, stream.send_window, self.send_window, self.remote.max_frame_size)
            if count <= 0:
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
            if self._resets > 0:
                self._resets -= 1

    def reset(self, stream: Stream, error_code: int = CANCEL) -> None:
        """End a stream at once; what still comes for it is ignored. Nothing where it is over, or was never open."""
        if stream.state == CLOSED or self.streams.get(stream.id) is not stream:
            return
        opened = stream.state != IDLE
        stream.state = CLOSED
        self._forget(stream)
        if opened:
            self._remember_reset(stream.id, 0 if stream.ended else stream.receive_window)
            self._put_reset(stream.id, error_code)

    def _remember_reset(self, stream_id: int, credit: int) -> None:
        """Frames of this stream may still come; `credit`: DATA of so many bytes."""
        if stream_id not in self._reset_by_us:
            self._stray_bytes += max(credit, 0)
            self._reset_by_us.add(stream_id)
            self._reset_order.append(stream_id)
            if len(self._reset_order) > limits.MAX_HTTP2_REMEMBERED_RESETS:
                self._reset_by_us.discard(self._reset_order.popleft())

    def _put_reset(self, stream_id: int, error_code: int) -> None:
        self._put(WORD_FRAME.pack(0, 4, RST_STREAM, 0, stream_id, error_code))

    def _forget(self, stream: Stream) -> None:
        if stream.id in self.streams:
            del self.streams[stream.id]
        if stream.window != self.local.initial_window_size:
            grown = stream.window - self.local.initial_window_size
            if grown > 0:
                self.grown_bytes -= min(grown, self.grown_bytes)
        if self._probed is stream:
            self._probed = None
        if stream.waits:
            self.leave_line(stream)

    def consumed(self, stream: Stream, count: int) -> None:
        """The reader has taken `count` bytes of payload: their memory is free, and the peer may send as many more."""
        owed = stream.owed = stream.owed + count
        if stream.ended or stream.state == CLOSED:
            return
        if owed >= stream.window >> 1 and owed:
            stream.owed = 0
            stream.receive_window += owed
            self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, stream.id, owed))
            if self._probed is stream:
                self._probe_begin += owed
            elif not self._probe_sent:
                self._probe(stream)
        elif owed and not stream.measured and not self._probe_sent and not 0 <= stream.remaining <= stream.window:
            # The beginning of something long: each round trip at the first window is a slow one.
            if self._path_bytes > stream.window:
                self._grow(stream, self._path_bytes)
            self._probe(stream)

    def _probe(self, stream: Stream) -> None:
        """Measure what the path holds: what the stream gets between a PING and its answer is bandwidth × delay."""
        if stream.window < limits.MAX_HTTP2_STREAM_WINDOW_BYTES:
            self._probe_sent = True
            self._probed = stream
            stream.measured = True
            self._probe_begin = stream.receive_window
            self._put(PING_FRAME.pack(0, PING_BYTES, PING, 0, 0, PROBE))

    def _probe_answered(self) -> None:
        """Let the peer send four times what the stream got in a round trip, where the window was what held it up.

        Then it is measured again: until the path is full, each round trip shows no more than that it holds the window.
        """
        stream = self._probed
        self._probe_sent = False
        self._probed = None
        if stream is None or stream.ended:
            return
        held = self._probe_begin - stream.receive_window
        if held * 3 >= stream.window * 2 and self._grow(stream, 4 * held):
            self._path_bytes = max(self._path_bytes, 2 * held)
            self._probe(stream)

    def _grow(self, stream: Stream, window: int) -> bool:
        """Let the peer send more before it is read, unless the reader is behind already, or the bounds are reached."""
        unread = stream.window - stream.receive_window - stream.owed
        more = min(window, limits.MAX_HTTP2_STREAM_WINDOW_BYTES) - stream.window
        more = min(more, limits.MAX_HTTP2_GROWTH_BYTES - self.grown_bytes)
        if more <= 0 or unread * 2 > stream.window:
            return False
        self.grown_bytes += more
        stream.window += more
        stream.receive_window += more
        self._put(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, stream.id, more))
        return True

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
        if self._goodbye_stream < 0:
            self._goodbye_stream = self.last_stream
        self._put(GOAWAY_FRAME.pack(0, 8, GOAWAY, 0, 0, self._goodbye_stream, error_code))
