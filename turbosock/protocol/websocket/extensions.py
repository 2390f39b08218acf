"""The field Sec-WebSocket-Extensions: a list of extensions with their parameters (RFC 6455 §9.1).

Names and parameters are tokens; a value is a token, or a quoted string that holds one. So no comma, semicolon or equals
sign can stand inside of a value, and the list is split at them.
"""

from __future__ import annotations

from typing import NamedTuple

from turbosock.errors import ProtocolError
from turbosock.limits import MAX_EXTENSION_PARAMETERS, MAX_WEBSOCKET_EXTENSIONS
from turbosock.protocol.http1.grammar import is_token, shown


class Extension(NamedTuple):
    """One extension that is offered or accepted; its parameters in order, a value None where there is none."""

    name: str
    parameters: tuple[tuple[str, str | None], ...]


def parse_extensions(value: bytes | None) -> list[Extension]:
    """The extensions that the field's values, joined with ", ", name; none without the field.

    Raises:
        ProtocolError: code "bad_extensions": the value is not in the field's grammar, or has too many members.
    """
    extensions: list[Extension] = []
    if value is None:
        return extensions
    members = value.split(b",", 2 * MAX_WEBSOCKET_EXTENSIONS)
    for member in members:
        member = member.strip(b" \t")
        # RFC 9110 §5.6.1.2: a list may have a few empty members.
        if member:
            extensions.append(_extension(member))
    if len(extensions) > MAX_WEBSOCKET_EXTENSIONS or len(members) > 2 * MAX_WEBSOCKET_EXTENSIONS:
        raise ProtocolError(
            f"Sec-WebSocket-Extensions names more than {MAX_WEBSOCKET_EXTENSIONS} extensions", code="bad_extensions"
        )
    if not extensions:
        raise ProtocolError("Sec-WebSocket-Extensions is empty", code="bad_extensions")
    return extensions


def _extension(member: bytes) -> Extension:
    name, *parts = member.split(b";", MAX_EXTENSION_PARAMETERS + 1)
    if len(parts) > MAX_EXTENSION_PARAMETERS:
        raise ProtocolError(f"an extension has more than {MAX_EXTENSION_PARAMETERS} parameters", code="bad_extensions")
    return Extension(_token(name.strip(b" \t"), member), tuple(_parameter(part, member) for part in parts))


def _parameter(part: bytes, member: bytes) -> tuple[str, str | None]:
    name, equals, value = part.strip(b" \t").partition(b"=")
    if not equals:
        return _token(name, member), None
    if len(value) >= 2 and value[:1] == b'"' and value[-1:] == b'"':
        value = _unquoted(value[1:-1])
    return _token(name, member), _token(value, member)


def _unquoted(text: bytes) -> bytes:
    """What stands in a quoted string: a backslash makes the byte after it an ordinary one (RFC 9110 §5.6.4)."""
    plain = bytearray()
    i = 0
    while i < len(text):
        # One at the end has no byte after it. It stays, and is in no token.
        if text[i] == 0x5C and i + 1 < len(text):
            i += 1
        plain.append(text[i])
        i += 1
    return bytes(plain)


def _token(data: bytes, member: bytes) -> str:
    if not is_token(data):
        raise ProtocolError(f"Sec-WebSocket-Extensions holds {shown(member)}", code="bad_extensions")
    return data.decode("ascii").lower()
