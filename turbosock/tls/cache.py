"""What is remembered between connections: contexts by configuration, sessions by host.

Both are bounded, least recently used first out, and safe to share between threads. A child of fork(2) starts with no
sessions: a ticket used by two processes links them to whoever watches, and its keys would be in both. Contexts stay:
they hold no state of a connection. A lock that another thread held during the fork is made anew.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from turbosock import limits
from turbosock.forks import renewed_in_child
from turbosock.reactor.clock import NS_PER_S

Value = TypeVar("Value")

SESSION_READ_NS: Final = int(limits.SESSION_READ_INTERVAL_S * NS_PER_S)


class LruCache(Generic[Value]):
    """At most `capacity` values by key; invariant: `len(self) <= capacity`.

    Attributes:
        capacity: the bound.
        made: values made by `get_or_make` so far.
    """

    __slots__ = ("__weakref__", "_entries", "_lock", "capacity", "made")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.made = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, Value] = OrderedDict()
        _caches.add(self)

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Value | None:
        """Return the value of `key`, which is now the most recently used, or None."""
        with self._lock:
            value = self._entries.get(key)
            if value is not None:
                self._entries.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep `value`; the least recently used one goes if there are too many."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            if len(self._entries) > self.capacity:
                self._entries.popitem(last=False)

    def discard(self, key: Hashable) -> None:
        """Forget the value of `key`, if there is one."""
        with self._lock:
            self._entries.pop(key, None)

    def get_or_make(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, made if missing; threads that ask at once share one. An error of `make` passes."""
        with self._lock:
            value = self._entries.get(key)
            if value is None:
                value = make()
                self.made += 1
                self._entries[key] = value
                if len(self._entries) > self.capacity:
                    self._entries.popitem(last=False)
            else:
                self._entries.move_to_end(key)
            return value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def after_fork(self) -> None:
        """In a child: take over with a free lock."""
        self._lock = threading.Lock()


class SessionCache(LruCache[Value]):
    """Sessions, which do not survive a fork."""

    __slots__ = ()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._entries = OrderedDict()


# Of sessions and of others.
_caches: WeakSet[LruCache[Any]] = renewed_in_child(lambda cache: cache.after_fork())


class SessionReads:
    """An allowance of looks at a TLS session: a burst, then so many a second, for the life of a context.

    Not exact where threads meet; it bounds a leak, which one look more does not change.
    """

    __slots__ = ("_counted_ns", "_left")

    def __init__(self) -> None:
        self._left = limits.MAX_SESSION_READS
        self._counted_ns = time.monotonic_ns()

    def take(self) -> bool:
        """Whether one more look is allowed now; True counts it."""
        if self._left < limits.MAX_SESSION_READS:
            now_ns = time.monotonic_ns()
            earned = (now_ns - self._counted_ns) // SESSION_READ_NS
            if earned:
                self._counted_ns += earned * SESSION_READ_NS
                self._left = min(limits.MAX_SESSION_READS, self._left + earned)
        else:
            self._counted_ns = time.monotonic_ns()
        if not self._left:
            return False
        self._left -= 1
        return True
