"""CancelToken: ends exchanges and event streams of a Client from any thread, as many as were given it.

Invariant: a token holds those that are under way, and few others: those that ended without telling it are dropped when
they are many.
"""

from __future__ import annotations

import threading
from typing import Final, Protocol

from turbosock.forks import renewed_in_child

# What one token may hold before it looks for those that have ended.
_PRUNE_FROM: Final = 64


class Cancellable(Protocol):
    """What a token ends."""

    @property
    def closed(self) -> bool:
        """Whether it has ended already."""

    def cancel(self) -> None:
        """End it, from any thread."""


class CancelToken:
    """Cancels exchanges from any thread: `client.get(url, cancel=token)`, then `token.cancel()` elsewhere.

    One token may serve many exchanges and event streams; once cancelled it stays so, and new ones fail at once.
    """

    __slots__ = ("__weakref__", "_held", "_lock", "_prune_at", "cancelled")

    def __init__(self) -> None:
        self.renew_lock()
        self._held: set[Cancellable] = set()
        self._prune_at = _PRUNE_FROM
        self.cancelled = False
        _tokens.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """End everything that uses the token; a second call does nothing more."""
        with self._lock:
            self.cancelled = True
            held = tuple(self._held)
        for each in held:
            each.cancel()

    def attach(self, call: Cancellable) -> None:
        """From now on the token cancels `call` too; for Client."""
        with self._lock:
            self._held.add(call)
            if len(self._held) > self._prune_at:
                # A stream that is closed does not say so here: to look now and then costs its hot path nothing.
                self._held = {other for other in self._held if not other.closed}
                self._prune_at = max(_PRUNE_FROM, 2 * len(self._held))
            cancelled = self.cancelled
        if cancelled:
            call.cancel()

    def detach(self, call: Cancellable) -> None:
        """It is over; for Client."""
        with self._lock:
            self._held.discard(call)


_tokens: Final = renewed_in_child(CancelToken.renew_lock)
