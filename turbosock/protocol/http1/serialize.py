"""Heads and chunks as bytes: RFC 9112 §3 (request line), §4 (status line), §5 (fields), §7.1 (chunks).

Everything is checked before a byte is made: what a user gave cannot end a line or begin a message. The fields of a
HeaderList are valid already; other pairs are checked here. Fields that frame the message are checked as well, because
a message with two ways of ending is what smuggling needs: one Host, one decimal Content-Length or `chunked`, not both.

Left to others: which fields a message should have. Nothing is added here.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.limits import MAX_CONTENT_LENGTH_DIGITS
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.grammar import checked_method, checked_reason, checked_target, is_host
from turbosock.protocol.http1.headers import HeaderList

REASONS: dict[int, bytes] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

# The chunk that ends a body without trailers.
LAST_CHUNK = b"0\r\n\r\n"

Fields = HeaderList | Iterable[tuple[bytes, bytes]]


def request_head(method: str, target: str | bytes, headers: Fields) -> bytes:
    """The head of an HTTP/1.1 request, the empty line included.

    Raises:
        InvalidHeader: method, target or a field is not valid, or the framing fields contradict each other; the
            message names it.
    """
    line = b"%b %b HTTP/1.1\r\n" % (checked_method(method), checked_target(target))
    fields = headers if isinstance(headers, HeaderList) else HeaderList(headers)
    _check_framing_fields(fields)
    hosts = fields.count(b"host")
    if hosts > 1:
        raise InvalidHeader("headers: 'Host' stands more than once")
    if hosts and not is_host(fields.joined(b"host") or b""):
        raise InvalidHeader("headers: the value of 'Host' is not a host with an optional port")
    return line + _block(fields)


def response_head(status_code: int, reason: str | None, headers: Fields) -> bytes:
    """The head of an HTTP/1.1 response, the empty line included; without a reason, the status's usual one.

    Raises:
        InvalidOption: status_code is not 100 to 999.
        InvalidHeader: the reason or a field is not valid, the framing fields contradict each other, or they stand
            in a 1xx or 204 response, which has no body (RFC 9110 §8.6, RFC 9112 §6.1).
    """
    if not isinstance(status_code, int) or not 100 <= status_code <= 999:
        raise InvalidOption(f"status_code: must be an int from 100 to 999, not {status_code!r}")
    phrase = REASONS.get(status_code, b"") if reason is None else checked_reason(reason)
    fields = headers if isinstance(headers, HeaderList) else HeaderList(headers)
    _check_framing_fields(fields)
    if status_code < 200 or status_code == 204:
        for key in (b"content-length", b"transfer-encoding"):
            if fields.count(key):
                raise InvalidHeader(f"headers: {key.decode('ascii')!r} cannot stand in a {status_code} response")
    return b"HTTP/1.1 %d %b\r\n%b" % (status_code, phrase, _block(fields))


def chunk_prefix(size: int) -> bytes:
    """The line before a chunk of `size` bytes, above 0; b"\\r\\n" follows its data (RFC 9112 §7.1)."""
    assert size > 0, "an empty chunk would end the body"
    return b"%x\r\n" % size


def last_chunk(trailers: Fields = ()) -> bytes:
    """The chunk that ends a body, with trailers.

    Raises:
        InvalidHeader: a trailer is not valid, or would frame or route the message (RFC 9110 §6.5.1).
    """
    fields = trailers if isinstance(trailers, HeaderList) else HeaderList(trailers)
    for key in FORBIDDEN_TRAILERS:
        if fields.count(key):
            raise InvalidHeader(f"trailers: {key.decode('ascii')!r} cannot stand in a trailer")
    return b"0\r\n" + _block(fields)


def _block(fields: HeaderList) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in fields.raw]
    lines.append(b"\r\n")
    return b"".join(lines)


def _check_framing_fields(fields: HeaderList) -> None:
    length = fields.joined(b"content-length")
    encoding = fields.joined(b"transfer-encoding")
    if length is not None and not (length.isdigit() and len(length) <= MAX_CONTENT_LENGTH_DIGITS):
        raise InvalidHeader("headers: 'Content-Length' must be one decimal number")
    if encoding is not None and encoding.lower() != b"chunked":
        raise InvalidHeader("headers: 'Transfer-Encoding' must be 'chunked' alone")
    if length is not None and encoding is not None:
        raise InvalidHeader("headers: 'Content-Length' and 'Transfer-Encoding' exclude each other")
