"""RateLimit: exchanges at a steady rate for each host.

The link over `pool/rate_limiter.py`, which says when the next may go; here the turn is reserved in `enter`, and given
back in `leave` where the request was never begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import ReferenceType, ref

from turbosock.client.middleware.base import GO, Middleware
from turbosock.client.middleware.concurrency_limit import host_of
from turbosock.errors import InvalidOption
from turbosock.forks import renewed_in_child
from turbosock.pool.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained


class RateLimit(Middleware):
    """Lets exchanges of each host through at a steady rate, in the order of asking.

    A host is what it is for ConcurrencyLimit. An exchange whose turn is later than its `pool_s` or total deadline fails
    at once, with PoolTimeout or TotalTimeout, and one whose turn is later than the limiter's `max_wait_s` with
    LimitError; it does not use its turn. Inside a RetryHook each attempt takes a turn, outside only the first.

    Args:
        limiter: exchanges for each second; or a RateLimiter, which any number of links may share. For a Loop, or a
            connector, with a clock of its own give a RateLimiter with the same clock.
        burst: exchanges at once, after a rest; not to be given with a RateLimiter, which has its own.

    Attributes:
        limiter: counts (`stats()`).

    Raises:
        InvalidOption: an argument cannot work, or the two contradict each other.
    """

    def __init__(self, limiter: RateLimiter | float, burst: int | None = None) -> None:
        if isinstance(limiter, RateLimiter):
            if burst is not None:
                raise InvalidOption(f"burst={burst!r} with a RateLimiter, which has its own: give one of them")
        elif isinstance(limiter, bool) or not isinstance(limiter, (int, float)):
            raise InvalidOption(f"limiter={limiter!r}: give exchanges for each second, or a RateLimiter")
        else:
            limiter = RateLimiter(limiter, 1 if burst is None else burst)
        self.limiter = limiter
        # By the id of an exchange: when its turn comes, how often it had been begun when that was reserved, and whose
        # it is: one that is collected without an end leaves its turn here, and its id to another.
        self._turns: dict[int, tuple[int, int, ReferenceType[Chained]]] = {}
        _links.add(self)

    def enter(self, exchange: Chained, now_ns: int) -> int:
        key = id(exchange)
        turn = self._turns.get(key)
        if turn is None or turn[2]() is not exchange:
            due_ns = self.limiter.reserve(host_of(exchange))
            self._turns[key] = (due_ns, exchange.attempts, ref(exchange))
            # The limiter has looked at the clock after `now_ns`.
            now_ns = exchange.now_ns()
        else:
            due_ns = turn[0]
        return GO if due_ns <= now_ns else due_ns

    def leave(self, exchange: Chained) -> None:
        turn = self._turns.pop(id(exchange), None)
        if turn is not None and exchange.attempts == turn[1]:
            self.limiter.give_back(host_of(exchange), turn[0])

    def drop_inherited(self) -> None:
        """In the child of a fork: the parent's exchanges are not here."""
        self._turns.clear()


_links: Final = renewed_in_child(RateLimit.drop_inherited)
