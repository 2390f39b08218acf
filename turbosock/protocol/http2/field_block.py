"""FieldBlock: the fields of one decoded field block, and what they mean as a head or as trailers (RFC 9113 §8.2, §8.3).

One object stands for every message with the same block: it is immutable, and what is made of it, a head for each kind
of request and for a stream that ends or goes on, is made once and shared.

What makes a message malformed (RFC 9113 §8.1.1) is an Http2Error with the code "malformed", an error of its stream
alone. As in HTTP/1, what two readers could take in two ways is refused: control bytes beyond those that the section
names, white space around a value, framing fields in trailers, two authorities.

Left to others: whether trailers or another head may come now, whether DATA adds up to Content-Length, and whether
:protocol was permitted by our settings (RFC 8441 §3); `RequestHead.upgrade` tells of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from turbosock.errors import HeadTooLarge, Http2Error, ProtocolError
from turbosock.protocol.http1.body import FORBIDDEN_TRAILERS
from turbosock.protocol.http1.fields import USUAL_KEYS
from turbosock.protocol.http1.framing import Framing, content_length, has_member, response_framing
from turbosock.protocol.http1.grammar import TEXT, TOKEN, VISIBLE, is_host, is_token, shown
from turbosock.protocol.http1.head import RequestHead, ResponseHead
from turbosock.protocol.http1.headers import Field, HeaderList
from turbosock.protocol.http2.error_codes import PROTOCOL_ERROR

# Kinds of response heads: twice the kind of the request's method, and one more where the stream ends with the head.
ORDINARY: Final = 0
HEAD: Final = 2
CONNECT: Final = 4
END_STREAM: Final = 1
_METHODS: Final = ("GET", "HEAD", "CONNECT")

# No head of HTTP/1 begins with it, so that what recognises one by its bytes never takes this for it.
RAW: Final = b"\0"
VERSION: Final = 20

# Fields of a connection of HTTP/1 (RFC 9113 §8.2.2); `te` is judged apart.
CONNECTION_SPECIFIC: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

_LOWER_TOKEN: Final = bytes(byte for byte in TOKEN if not 0x41 <= byte <= 0x5A)
_RESPONSE_PSEUDO: Final = frozenset((b":status",))
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_NO_PSEUDO: Final = frozenset[bytes]()


class FieldBlock:
    """The fields of one block; made by `BlockDecoder`.

    Attributes:
        fields: every (name, value) in order, as they were decoded and not yet checked; none where there are too many.
        list_bytes: the size of the list, with 32 for each field (RFC 9113 §6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE).
        heads: the response heads that were made, by kind; None where `response_head` was not asked yet.
    """

    __slots__ = ("_excess", "_request_heads", "_trailers", "fields", "heads", "list_bytes")

    def __init__(self, fields: Sequence[Field], list_bytes: int, excess: str = "") -> None:
        """`excess` says what there is too much of, where the message is to be refused for its size."""
        self.fields = fields
        self.list_bytes = list_bytes
        self.heads: list[ResponseHead | None] = [None, None, None, None, None, None]
        self._request_heads: list[RequestHead | None] = [None, None]
        self._trailers: HeaderList | None = None
        self._excess = excess

    def response_head(self, kind: int) -> ResponseHead:
        """The block as the head of a response.

        Args:
            kind: ORDINARY, HEAD or CONNECT, by the request's method, plus END_STREAM where the frame has that flag.

        Raises:
            Http2Error: code "malformed", by RFC 9113 §8.1.1.
            HeadTooLarge: more bytes or fields than a head may have.
        """
        head = self.heads[kind]
        if head is None:
            head = self.heads[kind] = self._make_response_head(_METHODS[kind >> 1], kind & END_STREAM != 0)
        return head

    def request_head(self, end_stream: bool) -> RequestHead:
        """The block as the head of a request; raises as `response_head` does.

        `target` is the path, or the authority for CONNECT; `upgrade` is the :protocol of an extended CONNECT.
        """
        head = self._request_heads[end_stream]
        if head is None:
            head = self._request_heads[end_stream] = self._make_request_head(end_stream)
        return head

    def trailers(self) -> HeaderList:
        """The block as trailers; raises as `response_head` does."""
        if self._trailers is None:
            _, trailers = self._checked(_NO_PSEUDO)
            for key in FORBIDDEN_TRAILERS:
                if trailers.count(key):
                    _refuse(f"the field {key.decode('ascii')!r} stands in trailers")
            self._trailers = trailers
        return self._trailers

    def _make_response_head(self, method: str, end_stream: bool) -> ResponseHead:
        pseudo, headers = self._checked(_RESPONSE_PSEUDO)
        status = pseudo.get(b":status")
        if status is None:
            _refuse("the response has no :status")
        if len(status) != 3 or not status.isdigit() or status < b"100":
            _refuse(f"the :status is {shown(status)}, not 100 to 999")
        status_code = int(status)
        if status_code == 101:
            _refuse("the :status is 101, which HTTP/2 does not have")
        if status_code < 200 and end_stream:
            _refuse(f"the stream ends with the interim response {status_code}")
        length = _length(headers)
        framing = response_framing(status_code, method, False, length)
        if framing is Framing.CLOSE:
            framing = Framing.NONE if end_stream else Framing.STREAM
        elif framing is Framing.LENGTH and end_stream:
            if length:
                _refuse(f"the stream ends with a head that announces {length} bytes of body")
            framing = Framing.NONE
        return ResponseHead(
            status_code,
            "",
            VERSION,
            headers,
            framing,
            length if framing is Framing.LENGTH else -1,
            True,
            method == "CONNECT" and 200 <= status_code < 300,
            RAW,
        )

    def _make_request_head(self, end_stream: bool) -> RequestHead:
        pseudo, headers = self._checked(_REQUEST_PSEUDO)
        method = pseudo.get(b":method")
        if method is None or not is_token(method):
            _refuse("the request has no :method, or one that is not a token")
        protocol = pseudo.get(b":protocol")
        if protocol is not None and (method != b"CONNECT" or not is_token(protocol)):
            _refuse(":protocol stands in a request that is not CONNECT, or is not a token")
        if method == b"CONNECT" and protocol is None:
            host = target = _tunnel_target(pseudo)
        else:
            host = _requested_host(pseudo, headers)
            target = _path(pseudo, method)
        length = _length(headers)
        framing = Framing.STREAM if length < 0 else Framing.LENGTH
        if method == b"CONNECT":
            if length > 0:
                _refuse("a CONNECT request announces a body, which it cannot have")
            framing = Framing.NONE
        elif end_stream:
            if length > 0:
                _refuse(f"the stream ends with a head that announces {length} bytes of body")
            framing = Framing.NONE
        expect = headers.joined(b"expect")
        return RequestHead(
            method.decode("ascii"),
            target,
            VERSION,
            headers,
            host.decode("ascii"),
            len(RAW),
            framing,
            length if framing is Framing.LENGTH else -1,
            True,
            expect is not None and has_member(expect, b"100-continue"),
            None if protocol is None else protocol.decode("ascii"),
            RAW,
        )

    def _checked(self, known: frozenset[bytes]) -> tuple[dict[bytes, bytes], HeaderList]:
        """The pseudo-fields, of which `known` may stand, and the fields, each by RFC 9113 §8.2 and §8.3."""
        if self._excess:
            raise HeadTooLarge(self._excess)
        if b"".join([value for _, value in self.fields]).translate(None, TEXT):
            _refuse("a field's value holds CR, LF, NUL or another control byte")
        pseudo: dict[bytes, bytes] = {}
        raw: list[Field] = []
        keys: list[bytes] = []
        crumbs: list[bytes] = []
        usual = USUAL_KEYS
        for name, value in self.fields:
            if value.strip(b" \t") != value:
                _refuse(f"the value of {shown(name)} begins or ends with white space")
            if name[:1] == b":":
                if keys:
                    _refuse(f"the pseudo-field {shown(name)} stands after a field")
                if name not in known:
                    _refuse(f"the pseudo-field {shown(name)} does not belong here")
                if name in pseudo:
                    _refuse(f"the pseudo-field {shown(name)} stands twice")
                pseudo[name] = value
                continue
            if usual.get(name) != name and (not name or name.translate(None, _LOWER_TOKEN)):
                _refuse(f"{shown(name)} is not a field name in lower case")
            if name in CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
                _refuse(f"the field {shown(name)} is of a connection of HTTP/1")
            if name == b"cookie":
                # One field for readers that know no other form (RFC 9113 §8.2.3); where the first crumb stands.
                crumbs.append(value)
                if len(crumbs) > 1:
                    continue
            keys.append(name)
            raw.append((name, value))
        if len(crumbs) > 1:
            raw[keys.index(b"cookie")] = (b"cookie", b"; ".join(crumbs))
        return pseudo, HeaderList.of_valid(raw, keys)


def _length(headers: HeaderList) -> int:
    """The body's length that is announced, or -1."""
    try:
        return content_length(headers.joined(b"content-length"))
    except ProtocolError as error:
        _refuse(str(error))


def _path(pseudo: dict[bytes, bytes], method: bytes) -> bytes:
    path = pseudo.get(b":path")
    if path is None:
        _refuse("the request has no :path")
    if not (path[:1] == b"/" or (path == b"*" and method == b"OPTIONS")) or path.translate(None, VISIBLE):
        _refuse("the :path is not a path of visible ASCII, nor '*' for OPTIONS")
    return path


def _requested_host(pseudo: dict[bytes, bytes], headers: HeaderList) -> bytes:
    """The host that the request is for, by :authority or else by the Host field (RFC 9113 §8.3.1).

    Two Host fields, joined, are no host.
    """
    scheme = pseudo.get(b":scheme", b"").lower()
    if scheme not in _DEFAULT_PORTS:
        _refuse("the request has no :scheme, or one that is neither http nor https")
    authority = pseudo.get(b":authority")
    host = headers.joined(b"host")
    if authority is None:
        authority = host
    elif host is not None and _without_port(host, scheme) != _without_port(authority, scheme):
        _refuse("the Host field names another host than :authority")
    if not authority or not is_host(authority):
        _refuse("the request names no host, or none that is valid, in :authority or Host")
    return authority


def _without_port(host: bytes, scheme: bytes) -> bytes:
    """The host in one spelling: lower case, without the port that its scheme has anyway (RFC 3986 §6.2)."""
    return host.lower().removesuffix(_DEFAULT_PORTS[scheme]).removesuffix(b":")


def _tunnel_target(pseudo: dict[bytes, bytes]) -> bytes:
    """The host and port that a CONNECT request asks for (RFC 9113 §8.5)."""
    if b":scheme" in pseudo or b":path" in pseudo:
        _refuse("a CONNECT request has a :scheme or a :path")
    authority = pseudo.get(b":authority", b"")
    _, colon, port = authority.rpartition(b":")
    if not colon or not port or not is_host(authority):
        _refuse("the :authority of CONNECT is not host:port")
    return authority


def _refuse(what: str) -> NoReturn:
    raise Http2Error(f"{what}; the message is malformed", PROTOCOL_ERROR, code="malformed")
