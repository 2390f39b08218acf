"""ThreadPrewarmer: the prewarmed origins of one Client, from the first prewarm() to the client's end.

Invariants: an origin has one ThreadPrewarming at most; after `close()` there is none, and none begins.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.prewarm import Prewarming, PrewarmOwner, PrewarmStats, check_alone
from turbosock.client.thread_prewarming import ThreadPrewarming
from turbosock.errors import ClientClosed

if TYPE_CHECKING:
    from turbosock.client.client_base import ClientBase
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.pool.refill import Refill


class ThreadPrewarmer(PrewarmOwner):
    """Keeps the prewarmed origins of one Client.

    Args:
        client: whose connections they are; held weakly.
    """

    def __init__(self, client: ClientBase) -> None:
        self._client = weakref.ref(client)
        self._lock = threading.Lock()
        self._kept: tuple[ThreadPrewarming, ...] = ()
        self._closed = False

    def add(self, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> ThreadPrewarming:
        """Keep connections to `origin` ready from now on.

        Raises:
            ClientClosed: the client is closed.
            StateError: connections to it are kept ready already.
            LimitError: too many origins are, or the system has no thread for one more.
        """
        client = self._client()
        assert client is not None, "asked for by the client itself"
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: prewarm() needs an open one")
            check_alone(self._kept, origin)
            prewarming = ThreadPrewarming(self, client, origin, refill, timeouts, url)
            # Under the lock, so that close() finds either none or one that runs.
            try:
                prewarming.start(client)
            except BaseException:
                prewarming.closed = True
                prewarming.warm.close()
                raise
            self._kept = (*self._kept, prewarming)
        return prewarming

    def remove(self, prewarming: Prewarming) -> None:
        with self._lock:
            self._kept = tuple(kept for kept in self._kept if kept is not prewarming)

    def stats(self) -> tuple[PrewarmStats, ...]:
        """Of each origin."""
        return tuple(prewarming.stats() for prewarming in self._kept)

    def close(self) -> None:
        """End with the client: nothing is dialled any more. A second call does nothing."""
        with self._lock:
            self._closed = True
            kept = self._kept
        for prewarming in kept:
            prewarming.close()
        end_s = time.monotonic() + limits.PREWARM_JOIN_S
        for prewarming in kept:
            prewarming.join(max(0.0, end_s - time.monotonic()))

    def drop_inherited(self) -> None:
        """In the child of a fork, where the threads are not: prewarming ended."""
        self._lock = threading.Lock()
        kept = self._kept
        self._kept = ()
        for prewarming in kept:
            prewarming.drop_inherited()
