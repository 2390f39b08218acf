from __future__ import annotations

import pytest

from turbosock.errors import ProtocolError
from turbosock.limits import MAX_CONTENT_LENGTH_DIGITS
from turbosock.protocol.http1 import framing
from turbosock.protocol.http1.framing import Framing


@pytest.mark.parametrize(
    ("value", "length"),
    [(None, -1), (b"0", 0), (b"42", 42), (b"007", 7), (b"5, 5", 5), (b"5,5\t,5", 5), (b"9" * 18, 10**18 - 1)],
)
def test_content_length_of_one_number_is_read(value: bytes | None, length: int) -> None:
    assert framing.content_length(value) == length


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+5",
        b"-5",
        b"0x5",
        b"5_0",
        b"5 5",
        b"5.0",
        b"5;",
        b"5,6",
        b"5,",
        b",5",
        b"05, 5",
        b"\xd9\xa5",
        b"\xb2",
        b"9223372036854775808",
        b"0" * (MAX_CONTENT_LENGTH_DIGITS + 1),
        b"1" * 5000,
    ],
)
def test_content_length_of_anything_else_is_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        framing.content_length(value)
    assert raised.value.code == "bad_content_length"


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED"])
def test_transfer_encoding_chunked_alone_is_understood(value: bytes) -> None:
    assert framing.is_chunked(value, False, 11)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"gzip",
        b"identity",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"chunkedchunked",
        b"xchunked",
        b"chunked;q=1",
        b",chunked",
        b"chunked,",
        b'"chunked"',
        b"\x0bchunked",
        b"chun\xe2\x84\xaaed",
    ],
)
def test_transfer_encoding_other_than_chunked_is_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        framing.is_chunked(value, False, 11)
    assert raised.value.code == "bad_transfer_encoding"


@pytest.mark.parametrize(("has_length", "version"), [(True, 11), (False, 10), (True, 10)])
def test_transfer_encoding_beside_a_length_or_in_1_0_is_refused(has_length: bool, version: int) -> None:
    with pytest.raises(ProtocolError) as raised:
        framing.is_chunked(b"chunked", has_length, version)
    assert raised.value.code == "bad_transfer_encoding"


@pytest.mark.parametrize(
    ("status_code", "method", "chunked", "length", "expected"),
    [
        (200, "GET", False, -1, Framing.CLOSE),
        (200, "GET", False, 0, Framing.LENGTH),
        (200, "GET", False, 5, Framing.LENGTH),
        (200, "GET", True, -1, Framing.CHUNKED),
        (200, "HEAD", False, 5, Framing.NONE),
        (200, "HEAD", True, -1, Framing.NONE),
        (200, "HEAD", False, -1, Framing.NONE),
        (200, "head", False, 5, Framing.LENGTH),
        (100, "GET", False, 5, Framing.NONE),
        (101, "GET", True, -1, Framing.NONE),
        (199, "GET", False, -1, Framing.NONE),
        (204, "GET", False, 5, Framing.NONE),
        (205, "GET", False, 0, Framing.LENGTH),
        (304, "GET", True, -1, Framing.NONE),
        (304, "GET", False, 5, Framing.NONE),
        (200, "CONNECT", False, 5, Framing.NONE),
        (299, "CONNECT", True, -1, Framing.NONE),
        (300, "CONNECT", False, 5, Framing.LENGTH),
        (407, "CONNECT", False, -1, Framing.CLOSE),
        (999, "GET", False, -1, Framing.CLOSE),
    ],
)
def test_response_framing_follows_the_order_of_rfc_9112(
    status_code: int, method: str, chunked: bool, length: int, expected: Framing
) -> None:
    assert framing.response_framing(status_code, method, chunked, length) is expected


@pytest.mark.parametrize(
    ("chunked", "length", "expected"),
    [(False, -1, Framing.NONE), (False, 0, Framing.LENGTH), (False, 3, Framing.LENGTH), (True, -1, Framing.CHUNKED)],
)
def test_request_framing_without_either_field_has_no_body(chunked: bool, length: int, expected: Framing) -> None:
    assert framing.request_framing(chunked, length) is expected


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (11, None, True),
        (10, None, False),
        (11, b"keep-alive", True),
        (10, b"keep-alive", True),
        (10, b"Keep-Alive", True),
        (11, b"close", False),
        (11, b"CLOSE", False),
        (10, b"close", False),
        (11, b"keep-alive, close", False),
        (10, b"close , keep-alive", False),
        (11, b"x-close, closed", True),
        (11, b"upgrade", True),
        (10, b"upgrade", False),
        (11, b"", True),
        (11, b"a,\tClose\t,b", False),
    ],
)
def test_persists_close_wins_and_1_0_needs_keep_alive(version: int, connection: bytes | None, expected: bool) -> None:
    assert framing.persists(version, connection) is expected
