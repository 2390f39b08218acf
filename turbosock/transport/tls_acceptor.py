"""TlsAcceptor: what a listener needs to put TLS on the sockets that it accepts.

The engine is chosen and its context made at once, in the call that begins to listen: a missing file or a wrong password
is that caller's error, and no tick ever reads certificates, except those that an `sni_callback` names.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from turbosock.config import TlsServerConfig
from turbosock.errors import InvalidOption, TurbosockError
from turbosock.reactor.sockets import local_error

if TYPE_CHECKING:
    from socket import socket

    from turbosock.tls.provider import TlsSession


class TlsAcceptor:
    """Wraps accepted sockets by one configuration.

    Args:
        config: the certificates to show, and what clients must; where it accepts no protocol by ALPN, `alpn` is.
        alpn: what the connections can speak.

    Raises:
        TlsError: there is no engine for this configuration.
        InvalidOption: it is none, accepts a protocol that the connections cannot speak, or names a file that is missing
            or wrong; the message names the field.
    """

    __slots__ = ("_context", "_provider")

    def __init__(self, config: TlsServerConfig, alpn: tuple[str, ...]) -> None:
        if not isinstance(config, TlsServerConfig):
            raise InvalidOption(f"tls={config!r}: give a TlsServerConfig, or None for plaintext")
        if not config.alpn:
            config = dataclasses.replace(config, alpn=alpn)
        for protocol in config.alpn:
            if protocol not in alpn:
                raise InvalidOption(f"tls, alpn: {protocol!r} is not spoken here; give {', '.join(alpn)}, or nothing")
        # Importing an engine costs 15 ms and more: only programs that speak TLS pay.
        from turbosock.tls.selector import provider_for

        self._provider = provider_for(config)
        self._context = self._provider.server_context(config)

    def wrap(self, sock: socket) -> TlsSession:
        """A session on an accepted socket, its handshake not begun; it owns the socket.

        Raises:
            TlsHandshakeError: the client has gone already. The socket is still the caller's to close.
            NetworkError: the system refused to set the socket up, which is the caller's to close as well.
        """
        try:
            return self._provider.wrap_server(sock, self._context)
        except TurbosockError:
            # Some of them are OSErrors, too.
            raise
        except OSError as error:
            raise local_error("set up a socket for TLS", error) from error
