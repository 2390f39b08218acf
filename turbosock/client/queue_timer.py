"""QueueTimer: the bound of an exchange's time in the pool's line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.client.exchange_connecting import ExchangeConnecting
    from turbosock.reactor.timers import TimerHeap


class QueueTimer:
    """Bounds the time in the pool's line; apart from the exchange, so that the timer does not keep it alive."""

    __slots__ = ("_exchange", "_timer", "_timers", "since_ns")

    def __init__(self, exchange: ExchangeConnecting, timers: TimerHeap, deadline_ns: int, since_ns: int = 0) -> None:
        self.since_ns = since_ns
        self._exchange: ExchangeConnecting | None = exchange
        self._timers = timers
        self._timer = timers.add(deadline_ns, self)

    def cancel(self) -> None:
        """The wait is over."""
        self._exchange = None
        self._timers.cancel(self._timer)

    def on_timer(self, now_ns: int) -> None:
        exchange = self._exchange
        if exchange is not None:
            exchange.on_queue_timer(self, now_ns)
