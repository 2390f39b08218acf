"""TlsDialer: what a Client or a Loop needs to put TLS on the sockets that it dials.

The provider's context is made when the first https origin is asked for, in the caller's own call and not inside a
tick: reading the system's roots takes tens of milliseconds. It is shared by every client with equal settings.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from turbosock.config import TlsConfig
from turbosock.errors import TurbosockError
from turbosock.reactor.sockets import local_error

if TYPE_CHECKING:
    from socket import socket

    from turbosock.tls.provider import TlsContext, TlsProvider, TlsSession


class TlsDialer:
    """Wraps dialled sockets by one configuration.

    Args:
        config: whom to trust, and what to show; where it offers no protocol by ALPN, `alpn` is offered.
        alpn: what the connections can speak.

    Attributes:
        alpn: the same.
    """

    __slots__ = ("_config", "_ready", "alpn")

    def __init__(self, config: TlsConfig, alpn: tuple[str, ...]) -> None:
        self._config = config if config.alpn else dataclasses.replace(config, alpn=alpn)
        self.alpn = alpn
        # One slot for both: a thread that finds the one must find the other.
        self._ready: tuple[TlsProvider, TlsContext] | None = None

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

    def wrap(self, sock: socket, host: str, port: int) -> TlsSession:
        """A session on a connected socket, its handshake not begun; it owns the socket.

        Raises:
            TlsError: the host cannot be verified by any certificate.
            NetworkError: the system refused to set the socket up. It is still the caller's to close.
        """
        provider, context = self.prepare()
        try:
            return provider.wrap(sock, context, host, port)
        except TurbosockError:
            # Some of them are OSErrors, too.
            raise
        except OSError as error:
            raise local_error("set up a socket for TLS", error) from error
