"""Field lines as a peer sent them, checked and split: RFC 9112 §5 (lines), RFC 9110 §5 (names and values).

Used for heads and for trailers. Refused: line folding, white space around a name, an empty name, a name that is not
a token, a line without a colon. Control bytes inside a block are found by `has_stray_control` in one pass over the
whole block, before it is split.
"""

from __future__ import annotations

from turbosock.errors import ProtocolError
from turbosock.protocol.http1.grammar import TEXT, is_token, shown
from turbosock.protocol.http1.headers import Field, HeaderList

_USUAL_NAMES = """
accept accept-charset accept-encoding accept-language accept-ranges access-control-allow-credentials
access-control-allow-headers access-control-allow-methods access-control-allow-origin access-control-expose-headers
access-control-max-age age allow alt-svc authorization cache-control cf-cache-status cf-ray connection
content-disposition content-encoding content-language content-length content-location content-range
content-security-policy content-type cookie date etag expect expires forwarded from host if-match
if-modified-since if-none-match if-range if-unmodified-since keep-alive last-modified link location origin p3p pragma
proxy-authenticate proxy-authorization proxy-connection range referer referrer-policy retry-after
sec-websocket-accept sec-websocket-extensions sec-websocket-key sec-websocket-protocol sec-websocket-version server
server-timing set-cookie strict-transport-security te timing-allow-origin trailer transfer-encoding upgrade
upgrade-insecure-requests user-agent vary via www-authenticate x-cache x-content-type-options x-forwarded-for
x-forwarded-host x-forwarded-proto x-frame-options x-powered-by x-request-id x-xss-protection
"""


def _usual_keys() -> dict[bytes, bytes]:
    keys: dict[bytes, bytes] = {}
    for name in _USUAL_NAMES.split():
        key = name.encode("ascii")
        for spelling in (key, name.title().encode("ascii")):
            keys[spelling] = key
    keys[b"ETag"] = b"etag"
    keys[b"WWW-Authenticate"] = b"www-authenticate"
    return keys


# Usual spellings of usual names, so that they are neither checked nor put into lower case again for each message.
USUAL_KEYS = _usual_keys()


def has_stray_control(block: bytes, line_ends: int) -> bool:
    """Whether a block with `line_ends` CRLFs holds another control byte: bare CR or LF, NUL, DEL (RFC 9112 §2.2)."""
    return len(block.translate(None, TEXT)) != 2 * line_ends


def parse_field_lines(lines: list[bytes]) -> HeaderList:
    """The fields of the lines, which hold no control byte but HTAB.

    Raises:
        ProtocolError: code "bad_field", a line is not `name ":" OWS value OWS`.
    """
    raw: list[Field] = []
    keys: list[bytes] = []
    usual = USUAL_KEYS
    add_field = raw.append
    add_key = keys.append
    for line in lines:
        # The usual separator first: it spares a copy of each value without its leading space.
        name, colon, value = line.partition(b": ")
        key = usual.get(name)
        if key is None or not colon:
            name, colon, value = line.partition(b":")
            key = _checked_key(name, colon)
        add_key(key)
        add_field((name, value.strip(b" \t")))
    return HeaderList.of_valid(raw, keys)


def _checked_key(name: bytes, colon: bytes) -> bytes:
    if name[:1] in (b" ", b"\t"):
        raise ProtocolError("a field line begins with white space (line folding), which is refused", code="bad_field")
    if not colon:
        raise ProtocolError("a field line has no colon", code="bad_field")
    if not name:
        raise ProtocolError("a field has an empty name", code="bad_field")
    if name[-1:] in (b" ", b"\t"):
        raise ProtocolError(f"white space stands between the field name {shown(name)} and its colon", code="bad_field")
    if not is_token(name):
        raise ProtocolError(f"{shown(name)} is not a field name", code="bad_field")
    return name.lower()
