"""HeaderSections: HEADERS and CONTINUATION as they are received: heads and trailers (RFC 9113 §6.2, §6.10, §8.1).

A section is decoded when it is whole, and given to its stream, which a server opens for it.

Invariants: blocks are decoded in the order in which they came, whatever becomes of their streams (RFC 7541 §2.2); a
section that is not whole is bounded, in bytes and in frames, and nothing is taken but what goes on with it.

Left to others: what the fields mean (`field_block.py`), and whether a message may come now beyond its state
(`stream.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.errors import HeadTooLarge, Http2Error, TurbosockError
from turbosock.protocol.http2.block_decoder import BlockDecoder
from turbosock.protocol.http2.control_frames import ControlFrames
from turbosock.protocol.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from turbosock.protocol.http2.frames import END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITY_BYTES, WITH_PRIORITY
from turbosock.protocol.http2.stream_state import (
    CLOSED,
    CONNECTION_ERROR,
    RECEIVE_END,
    RECEIVE_HEADERS,
    STATE_NAMES,
    column,
)

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.field_block import FieldBlock
    from turbosock.protocol.http2.stream import Stream

_ON_RECEIVE_HEADERS: Final = column(RECEIVE_HEADERS)
_ON_RECEIVE_END: Final = column(RECEIVE_END)


class HeaderSections(ControlFrames):
    """See the module. Arguments are the Engine's.

    Attributes:
        decoder: of header blocks.
    """

    __slots__ = (
        "_accept",
        "_block",
        "_block_flags",
        "_block_frames",
        "_block_stream",
        "_max_block_bytes",
        "decoder",
    )

    def __init__(
        self,
        out: RingBuffer,
        *,
        client: bool,
        accept: Callable[[int], Stream | None] | None,
        initial_window: int,
        max_streams: int,
        max_list_bytes: int,
        max_fields: int,
    ) -> None:
        super().__init__(
            out, client=client, initial_window=initial_window, max_streams=max_streams, max_list_bytes=max_list_bytes
        )
        self.decoder = BlockDecoder(max_list_bytes=max_list_bytes, max_fields=max_fields)
        self._accept = accept
        # A larger one may be decoded where less is allowed, to fail its message alone.
        self._max_block_bytes = max(max_list_bytes, limits.MAX_HEAD_BYTES)
        # A header section that goes on in CONTINUATION frames.
        self._block = bytearray()
        self._block_stream = 0
        self._block_flags = 0
        self._block_frames = 0

    @property
    def unfinished_head(self) -> int:
        """The stream whose header section goes on in frames that have not come; 0 without one."""
        return self._block_stream

    def _on_headers(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        """HEADERS with padding, priority, or a block that is not whole."""
        end = at + length
        least = (1 if flags & PADDED else 0) + (PRIORITY_BYTES if flags & WITH_PRIORITY else 0)
        if length < least:
            raise Http2Error(
                f"HEADERS of {length} bytes, which its flags say has more", FRAME_SIZE_ERROR, code="bad_frame_size"
            )
        if flags & PADDED:
            end -= root[at]
        at += least
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
        if len(self._block) + length > self._max_block_bytes or self._block_frames > limits.MAX_HTTP2_CONTINUATIONS:
            raise Http2Error(
                f"a header section of more than {self._max_block_bytes} bytes, or "
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
        if self.closing:
            # Our GOAWAY has told already.
            self._remember_reset(stream_id, self.local.initial_window_size)
            self._count_idle()
            return None
        stream = None
        if len(self.streams) < self.local.max_concurrent_streams:
            stream = None if self._accept is None else self._accept(stream_id)
        if stream is None:
            self._remember_reset(stream_id, self.local.initial_window_size)
            self._put_reset(stream_id, REFUSED_STREAM)
            self._count_reset()
            return None
        stream.id = stream_id
        self.adopt(stream)
        return stream

    def _refuse_input(self, stream: Stream, outcome: int, what: str) -> None:
        """What the table says of an input that the state does not allow."""
        message = f"{what} on stream {stream.id}, which is {STATE_NAMES[stream.state]}"
        if outcome <= CONNECTION_ERROR:
            raise Http2Error(message, CONNECTION_ERROR - outcome, code="bad_state")
        self._fail_stream(stream, Http2Error(message, ~outcome, code="bad_state"))

    def end_of_stream(self, error: TurbosockError | None = None) -> None:
        # Whoever accepts has this engine: without this, only a collector would free the two.
        self._accept = None
        super().end_of_stream(error)
