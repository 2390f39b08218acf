"""DialPlan: what a pool's key says about dialling, the same for a thread and for a Loop.

The hosts that are looked up, one after the other, or the path that needs no looking up; then the `Dial`. Without
proxies there is one host; with them it is the nearest proxy, and beside it what proxies take only as an address.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from turbosock.errors import ConnectError, Origin, Phase, ResolveError, TurbosockError
from turbosock.reactor.address import literal_addresses
from turbosock.reactor.resolver import Address
from turbosock.transport.dial import Dial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginKey
    from turbosock.reactor.clock import Clock
    from turbosock.transport.secure import TlsDialer


class DialPlan:
    """How to reach what a key names.

    Attributes:
        known: whether there is nothing to look up any more.
        host, port: what to look up next.
    """

    __slots__ = ("_found", "_goal", "_key", "_names", "host", "known", "port")

    def __init__(self, key: OriginKey) -> None:
        self._key = key
        self.host, self.port = key.host, key.port
        # What is still to be looked up after that, and what was found.
        self._names: list[tuple[str, int]] = []
        self._found: dict[tuple[str, int], Sequence[Address]] = {}
        path = key.path
        if isinstance(key.connect_to, str):
            path = key.connect_to
        elif key.connect_to is not None:
            self.host, self.port = key.connect_to
        self._goal = self.host, self.port
        self.known = path is not None
        if path is not None:
            self._found[self._goal] = [Address(socket.AF_UNIX, path)]
        elif key.hops:
            # Most programs use no proxy: only those that do pay for its import.
            from turbosock.transport.proxy_path import names_on_the_way

            self._names = names_on_the_way(key.hops, self.host, self.port)
            self.host, self.port = self._names.pop(0)

    def learn(self, addresses: Sequence[Address]) -> None:
        """What the look-up of `host` and `port` found, in order of attempts."""
        self._found[self.host, self.port] = addresses
        if self._names:
            self.host, self.port = self._names.pop(0)
        else:
            self.known = True

    def not_found(self, error: TurbosockError) -> TurbosockError:
        """The error that a failed look-up of `host` is for the caller."""
        if self._key.hops and not self._found and isinstance(error, ResolveError):
            from turbosock.transport.proxy_path import no_way_to

            return no_way_to(self._key.hops[0], error)
        return error

    def dial(self, clock: Clock, deadline_ns: int, timeouts: Timeouts, tls: TlsDialer) -> Dial:
        """The dial, not begun, when everything is `known`.

        Args:
            tls: for https; the host of the key is the one that is verified, wherever the connection leads.

        Raises:
            ConnectError: `local_address` is of one family, and every address of the other.
            ResolveError: the zone of a local address names no network interface.
        """
        key = self._key
        first = (key.hops[0].host, key.hops[0].port or 0) if key.hops else self._goal
        addresses = self._found[first]
        local: dict[int, tuple[Any, ...]] = {}
        for host, port in key.local_addresses:
            for family, sockaddr in literal_addresses(host, port) or ():
                assert isinstance(sockaddr, tuple), "only a Unix address is a str"
                local[family] = sockaddr
        if local:
            found = len(addresses)
            addresses = [address for address in addresses if address.family in local]
            if not addresses:
                raise ConnectError(
                    f"none of the {found} addresses of {first[0]} is of the family of local_address: give a local "
                    "address of the other family as well",
                    origin=Origin.LOCAL,
                ).during(Phase.CONNECT)
        if key.upgrades:
            tls = tls.of_upgrades()
        wraps = key.scheme == "https"
        secure = (lambda over: tls.wrap(over, key.host, key.port, key.hops or None)) if wraps else None
        path = None
        if key.hops:
            from turbosock.transport.proxy_path import ProxyPath

            path = ProxyPath(key.hops, *self._goal, self._found, key.forwarded, tls)
        return Dial(addresses, clock, deadline_ns, secure, timeouts.handshake_ns, tls.alpn, local, path)
