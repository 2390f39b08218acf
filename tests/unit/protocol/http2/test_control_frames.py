"""What a server's engine does about control frames, where it differs from a client's: resets, goodbyes, windows."""

from __future__ import annotations

import pytest

from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import Http2Error
from turbosock.protocol.http2.block_encoder import BlockEncoder
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.error_codes import CANCEL, ENHANCE_YOUR_CALM
from turbosock.protocol.http2.frames import (
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GOAWAY_FRAME,
    HEADER,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WORD_FRAME,
)
from turbosock.protocol.http2.stream import Stream

_FIELDS = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/"))


class Told(Stream):
    """A stream that counts what it was told."""

    __slots__ = ("news", "rooms")

    def __init__(self) -> None:
        super().__init__()
        self.news = 0
        self.rooms = 0

    def on_news(self) -> None:
        self.news += 1

    def on_room(self) -> None:
        self.rooms += 1


class Served:
    """A server's engine, and what a client sends it."""

    def __init__(self) -> None:
        self.streams: list[Told] = []
        self.pausing = False
        self.engine = Engine(RingBuffer(limits.RECEIVE_RING_BYTES), client=False, accept=self._accept)
        self.engine.begin()
        self.ring = RingBuffer(limits.RECEIVE_RING_BYTES)
        self._block = BlockEncoder().encode(_FIELDS)
        self.receive(PREFACE + HEADER.pack(0, 0, SETTINGS, 0, 0))

    def _accept(self, stream_id: int) -> Stream:
        stream = Told()
        self.streams.append(stream)
        self.engine.paused = self.pausing
        return stream

    def receive(self, data: bytes) -> None:
        self.ring.write(data)
        self.engine.receive(self.ring)

    def headers(self, stream_id: int) -> bytes:
        return HEADER.pack(0, len(self._block), HEADERS, END_HEADERS | END_STREAM, stream_id) + self._block

    def answer(self, stream: Stream) -> None:
        engine = self.engine
        engine.send_headers(stream, engine.encoder.encode(((b":status", b"204"),)), True)

    def output(self) -> bytes:
        out = self.engine.out
        data = bytes(out.readable())
        out.clear()
        return data


def reset(stream_id: int) -> bytes:
    return WORD_FRAME.pack(0, 4, RST_STREAM, 0, stream_id, CANCEL)


def test_request_that_is_whole_and_given_up_is_told_as_a_failure() -> None:
    served = Served()
    served.receive(served.headers(1) + reset(1))
    (stream,) = served.streams
    assert isinstance(stream.failure, Http2Error) and stream.failure.error_code == CANCEL
    assert (stream.news, stream.rooms) == (2, 0)


def test_requests_given_up_beyond_the_bound_end_the_connection_and_each_is_told() -> None:
    served = Served()
    for number in range(1, 2 * limits.MAX_HTTP2_RESETS, 2):
        served.receive(served.headers(number) + reset(number))
        served.output()
    with pytest.raises(Http2Error) as raised:
        served.receive(served.headers(1001) + reset(1001))
    assert raised.value.error_code == ENHANCE_YOUR_CALM
    assert len(served.streams) == limits.MAX_HTTP2_RESETS + 1
    assert all(stream.failure is not None and stream.news == 2 for stream in served.streams)


def test_requests_that_end_well_pay_for_those_that_were_given_up() -> None:
    served = Served()
    for number in range(1, 8 * limits.MAX_HTTP2_RESETS, 4):
        served.receive(served.headers(number) + reset(number))
        served.receive(served.headers(number + 2))
        served.answer(served.streams[-1])
        served.output()
    assert len(served.streams) == 4 * limits.MAX_HTTP2_RESETS


def test_goodbye_names_one_stream_and_later_requests_are_left_alone() -> None:
    served = Served()
    served.receive(served.headers(1))
    engine = served.engine
    served.output()
    engine.close()
    assert served.output() == GOAWAY_FRAME.pack(0, 8, GOAWAY, 0, 0, 1, 0)
    served.receive(served.headers(3))
    assert len(served.streams) == 1 and served.output() == b""
    engine.close(ENHANCE_YOUR_CALM)
    assert served.output() == GOAWAY_FRAME.pack(0, 8, GOAWAY, 0, 0, 1, ENHANCE_YOUR_CALM)


def test_many_updates_of_windows_ask_each_waiting_stream_once() -> None:
    served = Served()
    served.receive(served.headers(1) + served.headers(3))
    for stream in served.streams:
        served.engine.wait_for_room(stream)
    served.receive(b"".join(WORD_FRAME.pack(0, 4, WINDOW_UPDATE, 0, i, 1) for i in (0, 1, 3) * 200))
    assert [stream.rooms for stream in served.streams] == [1, 1]
    assert served.streams[0].send_window == DEFAULT_WINDOW + 200


def test_hook_may_end_the_pass_and_the_next_one_goes_on() -> None:
    served = Served()
    engine = served.engine
    served.pausing = True
    served.receive(served.headers(1) + served.headers(3))
    assert len(served.streams) == 1
    served.receive(b"")
    assert len(served.streams) == 1
    engine.paused = False
    served.receive(b"")
    assert len(served.streams) == 2 and not served.ring.length
