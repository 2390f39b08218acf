"""What a Loop can listen for: by protocol, the options that are known and the listener that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from turbosock.errors import InvalidOption
from turbosock.server.http_listener import HttpListener
from turbosock.server.options import HttpOptions, TcpOptions, UdpOptions, WebSocketOptions
from turbosock.server.tcp_listener import TcpListener
from turbosock.server.udp_listener import UdpListener

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.receive_ring import RingPool
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.sockets import ListenAddress
    from turbosock.server.websocket_listener import WebSocketListener


class ListeningServices(Protocol):
    """What listeners need of their Loop."""

    reactor: Reactor
    rings: RingPool
    messages: MessageServices


def _http(services: ListeningServices, address: ListenAddress, options: dict[str, Any]) -> HttpListener:
    if "handler" not in options:
        raise InvalidOption("handler: missing; give a function that takes an HttpExchange")
    return HttpListener(services.reactor, services.rings, address, messages=services.messages, **options)


def _tcp(services: ListeningServices, address: ListenAddress, options: dict[str, Any]) -> TcpListener:
    return TcpListener(services.messages, address, **options)


def _websocket(services: ListeningServices, address: ListenAddress, options: dict[str, Any]) -> WebSocketListener:
    # Not before somebody listens: the protocol and its tables take a while to import.
    from turbosock.server.websocket_listener import WebSocketListener

    return WebSocketListener(services.messages, services.rings, address, **options)


def _udp(services: ListeningServices, address: ListenAddress, options: dict[str, Any]) -> UdpListener:
    return UdpListener(services.messages, address, **options)


_PROTOCOLS: Final[dict[str, tuple[frozenset[str], Callable[..., Any]]]] = {
    "http": (frozenset((*HttpOptions.__annotations__, "handler")), _http),
    "tcp": (frozenset(TcpOptions.__annotations__), _tcp),
    "websocket": (frozenset(WebSocketOptions.__annotations__), _websocket),
    "udp": (frozenset(UdpOptions.__annotations__), _udp),
}


def listen(services: ListeningServices, address: ListenAddress, protocol: str, options: dict[str, Any]) -> Any:
    """A new listener for `protocol`.

    Raises:
        InvalidOption: there is no such protocol or option, or a value cannot work; the message names it.
        TlsError, NetworkError: as the listener.
    """
    if not isinstance(protocol, str) or protocol not in _PROTOCOLS:
        raise InvalidOption(f"protocol={protocol!r}: give one of {', '.join(_PROTOCOLS)}")
    known, make = _PROTOCOLS[protocol]
    unknown = options.keys() - known
    if unknown:
        raise InvalidOption(
            f"{min(unknown)}: listen() has no such option; it has for {protocol} {', '.join(sorted(known))}"
        )
    return make(services, address, options)
