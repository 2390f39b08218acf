"""One message as frames bring it: heads, interim heads, bodies of an announced length, trailers (RFC 9113 §8)."""

from __future__ import annotations

import pytest

from support import http2
from support.http2 import REQUEST, RESPONSE, TRAILERS, UPLOAD, Recorder, Side
from turbosock import limits
from turbosock.errors import HeadTooLarge, Http2Error
from turbosock.protocol.http1.headers import Field
from turbosock.protocol.http2 import stream as stream_module
from turbosock.protocol.http2.error_codes import ENHANCE_YOUR_CALM, PROTOCOL_ERROR
from turbosock.protocol.http2.frames import RST_STREAM
from turbosock.protocol.http2.stream import CONNECT, HEAD, ORDINARY, method_kind
from turbosock.protocol.http2.stream_state import IDLE


def answered(*wire: bytes, kind: int = ORDINARY) -> tuple[Side, Recorder]:
    """A client whose stream 1 got these frames."""
    side = Side(client=True)
    stream = side.request(kind=kind)
    side.take()
    side.feed(b"".join(wire))
    assert side.error is None
    return side, stream


def sized(length: bytes) -> tuple[Field, ...]:
    return (*RESPONSE, (b"content-length", length))


def test_kinds_of_methods() -> None:
    assert [method_kind(each) for each in ("GET", "HEAD", "CONNECT", "head")] == [ORDINARY, HEAD, CONNECT, ORDINARY]


def test_answer_comes_in_order() -> None:
    _, stream = answered(
        http2.headers(1, ((b":status", b"103"), (b"link", b"<a>"))),
        http2.headers(1),
        http2.data(1, b"one "),
        http2.data(1, b"two"),
        http2.headers(1, TRAILERS, end=True),
    )
    assert stream.interims == [103]
    assert stream.head is not None and stream.head.status_code == 200
    assert stream.data == b"one two"
    assert stream.trailers is not None and tuple(stream.trailers.raw) == TRAILERS
    assert stream.ended and stream.closed and stream.failure is None


def test_head_alone_may_end_the_stream_and_is_told_once() -> None:
    _, stream = answered(http2.headers(1, end=True))
    assert stream.ended and stream.news == 1


def test_head_is_told_with_the_data_behind_it_once() -> None:
    _, stream = answered(http2.headers(1) + http2.data(1, b"body", end=True))
    assert stream.ended and stream.news == 1


def test_head_is_told_at_the_end_of_the_bytes_where_nothing_follows() -> None:
    _, stream = answered(http2.headers(1))
    assert stream.head is not None and stream.news == 1 and not stream.ended


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (http2.headers(1, sized(b"3")) + http2.data(1, b"four"), "body_too_long"),
        (http2.headers(1, sized(b"3")) + http2.data(1, b"12") + http2.data(1, b"34", end=True), "body_too_long"),
        (http2.headers(1, sized(b"3")) + http2.data(1, b"12", end=True), "body_cut_short"),
        (http2.headers(1, sized(b"3")) + http2.data(1, b"12") + http2.data(1, end=True), "body_cut_short"),
        (http2.headers(1, sized(b"3")) + http2.headers(1, TRAILERS, end=True), "body_cut_short"),
        (http2.headers(1, sized(b"3"), end=True), "malformed"),
        (http2.headers(1, sized(b"+3")), "malformed"),
        (http2.headers(1, ((b":status", b"204"),)) + http2.data(1, b"x", end=True), "body_too_long"),
        (http2.headers(1, ((b":status", b"304"),)) + http2.data(1, b"x", end=True), "body_too_long"),
        (http2.headers(1, ((b":status", b"101"),)), "malformed"),
        (http2.headers(1, ((b":status", b"103"),), end=True), "malformed"),
        (http2.headers(1, ((b":status", b"103"),)) + http2.data(1, b"x"), "malformed"),
        (http2.data(1, b"x"), "malformed"),
        (http2.headers(1) + http2.headers(1, TRAILERS), "malformed"),
        (http2.headers(1) + http2.headers(1, end=True), "malformed"),
        (http2.headers(1, REQUEST), "malformed"),
        (http2.headers(1, ((b":status", b"200"), (b"connection", b"close"))), "malformed"),
    ],
)
def test_malformed_answer_fails_its_stream_alone(wire: bytes, code: str) -> None:
    side = Side(client=True)
    stream, other = side.request(), side.request()
    side.take()
    (frame,) = side.feed(wire)
    assert (frame.kind, frame.stream, frame.code) == (RST_STREAM, 1, PROTOCOL_ERROR)
    assert stream.failure is not None and stream.failure.code == code
    # What is still on its way is let pass.
    assert side.feed(http2.data(1, b"late", end=True)) == []
    side.feed(http2.headers(3, end=True))
    assert other.ended and other.failure is None


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (http2.headers(1, sized(b"3"), end=True), HEAD),
        (http2.headers(1, sized(b"3")) + http2.data(1, end=True), HEAD),
        (http2.headers(1, sized(b"0")) + http2.data(1, end=True), ORDINARY),
        (http2.headers(1, ((b":status", b"304"), (b"content-length", b"3")), end=True), ORDINARY),
        (http2.headers(1, sized(b"3")) + http2.data(1, b"123") + http2.data(1, end=True), ORDINARY),
        (http2.headers(1, sized(b"3")) + http2.data(1, b"123") + http2.headers(1, TRAILERS, end=True), ORDINARY),
        (http2.headers(1) + http2.data(1, b"tunnelled") + http2.data(1, end=True), CONNECT),
    ],
)
def test_answer_whose_length_is_right_for_its_method_ends_well(wire: bytes, kind: int) -> None:
    side, stream = answered(wire, kind=kind)
    assert stream.ended and stream.failure is None and side.take() == b""


def test_tunnel_whose_head_is_known_has_data_too() -> None:
    side = Side(client=True)
    for number in (1, 3):
        stream = side.request(kind=CONNECT)
        side.feed(http2.headers(number))
        side.feed(http2.data(number, b"tunnelled"))
        assert stream.failure is None and stream.data == b"tunnelled"


def test_interim_heads_beyond_the_bound_fail_the_stream() -> None:
    interim = http2.headers(1, ((b":status", b"103"),))
    _, stream = answered(interim * limits.MAX_INTERIM_RESPONSES)
    assert stream.failure is None and len(stream.interims) == limits.MAX_INTERIM_RESPONSES
    _, stream = answered(interim * (limits.MAX_INTERIM_RESPONSES + 1))
    assert isinstance(stream.failure, Http2Error)
    assert (stream.failure.code, stream.failure.error_code) == ("too_many_interim", ENHANCE_YOUR_CALM)


def test_head_beyond_its_limits_fails_its_stream_and_no_other() -> None:
    side = Side(client=True, max_fields=4)
    stream, other = side.request(), side.request()
    side.take()
    (frame,) = side.feed(http2.headers(1, RESPONSE + tuple((b"a", b"%d" % i) for i in range(4))))
    assert (frame.kind, frame.stream, frame.code) == (RST_STREAM, 1, ENHANCE_YOUR_CALM)
    assert isinstance(stream.failure, HeadTooLarge)
    side.feed(http2.headers(3, end=True))
    assert other.ended


def test_request_comes_with_its_body_and_trailers() -> None:
    side = Side(client=False)
    side.feed(http2.headers(1, UPLOAD) + http2.data(1, b"body") + http2.headers(1, TRAILERS, end=True))
    stream = side.opened[1]
    assert stream.request is not None and (stream.request.method, stream.request.target) == ("POST", b"/")
    assert stream.data == b"body" and stream.ended and not stream.closed
    assert stream.trailers is not None and tuple(stream.trailers.raw) == TRAILERS


def test_extended_connect_is_taken_by_a_server_and_names_its_protocol() -> None:
    side = Side(client=False)
    side.feed(http2.headers(1, ((b":method", b"CONNECT"), (b":protocol", b"websocket"), *REQUEST[1:])))
    request = side.opened[1].request
    assert request is not None and (request.method, request.upgrade, request.target) == ("CONNECT", "websocket", b"/")
    side.feed(http2.data(1, b"frames"))
    side.respond(side.opened[1], end=False)
    assert side.opened[1].data == b"frames" and side.opened[1].failure is None


@pytest.mark.parametrize(
    "fields",
    [
        RESPONSE,
        REQUEST[1:],
        (*REQUEST, (b":status", b"200")),
        (*REQUEST, (b"x", b"1"), (b":path", b"/b")),
        (*REQUEST, (b"Upper", b"1")),
        (*REQUEST, (b"te", b"gzip")),
        (*REQUEST, (b"transfer-encoding", b"chunked")),
        (*REQUEST, (b"x", b"a\r\nb: c")),
        (*REQUEST, (b":protocol", b"websocket")),
    ],
)
def test_malformed_request_is_reset_and_told_as_a_failure(fields: tuple[Field, ...]) -> None:
    side = Side(client=False)
    (frame,) = side.feed(http2.headers(1, fields, end=True))
    assert (frame.kind, frame.stream, frame.code) == (RST_STREAM, 1, PROTOCOL_ERROR)
    failure = side.opened[1].failure
    assert failure is not None and failure.code == "malformed" and side.opened[1].request is None


def test_stream_that_begins_again_is_as_new() -> None:
    fresh = Recorder()
    _, stream = answered(
        http2.headers(1, ((b":status", b"100"),)),
        http2.headers(1, sized(b"1")),
        http2.data(1, b"1"),
        http2.headers(1, TRAILERS, end=True),
    )
    stream.begin(HEAD)
    names = [name for name in stream_module.Stream.__slots__ if name != "kind"]
    assert [getattr(stream, name) for name in names] == [getattr(fresh, name) for name in names]
    assert stream.kind == HEAD and stream.state == IDLE
