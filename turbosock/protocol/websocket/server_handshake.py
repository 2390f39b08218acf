"""ServerHandshake: whether a request opens a WebSocket, and how it is answered (RFC 6455 §4.2, §10.2; RFC 8441 §5).

Refusals are answers like the others, with a status that says what to do. A browser sends the origin of the page that
asks, and with it the user's cookies: without a look at it any site could act for its visitors. So by default an origin
must be the host that was asked; programs, which send none, may always ask.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

from turbosock.errors import InvalidOption, ProtocolError
from turbosock.limits import MAX_SUBPROTOCOLS
from turbosock.protocol.http1.framing import has_member
from turbosock.protocol.http1.grammar import is_token
from turbosock.protocol.http1.headers import Field, HeaderList
from turbosock.protocol.websocket import deflate as permessage_deflate
from turbosock.protocol.websocket.deflate import DeflateAgreement, DeflateArgument, deflate_of
from turbosock.protocol.websocket.extensions import parse_extensions
from turbosock.protocol.websocket.handshake import KEY_BYTES, VERSION, Agreement, accept_value, checked_subprotocols

# Which pages may connect: None, those of the host that is asked; "*" among others, all; or a callable that decides.
Origins: TypeAlias = Iterable[str] | Callable[[str], bool] | None

_ANY: Final = "*"
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


class HandshakeAnswer:
    """How a request is answered.

    Attributes:
        status_code: 101, or 200 to an extended CONNECT, where the WebSocket is open; else why it is not.
        fields: of the answer, beside whatever else the owner sends.
        agreement: what was agreed on, or None where the request is refused.
        refusal: why it is, or "": for the answer's body, and for people.
    """

    __slots__ = ("agreement", "fields", "refusal", "status_code")

    def __init__(self, status_code: int, fields: list[Field], agreement: Agreement | None, refusal: str) -> None:
        self.status_code = status_code
        self.fields = tuple(fields)
        self.agreement = agreement
        self.refusal = refusal

    def __repr__(self) -> str:
        return f"<HandshakeAnswer {self.status_code}>"


class ServerHandshake:
    """Answers the handshakes of one listener.

    Args:
        subprotocols: what can be spoken, most wanted first.
        deflate: how messages are compressed where the client can; see DeflateArgument.
        origins: which pages may connect, as `https://example.com`; see Origins.

    Attributes:
        deflate: the options that `deflate` means, or None.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = ("_is_welcome", "_origins", "_subprotocols", "deflate")

    def __init__(
        self,
        *,
        subprotocols: Iterable[str] = (),
        deflate: DeflateArgument = None,
        origins: Origins = None,
    ) -> None:
        self._subprotocols = checked_subprotocols(subprotocols)
        self.deflate = deflate_of(deflate)
        self._is_welcome: Callable[[str], bool] | None = None
        self._origins: frozenset[str] | None = None
        if callable(origins):
            self._is_welcome = origins
        elif origins is not None:
            self._origins = _checked_origins(origins)

    def answer(
        self, method: str, version: int, headers: HeaderList, host: str, extended: bool = False
    ) -> HandshakeAnswer:
        """Answer a request.

        Args:
            method: of the request; of an extended one it is CONNECT, and its :protocol is websocket.
            version: of HTTP: 10 or 11; of no meaning for an extended request.
            headers: its fields.
            host: host and port that it asks for.
            extended: whether it came over HTTP/2.
        """
        key = b""
        if not extended:
            refusal = _refusal_of_upgrade(method, version, headers)
            if refusal is not None:
                return refusal
        if headers.joined(b"sec-websocket-version") != VERSION:
            return _upgrade_required("speak version 13 of the WebSocket protocol", extended)
        if not extended:
            key = headers.joined(b"sec-websocket-key") or b""
            if not _is_key(key):
                return _refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64, once")
        origin = headers.joined(b"origin")
        if origin is not None and not self._welcomes(origin.decode("latin-1"), host):
            return _refuse(403, "pages of this origin may not connect here")
        try:
            subprotocol = self._chosen_subprotocol(headers.joined(b"sec-websocket-protocol"))
            deflate, extensions = self._agreed_deflate(headers.joined(b"sec-websocket-extensions"))
        except ProtocolError as error:
            return _refuse(400, str(error))
        fields: list[Field] = []
        if not extended:
            fields += [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
            fields.append((b"Sec-WebSocket-Accept", accept_value(key)))
        if subprotocol is not None:
            fields.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
        if deflate is not None:
            fields.append((b"Sec-WebSocket-Extensions", extensions.encode("ascii")))
        return HandshakeAnswer(200 if extended else 101, fields, Agreement(subprotocol, deflate), "")

    def _welcomes(self, origin: str, host: str) -> bool:
        if self._is_welcome is not None:
            return bool(self._is_welcome(origin))
        if self._origins is None:
            return _is_same_host(origin, host)
        return _ANY in self._origins or _as_browsers_say(origin.lower()) in self._origins

    def _chosen_subprotocol(self, value: bytes | None) -> str | None:
        """The first of ours that the client offers, or None."""
        if value is None:
            return None
        offered = [member.strip(b" \t") for member in value.split(b",", MAX_SUBPROTOCOLS)]
        if len(offered) > MAX_SUBPROTOCOLS or not all(map(is_token, offered)):
            raise ProtocolError("Sec-WebSocket-Protocol is no list of names, or a very long one", code="bad_handshake")
        return next((name for name in self._subprotocols if name.encode("ascii") in offered), None)

    def _agreed_deflate(self, value: bytes | None) -> tuple[DeflateAgreement | None, str]:
        """What comes of the first offer that we can accept, and the field that says so."""
        for extension in parse_extensions(value):
            if extension.name == permessage_deflate.NAME and self.deflate is not None:
                agreed = permessage_deflate.answer(extension, self.deflate)
                if agreed is not None:
                    return agreed
        return None, ""


def _refusal_of_upgrade(method: str, version: int, headers: HeaderList) -> HandshakeAnswer | None:
    """The answer to a request that is no GET to change the protocol, or None."""
    if method != "GET":
        return _refuse(405, "a WebSocket is opened by GET", (b"Allow", b"GET"))
    if version < 11:
        return _refuse(400, "a WebSocket is opened by HTTP/1.1")
    if not has_member(headers.joined(b"upgrade") or b"", b"websocket"):
        return _upgrade_required("this is a WebSocket: ask for it with 'Upgrade: websocket'", False)
    if not has_member(headers.joined(b"connection") or b"", b"upgrade"):
        return _refuse(400, "'Upgrade: websocket' stands without 'Connection: Upgrade'")
    if headers.count(b"transfer-encoding") or headers.joined(b"content-length") not in (None, b"0"):
        # Its bytes would be taken for frames.
        return _refuse(400, "a request that opens a WebSocket has no body")
    return None


def _refuse(status_code: int, refusal: str, *fields: Field) -> HandshakeAnswer:
    return HandshakeAnswer(status_code, list(fields), None, refusal)


def _upgrade_required(refusal: str, extended: bool) -> HandshakeAnswer:
    """426 with what to upgrade to (RFC 6455 §4.4, RFC 9110 §15.5.22); HTTP/2 has no Upgrade, so it is 400 there."""
    if extended:
        return _refuse(400, refusal, (b"Sec-WebSocket-Version", VERSION))
    upgrade = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))
    return _refuse(426, refusal, *upgrade, (b"Sec-WebSocket-Version", VERSION))


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == KEY_BYTES
    except binascii.Error:
        return False


def _is_same_host(origin: str, host: str) -> bool:
    """Whether the origin's host and port are those that were asked for; behind a proxy the scheme may differ."""
    scheme, separator, authority = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return bool(separator and authority) and authority.removesuffix(port) == host.lower().removesuffix(port)


def _checked_origins(origins: Iterable[str]) -> frozenset[str]:
    if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
        raise InvalidOption(f"origins={origins!r}: give a sequence of origins, a callable or None")
    names = tuple(origins)
    for name in names:
        if not isinstance(name, str):
            raise InvalidOption(f"origins: {name!r} is no str")
        scheme, separator, authority = name.partition("://")
        if name not in (_ANY, "null") and (not scheme or not separator or not authority or "/" in authority):
            raise InvalidOption(f"origins: {name!r} is no origin; give it as 'https://example.com', or '*' for all")
    return frozenset(_as_browsers_say(name.lower()) for name in names)


def _as_browsers_say(origin: str) -> str:
    """An origin without the port that its scheme has anyway (RFC 6454 §6.2)."""
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], ""))
