"""What waits to be sent: full outputs, sends that are pinned, header sections longer than the ring, and a fair line."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from support import http2
from support.http2 import REQUEST, UPLOAD, Frame, Recorder, Side, frames_in
from support.seeds import seeds
from turbosock import limits
from turbosock.buffers import RingBuffer
from turbosock.protocol.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW,
    PING,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.output import Output
from turbosock.protocol.http2.settings import INITIAL_WINDOW_SIZE

CAPACITY = 8_192
LONG = (*REQUEST, (b"x-long", b"v" * 40_000))


def wide_open(capacity: int = CAPACITY) -> Side:
    """A client whose peer has opened every window."""
    side = Side(client=True, capacity=capacity)
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, MAX_WINDOW)) + http2.window_update(0, MAX_WINDOW - 65_535))
    return side


class Sender(Recorder):
    """A stream that sends `left` bytes of its own letter whenever it may, and notes its turns."""

    __slots__ = ("left", "side", "turns")

    def __init__(self, side: Side, left: int, turns: list[int]) -> None:
        super().__init__()
        self.side = side
        self.left = left
        self.turns = turns
        side.engine.open(self)
        side.engine.send_headers(self, http2.block(UPLOAD), False)

    def on_room(self) -> None:
        self.turns.append(self.id)
        self.go_on()

    def go_on(self) -> None:
        engine = self.side.engine
        while self.left:
            count = engine.send_data(self, memoryview(bytes([self.id]) * self.left), True)
            if count < 0:
                engine.wait_for_room(self)
                return
            self.left -= count


def test_new_output_has_nothing() -> None:
    output = Output(RingBuffer(100))
    assert not output.unsent and output.outgoing() is None and output.writable


def test_partial_sends_leave_the_rest_in_order() -> None:
    side = wide_open()
    side.engine.ping(b"11111111")
    side.engine.ping(b"22222222")
    sent = bytearray()
    while (view := side.engine.outgoing()) is not None:
        sent += view[:1]
        side.engine.sent(1)
    assert [frame.payload for frame in frames_in(bytes(sent))] == [b"11111111", b"22222222"]
    assert not side.engine.unsent


def test_data_leaves_room_for_replies_and_says_when_there_is_none() -> None:
    side = wide_open()
    stream = side.request(UPLOAD, end=False)
    view = memoryview(bytes(CAPACITY))
    count = side.engine.send_data(stream, view, False)
    assert CAPACITY - side.engine.out.length == limits.HTTP2_REPLY_BYTES
    assert 0 < count < CAPACITY
    assert side.engine.send_data(stream, view, False) == -1
    assert side.engine.send_data(stream, view[:0], True) == -1
    assert not side.engine.writable
    side.take()
    assert side.engine.writable and side.engine.send_data(stream, view[:0], True) == 0


def test_reply_without_room_keeps_its_place_behind_what_is_there() -> None:
    side = wide_open()
    stream = side.request(UPLOAD, end=False)
    side.engine.send_data(stream, memoryview(bytes(CAPACITY)), False)
    for number in range(100):
        side.engine.ping(b"%08d" % number)
    frames = side.frames()
    assert [frame.kind for frame in frames] == [HEADERS, DATA] + [PING] * 100
    assert [int(frame.payload) for frame in frames[2:]] == list(range(100))


@pytest.mark.parametrize("before", [0, 1, 2_000])
def test_header_section_longer_than_the_ring_is_whole_and_nothing_stands_inside(before: int) -> None:
    side = wide_open()
    stream = side.request(UPLOAD, end=False)
    side.engine.send_data(stream, memoryview(bytes(before)), False)
    long = side.request(LONG)
    assert not side.engine.writable
    # Everything else that can be put there meanwhile: replies, credit, resets, pings, goodbyes.
    other = Recorder()
    side.engine.open(other)
    assert side.engine.send_data(stream, memoryview(b"x"), False) == -1
    side.engine.ping(b"12345678")
    side.engine.send_headers(other, http2.block(REQUEST), True)
    side.engine.reset(stream)
    side.engine.close()
    frames = side.frames()
    kinds = [frame.kind for frame in frames[2:]]
    pieces = frames[2:5]
    assert kinds[:3] == [HEADERS, CONTINUATION, CONTINUATION] and {frame.stream for frame in pieces} == {long.id}
    assert [frame.flags for frame in pieces] == [END_STREAM, 0, END_HEADERS]
    assert b"".join([frame.payload for frame in pieces]) == http2.block(LONG)
    assert kinds[3:] == [PING, HEADERS, RST_STREAM, 7]
    assert side.engine.writable


def test_nothing_is_received_while_something_long_waits() -> None:
    side = wide_open()
    side.request(LONG)
    side.engine.out.clear()
    side.ring.write(http2.ping() * 5)
    side.engine.receive(side.ring)
    assert side.ring.length == 5 * 17
    side.take()
    side.engine.receive(side.ring)
    assert side.ring.length == 0 and len(side.frames()) == 5


def test_pinned_send_finds_its_bytes_where_they_were_whatever_is_put_behind_them() -> None:
    side = wide_open()
    engine = side.engine
    stream = side.request(UPLOAD, end=False)
    engine.send_data(stream, memoryview(bytes(6_000)), False)
    view = engine.outgoing()
    assert view is not None
    engine.sent(3_000)
    rest = engine.outgoing()
    assert rest is not None
    engine.pinned = True
    expected = bytes(rest)
    # The ring has room only if it were compacted, which would move the bytes.
    assert engine.send_data(stream, memoryview(bytes(4_000)), False) <= CAPACITY - 6_000
    engine.ping(b"12345678")
    for _ in range(200):
        engine.ping(b"87654321")
    second = side.request()
    assert bytes(rest) == expected and engine.outgoing() is not None
    engine.pinned = False
    engine.sent(len(rest))
    frames = side.frames()
    # Of the DATA that was pinned the end has just gone; what comes is whole.
    assert frames[-1] == Frame(HEADERS, END_HEADERS | END_STREAM, second.id, http2.block(REQUEST))
    assert sum(frame.kind == PING for frame in frames) == 201


def test_pinned_send_of_what_did_not_fit_goes_on_with_the_same_bytes() -> None:
    side = wide_open()
    engine = side.engine
    side.request(LONG)
    sent = bytearray()
    while engine.out.length:
        view = engine.outgoing()
        assert view is not None
        sent += view
        engine.sent(len(view))
    view = engine.outgoing()
    assert view is not None
    engine.pinned = True
    expected = bytes(view)
    engine.ping(b"12345678")
    assert bytes(view) == expected
    engine.pinned = False
    sent += view
    engine.sent(len(view))
    frames = frames_in(bytes(sent) + side.take())
    assert [frame.kind for frame in frames] == [HEADERS, CONTINUATION, CONTINUATION, PING]


def test_output_is_compacted_where_that_makes_room() -> None:
    side = wide_open()
    engine = side.engine
    stream = side.request(UPLOAD, end=False)
    side.take()
    engine.send_data(stream, memoryview(b"a" * 7_000), False)
    engine.sent(6_000)
    assert engine.send_data(stream, memoryview(b"b" * 6_000), True) == 6_000
    assert engine.out.start == 0
    rest = side.take()
    assert rest[: 7_009 - 6_000] == b"a" * 1_009
    assert frames_in(rest[1_009:]) == [Frame(DATA, END_STREAM, 1, b"b" * 6_000)]


def test_line_of_waiting_streams_is_fair() -> None:
    side = wide_open()
    turns: list[int] = []
    senders = [Sender(side, 30_000, turns) for _ in range(4)]
    side.take()
    for sender in senders:
        sender.go_on()
    received: dict[int, int] = {}
    while side.engine.unsent:
        for frame in side.frames():
            received[frame.stream] = received.get(frame.stream, 0) + len(frame.payload)
        side.engine.give_room()
    assert received == {sender.id: 30_000 for sender in senders}
    # Everybody who had not finished had a turn before anybody had two.
    assert turns[:12] == [1, 3, 5, 7] * 3
    assert not any(sender.waits for sender in senders)


def test_stream_that_leaves_the_line_is_not_asked() -> None:
    side = wide_open()
    streams = [side.request(UPLOAD, end=False) for _ in range(3)]
    for stream in streams:
        side.engine.wait_for_room(stream)
        side.engine.wait_for_room(stream)
    side.take()
    side.engine.reset(streams[0])
    side.engine.leave_line(streams[1])
    side.engine.give_room()
    assert [stream.rooms for stream in streams] == [0, 0, 1]


def test_turn_that_ends_the_wait_of_others_is_no_harm() -> None:
    side = wide_open()

    class Ender(Recorder):
        __slots__ = ()

        def on_room(self) -> None:
            for stream in streams:
                side.engine.reset(stream)

    streams = [side.request(UPLOAD, end=False) for _ in range(3)]
    ender = Ender()
    side.engine.wait_for_room(ender)
    for stream in streams:
        side.engine.wait_for_room(stream)
    side.take()
    side.engine.give_room()
    assert [stream.rooms for stream in streams] == [0, 0, 0]


@pytest.mark.parametrize("seed", seeds(40))
def test_random_output_is_sent_whole_and_in_order(seed: int) -> None:
    """Frames are taken as they were put, however small the sends are, and pinned or not."""
    random_source = random.Random(seed)
    side = wide_open(capacity=random_source.choice((2_048, 4_096, CAPACITY)))
    engine = side.engine
    uploads = [side.request(UPLOAD, end=False) for _ in range(3)]
    opened = [stream.id for stream in uploads]
    bodies = {stream.id: bytearray() for stream in uploads}
    pings: list[bytes] = []
    blocks: list[bytes] = []
    sent = bytearray()
    pinned: memoryview | None = None
    copy = b""

    def put_data() -> None:
        stream = random_source.choice(uploads)
        payload = random_source.randbytes(random_source.randrange(1, 3_000))
        count = engine.send_data(stream, memoryview(payload), False)
        if count >= 0:
            bodies[stream.id] += payload[:count]

    def put_ping() -> None:
        if engine.writable:
            pings.append(random_source.randbytes(8))
            engine.ping(pings[-1])

    def put_headers() -> None:
        if engine.writable:
            fields = (*REQUEST, (b"x", random_source.randbytes(random_source.choice((3, 900, 20_000))).hex().encode()))
            opened.append(side.request(fields).id)
            blocks.append(http2.block(fields))

    def send() -> None:
        nonlocal pinned, copy
        view = pinned if pinned is not None else engine.outgoing()
        if view is None:
            return
        if pinned is None and random_source.random() < 0.5:
            pinned, copy, engine.pinned = view, bytes(view), True
            return
        if pinned is not None:
            assert bytes(view) == copy, "a pinned send finds its bytes as they were"
        pinned, engine.pinned = None, False
        count = random_source.randrange(1, len(view) + 1)
        sent.extend(view[:count])
        engine.sent(count)

    steps: list[Callable[[], None]] = [put_data, put_ping, put_headers, send, send]
    for _ in range(300):
        random_source.choice(steps)()
    while pinned is not None or engine.unsent:
        send()
    seen: dict[int, bytearray] = {number: bytearray() for number in bodies}
    frames = frames_in(bytes(sent))
    at = 0
    found_blocks: list[bytes] = []
    found_streams: list[int] = []
    while at < len(frames):
        frame = frames[at]
        at += 1
        if frame.kind == DATA:
            seen[frame.stream] += frame.payload
        elif frame.kind == HEADERS:
            whole = frame.payload
            while not frames[at - 1].flags & END_HEADERS:
                assert (frames[at].kind, frames[at].stream) == (CONTINUATION, frame.stream)
                whole += frames[at].payload
                at += 1
            found_streams.append(frame.stream)
            found_blocks.append(whole)
    assert seen == bodies
    assert found_streams == opened and found_blocks[3:] == blocks
    assert [frame.payload for frame in frames if frame.kind == PING] == pings


def test_memory_behind_the_ring_is_bounded_by_a_header_section_and_a_few_replies() -> None:
    side = wide_open(limits.RECEIVE_RING_BYTES)
    engine = side.engine
    streams = [side.request(UPLOAD, end=False) for _ in range(limits.MAX_HTTP2_STREAMS)]
    side.feed(b"".join([http2.headers(stream.id) for stream in streams]))
    for stream in streams:
        side.feed(b"".join([http2.data(stream.id, bytes(16_384))] * 8))
    side.take()
    side.request((*REQUEST, (b"x-long", b"v" * (limits.MAX_HEAD_BYTES - 200))))
    for stream in streams:
        engine.consumed(stream, 8 * 16_384)
        engine.reset(stream)
    bound = limits.MAX_HEAD_BYTES + 2_000 + len(streams) * (17 + 13 + 13)
    assert len(engine._large) <= bound
    kinds = [frame.kind for frame in side.frames()]
    assert kinds.count(RST_STREAM) == kinds.count(WINDOW_UPDATE) == len(streams)


def test_acknowledgements_are_put_where_there_is_no_ring_at_all() -> None:
    side = wide_open()
    side.engine.lend(RingBuffer(1))
    assert not side.engine.writable
    assert side.feed(http2.settings()) == []
    side.engine.lend(RingBuffer(CAPACITY))
    assert side.feed(b"") == [Frame(SETTINGS, ACK, 0)]
