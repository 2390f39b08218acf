"""The negotiation of permessage-deflate: what each side asks for, and what they agree on (RFC 7692 §5, §7.1).

Four parameters, two for each direction. `*_no_context_takeover`: that side forgets after each message.
`*_max_window_bits`: that side refers back no further than 2**bits bytes. A client offers, the server answers with what
applies.

The client asks for a smaller window of the server, or for no takeover, in a first offer, and offers the plain extension
as a second one (§5.1): a server that cannot do the first still compresses. So any answer is accepted that §7.1 allows
to the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from turbosock.errors import InvalidOption, ProtocolError
from turbosock.limits import MAX_DECODE_RATIO, MIN_DEFLATED_MESSAGE_BYTES
from turbosock.protocol.websocket.deflater import Deflater
from turbosock.protocol.websocket.extensions import Extension
from turbosock.protocol.websocket.inflater import Inflater

NAME: Final = "permessage-deflate"
MIN_WINDOW_BITS: Final = 8
MAX_WINDOW_BITS: Final = 15

_SERVER_NO_TAKEOVER: Final = "server_no_context_takeover"
_CLIENT_NO_TAKEOVER: Final = "client_no_context_takeover"
_SERVER_BITS: Final = "server_max_window_bits"
_CLIENT_BITS: Final = "client_max_window_bits"


@dataclass(frozen=True, slots=True)
class DeflateOptions:
    """How messages are compressed, and what is asked of the peer.

    A connection with takeover in both directions holds, by the defaults, 32 KiB for what it sends and 4 KiB and zlib's
    own 7 KiB for what it receives, as in the library websockets; with 15 bits and a memory_level of 8, 256 KiB and 39.
    In a server's options the window for what clients send is asked only of those that let it.

    Attributes:
        server_no_context_takeover: the server shall compress each message by itself.
        client_no_context_takeover: the client shall.
        server_max_window_bits: 8 to 15: the server's window.
        client_max_window_bits: 8 to 15: the client's.
        level: 0 to 9, zlib's: how hard we try.
        memory_level: 1 to 9, zlib's: how much memory we take for that.
        min_bytes: messages below this size are sent as they are.
        max_ratio: what a message may expand to for each byte of it, above DECODE_RATIO_FREE_BYTES.
    """

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int = 12
    client_max_window_bits: int = 12
    level: int = 6
    memory_level: int = 5
    min_bytes: int = MIN_DEFLATED_MESSAGE_BYTES
    max_ratio: float = MAX_DECODE_RATIO

    def __post_init__(self) -> None:
        for name in (_SERVER_NO_TAKEOVER, _CLIENT_NO_TAKEOVER):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOption(f"{name}={getattr(self, name)!r}: give True or False")
        for name, least, most in (
            (_SERVER_BITS, MIN_WINDOW_BITS, MAX_WINDOW_BITS),
            (_CLIENT_BITS, MIN_WINDOW_BITS, MAX_WINDOW_BITS),
            ("level", 0, 9),
            ("memory_level", 1, 9),
            ("min_bytes", 0, 1 << 62),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise InvalidOption(f"{name}={value!r}: give an int from {least} to {most}")
        if not isinstance(self.max_ratio, (int, float)) or isinstance(self.max_ratio, bool) or not self.max_ratio >= 1:
            raise InvalidOption(f"max_ratio={self.max_ratio!r}: give a number, 1 or more")


# How messages are to be compressed: True, by the defaults; False and None, not at all.
DeflateArgument: TypeAlias = DeflateOptions | bool | None


def deflate_of(deflate: DeflateArgument) -> DeflateOptions | None:
    """The options that a `deflate=` argument means; None: no compression.

    Raises:
        InvalidOption: it is neither options nor a bool.
    """
    if deflate is None or isinstance(deflate, DeflateOptions):
        return deflate
    if not isinstance(deflate, bool):
        raise InvalidOption(f"deflate={deflate!r}: give True, False or DeflateOptions")
    return DeflateOptions() if deflate else None


class DeflateAgreement(NamedTuple):
    """The parameters that apply to one connection."""

    server_no_context_takeover: bool
    client_no_context_takeover: bool
    server_max_window_bits: int
    client_max_window_bits: int

    def inflater(self, is_client: bool) -> Inflater:
        """An Inflater for what the peer sends."""
        if is_client:
            return Inflater(self.server_max_window_bits, not self.server_no_context_takeover)
        return Inflater(self.client_max_window_bits, not self.client_no_context_takeover)

    def deflater(self, is_client: bool, options: DeflateOptions) -> Deflater:
        """A Deflater for what we send."""
        bits = self.client_max_window_bits if is_client else self.server_max_window_bits
        own = options.client_max_window_bits if is_client else options.server_max_window_bits
        forgets = self.client_no_context_takeover if is_client else self.server_no_context_takeover
        return Deflater(min(bits, own), not forgets, options.level, options.memory_level, options.min_bytes)


def offers(options: DeflateOptions) -> str:
    """What a client writes into Sec-WebSocket-Extensions."""
    wanted = ""
    if options.server_no_context_takeover:
        wanted += f"; {_SERVER_NO_TAKEOVER}"
    if options.server_max_window_bits < MAX_WINDOW_BITS:
        wanted += f"; {_SERVER_BITS}={options.server_max_window_bits}"
    own = f"; {_CLIENT_NO_TAKEOVER}" if options.client_no_context_takeover else ""
    own += f"; {_CLIENT_BITS}"
    if options.client_max_window_bits < MAX_WINDOW_BITS:
        own += f"={options.client_max_window_bits}"
    plain = f"{NAME}{own}"
    return f"{NAME}{wanted}{own}, {plain}" if wanted else plain


def accept(extension: Extension, options: DeflateOptions) -> DeflateAgreement:
    """What a client agrees to: the server's answer to its offers.

    Raises:
        ProtocolError: code "bad_extensions": the answer is none to what was offered (§5.1, §7.1).
    """
    asked = _Parameters(extension)
    if asked.failure:
        raise ProtocolError(f"the server's answer to {NAME} {asked.failure}", code="bad_extensions")
    client_bits = asked.client_bits
    if client_bits == 0:
        raise ProtocolError(f"the server's answer to {NAME} has {_CLIENT_BITS} without a value", code="bad_extensions")
    if client_bits is not None and client_bits > options.client_max_window_bits:
        raise ProtocolError(
            f"the server's answer to {NAME} has {_CLIENT_BITS}={client_bits}, more than was offered",
            code="bad_extensions",
        )
    return DeflateAgreement(
        asked.server_no_takeover,
        # A client may forget whether or not the server asked for it.
        asked.client_no_takeover or options.client_no_context_takeover,
        asked.server_bits or MAX_WINDOW_BITS,
        client_bits or options.client_max_window_bits,
    )


def answer(extension: Extension, options: DeflateOptions) -> tuple[DeflateAgreement, str] | None:
    """What a server agrees to of one offer, and what it writes into Sec-WebSocket-Extensions; None declines it."""
    asked = _Parameters(extension)
    if asked.failure:
        return None
    server_forgets = asked.server_no_takeover or options.server_no_context_takeover
    client_forgets = asked.client_no_takeover or options.client_no_context_takeover
    server_bits = min(asked.server_bits or MAX_WINDOW_BITS, options.server_max_window_bits)
    client_bits = MAX_WINDOW_BITS
    if asked.client_bits is not None:
        client_bits = min(asked.client_bits or MAX_WINDOW_BITS, options.client_max_window_bits)
    text = NAME
    if server_forgets:
        text += f"; {_SERVER_NO_TAKEOVER}"
    if client_forgets:
        text += f"; {_CLIENT_NO_TAKEOVER}"
    if asked.server_bits or server_bits < MAX_WINDOW_BITS:
        text += f"; {_SERVER_BITS}={server_bits}"
    # Only to a client that said that it understands this (§7.1.2.2).
    if asked.client_bits is not None and client_bits < MAX_WINDOW_BITS:
        text += f"; {_CLIENT_BITS}={client_bits}"
    return DeflateAgreement(server_forgets, client_forgets, server_bits, client_bits), text


class _Parameters:
    """The parameters of one offer or answer; `failure` says why they are none, or is "".

    Window bits are None where they are absent; `client_bits` is 0 where they have no value, as in an offer they may.
    """

    __slots__ = ("client_bits", "client_no_takeover", "failure", "server_bits", "server_no_takeover")

    def __init__(self, extension: Extension) -> None:
        self.server_no_takeover = False
        self.client_no_takeover = False
        self.server_bits: int | None = None
        self.client_bits: int | None = None
        self.failure = ""
        seen: set[str] = set()
        for name, value in extension.parameters:
            if name in seen:
                self.failure = f"has {name} twice"
                return
            seen.add(name)
            if not self._take(name, value):
                shown = name if value is None else f"{name}={value}"
                self.failure = f"has the parameter {shown[:80]!r}"
                return

    def _take(self, name: str, value: str | None) -> bool:
        """Take one parameter; False if it is not one of the four, or its value is none for it."""
        if name == _SERVER_NO_TAKEOVER:
            self.server_no_takeover = True
            return value is None
        if name == _CLIENT_NO_TAKEOVER:
            self.client_no_takeover = True
            return value is None
        if name == _CLIENT_BITS and value is None:
            self.client_bits = 0
            return True
        if value is None or value not in _WINDOW_BITS:
            return False
        if name == _SERVER_BITS:
            self.server_bits = int(value)
            return True
        if name == _CLIENT_BITS:
            self.client_bits = int(value)
            return True
        return False


# Without leading zeros (§7.1.2.1).
_WINDOW_BITS: Final = tuple(str(bits) for bits in range(MIN_WINDOW_BITS, MAX_WINDOW_BITS + 1))
