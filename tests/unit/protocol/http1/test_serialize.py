from __future__ import annotations

import pytest

from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.head import parse_request_head, parse_response_head
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.http1.serialize import (
    LAST_CHUNK,
    chunk_prefix,
    last_chunk,
    request_head,
    response_head,
)

CONTROLS = [*range(0x20), 0x7F]


def test_request_head_is_its_line_its_fields_and_an_empty_line() -> None:
    assert (
        request_head("GET", "/a?b", [(b"Host", b"a"), (b"X-B", b"")])
        == b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-B: \r\n\r\n"
    )
    assert request_head("OPTIONS", b"*", HeaderList({"Host": "a"})) == b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("field", ["method", "target", "name", "value"])
def test_request_head_with_a_control_byte_in_any_field_raises_before_a_byte_is_made(control: int, field: str) -> None:
    for template in ("{}ab", "a{}b", "ab{}"):
        text = template.format(chr(control))
        parts = {"method": "GET", "target": "/", "name": "X-A", "value": "v"}
        parts[field] = "/" + text if field == "target" else text
        if field == "value" and control == 9 and template == "a{}b":
            continue
        with pytest.raises(InvalidHeader):
            request_head(
                parts["method"], parts["target"], [(parts["name"].encode("latin-1"), parts["value"].encode("latin-1"))]
            )


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Host", b"a"), (b"host", b"a")],
        [(b"Host", b"a b")],
        [(b"Host", b"u@a")],
        [(b"Content-Length", b"+5")],
        [(b"Content-Length", b"5, 5")],
        [(b"Content-Length", b"5"), (b"content-length", b"5")],
        [(b"Content-Length", b"")],
        [(b"Content-Length", b"1" * 19)],
        [(b"Transfer-Encoding", b"gzip, chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")],
    ],
)
def test_request_head_with_contradicting_framing_raises(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidHeader, match="headers"):
        request_head("POST", "/", fields)


def test_request_head_with_two_hosts_raises_and_names_it() -> None:
    with pytest.raises(InvalidHeader, match="'Host' stands more than once"):
        request_head("GET", "/", [(b"Host", b"a"), (b"Host", b"a")])


def test_request_head_is_read_back_as_it_was() -> None:
    fields = HeaderList([("Host", "example.com:81"), ("X-A", "\xe4 b"), ("x-a", "c"), ("Content-Length", "5")])
    data = bytearray(request_head("PATCH", "/a?b=c%20d", fields))
    head = parse_request_head(data, 0, len(data))
    assert head is not None
    assert (head.method, head.target, head.headers, head.content_length) == ("PATCH", b"/a?b=c%20d", fields, 5)
    assert head.size == len(data)


def test_response_head_without_a_reason_has_the_usual_one() -> None:
    assert response_head(404, None, []) == b"HTTP/1.1 404 Not Found\r\n\r\n"
    assert response_head(299, None, []) == b"HTTP/1.1 299 \r\n\r\n"
    assert response_head(200, "Fine\tso", [(b"A", b"b")]) == b"HTTP/1.1 200 Fine\tso\r\nA: b\r\n\r\n"
    assert response_head(200, "", []) == b"HTTP/1.1 200 \r\n\r\n"


@pytest.mark.parametrize("status_code", [0, 99, 1000, -200, "200", None])
def test_response_head_with_an_impossible_status_raises(status_code: int) -> None:
    with pytest.raises(InvalidOption, match="status_code"):
        response_head(status_code, None, [])


@pytest.mark.parametrize("control", CONTROLS)
def test_response_head_with_a_control_byte_raises_before_a_byte_is_made(control: int) -> None:
    if control != 9:
        with pytest.raises(InvalidHeader):
            response_head(200, "a" + chr(control), [])
        with pytest.raises(InvalidHeader):
            response_head(200, None, [(b"a", b"b" + bytes([control]) + b"c")])
    with pytest.raises(InvalidHeader):
        response_head(200, None, [(b"a" + bytes([control]), b"b")])


@pytest.mark.parametrize("status_code", [100, 101, 103, 204])
@pytest.mark.parametrize("field", [(b"Content-Length", b"0"), (b"transfer-encoding", b"chunked")])
def test_response_head_without_a_body_refuses_fields_that_frame_one(
    status_code: int, field: tuple[bytes, bytes]
) -> None:
    with pytest.raises(InvalidHeader, match="cannot stand"):
        response_head(status_code, None, [field])
    assert response_head(304, None, [field])


def test_response_head_is_read_back_as_it_was() -> None:
    fields = HeaderList([("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("Transfer-Encoding", "chunked")])
    data = bytearray(response_head(201, None, fields))
    head = parse_response_head(data, 0, len(data), "GET")
    assert head is not None
    assert (head.status_code, head.reason, head.headers, head.size) == (201, "Created", fields, len(data))


def test_chunk_prefix_is_hexadecimal() -> None:
    assert chunk_prefix(1) == b"1\r\n"
    assert chunk_prefix(255) == b"ff\r\n"


def test_chunk_prefix_of_nothing_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        chunk_prefix(0)


def test_last_chunk_carries_trailers() -> None:
    assert last_chunk() == LAST_CHUNK
    assert last_chunk([(b"Digest", b"x")]) == b"0\r\nDigest: x\r\n\r\n"


@pytest.mark.parametrize("key", sorted(FORBIDDEN_TRAILERS))
def test_last_chunk_with_a_field_that_frames_or_routes_raises(key: bytes) -> None:
    with pytest.raises(InvalidHeader, match="trailer"):
        last_chunk([(key.title(), b"x")])
