from __future__ import annotations

import pytest

from support.http1 import CountingBuffer, read, read_every_way
from turbosock.errors import HeadTooLarge, ProtocolError
from turbosock.limits import MAX_HEAD_BYTES, MAX_HEAD_FIELDS
from turbosock.protocol.http1.framing import Framing
from turbosock.protocol.http1.head import (
    MAX_LEADING_EMPTY_LINES,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)

CONTROLS = [*range(0x20), 0x7F]


def response(data: bytes, method: str = "GET") -> ResponseHead:
    head = parse_response_head(bytearray(data), 0, len(data), method)
    assert head is not None
    return head


def request(data: bytes) -> RequestHead:
    head = parse_request_head(bytearray(data), 0, len(data))
    assert head is not None
    return head


def request_error(data: bytes) -> ProtocolError:
    """The error that a request raises in whatever way it is fed."""
    error = read_every_way(None, data).error
    assert isinstance(error, ProtocolError)
    return error


def response_error(data: bytes) -> ProtocolError:
    """The error that a response raises in whatever way it is fed."""
    error = read_every_way("GET", data).error
    assert isinstance(error, ProtocolError)
    return error


def test_response_head_of_nginx_is_read() -> None:
    data = b'HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 100\r\nETag: "a"\r\nConnection: keep-alive\r\n\r\nbody'
    head = response(data)
    assert (head.status_code, head.reason, head.version) == (200, "OK", 11)
    assert head.framing is Framing.LENGTH
    assert head.content_length == 100
    assert head.keep_alive
    assert not head.interim
    assert not head.upgrade
    assert head.size == len(data) - 4
    assert head.raw == data[:-4]
    assert head.headers["etag"] == '"a"'


def test_response_head_keeps_nothing_of_the_buffer() -> None:
    buffer = bytearray(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n")
    head = parse_response_head(buffer, 0, len(buffer), "GET")
    buffer[:] = b"\xdb" * len(buffer)
    buffer.append(0)
    assert head is not None
    assert head.headers["x-a"] == "b"
    assert head.raw.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("line", "status_code", "reason", "version"),
    [
        (b"HTTP/1.0 200 OK", 200, "OK", 10),
        (b"HTTP/1.1 404", 404, "", 11),
        (b"HTTP/1.1 404 ", 404, "", 11),
        (b"HTTP/1.1 200  two\tspaces ", 200, " two\tspaces ", 11),
        (b"HTTP/1.1 500 \xe9", 500, "\xe9", 11),
        (b"HTTP/1.1 100 a", 100, "a", 11),
        (b"HTTP/1.1 999 odd", 999, "odd", 11),
    ],
)
def test_status_line_by_the_grammar_is_read(line: bytes, status_code: int, reason: str, version: int) -> None:
    head = response(line + b"\r\n\r\n")
    assert (head.status_code, head.reason, head.version) == (status_code, reason, version)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"HTTP/1.1 20 OK", "bad_status_line"),
        (b"HTTP/1.1 2000 OK", "bad_status_line"),
        (b"HTTP/1.1 2x0 OK", "bad_status_line"),
        (b"HTTP/1.1 -20 OK", "bad_status_line"),
        (b"HTTP/1.1 +20 OK", "bad_status_line"),
        (b"HTTP/1.1 099 OK", "bad_status_line"),
        (b"HTTP/1.1 000 OK", "bad_status_line"),
        (b"HTTP/1.1 200OK", "bad_status_line"),
        (b"HTTP/1.1 200\tOK", "bad_status_line"),
        (b"HTTP/1.1  200 OK", "bad_status_line"),
        (b"HTTP/1.1\t200 OK", "bad_status_line"),
        (b"HTTP/1.1", "bad_status_line"),
        (b"HTTP/1.1 ", "bad_status_line"),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK", "bad_status_line"),
        (b"HTTP/1.2 200 OK", "bad_status_line"),
        (b"HTTP/1.10 200 OK", "bad_status_line"),
        (b"HTTP/1. 200 OK", "bad_status_line"),
        (b"HTTP/2.0 200 OK", "bad_version"),
        (b"HTTP/0.9 200 OK", "bad_version"),
        (b"http/1.1 200 OK", "not_http"),
        (b" HTTP/1.1 200 OK", "not_http"),
        (b"HTTPS/1.1 200 OK", "not_http"),
        (b"200 OK", "not_http"),
        (b"", "not_http"),
    ],
)
def test_status_line_outside_the_grammar_is_refused(line: bytes, code: str) -> None:
    data = line + b"\r\nX: y\r\n\r\n"
    with pytest.raises(ProtocolError) as raised:
        response(data)
    assert raised.value.code == code
    response_error(data)


@pytest.mark.parametrize(
    ("greeting", "words"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS"),
        (b"\x16\x03\x03\x00\x7a\x02\x00", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03", "HTTP/2"),
        (b"220 mail.example ESMTP\r\n", "220 mail"),
        (b"\xff" * 200, r"\\xff"),
        (b"\x00", r"\\x00"),
    ],
)
def test_response_that_is_not_http_is_refused_at_once_and_shown(greeting: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as raised:
        parse_response_head(bytearray(greeting), 0, len(greeting), "GET")
    assert raised.value.code == "not_http"
    assert len(str(raised.value)) < 300
    with pytest.raises(ProtocolError):
        parse_response_head(bytearray(greeting), 0, 1, "GET")


@pytest.mark.parametrize("size", range(len(b"HTTP/1.1 200 OK\r\n\r")))
def test_response_head_unfinished_is_none(size: int) -> None:
    data = bytearray(b"HTTP/1.1 200 OK\r\n\r\n")
    assert parse_response_head(data, 0, size, "GET") is None


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize(
    "template", [b"HTTP/1.1 2%b0 OK\r\nA: b\r\n", b"HTTP/1.1 200 O%bK\r\nA: b\r\n", b"HTTP/1.1 200 OK\r\nA%b: b\r\n"]
)
def test_response_head_with_a_control_byte_outside_a_value_is_refused(control: int, template: bytes) -> None:
    data = template % bytes([control]) + b"\r\n"
    if control == 9 and b"O%bK" in template:
        assert response(data).reason == "O\tK"
    else:
        with pytest.raises(ProtocolError):
            response(data)


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("where", [b"%bb", b"b%bc", b"b%b"])
def test_head_with_a_control_byte_in_a_value_is_refused(control: int, where: bytes) -> None:
    value = where % bytes([control])
    if control == 9:
        assert response(b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n" % value).headers["a"] == value.decode().strip()
        return
    for data, method in (
        (b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n", "GET"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: %b\r\n\r\n", None),
    ):
        assert read_every_way(method, data % value).error is not None


@pytest.mark.parametrize(
    "lines",
    [
        b"A: b\r\n c\r\n",
        b"A: b\r\n\tc\r\n",
        b" A: b\r\n",
        b"A : b\r\n",
        b": b\r\n",
        b"A\r\n",
        b"A: b\nC: d\r\n",
        b"A: b\rC: d\r\n",
        b"A: b\r\r\n",
        b"A: b\x00\r\n",
        b"A(: b\r\n",
    ],
)
def test_field_lines_that_others_guess_at_are_refused_on_both_sides(lines: bytes) -> None:
    response_error(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")
    request_error(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")


def test_head_with_lf_line_ends_is_refused_before_it_ends() -> None:
    for size in (17, 18, 30):
        data = bytearray(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"[:size])
        with pytest.raises(ProtocolError, match="LF alone"):
            parse_response_head(data, 0, len(data), "GET")
    with pytest.raises(ProtocolError, match="LF alone"):
        parse_request_head(bytearray(b"GET / HTTP/1.1\n"), 0, 15)


@pytest.mark.parametrize(
    ("lines", "method", "status", "framing", "length", "keep_alive"),
    [
        (b"Content-Length: 5\r\n", "GET", b"200", Framing.LENGTH, 5, True),
        (b"Content-Length: 0\r\n", "GET", b"200", Framing.LENGTH, 0, True),
        (b"Transfer-Encoding: chunked\r\n", "GET", b"200", Framing.CHUNKED, -1, True),
        (b"", "GET", b"200", Framing.CLOSE, -1, False),
        (b"Connection: keep-alive\r\n", "GET", b"200", Framing.CLOSE, -1, False),
        (b"Content-Length: 5\r\n", "HEAD", b"200", Framing.NONE, -1, True),
        (b"Content-Length: 5\r\n", "GET", b"304", Framing.NONE, -1, True),
        (b"Content-Length: 5\r\nConnection: close\r\n", "GET", b"200", Framing.LENGTH, 5, False),
        (b"Content-Length: 5\r\nConnection: a\r\nConnection: Close\r\n", "GET", b"200", Framing.LENGTH, 5, False),
        (b"", "GET", b"204", Framing.NONE, -1, True),
        (b"", "GET", b"100", Framing.NONE, -1, True),
        (b"", "GET", b"101", Framing.NONE, -1, False),
        (b"Content-Length: 5\r\n", "CONNECT", b"200", Framing.NONE, -1, False),
        (b"Content-Length: 5\r\n", "CONNECT", b"407", Framing.LENGTH, 5, True),
    ],
)
def test_response_head_says_how_it_ends_and_whether_the_connection_lives(
    lines: bytes, method: str, status: bytes, framing: Framing, length: int, keep_alive: bool
) -> None:
    head = response(b"HTTP/1.1 %b x\r\n%b\r\n" % (status, lines), method)
    assert (head.framing, head.content_length, head.keep_alive) == (framing, length, keep_alive)
    assert head.upgrade == (status == b"101" or (method == "CONNECT" and status == b"200"))
    assert head.interim == (status == b"100")


def test_response_of_1_0_lives_only_with_keep_alive() -> None:
    assert not response(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n").keep_alive
    assert response(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\n").keep_alive


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding:\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: \xd9\xa5\r\n",
        b"Content-Length:\r\n",
    ],
)
def test_message_with_two_ways_of_ending_is_refused_on_both_sides(lines: bytes) -> None:
    response_error(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nabcdef")
    request_error(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\nabcdef")


def test_message_of_1_0_with_transfer_encoding_is_refused_on_both_sides() -> None:
    assert response_error(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").code == "bad_transfer_encoding"
    assert request_error(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").code == "bad_transfer_encoding"


def test_head_longer_than_allowed_is_refused_even_without_its_end() -> None:
    data = bytearray(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100)
    assert parse_response_head(data, 0, len(data), "GET", max_bytes=len(data) + 1) is None
    with pytest.raises(HeadTooLarge, match="max_head_bytes"):
        parse_response_head(data, 0, len(data), "GET", max_bytes=len(data))
    data += b"\r\n\r\n"
    assert parse_response_head(data, 0, len(data), "GET", max_bytes=len(data)) is not None
    with pytest.raises(HeadTooLarge):
        parse_response_head(data, 0, len(data), "GET", max_bytes=len(data) - 1)


def test_request_head_longer_than_allowed_is_refused_even_without_its_end() -> None:
    data = bytearray(b"GET /" + b"a" * MAX_HEAD_BYTES)
    with pytest.raises(HeadTooLarge):
        parse_request_head(data, 0, len(data))


def test_head_with_more_fields_than_allowed_is_refused() -> None:
    line = b"HTTP/1.1 200 OK\r\n"
    data = line + b"A: b\r\n" * MAX_HEAD_FIELDS + b"\r\n"
    assert len(response(data).headers) == MAX_HEAD_FIELDS
    with pytest.raises(HeadTooLarge, match="256 fields"):
        response(line + b"A: b\r\n" * (MAX_HEAD_FIELDS + 1) + b"\r\n")
    with pytest.raises(HeadTooLarge):
        parse_response_head(bytearray(data), 0, len(data), "GET", max_fields=MAX_HEAD_FIELDS - 1)


def test_head_without_fields_fits_a_limit_of_none() -> None:
    data = bytearray(b"HTTP/1.1 200 OK\r\n\r\n")
    assert parse_response_head(data, 0, len(data), "GET", max_fields=0) is not None


@pytest.mark.parametrize("side", ["request", "response"])
def test_head_byte_by_byte_is_searched_in_linear_work(side: str) -> None:
    first = b"HTTP/1.1 200 OK\r\n" if side == "response" else b"GET / HTTP/1.1\r\nHost: a\r\n"
    data = CountingBuffer(first + b"A: b\r\n" * 200 + b"C: " + b"d" * 6000 + b"\r\n\r\n")
    head: ResponseHead | RequestHead | None = None
    for end in range(1, len(data) + 1):
        assert head is None
        if side == "response":
            head = parse_response_head(data, 0, end, "GET", end - 1)
        else:
            head = parse_request_head(data, 0, end, end - 1)
    assert head is not None
    assert data.searched <= 5 * len(data)


def test_request_head_is_read() -> None:
    data = b"POST /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nContent-Length: 3\r\n\r\nabc"
    head = request(data)
    assert (head.method, head.target, head.version, head.host) == ("POST", b"/a?b=c", 11, "example.com:80")
    assert (head.framing, head.content_length, head.size) == (Framing.LENGTH, 3, len(data) - 3)
    assert head.keep_alive
    assert not head.expect_continue
    assert head.upgrade is None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"GET /", "bad_request_line"),
        (b"GET / HTTP/1.1 x", "bad_request_line"),
        (b"GET  / HTTP/1.1", "bad_request_line"),
        (b"GET / HTTP/1.1 ", "bad_request_line"),
        (b" GET / HTTP/1.1", "not_http"),
        (b"G@T / HTTP/1.1", "not_http"),
        (b"", "not_http"),
        (b"GET /a\tb HTTP/1.1", "bad_target"),
        (b"GET /\xc3\xa4 HTTP/1.1", "bad_target"),
        (b"GET  HTTP/1.1", "bad_target"),
        (b"GET a HTTP/1.1", "bad_target"),
        (b"GET * HTTP/1.1", "bad_target"),
        (b"GET example.com:80 HTTP/1.1", "bad_target"),
        (b"GET ftp://a/ HTTP/1.1", "bad_target"),
        (b"GET http:///a HTTP/1.1", "bad_target"),
        (b"GET http://user:pass@a/ HTTP/1.1", "bad_target"),
        (b"GET http://a b/ HTTP/1.1", "bad_request_line"),
        (b"GET http://[::1/ HTTP/1.1", "bad_target"),
        (b"CONNECT / HTTP/1.1", "bad_target"),
        (b"CONNECT a HTTP/1.1", "bad_target"),
        (b"CONNECT a: HTTP/1.1", "bad_target"),
        (b"CONNECT http://a:80 HTTP/1.1", "bad_target"),
        (b"GET / HTTP/1.2", "bad_version"),
        (b"GET / HTTP/2.0", "bad_version"),
        (b"GET / HTTP/0.9", "bad_version"),
        (b"GET / http/1.1", "bad_version"),
        (b"GET / HTTP/1.1\t", "bad_version"),
        (b"GET / HTTP/11", "bad_version"),
    ],
)
def test_request_line_outside_the_grammar_is_refused(line: bytes, code: str) -> None:
    data = line + b"\r\nHost: a\r\n\r\n"
    if line:
        with pytest.raises(ProtocolError) as raised:
            request(data)
        assert raised.value.code == code
        request_error(data)


def test_request_refused_never_shows_a_query_or_a_password() -> None:
    for line in (b"GET /?token=hunter2 x HTTP/1.1", b"GET http://u:hunter2@a/ HTTP/1.1", b"GET hunter2 HTTP/1.1"):
        with pytest.raises(ProtocolError) as raised:
            request(line + b"\r\nHost: a\r\n\r\n")
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("greeting", [b"\x16\x03\x01\x02\x00\x01", b"\x00", b"\xff\xfe", b" ", b"\n"])
def test_request_that_is_not_http_is_refused_at_its_first_byte(greeting: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request_head(bytearray(greeting), 0, 1)


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (b"GET http://Other.example:81/a?b HTTP/1.1", "Other.example:81"),
        (b"GET HTTPS://other.example?q=/ HTTP/1.1", "other.example"),
        (b"GET http://other.example HTTP/1.1", "other.example"),
        (b"GET http://other.example/user@a HTTP/1.1", "other.example"),
        (b"CONNECT other.example:443 HTTP/1.1", "other.example:443"),
        (b"CONNECT [::1]:443 HTTP/1.1", "[::1]:443"),
        (b"OPTIONS * HTTP/1.1", "own.example"),
        (b"GET /http://other.example HTTP/1.1", "own.example"),
    ],
)
def test_request_host_is_the_targets_where_it_names_one(line: bytes, host: str) -> None:
    assert request(line + b"\r\nHost: own.example\r\n\r\n").host == host


@pytest.mark.parametrize(
    "lines",
    [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n", b"Host: a b\r\n", b"Host: a/b\r\n", b"Host: a, b\r\n"],
)
def test_request_of_1_1_without_exactly_one_valid_host_is_refused(lines: bytes) -> None:
    data = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    assert request_error(data).code == "bad_host"


def test_request_refused_for_its_host_says_why() -> None:
    with pytest.raises(ProtocolError, match="more than one Host"):
        request(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n")
    with pytest.raises(ProtocolError, match="user information"):
        request(b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n")


def test_request_of_1_0_may_lack_a_host_but_not_have_two() -> None:
    head = request(b"GET / HTTP/1.0\r\n\r\n")
    assert head.host == ""
    assert not head.keep_alive
    request_error(b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")


def test_request_host_may_be_empty() -> None:
    assert request(b"GET / HTTP/1.1\r\nHost:\r\n\r\n").host == ""


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        (b"1.1", b"Expect: 100-continue\r\n", True),
        (b"1.1", b"Expect: 100-Continue\r\n", True),
        (b"1.1", b"Expect: x, 100-continue\r\n", True),
        (b"1.1", b"Expect: 100-continued\r\n", False),
        (b"1.0", b"Expect: 100-continue\r\n", False),
    ],
)
def test_request_expectation_counts_from_1_1(version: bytes, lines: bytes, expected: bool) -> None:
    data = b"PUT / HTTP/%b\r\nHost: a\r\nContent-Length: 1\r\n%b\r\n" % (version, lines)
    assert request(data).expect_continue is expected


@pytest.mark.parametrize(
    ("version", "lines", "expected"),
    [
        (b"1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"),
        (b"1.1", b"Connection: keep-alive, upgrade\r\nUpgrade: h2c, foo/1\r\n", "h2c, foo/1"),
        (b"1.1", b"Upgrade: websocket\r\n", None),
        (b"1.1", b"Connection: upgrade\r\n", None),
        (b"1.0", b"Connection: upgrade\r\nUpgrade: websocket\r\n", None),
    ],
)
def test_request_upgrade_needs_both_fields_and_1_1(version: bytes, lines: bytes, expected: str | None) -> None:
    assert request(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, lines)).upgrade == expected


@pytest.mark.parametrize("lines", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_connect_with_a_body_is_refused(lines: bytes) -> None:
    request_error(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n" + lines + b"\r\n")


def test_connect_without_a_body_hands_over_what_follows() -> None:
    reader = read_every_way(None, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 0\r\n\r\nany\r\n\r\nbytes")
    assert reader.error is None
    assert reader.leftover == len(b"any\r\n\r\nbytes")


def test_upgrade_response_hands_over_what_follows() -> None:
    data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\x82\x05HTTP/"
    reader = read_every_way("GET", data)
    assert reader.error is None
    assert reader.leftover == 7


def test_request_after_empty_lines_is_read_and_counts_them() -> None:
    line = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for empty in range(MAX_LEADING_EMPTY_LINES + 1):
        data = b"\r\n" * empty + line
        assert request(data).size == len(data)
        assert read_every_way(None, data + data).error is None
    assert request_error(b"\r\n" * (MAX_LEADING_EMPTY_LINES + 1) + line).code == "bad_request_line"


def test_pipelined_requests_are_read_in_order() -> None:
    one = b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
    reader = read_every_way(None, one % 1 + one % 2 + one % 3)
    assert [message.head.target for message in reader.messages if isinstance(message.head, RequestHead)] == [
        b"/1",
        b"/2",
        b"/3",
    ]


def test_interim_responses_are_followed_by_the_final_one() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    data = interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    heads = [message.head for message in read_every_way("GET", data).messages]
    assert [head.status_code for head in heads if isinstance(head, ResponseHead)] == [100, 103, 200]


def test_response_length_beyond_any_file_is_refused_and_a_huge_one_makes_no_memory() -> None:
    assert response_error(b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n0123456789").code == (
        "bad_content_length"
    )
    reader = read("GET", [b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\n0123456789"])
    assert reader.messages[0].body == b"0123456789"
    assert not reader.messages[0].complete


def test_heads_show_themselves_without_their_fields() -> None:
    data = b"HTTP/1.1 200 OK\r\nSet-Cookie: hunter2\r\n\r\n"
    assert repr(response(data)) == "<ResponseHead 200 'OK' CLOSE>"
    head = request(b"GET /?hunter2 HTTP/1.1\r\nHost: a\r\nAuthorization: hunter2\r\n\r\n")
    assert repr(head) == "<RequestHead GET NONE>"


@pytest.mark.parametrize("empty_lines", [1, 2, 3, 4])
def test_request_head_without_end_behind_empty_lines_is_refused_before_its_buffer_is_full(empty_lines: int) -> None:
    data = bytearray((b"\r\n" * empty_lines + b"GET / HTTP/1.1\r\nX: ").ljust(512, b"a"))
    with pytest.raises(HeadTooLarge):
        parse_request_head(data, 0, len(data), max_bytes=len(data))
