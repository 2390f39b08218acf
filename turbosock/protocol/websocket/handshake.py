"""What both sides of the opening handshake share: RFC 6455 §1.3, §4, §11.3; RFC 8441 for HTTP/2.

Over HTTP/1.1 a GET asks to change the protocol and 101 agrees; key and accept value show that the server meant it. Over
HTTP/2 (and 3) an extended CONNECT asks, 2xx agrees, and neither key nor Upgrade is there (RFC 8441 §5). The rest is the
same.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from turbosock.errors import InvalidHeader, InvalidOption
from turbosock.limits import MAX_SUBPROTOCOLS
from turbosock.protocol.http1.grammar import is_token
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.websocket.deflate import DeflateAgreement

VERSION: Final = b"13"
KEY_BYTES: Final = 16

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

# Fields that the handshake writes itself.
OWN_KEYS: Final = frozenset(
    (
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-key",
        b"sec-websocket-protocol",
        b"sec-websocket-version",
        b"upgrade",
    )
)


class Agreement(NamedTuple):
    """What the two sides agreed on: a subprotocol or None, and how messages are compressed or None."""

    subprotocol: str | None
    deflate: DeflateAgreement | None


def new_key(random_bytes: Callable[[int], bytes] = os.urandom) -> bytes:
    """A Sec-WebSocket-Key for one attempt (RFC 6455 §4.1)."""
    return base64.b64encode(random_bytes(KEY_BYTES))


def accept_value(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def checked_subprotocols(subprotocols: Iterable[str]) -> tuple[str, ...]:
    """The subprotocols as a tuple.

    Raises:
        InvalidOption: one is no token or stands there twice, or there are more than MAX_SUBPROTOCOLS.
    """
    if isinstance(subprotocols, (str, bytes)) or not isinstance(subprotocols, Iterable):
        raise InvalidOption(f"subprotocols={subprotocols!r}: give a sequence of names")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str) or not name.isascii() or not is_token(name.encode("ascii")):
            raise InvalidOption(f"subprotocols: {name!r} is no name; use letters, digits, '.' and '-'")
    if len(set(names)) != len(names):
        raise InvalidOption("subprotocols: a name stands there twice; give each once")
    if len(names) > MAX_SUBPROTOCOLS:
        raise InvalidOption(f"subprotocols: {len(names)} of them; give at most {MAX_SUBPROTOCOLS}")
    return names


def checked_extra_fields(headers: HeaderList) -> HeaderList:
    """The further fields that a user gave.

    Raises:
        InvalidHeader: one is written by the handshake itself.
    """
    for key in OWN_KEYS:
        if headers.count(key):
            raise InvalidHeader(f"headers: {key.decode('ascii')!r} is written by the WebSocket handshake; leave it out")
    return headers
