"""The fields of a message as HTTP/2 sends them: pseudo-fields first, names in lower case (RFC 9113 §8.2, §8.3).

Callers give what they would give to HTTP/1. What belongs to a connection of HTTP/1 is left out, with what Connection
names (RFC 9113 §8.2.2, RFC 9110 §7.6.1); Host becomes :authority. Everything is checked before it is encoded, by the
rules of HTTP/1's serializer: no control byte leaves, and no length that is none.
"""

from __future__ import annotations

from collections.abc import Iterable

from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.limits import MAX_CONTENT_LENGTH_DIGITS
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.framing import has_member
from turbosock.protocol.http1.grammar import checked_method, checked_target, is_host
from turbosock.protocol.http1.headers import Field, HeaderList
from turbosock.protocol.http2.field_block import CONNECTION_SPECIFIC

# HTTP2-Settings went with an upgrade from HTTP/1.1, which RFC 9113 took away.
_LEFT_OUT = CONNECTION_SPECIFIC | {b"te", b"http2-settings"}


def request_fields(
    method: str,
    scheme: str,
    authority: bytes,
    path: str | bytes,
    fields: HeaderList | Iterable[Field],
    protocol: str = "",
) -> list[Field]:
    """The fields of a request, ready to be encoded (RFC 9113 §8.3.1).

    Args:
        authority: host and port as the URL has them; a Host among `fields` replaces it, except for CONNECT.
        path: path and query; not sent with an ordinary CONNECT, which has only the authority (RFC 9113 §8.5).
        fields: as for HTTP/1; a HeaderList is not checked again.
        protocol: what an extended CONNECT is to speak (RFC 8441 §4).

    Raises:
        InvalidHeader: an argument or a field is not valid; the message names it.
    """
    headers = fields if isinstance(fields, HeaderList) else HeaderList(fields)
    connects = method == "CONNECT"
    if protocol and not connects:
        raise InvalidHeader("protocol: is for the method CONNECT alone")
    if not connects:
        # Two of them, joined, are no host.
        host = headers.joined(b"host")
        authority = authority if host is None else host
    if not authority or not is_host(authority):
        raise InvalidHeader("headers: the authority, or the value of 'Host', is not one host with an optional port")
    sent = [(b":method", checked_method(method)), (b":authority", authority)]
    if protocol or not connects:
        if scheme not in ("http", "https"):
            raise InvalidHeader(f"scheme: must be 'http' or 'https', not {scheme!r}")
        target = checked_target(path)
        if target[:1] != b"/" and not (target == b"*" and method == "OPTIONS"):
            raise InvalidHeader("path: must begin with '/', or be '*' for OPTIONS")
        sent += ((b":scheme", scheme.encode("ascii")), (b":path", target))
    if protocol:
        sent.append((b":protocol", checked_method(protocol)))
    sent += _end_to_end(headers, b"host")
    te = headers.joined(b"te")
    if te is not None and has_member(te, b"trailers"):
        sent.append((b"te", b"trailers"))
    return sent


def response_fields(status_code: int, fields: HeaderList | Iterable[Field]) -> list[Field]:
    """The fields of a response, ready to be encoded (RFC 9113 §8.3.2).

    Raises:
        InvalidOption: status_code is not 100 to 999, or 101, which HTTP/2 does not have (RFC 9113 §8.6).
        InvalidHeader: a field is not valid, or is Content-Length in a 1xx or 204 response (RFC 9110 §8.6).
    """
    if not isinstance(status_code, int) or not 100 <= status_code <= 999 or status_code == 101:
        raise InvalidOption(f"status_code: must be an int from 100 to 999 and not 101, not {status_code!r}")
    headers = fields if isinstance(fields, HeaderList) else HeaderList(fields)
    if (status_code < 200 or status_code == 204) and headers.count(b"content-length"):
        raise InvalidHeader(f"headers: 'content-length' cannot stand in a {status_code} response")
    return [(b":status", b"%d" % status_code), *_end_to_end(headers)]


def trailer_fields(fields: HeaderList | Iterable[Field]) -> list[Field]:
    """The fields of trailers, ready to be encoded (RFC 9113 §8.1).

    Raises:
        InvalidHeader: a trailer is not valid, or would frame or route the message (RFC 9110 §6.5.1).
    """
    trailers = fields if isinstance(fields, HeaderList) else HeaderList(fields)
    for key in FORBIDDEN_TRAILERS:
        if trailers.count(key):
            raise InvalidHeader(f"trailers: {key.decode('ascii')!r} cannot stand in a trailer")
    return _end_to_end(trailers)


def _end_to_end(headers: HeaderList, *besides: bytes) -> list[Field]:
    """The fields that are not of one connection, with names in lower case; `besides` are left out too."""
    length = headers.joined(b"content-length")
    if length is not None and not (length.isdigit() and len(length) <= MAX_CONTENT_LENGTH_DIGITS):
        raise InvalidHeader("headers: 'Content-Length' must be one decimal number")
    left_out = _LEFT_OUT.union(besides)
    connection = headers.joined(b"connection")
    if connection is not None:
        left_out = left_out.union(member.strip(b" \t") for member in connection.lower().split(b","))
    return [(name.lower(), value) for name, value in headers.raw if name.lower() not in left_out]


def fields_of_head(head: bytes, scheme: str) -> list[Field]:
    """The fields of a request that was serialised for HTTP/1.1, with its Host as the authority.

    Raises:
        InvalidHeader: as `request_fields`: HTTP/2 knows no such request.
    """
    lines = head.split(b"\r\n")
    method, target, _ = lines[0].split(b" ")
    headers = _headers_of(lines)
    return request_fields(method.decode("ascii"), scheme, headers.joined(b"host") or b"", target, headers)


def fields_of_upgrade(head: bytes, scheme: str) -> list[Field]:
    """The fields of an extended CONNECT in the place of a GET that was to open a WebSocket (RFC 8441 §5).

    Raises:
        InvalidHeader: as `request_fields`.
    """
    lines = head.split(b"\r\n")
    _, target, _ = lines[0].split(b" ")
    headers = _headers_of(lines)
    # The key proves that the server knows the protocol, of which HTTP/2 has its own proof.
    left = HeaderList(field for field in headers.raw if field[0].lower() != b"sec-websocket-key")
    return request_fields("CONNECT", scheme, headers.joined(b"host") or b"", target, left, "websocket")


def fields_of_answer(head: bytes) -> list[Field]:
    """The fields of a response that was serialised for HTTP/1.1.

    Raises:
        InvalidOption, InvalidHeader: as `response_fields`: HTTP/2 knows no such response.
    """
    lines = head.split(b"\r\n")
    return response_fields(int(lines[0][9:12]), _headers_of(lines))


def _headers_of(lines: list[bytes]) -> HeaderList:
    """The fields of a serialised head, split into its lines."""
    fields: list[Field] = []
    for line in lines[1:-2]:
        name, _, value = line.partition(b": ")
        fields.append((name, value))
    return HeaderList.of_valid(fields, [name.lower() for name, _ in fields])
