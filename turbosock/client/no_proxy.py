"""NoProxy: the hosts that are reached without the proxy, as curl reads NO_PROXY, and with ports.

A list of entries, separated by commas or blanks; case does not matter:

- "*", alone in the list: every host.
- `example.com`, and `.example.com` as well: that host and every one below it, not `notexample.com`. A final dot of
  either side does not count.
- `192.168.0.0/16`, `fd00::/8`: the addresses of that network; without a length, that address. Names are not looked up.
- Any of them with a port, `example.com:8080` or `[::1]:8080`: for that port only. This curl does not have.

Anything else matches nothing; "*.example.com" and a "*" among others are such, as for curl.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

from turbosock import limits

_MAX_PORT_DIGITS: Final = 5


class _Entry(NamedTuple):
    """One entry: a domain, or a network of `family` whose first `bits` count; `port` is 0 for every port."""

    domain: str
    family: int
    packed: bytes
    bits: int
    port: int


class NoProxy:
    """A list of hosts, read once.

    Args:
        text: as in NO_PROXY; what is longer than MAX_NO_PROXY_LENGTH is not read.
    """

    __slots__ = ("_entries", "_everything")

    def __init__(self, text: str) -> None:
        self._everything = text == "*"
        words = text[: limits.MAX_NO_PROXY_LENGTH].replace(",", " ").split()
        self._entries = [] if self._everything else [_entry(word) for word in words]

    def __bool__(self) -> bool:
        return self._everything or bool(self._entries)

    def covers(self, host: str, port: int) -> bool:
        """Whether `host`, a name or an address without brackets, is reached without a proxy at `port`."""
        if self._everything:
            return True
        if not self._entries:
            return False
        family, packed = _packed(host.partition("%")[0])
        name = host.lower().removesuffix(".")
        for entry in self._entries:
            if entry.port and entry.port != port:
                continue
            if family:
                if entry.family == family and _same_network(packed, entry.packed, entry.bits):
                    return True
            elif entry.domain and (name == entry.domain or name.endswith("." + entry.domain)):
                return True
        return False


def _packed(host: str) -> tuple[int, bytes]:
    """Family and bytes of an address; 0 for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            return family, socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
    return 0, b""


def _same_network(one: bytes, other: bytes, bits: int) -> bool:
    shift = len(one) * 8 - bits
    return int.from_bytes(one, "big") >> shift == int.from_bytes(other, "big") >> shift


def _entry(word: str) -> _Entry:
    """What one word of the list means."""
    host, port = word, 0
    if word.startswith("["):
        literal, bracket, rest = word[1:].partition("]")
        if bracket and (not rest or (rest[0] == ":" and _port(rest[1:]))):
            host, port = literal, _port(rest[1:])
    elif word.count(":") == 1:
        name, _, digits = word.partition(":")
        if _port(digits):
            host, port = name, _port(digits)
    address, _, length = host.partition("/")
    family, packed = _packed(address)
    if family:
        # As curl: no length, and one that is no number or 0, is all of it; one that is too long matches nothing.
        bits = (int(length) if length.isascii() and length.isdigit() and len(length) < 4 else 0) or len(packed) * 8
        return _Entry("", family if bits <= len(packed) * 8 else 0, packed, min(bits, len(packed) * 8), port)
    return _Entry(host.lower().removesuffix(".").removeprefix("."), 0, b"", 0, port)


def _port(digits: str) -> int:
    """The port that `digits` say, or 0."""
    if not digits.isascii() or not digits.isdigit() or len(digits) > _MAX_PORT_DIGITS:
        return 0
    return int(digits)
