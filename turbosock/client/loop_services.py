"""LoopServices: what exchanges, dials and connections need of the Loop that steps them.

A protocol and no base class: the Loop stands a floor above, and these files must not know it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool
    from turbosock.client.dials import Dials
    from turbosock.client.event_tally import EventTally
    from turbosock.client.events import EventQueue
    from turbosock.client.exchange_connecting import ExchangeConnecting
    from turbosock.client.loop_event_stream import LoopEventStream
    from turbosock.client.loop_requests import LoopRequests
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.session import Session
    from turbosock.config import Config
    from turbosock.connection.message_services import MessageServices
    from turbosock.connection.receive_ring import RingPool
    from turbosock.pool.connection_pool import ConnectionPool
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Source
    from turbosock.transport.secure import TlsDialer


class HeldExchange(Protocol):
    """What stands for an exchange that waits for middleware, or before another attempt."""

    @property
    def exchange(self) -> ExchangeConnecting | None:
        """The exchange, until the wait is over."""

    def close(self) -> None:
        """The loop is closed: the exchange fails."""


class Attended(Protocol):
    """What a Loop can be asked to look after."""

    def attend(self) -> None:
        """Look whether something is to be done."""


class LoopServices(Protocol):
    """What exchanges need of their Loop."""

    reactor: Reactor
    config: Config
    rings: RingPool
    buffers: BufferPool
    bodies: BufferPool
    events: EventQueue
    event_streams: set[LoopEventStream]
    event_tally: EventTally
    pool: ConnectionPool
    requests: LoopRequests
    chain: Chain | None
    dials: Dials
    max_body_bytes: int
    secure: TlsDialer
    source: Source
    session: Session
    messages: MessageServices

    def mend(self) -> None:
        """A call broke off, perhaps between two steps: give what was lost on the way another turn."""
