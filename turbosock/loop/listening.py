"""LoopListening: a Loop's own sockets: listeners of every protocol, and connections whose messages are events.

What is listened to and connected is made in `server.listening` and `client.message_dial`; here are the calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from turbosock.client.message_dial import MessageOptions, connect
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Timeouts, TlsConfig
from turbosock.connection.broadcast import Broadcast, broadcast
from turbosock.connection.message_connection import MessageConnection
from turbosock.loop.base import LoopBase
from turbosock.protocol.framing.choice import FramingArgument, framing_of
from turbosock.reactor.sockets import ListenAddress
from turbosock.server.http_listener import HttpHandler, HttpListener
from turbosock.server.listening import listen
from turbosock.server.options import HttpOptions, TcpOptions, UdpOptions, WebSocketOptions
from turbosock.server.tcp_listener import TcpListener
from turbosock.server.udp_listener import UdpListener

if TYPE_CHECKING:
    from turbosock.connection.message_strategy import Data
    from turbosock.server.websocket_listener import WebSocketListener


class LoopListening(LoopBase):
    """See the module."""

    @overload
    def listen(
        self,
        address: ListenAddress,
        *,
        protocol: Literal["http"] = "http",
        handler: HttpHandler,
        **options: Unpack[HttpOptions],
    ) -> HttpListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["tcp"], **options: Unpack[TcpOptions]
    ) -> TcpListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["websocket"], **options: Unpack[WebSocketOptions]
    ) -> WebSocketListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["udp"], **options: Unpack[UdpOptions]
    ) -> UdpListener: ...

    def listen(self, address: ListenAddress, *, protocol: str = "http", **options: Any) -> Any:
        """Accept connections at `address`, and serve them inside `poll()`.

        Args:
            address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
            protocol: "http": each request is given to `handler`, which answers at once, or keeps the exchange and
                answers in a later tick. "tcp" and "websocket": messages are events. "udp": datagrams are; the address
                is (host, port).
            options: `tls`, limits and timeouts; see `HttpListener`, `TcpListener`, `WebSocketListener` and
                `UdpListener`.

        Returns:
            The listener; its `address` tells the real port.

        Raises:
            InvalidOption: an argument cannot work, or a file that `tls` names; the message names it.
            TlsError: there is no TLS engine for `tls`.
            NetworkError: the system refused to listen there.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("listen() needs")
        return listen(self, address, protocol, options)

    def connect(
        self,
        address: ListenAddress,
        *,
        framing: FramingArgument = None,
        tls: TlsConfig | bool | None = None,
        timeout: TimeoutArgument = DEFAULT,
        user: object = None,
        **options: Unpack[MessageOptions],
    ) -> MessageConnection:
        """Connect to `address` inside `poll()`; messages are events.

        Args:
            address: (host, port), or a Unix path, "/run/app.sock" or "unix:app.sock".
            framing: how messages stand in the stream; see TcpListener.
            tls: True speaks TLS by this Loop's Config, a TlsConfig by itself.
            timeout: of connecting, as in `request`; names, addresses and TLS included.
            user: whatever you want to find again in `connection.user`.
            options: `max_message`, `quota`, `max_unsent`, `message_timeout_s`, `idle_timeout_s`, `write_timeout_s`, as
                in TcpListener. `proxy`, `host_map` and `local_address` as in `request`; those of the Config hold
                otherwise, of its proxies the one for everything ("all", ALL_PROXY), which makes a tunnel.

        Returns:
            The connection. OPEN tells when it stands; if it never does, its one event is CLOSED, with the reason.

        Raises:
            InvalidOption: an argument cannot work; the message names it.
            TlsError: there is no TLS engine for `tls`.
            LimitError: the reactor has no timer for it.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("connect() needs")
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        connection = connect(self, address, framing_of(framing), tls, timeouts, dict(options))
        connection.user = user
        return connection

    def broadcast(self, connections: Iterable[MessageConnection], data: Data | str, key: object = None) -> Broadcast:
        """Send one message to each of `connections`, framed once for all of a listener's; as their `send()`.

        Args:
            connections: message connections, of any kinds.
            data, key: as in `MessageConnection.send`.

        Returns:
            How many took it (`ok`), had no room (`full`) and were not open (`closed`).

        Raises:
            InvalidOption: one of them cannot send such a message; those before it have taken it.
        """
        return broadcast(connections, data, key)
