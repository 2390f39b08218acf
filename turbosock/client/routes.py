"""Routes: which way the connections of a URL go, by configuration, decided where a request is prepared.

The answer is part of the pool's key, so that connections of different ways never stand in for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.proxy_settings import ProxySettings
from turbosock.host_map import HostMap, HostMapArgument
from turbosock.local_address import LocalAddress, LocalAddressArgument, checked_local_addresses
from turbosock.proxy_config import proxy_hops

if TYPE_CHECKING:
    from turbosock.config import Config
    from turbosock.pool.origin_pool import OriginKey
    from turbosock.proxy_config import Proxy, ProxyHops


class Routes:
    """The ways of one Client, Loop or request.

    Args:
        host_map: hosts that are connected to elsewhere.
        local_addresses: those of this machine to connect from, one of each family at most.
        proxies: says through which proxies each origin is reached; None: through none.
        hops: the proxies to every origin, whatever `proxies` says; None: it says.
        upgrades: whether the connections will change their protocol.
    """

    __slots__ = ("_hops", "_host_map", "_local_addresses", "_proxies", "upgrades")

    def __init__(
        self,
        host_map: HostMap,
        local_addresses: tuple[LocalAddress, ...] = (),
        proxies: ProxySettings | None = None,
        hops: tuple[Proxy, ...] | None = None,
        upgrades: bool = False,
    ) -> None:
        self._host_map = host_map
        self._local_addresses = local_addresses
        self._proxies = proxies
        self._hops = hops
        self.upgrades = upgrades

    @classmethod
    def of(cls, config: Config, *, dials: bool = True) -> Routes:
        """Those that a configuration asks for.

        Args:
            dials: whether connections are dialled; where a connector makes them, the environment has no say.
        """
        proxies = ProxySettings(config, None if dials else {})
        return cls(HostMap(config.host_map), checked_local_addresses(config.local_address), proxies)

    def changed(
        self,
        host_map: HostMapArgument | None = None,
        local_address: LocalAddressArgument | None = None,
        proxy: ProxyHops | bool | None = None,
    ) -> Routes:
        """Those of one request: what is given replaces the configuration's, as a whole.

        Raises:
            InvalidOption: an argument is wrong; it is named.
        """
        return Routes(
            self._host_map if host_map is None else HostMap(host_map),
            self._local_addresses if local_address is None else checked_local_addresses(local_address),
            self._proxies,
            self._hops if proxy is None else proxy_hops(proxy),
            self.upgrades,
        )

    def of_upgrades(self) -> Routes:
        """The same ways, for connections that will change their protocol."""
        return Routes(self._host_map, self._local_addresses, self._proxies, self._hops, True)

    def key(self, key: OriginKey) -> OriginKey:
        """The pool's key for the key of a URL.

        Raises:
            InvalidOption: the environment names a proxy that is none.
        """
        if self.upgrades:
            key = key._replace(upgrades=True)
        if key.path is not None:
            # The URL itself names a Unix socket: there is nothing to choose.
            return key
        connect_to = self._host_map.target(key.host, key.port)
        local_addresses = () if isinstance(connect_to, str) else self._local_addresses
        hops = self._hops
        if isinstance(connect_to, str):
            # It is on this machine.
            hops = ()
        elif hops is None:
            hops = () if self._proxies is None or self._proxies.unused else self._proxies.hops_to(key)
        if connect_to is None and not local_addresses and not hops:
            return key
        return key._replace(connect_to=connect_to, local_addresses=local_addresses, hops=hops)
