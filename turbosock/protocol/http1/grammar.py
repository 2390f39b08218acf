"""Which bytes may stand where in an HTTP/1 message: RFC 9110 §5 (fields), §7.2 (host); RFC 9112 §3 (request line).

The byte sets are made once; a check is one `bytes.translate` that deletes the permitted bytes and leaves the others,
because a pattern of `re` allocates on every match. `checked_*` takes what a user gives and raises `InvalidHeader`
before anything is sent; what a peer sends is judged with the same sets in `fields.py` and `head.py`.

Invariant: nothing is stripped, replaced or encoded here; a value is valid as it stands or refused.
"""

from __future__ import annotations

from turbosock.errors import InvalidHeader

DIGITS = b"0123456789"
HEX_DIGITS = DIGITS + b"abcdefABCDEF"
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

# tchar of RFC 9110 §5.6.2: methods, field names, list members.
TOKEN = b"!#$%&'*+-.^_`|~" + DIGITS + LETTERS
# VCHAR: what a request target may hold. RFC 3986 permits less, but what is visible ASCII cannot move a boundary.
VISIBLE = bytes(range(0x21, 0x7F))
# HTAB, SP, VCHAR and obs-text of RFC 9110 §5.5: field values and reason phrases.
TEXT = b"\t " + VISIBLE + bytes(range(0x80, 0x100))
# unreserved, sub-delims and "%" of RFC 3986 §3.2.2: a registered name or an IPv4 address.
REG_NAME = b"-._~!$&'()*+,;=%" + DIGITS + LETTERS

# Longest piece of a peer's bytes that an error message shows.
MAX_SHOWN_BYTES = 40


def shown(data: bytes) -> str:
    """What a peer sent, for an error message: escaped, and cut to `MAX_SHOWN_BYTES`."""
    return repr(data[:MAX_SHOWN_BYTES])[1:] + ("..." if len(data) > MAX_SHOWN_BYTES else "")


def is_token(data: bytes) -> bool:
    """Whether `data` is a token: not empty, and tchars only (RFC 9110 §5.6.2)."""
    return bool(data) and not data.translate(None, TOKEN)


def is_host(data: bytes) -> bool:
    """Whether `data` is `uri-host [":" port]`, or empty as RFC 9112 §3.2 permits for a Host field."""
    if data.startswith(b"["):
        address, bracket, rest = data[1:].partition(b"]")
        if not bracket or address.count(b":") < 2 or address.translate(None, HEX_DIGITS + b":."):
            return False
        return not rest or (rest.startswith(b":") and _is_port(rest[1:]))
    name, colon, port = data.partition(b":")
    if colon and (not name or not _is_port(port)):
        return False
    if name.translate(None, REG_NAME):
        return False
    return b"%" not in name or _is_percent_encoded(name)


def _is_port(data: bytes) -> bool:
    return not data or (data.isdigit() and len(data) <= 5 and int(data) <= 0xFFFF)


def _is_percent_encoded(name: bytes) -> bool:
    return all(len(part) >= 2 and not part[:2].translate(None, HEX_DIGITS) for part in name.split(b"%")[1:])


def checked_method(method: str) -> bytes:
    """The method as bytes. Raises InvalidHeader unless it is a token (RFC 9110 §9.1)."""
    if not isinstance(method, str):
        raise InvalidHeader(f"method: must be str, not {type(method).__name__}")
    data = method.encode("ascii") if method.isascii() else b""
    if not is_token(data):
        raise InvalidHeader(f"method: {method[:MAX_SHOWN_BYTES]!r} is not a token; use letters, as in 'GET'")
    return data


def checked_target(target: str | bytes) -> bytes:
    """The request target as bytes. Raises InvalidHeader unless visible ASCII without a fragment (RFC 9112 §3.2)."""
    if isinstance(target, str):
        if not target.isascii():
            raise InvalidHeader("target: holds a character outside ASCII; percent-encode it")
        target = target.encode("ascii")
    elif not isinstance(target, bytes):
        raise InvalidHeader(f"target: must be str or bytes, not {type(target).__name__}")
    if not target:
        raise InvalidHeader("target: is empty; the root of a server is '/'")
    refused = target.translate(None, VISIBLE)
    if refused:
        raise InvalidHeader(f"target: holds the byte 0x{refused[0]:02x}; percent-encode it")
    if b"#" in target:
        raise InvalidHeader("target: holds a fragment ('#'), which is never sent; remove or percent-encode it")
    return target


def checked_name(name: str | bytes) -> bytes:
    """A field's name as bytes. Raises InvalidHeader unless it is a token (RFC 9110 §5.1)."""
    if isinstance(name, str):
        data = name.encode("ascii") if name.isascii() else b""
    elif isinstance(name, bytes):
        data = name
    else:
        raise InvalidHeader(f"headers: a field's name must be str or bytes, not {type(name).__name__}")
    if not is_token(data):
        raise InvalidHeader(f"headers: {name[:MAX_SHOWN_BYTES]!r} is not a field name; use letters, digits and '-'")
    return data


def checked_value(name: bytes, value: str | bytes) -> bytes:
    """A field's value as bytes, Latin-1 if it was text; `name` is for the error.

    Raises InvalidHeader for control bytes other than HTAB, for white space at either end, and for characters
    outside Latin-1 (RFC 9110 §5.5). The value itself is never shown: it may be a credential.
    """
    if isinstance(value, str):
        try:
            value = value.encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidHeader(
                f"headers: the value of {name.decode('ascii')!r} holds a character outside Latin-1; encode it first"
            ) from None
    elif not isinstance(value, bytes):
        raise InvalidHeader(
            f"headers: the value of {name.decode('ascii')!r} must be str or bytes, not {type(value).__name__}"
        )
    refused = value.translate(None, TEXT)
    if refused:
        raise InvalidHeader(
            f"headers: the value of {name.decode('ascii')!r} holds the control byte 0x{refused[0]:02x}; remove it"
        )
    if value and (value[0] in b" \t" or value[-1] in b" \t"):
        raise InvalidHeader(f"headers: the value of {name.decode('ascii')!r} begins or ends with white space; strip it")
    return value


def checked_reason(reason: str) -> bytes:
    """A reason phrase as bytes, Latin-1. Raises InvalidHeader for control bytes other than HTAB (RFC 9112 §4)."""
    try:
        data = reason.encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidHeader("reason: holds a character outside Latin-1; leave the phrase out") from None
    refused = data.translate(None, TEXT)
    if refused:
        raise InvalidHeader(f"reason: holds the control byte 0x{refused[0]:02x}; remove it")
    return data
