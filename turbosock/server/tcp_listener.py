"""TcpListener: accepts TCP or Unix connections whose messages are events of the Loop.

    listener = loop.listen(("0.0.0.0", 9000), protocol="tcp", framing=LengthPrefixed(2), max_connections=500)
    ...
    for event in loop.events:
        if event.kind is EventKind.MESSAGE:
            event.connection.send(reply(event.data))

Left to others: accepting and TLS (`stream_listener.py`), what a connection does (`connection/message_connection.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.config import TlsServerConfig
from turbosock.connection.frame_writer import FrameWriter
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.message_limits import MessageLimits
from turbosock.protocol.framing.choice import FramingArgument, framing_of
from turbosock.reactor.sockets import ListenAddress, tune
from turbosock.server.message_listener import MessageListener

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.server.request import PeerAddress, RequestTls
    from turbosock.transport.transport import SaeaTransport


class TcpListener(MessageListener):
    """Accepts connections and delivers their messages; see the module.

    Args:
        services: the Loop's.
        address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
        framing: how messages stand in the stream: LengthPrefixed, Delimited, RawFraming (None), or a function that
            finds them; see CustomFraming.
        tls: the certificates to show, and what clients must; None for plaintext. Its files are read here, once.
        max_connections: connections at once; more wait in the backlog.
        max_message: bytes of a message, received or sent; a longer one ends the connection.
        quota: memory that received messages of one connection may take before it is left unread.
        max_unsent: bytes that may wait for one client before `send()` says FULL.
        handshake_timeout_s: for the whole TLS handshake.
        message_timeout_s: for a message to arrive whole, from its first byte on.
        idle_timeout_s: for a connection on which nothing comes or goes; None: it may be silent for ever, and the system
            probes whether its client is still there.
        write_timeout_s: for a client that takes nothing of what it is sent.
        backlog, reuse_port, dual_stack, mode: as in `sockets.listen`.

    Attributes:
        address: where it listens: (host, port) with the real port, or the path.
        connections: those that stand.
        closed: whether `close()` was called.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no TLS engine for `tls`.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = ("_framing", "_writer")

    def __init__(
        self,
        services: MessageServices,
        address: ListenAddress,
        *,
        framing: FramingArgument = None,
        tls: TlsServerConfig | None = None,
        max_connections: int = limits.MAX_SERVER_CONNECTIONS,
        max_message: int = limits.MAX_MESSAGE_BYTES,
        quota: int = limits.MESSAGE_QUOTA_BYTES,
        max_unsent: int = limits.MAX_UNSENT_BYTES,
        handshake_timeout_s: float = limits.SERVER_HANDSHAKE_TIMEOUT_S,
        message_timeout_s: float = limits.MESSAGE_TIMEOUT_S,
        idle_timeout_s: float | None = limits.MESSAGE_IDLE_TIMEOUT_S,
        write_timeout_s: float = limits.SERVER_WRITE_TIMEOUT_S,
        backlog: int = limits.LISTEN_BACKLOG,
        reuse_port: bool = False,
        dual_stack: bool = False,
        mode: int | None = None,
    ) -> None:
        self._framing = framing_of(framing)
        self._writer = FrameWriter(self._framing)
        super().__init__(
            services,
            address,
            MessageLimits(
                max_message=max_message,
                quota=quota,
                max_unsent=max_unsent,
                message_timeout_s=message_timeout_s,
                idle_timeout_s=idle_timeout_s,
                write_timeout_s=write_timeout_s,
            ),
            tls=tls,
            alpn=(),
            max_connections=max_connections,
            handshake_timeout_s=handshake_timeout_s,
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            mode=mode,
        )

    def _make_session(self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None) -> MessageConnection:
        tune(transport.socket, keep_alive=True)
        connection = MessageConnection(
            self.services, self, self.bounds, self._framing.reader(self.bounds.max_message), self._writer, peer
        )
        connection.begin(transport)
        return connection
