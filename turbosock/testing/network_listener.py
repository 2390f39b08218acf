"""Listeners on a network in memory: the library's own, whose clients come from a Network and not from the system."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from turbosock.errors import InvalidOption
from turbosock.server.http_listener import HttpListener
from turbosock.server.request import RequestTls
from turbosock.server.stream_listener import StreamListener
from turbosock.server.tcp_listener import TcpListener
from turbosock.server.websocket_listener import WebSocketListener
from turbosock.testing.network_transport import NetworkTransport

if TYPE_CHECKING:
    from turbosock.loop import Loop
    from turbosock.reactor.sockets import ListenAddress
    from turbosock.server.request import PeerAddress
    from turbosock.testing.network_socket import NetworkSocket


class NetworkListening(StreamListener):
    """What listeners do otherwise where no system accepts for them."""

    # Clients beyond `max_connections`.
    _crowd: deque[tuple[NetworkSocket, PeerAddress, bool, str | None]]

    def _listen_at(
        self, address: ListenAddress, *, backlog: int, reuse_port: bool, dual_stack: bool, mode: int | None
    ) -> None:
        if self._tls is not None:
            raise InvalidOption("tls: a network in memory encrypts nothing; leave it out, https:// is understood")
        self.address = address
        self._path = None
        self._crowd = deque()

    def admit(self, sock: NetworkSocket, peer: PeerAddress, secure: bool, alpn: str | None) -> None:
        """A client has connected."""
        if not self._listening:
            sock.close()
        elif len(self._sessions) >= self.max_connections:
            self._crowded += 1
            self._watching = False
            self._crowd.append((sock, peer, secure, alpn))
        else:
            transport = NetworkTransport(sock, self.reactor, secure=secure, alpn=alpn)
            tls = RequestTls(transport.tls, None, None) if transport.tls is not None else None
            if self._begin(transport, peer, tls):
                self._accepted += 1

    def _watch(self, wanted: bool) -> None:
        self._watching = wanted
        while wanted and self._crowd and len(self._sessions) < self.max_connections:
            self.admit(*self._crowd.popleft())

    def _leave_address(self) -> None:
        while self._crowd:
            self._crowd.popleft()[0].close()


class _Http(NetworkListening, HttpListener):
    """As HttpListener."""


class _WebSockets(NetworkListening, WebSocketListener):
    """As WebSocketListener."""


class _Tcp(NetworkListening, TcpListener):
    """As TcpListener."""


def _http(loop: Loop, address: ListenAddress, options: dict[str, Any]) -> NetworkListening:
    return _Http(loop.reactor, loop.rings, address, messages=loop.messages, **options)


def _websockets(loop: Loop, address: ListenAddress, options: dict[str, Any]) -> NetworkListening:
    return _WebSockets(loop.messages, loop.rings, address, **options)


def _tcp(loop: Loop, address: ListenAddress, options: dict[str, Any]) -> NetworkListening:
    return _Tcp(loop.messages, address, **options)


_KINDS: Final[dict[str, Callable[[Loop, ListenAddress, dict[str, Any]], NetworkListening]]] = {
    "http": _http,
    "websocket": _websockets,
    "tcp": _tcp,
}


def listen(loop: Loop, address: ListenAddress, protocol: str, options: dict[str, Any]) -> NetworkListening:
    """A listener of `loop`, with the options of `Loop.listen`.

    Raises:
        InvalidOption: there is no such protocol here, or an option cannot work; the message names it.
    """
    kind = _KINDS.get(protocol) if isinstance(protocol, str) else None
    if kind is None:
        raise InvalidOption(f"protocol={protocol!r}: a network in memory has {', '.join(sorted(_KINDS))}")
    try:
        return kind(loop, address, options)
    except TypeError as error:
        raise InvalidOption(f"{protocol}: {error}") from error
