"""Addresses as the system takes them, and the host names that are addresses already.

A numeric host needs no look-up, and must not have one: getaddrinfo() also accepts the old forms of inet_aton(3), such
as 0x7f.1, 0177.0.0.1, 127.1 and 2130706433, all of them 127.0.0.1. A filter that compares text would let them pass, so
they are refused. As in the URL standard, a host whose last label is a number is an IPv4 address or an error.

"localhost" and names under it are the loopback addresses by definition (RFC 6761 section 6.3) and are never asked of
a name server.

Left to others: names that need a look-up (`resolver.py`), and brackets around IPv6 addresses, which belong to URLs.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from turbosock.errors import InvalidUrl, ResolveError
from turbosock.limits import MAX_ADDRESSES_PER_NAME, MAX_HOST_LENGTH, MAX_LABEL_LENGTH

# What a system call takes as an address: (host, port), (host, port, flow, scope) or a path.
SocketAddress = tuple[Any, ...] | str


class Address(NamedTuple):
    """One place to connect to: `family` for `open_tcp`, `sockaddr` for `start_connect`."""

    family: int
    sockaddr: SocketAddress


# IPv4 first, against the order of RFC 6724: local servers often listen on IPv4 alone, seldom on IPv6 alone, and
# loopback has no slow family to race.
_LOOPBACK: Final = ("127.0.0.1", "::1")

_NAME = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def literal_addresses(host: str, port: int) -> list[Address] | None:
    """Return the addresses of a numeric host or of localhost, or None for a name that needs a look-up.

    Args:
        host: a name, an IPv4 address, or an IPv6 address without brackets and perhaps with a scope ("fe80::1%eth0").
        port: what the addresses carry.

    Raises:
        InvalidUrl: the host is neither a name nor an address, or an address in a form that others read differently.
        ResolveError: the scope of an IPv6 address names no network interface.
    """
    if ":" in host:
        return [_ipv6_address(host, port)]
    lowered = host.lower()
    # Some letters beyond ASCII have a lower case within it: U+212A becomes k.
    if not host.isascii() or _NAME.fullmatch(lowered) is None or len(lowered.removesuffix(".")) > MAX_HOST_LENGTH:
        raise InvalidUrl(
            f"host is {_shown(host)}: give a name of at most {MAX_HOST_LENGTH} letters, digits, hyphens and dots "
            "(xn-- form for others), or an address"
        )
    labels = lowered.removesuffix(".").split(".")
    if any(len(label) > MAX_LABEL_LENGTH for label in labels):
        raise InvalidUrl(f"host is {_shown(host)}: a part between dots has at most {MAX_LABEL_LENGTH} characters")
    if _NUMBER.fullmatch(labels[-1]) is not None:
        if not _is_canonical_ipv4(host):
            raise InvalidUrl(
                f"host is {_shown(host)}: an IPv4 address is four decimal numbers from 0 to 255 without leading "
                "zeros; octal, hexadecimal and short forms are refused, because programs read them differently"
            )
        return [Address(socket.AF_INET, (host, port))]
    if labels[-1] == "localhost":
        ipv4, ipv6 = _LOOPBACK
        return [Address(socket.AF_INET, (ipv4, port)), Address(socket.AF_INET6, (ipv6, port, 0, 0))]
    return None


def _is_canonical_ipv4(host: str) -> bool:
    try:
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, host)) == host
    except OSError:
        return False


def _ipv6_address(host: str, port: int) -> Address:
    text, percent, scope = host.partition("%")
    try:
        packed = socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError, UnicodeError):
        raise InvalidUrl(f"host is {_shown(host)}: it has a colon and is no IPv6 address") from None
    scope_id = _scope_id(host, scope) if percent else 0
    return Address(socket.AF_INET6, (socket.inet_ntop(socket.AF_INET6, packed), port, 0, scope_id))


def _scope_id(host: str, scope: str) -> int:
    """Return the index of an interface given by number or by name (RFC 4007 section 11)."""
    if scope.isascii() and scope.isdigit() and len(scope) <= 10 and int(scope) < 2**32:
        return int(scope)
    if not scope or "\0" in scope or not scope.isprintable():
        raise InvalidUrl(f"host is {_shown(host)}: after % comes the name or the number of a network interface")
    try:
        return socket.if_nametoindex(scope)
    except OSError as error:
        raise ResolveError(
            f"cannot resolve {host}: this machine has no network interface {scope!r}; list them with `ip link`",
            errno=error.errno,
        ) from error


def _shown(host: str) -> str:
    return repr(host) if len(host) <= MAX_HOST_LENGTH else repr(host[:MAX_HOST_LENGTH]) + "..."


def with_port(addresses: Iterable[Address], port: int) -> list[Address]:
    """Return the addresses with `port` in each that has port 0, as a new list; scope ids stay."""
    return [Address(family, (sockaddr[0], sockaddr[1] or port, *sockaddr[2:])) for family, sockaddr in addresses]


def in_attempt_order(addresses: Iterable[Address]) -> tuple[Address, ...]:
    """Return the addresses in the order of attempts: RFC 8305 section 4, First Address Family Count 1.

    The given order is kept within each family, the families alternate, and the first address stays first. Repeated
    ones are dropped, and at most MAX_ADDRESSES_PER_NAME remain.
    """
    distinct = list(dict.fromkeys(addresses))
    if not distinct:
        return ()
    first_family = distinct[0].family
    first = [address for address in distinct if address.family == first_family]
    second = [address for address in distinct if address.family != first_family]
    paired = min(len(first), len(second))
    ordered = [address for pair in zip(first, second, strict=False) for address in pair]
    ordered += first[paired:] + second[paired:]
    return tuple(ordered[:MAX_ADDRESSES_PER_NAME])
