"""Connections by origin: idle ones kept for the next exchange, limits in all and to one origin, waiters in order.

An `OriginPool` is everything about one key (scheme, host, port or path). Taking an idle connection is one pop and
giving it back one append, most recently used first. Everything slower (expiry, health, limits, waiters) happens under
one lock and off that path.

The order for a caller: `take_idle()`; without one `reserve()` a place and dial, then `opened(connection)` or
`released()`; without a place `wait(waiter)`, and the waiter is offered a connection, or a place to dial into. At the end
`give_back(connection)` or `discard(connection)`.

Invariants: `open` counts connections and reserved places, 0 <= open <= its limit; an idle connection has no owner; a
place is offered to exactly one waiter, and one that declines passes it on; waiters are served in order.
A waiter appends itself and then looks for an idle connection, and who gives back appends and then looks for a waiter:
whoever comes second sees the other, so no wake-up is lost.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from turbosock import limits
from turbosock.config import SECOND_NS, PoolConfig
from turbosock.errors import ClientClosed

if TYPE_CHECKING:
    from turbosock.connection.http1 import Http1Connection

HEALTH_CHECK_AFTER_NS = int(limits.HEALTH_CHECK_AFTER_S * SECOND_NS)


class OriginKey(NamedTuple):
    """What connections must have in common to be interchangeable.

    For Unix sockets `host` is what the Host field says, and `path` the socket's path.
    """

    scheme: str
    host: str
    port: int
    path: str | None = None


class Waiter(Protocol):
    """Somebody who waits for a connection."""

    def offer(self, connection: Http1Connection | None) -> bool:
        """Take a connection, or (None) a reserved place to dial into; False declines it.

        Called on the thread that gave the connection back, without any lock.
        """


class PoolStats(NamedTuple):
    """Counts of one pool: connections open (idle ones included), idle, and callers that wait."""

    open: int
    idle: int
    waiting: int


class OriginPool:
    """The connections to one origin."""

    __slots__ = ("_keep", "_pool", "_take", "idle", "key", "open", "waiters")

    def __init__(self, pool: ConnectionPool, key: OriginKey) -> None:
        self._pool = pool
        self.key = key
        self.idle: deque[Http1Connection] = deque()
        # Bound once, for the two calls of every request.
        self._take = self.idle.pop
        self._keep = self.idle.append
        self.open = 0
        self.waiters: deque[Waiter] = deque()

    def take_idle(self, now_ns: int) -> Http1Connection | None:
        """The most recently used idle connection that is fit for use, or None."""
        if not self.idle:
            return None
        try:
            connection = self._take()
        except IndexError:
            # Another thread was faster.
            return None
        if now_ns - connection.idle_since_ns < HEALTH_CHECK_AFTER_NS:
            return connection
        return self._first_fit(connection, now_ns)

    def _first_fit(self, connection: Http1Connection, now_ns: int) -> Http1Connection | None:
        """`connection` or an older one, after asking whether it expired, and whether its peer has spoken or closed."""
        while True:
            if now_ns - connection.idle_since_ns <= self._pool.max_idle_ns and connection.transport.is_quiet():
                return connection
            self.discard(connection)
            try:
                connection = self.idle.pop()
            except IndexError:
                return None

    def give_back(self, connection: Http1Connection, now_ns: int) -> None:
        """Keep a reusable connection for the next exchange, or hand it to who waits."""
        connection.idle_since_ns = now_ns
        if self._pool.closed:
            self.discard(connection)
            return
        self._keep(connection)
        if self.waiters:
            self._hand_over()
        elif len(self.idle) > self._pool.config.max_idle:
            self._drop_oldest()

    def _hand_over(self) -> None:
        while True:
            with self._pool.lock:
                if not self.waiters or not self.idle:
                    return
                waiter = self.waiters.popleft()
                connection = self.idle.pop()
                self._pool.note_waiters(self)
            if waiter.offer(connection):
                return
            self.idle.append(connection)

    def _drop_oldest(self) -> None:
        try:
            connection = self.idle.popleft()
        except IndexError:
            return
        self.discard(connection)

    def reserve(self) -> bool:
        """Take a place to dial into, if the limits allow one more connection."""
        return self._pool.reserve(self)

    def opened(self, connection: Http1Connection) -> None:
        """The reserved place holds `connection` now."""
        connection.origin = self
        self._pool.connections.add(connection)

    def released(self) -> None:
        """Give a reserved place up: the dial failed."""
        self._pool.free_place(self)

    def discard(self, connection: Http1Connection) -> None:
        """Close a connection and free its place."""
        connection.close()
        if connection in self._pool.connections:
            self._pool.connections.discard(connection)
            self._pool.free_place(self)

    def wait(self, waiter: Waiter) -> None:
        """Stand in line; the waiter may be offered something before this returns."""
        with self._pool.lock:
            self.waiters.append(waiter)
            self._pool.note_waiters(self)
        self._hand_over()
        self._pool.serve_places(self)

    def leave(self, waiter: Waiter) -> bool:
        """Leave the line; False when it was offered something already, which is then the waiter's to pass on."""
        with self._pool.lock:
            try:
                self.waiters.remove(waiter)
            except ValueError:
                return False
            self._pool.note_waiters(self)
            return True


class ConnectionPool:
    """The connections of one Client or Loop.

    Args:
        config: the limits.
        closed_error: makes the error for waiters when the pool closes.
    """

    __slots__ = ("_origins", "_waiting_origins", "closed", "config", "connections", "lock", "max_idle_ns", "open")

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self.max_idle_ns = int(config.max_idle_s * SECOND_NS)
        self.lock = threading.Lock()
        self.closed = False
        self.open = 0
        self.connections: set[Http1Connection] = set()
        self._origins: OrderedDict[OriginKey, OriginPool] = OrderedDict()
        # Origins with waiters, in the order in which they began to wait.
        self._waiting_origins: OrderedDict[OriginPool, None] = OrderedDict()

    def origin(self, key: OriginKey) -> OriginPool:
        """The pool of one origin, made at first use."""
        with self.lock:
            origin = self._origins.get(key)
            if origin is None:
                origin = OriginPool(self, key)
                self._origins[key] = origin
                if len(self._origins) > limits.MAX_ORIGINS:
                    self._forget_one_origin()
            else:
                self._origins.move_to_end(key)
            return origin

    def _forget_one_origin(self) -> None:
        for key, origin in self._origins.items():
            if not origin.open and not origin.waiters:
                del self._origins[key]
                return

    def reserve(self, origin: OriginPool) -> bool:
        """Take a place for `origin`; closes another origin's oldest idle connection where the total demands it."""
        if self.closed:
            raise ClientClosed("the connection pool is closed")
        with self.lock:
            if origin.open >= self.config.max_connections_per_origin:
                return False
            # A prepared request may know an origin that was forgotten here meanwhile.
            self._origins.setdefault(origin.key, origin)
            if self.open < self.config.max_connections:
                origin.open += 1
                self.open += 1
                return True
            victim = self._oldest_idle()
            if victim is None:
                return False
            origin.open += 1
            self.open += 1
        owner = victim.origin
        assert isinstance(owner, OriginPool), "a pooled connection knows its pool"
        # Its freed place is the one just taken: nobody else may be offered it.
        victim.close()
        self.connections.discard(victim)
        with self.lock:
            owner.open -= 1
            self.open -= 1
        return True

    def _oldest_idle(self) -> Http1Connection | None:
        oldest: OriginPool | None = None
        for origin in self._origins.values():
            if origin.idle and (oldest is None or origin.idle[0].idle_since_ns < oldest.idle[0].idle_since_ns):
                oldest = origin
        if oldest is None:
            return None
        try:
            return oldest.idle.popleft()
        except IndexError:
            return None

    def free_place(self, origin: OriginPool) -> None:
        """A connection to `origin` is gone, or a dial failed: offer the place to who waits."""
        with self.lock:
            origin.open -= 1
            self.open -= 1
        self.serve_places(origin)

    def serve_places(self, first: OriginPool) -> None:
        """Offer free places to waiters: of `first`, then of the origin that waits longest."""
        while True:
            with self.lock:
                chosen: OriginPool | None = None
                if self.open < self.config.max_connections:
                    for origin in (first, *self._waiting_origins):
                        if origin.waiters and origin.open < self.config.max_connections_per_origin:
                            chosen = origin
                            break
                if chosen is None:
                    return
                waiter = chosen.waiters.popleft()
                self.note_waiters(chosen)
                chosen.open += 1
                self.open += 1
            if not waiter.offer(None):
                with self.lock:
                    chosen.open -= 1
                    self.open -= 1

    def note_waiters(self, origin: OriginPool) -> None:
        """Keep the set of origins with waiters true; under the lock."""
        if origin.waiters:
            self._waiting_origins.setdefault(origin, None)
        else:
            self._waiting_origins.pop(origin, None)

    def close_expired(self, now_ns: int) -> None:
        """Close the connections that have been idle for too long; on use and on poll."""
        for origin in tuple(self._origins.values()):
            idle = origin.idle
            while idle and now_ns - idle[0].idle_since_ns > self.max_idle_ns:
                try:
                    connection = idle.popleft()
                except IndexError:
                    break
                origin.discard(connection)

    def close(self, notify: Callable[[Waiter], object]) -> None:
        """Close idle connections and wake everybody else; a second call does nothing.

        Args:
            notify: called with each waiter, which no longer stands in line.
        """
        with self.lock:
            if self.closed:
                return
            self.closed = True
            origins = tuple(self._origins.values())
            waiters = [waiter for origin in origins for waiter in origin.waiters]
            for origin in origins:
                origin.waiters.clear()
            self._waiting_origins.clear()
        for waiter in waiters:
            notify(waiter)
        for origin in origins:
            while origin.idle:
                try:
                    connection = origin.idle.pop()
                except IndexError:
                    break
                origin.discard(connection)
        for connection in tuple(self.connections):
            connection.transport.abort()

    def stats(self) -> PoolStats:
        """Counts at this moment."""
        origins = tuple(self._origins.values())
        return PoolStats(
            open=self.open,
            idle=sum(len(origin.idle) for origin in origins),
            waiting=sum(len(origin.waiters) for origin in origins),
        )
