from __future__ import annotations

import pytest

from turbosock.errors import Http2Error
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.grammar import TOKEN
from turbosock.protocol.http1.head import RequestHead, ResponseHead
from turbosock.protocol.http2.error_codes import PROTOCOL_ERROR
from turbosock.protocol.http2.field_block import CONNECT, END_STREAM, HEAD, ORDINARY, FieldBlock

Fields = list[tuple[bytes, bytes]]

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.com"), (b":path", b"/a?b")]
TUNNEL: Fields = [(b":method", b"CONNECT"), (b":authority", b"example.com:443")]
WEBSOCKET: Fields = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":path", b"/chat"),
    (b":authority", b"example.com"),
]


def block_of(fields: Fields) -> FieldBlock:
    return FieldBlock(tuple(fields), sum(len(name) + len(value) + 32 for name, value in fields))


def response(status: bytes, *fields: tuple[bytes, bytes], kind: int = ORDINARY) -> ResponseHead:
    return block_of([(b":status", status), *fields]).response_head(kind)


def request(pseudo: Fields, *fields: tuple[bytes, bytes], end_stream: bool = False) -> RequestHead:
    return block_of([*pseudo, *fields]).request_head(end_stream)


def without(pseudo: Fields, name: bytes) -> Fields:
    return [field for field in pseudo if field[0] != name]


def put(pseudo: Fields, name: bytes, value: bytes) -> Fields:
    return [(name, value) if field[0] == name else field for field in pseudo]


def assert_malformed(ask: object, *arguments: object) -> None:
    assert callable(ask)
    with pytest.raises(Http2Error) as raised:
        ask(*arguments)
    assert (raised.value.code, raised.value.error_code) == ("malformed", PROTOCOL_ERROR)
    assert "hunter2" not in str(raised.value)


# Responses


def test_response_head_is_that_of_http1_without_what_http2_lacks() -> None:
    head = response(b"200", (b"content-type", b"text/plain"), (b"via", b"a"), (b"via", b"b"))
    assert (head.status_code, head.reason, head.version, head.keep_alive) == (200, "", 20, True)
    assert head.headers.raw == ((b"content-type", b"text/plain"), (b"via", b"a"), (b"via", b"b"))
    assert head.headers["Content-Type"] == "text/plain"
    assert head.headers["VIA"] == "a, b"
    assert not (head.interim or head.upgrade or head.special or head.coded)
    assert not b"HTTP/1.1 200 OK\r\n".startswith(head.raw)
    assert head.size == len(head.raw) > 0


@pytest.mark.parametrize(
    ("kind", "status", "length", "framing", "run"),
    [
        (ORDINARY, b"200", b"5", Framing.LENGTH, 5),
        (ORDINARY, b"200", b"0", Framing.LENGTH, 0),
        (ORDINARY, b"200", None, Framing.STREAM, -1),
        (ORDINARY, b"204", None, Framing.NONE, -1),
        (ORDINARY, b"304", b"5", Framing.NONE, -1),
        (ORDINARY, b"100", None, Framing.NONE, -1),
        (ORDINARY | END_STREAM, b"200", None, Framing.NONE, -1),
        (ORDINARY | END_STREAM, b"200", b"0", Framing.NONE, -1),
        (ORDINARY | END_STREAM, b"304", b"5", Framing.NONE, -1),
        (HEAD, b"200", b"5", Framing.NONE, -1),
        (HEAD | END_STREAM, b"200", b"5", Framing.NONE, -1),
        (CONNECT, b"200", None, Framing.NONE, -1),
        (CONNECT, b"200", b"5", Framing.NONE, -1),
        (CONNECT, b"407", b"5", Framing.LENGTH, 5),
        (CONNECT | END_STREAM, b"502", None, Framing.NONE, -1),
    ],
)
def test_response_head_framing_follows_method_status_length_and_end(
    kind: int, status: bytes, length: bytes | None, framing: Framing, run: int
) -> None:
    head = response(status, *([] if length is None else [(b"content-length", length)]), kind=kind)
    assert (head.framing, head.content_length) == (framing, run)
    assert head.headers.joined(b"content-length") == length


@pytest.mark.parametrize(("status", "interim"), [(b"100", True), (b"103", True), (b"200", False), (b"999", False)])
def test_response_head_below_200_is_interim(status: bytes, interim: bool) -> None:
    assert response(status).interim is interim


def test_response_head_of_a_tunnel_is_an_upgrade() -> None:
    assert response(b"200", kind=CONNECT).upgrade
    assert not response(b"407", kind=CONNECT).upgrade
    assert not response(b"200").upgrade


def test_response_head_is_made_once_for_each_kind() -> None:
    block = block_of([(b":status", b"204")])
    heads = [block.response_head(kind) for kind in range(6)]
    assert all(block.heads[kind] is block.response_head(kind) is heads[kind] for kind in range(6))
    assert len(set(map(id, heads))) == 6


@pytest.mark.parametrize(
    "status", [b"", b"20", b"2000", b"099", b"000", b"+20", b"2 0", b"\xb2\xb3\xb9", b"20x", b"101", b"OK", b"-99"]
)
def test_response_head_status_that_is_none_is_malformed(status: bytes) -> None:
    assert_malformed(response, status)


def test_response_head_without_status_is_malformed() -> None:
    assert_malformed(block_of([]).response_head, ORDINARY)
    assert_malformed(block_of([(b"server", b"a")]).response_head, ORDINARY)
    assert_malformed(block_of(GET).response_head, ORDINARY)


def test_response_head_interim_that_ends_its_stream_is_malformed() -> None:
    for kind in (ORDINARY, HEAD, CONNECT):
        assert_malformed(block_of([(b":status", b"103")]).response_head, kind | END_STREAM)


def test_response_head_that_announces_a_body_and_ends_its_stream_is_malformed() -> None:
    for kind in (ORDINARY, CONNECT):
        block = block_of([(b":status", b"404"), (b"content-length", b"5")])
        assert_malformed(block.response_head, kind | END_STREAM)


@pytest.mark.parametrize("value", [b"", b"+5", b"0x5", b"5_0", b"-1", b"5,6", b"5 5", b"1" * 19, b"\xb2"])
def test_content_length_that_is_no_number_is_malformed(value: bytes) -> None:
    for kind in (ORDINARY, HEAD):
        assert_malformed(block_of([(b":status", b"200"), (b"content-length", value)]).response_head, kind)
    assert_malformed(block_of([*GET, (b"content-length", value)]).request_head, False)


def test_content_length_twice_is_one_if_equal() -> None:
    assert response(b"200", (b"content-length", b"5"), (b"content-length", b"5")).content_length == 5
    assert_malformed(response, b"200", (b"content-length", b"5"), (b"content-length", b"6"))


# Fields, in all messages


def all_readings(*fields: tuple[bytes, bytes]) -> list[tuple[object, object]]:
    """Every way to read a message with these fields: the method, and its argument if any."""
    return [
        (block_of([(b":status", b"200"), *fields]).response_head, (ORDINARY,)),
        (block_of([*GET, *fields]).request_head, (False,)),
        (block_of([*TUNNEL, *fields]).request_head, (False,)),
        (block_of(list(fields)).trailers, ()),
    ]


def assert_malformed_everywhere(*fields: tuple[bytes, bytes]) -> None:
    for ask, arguments in all_readings(*fields):
        assert isinstance(arguments, tuple)
        assert_malformed(ask, *arguments)


def assert_accepted_everywhere(*fields: tuple[bytes, bytes]) -> None:
    for ask, arguments in all_readings(*fields):
        assert callable(ask) and isinstance(arguments, tuple)
        ask(*arguments)


def test_field_name_of_every_byte_is_a_lower_case_token_or_malformed() -> None:
    for byte in range(256):
        permitted = byte in TOKEN and not 0x41 <= byte <= 0x5A
        for name in (bytes([byte]), b"x" + bytes([byte]), bytes([byte]) + b"x"):
            (assert_accepted_everywhere if permitted else assert_malformed_everywhere)((name, b"hunter2"))


@pytest.mark.parametrize("name", [b"", b"Content-Type", b"Server", b"X-A", b"content type", b"a:", b"ETag"])
def test_field_name_that_is_none_is_malformed(name: bytes) -> None:
    assert_malformed_everywhere((name, b"hunter2"))


def test_field_value_of_every_byte_is_text_or_malformed() -> None:
    for byte in range(256):
        permitted = byte == 0x09 or 0x20 <= byte < 0x7F or byte > 0x7F
        value = b"hunter2" + bytes([byte]) + b"a"
        (assert_accepted_everywhere if permitted else assert_malformed_everywhere)((b"a", value))


@pytest.mark.parametrize("value", [b" hunter2", b"hunter2 ", b"\thunter2", b"hunter2\t", b" ", b"\t"])
def test_field_value_with_white_space_at_an_end_is_malformed(value: bytes) -> None:
    assert_malformed_everywhere((b"a", value))
    assert_malformed(response, value)


def test_field_value_may_be_empty() -> None:
    assert_accepted_everywhere((b"a", b""))


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"])
@pytest.mark.parametrize("value", [b"", b"close", b"chunked", b"trailers"])
def test_field_of_a_connection_of_http1_is_malformed(name: bytes, value: bytes) -> None:
    assert_malformed_everywhere((name, value))


@pytest.mark.parametrize("value", [b"", b"gzip", b"trailers, deflate", b"trailers;q=1"])
def test_te_other_than_trailers_is_malformed(value: bytes) -> None:
    assert_malformed_everywhere((b"te", value))


def test_te_trailers_is_accepted_in_a_request() -> None:
    assert request(GET, (b"te", b"trailers")).headers["te"] == "trailers"


def test_pseudo_field_after_a_field_is_malformed() -> None:
    assert_malformed(block_of([(b"a", b"b"), (b":status", b"200")]).response_head, ORDINARY)
    for field in GET:
        assert_malformed(request, [*without(GET, field[0]), (b"a", b"b"), field])


def test_pseudo_field_twice_is_malformed() -> None:
    assert_malformed(response, b"200", (b":status", b"200"))
    for field in GET:
        assert_malformed(request, [*GET, field])


@pytest.mark.parametrize("name", [b":", b":unknown", b":Status", b":PATH", b":status "])
def test_pseudo_field_unknown_is_malformed(name: bytes) -> None:
    assert_malformed(response, b"200", (name, b"200"))
    assert_malformed(request, [*GET, (name, b"/")])


def test_pseudo_field_of_the_other_side_is_malformed() -> None:
    assert_malformed(request, [*GET, (b":status", b"200")])
    for field in GET:
        assert_malformed(response, b"200", field)


def test_cookie_crumbs_are_one_field_where_the_first_stood() -> None:
    crumbs = [(b"cookie", b"a=1"), (b"accept", b"*/*"), (b"cookie", b"b=2"), (b"x", b"y"), (b"cookie", b"c=3")]
    head = request(GET, (b"first", b"1"), *crumbs)
    assert head.headers.raw == ((b"first", b"1"), (b"cookie", b"a=1; b=2; c=3"), (b"accept", b"*/*"), (b"x", b"y"))
    assert head.headers["cookie"] == "a=1; b=2; c=3"
    assert len(head.headers.keys()) == 4


def test_set_cookie_fields_stay_apart() -> None:
    head = response(b"200", (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
    assert head.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert head.special


# Requests


def test_request_head_is_that_of_http1() -> None:
    head = request(GET, (b"accept", b"*/*"), end_stream=True)
    assert (head.method, head.target, head.host, head.version) == ("GET", b"/a?b", "example.com", 20)
    assert (head.framing, head.content_length) == (Framing.NONE, -1)
    assert head.headers.raw == ((b"accept", b"*/*"),)
    assert head.keep_alive
    assert not head.expect_continue
    assert head.upgrade is None
    assert not b"GET / HTTP/1.1\r\n".startswith(head.raw)


@pytest.mark.parametrize(
    ("length", "end_stream", "framing", "run"),
    [
        (None, True, Framing.NONE, -1),
        (None, False, Framing.STREAM, -1),
        (b"7", False, Framing.LENGTH, 7),
        (b"0", False, Framing.LENGTH, 0),
        (b"0", True, Framing.NONE, -1),
    ],
)
def test_request_head_framing_follows_length_and_end(
    length: bytes | None, end_stream: bool, framing: Framing, run: int
) -> None:
    head = request(GET, *([] if length is None else [(b"content-length", length)]), end_stream=end_stream)
    assert (head.framing, head.content_length) == (framing, run)


def test_request_head_that_announces_a_body_and_ends_its_stream_is_malformed() -> None:
    assert_malformed(block_of([*GET, (b"content-length", b"1")]).request_head, True)


def test_request_head_is_made_once_for_each_end() -> None:
    block = block_of(GET)
    assert block.request_head(True) is block.request_head(True)
    assert block.request_head(False) is block.request_head(False)
    assert block.request_head(True) is not block.request_head(False)


def test_request_head_that_waits_says_so() -> None:
    assert request(GET, (b"expect", b"100-Continue")).expect_continue


@pytest.mark.parametrize("name", [b":method", b":scheme", b":authority", b":path"])
def test_request_head_without_a_pseudo_field_is_malformed(name: bytes) -> None:
    assert_malformed(request, without(GET, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b":method", b""),
        (b":method", b"GE T"),
        (b":method", b"G\xcbT"),
        (b":scheme", b""),
        (b":scheme", b"ftp"),
        (b":scheme", b"https:"),
        (b":authority", b""),
        (b":authority", b"user:hunter2@example.com"),
        (b":authority", b"a b"),
        (b":authority", b"a/b"),
        (b":authority", b"a:b"),
        (b":authority", b"a:70000"),
        (b":path", b""),
        (b":path", b"a"),
        (b":path", b"*"),
        (b":path", b"https://example.com/"),
        (b":path", b"/a b"),
        (b":path", b"/\xe4"),
    ],
)
def test_request_head_with_a_bad_pseudo_field_is_malformed(name: bytes, value: bytes) -> None:
    assert_malformed(request, put(GET, name, value))


def test_request_head_of_the_whole_server_is_for_options_alone() -> None:
    assert request(put(put(GET, b":path", b"*"), b":method", b"OPTIONS")).target == b"*"


def test_request_head_host_stands_for_a_missing_authority() -> None:
    assert request(without(GET, b":authority"), (b"host", b"other.example:8443")).host == "other.example:8443"
    assert_malformed(request, without(GET, b":authority"), (b"host", b""))


@pytest.mark.parametrize("host", [b"example.com", b"EXAMPLE.com", b"example.com:443", b"example.com:"])
def test_request_head_host_that_is_the_authority_is_accepted(host: bytes) -> None:
    assert request(GET, (b"host", host)).host == "example.com"


@pytest.mark.parametrize("host", [b"", b"example.org", b"example.com:80", b"example.com:8443", b"example.com, b"])
def test_request_head_host_that_is_not_the_authority_is_malformed(host: bytes) -> None:
    assert_malformed(request, GET, (b"host", host))


def test_request_head_with_two_hosts_is_malformed() -> None:
    assert_malformed(request, GET, (b"host", b"example.com"), (b"host", b"example.com"))
    assert_malformed(request, without(GET, b":authority"), (b"host", b"example.com"), (b"host", b"b"))


def test_request_head_of_a_tunnel_has_the_authority_for_its_target() -> None:
    head = request(TUNNEL)
    assert (head.method, head.target, head.host) == ("CONNECT", b"example.com:443", "example.com:443")
    assert (head.framing, head.upgrade) == (Framing.NONE, None)


@pytest.mark.parametrize(
    "pseudo",
    [
        [*TUNNEL, (b":scheme", b"https")],
        [*TUNNEL, (b":path", b"/")],
        without(TUNNEL, b":authority"),
        put(TUNNEL, b":authority", b"example.com"),
        put(TUNNEL, b":authority", b"example.com:"),
        put(TUNNEL, b":authority", b":443"),
    ],
)
def test_request_head_of_a_tunnel_with_more_or_less_is_malformed(pseudo: Fields) -> None:
    assert_malformed(request, pseudo)


def test_request_head_of_a_tunnel_with_a_body_is_malformed() -> None:
    assert_malformed(request, TUNNEL, (b"content-length", b"1"))
    assert request(TUNNEL, (b"content-length", b"0")).framing is Framing.NONE


def test_request_head_of_an_extended_connect_names_its_protocol() -> None:
    head = request(WEBSOCKET)
    assert (head.method, head.target, head.host, head.upgrade) == ("CONNECT", b"/chat", "example.com", "websocket")
    assert head.framing is Framing.NONE


@pytest.mark.parametrize("name", [b":scheme", b":path", b":authority"])
def test_request_head_of_an_extended_connect_without_its_place_is_malformed(name: bytes) -> None:
    assert_malformed(request, without(WEBSOCKET, name))


def test_request_head_with_a_protocol_and_another_method_is_malformed() -> None:
    assert_malformed(request, [*GET, (b":protocol", b"websocket")])
    assert_malformed(request, put(WEBSOCKET, b":protocol", b""))


# Trailers


def test_trailers_are_the_fields() -> None:
    block = block_of([(b"grpc-status", b"0"), (b"x", b"y")])
    assert block.trailers().raw == ((b"grpc-status", b"0"), (b"x", b"y"))
    assert block.trailers() is block.trailers()
    assert block_of([]).trailers().raw == ()


@pytest.mark.parametrize("name", [b":status", b":path", b":unknown"])
def test_trailers_with_a_pseudo_field_are_malformed(name: bytes) -> None:
    assert_malformed(block_of([(name, b"200")]).trailers)


@pytest.mark.parametrize("name", sorted(FORBIDDEN_TRAILERS))
def test_trailers_that_frame_or_route_are_malformed(name: bytes) -> None:
    assert_malformed(block_of([(name, b"trailers")]).trailers)
