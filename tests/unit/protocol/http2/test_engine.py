"""The engine as frames come: whole or in pieces, at every place of the ring, padded, in CONTINUATIONs, in floods."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from support import http2
from support.hpack_wire import indexed, inserted, literal
from support.http2 import REQUEST, RESPONSE, SETTINGS_ACK, TRAILERS, UPLOAD, Frame, Recorder, Side
from support.seeds import seeds
from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.errors import Http2Error
from turbosock.protocol.http2 import frames
from turbosock.protocol.http2.engine import Engine
from turbosock.protocol.http2.error_codes import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS
from turbosock.protocol.http2.stream import Stream

BOTH = pytest.mark.parametrize("client", [True, False], ids=["client", "server"])

# Conversations, as the peer's side of them


def served_conversation() -> bytes:
    """What a server sends a client that asked four times, with a little of everything."""
    big = tuple((b"x-%d" % number, bytes([97 + number]) * 50) for number in range(9))
    return b"".join(
        [
            http2.settings((MAX_CONCURRENT_STREAMS, 50), (INITIAL_WINDOW_SIZE, 70_000)),
            SETTINGS_ACK,
            http2.ping(b"are you?"),
            http2.window_update(0, 1_000),
            http2.headers(3, ((b":status", b"103"), (b"link", b"</a>"))),
            http2.frame(HEADERS, END_HEADERS, 1, indexed(8) + inserted(b"server", b"x")),
            http2.data(1, b"first part, "),
            http2.padded_headers(3, (*RESPONSE, (b"content-length", b"7")), 3, priority=bytes(5)),
            http2.priority(5),
            http2.data(1, b"second part"),
            http2.split_headers(5, (*RESPONSE, *big), (1, 40, 41, 300)),
            http2.frame(0xFA, 0xFF, 1, b"unknown"),
            http2.padded_data(3, b"padded.", 9, end=True),
            http2.data(5, b""),
            http2.frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"x-checksum", b"1") + indexed(62)),
            http2.frame(DATA, PADDED, 5, bytes([3]) + bytes(3)),
            http2.reset(7, REFUSED_STREAM),
            http2.data(5, b"x" * 700, end=True),
            http2.goaway(7, 0, b"going home"),
        ]
    )


def asked_conversation() -> bytes:
    """What a client sends, its preface included."""
    return b"".join(
        [
            PREFACE,
            http2.settings((INITIAL_WINDOW_SIZE, 1_000)),
            http2.headers(1, REQUEST, end=True),
            SETTINGS_ACK,
            http2.split_headers(3, (*UPLOAD, (b"content-length", b"10")), (0, 5)),
            http2.data(3, b"01234"),
            http2.padded_headers(5, UPLOAD, 0),
            http2.window_update(3, 5),
            http2.ping(b"pingping"),
            http2.padded_data(3, b"56789", 200),
            http2.data(5, b"body"),
            http2.headers(3, TRAILERS, end=True),
            http2.headers(7, RESPONSE),
            http2.data(7, b"of a malformed one", end=True),
            http2.reset(5),
            http2.headers(9, ((b":method", b"CONNECT"), (b":authority", b"h:443"))),
            http2.data(9, b"tunnelled"),
        ]
    )


def conversing(client: bool, capacity: int = limits.RECEIVE_RING_BYTES) -> Side:
    side = Side(client=client, capacity=capacity, greeted=False)
    if client:
        for _ in range(4):
            side.request()
    side.take()
    return side


def outcome(side: Side, sent: list[Frame]) -> object:
    stories = {number: stream.story for number, stream in side.opened.items()}
    assert side.error is None
    return sent, stories, side.ring.length


def wire_of(client: bool) -> bytes:
    return served_conversation() if client else asked_conversation()


def fed_in_pieces(client: bool, pieces: list[bytes]) -> object:
    side = conversing(client)
    sent = [frame for piece in pieces for frame in side.feed(piece)]
    return outcome(side, sent)


@pytest.fixture(scope="module", params=[True, False], ids=["client", "server"])
def whole(request: pytest.FixtureRequest) -> tuple[bool, bytes, object]:
    """A side, what it is sent, and what comes of that in one piece."""
    client = bool(request.param)
    wire = wire_of(client)
    return client, wire, fed_in_pieces(client, [wire])


def test_conversations_have_the_outcomes_that_they_are_made_for() -> None:
    side = conversing(True)
    side.feed(served_conversation())
    one, three, five, seven = side.opened.values()
    assert one.data == b"first part, second part" and one.trailers is not None and len(one.trailers.raw) == 2
    assert three.data == b"padded." and three.interims == [103]
    assert five.data == b"x" * 700 and five.head is not None and five.head.headers.count(b"x-8") == 1
    assert all(stream.ended and stream.failure is None for stream in (one, three, five))
    assert seven.unprocessed and seven.failure is not None
    side = conversing(False)
    sent = side.feed(asked_conversation())
    assert [stream.ended for stream in side.opened.values()] == [True, True, False, False, False]
    assert [stream.failure is None for stream in side.opened.values()] == [True, True, False, False, True]
    assert side.opened[3].data == b"0123456789"
    assert [(frame.stream, frame.code) for frame in sent if frame.kind == RST_STREAM] == [(7, PROTOCOL_ERROR)]


def test_conversation_byte_by_byte_has_the_same_outcome(whole: tuple[bool, bytes, object]) -> None:
    client, wire, expected = whole
    assert fed_in_pieces(client, [wire[at : at + 1] for at in range(len(wire))]) == expected


def test_conversation_cut_anywhere_has_the_same_outcome(whole: tuple[bool, bytes, object]) -> None:
    client, wire, expected = whole
    for cut in range(1, len(wire)):
        assert fed_in_pieces(client, [wire[:cut], wire[cut:]]) == expected, f"cut at {cut}"


@pytest.mark.parametrize("seed", seeds(20))
def test_conversation_in_random_pieces_has_the_same_outcome(whole: tuple[bool, bytes, object], seed: int) -> None:
    client, wire, expected = whole
    random_source = random.Random(seed)
    pieces = []
    at = 0
    while at < len(wire):
        size = random_source.choice((1, 2, 3, 8, 9, 10, 50, 300))
        pieces.append(wire[at : at + size])
        at += size
    assert fed_in_pieces(client, pieces) == expected


def test_conversation_at_every_place_of_the_ring_has_the_same_outcome(whole: tuple[bool, bytes, object]) -> None:
    client, wire, expected = whole
    capacity = 1_800
    for start in range(0, capacity - 40, 7):
        side = conversing(client, capacity)
        # The first bytes lie at `start`; the ring is compacted wherever the end of its memory falls.
        side.ring.start = start
        side.ring.root[start : start + 5] = wire[:5]
        side.ring.length = 5
        assert outcome(side, side.feed(wire[5:])) == expected, f"from {start}"


# Who may be told when, and of what


class Meddler(Recorder):
    """A stream that does something when it is told news."""

    __slots__ = ("act",)

    def on_news(self) -> None:
        super().on_news()
        self.act()

    act: Callable[[], object]


def test_stream_that_another_ends_as_its_data_comes_gets_nothing_of_it() -> None:
    side = Side(client=True)
    first = Meddler()
    side.engine.open(first)
    side.engine.send_headers(first, http2.block(REQUEST), True)
    second = side.request()
    side.take()
    side.feed(http2.headers(3))

    def act() -> None:
        # It is ended, and serves another request at once, as streams of a pool do.
        if second.id == 3:
            side.engine.reset(second)
            second.begin(0)
            side.engine.open(second)
            side.engine.send_headers(second, http2.block(REQUEST), True)

    first.act = act
    side.feed(http2.headers(1) + http2.data(3, b"of the old one", end=True))
    assert second.id == 5 and second.data == b"" and not second.ended and second.failure is None
    side.feed(http2.headers(5) + http2.data(5, b"of the new one", end=True))
    assert second.data == b"of the new one" and second.ended


def test_goodbye_tells_each_stream_once_although_the_first_one_ends_the_others() -> None:
    side = Side(client=True)
    first = Meddler()
    side.engine.open(first)
    side.engine.send_headers(first, http2.block(REQUEST), True)
    second = side.request()
    side.take()
    first.act = lambda: side.engine.reset(second)
    side.feed(http2.goaway(0))
    assert first.unprocessed and second.failure is None and second.closed


# Padding and priority


@BOTH
def test_padding_is_credited_at_once_also_where_nothing_else_is_in_the_frame(client: bool) -> None:
    side = Side(client=client, initial_window=1_000)
    if client:
        side.request()
        side.feed(http2.headers(1))
    else:
        side.feed(http2.headers(1, UPLOAD))
    stream = side.opened[1]
    side.take()
    credit = 0
    for _ in range(100):
        sent = side.feed(http2.padded_data(1, b"", 200) + http2.padded_data(1, b"x", 48))
        credit += sum(frame.word for frame in sent if frame.kind == WINDOW_UPDATE and frame.stream == 1)
        side.engine.consumed(stream, 1)
        credit += sum(frame.word for frame in side.frames() if frame.kind == WINDOW_UPDATE and frame.stream == 1)
    assert stream.failure is None and len(stream.data) == 100
    assert credit + stream.owed == 100 * (201 + 50)


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (PADDED, b"", FRAME_SIZE_ERROR),
        (PADDED, b"\x01", PROTOCOL_ERROR),
        (PADDED, b"\x05abcde", None),
        (PADDED, b"\x06abcde", PROTOCOL_ERROR),
    ],
)
@pytest.mark.parametrize("stream_id", [1, 3], ids=["open", "over"])
def test_padding_of_data_beyond_its_payload_ends_the_connection(
    flags: int, payload: bytes, code: int | None, stream_id: int
) -> None:
    side = Side(client=True)
    side.request()
    side.engine.reset(side.request())
    side.take()
    side.feed(http2.headers(1))
    side.feed(http2.frame(DATA, flags, stream_id, payload))
    assert (None if side.error is None else side.error.error_code) == code


@pytest.mark.parametrize(
    ("flags", "payload", "code"),
    [
        (PADDED, b"", FRAME_SIZE_ERROR),
        (WITH_PRIORITY, bytes(4), FRAME_SIZE_ERROR),
        (PADDED | WITH_PRIORITY, bytes(5), FRAME_SIZE_ERROR),
        (PADDED | WITH_PRIORITY, b"\x01" + bytes(5), PROTOCOL_ERROR),
        (PADDED, b"\x02" + indexed(8), PROTOCOL_ERROR),
        (PADDED, b"\x01" + indexed(8) + b"\0", None),
        (WITH_PRIORITY, b"\x80\0\0\1\0" + indexed(8), None),
    ],
)
def test_headers_shorter_than_their_flags_say_end_the_connection(flags: int, payload: bytes, code: int | None) -> None:
    side = Side(client=True)
    stream = side.request()
    side.take()
    side.feed(http2.frame(HEADERS, END_HEADERS | flags, 1, payload))
    assert (None if side.error is None else side.error.error_code) == code
    assert (stream.head is not None) is (code is None)


# Header sections in several frames


@BOTH
@pytest.mark.parametrize(
    "between",
    [
        http2.ping(),
        http2.data(1, b"x"),
        http2.headers(3, end=True),
        http2.frame(CONTINUATION, END_HEADERS, 3),
        http2.frame(0xFA, 0, 0),
        http2.settings(),
        http2.priority(1),
        http2.window_update(0, 1),
    ],
    ids=["PING", "DATA", "HEADERS", "other CONTINUATION", "unknown", "SETTINGS", "PRIORITY", "WINDOW_UPDATE"],
)
def test_nothing_may_stand_inside_a_header_section(client: bool, between: bytes) -> None:
    side = Side(client=client)
    if client:
        side.request()
        side.request()
        side.take()
    begun = http2.frame(HEADERS, 0, 1, http2.block(RESPONSE if client else REQUEST))
    (goodbye,) = side.feed(begun + between)
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)


@pytest.mark.parametrize("empties", [0, 1, 10])
def test_header_section_with_empty_frames_is_whole(empties: int) -> None:
    side = Side(client=True)
    stream = side.request()
    side.take()
    whole_block = http2.block((*RESPONSE, (b"x-long", b"v" * 40_000)))
    wire = http2.frame(HEADERS, END_STREAM, 1) + http2.frame(CONTINUATION, 0, 1) * empties
    for at in range(0, len(whole_block), 16_384):
        wire += http2.frame(CONTINUATION, 0, 1, whole_block[at : at + 16_384])
    assert side.feed(wire) == []
    assert stream.head is None and side.engine.unfinished_head == 1
    side.feed(http2.frame(CONTINUATION, END_HEADERS, 1))
    assert stream.ended and stream.head is not None and stream.head.headers.joined(b"x-long") == b"v" * 40_000


@pytest.mark.parametrize("piece", [b"", b"x" * 16_384], ids=["empty", "full"])
def test_header_section_without_end_ends_the_connection_in_bounded_memory(piece: bytes) -> None:
    side = Side(client=False)
    side.feed(http2.frame(HEADERS, 0, 1))
    sent: list[Frame] = []
    for _ in range(limits.MAX_HTTP2_CONTINUATIONS):
        sent += side.feed(http2.frame(CONTINUATION, 0, 1, piece))
        assert len(side.engine._block) <= limits.MAX_HEAD_BYTES
    sent += side.feed(http2.frame(CONTINUATION, 0, 1, piece))
    assert isinstance(side.error, Http2Error) and side.error.code == "head_too_large"
    assert [(frame.kind, frame.code) for frame in sent] == [(GOAWAY, ENHANCE_YOUR_CALM)]


def test_side_that_takes_larger_heads_takes_them_in_continuations_too() -> None:
    side = Side(client=True, max_list_bytes=200_000)
    stream = side.request()
    side.take()
    value = b"v" * 150_000
    data = http2.block((*RESPONSE, (b"x-long", value)))
    side.feed(http2.split_headers(1, (*RESPONSE, (b"x-long", value)), range(16_000, len(data), 16_000), end=True))
    assert side.error is None and stream.head is not None and stream.head.headers.joined(b"x-long") == value


@BOTH
def test_block_that_cannot_be_decoded_ends_the_connection(client: bool) -> None:
    side = Side(client=client)
    if client:
        side.request()
        side.take()
    (goodbye,) = side.feed(http2.frame(HEADERS, END_HEADERS, 1, indexed(100)))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, COMPRESSION_ERROR)


def test_block_of_a_stream_that_was_reset_moves_the_table_all_the_same() -> None:
    side = Side(client=True)
    given_up, stream = side.request(), side.request()
    side.engine.reset(given_up)
    side.take()
    assert side.feed(http2.frame(HEADERS, END_HEADERS, 1, indexed(8) + inserted(b"server", b"x"))) == []
    side.feed(http2.frame(HEADERS, END_HEADERS | END_STREAM, 3, indexed(8) + indexed(62)))
    assert stream.head is not None and stream.head.headers.joined(b"server") == b"x"


def test_block_of_a_refused_stream_moves_the_table_all_the_same() -> None:
    side = Side(client=False, accepts=False)
    fields = http2.block(REQUEST)
    (refusal,) = side.feed(http2.frame(HEADERS, END_HEADERS | END_STREAM, 1, fields + inserted(b"x", b"y")))
    assert (refusal.kind, refusal.stream, refusal.code) == (RST_STREAM, 1, REFUSED_STREAM)
    side.accepts = True
    side.feed(http2.frame(HEADERS, END_HEADERS | END_STREAM, 3, fields + indexed(62)))
    request = side.opened[3].request
    assert request is not None and request.headers.joined(b"x") == b"y"


# Who opens what


@pytest.mark.parametrize("stream_id", [0, 2, 4])
def test_client_that_opens_what_is_not_its_own_breaks_the_connection(stream_id: int) -> None:
    side = Side(client=False)
    (goodbye,) = side.feed(http2.headers(stream_id, REQUEST, end=True))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)


def test_client_that_goes_back_to_an_id_that_it_passed_over_breaks_the_connection() -> None:
    side = Side(client=False)
    side.feed(http2.headers(5, REQUEST, end=True))
    (goodbye,) = side.feed(http2.headers(3, REQUEST, end=True))
    assert (goodbye.kind, goodbye.word, goodbye.code) == (GOAWAY, 5, STREAM_CLOSED)


@pytest.mark.parametrize("stream_id", [0, 2, 3, 99])
def test_server_that_opens_a_stream_breaks_the_connection(stream_id: int) -> None:
    side = Side(client=True)
    side.request()
    side.take()
    (goodbye,) = side.feed(http2.headers(stream_id))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)


@pytest.mark.parametrize("begun", [b"", http2.headers(1)])
def test_push_is_refused_although_it_was_not_allowed(begun: bytes) -> None:
    side = Side(client=True)
    side.request()
    side.take()
    (goodbye,) = side.feed(begun + http2.push_promise(1, 2))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)
    assert side.error is not None and side.error.code == "push_refused"


def test_requests_beyond_the_bound_are_refused_and_the_others_go_on() -> None:
    side = Side(client=False, max_streams=3)
    sent = side.feed(b"".join([http2.headers(number, REQUEST, end=True) for number in (1, 3, 5, 7, 9)]))
    assert [(frame.kind, frame.stream, frame.code) for frame in sent] == [
        (RST_STREAM, 7, REFUSED_STREAM),
        (RST_STREAM, 9, REFUSED_STREAM),
    ]
    side.respond(side.opened[3])
    side.feed(http2.headers(11, REQUEST, end=True))
    assert sorted(side.opened) == [1, 3, 5, 11] and side.error is None


# Floods: bounded memory, and the right code


FLOODS: dict[str, bytes] = {
    "PING": http2.ping(),
    "PING ACK": http2.ping(ack=True),
    "SETTINGS": http2.settings(),
    "SETTINGS of one": http2.settings((MAX_CONCURRENT_STREAMS, 100)),
    "SETTINGS ACK": SETTINGS_ACK,
    "empty DATA": http2.data(1),
    "padded empty DATA": http2.padded_data(1, b"", 10),
    "PRIORITY": http2.priority(1),
    "WINDOW_UPDATE of the connection": http2.window_update(0, 1),
    "WINDOW_UPDATE of a stream": http2.window_update(1, 1),
    "WINDOW_UPDATE of what is over": http2.window_update(3, 1),
    "RST_STREAM of what is over": http2.reset(3),
    "HEADERS of what is over": http2.headers(3, TRAILERS, end=True),
    "empty DATA of what is over": http2.data(3),
    "unknown": http2.frame(0xFA, 0, 0, b"x"),
}


@BOTH
@pytest.mark.parametrize("flood", FLOODS)
def test_flood_of_frames_that_move_nothing_ends_the_connection_in_bounded_memory(client: bool, flood: str) -> None:
    side = Side(client=client)
    if client:
        side.request(UPLOAD, end=False)
        side.request()
        side.feed(http2.headers(1))
    else:
        side.feed(http2.headers(1, UPLOAD) + http2.headers(3, REQUEST, end=True))
    side.engine.reset(side.opened[3])
    side.take()
    sent: list[Frame] = []
    fed = 0
    while side.error is None and fed < 3 * limits.MAX_HTTP2_IDLE_FRAMES:
        # As a socket would bring it: a ring of it at a time.
        sent += side.feed(FLOODS[flood] * 250)
        fed += 250
        assert len(side.engine._large) < limits.HTTP2_REPLY_BYTES
    assert isinstance(side.error, Http2Error) and side.error.code == "flood"
    assert (sent[-1].kind, sent[-1].code) == (GOAWAY, ENHANCE_YOUR_CALM)
    assert fed <= 2 * limits.MAX_HTTP2_IDLE_FRAMES


@BOTH
def test_flood_to_a_side_that_cannot_send_is_not_even_read(client: bool) -> None:
    side = Side(client=client, capacity=4_096)
    ring = side.ring
    side.ring.write(http2.ping() * 240)
    for _ in range(100):
        side.engine.receive(ring)
    assert ring.length > 0
    assert side.engine.out.length + len(side.engine._large) < 4_096 + limits.HTTP2_REPLY_BYTES
    replies = len(side.frames())
    while ring.length:
        side.engine.receive(ring)
        replies += len(side.frames())
    assert replies == 240 and side.error is None


def test_signs_of_life_one_by_one_for_hours_are_no_flood() -> None:
    side = Side(client=True)
    stream = side.request()
    side.take()
    for _ in range(5 * limits.MAX_HTTP2_IDLE_FRAMES):
        (pong,) = side.feed(http2.ping())
        assert pong == Frame(PING, ACK, 0, b"12345678")
    assert side.error is None and stream.failure is None


def test_body_that_moves_forgives_what_moved_nothing() -> None:
    side = Side(client=True)
    stream = side.request()
    side.feed(http2.headers(1))
    most = limits.MAX_HTTP2_IDLE_FRAMES
    for _ in range(3):
        side.feed(http2.ping() * most + http2.data(1, b"x"))
    assert side.error is None and stream.data == b"xxx"


def test_rapid_reset_ends_the_connection_in_bounded_memory() -> None:
    side = Side(client=False)
    number = 1
    while side.error is None and number < 10_000:
        side.feed(http2.headers(number, REQUEST, end=True) + http2.reset(number))
        assert not side.engine.streams
        number += 2
    assert isinstance(side.error, Http2Error) and side.error.error_code == ENHANCE_YOUR_CALM
    assert len(side.opened) == limits.MAX_HTTP2_RESETS + 1
    assert all(stream.failure is not None for stream in side.opened.values())


@pytest.mark.parametrize(
    "mistake",
    [
        lambda number: http2.window_update(number, 0),
        lambda number: http2.window_update(number, frames.MAX_WINDOW),
        lambda number: http2.data(number, b"after the end"),
        lambda number: http2.frame(frames.PRIORITY, 0, number, bytes(4)),
        lambda number: http2.headers(number, REQUEST, end=True),
    ],
    ids=["update by nothing", "overflow", "DATA", "PRIORITY", "HEADERS"],
)
def test_client_that_makes_the_server_reset_is_stopped_as_if_it_had_itself(mistake: Callable[[int], bytes]) -> None:
    side = Side(client=False)
    number = 1
    while side.error is None and number < 10_000:
        side.feed(http2.headers(number, REQUEST, end=True) + mistake(number))
        number += 2
    assert isinstance(side.error, Http2Error) and side.error.error_code == ENHANCE_YOUR_CALM
    assert len(side.opened) == limits.MAX_HTTP2_RESETS + 1
    assert all(stream.failure is not None for stream in side.opened.values()), "each is told before the end"


def test_requests_that_are_refused_without_end_end_the_connection() -> None:
    side = Side(client=False, accepts=False)
    number = 1
    while side.error is None and number < 10_000:
        side.feed(http2.headers(number, REQUEST, end=True))
        number += 2
    assert isinstance(side.error, Http2Error) and side.error.error_code == ENHANCE_YOUR_CALM
    assert len(side.engine._reset_by_us) <= limits.MAX_HTTP2_REMEMBERED_RESETS


def test_header_bomb_ends_the_connection() -> None:
    side = Side(client=True)
    side.request()
    side.take()
    bomb = inserted(b"b", b"x" * 3_900) + indexed(62) * 200
    (goodbye,) = side.feed(http2.frame(HEADERS, END_HEADERS, 1, indexed(8) + bomb))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, ENHANCE_YOUR_CALM)


def test_many_streams_given_up_with_full_windows_on_their_way_are_no_flood() -> None:
    side = Side(client=True, initial_window=65_536)
    streams = [side.request() for _ in range(100)]
    side.take()
    side.feed(b"".join([http2.headers(stream.id) for stream in streams]))
    for stream in streams:
        side.engine.reset(stream, CANCEL)
    side.take()
    for stream in streams:
        side.feed(http2.data(stream.id, bytes(512)) * 128)
    assert side.error is None
    # Beyond what they were given credit for, it is one.
    side.feed(b"".join([http2.data(stream.id, b"x") for stream in streams] * 12))
    assert side.error is not None and side.error.error_code == ENHANCE_YOUR_CALM


def test_data_of_refused_requests_is_no_flood() -> None:
    side = Side(client=False, accepts=False)
    wire = b"".join([http2.headers(number, UPLOAD) for number in range(1, 200, 2)])
    sent = side.feed(wire + b"".join([http2.data(number, bytes(100)) for number in range(1, 200, 2)] * 20))
    assert side.error is None and all(frame.code == REFUSED_STREAM for frame in sent)


# Flow control of what comes


def test_data_beyond_the_streams_window_fails_it_alone() -> None:
    side = Side(client=True, initial_window=1_000)
    stream, other = side.request(), side.request()
    side.take()
    side.feed(http2.headers(1) + http2.data(1, bytes(999)))
    assert stream.failure is None
    (frame,) = side.feed(http2.data(1, bytes(2)))
    assert (frame.kind, frame.stream, frame.code) == (RST_STREAM, 1, FLOW_CONTROL_ERROR)
    side.feed(http2.headers(3, end=True))
    assert other.ended


# Frames of one stream that lie one behind the other


def _download(source: random.Random) -> bytes:
    """DATA of two streams in runs of equal and unequal lengths; some of it beyond a window or an announced length."""
    wire = [http2.headers(1, (*RESPONSE, (b"content-length", b"%d" % source.choice((300, 2_000))))), http2.headers(3)]
    for _ in range(source.randrange(2, 9)):
        number, length = source.choice((1, 3)), source.choice((1, 50, 100, 300))
        wire += [http2.data(number, source.randbytes(length)) for _ in range(source.randrange(1, 8))]
        if source.random() < 0.2:
            wire.append(http2.padded_data(number, source.randbytes(length), 3))
    return b"".join((*wire, http2.data(1, b"x", end=source.random() < 0.5), http2.data(3, b"", end=True)))


@pytest.mark.parametrize("seed", seeds(60))
def test_frames_that_are_told_of_together_are_what_they_are_one_by_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    print("seed", seed)
    wire = _download(random.Random(seed))
    found = []
    for runs in (False, True):
        monkeypatch.setattr(Recorder, "takes_runs", runs)
        side = Side(client=True, initial_window=2_000)
        streams = side.request(), side.request()
        sent = side.take(), side.feed(wire)
        windows = [(stream.receive_window, stream.remaining, stream.state) for stream in streams]
        found.append(
            ([stream.story for stream in streams], windows, sent, side.engine.frames, side.engine.receive_window)
        )
    assert found[0] == found[1]


def test_frames_that_lie_one_behind_the_other_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "takes_runs", True)
    side = Side(client=True)
    stream = side.request()
    side.take()
    side.feed(http2.headers(1))
    before = stream.news
    side.feed(b"".join([http2.data(1, bytes([number]) * 500) for number in range(40)]))
    assert stream.news == before + 1
    assert stream.data == b"".join([bytes([number]) * 500 for number in range(40)])


def test_window_is_filled_up_when_half_of_it_was_read() -> None:
    side = Side(client=True, initial_window=1_000)
    stream = side.request()
    side.take()
    side.feed(http2.headers(1) + http2.data(1, bytes(1_000)))
    side.engine.consumed(stream, 499)
    assert WINDOW_UPDATE not in [frame.kind for frame in side.frames()] and stream.owed == 499
    side.engine.consumed(stream, 1)
    assert [frame for frame in side.frames() if frame.kind == WINDOW_UPDATE] == http2.frames_in(
        http2.window_update(1, 500)
    )
    assert (stream.receive_window, stream.owed) == (500, 0)


def test_stream_that_has_ended_gets_no_credit() -> None:
    side = Side(client=True, initial_window=1_000)
    stream = side.request()
    side.take()
    side.feed(http2.headers(1) + http2.data(1, bytes(1_000), end=True))
    side.engine.consumed(stream, 1_000)
    assert side.take() == b""


def test_connections_window_is_filled_up_whoever_the_data_was_for() -> None:
    side = Side(client=True, initial_window=frames.MAX_WINDOW)
    stream = side.request()
    side.take()
    side.feed(http2.headers(1))
    chunk = http2.data(1, bytes(16_384))
    stream.data = bytearray()
    sent = []
    for number in range(2 * limits.HTTP2_CONNECTION_WINDOW_BYTES // 16_384):
        if number == 100:
            side.engine.reset(stream)
        sent += [frame for frame in side.feed(chunk) if frame.kind == WINDOW_UPDATE and not frame.stream]
        assert 0 <= side.engine.receive_window <= limits.HTTP2_CONNECTION_WINDOW_BYTES
    assert side.error is None
    # Twice the window came.
    given = limits.HTTP2_CONNECTION_WINDOW_BYTES + sum(frame.word for frame in sent)
    assert given - side.engine.receive_window == 2 * limits.HTTP2_CONNECTION_WINDOW_BYTES


@BOTH
def test_frame_longer_than_allowed_ends_the_connection_before_it_is_whole(client: bool) -> None:
    side = Side(client=client)
    if client:
        side.request()
    else:
        side.feed(http2.headers(1, UPLOAD))
    side.take()
    for kind in (DATA, HEADERS, PING, 0xFA):
        copy = Engine(RingBuffer(65_536), client=True)
        copy.begin()
        ring = RingBuffer(65_536)
        ring.write(http2.settings() + http2.frame(kind, 0, 1, bytes(16_385))[:9])
        with pytest.raises(Http2Error) as raised:
            copy.receive(ring)
        assert raised.value.error_code == FRAME_SIZE_ERROR
    whole_frame = http2.data(1, bytes(16_385))
    (goodbye,) = side.feed(whole_frame)
    assert (goodbye.kind, goodbye.code) == (GOAWAY, FRAME_SIZE_ERROR)


def test_server_needs_somebody_who_accepts() -> None:
    with pytest.raises(AssertionError, match="accepts"):
        Engine(RingBuffer(100), client=False)


def test_default_window_is_what_a_connection_begins_with() -> None:
    side = Side(client=True)
    assert side.engine.send_window == DEFAULT_WINDOW and isinstance(side.request(), Stream)
