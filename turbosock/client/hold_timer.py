"""HoldTimer: until when an exchange of a Loop waits by its own choice: before another attempt, or for middleware."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.queue_timer import QueueTimer
from turbosock.errors import ClientClosed

if TYPE_CHECKING:
    from turbosock.client.exchange_connecting import ExchangeConnecting
    from turbosock.client.loop_services import LoopServices


class HoldTimer(QueueTimer):
    """Makes the exchange proceed, and lets the loop find it when it closes: nothing else holds it meanwhile."""

    __slots__ = ("_loop",)

    def __init__(self, exchange: ExchangeConnecting, loop: LoopServices, due_ns: int) -> None:
        # First: from the next call on it may be told, also where an interrupt keeps it from its exchange.
        self._loop = loop
        super().__init__(exchange, loop.reactor.timers, due_ns)
        loop.requests.held.add(self)

    def cancel(self) -> None:
        self._loop.requests.held.discard(self)
        super().cancel()

    def on_timer(self, now_ns: int) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.on_hold_timer(self)

    @property
    def exchange(self) -> ExchangeConnecting | None:
        """Whose time it bounds."""
        return self._exchange

    def close(self) -> None:
        """The loop is closed."""
        exchange = self._exchange
        if exchange is not None:
            exchange.fail(ClientClosed("the loop was closed while the request waited to be sent"))
