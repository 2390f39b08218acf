"""MessageListener: the base of listeners whose connections are MessageConnections, with their counts.

A subclass makes the connection (`_make_session`): strategy, bounds and address, and begins it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turbosock.config import TlsServerConfig
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.message_limits import MessageLimits
from turbosock.reactor.sockets import ListenAddress
from turbosock.server.stream_listener import Session, StreamListener

if TYPE_CHECKING:
    from turbosock.connection.message_services import MessageServices
    from turbosock.transport.transport import SaeaTransport


class MessageListenerStats(NamedTuple):
    """Counts since the listener began, and `open`, the connections that it has now.

    `timeouts` are connections that were given up, `exhausted`, `crowded` and `failed_handshakes` as in
    ListenerStats.
    """

    accepted: int
    open: int
    messages_in: int
    messages_out: int
    timeouts: int
    exhausted: int
    bytes_in: int
    bytes_out: int
    failed_handshakes: int
    crowded: int


class MessageListener(StreamListener):
    """The base of listeners whose connections are MessageConnections.

    Args:
        services: the Loop's.
        bounds: what each connection may take.
        options: as in StreamListener.
    """

    __slots__ = ("_gone_messages_in", "_gone_messages_out", "bounds", "services")

    def __init__(
        self,
        services: MessageServices,
        address: ListenAddress,
        bounds: MessageLimits,
        *,
        tls: TlsServerConfig | None,
        alpn: tuple[str, ...],
        max_connections: int,
        handshake_timeout_s: float,
        backlog: int,
        reuse_port: bool,
        dual_stack: bool,
        mode: int | None,
    ) -> None:
        self.services = services
        self.bounds = bounds
        self._gone_messages_in = 0
        self._gone_messages_out = 0
        services.rings.make_room_for(bounds.quota)
        super().__init__(
            services.reactor,
            address,
            tls=tls,
            alpn=alpn,
            max_connections=max_connections,
            handshake_timeout_s=handshake_timeout_s,
            backlog=backlog,
            reuse_port=reuse_port,
            dual_stack=dual_stack,
            mode=mode,
        )

    def forget(self, session: Session, transport: SaeaTransport | None) -> None:
        assert isinstance(session, MessageConnection), "it makes no others"
        self._gone_messages_in += session.messages_in
        self._gone_messages_out += session.messages_out
        super().forget(session, transport)

    def stats(self) -> MessageListenerStats:
        """What happened so far."""
        connections: tuple[MessageConnection, ...] = tuple(self._sessions)
        return MessageListenerStats(
            accepted=self._accepted,
            open=len(connections) + len(self.handshakes),
            messages_in=self._gone_messages_in + sum(connection.messages_in for connection in connections),
            messages_out=self._gone_messages_out + sum(connection.messages_out for connection in connections),
            timeouts=self.timeouts,
            exhausted=self._exhausted,
            bytes_in=self._gone_bytes_in + sum(connection.bytes_in for connection in connections),
            bytes_out=self._gone_bytes_out + sum(connection.bytes_out for connection in connections),
            failed_handshakes=self._failed_handshakes,
            crowded=self._crowded,
        )

    @property
    def connections(self) -> tuple[MessageConnection, ...]:
        """Those that stand now, in no order."""
        return tuple(self._sessions)
