"""What one side says: streams and their numbers, windows both ways, resets, and windows that grow with the path."""

from __future__ import annotations

from collections import deque

import pytest

from support import http2
from support.http2 import REQUEST, UPLOAD, Frame, Recorder, Side
from turbosock import limits
from turbosock.errors import StateError
from turbosock.protocol.http2.error_codes import CANCEL, FLOW_CONTROL_ERROR
from turbosock.protocol.http2.frames import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_STREAM_ID,
    MAX_WINDOW,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.sending_half import PROBE
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE
from turbosock.protocol.http2.stream_state import CLOSED

KIB = 1024


def test_streams_get_odd_numbers_in_order() -> None:
    side = Side(client=True)
    assert [side.request().id for _ in range(3)] == [1, 3, 5]
    assert [(frame.kind, frame.flags, frame.stream) for frame in side.frames()] == [
        (HEADERS, END_HEADERS | END_STREAM, number) for number in (1, 3, 5)
    ]


def test_numbers_run_out_and_the_last_one_serves() -> None:
    side = Side(client=True)
    side.engine._next_id = MAX_STREAM_ID
    assert side.request().id == MAX_STREAM_ID
    side.take()
    side.feed(http2.headers(MAX_STREAM_ID, end=True))
    assert side.opened[MAX_STREAM_ID].ended and side.engine.exhausted
    with pytest.raises(StateError, match="no more streams"):
        side.engine.open(Recorder())


@pytest.mark.parametrize("ending", ["ours", "theirs", "graceful"])
def test_connection_that_ends_opens_no_stream(ending: str) -> None:
    side = Side(client=True)
    if ending == "ours":
        side.engine.close()
    else:
        side.feed(http2.goaway(MAX_STREAM_ID if ending == "graceful" else 0))
    assert side.engine.exhausted
    with pytest.raises(StateError):
        side.engine.open(Recorder())


def test_block_of_a_frames_size_is_one_frame_and_one_byte_more_is_two() -> None:
    side = Side(client=True)
    fields = (*REQUEST, (b"x", b""))
    size = 16_384 - len(http2.block(fields)) - 2
    side.request((*REQUEST, (b"x", b"v" * size)))
    (frame,) = side.frames()
    assert len(frame.payload) == 16_384 and frame.flags == END_HEADERS | END_STREAM
    side.request((*REQUEST, (b"x", b"v" * (size + 1))))
    first, second = side.frames()
    assert (len(first.payload), first.flags, len(second.payload), second.flags) == (16_384, END_STREAM, 1, END_HEADERS)


def test_data_keeps_to_the_smaller_of_both_windows() -> None:
    side = Side(client=True)
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, 50_000)))
    one, two = side.request(UPLOAD, end=False), side.request(UPLOAD, end=False)
    view = memoryview(bytes(100_000))

    def pour(stream: Recorder) -> int:
        total = 0
        while (count := side.engine.send_data(stream, view, False)) >= 0:
            total += count
            side.take()
        return total

    assert pour(one) == 50_000
    assert pour(two) == DEFAULT_WINDOW - 50_000
    side.feed(http2.window_update(1, 10))
    assert pour(one) == 0
    side.feed(http2.window_update(0, 15))
    assert (pour(one), pour(two)) == (10, 5)
    assert (one.send_window, two.send_window, side.engine.send_window) == (0, 50_000 - 15_535 - 5, 0)


def test_end_goes_with_the_last_byte_only() -> None:
    side = Side(client=True)
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, 3)))
    stream = side.request(UPLOAD, end=False)
    side.take()
    assert side.engine.send_data(stream, memoryview(b"12345"), True) == 3
    side.feed(http2.window_update(1, 2))
    assert side.engine.send_data(stream, memoryview(b"45"), True) == 2
    assert side.frames()[-1] == Frame(DATA, END_STREAM, 1, b"45")


@pytest.mark.parametrize("stream_id", [0, 1])
def test_window_that_the_peer_drives_above_its_bound_is_an_error_of_its_scope(stream_id: int) -> None:
    side = Side(client=True)
    stream, other = side.request(UPLOAD, end=False), side.request()
    side.take()
    assert side.feed(http2.window_update(stream_id, MAX_WINDOW - DEFAULT_WINDOW)) == []
    (frame,) = side.feed(http2.window_update(stream_id, 1))
    assert frame.code == FLOW_CONTROL_ERROR
    if stream_id:
        assert (frame.kind, frame.stream, stream.closed) == (RST_STREAM, 1, True)
        side.feed(http2.headers(3, end=True))
        assert other.ended
    else:
        assert side.error is not None


def test_reserved_bit_of_an_increment_is_ignored() -> None:
    side = Side(client=True)
    side.feed(http2.window_update(0, 5 | 1 << 31))
    assert side.engine.send_window == DEFAULT_WINDOW + 5


def test_data_on_a_stream_that_is_over_is_our_own_mistake() -> None:
    side = Side(client=True)
    stream = side.request(UPLOAD, end=False)
    side.engine.reset(stream)
    with pytest.raises(AssertionError):
        side.engine.send_data(stream, memoryview(b"x"), False)
    with pytest.raises(AssertionError):
        side.engine.send_headers(stream, b"", True)


def test_reset_ends_a_stream_once() -> None:
    side = Side(client=True)
    stream = side.request()
    side.take()
    side.engine.reset(stream)
    side.engine.reset(stream)
    (frame,) = side.frames()
    assert (frame.kind, frame.stream, frame.code) == (RST_STREAM, 1, CANCEL)
    assert stream.closed and not side.engine.streams and stream.news == 0


def test_reset_of_a_stream_that_has_sent_nothing_says_nothing() -> None:
    side = Side(client=True)
    stream = Recorder()
    side.engine.open(stream)
    side.engine.reset(stream)
    # An RST_STREAM of an idle stream would break the connection (RFC 9113 §6.4).
    assert side.take() == b"" and stream.state == CLOSED and not side.engine.streams


def test_reset_of_a_stream_that_was_never_opened_does_nothing() -> None:
    side = Side(client=True)
    side.engine.reset(Recorder())
    assert side.take() == b""


def test_remembered_resets_are_bounded() -> None:
    side = Side(client=True)
    for _ in range(limits.MAX_HTTP2_REMEMBERED_RESETS + 10):
        side.engine.reset(side.request())
        side.take()
    engine = side.engine
    assert len(engine._reset_by_us) == len(engine._reset_order) == limits.MAX_HTTP2_REMEMBERED_RESETS
    assert 1 not in engine._reset_by_us and 21 in engine._reset_by_us


def test_ping_of_ours_is_counted_when_it_is_answered() -> None:
    side = Side(client=True)
    side.engine.ping(b"abcdefgh")
    (frame,) = side.frames()
    assert frame == Frame(PING, 0, 0, b"abcdefgh")
    side.feed(http2.ping(b"abcdefgh", ack=True))
    assert side.engine.pings_acknowledged == 1


@pytest.mark.parametrize("end", [False, True])
def test_frame_of_nothing_goes_out_where_the_window_is_negative(end: bool) -> None:
    side = Side(client=True)
    stream = side.request(UPLOAD, end=False)
    side.take()
    stream.send_window = -5
    assert side.engine.send_data(stream, memoryview(b""), end) == 0
    assert side.take() == http2.data(stream.id, end=end)
    assert side.engine.outgoing() is None


# Windows that grow


class Path:
    """A download over a path in virtual time: so many bytes in each round trip, of which the reader takes some.

    The server sends whatever the windows and `bytes_per_trip` allow; what it sends arrives half a round trip later in
    pieces, and what the client says reaches it as much later again.

    Attributes:
        peak: the largest window of the stream so far.
    """

    def __init__(self, bytes_per_trip: int, *, window: int = 64 * KIB, streams: int = 1) -> None:
        self.side = Side(client=True, initial_window=window)
        self.streams = [self.side.request() for _ in range(streams)]
        self.side.feed(b"".join([http2.headers(stream.id) for stream in self.streams]))
        self.bytes_per_trip = bytes_per_trip
        self.credit = {stream.id: window for stream in self.streams}
        self.answers: deque[bytes] = deque()
        self.unread = {stream.id: 0 for stream in self.streams}
        self.probes = 0
        self.peak = window
        self._hear(self.side.frames())

    def _hear(self, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.kind == WINDOW_UPDATE and frame.stream in self.credit:
                self.credit[frame.stream] += frame.word
            elif frame.kind == PING:
                assert frame == Frame(PING, 0, 0, PROBE)
                self.probes += 1
                self.answers.append(http2.ping(frame.payload, ack=True))

    def trip(self, *reads: int) -> int:
        """One round trip, in which the readers take so many bytes each at most, or all; how many came."""
        said: list[Frame] = []
        moved = 0
        # The answers to what was asked a round trip ago come with the first of what was sent since.
        answers = b"".join(self.answers)
        self.answers.clear()
        left = self.bytes_per_trip
        share = dict(zip(self.credit, reads or [MAX_WINDOW] * len(self.credit), strict=True))
        progress = True
        while left and progress:
            progress = False
            for stream in self.streams:
                count = min(left, self.credit[stream.id], 4_096)
                if count <= 0:
                    continue
                progress = True
                left -= count
                moved += count
                self.credit[stream.id] -= count
                said += self.side.feed(http2.data(stream.id, bytes(count)))
                self.unread[stream.id] += count
                taken = min(self.unread[stream.id], share[stream.id])
                if taken:
                    share[stream.id] -= taken
                    self.unread[stream.id] -= taken
                    self.side.engine.consumed(stream, taken)
                    said += self.side.frames()
        said += self.side.feed(answers)
        # A reader that is behind goes on with what lies there.
        for stream in self.streams:
            taken = min(self.unread[stream.id], share[stream.id])
            if taken:
                self.unread[stream.id] -= taken
                self.side.engine.consumed(stream, taken)
                said += self.side.frames()
            self.peak = max(self.peak, stream.window)
        self._hear(said)
        assert self.side.error is None and all(stream.failure is None for stream in self.streams)
        return moved


def test_window_grows_until_the_path_is_full() -> None:
    path = Path(1_000 * KIB)
    first = path.trip()
    for _ in range(30):
        last = path.trip()
    assert first == 64 * KIB and last == 1_000 * KIB
    assert 1_000 * KIB <= path.peak <= 4_000 * KIB


def test_window_does_not_grow_where_the_path_holds_less() -> None:
    path = Path(20 * KIB)
    for _ in range(50):
        path.trip()
    assert path.peak == 64 * KIB and path.probes > 1


def test_window_does_not_grow_for_a_slow_reader() -> None:
    path = Path(10_000 * KIB)
    for _ in range(50):
        path.trip(10 * KIB)
    assert path.peak == 64 * KIB
    assert path.streams[0].receive_window + path.unread[1] + path.streams[0].owed == 64 * KIB


def test_window_does_not_grow_for_a_slow_reader_beside_a_fast_one() -> None:
    path = Path(2_000 * KIB, streams=2)
    slow, fast = path.streams
    for _ in range(50):
        path.trip(10 * KIB, MAX_WINDOW)
    assert slow.window == 64 * KIB and fast.window > 1_000 * KIB


def test_window_never_grows_beyond_its_bounds_and_is_given_back() -> None:
    path = Path(200 * limits.MIB, streams=4)
    for _ in range(40):
        path.trip()
        engine = path.side.engine
        grown = sum(stream.window - 64 * KIB for stream in path.streams)
        assert grown == engine.grown_bytes <= limits.MAX_HTTP2_GROWTH_BYTES
        if grown == limits.MAX_HTTP2_GROWTH_BYTES:
            break
    assert path.peak <= limits.MAX_HTTP2_STREAM_WINDOW_BYTES
    assert engine.grown_bytes > limits.MAX_HTTP2_STREAM_WINDOW_BYTES
    engine.reset(path.streams[0])
    path.side.feed(http2.data(path.streams[1].id, end=True))
    assert engine.grown_bytes == sum(stream.window - 64 * KIB for stream in path.streams[2:])
    path.side.feed(b"".join([http2.reset(stream.id) for stream in path.streams[2:]]))
    assert engine.grown_bytes == 0


def test_one_probe_is_under_way_at_a_time_also_when_its_stream_has_ended() -> None:
    side = Side(client=True, initial_window=1_000)
    one, two = side.request(), side.request()
    side.feed(http2.headers(1) + http2.headers(3) + http2.data(1, bytes(600)) + http2.data(3, bytes(1_000)))
    side.take()
    side.engine.consumed(one, 600)
    assert [frame.kind for frame in side.frames()] == [WINDOW_UPDATE, PING]
    side.feed(http2.data(1, end=True))
    side.engine.consumed(two, 500)
    assert [frame.kind for frame in side.frames()] == [WINDOW_UPDATE]
    # The answer is to a question about a stream that is over: it says nothing of the other one.
    assert side.feed(http2.ping(PROBE, ack=True)) == []
    side.engine.consumed(two, 500)
    assert [frame.kind for frame in side.frames()] == [WINDOW_UPDATE, PING]
    side.feed(http2.data(3, bytes(1_000)))
    side.engine.consumed(two, 1_000)
    side.feed(http2.ping(PROBE, ack=True))
    assert two.window == 4_000


def test_window_does_not_grow_where_more_than_half_of_it_is_unread() -> None:
    side = Side(client=True, initial_window=1_000)
    stream = side.request()
    side.feed(http2.headers(1) + http2.data(1, bytes(1_000)))
    side.engine.consumed(stream, 500)
    side.feed(http2.data(1, bytes(500)))
    side.feed(http2.ping(PROBE, ack=True))
    assert stream.window == 1_000


def test_answer_to_a_probe_that_nobody_sent_changes_nothing() -> None:
    side = Side(client=True)
    side.request()
    side.take()
    assert side.feed(http2.ping(PROBE, ack=True) * 3) == []
    assert side.engine.pings_acknowledged == 0


def test_probe_during_which_our_settings_moved_the_windows_says_nothing() -> None:
    side = Side(client=True, initial_window=1_000)
    stream = side.request()
    side.feed(http2.headers(1) + http2.data(1, bytes(500)))
    side.engine.consumed(stream, 500)
    assert PING in [frame.kind for frame in side.frames()]
    side.engine.change_initial_window(100)
    side.take()
    assert side.feed(http2.frame(4, 1, 0) + http2.ping(PROBE, ack=True)) == []
    assert stream.window == 100
