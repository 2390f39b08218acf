"""ControlFrames: the frames of HTTP/2 that carry no message (RFC 9113 §6.3 to §6.9), as they are received.

They move windows, settings and the end of things. Those that move nothing are counted: a peer that goes on with them
is told to be calm, and the connection ends.

Invariants: what a stream's peer did wrong fails that stream alone, whose hooks are told, after its RST_STREAM was put
into the output; a failure is set before anything else can break off.

Left to others: messages (`header_sections.py`, `engine.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.errors import ConnectionClosed, HeadTooLarge, Http2Error, Origin, TurbosockError
from turbosock.protocol.http2.error_codes import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    name_of,
)
from turbosock.protocol.http2.frames import (
    ACK,
    GOAWAY_PAYLOAD,
    HEADER,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PING,
    PING_BYTES,
    PING_FRAME,
    PRIORITY_BYTES,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    WORD,
    kind_name,
)
from turbosock.protocol.http2.sending_half import PROBE, SendingHalf
from turbosock.protocol.http2.settings import ENABLE_PUSH, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE
from turbosock.protocol.http2.stream import UNPROCESSED
from turbosock.protocol.http2.stream_state import CLOSED, HALF_CLOSED_LOCAL

if TYPE_CHECKING:
    from turbosock.buffers import RingBuffer
    from turbosock.protocol.http2.stream import Stream


class ControlFrames(SendingHalf):
    """See the module. Arguments are SendingHalf's.

    Attributes:
        remote_known: whether the peer's settings came.
        goaway_code: what the peer gave as the reason for its end.
        pings_acknowledged: PINGs of ours that were answered.
    """

    __slots__ = ("_fresh", "_room_came", "goaway_code", "pings_acknowledged", "remote_known")

    def __init__(
        self, out: RingBuffer, *, client: bool, initial_window: int, max_streams: int, max_list_bytes: int
    ) -> None:
        super().__init__(
            out, client=client, initial_window=initial_window, max_streams=max_streams, max_list_bytes=max_list_bytes
        )
        self.remote_known = False
        self.goaway_code = NO_ERROR
        self.pings_acknowledged = 0
        # Whether this pass over the frames opened a window. Those that wait for one are asked once, at its end: asked
        # with each of a thousand small updates, they would cost more than what they send.
        self._room_came = False
        # A stream that got its head in the last frame: it is told with what the next frame brings.
        self._fresh: Stream | None = None

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
        answered = stream.state == HALF_CLOSED_LOCAL
        stream.state = CLOSED
        self._forget(stream)
        if stream.ended and self.client:
            # The whole answer came: the peer wants no more of the request (RFC 9113 §8.1).
            stream.on_room()
            return
        # Whoever has answered has looked at the request, whatever he says.
        stream.unprocessed = error_code == REFUSED_STREAM and stream.head is None
        stream.failure = Http2Error(
            f"the peer ended the stream with {name_of(error_code)}"
            + ("; it did not look at the request" if stream.unprocessed else "; try again, or ask for less"),
            error_code,
            code=UNPROCESSED if stream.unprocessed else "stream_reset",
            origin=Origin.REMOTE,
            stream_id=stream_id,
        )
        stream.on_news()
        if not answered:
            # Who has its answer may well leave the rest of its request out.
            self._count_reset()

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
        first = highest = remote.initial_window_size
        for offset in range(at, at + length, SETTING.size):
            identifier, value = SETTING.unpack_from(root, offset)
            if identifier == ENABLE_PUSH and value and self.client:
                raise Http2Error("a server's SETTINGS_ENABLE_PUSH is not 0", PROTOCOL_ERROR, code="bad_settings")
            remote.set(identifier, value)
            if identifier == INITIAL_WINDOW_SIZE:
                highest = max(highest, value)
            elif identifier == HEADER_TABLE_SIZE:
                self.encoder.resize(value)
        if remote.initial_window_size != first or highest != first:
            self._move_send_windows(remote.initial_window_size - first, highest - first)
        self._put(HEADER.pack(0, 0, SETTINGS, ACK, 0))
        self._room_came = True

    def _move_send_windows(self, delta: int, highest: int) -> None:
        """The peer changed the first window of its streams, and with it that of the open ones (RFC 9113 §6.9.2).

        A frame may say it thousands of times: they are moved once, by `delta`, and were up to `highest` in between.
        """
        for stream in self.streams.values():
            if stream.send_window + highest > MAX_WINDOW:
                raise Http2Error("SETTINGS drove a window above 2^31-1", FLOW_CONTROL_ERROR, code="flow_control")
            stream.send_window += delta

    def _settings_acknowledged(self) -> None:
        if not self._pending_settings:
            # RFC 9113 has no rule for an acknowledgement of nothing.
            return
        size = self._pending_settings.popleft()
        if size is not None:
            self._probed = None
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
        elif data == PROBE:
            self._probe_answered()
        else:
            self.pings_acknowledged += 1

    def _on_goaway(self, flags: int, stream_id: int, root: memoryview, at: int, length: int) -> None:
        if stream_id:
            raise Http2Error(f"GOAWAY on stream {stream_id}", PROTOCOL_ERROR, code="bad_stream")
        if length < GOAWAY_PAYLOAD.size:
            raise Http2Error(f"GOAWAY of {length} bytes", FRAME_SIZE_ERROR, code="bad_frame_size")
        last, error_code = GOAWAY_PAYLOAD.unpack_from(root, at)
        # The largest number says only that an end is near; so does the one before it, which is not "none was said".
        last = min(last & MAX_STREAM_ID, MAX_STREAM_ID - 1)
        if last > self.goaway:
            raise Http2Error("a second GOAWAY with a higher stream", PROTOCOL_ERROR, code="bad_goaway")
        self.goaway = last
        self.goaway_code = error_code
        self._count_idle()
        for number in [each for each in self.streams if each > last and each & 1 == self.client]:
            stream = self.streams.get(number)
            if stream is None:
                # What another one was told ended it.
                continue
            stream.state = CLOSED
            self._forget(stream)
            if stream.ended:
                stream.on_room()
                continue
            # As with RST_STREAM: an answer shows that it was looked at.
            stream.unprocessed = stream.head is None
            stream.failure = Http2Error(
                f"the peer ends the connection ({name_of(error_code)}), and "
                + ("did not look at the request" if stream.unprocessed else "gives up the answer it began; try again"),
                error_code,
                code=UNPROCESSED if stream.unprocessed else "stream_reset",
                origin=Origin.REMOTE,
                stream_id=number,
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
        self._room_came = True

    def _check_known(self, kind: int, stream_id: int) -> None:
        """Refuse a frame of a stream that nobody has opened."""
        if not stream_id:
            raise Http2Error(f"{kind_name(kind)} on stream 0", PROTOCOL_ERROR, code="bad_stream")
        ours = bool(stream_id & 1) is self.client
        if stream_id >= self._next_id if ours else stream_id > self.last_stream:
            raise Http2Error(
                f"{kind_name(kind)} on stream {stream_id}, which is idle", PROTOCOL_ERROR, code="bad_stream"
            )

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
        if stream.failure is None:
            stream.failure = error
            stream.on_news()
        self._count_idle()
        self._count_reset()

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

    def end_of_stream(self, error: TurbosockError | None = None) -> None:
        """The connection is over: every stream that is open fails, with `error` or because the peer closed."""
        streams = list(self.streams.values())
        # They may not have been opened yet, and find out that they cannot be.
        waiting = [stream for stream in self._waiting if self.streams.get(stream.id) is not stream]
        self.streams.clear()
        self._waiting.clear()
        self._fresh = None
        for stream in streams:
            stream.state = CLOSED
            stream.waits = False
            # A client whose answer is whole has what it wanted.
            if stream.failure is None and not (stream.ended and self.client):
                stream.failure = (
                    ConnectionClosed("the peer closed the HTTP/2 connection before the answer was whole; try again")
                    if error is None
                    else error.copied()
                )
        for stream in waiting:
            stream.waits = False
        for stream in streams:
            if stream.failure is None:
                stream.on_room()
            else:
                stream.on_news()
        for stream in waiting:
            stream.on_room()
