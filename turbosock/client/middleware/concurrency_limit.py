"""ConcurrencyLimit: at most so many exchanges at once for each host.

The link over `pool/limiter.py`, which counts and keeps the line; here a permit is held from `enter` to `leave`, and the
limiter's word is passed on to the exchange: a grant wakes it, close() ends it.

Invariant: an exchange has a ticket here from `enter` on until `leave` has given its permit back.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final
from weakref import ReferenceType, ref

from turbosock import limits
from turbosock.client.middleware.base import GO, UNTIL_WOKEN, Middleware
from turbosock.errors import ClientClosed, InvalidOption, PoolTimeout, TotalTimeout
from turbosock.forks import renewed_in_child
from turbosock.pool.limiter import CLOSED, GRANTED, ConcurrencyLimiter, Ticket

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained


class _ExchangeTicket(Ticket):
    """The place of one exchange in the limiter, which it does not keep alive."""

    __slots__ = ("exchange",)

    def __init__(self) -> None:
        super().__init__()
        self.exchange: ReferenceType[Chained] | None = None

    def _present(self) -> Chained | None:
        exchange = self.exchange
        return None if exchange is None else exchange()

    def on_granted(self) -> None:
        exchange = self._present()
        if exchange is not None:
            exchange.wake()

    # The exchange asks again, and learns that the limiter is closed.
    on_closed = on_granted

    def cancel(self) -> None:
        exchange = self._present()
        if exchange is not None and self.state == GRANTED:
            exchange.cancel()


class ConcurrencyLimit(Middleware):
    """Lets at most so many exchanges of each host through at once, first come first served.

    A host is an origin's "host:port", or "unix:" and the path of a socket; `limiter.permit()` of other code shares its
    permits under these names. An exchange that must wait does so for `pool_s` at most, then fails with PoolTimeout. One
    permit is one exchange from its first byte to the end of its body. Inside a RetryHook it is one attempt, and the
    permit is free while the next one is waited for.

    Args:
        limiter: the permits of each host; or a ConcurrencyLimiter, which any number of links may share.

    Attributes:
        limiter: counts (`stats()`), and ends it: after `close()` exchanges fail with ClientClosed, those that wait at
            once, and `cancel=True` cancels those under way.

    Raises:
        InvalidOption: `limiter` is neither a limiter nor a number of permits.
    """

    def __init__(self, limiter: ConcurrencyLimiter | int = limits.MAX_PERMITS_PER_HOST) -> None:
        if not isinstance(limiter, ConcurrencyLimiter):
            if isinstance(limiter, bool) or not isinstance(limiter, int):
                raise InvalidOption(f"limiter={limiter!r}: give a number of permits, or a ConcurrencyLimiter")
            limiter = ConcurrencyLimiter(limiter)
        self.limiter = limiter
        # By id: what is held here would not end when its user drops it.
        self._tickets: dict[int, _ExchangeTicket] = {}
        self._free: list[_ExchangeTicket] = []
        # References to exchanges that were collected without an end, with the Loop or Client that they belonged to. A
        # finalizer may run inside anything, the limiter's lock included: who enters next gives their permits back.
        self._lost: deque[ReferenceType[Chained]] = deque()
        _links.add(self)

    def enter(self, exchange: Chained, now_ns: int) -> int:
        if self._lost:
            self._give_back_lost()
        key = id(exchange)
        ticket = self._tickets.get(key)
        if ticket is not None and ticket._present() is not exchange:
            # A collected exchange's, whose id is free again.
            self.limiter.leave(ticket)
            ticket = None
        if ticket is None:
            try:
                ticket = self._free.pop() if self._free else _ExchangeTicket()
            except IndexError:
                # Another thread took the last one.
                ticket = _ExchangeTicket()
            ticket.exchange = ref(exchange, self._lost.append)
            self._tickets[key] = ticket
            return GO if self.limiter.enter(host_of(exchange), ticket) else UNTIL_WOKEN
        state = ticket.state
        if state == GRANTED:
            return GO
        if state == CLOSED:
            raise ClientClosed("the concurrency limiter was closed while the request stood in its line")
        return UNTIL_WOKEN

    def leave(self, exchange: Chained) -> None:
        key = id(exchange)
        ticket = self._tickets.get(key)
        if ticket is None:
            return
        error = exchange.error
        # First and by itself, because an interrupt may come anywhere: then this is called again.
        if error is None:
            self.limiter.leave(ticket)
        else:
            self.limiter.leave(ticket, timed_out=isinstance(error, (PoolTimeout, TotalTimeout)))
        del self._tickets[key]
        ticket.exchange = None
        if len(self._free) < limits.MAX_IDLE_OBJECTS:
            self._free.append(ticket)

    def _give_back_lost(self) -> None:
        while self._lost:
            try:
                lost = self._lost.popleft()
            except IndexError:
                # Another thread took the last one.
                return
            for key, ticket in tuple(self._tickets.items()):
                if ticket.exchange is lost:
                    # Out of the table first: nobody who comes meanwhile must find it.
                    if self._tickets.get(key) is ticket:
                        del self._tickets[key]
                    self.limiter.leave(ticket)

    def drop_inherited(self) -> None:
        """In the child of a fork: the parent's exchanges are not here, and hold no permit."""
        self._lost.clear()
        self._tickets.clear()
        self._free.clear()


def host_of(exchange: Chained) -> str:
    """What an exchange's host is called in limiters."""
    return exchange.prepared.origin.host


# After the limiter, which has let go of the tickets by then.
_links: Final = renewed_in_child(ConcurrencyLimit.drop_inherited)
