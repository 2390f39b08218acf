"""Heads of requests and responses: the start line and the fields (RFC 9112 §2 to §5), with what follows from them.

`parse_response_head` and `parse_request_head` find the end of the head, judge it, and say how the body is framed and
whether the connection may live on. The usual case, a head that arrived whole, is one call and one pass of each kind
over the block: a find, a copy, a translate that leaves control bytes only, a split.

The calling order: (1) call with the bytes `start:end` of the buffer; (2) on None receive more and call again with
`examined` set to the `end` of the last call, so that no byte is searched twice; (3) on a head, the body begins at
`start + head.size`. Indices are absolute: whoever moves the bytes inside the buffer moves `examined` with them.

Invariant: `start <= examined <= end`, and a head keeps no reference to the buffer.
Left to others: interim responses in a row (bounded by the connection), the body, what a request's target means.
"""

from __future__ import annotations

from typing import NoReturn

from turbosock.errors import HeadTooLarge, ProtocolError
from turbosock.limits import MAX_HEAD_BYTES, MAX_HEAD_FIELDS
from turbosock.protocol.http1.fields import has_stray_control, parse_field_lines
from turbosock.protocol.http1.framing import (
    Framing,
    content_length,
    has_member,
    is_chunked,
    persists,
    request_framing,
    response_framing,
)
from turbosock.protocol.http1.grammar import MAX_SHOWN_BYTES, TOKEN, VISIBLE, is_host, is_token, shown
from turbosock.protocol.http1.headers import HeaderList

# Empty lines skipped before a request line: RFC 9112 §2.2 asks for one at least, and endless ones are an attack.
MAX_LEADING_EMPTY_LINES = 4

# RFC 9110 §15.4 and §15.5.2: answers that ask for another request.
_SPECIAL_STATUSES = frozenset((301, 302, 303, 307, 308, 401))

_CLOSE = Framing.CLOSE
_LENGTH = Framing.LENGTH
_NONE = Framing.NONE
_CARRIAGE_RETURN = 0x0D


class ResponseHead:
    """The head of one response; immutable by convention, and shared by every response that begins with the same bytes.

    It depends on `raw` and on whether the request's method was HEAD, CONNECT or another, so that a cache of heads
    is one for each of these three.

    Attributes:
        status_code: 100 to 999; those above 599 are to be treated as 5xx (RFC 9110 §15).
        reason: the reason phrase, possibly empty.
        version: 20, 11 or 10.
        headers: the fields.
        size: bytes of the head, the empty line included.
        framing: how the body ends.
        content_length: bytes of the body if `framing` is LENGTH, else -1.
        whole_length: `content_length` of a body that is the content as it stands, else -1.
        coded: whether the body is the content in codings that can be undone (RFC 9110 §8.4). Part of a coded
            representation (206) is none that can: it begins anywhere.
        keep_alive: whether this response lets the connection carry another exchange.
        interim: 1xx other than 101: another head follows.
        upgrade: the bytes that follow are not HTTP: 101, or 2xx to CONNECT.
        special: it asks for more than being read: a redirect, a challenge, or a cookie to keep.
        raw: the head's own bytes; `buffer.startswith(head.raw, start)` recognises the same head again.
    """

    __slots__ = (
        "coded",
        "content_length",
        "framing",
        "headers",
        "interim",
        "keep_alive",
        "raw",
        "reason",
        "size",
        "special",
        "status_code",
        "upgrade",
        "version",
        "whole_length",
    )

    def __init__(
        self,
        status_code: int,
        reason: str,
        version: int,
        headers: HeaderList,
        framing: Framing,
        content_length: int,
        keep_alive: bool,
        upgrade: bool,
        raw: bytes,
    ) -> None:
        self.status_code = status_code
        self.reason = reason
        self.version = version
        self.headers = headers
        self.size = len(raw)
        self.framing = framing
        self.content_length = content_length
        self.coded = headers.count(b"content-encoding") > 0 and framing is not _NONE and status_code != 206
        # One comparison for whoever has head and body before it.
        self.whole_length = -1 if self.coded else content_length
        self.keep_alive = keep_alive
        self.interim = status_code < 200 and status_code != 101
        self.upgrade = upgrade
        self.special = status_code in _SPECIAL_STATUSES or headers.count(b"set-cookie") > 0
        self.raw = raw

    @property
    def shown(self) -> bytes:
        """The head in the form of HTTP/1, for people: `raw`, or what HTTP/2 said in another form."""
        if self.version < 20:
            return self.raw
        lines = [b"HTTP/2 %d" % self.status_code, *(b"%s: %s" % field for field in self.headers.raw), b"", b""]
        return b"\r\n".join(lines)

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status_code} {self.reason!r} {self.framing.name}>"


class RequestHead:
    """The head of one request; immutable by convention.

    Attributes:
        method: a token, in its own case.
        target: the request target as it was sent: origin, absolute, authority or asterisk form (RFC 9112 §3.2).
        version: 20, 11 or 10.
        headers: the fields.
        host: host and port that were asked for: the target's where it names one, else the Host field's; may be empty.
        size: bytes of the head, the empty line and skipped leading empty lines included.
        framing: how the body ends: NONE, LENGTH or CHUNKED; STREAM in HTTP/2 alone.
        content_length: bytes of the body if `framing` is LENGTH, else -1.
        keep_alive: whether the connection may carry another exchange after this one.
        expect_continue: the client waits for a 100 before it sends the body.
        upgrade: the Upgrade field's value where the client offers to change the protocol, else None; the :protocol of
            an extended CONNECT (RFC 8441).
        raw: the head's own bytes, without leading empty lines; where it is `size` bytes long,
            `buffer.startswith(head.raw, start)` recognises the same head again.
    """

    __slots__ = (
        "content_length",
        "expect_continue",
        "framing",
        "headers",
        "host",
        "keep_alive",
        "method",
        "raw",
        "size",
        "target",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        method: str,
        target: bytes,
        version: int,
        headers: HeaderList,
        host: str,
        size: int,
        framing: Framing,
        content_length: int,
        keep_alive: bool,
        expect_continue: bool,
        upgrade: str | None,
        raw: bytes,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.host = host
        self.size = size
        self.framing = framing
        self.content_length = content_length
        self.keep_alive = keep_alive
        self.expect_continue = expect_continue
        self.upgrade = upgrade
        self.raw = raw

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self.framing.name}>"


def parse_response_head(
    buffer: bytearray,
    start: int,
    end: int,
    method: str,
    examined: int = 0,
    max_bytes: int = MAX_HEAD_BYTES,
    max_fields: int = MAX_HEAD_FIELDS,
) -> ResponseHead | None:
    """The head of the response at `buffer[start:end]` to a request of `method`, or None while it is not whole.

    Args:
        examined: end of the bytes that an earlier call for this head saw, or anything up to `start`.
        max_bytes: bytes that a head may have.
        max_fields: fields that a head may have.

    Raises:
        ProtocolError: the bytes are not a head by RFC 9112; as soon as that is known, even before its end.
        HeadTooLarge: more bytes or fields than allowed.
    """
    found = buffer.find(b"\r\n\r\n", examined - 3 if examined - 3 > start else start, end)
    if found < 0:
        _check_unfinished_response(buffer, start, end, examined, max_bytes)
        return None
    lines, raw = _head_lines(buffer, start, found + 4, max_bytes, max_fields)
    line = lines[0]
    if (
        line[:7] != b"HTTP/1."
        or line[7:9] not in (b"1 ", b"0 ")
        or not line[9:12].isdigit()
        or len(line) < 12
        or line[12:13] not in (b"", b" ")
        or line[9] == 0x30
    ):
        _refuse_status_line(line)
    version = 11 if line[7] == 0x31 else 10
    status_code = int(line[9:12])
    del lines[0]
    headers = parse_field_lines(lines)
    length = content_length(headers.joined(b"content-length"))
    chunked = is_chunked(headers.joined(b"transfer-encoding"), length >= 0, version)
    framing = response_framing(status_code, method, chunked, length)
    upgrade = status_code == 101 or (method == "CONNECT" and 200 <= status_code < 300)
    return ResponseHead(
        status_code,
        line[13:].decode("latin-1"),
        version,
        headers,
        framing,
        length if framing is _LENGTH else -1,
        persists(version, headers.joined(b"connection")) and framing is not _CLOSE and not upgrade,
        upgrade,
        raw,
    )


def parse_request_head(
    buffer: bytearray,
    start: int,
    end: int,
    examined: int = 0,
    max_bytes: int = MAX_HEAD_BYTES,
    max_fields: int = MAX_HEAD_FIELDS,
) -> RequestHead | None:
    """The head of the request at `buffer[start:end]`, or None while it is not whole.

    A few empty lines before the request line are skipped (RFC 9112 §2.2) and counted in `size`.
    Arguments and errors are those of `parse_response_head`. A server answers 505 to the code "bad_version", 501 to
    "bad_transfer_encoding", 431 to HeadTooLarge and 400 to the rest.
    """
    first = start
    while buffer.startswith(b"\r\n", first, end):
        first += 2
        if first - start > 2 * MAX_LEADING_EMPTY_LINES:
            raise ProtocolError("too many empty lines before a request line", code="bad_request_line")
    found = buffer.find(b"\r\n\r\n", examined - 3 if examined - 3 > first else first, end)
    # The empty lines count: a receive buffer of max_bytes must never fill before the head is refused.
    max_bytes -= first - start
    if found < 0:
        _check_unfinished_request(buffer, first, end, examined, max_bytes)
        return None
    lines, raw = _head_lines(buffer, first, found + 4, max_bytes, max_fields)
    words = lines[0].split(b" ")
    if len(words) != 3 or not is_token(words[0]) or words[1].translate(None, VISIBLE):
        _refuse_request_line(words)
    method, target, protocol = words
    if protocol != b"HTTP/1.1" and protocol != b"HTTP/1.0":
        _refuse_request_line(words)
    version = 11 if protocol == b"HTTP/1.1" else 10
    del lines[0]
    headers = parse_field_lines(lines)
    host = _requested_host(method, target, headers, version)
    length = content_length(headers.joined(b"content-length"))
    chunked = is_chunked(headers.joined(b"transfer-encoding"), length >= 0, version)
    if method == b"CONNECT" and (chunked or length > 0):
        raise ProtocolError("a CONNECT request announces a body, which it cannot have", code="bad_content_length")
    framing = request_framing(chunked, length) if method != b"CONNECT" else Framing.NONE
    connection = headers.joined(b"connection")
    upgrade = None
    if version >= 11 and connection is not None and has_member(connection, b"upgrade"):
        upgrade = headers.joined(b"upgrade")
    expect = headers.joined(b"expect")
    return RequestHead(
        method.decode("ascii"),
        target,
        version,
        headers,
        host.decode("ascii"),
        found + 4 - start,
        framing,
        length if framing is _LENGTH else -1,
        persists(version, connection),
        version >= 11 and expect is not None and has_member(expect, b"100-continue"),
        None if upgrade is None else upgrade.decode("latin-1"),
        raw,
    )


def _head_lines(buffer: bytearray, start: int, stop: int, max_bytes: int, max_fields: int) -> tuple[list[bytes], bytes]:
    """The start line and field lines of the head at `buffer[start:stop]`, and its bytes."""
    if stop - start > max_bytes:
        _refuse_size(max_bytes)
    raw = bytes(memoryview(buffer)[start:stop])
    # The block ends with two CRLFs, so that a head within bounds splits into its lines and two empty ones.
    lines = raw.split(b"\r\n", max_fields + 2)
    if lines.pop():
        raise HeadTooLarge(f"a message head has more than {max_fields} fields, the limit max_head_fields")
    if has_stray_control(raw, len(lines)):
        raise ProtocolError("a message head holds a bare CR or LF or another control byte", code="bad_field")
    del lines[-1]
    return lines, raw


def _requested_host(method: bytes, target: bytes, headers: HeaderList, version: int) -> bytes:
    """The host that the request is for (RFC 9112 §3.2 and §3.3); raises ProtocolError for a bad target or Host."""
    hosts = headers.count(b"host")
    if hosts > 1:
        raise ProtocolError("the request has more than one Host field", code="bad_host")
    if hosts == 0 and version >= 11:
        raise ProtocolError("the HTTP/1.1 request has no Host field", code="bad_host")
    host = headers.joined(b"host") or b""
    if not is_host(host):
        raise ProtocolError(f"the Host field {shown(host)} is not a host", code="bad_host")
    if method == b"CONNECT":
        _, colon, port = target.rpartition(b":")
        if not colon or not port or not is_host(target):
            raise ProtocolError("the target of CONNECT is not host:port", code="bad_target")
        return target
    if target[:1] == b"/" or (target == b"*" and method == b"OPTIONS"):
        return host
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise ProtocolError(
            "the request target is neither a path nor an http URL, and '*' is for OPTIONS alone", code="bad_target"
        )
    authority = rest.partition(b"/")[0].partition(b"?")[0].partition(b"#")[0]
    if b"@" in authority:
        raise ProtocolError("the request target carries user information", code="bad_target")
    if not authority or not is_host(authority):
        raise ProtocolError("the request target names no valid host", code="bad_target")
    return authority


def _check_unfinished_response(buffer: bytearray, start: int, end: int, examined: int, max_bytes: int) -> None:
    """Refuse early what can never become a response head."""
    seen = bytes(memoryview(buffer)[start : min(end, start + MAX_SHOWN_BYTES)])
    if not (seen.startswith(b"HTTP/1.") or b"HTTP/1.".startswith(seen)):
        _refuse_status_line(seen)
    _check_unfinished(buffer, start, end, examined, max_bytes)


def _check_unfinished_request(buffer: bytearray, start: int, end: int, examined: int, max_bytes: int) -> None:
    """Refuse early what can never become a request head."""
    if start < end and buffer[start] not in TOKEN and buffer[start] != _CARRIAGE_RETURN:
        _refuse_request_line([bytes(memoryview(buffer)[start : min(end, start + MAX_SHOWN_BYTES)])])
    _check_unfinished(buffer, start, end, examined, max_bytes)


def _check_unfinished(buffer: bytearray, start: int, end: int, examined: int, max_bytes: int) -> None:
    if end - start >= max_bytes:
        _refuse_size(max_bytes)
    # A peer that ends its lines with LF alone would otherwise be waited for until a deadline.
    line_feed = buffer.find(b"\n", examined if examined > start else start, end)
    if line_feed >= 0 and (line_feed == start or buffer[line_feed - 1] != _CARRIAGE_RETURN):
        raise ProtocolError("a line of a message head ends with LF alone, not CRLF", code="bad_field")


def _refuse_size(max_bytes: int) -> NoReturn:
    raise HeadTooLarge(f"a message head is longer than {max_bytes} bytes, the limit max_head_bytes")


def _refuse_status_line(line: bytes) -> NoReturn:
    if line.startswith(b"HTTP/1."):
        raise ProtocolError(f"the status line {shown(line)} is malformed", code="bad_status_line")
    if line.startswith(b"HTTP/"):
        raise ProtocolError(f"the response begins with {shown(line)}, not HTTP/1.1 or 1.0", code="bad_version")
    hint = ""
    if line[:1] in (b"\x15", b"\x16"):
        hint = "; the peer speaks TLS, use https"
    elif line.startswith(b"SSH-"):
        hint = "; the peer is an SSH server"
    elif len(line) >= 9 and line[3] == 4 and line[:3] < b"\x00\x40\x01":
        hint = "; the peer speaks HTTP/2, as http_versions=('HTTP/2',) does"
    raise ProtocolError(f"the response begins with {shown(line)}, which is not HTTP/1{hint}", code="not_http")


def _refuse_request_line(words: list[bytes]) -> NoReturn:
    """Say what is wrong with a request line; the target is not shown, because its query may be secret."""
    if not words[0] or words[0].translate(None, TOKEN):
        raise ProtocolError(f"the request begins with {shown(words[0])}, which is not HTTP/1", code="not_http")
    if len(words) != 3:
        raise ProtocolError(
            f"the request line of {shown(words[0])} is not a method, a target and a version", code="bad_request_line"
        )
    if not words[1] or words[1].translate(None, VISIBLE):
        raise ProtocolError("the request target is empty or holds bytes outside visible ASCII", code="bad_target")
    raise ProtocolError(f"the request's version is {shown(words[2])}, not HTTP/1.1 or 1.0", code="bad_version")
