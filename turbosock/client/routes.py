"""Routes: which way the connections of a URL go, by configuration, decided where a request is prepared.

The answer is part of the pool's key, so that connections of different ways never stand in for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.host_map import HostMap, HostMapArgument
from turbosock.local_address import LocalAddress, LocalAddressArgument, checked_local_addresses

if TYPE_CHECKING:
    from turbosock.config import Config
    from turbosock.pool.origin_pool import OriginKey


class Routes:
    """The ways of one Client, Loop or request.

    Args:
        host_map: hosts that are connected to elsewhere.
        local_addresses: those of this machine to connect from, one of each family at most.
    """

    __slots__ = ("_host_map", "_local_addresses")

    def __init__(self, host_map: HostMap, local_addresses: tuple[LocalAddress, ...] = ()) -> None:
        self._host_map = host_map
        self._local_addresses = local_addresses

    @classmethod
    def of(cls, config: Config) -> Routes:
        """Those that a configuration asks for."""
        return cls(HostMap(config.host_map), checked_local_addresses(config.local_address))

    def changed(
        self, host_map: HostMapArgument | None = None, local_address: LocalAddressArgument | None = None
    ) -> Routes:
        """Those of one request: what is given replaces the configuration's, as a whole.

        Raises:
            InvalidOption: an argument is wrong; it is named.
        """
        return Routes(
            self._host_map if host_map is None else HostMap(host_map),
            self._local_addresses if local_address is None else checked_local_addresses(local_address),
        )

    def key(self, key: OriginKey) -> OriginKey:
        """The pool's key for the key of a URL."""
        if key.path is not None:
            # The URL itself names a Unix socket: there is nothing to choose.
            return key
        connect_to = self._host_map.target(key.host, key.port)
        local_addresses = () if isinstance(connect_to, str) else self._local_addresses
        if connect_to is None and not local_addresses:
            return key
        return key._replace(connect_to=connect_to, local_addresses=local_addresses)
