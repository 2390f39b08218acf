from __future__ import annotations

import pytest

from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.grammar import REG_NAME, TEXT, TOKEN, VISIBLE
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.http1.serialize import request_head
from turbosock.protocol.http2.field_block import ORDINARY, FieldBlock
from turbosock.protocol.http2.request_fields import (
    fields_of_head,
    fields_of_upgrade,
    request_fields,
    response_fields,
    trailer_fields,
)

Fields = list[tuple[bytes, bytes]]

START: Fields = [(b":method", b"GET"), (b":authority", b"a.example"), (b":scheme", b"https"), (b":path", b"/x?y")]


def get(*fields: tuple[bytes, bytes]) -> Fields:
    return request_fields("GET", "https", b"a.example", "/x?y", fields)


def block_of(fields: Fields) -> FieldBlock:
    return FieldBlock(tuple(fields), 0)


def test_request_fields_begin_with_the_pseudo_fields() -> None:
    assert get() == START
    assert get((b"Accept", b"*/*"), (b"X-Two", b"1"), (b"x-two", b"2"))[4:] == [
        (b"accept", b"*/*"),
        (b"x-two", b"1"),
        (b"x-two", b"2"),
    ]


def test_request_fields_are_a_request_to_our_own_reader() -> None:
    fields = get((b"Host", b"b.example"), (b"Content-Length", b"3"), (b"TE", b"trailers"), (b"Connection", b"close"))
    head = block_of(fields).request_head(False)
    assert (head.method, head.target, head.host, head.content_length) == ("GET", b"/x?y", "b.example", 3)


def test_request_fields_of_a_header_list_are_those_of_its_pairs() -> None:
    pairs = [("Accept", "*/*"), ("Cookie", "a=1")]
    assert request_fields("GET", "https", b"a.example", b"/x?y", HeaderList(pairs)) == get(
        (b"Accept", b"*/*"), (b"Cookie", b"a=1")
    )


@pytest.mark.parametrize(
    "name", [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"Transfer-Encoding", b"Upgrade", b"HTTP2-Settings"]
)
def test_request_fields_of_a_connection_of_http1_are_left_out(name: bytes) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert get((spelled, b"x")) == START
        assert response_fields(200, [(spelled, b"x")]) == [(b":status", b"200")]
        if name.lower() not in FORBIDDEN_TRAILERS:
            assert trailer_fields([(spelled, b"x")]) == []


def test_request_fields_that_connection_names_are_left_out() -> None:
    kept = (b"accept", b"*/*")
    assert get(
        (b"Connection", b"close, X-Hop"), (b"X-HOP", b"1"), (b"connection", b"x-too\t,"), kept, (b"X-Too", b"")
    ) == [
        *START,
        kept,
    ]


@pytest.mark.parametrize(
    ("value", "sent"),
    [(b"trailers", True), (b"deflate, Trailers", True), (b"deflate", False), (b"", False), (b"trailersx", False)],
)
def test_request_fields_te_says_trailers_or_nothing(value: bytes, sent: bool) -> None:
    assert get((b"TE", value)) == [*START, *([(b"te", b"trailers")] if sent else [])]


def test_request_fields_host_of_the_user_is_the_authority() -> None:
    assert get((b"Host", b"other.example:8443"))[1] == (b":authority", b"other.example:8443")
    assert len(get((b"Host", b"other.example:8443"))) == 4


def test_request_fields_of_connect_are_the_authority_alone() -> None:
    start = [(b":method", b"CONNECT"), (b":authority", b"a.example:443")]
    assert request_fields("CONNECT", "https", b"a.example:443", "/", [(b"Host", b"b"), (b"X", b"1")]) == [
        *start,
        (b"x", b"1"),
    ]
    assert block_of(start).request_head(False).target == b"a.example:443"


def test_request_fields_of_an_extended_connect_name_everything() -> None:
    fields = request_fields("CONNECT", "https", b"a.example", "/chat", [], protocol="websocket")
    assert sorted(fields) == sorted(
        [(b":method", b"CONNECT"), *START[1:3], (b":path", b"/chat"), (b":protocol", b"websocket")]
    )
    assert block_of(fields).request_head(False).upgrade == "websocket"


def test_fields_of_an_upgrade_are_those_of_an_extended_connect_without_a_key() -> None:
    head = (
        b"GET /chat?room=1 HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nCookie: a=b\r\n\r\n"
    )
    fields = fields_of_upgrade(head, "https")
    assert sorted(fields) == sorted(
        [
            (b":method", b"CONNECT"),
            *START[1:3],
            (b":path", b"/chat?room=1"),
            (b":protocol", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"cookie", b"a=b"),
        ]
    )


def test_request_fields_star_is_for_options_alone() -> None:
    assert request_fields("OPTIONS", "http", b"a", "*", [])[-1] == (b":path", b"*")
    with pytest.raises(InvalidHeader, match="path"):
        request_fields("GET", "http", b"a", "*", [])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("", "https", b"a", "/"), "method"),
        (("GE T", "https", b"a", "/"), "method"),
        (("GET", "ftp", b"a", "/"), "scheme"),
        (("GET", "HTTPS", b"a", "/"), "scheme"),
        (("GET", "https", b"", "/"), "authority"),
        (("GET", "https", b"u:p@a", "/"), "authority"),
        (("GET", "https", b"a", ""), "target"),
        (("GET", "https", b"a", "x"), "path"),
        (("GET", "https", b"a", "https://a/"), "path"),
        (("GET", "https", b"a", "/#x"), "target"),
    ],
)
def test_request_fields_of_a_bad_argument_are_refused_by_its_name(
    arguments: tuple[str, str, bytes, str], name: str
) -> None:
    with pytest.raises(InvalidHeader, match=name):
        request_fields(*arguments, [])


def test_request_fields_protocol_without_connect_is_refused() -> None:
    with pytest.raises(InvalidHeader, match="protocol"):
        request_fields("GET", "https", b"a", "/", [], protocol="websocket")


@pytest.mark.parametrize("length", [b"", b"+5", b"5, 5", b"0x5", b"1" * 19])
def test_fields_with_a_length_that_is_no_number_are_refused(length: bytes) -> None:
    with pytest.raises(InvalidHeader, match="Content-Length"):
        get((b"content-length", length))
    with pytest.raises(InvalidHeader, match="Content-Length"):
        response_fields(200, [(b"content-length", length)])


def test_fields_of_a_serialised_head_are_those_it_was_made_of() -> None:
    fields = [(b"Host", b"a.example"), (b"Accept", b"a: b, c:d"), (b"X-Empty", b""), (b"Cookie", b"a=1")]
    body = [(b"Content-Length", b"3"), (b"Connection", b"keep-alive")]
    assert fields_of_head(request_head("GET", "/x?y", [*fields, *body]), "https") == [
        *START,
        *((name.lower(), value) for name, value in (*fields[1:], body[0])),
    ]
    chunked = request_head("POST", "/", [*fields[:1], (b"Transfer-Encoding", b"chunked")])
    assert fields_of_head(chunked, "http")[2:] == [(b":scheme", b"http"), (b":path", b"/")]


@pytest.mark.parametrize(
    "head",
    [request_head("GET", "http://a.example/", [(b"Host", b"a.example")]), request_head("GET", "/", [])],
)
def test_fields_of_a_serialised_head_that_http2_does_not_know_are_refused(head: bytes) -> None:
    with pytest.raises(InvalidHeader):
        fields_of_head(head, "http")


def test_request_fields_with_two_lengths_are_refused() -> None:
    with pytest.raises(InvalidHeader, match="Content-Length"):
        get((b"content-length", b"5"), (b"content-length", b"5"))


def test_request_fields_with_two_hosts_are_refused() -> None:
    with pytest.raises(InvalidHeader, match="Host"):
        get((b"Host", b"a"), (b"host", b"a"))
    with pytest.raises(InvalidHeader, match="Host"):
        get((b"Host", b"a b"))


def sent_with(place: str, piece: bytes) -> Fields:
    """The fields of a message that has `piece` in this place."""
    if place == "method":
        return request_fields(piece.decode("latin-1"), "https", b"a", "/", [])
    if place == "authority":
        return request_fields("GET", "https", piece, "/", [])
    if place == "path":
        return request_fields("GET", "https", b"a", b"/" + piece, [])
    return response_fields(200, [(piece, b"")]) if place == "name" else trailer_fields([(b"a", piece)])


@pytest.mark.parametrize(
    ("place", "permitted"),
    [
        ("method", TOKEN),
        # What follows "%" here are no hexadecimal digits.
        ("authority", REG_NAME.replace(b"%", b"") + b":"),
        ("path", VISIBLE.replace(b"#", b"")),
        ("name", TOKEN),
        ("value", TEXT),
    ],
)
def test_every_byte_in_every_place_is_sent_as_it_stands_or_refused(place: str, permitted: bytes) -> None:
    for byte in range(256):
        piece = b"1" + bytes([byte]) + b"1"
        if byte in permitted:
            sent = piece.lower() if place == "name" else piece
            assert any(sent in field or b"/" + sent in field for field in sent_with(place, piece)), byte
        else:
            with pytest.raises(InvalidHeader):
                sent_with(place, piece)


# Responses and trailers


def test_response_fields_begin_with_the_status() -> None:
    fields = response_fields(404, [(b"Content-Type", b"text/plain"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")])
    assert fields == [
        (b":status", b"404"),
        (b"content-type", b"text/plain"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert block_of(fields).response_head(ORDINARY).status_code == 404


@pytest.mark.parametrize("status_code", [99, 101, 1000, "200", None, 200.0])
def test_response_fields_of_a_status_that_http2_lacks_are_refused(status_code: int) -> None:
    with pytest.raises(InvalidOption, match="status_code"):
        response_fields(status_code, [])


@pytest.mark.parametrize("status_code", [100, 103, 204])
def test_response_fields_of_a_length_where_no_body_can_be_are_refused(status_code: int) -> None:
    with pytest.raises(InvalidHeader, match="content-length"):
        response_fields(status_code, [(b"Content-Length", b"0")])


def test_trailer_fields_are_in_lower_case() -> None:
    assert trailer_fields([(b"Grpc-Status", b"0")]) == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_trailer_fields_that_frame_or_route_are_refused(name: bytes) -> None:
    with pytest.raises(InvalidHeader, match=name.decode()):
        trailer_fields([(name.upper(), b"1")])
