"""DialPlan: what a pool's key says about dialling, the same for a thread and for a Loop.

The host that is looked up, or the path that needs no looking up; then, with the addresses, the `Dial`.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from turbosock.errors import ConnectError, Origin, Phase
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
        addresses: those that are known without a look-up: the path of a Unix socket; else None.
        host, port: what to look up.
    """

    __slots__ = ("_key", "addresses", "host", "port")

    def __init__(self, key: OriginKey) -> None:
        self._key = key
        self.host, self.port = key.host, key.port
        path = key.path
        if isinstance(key.connect_to, str):
            path = key.connect_to
        elif key.connect_to is not None:
            self.host, self.port = key.connect_to
        self.addresses = None if path is None else [Address(socket.AF_UNIX, path)]

    def dial(
        self, addresses: Sequence[Address], clock: Clock, deadline_ns: int, timeouts: Timeouts, tls: TlsDialer
    ) -> Dial:
        """The dial, not begun.

        Args:
            addresses: what the look-up found, in order of attempts.
            tls: for https; the host of the key is the one that is verified, wherever the connection leads.

        Raises:
            ConnectError: `local_address` is of one family, and every address of the other.
            ResolveError: the zone of a local address names no network interface.
        """
        key = self._key
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
                    f"none of the {found} addresses of {self.host} is of the family of local_address: give a local "
                    "address of the other family as well",
                    origin=Origin.LOCAL,
                ).during(Phase.CONNECT)
        secure = (lambda sock: tls.wrap(sock, key.host, key.port)) if key.scheme == "https" else None
        return Dial(addresses, clock, deadline_ns, secure, timeouts.handshake_ns, tls.alpn, local)
