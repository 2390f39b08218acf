"""SETTINGS (RFC 9113 §6.5, RFC 8441 §3): what they may be, what they say, and what an engine does about the peer's."""

from __future__ import annotations

import pytest

from support import http2
from support.http2 import SETTINGS_ACK, UPLOAD, Frame, Side
from turbosock import limits
from turbosock.errors import Http2Error
from turbosock.protocol.http2.error_codes import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR
from turbosock.protocol.http2.frames import (
    ACK,
    DATA,
    DEFAULT_WINDOW,
    GOAWAY,
    MAX_WINDOW,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
)
from turbosock.protocol.http2.settings import (
    ENABLE_CONNECT_PROTOCOL,
    ENABLE_PUSH,
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    UNLIMITED,
    Settings,
)

ACKNOWLEDGED = Frame(SETTINGS, ACK, 0)


@pytest.mark.parametrize(
    ("identifier", "value", "attribute", "expected"),
    [
        (HEADER_TABLE_SIZE, 0, "header_table_size", 0),
        (HEADER_TABLE_SIZE, 2**32 - 1, "header_table_size", 2**32 - 1),
        (ENABLE_PUSH, 0, "enable_push", False),
        (ENABLE_PUSH, 1, "enable_push", True),
        (MAX_CONCURRENT_STREAMS, 0, "max_concurrent_streams", 0),
        (INITIAL_WINDOW_SIZE, 0, "initial_window_size", 0),
        (INITIAL_WINDOW_SIZE, MAX_WINDOW, "initial_window_size", MAX_WINDOW),
        (MAX_FRAME_SIZE, 2**14, "max_frame_size", 2**14),
        (MAX_FRAME_SIZE, 2**24 - 1, "max_frame_size", 2**24 - 1),
        (MAX_HEADER_LIST_SIZE, 1, "max_header_list_size", 1),
        (ENABLE_CONNECT_PROTOCOL, 1, "enable_connect_protocol", True),
        (ENABLE_CONNECT_PROTOCOL, 0, "enable_connect_protocol", False),
    ],
)
def test_setting_within_its_bounds_is_taken(identifier: int, value: int, attribute: str, expected: object) -> None:
    settings = Settings()
    settings.set(identifier, value)
    assert getattr(settings, attribute) == expected


@pytest.mark.parametrize(
    ("identifier", "value", "code"),
    [
        (ENABLE_PUSH, 2, PROTOCOL_ERROR),
        (INITIAL_WINDOW_SIZE, MAX_WINDOW + 1, FLOW_CONTROL_ERROR),
        (MAX_FRAME_SIZE, 2**14 - 1, PROTOCOL_ERROR),
        (MAX_FRAME_SIZE, 2**24, PROTOCOL_ERROR),
        (ENABLE_CONNECT_PROTOCOL, 2, PROTOCOL_ERROR),
    ],
)
def test_setting_beyond_its_bounds_ends_the_connection(identifier: int, value: int, code: int) -> None:
    with pytest.raises(Http2Error) as raised:
        Settings().set(identifier, value)
    assert raised.value.error_code == code
    side = Side(client=False)
    (goodbye,) = side.feed(http2.settings((identifier, value)))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, code)
    assert side.error is not None and side.error.error_code == code


def test_extended_connect_once_offered_is_not_taken_back() -> None:
    settings = Settings()
    settings.set(ENABLE_CONNECT_PROTOCOL, 1)
    with pytest.raises(Http2Error, match="ENABLE_CONNECT_PROTOCOL"):
        settings.set(ENABLE_CONNECT_PROTOCOL, 0)


def test_unknown_settings_are_ignored_and_acknowledged() -> None:
    side = Side(client=True)
    before = side.engine.remote.payload()
    assert side.feed(http2.settings((0x7, 1), (0x9, 1), (0xFFFF, 2**32 - 1))) == [ACKNOWLEDGED]
    assert side.engine.remote.payload() == before


def test_payload_says_what_differs_from_the_defaults() -> None:
    settings = Settings()
    assert settings.payload() == b""
    settings.enable_push = False
    settings.max_concurrent_streams = 7
    assert settings.payload() == bytes.fromhex("000200000000 000300000007")
    assert Settings().max_concurrent_streams == UNLIMITED


def test_hello_of_each_side_says_its_settings_and_the_connections_window() -> None:
    client = Side(client=True, greeted=False, initial_window=100_000, max_list_bytes=5_000)
    sent = client.take()
    assert sent.startswith(PREFACE)
    greeting = http2.frames_in(sent)
    grown = limits.HTTP2_CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW
    assert greeting == http2.frames_in(
        http2.settings((ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, 100_000), (MAX_HEADER_LIST_SIZE, 5_000))
        + http2.window_update(0, grown)
    )
    server = Side(client=False, greeted=False, max_streams=9)
    assert server.frames() == http2.frames_in(
        http2.settings(
            (MAX_CONCURRENT_STREAMS, 9),
            (INITIAL_WINDOW_SIZE, limits.HTTP2_STREAM_WINDOW_BYTES),
            (MAX_HEADER_LIST_SIZE, limits.MAX_HEAD_BYTES),
            (ENABLE_CONNECT_PROTOCOL, 1),
        )
        + http2.window_update(0, grown)
    )


@pytest.mark.parametrize("client", [True, False], ids=["client", "server"])
@pytest.mark.parametrize(
    "first",
    [
        http2.ping(),
        http2.window_update(0, 1),
        SETTINGS_ACK,
        http2.frame(0xFA, 0, 0),
        http2.frame(0, 0, 1, b"x" * 20_000),
    ],
    ids=["PING", "WINDOW_UPDATE", "ACK", "unknown", "too long"],
)
def test_first_frame_that_is_not_settings_ends_the_connection(client: bool, first: bytes) -> None:
    side = Side(client=client, greeted=False)
    side.take()
    (goodbye,) = side.feed((b"" if client else PREFACE) + first)
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)
    assert side.error is not None and side.error.code == "bad_preface"


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", bytes(40)])
def test_client_that_begins_with_something_else_is_refused(junk: bytes) -> None:
    side = Side(client=False, greeted=False)
    side.take()
    (goodbye,) = side.feed(junk)
    assert (goodbye.kind, goodbye.code) == (GOAWAY, PROTOCOL_ERROR)


def test_server_that_answers_in_http_1_is_named() -> None:
    side = Side(client=True, greeted=False)
    side.feed(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert side.error is not None and side.error.code == "http1_answer"


def test_settings_too_long_for_a_frame_are_a_frame_size_error_even_as_the_first() -> None:
    side = Side(client=True, greeted=False)
    side.feed(http2.settings(*[(0x7, 0)] * 3_000))
    assert side.error is not None and side.error.error_code == FRAME_SIZE_ERROR


def test_server_that_turns_pushes_on_breaks_the_connection_and_one_that_turns_them_off_does_not() -> None:
    client = Side(client=True)
    assert client.feed(http2.settings((ENABLE_PUSH, 0))) == [ACKNOWLEDGED]
    client.feed(http2.settings((ENABLE_PUSH, 1)))
    assert client.error is not None and client.error.error_code == PROTOCOL_ERROR
    server = Side(client=False)
    assert server.feed(http2.settings((ENABLE_PUSH, 1))) == [ACKNOWLEDGED]


def test_change_of_the_first_window_moves_open_streams_also_below_zero() -> None:
    side = Side(client=True)
    stream = side.request(UPLOAD, end=False)
    assert side.engine.send_data(stream, memoryview(bytes(10_000)), False) == 10_000
    side.take()
    assert side.feed(http2.settings((INITIAL_WINDOW_SIZE, 4_000))) == [ACKNOWLEDGED]
    assert stream.send_window == 4_000 - 10_000
    assert side.engine.send_data(stream, memoryview(b"x"), True) == -1
    side.engine.wait_for_room(stream)
    side.feed(http2.window_update(1, 6_000))
    assert stream.send_window == 0
    assert side.engine.send_data(stream, memoryview(b"x"), True) == -1
    side.engine.wait_for_room(stream)
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, 4_001)))
    assert stream.send_window == 1 and stream.rooms == 2
    assert side.engine.send_data(stream, memoryview(b"x"), True) == 1
    assert side.request(UPLOAD).send_window == 4_001


def test_end_of_a_stream_needs_no_window() -> None:
    side = Side(client=True)
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, 0)))
    stream = side.request(UPLOAD, end=False)
    assert side.engine.send_data(stream, memoryview(b"x"), True) == -1
    assert side.engine.send_data(stream, memoryview(b""), True) == 0
    assert side.frames()[-1] == Frame(DATA, 1, 1)


def test_each_of_several_first_windows_in_one_frame_counts() -> None:
    side = Side(client=True)
    stream = side.request(UPLOAD, end=False)
    side.take()
    side.feed(http2.settings((INITIAL_WINDOW_SIZE, 10), (INITIAL_WINDOW_SIZE, 20)))
    assert stream.send_window == 20
    side.feed(http2.window_update(1, 100))
    (goodbye,) = side.feed(http2.settings((INITIAL_WINDOW_SIZE, MAX_WINDOW), (INITIAL_WINDOW_SIZE, 0)))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, FLOW_CONTROL_ERROR)


def test_first_window_that_drives_an_open_one_too_high_ends_the_connection() -> None:
    side = Side(client=True)
    side.request(UPLOAD, end=False)
    side.take()
    side.feed(http2.window_update(1, 100))
    (goodbye,) = side.feed(http2.settings((INITIAL_WINDOW_SIZE, MAX_WINDOW)))
    assert (goodbye.kind, goodbye.code) == (GOAWAY, FLOW_CONTROL_ERROR)


def test_frames_are_as_large_as_the_peer_takes_them() -> None:
    side = Side(client=True)
    side.feed(http2.settings((MAX_FRAME_SIZE, 20_000), (INITIAL_WINDOW_SIZE, MAX_WINDOW)))
    stream = side.request(UPLOAD, end=False)
    side.take()
    assert side.engine.send_data(stream, memoryview(bytes(50_000)), False) == 20_000
    (frame,) = side.frames()
    assert len(frame.payload) == 20_000


def test_smaller_header_table_of_the_peer_is_heard() -> None:
    side = Side(client=True)
    side.feed(http2.settings((HEADER_TABLE_SIZE, 0)))
    assert side.engine.encoder.encode([(b":method", b"GET")]) == b"\x20\x82"


def test_own_change_of_the_first_window_holds_once_it_is_acknowledged() -> None:
    side = Side(client=True, initial_window=100_000)
    stream = side.request()
    side.feed(http2.headers(1))
    side.take()
    side.engine.change_initial_window(30_000)
    (change,) = side.frames()
    assert change == http2.frames_in(http2.settings((INITIAL_WINDOW_SIZE, 30_000)))[0]
    # What the peer sent before it read that is within its rights.
    side.feed(b"".join([http2.data(1, bytes(10_000))] * 5))
    assert side.error is None and stream.failure is None
    side.feed(SETTINGS_ACK)
    assert (stream.window, stream.receive_window) == (30_000, -20_000)
    assert side.request().window == 30_000
    # Credit comes with what is read, and the window is whole when all is.
    side.take()
    side.engine.consumed(stream, 50_000)
    (credit,) = [frame for frame in side.frames() if frame.kind == WINDOW_UPDATE]
    assert (credit.stream, credit.word) == (1, 50_000)
    assert stream.receive_window == stream.window == 30_000
    side.feed(http2.data(1, bytes(10_000)) * 3)
    assert stream.failure is None
    side.feed(http2.data(1, b"x"))
    assert isinstance(stream.failure, Http2Error) and stream.failure.error_code == FLOW_CONTROL_ERROR


def test_window_of_nothing_gives_credit_only_for_what_was_read() -> None:
    side = Side(client=True, initial_window=1_000)
    stream = side.request()
    side.feed(http2.headers(1))
    side.take()
    side.engine.change_initial_window(0)
    side.take()
    side.feed(SETTINGS_ACK)
    side.engine.consumed(stream, 0)
    assert side.take() == b"", "an update by nothing would break the connection"


def test_client_of_a_small_windowed_server_may_send_by_the_usual_one_until_it_knows() -> None:
    side = Side(client=False, greeted=False, initial_window=1_000)
    side.take()
    side.feed(PREFACE + http2.settings() + http2.headers(1, UPLOAD) + http2.data(1, bytes(16_384)) * 3)
    early = side.opened[1]
    assert early.failure is None and len(early.data) == 3 * 16_384
    side.feed(SETTINGS_ACK + http2.headers(3, UPLOAD) + http2.data(3, bytes(1_000)))
    late = side.opened[3]
    assert late.failure is None and late.window == early.window == 1_000
    side.feed(http2.data(3, b"x"))
    assert isinstance(late.failure, Http2Error) and late.failure.error_code == FLOW_CONTROL_ERROR
    side.take()
    side.engine.consumed(early, 3 * 16_384)
    assert early.receive_window == 1_000


def test_acknowledgement_that_nobody_waits_for_is_let_pass() -> None:
    side = Side(client=True)
    assert side.feed(SETTINGS_ACK * 3) == []
    assert side.error is None
