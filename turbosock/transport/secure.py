"""TlsDialer: what a Client or a Loop needs to put TLS on the sockets that it dials.

The provider's context is made when the first https origin is asked for, in the caller's own call and not inside a
tick: reading the system's roots takes tens of milliseconds. It is shared by every client with equal settings.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.config import PinScope, TlsConfig
from turbosock.errors import TurbosockError
from turbosock.reactor.sockets import local_error
from turbosock.tls.cache import LruCache
from turbosock.tls.carrier import SocketCarrier
from turbosock.tls.provider import TlsSession

if TYPE_CHECKING:
    from collections.abc import Hashable
    from socket import socket

    from turbosock.proxy_config import Proxy
    from turbosock.tls.provider import TlsContext, TlsProvider

_HTTP1: Final = ("http/1.1",)


class TlsDialer:
    """Wraps dialled sockets by one configuration.

    Args:
        config: whom to trust, and what to show; where it offers no protocol by ALPN, `alpn` is offered.
        alpn: what the connections can speak.

    Attributes:
        alpn: the same.
    """

    __slots__ = ("_config", "_of_proxies", "_of_upgrades", "_ready", "alpn")

    def __init__(self, config: TlsConfig, alpn: tuple[str, ...]) -> None:
        self._config = config if config.alpn else dataclasses.replace(config, alpn=alpn)
        self.alpn = alpn
        # One slot for both: a thread that finds the one must find the other.
        self._ready: tuple[TlsProvider, TlsContext] | None = None
        self._of_proxies: LruCache[TlsDialer] = LruCache(limits.MAX_PROXY_TLS_CONFIGS)
        self._of_upgrades: TlsDialer | None = None

    def prepare(self) -> tuple[TlsProvider, TlsContext]:
        """The engine and its context, chosen and made if that was not done before.

        Raises:
            TlsError: there is no engine for this configuration.
            InvalidOption: a file of the configuration is missing or wrong; the message names the field.
        """
        ready = self._ready
        if ready is None:
            # Importing an engine costs 15 ms and more: only programs that speak TLS pay.
            from turbosock.tls.selector import provider_for

            provider = provider_for(self._config)
            ready = self._ready = provider, provider.client_context(self._config)
        return ready

    def wrap(
        self, over: socket | SocketCarrier | TlsSession, host: str, port: int, pool_key: Hashable = None
    ) -> TlsSession:
        """A session on a connected socket or inside another session, its handshake not begun; it owns that.

        Args:
            pool_key: sessions are resumed only between equal ones.

        Raises:
            TlsError: the host cannot be verified by any certificate.
            NetworkError: the system refused to set the socket up. It is still the caller's to close.
        """
        provider, context = self.prepare()
        try:
            if isinstance(over, TlsSession):
                return provider.wrap_carrier(over, context, host, port, pool_key)
            sock = over.socket if isinstance(over, SocketCarrier) else over
            return provider.wrap(sock, context, host, port, pool_key)
        except TurbosockError:
            # Some of them are OSErrors, too.
            raise
        except OSError as error:
            raise local_error("set up a socket for TLS", error) from error

    def of_proxy(self, proxy: Proxy) -> TlsDialer:
        """What puts TLS on the way to a proxy: its own configuration, or this one without what is for origins.

        That is: the client's certificate, pins, server_name and a verification that was switched off stay here.
        """
        dialer = self._of_proxies.get(proxy.tls)
        if dialer is None:
            config = proxy.tls if proxy.tls is not None else _for_proxies(self._config)
            dialer = TlsDialer(config, _HTTP1)
            self._of_proxies.put(proxy.tls, dialer)
        return dialer

    def of_upgrades(self) -> TlsDialer:
        """What puts TLS on connections that will change their protocol, which only HTTP/1.1 can."""
        dialer = self._of_upgrades
        if dialer is None:
            config = dataclasses.replace(self._config, alpn=_HTTP1)
            # Of two threads that come here at once, one makes a second that is equal.
            dialer = self._of_upgrades = TlsDialer(config, _HTTP1)
        return dialer


def _for_proxies(config: TlsConfig) -> TlsConfig:
    return dataclasses.replace(
        config,
        verify=True,
        check_hostname=True,
        cert_file=None,
        key_file=None,
        key_password=None,
        server_name=None,
        alpn=(),
        verify_callback=None,
        pins=(),
        pin_scope=PinScope.LEAF,
    )
