"""A user's own resolver in the place of the system's: asked in the same threads, its answers checked and bounded.

It is a callable `(host, port) -> addresses`, or an object with such a `resolve`. An address is an IP address as str, a
pair of one and a port, or whatever getaddrinfo() gives for one. Names are not taken for an answer: they would have to
be looked up again, by whom?

Left to others: caching, joining of equal look-ups, deadlines (`resolver.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from turbosock.errors import InvalidUrl, ResolveError
from turbosock.limits import MAX_ADDRESSES_PER_NAME
from turbosock.reactor.address import Address, literal_addresses

_Found = list[tuple[Any, ...]]


class CustomResolver:
    """Answers as `socket.getaddrinfo` does, from what a user's resolver says.

    Args:
        resolver: the callable, or the object with `resolve`; the configuration has looked at it.
    """

    __slots__ = ("_resolve",)

    def __init__(self, resolver: object) -> None:
        self._resolve: Callable[[str, int], object] = getattr(resolver, "resolve", None) or resolver  # type: ignore[assignment]  # the configuration has looked at it

    def getaddrinfo(self, host: str, port: int, family: int, kind: int) -> _Found:
        """What the resolver says of a host, in the form of the system's answer.

        Raises:
            ResolveError: it raised something, or answered with something else than addresses.
        """
        try:
            answer = self._resolve(host, port)
            # A str would be taken for a list of its characters.
            given = [answer] if isinstance(answer, str) else answer
            found = list(islice(given, MAX_ADDRESSES_PER_NAME)) if isinstance(given, Iterable) else None
        except OSError:
            # Its words and its errno are a look-up's.
            raise
        except (Exception, SystemExit) as error:
            # Of a foreign exception the name alone: what it says may hold a secret. The cause has it.
            raise ResolveError(f"the resolver raised {type(error).__name__}") from error
        if found is None:
            raise ResolveError(f"the resolver answered with a {type(answer).__name__}: return an iterable of addresses")
        return [(address.family, kind, 0, "", address.sockaddr) for one in found for address in _checked(one)]


def _checked(given: object) -> list[Address]:
    if isinstance(given, tuple) and len(given) == 5:
        # As getaddrinfo() has it.
        given = given[4]
    host, port, scope = given, 0, 0
    if isinstance(given, tuple) and len(given) in (2, 4):
        host, port = given[:2]
        scope = given[3] if len(given) == 4 else 0
    if (
        isinstance(host, str)
        and isinstance(port, int)
        and not isinstance(port, bool)
        and 0 <= port <= 65_535
        and isinstance(scope, int)
    ):
        text = f"{host}%{scope}" if scope and "%" not in host else host
        try:
            addresses = literal_addresses(text, port)
        except (InvalidUrl, ResolveError):
            addresses = None
        if addresses is not None:
            return addresses
    shown = repr(given) if isinstance(given, (str, tuple)) and len(repr(given)) < 100 else f"a {type(given).__name__}"
    raise ResolveError(
        f"the resolver answered with {shown}: return IP addresses as str, or pairs of one and a port from 0 to 65535"
    )
