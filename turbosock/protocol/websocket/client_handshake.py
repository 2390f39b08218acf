"""ClientHandshake: what a client asks for, and whether the answer agrees to it (RFC 6455 §4.1; RFC 8441 §5).

The calling order: (1) send a GET, or an extended CONNECT, with `fields`; (2) give the status and the fields of the
answer to `check`. Redirects, credentials and any other status than the one that agrees are its owner's matter, before
(2). A key is for one attempt: whoever repeats the request gives it another one, and tells of it by `sent_with`; and by
`sent_extended` where an extended CONNECT went in its place.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from turbosock.errors import InvalidOption, ProtocolError
from turbosock.protocol.http1.framing import has_member
from turbosock.protocol.http1.grammar import checked_value, shown
from turbosock.protocol.http1.headers import Field, HeaderList
from turbosock.protocol.websocket import deflate as permessage_deflate
from turbosock.protocol.websocket.deflate import DeflateAgreement, DeflateArgument, deflate_of
from turbosock.protocol.websocket.extensions import parse_extensions
from turbosock.protocol.websocket.handshake import VERSION, Agreement, accept_value, checked_subprotocols, new_key


class ClientHandshake:
    """The opening of one WebSocket.

    Args:
        subprotocols: what may be spoken, most wanted first.
        deflate: how messages are compressed where the server can; see DeflateArgument.
        origin: the origin of the page or program on whose behalf this is, as browsers say it; None says nothing.
        extended: whether an extended CONNECT asks (HTTP/2), instead of a GET.
        random_bytes: returns so many bytes that nobody can foresee.

    Attributes:
        deflate: the options that `deflate` means, or None.
        fields: of the request, beside Host and whatever else the owner sends.

    Raises:
        InvalidOption: a subprotocol is no token, or repeated; another argument has a wrong type.
        InvalidHeader: the origin cannot stand in a field.
    """

    __slots__ = ("_accept", "_extended", "_subprotocols", "deflate", "fields")

    def __init__(
        self,
        *,
        subprotocols: Iterable[str] = (),
        deflate: DeflateArgument = None,
        origin: str | None = None,
        extended: bool = False,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if origin is not None and not isinstance(origin, str):
            raise InvalidOption(f"origin={origin!r}: give a str such as 'https://host', or None")
        self._subprotocols = checked_subprotocols(subprotocols)
        self.deflate = options = deflate_of(deflate)
        self._extended = extended
        self._accept = b""
        fields: list[Field] = []
        if not extended:
            key = new_key(random_bytes)
            self._accept = accept_value(key)
            fields += [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Key", key)]
        fields.append((b"Sec-WebSocket-Version", VERSION))
        if self._subprotocols:
            fields.append((b"Sec-WebSocket-Protocol", ", ".join(self._subprotocols).encode("ascii")))
        if options is not None:
            fields.append((b"Sec-WebSocket-Extensions", permessage_deflate.offers(options).encode("ascii")))
        if origin is not None:
            fields.append((b"Origin", checked_value(b"Origin", origin)))
        self.fields: tuple[Field, ...] = tuple(fields)

    def sent_with(self, key: bytes) -> None:
        """The request that was answered had this key in the place of that of `fields`."""
        self._accept = accept_value(key)
        self._extended = False

    def sent_extended(self) -> None:
        """The request that was answered was an extended CONNECT."""
        self._extended = True

    def agrees(self, status_code: int) -> bool:
        """Whether an answer with this status claims to open the WebSocket, so that `check` has something to check."""
        return 200 <= status_code < 300 if self._extended else status_code == 101

    def check(self, status_code: int, headers: HeaderList) -> Agreement:
        """What the server agreed to.

        Raises:
            ProtocolError: code "bad_handshake" or "bad_extensions": the answer does not open a WebSocket, or not the
                one that was asked for. The connection must not be used.
        """
        if not self.agrees(status_code):
            self._refuse(f"has the status {status_code}")
        if not self._extended:
            if headers.count(b"upgrade") != 1 or (headers.joined(b"upgrade") or b"").lower() != b"websocket":
                self._refuse("has no 'Upgrade: websocket'")
            if not has_member(headers.joined(b"connection") or b"", b"upgrade"):
                self._refuse("has no 'Connection: Upgrade'")
            if headers.joined(b"sec-websocket-accept") != self._accept:
                self._refuse(
                    "has a Sec-WebSocket-Accept that does not answer our key: it was not made for this request"
                )
        return Agreement(self._subprotocol(headers), self._agreed_deflate(headers))

    def _subprotocol(self, headers: HeaderList) -> str | None:
        value = headers.joined(b"sec-websocket-protocol")
        if value is None:
            return None
        name = value.decode("latin-1")
        if headers.count(b"sec-websocket-protocol") != 1 or name not in self._subprotocols:
            self._refuse(f"has the subprotocol {shown(value)}, which was not offered")
        return name

    def _agreed_deflate(self, headers: HeaderList) -> DeflateAgreement | None:
        extensions = parse_extensions(headers.joined(b"sec-websocket-extensions"))
        if not extensions:
            return None
        options = self.deflate
        for extension in extensions:
            if extension.name != permessage_deflate.NAME or options is None:
                raise ProtocolError(
                    f"the server uses the extension {extension.name[:40]!r}, which was not offered",
                    code="bad_extensions",
                )
        if options is None or len(extensions) > 1:
            raise ProtocolError("the server uses an extension twice", code="bad_extensions")
        return permessage_deflate.accept(extensions[0], options)

    def _refuse(self, what: str) -> None:
        raise ProtocolError(f"the server's answer to the WebSocket handshake {what}", code="bad_handshake")
