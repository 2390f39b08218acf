from __future__ import annotations

import pytest

from support.http1 import CountingBuffer, Reader, read_every_way
from turbosock.errors import BodyTruncated, HeadTooLarge, LimitError, ProtocolError
from turbosock.limits import (
    MAX_CHUNK_EXTENSION_BYTES,
    MAX_CHUNK_LINE_BYTES,
    MAX_CHUNK_SIZE_DIGITS,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
)
from turbosock.protocol.http1.body import ENDLESS_RUN, FORBIDDEN_TRAILERS, BodyFraming
from turbosock.protocol.http1.framing import Framing

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTROLS = [*range(0x20), 0x7F]


def chunked_error(data: bytes) -> ProtocolError | LimitError:
    """The error that a chunked body raises in whatever way it is fed."""
    error = read_every_way("GET", CHUNKED + data).error
    assert error is not None
    return error


def chunked_body(data: bytes) -> bytes:
    """A complete chunked body's payload, the same in whatever way it is fed."""
    reader = read_every_way("GET", CHUNKED + data)
    assert reader.error is None
    assert reader.messages[0].complete
    assert reader.leftover == 0
    return bytes(reader.messages[0].body)


def chunked_framing() -> BodyFraming:
    body = BodyFraming()
    body.begin(Framing.CHUNKED)
    return body


def test_body_with_a_length_is_one_run() -> None:
    body = BodyFraming()
    body.begin(Framing.LENGTH, 10)
    assert (body.run, body.complete) == (10, False)
    body.payload(4)
    assert (body.run, body.received, body.complete) == (6, 4, False)
    assert body.advance(bytearray(b"rest"), 2, 4) == 2
    body.payload(6)
    assert (body.run, body.received, body.complete) == (0, 10, True)


def test_body_with_length_zero_or_none_is_complete_at_once() -> None:
    body = BodyFraming()
    assert body.complete
    body.begin(Framing.LENGTH, 0)
    assert body.complete
    body.begin(Framing.NONE)
    assert body.complete
    body.end_of_stream()


def test_body_until_close_is_endless_and_completed_by_the_close() -> None:
    body = BodyFraming()
    body.begin(Framing.CLOSE)
    assert body.run == ENDLESS_RUN
    body.payload(1000)
    assert body.run > 2**62
    assert not body.complete
    body.end_of_stream()
    assert (body.run, body.received, body.complete) == (0, 1000, True)


def test_body_begun_again_forgets_the_one_before() -> None:
    body = chunked_framing()
    data = bytearray(b"5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n")
    assert body.advance(data, 0, len(data)) == 7
    body.payload(5)
    assert body.advance(data, 12, len(data)) == len(data)
    assert body.complete
    assert body.trailers is not None
    body.begin(Framing.CHUNKED)
    assert (body.run, body.received, body.complete) == (0, 0, False)
    assert not body.trailers
    assert body.advance(bytearray(b"1\r\n"), 0, 3) == 3
    assert body.run == 1


def test_body_taken_beyond_its_run_is_our_bug() -> None:
    body = BodyFraming()
    body.begin(Framing.LENGTH, 3)
    with pytest.raises(AssertionError):
        body.payload(4)


@pytest.mark.parametrize(("framing", "length"), [(Framing.LENGTH, 10), (Framing.CHUNKED, -1)])
def test_body_closed_early_is_truncated_and_says_how_much_came(framing: Framing, length: int) -> None:
    body = BodyFraming()
    body.begin(framing, length)
    if framing is Framing.CHUNKED:
        body.advance(bytearray(b"5\r\n"), 0, 3)
    body.payload(3)
    with pytest.raises(BodyTruncated, match="after 3 bytes"):
        body.end_of_stream()
    assert not body.complete


@pytest.mark.parametrize("data", [b"", b"5", b"5\r\n", b"5\r\nhello", b"5\r\nhello\r\n", b"0\r\n", b"0\r\nA: b\r\n"])
def test_chunked_body_closed_anywhere_before_its_end_is_truncated(data: bytes) -> None:
    reader = read_every_way("GET", CHUNKED + data, end=True)
    assert isinstance(reader.error, BodyTruncated)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
        (b"A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n", b"0123456789" * 2),
        (b"00000000000005\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
        (b'5;a="b;\\"c\\\\ \t\xe4";d\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b'5;a=""\r\nhello\r\n0\r\n\r\n', b"hello"),
    ],
)
def test_chunked_body_fed_every_way_gives_its_payload(data: bytes, payload: bytes) -> None:
    assert chunked_body(data) == payload


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" 5",
        b"5 ",
        b"5\t",
        b"0x5",
        b"+5",
        b"-5",
        b"5_0",
        b"g",
        b"5g",
        b"\xd9\xa5",
        b"5\r",
        b"\r5",
        b"5;",
        b"5;;a",
        b"5;a=",
        b"5;=b",
        b"5;a=b c",
        b"5 a",
        b"5 ;a",
        b"5\t;a",
        b"5; a",
        b"5;a =b",
        b"5;a= b",
        b"5;a= ",
        b"5;a;",
        b"5,a",
        b'5;a="b',
        b'5;a="b\\',
        b'5;a="b"c',
        b'5;a=b"c"',
        b"5;a\x00",
        b'5;a="\x00"',
        b'5;a="\\\x01"',
        b"5;a=b ",
        b"5;\xe4",
    ],
)
def test_chunk_line_outside_the_grammar_is_refused(line: bytes) -> None:
    error = chunked_error(line + b"\r\nhello\r\n0\r\n\r\n")
    assert isinstance(error, ProtocolError)
    assert error.code == "bad_chunk"


@pytest.mark.parametrize("data", [b"g", b" ", b"\r", b"\x00", b"\xff" * 10])
def test_chunk_line_that_cannot_become_valid_is_refused_before_it_ends(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="size line"):
        chunked_framing().advance(bytearray(data), 0, len(data))


@pytest.mark.parametrize("control", [c for c in CONTROLS if c != 9])
def test_chunk_extension_with_a_control_byte_is_refused(control: int) -> None:
    for line in (b"5;a%bb", b'5;a="%b"', b"5%b;a", b"5;a=%b"):
        chunked_error(line % bytes([control]) + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n", b"ab", b"\x00\x00"])
def test_chunk_line_that_ends_without_crlf_is_refused(end: bytes) -> None:
    chunked_error(b"5" + end + b"hello\r\n0\r\n\r\n")


@pytest.mark.parametrize("end", [b"\n", b"\r", b"XX", b"\rX", b"X\n", b"", b"\r\r\n"])
def test_chunk_data_not_followed_by_crlf_is_refused(end: bytes) -> None:
    error = chunked_error(b"5\r\nhello" + end + b"0\r\n\r\n")
    assert error.code == "bad_chunk"


def test_chunk_size_of_too_many_digits_is_refused() -> None:
    body = chunked_framing()
    line = bytearray(b"f" * MAX_CHUNK_SIZE_DIGITS + b"\r\n")
    assert body.advance(line, 0, len(line)) == len(line)
    assert body.run == 16**MAX_CHUNK_SIZE_DIGITS - 1
    chunked_error(b"0" * (MAX_CHUNK_SIZE_DIGITS + 1) + b"\r\n")


def test_chunk_line_too_long_is_refused_with_and_without_its_end() -> None:
    fits = b"1;a=" + b"b" * (MAX_CHUNK_LINE_BYTES - 6) + b"\r\n"
    assert len(fits) == MAX_CHUNK_LINE_BYTES
    body = chunked_framing()
    assert body.advance(bytearray(fits), 0, len(fits)) == len(fits)
    for line in (fits[:-2] + b"b\r\n", fits[:-2] + b"bb"):
        with pytest.raises(LimitError) as raised:
            chunked_framing().advance(bytearray(line), 0, len(line))
        assert raised.value.code == "chunk_line"


def test_chunk_extensions_of_one_body_are_bounded_together() -> None:
    body = chunked_framing()
    chunk = bytearray(b"1;" + b"a" * 999 + b"\r\nx\r\n")
    for _ in range(MAX_CHUNK_EXTENSION_BYTES // 1000):
        assert body.advance(chunk, 0, len(chunk)) == len(chunk) - 3
        body.payload(1)
        assert body.advance(chunk, len(chunk) - 2, len(chunk)) == len(chunk)
    with pytest.raises(LimitError) as raised:
        body.advance(chunk, 0, len(chunk))
    assert raised.value.code == "chunk_extensions"


def test_trailers_are_kept_apart_from_the_head() -> None:
    reader = read_every_way("GET", CHUNKED + b"2\r\nok\r\n0\r\nDigest: x\r\nX-A:  b \r\n\r\n")
    message = reader.messages[0]
    assert message.trailers is not None
    assert message.trailers.raw == ((b"Digest", b"x"), (b"X-A", b"b"))
    assert "digest" not in message.head.headers


def test_body_without_trailers_has_none() -> None:
    assert read_every_way("GET", CHUNKED + b"0\r\n\r\n").messages[0].trailers is None


@pytest.mark.parametrize("key", sorted(FORBIDDEN_TRAILERS))
def test_trailer_that_frames_or_routes_is_refused(key: bytes) -> None:
    assert chunked_error(b"0\r\nA: b\r\n" + key.title() + b": 5\r\n\r\n").code == "bad_field"


@pytest.mark.parametrize(
    "lines", [b" A: b\r\n", b"A : b\r\n", b"A\r\n", b"A: b\n\r\n", b"A: b\rc\r\n", b"A: \x00\r\n", b"A: b\r\n c\r\n"]
)
def test_trailer_outside_the_grammar_is_refused(lines: bytes) -> None:
    chunked_error(b"0\r\n" + lines + b"\r\n")


def test_trailers_are_bounded_in_bytes_and_fields() -> None:
    head = b"0\r\n"
    fits = head + b"A: b\r\n" * MAX_HEAD_FIELDS + b"\r\n"
    assert chunked_framing().advance(bytearray(fits), 0, len(fits)) == len(fits)
    many = head + b"A: b\r\n" * (MAX_HEAD_FIELDS + 1) + b"\r\n"
    with pytest.raises(HeadTooLarge):
        chunked_framing().advance(bytearray(many), 0, len(many))
    unfinished = head + b"A: " + b"b" * (MAX_HEAD_BYTES - 4)
    assert chunked_framing().advance(bytearray(unfinished), 0, len(unfinished)) == len(head)
    for data in (unfinished + b"b", unfinished + b"bbb", unfinished + b"\r\n\r\n"):
        with pytest.raises(HeadTooLarge):
            chunked_framing().advance(bytearray(data), 0, len(data))


def test_chunk_line_that_moves_inside_the_buffer_is_still_searched_on() -> None:
    body = chunked_framing()
    line = b"5;name=value\r\n"
    for size in range(len(line)):
        offset = 100 - 7 * size
        buffer = bytearray(b"\xdb" * offset + line[:size])
        assert body.advance(buffer, offset, offset + size) == offset
    assert body.advance(bytearray(line), 0, len(line)) == len(line)
    assert body.run == 5


def test_million_one_byte_chunks_take_one_advance_each() -> None:
    count = 1_000_000
    block = bytearray(b"1\r\nx\r\n" * 1000)
    body = chunked_framing()
    advance = body.advance
    payload = body.payload
    calls = 0
    for _ in range(count // 1000):
        at = 0
        for _ in range(1000):
            at = advance(block, at, 6000)
            payload(1)
            at += 1
            calls += 1
        at = advance(block, at, 6000)
        assert at == 6000
    assert body.received == calls == count


def test_one_byte_chunks_are_searched_in_linear_work() -> None:
    body = chunked_framing()
    data = CountingBuffer(b"1\r\nx\r\n" * 5000)
    at = 0
    while at < len(data):
        at = body.advance(data, at, len(data))
        if body.run:
            body.payload(1)
            at += 1
    assert body.received == 5000
    assert data.searched <= len(data)


@pytest.mark.parametrize("data", [b"1;" + b"a" * 4000 + b"\r\n", b"0\r\nA: " + b"b" * 4000 + b"\r\n\r\n"])
def test_chunk_line_and_trailers_byte_by_byte_are_searched_in_linear_work(data: bytes) -> None:
    body = chunked_framing()
    buffer = CountingBuffer(data)
    at = 0
    for end in range(1, len(data) + 1):
        at = body.advance(buffer, at, end)
    assert body.run == 1 or body.complete
    assert buffer.searched <= 5 * len(data)


def test_response_until_close_is_whole_at_the_close() -> None:
    reader = Reader("GET")
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")
    reader.feed(b"thing")
    message = reader.messages[0]
    complete_before = message.complete
    reader.end_of_stream()
    assert (complete_before, message.complete) == (False, True)
    assert message.body == b"something"


def test_response_with_a_length_closed_early_is_truncated() -> None:
    reader = read_every_way("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", end=True)
    assert isinstance(reader.error, BodyTruncated)
    assert "7 of 10" in str(reader.error)
