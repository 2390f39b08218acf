"""Where a message ends, and whether its connection may carry another: RFC 9112 §6.1 to §6.3, §9.3; RFC 9110 §8.6.

The ways in which a body ends, and the fields that choose among them. What could be read in two ways is refused
on both sides: a Content-Length beside a Transfer-Encoding, lengths that differ, a coding other than `chunked`, a
Transfer-Encoding in HTTP/1.0. Content-Length is judged even where the message has no body, because a peer that
writes nonsense there is not to be trusted with the next message.

The functions take a field's values joined with ", ", or None where the field is missing.
"""

from __future__ import annotations

import enum

from turbosock.errors import ProtocolError
from turbosock.limits import MAX_CONTENT_LENGTH_DIGITS
from turbosock.protocol.http1.grammar import shown


class Framing(enum.Enum):
    """How the end of a body is known."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    # HTTP/2 alone: the body ends with its stream (RFC 9113 §8.1).
    STREAM = "stream"


_NONE = Framing.NONE
_LENGTH = Framing.LENGTH
_CHUNKED = Framing.CHUNKED
_CLOSE = Framing.CLOSE


def content_length(value: bytes | None) -> int:
    """The length that Content-Length announces, in bytes, or -1 without the field (RFC 9110 §8.6).

    A repeated length is accepted where every member is the same text, as that section permits.

    Raises:
        ProtocolError: code "bad_content_length", not one number of ASCII digits, or more digits than
            MAX_CONTENT_LENGTH_DIGITS.
    """
    if value is None:
        return -1
    if not value.isdigit():
        value = _one_of_equal(value)
    if len(value) > MAX_CONTENT_LENGTH_DIGITS:
        raise ProtocolError(
            f"Content-Length has {len(value)} digits; at most {MAX_CONTENT_LENGTH_DIGITS} are accepted",
            code="bad_content_length",
        )
    return int(value)


def _one_of_equal(value: bytes) -> bytes:
    members = [member.strip(b" \t") for member in value.split(b",")]
    first = members[0]
    if not first.isdigit() or members.count(first) != len(members):
        raise ProtocolError(f"Content-Length is {shown(value)}, not one number", code="bad_content_length")
    return first


def is_chunked(transfer_encoding: bytes | None, has_length: bool, version: int) -> bool:
    """Whether the body comes in chunks (RFC 9112 §6.1).

    Raises:
        ProtocolError: code "bad_transfer_encoding", the field is anything but exactly `chunked`, stands beside a
            Content-Length, or in an HTTP/1.0 message.
    """
    if transfer_encoding is None:
        return False
    if transfer_encoding.lower() != b"chunked":
        raise ProtocolError(
            f"Transfer-Encoding is {shown(transfer_encoding)}; only 'chunked' is understood",
            code="bad_transfer_encoding",
        )
    if has_length:
        raise ProtocolError("the message has both Transfer-Encoding and Content-Length", code="bad_transfer_encoding")
    if version < 11:
        raise ProtocolError("an HTTP/1.0 message has a Transfer-Encoding", code="bad_transfer_encoding")
    return True


def response_framing(status_code: int, method: str, chunked: bool, length: int) -> Framing:
    """How the body of a response to `method` ends (RFC 9112 §6.3); `length` is -1 without Content-Length."""
    if method == "HEAD" or status_code < 200 or status_code == 204 or status_code == 304:
        return _NONE
    if method == "CONNECT" and status_code < 300:
        return _NONE
    if chunked:
        return _CHUNKED
    return _CLOSE if length < 0 else _LENGTH


def request_framing(chunked: bool, length: int) -> Framing:
    """How the body of a request ends (RFC 9112 §6.3): one without either field has none."""
    if chunked:
        return _CHUNKED
    return _NONE if length < 0 else _LENGTH


def persists(version: int, connection: bytes | None) -> bool:
    """Whether Connection lets the connection live on: `close` wins, 1.0 needs `keep-alive` (RFC 9112 §9.3)."""
    if connection is None:
        return version >= 11
    if connection == b"keep-alive":
        return True
    if has_member(connection, b"close"):
        return False
    return version >= 11 or has_member(connection, b"keep-alive")


def has_member(value: bytes, member: bytes) -> bool:
    """Whether the comma-separated list holds `member`, which is in lower case; compared without case."""
    value = value.lower()
    if value == member:
        return True
    return member in value and any(part.strip(b" \t") == member for part in value.split(b","))
