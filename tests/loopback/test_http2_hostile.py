"""Servers that break HTTP/2, frame by frame (RFC 9113 §5.4, §6, §8; reliability list), against both faces.

Each row says what a server sends and what comes of it: the code on the wire, the error of the exchanges concerned, and
that the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Queue

import pytest

from support.faces import Face
from support.http2_server import (
    PRIORITY_FIELD,
    Http2Peer,
    Wire,
    frame,
    goaway,
    http2_site,
    reset,
    say_path,
    serving,
    settings,
    update,
)
from support.rings import rings_are_free
from turbosock import Loop, limits
from turbosock.errors import HeadTooLarge, Http2Error
from turbosock.protocol.http2.error_codes import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
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
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)

Attack = Callable[[Http2Peer, int], None]
WHOLE = END_HEADERS | END_STREAM


def assert_nothing_lost(user: Face, open_connections: int = 1) -> None:
    """Every place, ring and stream is accounted for."""
    owner = user.owner
    if isinstance(owner, Loop):
        for _ in range(3):
            owner.poll(0.0)
    stats = owner.stats()
    connections = owner.pool.stats()
    assert (connections.open, connections.idle, connections.in_use) == (open_connections, open_connections, 0)
    assert stats.waiting == 0
    assert rings_are_free(owner), "a ring is lost"


def fields(*pairs: tuple[str, str]) -> Attack:
    """A head of these fields."""
    return lambda http2, stream_id: http2.send(http2.headers(stream_id, pairs))


def raw_block(block: bytes, flags: int = END_HEADERS) -> Attack:
    return lambda http2, stream_id: http2.send(frame(HEADERS, flags, stream_id, block))


def after_head(*pairs: tuple[str, str], then: Callable[[int], bytes]) -> Attack:
    """A good head, and then these frames."""

    def attack(http2: Http2Peer, stream_id: int) -> None:
        http2.send(http2.head(stream_id, 200, pairs), then(stream_id))

    return attack


def raw(*frames: Callable[[int], bytes] | bytes) -> Attack:
    """These frames."""

    def attack(http2: Http2Peer, stream_id: int) -> None:
        http2.send(*[each if isinstance(each, bytes) else each(stream_id) for each in frames])

    return attack


def interims(count: int) -> Attack:
    def attack(http2: Http2Peer, stream_id: int) -> None:
        http2.send(*[http2.head(stream_id, 103) for _ in range(count)])

    return attack


def trailers(*pairs: tuple[str, str], end: bool = True) -> Attack:
    def attack(http2: Http2Peer, stream_id: int) -> None:
        http2.send(http2.head(stream_id, 200), http2.headers(stream_id, pairs, end=end))

    return attack


STREAM_ERRORS: dict[str, tuple[Attack, int]] = {
    "no status": (fields(("a", "b")), PROTOCOL_ERROR),
    "two statuses": (fields((":status", "200"), (":status", "200")), PROTOCOL_ERROR),
    "status of letters": (fields((":status", "abc")), PROTOCOL_ERROR),
    "status of four digits": (fields((":status", "2000")), PROTOCOL_ERROR),
    "status 101": (fields((":status", "101")), PROTOCOL_ERROR),
    "status behind a field": (fields(("a", "b"), (":status", "200")), PROTOCOL_ERROR),
    "request's pseudo-field": (fields((":status", "200"), (":path", "/")), PROTOCOL_ERROR),
    "unknown pseudo-field": (fields((":status", "200"), (":what", "x")), PROTOCOL_ERROR),
    "name in capitals": (raw_block(b"\x88\x00\x01A\x01b"), PROTOCOL_ERROR),
    "empty name": (raw_block(b"\x88\x00\x00\x01b"), PROTOCOL_ERROR),
    "name with a blank": (raw_block(b"\x88\x00\x03a b\x01b"), PROTOCOL_ERROR),
    "CR LF in a value": (raw_block(b"\x88\x00\x01a\x04b\r\nc"), PROTOCOL_ERROR),
    "NUL in a value": (raw_block(b"\x88\x00\x01a\x02b\0"), PROTOCOL_ERROR),
    "connection": (fields((":status", "200"), ("connection", "close")), PROTOCOL_ERROR),
    "transfer-encoding": (fields((":status", "200"), ("transfer-encoding", "chunked")), PROTOCOL_ERROR),
    "content-length of letters": (fields((":status", "200"), ("content-length", "x")), PROTOCOL_ERROR),
    "content-length with a sign": (fields((":status", "200"), ("content-length", "+5")), PROTOCOL_ERROR),
    "two content-lengths": (
        fields((":status", "200"), ("content-length", "5"), ("content-length", "6")),
        PROTOCOL_ERROR,
    ),
    "DATA before the head": (raw(lambda stream: frame(DATA, 0, stream, b"x")), PROTOCOL_ERROR),
    "DATA before the final head": (
        lambda http2, stream: http2.send(http2.head(stream, 103), frame(DATA, END_STREAM, stream, b"x")),
        PROTOCOL_ERROR,
    ),
    "body too short": (
        after_head(("content-length", "5"), then=lambda stream: frame(DATA, END_STREAM, stream, b"1234")),
        PROTOCOL_ERROR,
    ),
    "body too long": (
        after_head(("content-length", "5"), then=lambda stream: frame(DATA, 0, stream, b"123456")),
        PROTOCOL_ERROR,
    ),
    "no body at all": (
        lambda http2, stream: http2.send(http2.head(stream, 200, [("content-length", "5")], end=True)),
        PROTOCOL_ERROR,
    ),
    "body of a 204": (
        lambda http2, stream: http2.send(http2.head(stream, 204), frame(DATA, END_STREAM, stream, b"x")),
        PROTOCOL_ERROR,
    ),
    "body cut short by trailers": (
        lambda http2, stream: http2.send(
            http2.head(stream, 200, [("content-length", "5")]),
            frame(DATA, 0, stream, b"123"),
            http2.headers(stream, [("a", "b")], end=True),
        ),
        PROTOCOL_ERROR,
    ),
    "interim head that ends": (lambda http2, stream: http2.send(http2.head(stream, 103, end=True)), PROTOCOL_ERROR),
    "interim heads without end": (interims(limits.MAX_INTERIM_RESPONSES + 1), ENHANCE_YOUR_CALM),
    "trailers that do not end": (trailers(("a", "b"), end=False), PROTOCOL_ERROR),
    "trailers with a status": (trailers((":status", "200")), PROTOCOL_ERROR),
    "update by nothing": (raw(lambda stream: update(stream, 0)), PROTOCOL_ERROR),
    "window above 2^31-1": (raw(lambda stream: update(stream, 2**31 - 1)), FLOW_CONTROL_ERROR),
    "PRIORITY of four bytes": (raw(lambda stream: frame(PRIORITY, 0, stream, b"1234")), FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_stream_error_ends_its_stream_alone(user: Face, clear: Wire, name: str) -> None:
    attack, code = STREAM_ERRORS[name]
    codes: Queue[int] = Queue()

    def play(http2: Http2Peer) -> None:
        http2.begin()
        requests = {request.path: request for request in http2.await_requests(2)}
        attack(http2, requests["/bad"].stream_id)
        codes.put(http2.await_reset(requests["/bad"].stream_id))
        say_path(http2, requests["/good"])
        http2.serve(say_path)

    with http2_site(clear, play) as site:
        bad, good = [user.begin("GET", site.url(path)) for path in ("/bad", "/good")]
        error = bad.outcome()
        assert isinstance(error, Http2Error)
        assert (error.error_code, user.take_from(codes)) == (code, code)
        assert error.stream_id in (1, 3)
        assert good.outcome().content == b"/good"
        assert user.get(site.url("/after")).content == b"/after"
        assert len(site.connections) == 1
        assert_nothing_lost(user)


def raw_frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> Attack:
    return raw(frame(kind, flags, stream_id, payload))


def answered_then(then: Callable[[int], bytes]) -> Attack:
    """A whole answer, and then something for the same stream."""

    def attack(http2: Http2Peer, stream_id: int) -> None:
        http2.send(http2.head(stream_id, 204, end=True), then(stream_id))

    return attack


CONNECTION_ERRORS: dict[str, tuple[Attack, int]] = {
    "DATA on stream 0": (raw_frame(DATA, 0, 0, b"x"), PROTOCOL_ERROR),
    "DATA on an idle stream": (raw_frame(DATA, 0, 99, b"x"), PROTOCOL_ERROR),
    "DATA on a stream of the server's": (raw_frame(DATA, 0, 2, b"x"), PROTOCOL_ERROR),
    "DATA with too much padding": (
        after_head(then=lambda stream: frame(DATA, PADDED, stream, b"\x05abcd")),
        PROTOCOL_ERROR,
    ),
    "DATA too long": (after_head(then=lambda stream: frame(DATA, 0, stream, bytes(16385))), FRAME_SIZE_ERROR),
    "HEADERS on stream 0": (lambda http2, stream: http2.send(http2.head(0)), PROTOCOL_ERROR),
    "HEADERS on an idle stream": (lambda http2, stream: http2.send(http2.head(99)), PROTOCOL_ERROR),
    "HEADERS on a stream of the server's": (lambda http2, stream: http2.send(http2.head(2)), PROTOCOL_ERROR),
    "HEADERS with too much padding": (
        raw(lambda stream: frame(HEADERS, END_HEADERS | PADDED, stream, b"\x05\x88")),
        PROTOCOL_ERROR,
    ),
    "HEADERS too long": (raw(lambda stream: frame(HEADERS, END_HEADERS, stream, bytes(16385))), FRAME_SIZE_ERROR),
    "PRIORITY on stream 0": (raw_frame(PRIORITY, 0, 0, PRIORITY_FIELD), PROTOCOL_ERROR),
    "RST_STREAM on stream 0": (raw(reset(0, 0)), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (raw(reset(99, 0)), PROTOCOL_ERROR),
    "RST_STREAM of three bytes": (raw(lambda stream: frame(RST_STREAM, 0, stream, b"123")), FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (raw(lambda stream: frame(SETTINGS, 0, stream)), PROTOCOL_ERROR),
    "SETTINGS of five bytes": (raw_frame(SETTINGS, 0, 0, b"12345"), FRAME_SIZE_ERROR),
    "acknowledgement with a payload": (raw_frame(SETTINGS, ACK, 0, b"123456"), FRAME_SIZE_ERROR),
    "ENABLE_PUSH 2": (raw(settings((2, 2))), PROTOCOL_ERROR),
    "ENABLE_PUSH 1, by a server": (raw(settings((2, 1))), PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE 2^31": (raw(settings((4, 2**31))), FLOW_CONTROL_ERROR),
    "INITIAL_WINDOW_SIZE that overflows": (
        raw(lambda stream: update(stream, 2**31 - 1 - 65535), settings((4, 65536))),
        FLOW_CONTROL_ERROR,
    ),
    "MAX_FRAME_SIZE too small": (raw(settings((5, 16383))), PROTOCOL_ERROR),
    "MAX_FRAME_SIZE too large": (raw(settings((5, 2**24))), PROTOCOL_ERROR),
    "PUSH_PROMISE": (raw(lambda stream: frame(PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\x02")), PROTOCOL_ERROR),
    "PING on a stream": (raw(lambda stream: frame(PING, 0, stream, bytes(8))), PROTOCOL_ERROR),
    "PING of seven bytes": (raw_frame(PING, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "GOAWAY on a stream": (raw(lambda stream: frame(GOAWAY, 0, stream, bytes(8))), PROTOCOL_ERROR),
    "GOAWAY of seven bytes": (raw_frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    "GOAWAY that takes back": (raw(goaway(3), goaway(5)), PROTOCOL_ERROR),
    "WINDOW_UPDATE of three bytes": (raw(lambda stream: frame(WINDOW_UPDATE, 0, stream, b"123")), FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by nothing": (raw(update(0, 0)), PROTOCOL_ERROR),
    "WINDOW_UPDATE that overflows": (raw(update(0, 2**31 - 1)), FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of an idle stream": (raw(update(99, 1)), PROTOCOL_ERROR),
    "CONTINUATION of nothing": (raw(lambda stream: frame(CONTINUATION, END_HEADERS, stream, b"\x88")), PROTOCOL_ERROR),
    "PING inside a header section": (
        raw(lambda stream: frame(HEADERS, 0, stream, b"\x88"), frame(PING, 0, 0, bytes(8))),
        PROTOCOL_ERROR,
    ),
    "CONTINUATION of another stream": (
        raw(lambda stream: frame(HEADERS, 0, stream, b"\x88"), lambda stream: frame(CONTINUATION, 4, stream ^ 2, b"")),
        PROTOCOL_ERROR,
    ),
    "CONTINUATION without end": (
        raw(
            lambda stream: frame(HEADERS, 0, stream, b"\x88"),
            lambda stream: frame(CONTINUATION, 0, stream) * (limits.MAX_HTTP2_CONTINUATIONS + 1),
        ),
        ENHANCE_YOUR_CALM,
    ),
    "header section without end": (
        raw(
            lambda stream: frame(HEADERS, 0, stream, b"\x88"),
            lambda stream: frame(CONTINUATION, 0, stream, bytes(16384)) * 5,
        ),
        ENHANCE_YOUR_CALM,
    ),
    "header block of noise": (raw_block(b"\xff\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "header block of an entry that is none": (raw_block(b"\xfe"), COMPRESSION_ERROR),
    "header block cut short": (raw_block(b"\x88\x00\x05ab"), COMPRESSION_ERROR),
    "header table above its limit": (raw_block(b"\x3f\xff\xff\x03\x88"), COMPRESSION_ERROR),
    "header block of noise, for a stream that is over": (
        answered_then(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\xff\xff\xff\xff\xff\xff")),
        COMPRESSION_ERROR,
    ),
    "HEADERS behind the end": (
        answered_then(lambda stream: frame(HEADERS, END_HEADERS, stream, b"\x88")),
        STREAM_CLOSED,
    ),
    "flood of PING": (raw(frame(PING, 0, 0, bytes(8)) * 5000), ENHANCE_YOUR_CALM),
    "flood of SETTINGS": (raw(settings() * 5000), ENHANCE_YOUR_CALM),
    "flood of acknowledgements": (raw(frame(SETTINGS, ACK, 0) * 5000), ENHANCE_YOUR_CALM),
    "flood of empty DATA": (
        after_head(then=lambda stream: frame(DATA, 0, stream) * 5000),
        ENHANCE_YOUR_CALM,
    ),
    "flood of padding": (
        after_head(then=lambda stream: frame(DATA, PADDED, stream, b"\x00") * 5000),
        ENHANCE_YOUR_CALM,
    ),
    "flood of PRIORITY": (
        raw(lambda stream: frame(PRIORITY, 0, stream, PRIORITY_FIELD) * 5000),
        ENHANCE_YOUR_CALM,
    ),
    "flood of updates": (raw(lambda stream: update(stream, 1) * 5000), ENHANCE_YOUR_CALM),
    "flood of resets": (raw(lambda stream: reset(stream, 2) * 5000), ENHANCE_YOUR_CALM),
    "flood of unknown frames": (raw(frame(0xBB, 0, 0) * 5000), ENHANCE_YOUR_CALM),
    "flood of GOAWAY": (raw(goaway(99) * 5000), ENHANCE_YOUR_CALM),
}

# Of these the first exchange is over, well or not, before the connection breaks.
FIRST_IS_OVER = {"HEADERS behind the end", "header block of noise, for a stream that is over", "flood of resets"}


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_connection_error_says_why_and_ends_every_exchange(user: Face, clear: Wire, name: str) -> None:
    attack, code = CONNECTION_ERRORS[name]
    codes: Queue[int] = Queue()

    def play(http2: Http2Peer) -> None:
        http2.begin()
        requests = {request.path: request for request in http2.await_requests(2)}
        attack(http2, requests["/bad"].stream_id)
        codes.put(http2.await_goaway())
        http2.await_close()

    with http2_site(clear, play, serving(say_path)) as site:
        exchanges = [user.begin("GET", site.url(path)) for path in ("/bad", "/good")]
        errors = [exchange.outcome() for exchange in exchanges]
        for path, error in list(zip(("/bad", "/good"), errors, strict=True))[name in FIRST_IS_OVER :]:
            assert isinstance(error, Http2Error)
            assert (error.error_code, error.stream_id, error.url) == (code, 0, site.url(path))
        assert user.get(site.url("/after")).content == b"/after"
        assert user.take_from(codes) == code
        assert len(site.connections) == 2
        assert_nothing_lost(user)


def test_head_above_the_limit_ends_its_stream_alone(user: Face, clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        request, good = sorted(http2.await_requests(2), key=lambda each: each.path)
        block = http2.block([(":status", "200"), *[(f"x{i}", "a" * 6000) for i in range(12)]])
        pieces = [block[start : start + 16384] for start in range(0, len(block), 16384)]
        http2.send(
            frame(HEADERS, 0, request.stream_id, pieces[0]),
            *[frame(CONTINUATION, 0, request.stream_id, piece) for piece in pieces[1:-1]],
            frame(CONTINUATION, END_HEADERS, request.stream_id, pieces[-1]),
        )
        codes.put(http2.await_reset(request.stream_id))
        say_path(http2, good)
        http2.serve(say_path)

    codes: Queue[int] = Queue()
    with http2_site(clear, play) as site:
        bad = user.begin("GET", site.url("/bad"))
        good = user.begin("GET", site.url("/good"))
        assert isinstance(bad.outcome(), HeadTooLarge)
        assert user.take_from(codes) == ENHANCE_YOUR_CALM
        assert good.outcome().content == b"/good"
        assert_nothing_lost(user)


FIRST_BYTES = {
    "PING": (frame(PING, 0, 0, bytes(8)), PROTOCOL_ERROR),
    "acknowledgement": (frame(SETTINGS, ACK, 0), PROTOCOL_ERROR),
    "HTTP/1.1": (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", PROTOCOL_ERROR),
    "noise": (b"\xff" * 100, PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_first_bytes_that_are_no_settings_end_the_connection(user: Face, clear: Wire, name: str) -> None:
    first, code = FIRST_BYTES[name]
    codes: Queue[int] = Queue()

    def play(http2: Http2Peer) -> None:
        http2.send(first)
        http2.peer.take(24)
        codes.put(http2.await_goaway())
        http2.await_close()

    with http2_site(clear, play) as site:
        error = user.error(site.url())
        assert isinstance(error, Http2Error)
        assert error.error_code == code
        if name == "HTTP/1.1":
            assert "HTTP/1" in str(error)
            assert error.code == "http1_answer"
        site.server.await_ended()
        assert user.take_from(codes) == code
        assert_nothing_lost(user, 0)


def test_data_behind_the_end_resets_its_stream_alone(user: Face, clear: Wire) -> None:
    def play(http2: Http2Peer) -> None:
        http2.begin()
        request = http2.await_request()
        say_path(http2, request)
        http2.send(frame(DATA, END_STREAM, request.stream_id, b"more"))
        http2.await_request()
        assert http2.await_reset(request.stream_id) == STREAM_CLOSED
        http2.answer(3, b"fine")
        http2.serve(say_path)

    with http2_site(clear, play) as site:
        assert user.get(site.url("/a")).content == b"/a"
        assert user.get(site.url("/b")).content == b"fine"
        assert_nothing_lost(user)
