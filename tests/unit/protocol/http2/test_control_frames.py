"""What each side's engine does about control frames: resets, goodbyes, windows, PING and PRIORITY."""

from __future__ import annotations

import pytest

from support import http2
from support.http2 import Recorder, Side
from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import Http2Error, Origin
from turbosock.protocol.http2.block_encoder import BlockEncoder
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.error_codes import (
    CANCEL,
    ENHANCE_YOUR_CALM,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
)
from turbosock.protocol.http2.frames import (
    ACK,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    GOAWAY_FRAME,
    HEADER,
    HEADERS,
    MAX_STREAM_ID,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WORD_FRAME,
)
from turbosock.protocol.http2.stream import UNPROCESSED, Stream

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


# What a client's engine does about them


def asking(count: int = 3) -> tuple[Side, list[Recorder]]:
    """A client with so many requests on their way."""
    side = Side(client=True)
    streams = [side.request() for _ in range(count)]
    side.take()
    return side, streams


def failed_as(stream: Recorder) -> tuple[str, int, bool]:
    assert isinstance(stream.failure, Http2Error) and stream.closed
    assert stream.failure.origin is Origin.REMOTE and stream.failure.stream_id == stream.id
    return stream.failure.code, stream.failure.error_code, stream.unprocessed


def test_goodbye_fails_what_it_leaves_out_as_unprocessed_and_the_rest_goes_on() -> None:
    side, (one, three, five) = asking()
    assert side.feed(http2.goaway(3, ENHANCE_YOUR_CALM, b"too much")) == []
    assert failed_as(five) == (UNPROCESSED, ENHANCE_YOUR_CALM, True)
    assert (side.engine.goaway, side.engine.goaway_code, side.engine.exhausted) == (3, ENHANCE_YOUR_CALM, True)
    side.feed(http2.headers(1, end=True) + http2.headers(3, end=True))
    assert one.ended and three.ended and one.failure is three.failure is None


def test_graceful_goodbye_leaves_nothing_out_twice_over_and_the_real_one_does() -> None:
    side, (one, three, five) = asking()
    for _ in range(2):
        assert side.feed(http2.goaway(MAX_STREAM_ID)) == []
    assert side.engine.exhausted and all(stream.failure is None for stream in (one, three, five))
    side.feed(http2.goaway(3))
    assert failed_as(five) == (UNPROCESSED, NO_ERROR, True)
    side.feed(http2.goaway(1))
    assert failed_as(three) == (UNPROCESSED, NO_ERROR, True)
    side.feed(http2.goaway(1))
    assert side.error is None and one.failure is None


@pytest.mark.parametrize("first", [0, 1, MAX_STREAM_ID - 2])
def test_goodbye_that_takes_streams_back_is_an_error(first: int) -> None:
    side, _ = asking()
    side.feed(http2.goaway(first))
    (frame,) = side.feed(http2.goaway(MAX_STREAM_ID))
    assert (frame.kind, frame.code) == (GOAWAY, PROTOCOL_ERROR)
    assert side.error is not None and side.error.code == "bad_goaway"


def test_reserved_bit_of_the_last_stream_is_ignored() -> None:
    side, streams = asking()
    side.feed(http2.goaway(3 | 1 << 31))
    assert [stream.failure is None for stream in streams] == [True, True, False]


def test_goodbye_does_not_call_unprocessed_what_was_answered() -> None:
    side, (one, three, five) = asking()
    side.feed(http2.headers(1) + http2.data(1, b"part") + http2.headers(3, ((b":status", b"103"),)))
    side.feed(http2.goaway(0))
    assert failed_as(one) == ("stream_reset", NO_ERROR, False)
    assert failed_as(five)[2] and failed_as(three)[2]


def test_goodbye_lets_whole_answers_be_and_tells_that_the_rest_of_their_requests_is_not_wanted() -> None:
    side = Side(client=True)
    stream = side.request(http2.UPLOAD, end=False)
    side.take()
    side.feed(http2.headers(1, end=True))
    side.feed(http2.goaway(0))
    assert stream.failure is None and stream.closed and stream.rooms == 1


def test_goodbye_of_a_client_leaves_its_requests_be() -> None:
    side = Side(client=False)
    side.feed(http2.headers(1, http2.REQUEST, end=True))
    assert side.feed(http2.goaway(0) + http2.headers(3, http2.REQUEST, end=True)) == []
    for stream in side.opened.values():
        side.respond(stream)
    assert [frame.stream for frame in side.frames()] == [1, 3]


@pytest.mark.parametrize("code", [NO_ERROR, PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM, 0xD, 0xE, 2**32 - 1])
def test_reset_tells_its_code_known_or_not(code: int) -> None:
    side, (stream, other, _) = asking()
    assert side.feed(http2.reset(1, code)) == []
    assert failed_as(stream) == ("stream_reset", code, False)
    side.feed(http2.headers(3, end=True))
    assert other.ended and other.failure is None


def test_refusal_is_unprocessed_unless_an_answer_has_begun() -> None:
    side, (one, three, five) = asking()
    side.feed(http2.headers(3) + http2.headers(5, ((b":status", b"100"),)))
    side.feed(b"".join([http2.reset(stream.id, REFUSED_STREAM) for stream in (one, three, five)]))
    assert failed_as(one) == (UNPROCESSED, REFUSED_STREAM, True)
    assert failed_as(three) == ("stream_reset", REFUSED_STREAM, False)
    assert failed_as(five) == (UNPROCESSED, REFUSED_STREAM, True)


def test_reset_without_an_error_behind_a_whole_answer_is_none() -> None:
    side = Side(client=True)
    stream = side.request(http2.UPLOAD, end=False)
    side.engine.wait_for_room(stream)
    side.take()
    side.feed(http2.headers(1) + http2.data(1, b"enough", end=True) + http2.reset(1, NO_ERROR))
    assert stream.failure is None and stream.data == b"enough" and stream.closed
    assert stream.rooms == 1 and not stream.waits


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_priority_is_ignored_on_every_stream_but_that_of_the_connection(client: bool) -> None:
    side = Side(client=client)
    # In every state, also before a stream is opened, and depending on itself, which RFC 9113 has no rule for any more.
    self_dependent = http2.frame(PRIORITY, 0, 5, bytes.fromhex("8000000500"))
    assert side.feed(http2.priority(1) + http2.priority(2) + self_dependent) == []
    assert side.error is None
    side.feed(http2.priority(0))
    assert side.error is not None and side.error.error_code == PROTOCOL_ERROR


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
def test_ping_is_answered_with_its_payload_in_order(client: bool) -> None:
    side = Side(client=client)
    sent = side.feed(b"".join([http2.ping(b"%08d" % number) for number in range(20)]))
    assert sent == [http2.Frame(PING, ACK, 0, b"%08d" % number) for number in range(20)]


def test_answer_to_nothing_is_let_pass() -> None:
    side, _ = asking()
    assert side.feed(http2.ping(ack=True)) == []
    assert side.error is None


class Stumbling(http2.Recorder):
    """Its news raise once, as the code of a user may that it runs."""

    __slots__ = ("stumbled",)

    def on_news(self) -> None:
        super().on_news()
        if not hasattr(self, "stumbled"):
            self.stumbled = True
            raise LookupError


@pytest.mark.parametrize("first", [True, False])
def test_frame_behind_news_that_raise_is_not_lost(first: bool) -> None:
    side = Side(client=True)
    stumbling, other = Stumbling(), http2.Recorder()
    for stream in (stumbling, other):
        stream.begin(0)
        side.engine.open(stream)
        side.engine.send_headers(stream, http2.block(http2.REQUEST), True)
    # The news of the first head are told when the next frame is looked at, whatever that is.
    behind = http2.data(other.id, b"here", end=True) if first else http2.headers(other.id, end=True)
    greeting = b"" if not first else http2.headers(other.id)
    side.ring.write(greeting + http2.headers(stumbling.id) + behind)
    with pytest.raises(LookupError):
        side.engine.receive(side.ring)
    side.engine.receive(side.ring)
    assert other.ended and bytes(other.data) == (b"here" if first else b"") and not side.ring.length
