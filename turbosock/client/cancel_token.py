"""CancelToken: ends exchanges of a Client from any thread, as many as were given it.

Invariant: a token holds the exchanges that are under way, and few others: those that ended without telling it are
dropped when they are many.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from turbosock.forks import renewed_in_child

if TYPE_CHECKING:
    from turbosock.client.response import Response

# Exchanges of one token above which it looks for those that have ended.
_PRUNE_FROM: Final = 64


class CancelToken:
    """Cancels exchanges from any thread: `client.get(url, cancel=token)`, then `token.cancel()` elsewhere.

    One token may serve many exchanges; once cancelled it stays so, and new exchanges with it fail at once.
    """

    __slots__ = ("__weakref__", "_exchanges", "_lock", "_prune_at", "cancelled")

    def __init__(self) -> None:
        self.renew_lock()
        self._exchanges: set[Response] = set()
        self._prune_at = _PRUNE_FROM
        self.cancelled = False
        _tokens.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """End every exchange that uses the token; a second call does nothing more."""
        with self._lock:
            self.cancelled = True
            exchanges = tuple(self._exchanges)
        for exchange in exchanges:
            exchange.cancel()

    def attach(self, exchange: Response) -> None:
        """From now on the token cancels `exchange` too; for Client."""
        with self._lock:
            self._exchanges.add(exchange)
            if len(self._exchanges) > self._prune_at:
                # A stream that is closed does not say so here: to look now and then costs its hot path nothing.
                self._exchanges = {other for other in self._exchanges if not other.closed}
                self._prune_at = max(_PRUNE_FROM, 2 * len(self._exchanges))
            cancelled = self.cancelled
        if cancelled:
            exchange.cancel()

    def detach(self, exchange: Response) -> None:
        """The exchange is over; for Client."""
        with self._lock:
            self._exchanges.discard(exchange)


_tokens: Final = renewed_in_child(CancelToken.renew_lock)
