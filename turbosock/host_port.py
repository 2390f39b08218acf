"""Hosts and ports as URLs and options write them: `host`, `host:port`, `[::1]:port` (RFC 3986 §3.2).

The host comes out in lower case and in ASCII. A name with other letters becomes its `xn--` form by UTS 46 and IDNA 2008
(RFC 5891), for which the package `idna` is needed; without it such names are refused. An IPv6 address stands in
brackets, and may carry the zone that a link-local one needs: `[fe80::1%25eth0]` as RFC 6874 has it, the zone
percent-encoded, or `[fe80::1%eth0]` as people and curl write it.

Left to others: whether a zone names an interface, and what an IPv4 address is (`reactor/address.py`).

Invariant: nothing of a wrong authority is shown: with a '/' or '#' in it, a password ends up here.
"""

from __future__ import annotations

import socket
from typing import Final
from urllib.parse import unquote

from turbosock import limits
from turbosock.errors import InvalidUrl

_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
# RFC 3986's unreserved characters.
_ZONE_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
# Printable characters that no interface name has (Linux: dev_valid_name), and '%', the mark itself.
_NOT_IN_ZONES: Final = frozenset("/:% ")


def split_host_port(hostport: str, default_port: int, argument: str = "url") -> tuple[str, int]:
    """Host (lower case, ASCII; IPv6 without brackets, with its zone) and port of an authority.

    Args:
        hostport: what stands between user information and path.
        default_port: the port where none is given.
        argument: what a message names as wrong.

    Raises:
        InvalidUrl: either is not valid, or the name needs the extra `idna`, which is not installed.
    """
    if hostport.startswith("["):
        literal, bracket, rest = hostport[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidUrl(f"{argument}: an IPv6 address must stand in brackets: 'http://[::1]:8080/'")
        host = _ipv6_host(literal, argument)
        port_text = rest[1:]
    else:
        name, _, port_text = hostport.partition(":")
        host = _named_host(name, argument)
    if not port_text:
        return host, default_port
    if not port_text.isascii() or not port_text.isdigit() or len(port_text) > 5 or not 0 < int(port_text) <= 65_535:
        raise InvalidUrl(
            f"{argument}: the port is not a number from 1 to 65535; percent-encode '/', '?' and '#' in a password"
        )
    return host, int(port_text)


def _ipv6_host(literal: str, argument: str) -> str:
    """An address from between brackets, and its zone."""
    address, mark, zone = literal.partition("%25")
    encoded = bool(mark)
    if not mark:
        address, mark, zone = literal.partition("%")
    try:
        socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError) as error:
        raise InvalidUrl(f"{argument}: what stands in brackets is not an IPv6 address") from error
    if not mark:
        return address.lower()
    raw = zone.replace("%", "") if encoded else zone
    zone = unquote(zone) if encoded else zone
    if (
        not 0 < len(zone) <= limits.MAX_LABEL_LENGTH
        or not _ZONE_CHARACTERS.issuperset(raw)
        or not (zone.isascii() and zone.isprintable())
        or not _NOT_IN_ZONES.isdisjoint(zone)
    ):
        raise InvalidUrl(f"{argument}: the zone of the IPv6 address is not valid")
    return f"{address.lower()}%{zone}"


def _named_host(name: str, argument: str) -> str:
    """A name, or an IPv4 address."""
    if not name:
        raise InvalidUrl(f"{argument}: it has no host; write 'http://host/path'")
    host = name.lower() if name.isascii() else _ascii_name(name, argument)
    if not _HOST_CHARACTERS.issuperset(host):
        raise InvalidUrl(f"{argument}: the host has characters that no host name has")
    labels = host.removesuffix(".").split(".")
    if len(host) > limits.MAX_HOST_LENGTH or any(not 0 < len(label) <= limits.MAX_LABEL_LENGTH for label in labels):
        raise InvalidUrl(f"{argument}: the host has an empty or overlong label, or is too long as a whole")
    return host


def _ascii_name(name: str, argument: str) -> str:
    """The `xn--` form of an international name.

    Raises:
        InvalidUrl: it has none, or the package that finds it is not installed.
    """
    # Before anything is done with it: nothing longer has an ASCII form that is short enough.
    if len(name) > limits.MAX_HOST_LENGTH:
        raise InvalidUrl(f"{argument}: the host is too long")
    try:
        # Its tables take some milliseconds to import: only programs that use such names pay.
        import idna
    except ImportError as error:
        raise InvalidUrl(
            f"{argument}: the host is not ASCII; install turbosock[idna], or give its 'xn--' form"
        ) from error
    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii").lower()
    except UnicodeError:
        # The cause would show what stood there.
        raise InvalidUrl(
            f"{argument}: the host is not a name by IDNA 2008 (RFC 5891); check its letters, or give its 'xn--' form"
        ) from None
