"""Connections by origin: idle ones kept for the next exchange, limits in all and to one origin, waiters in order.

An `OriginPool` is everything about one key (scheme, host, port or path). Taking an idle connection is one pop and
giving it back one append, most recently used first. Everything slower (expiry, health, limits, waiters) happens under
one lock and off that path.

The order for a caller: `take_idle()`; without one `reserve()` a place and dial, then `opened(connection)` or
`released()`; without a place `wait(waiter)`, and the waiter is offered a connection, or a place to dial into. At the
end `give_back(connection)` or `discard(connection)`.

Invariants: `open` counts connections and reserved places, 0 <= open <= its limit; an idle connection has no owner; a
place is offered to exactly one waiter, and one that declines passes it on; waiters are served in order; one OriginPool
stands for a key as long as anybody knows it.
A waiter appends itself and then looks for an idle connection, and who gives back appends and then looks for a waiter,
and for the pool's end: whoever comes second sees the other, so no wake-up is lost, and no connection forgotten.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol
from weakref import WeakValueDictionary

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

    __slots__ = ("__weakref__", "_keep", "_pool", "_take", "idle", "key", "open", "waiters")

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
        if now_ns - self._pool.quiet_ns < HEALTH_CHECK_AFTER_NS:
            # The reactor has just looked at every idle connection.
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
        self._keep(connection)
        pool = self._pool
        if pool.waiting or pool.closed or len(pool.connections) > pool.config.max_idle:
            pool.settle(self)

    def hand_over(self) -> None:
        """Give an idle connection to the first waiter who takes it, if there are both; for ConnectionPool."""
        while self.waiters:
            try:
                connection = self._take()
            except IndexError:
                return
            with self._pool.lock:
                waiter = self.waiters.popleft() if self.waiters else None
                self._pool.note_waiters(self)
            if waiter is not None and waiter.offer(connection):
                return
            # Back where it was; whoever began to wait meanwhile is seen by the next round.
            self._keep(connection)
            if self._pool.closed:
                # close() looked while the connection was in nobody's hands but ours.
                self.close_idle()
                return

    @property
    def max_idle_ns(self) -> int:
        """For how long a connection may be idle."""
        return self._pool.max_idle_ns

    def close_idle(self) -> None:
        """Close every idle connection; for ConnectionPool."""
        while self.idle:
            try:
                connection = self._take()
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
        """Stand in line; the waiter may be offered something before this returns.

        Raises:
            ClientClosed: the pool is closed, and nobody would come.
        """
        with self._pool.lock:
            if self._pool.closed:
                raise _closed_error()
            self.waiters.append(waiter)
            self._pool.note_waiters(self)
        self.hand_over()
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

    Attributes:
        open: connections and reserved places in all.
        connections: every connection, idle or in use.
        quiet_ns: when a reactor last found no idle connection readable; 0 where none watches them.
        waiting: the origins with waiters, in the order in which they began to wait.
    """

    __slots__ = (
        "_forgotten",
        "_origins",
        "closed",
        "config",
        "connections",
        "lock",
        "max_idle_ns",
        "open",
        "quiet_ns",
        "waiting",
    )

    def __init__(self, config: PoolConfig) -> None:
        self.config = config
        self.max_idle_ns = int(config.max_idle_s * SECOND_NS)
        self.lock = threading.Lock()
        self.quiet_ns = 0
        self.closed = False
        self.open = 0
        self.connections: set[Http1Connection] = set()
        self._origins: OrderedDict[OriginKey, OriginPool] = OrderedDict()
        # Those that had to go, as long as a prepared request remembers them: it must not meet a second one.
        self._forgotten: WeakValueDictionary[OriginKey, OriginPool] = WeakValueDictionary()
        self.waiting: OrderedDict[OriginPool, None] = OrderedDict()

    def origin(self, key: OriginKey) -> OriginPool:
        """The pool of one origin, made at first use."""
        with self.lock:
            origin = self._origins.get(key)
            if origin is None:
                origin = self._forgotten.pop(key, None) or OriginPool(self, key)
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
                self._forgotten[key] = origin
                return

    def reserve(self, origin: OriginPool) -> bool:
        """Take a place for `origin`; closes the oldest idle connection of any where the total demands it.

        Raises:
            ClientClosed: the pool is closed.
        """
        with self.lock:
            if self.closed:
                raise _closed_error()
            if origin.open >= self.config.max_connections_per_origin:
                return False
            victim = None
            if self.open >= self.config.max_connections:
                victim = self._oldest_idle()
                if victim is None:
                    return False
            # A prepared request may know an origin that was forgotten here meanwhile.
            self._origins.setdefault(origin.key, origin)
            self._take_place(origin, victim)
        self._close_victim(victim)
        return True

    def _oldest_idle(self) -> Http1Connection | None:
        """The idle connection that was used least recently, no longer idle, or None; under the lock."""
        oldest: OriginPool | None = None
        oldest_ns = 0
        for origin in self._origins.values():
            try:
                since_ns = origin.idle[0].idle_since_ns
            except IndexError:
                continue
            if oldest is None or since_ns < oldest_ns:
                oldest = origin
                oldest_ns = since_ns
        if oldest is None:
            return None
        try:
            return oldest.idle.popleft()
        except IndexError:
            # take_idle() asks for no lock; what it took comes back, and is looked for again then.
            return None

    def _take_place(self, origin: OriginPool, victim: Http1Connection | None) -> None:
        """Count a new place for `origin`: a free one, or that of `victim`; under the lock."""
        if victim is None:
            self.open += 1
        else:
            owner = victim.origin
            assert isinstance(owner, OriginPool), "a pooled connection knows its pool"
            owner.open -= 1
        origin.open += 1

    def _close_victim(self, victim: Http1Connection | None) -> None:
        """Close a connection whose place was taken already: nobody else may be offered it."""
        if victim is not None:
            victim.close()
            self.connections.discard(victim)

    def settle(self, origin: OriginPool) -> None:
        """A connection came back to `origin` and may be wanted here or elsewhere, or be one too many."""
        if self.closed:
            origin.close_idle()
            return
        origin.hand_over()
        self.serve_places(origin)
        while True:
            with self.lock:
                if sum(len(other.idle) for other in self._origins.values()) <= self.config.max_idle:
                    return
                victim = self._oldest_idle()
            if victim is None:
                return
            owner = victim.origin
            assert isinstance(owner, OriginPool), "a pooled connection knows its pool"
            owner.discard(victim)

    def free_place(self, origin: OriginPool) -> None:
        """A connection to `origin` is gone, or a dial failed: offer the place to who waits."""
        with self.lock:
            origin.open -= 1
            self.open -= 1
        self.serve_places(origin)

    def serve_places(self, first: OriginPool) -> None:
        """Offer places to waiters, of `first`, then of the origin that waits longest.

        A place is a free one, or that of an idle connection which nobody asks for.
        """
        while self.waiting:
            with self.lock:
                chosen: OriginPool | None = None
                for origin in (first, *self.waiting):
                    if origin.waiters and origin.open < self.config.max_connections_per_origin:
                        chosen = origin
                        break
                if chosen is None:
                    return
                victim = None
                if self.open >= self.config.max_connections:
                    victim = self._oldest_idle()
                    if victim is None:
                        return
                waiter = chosen.waiters.popleft()
                self.note_waiters(chosen)
                self._take_place(chosen, victim)
            self._close_victim(victim)
            if not waiter.offer(None):
                with self.lock:
                    chosen.open -= 1
                    self.open -= 1

    def note_waiters(self, origin: OriginPool) -> None:
        """Keep the set of origins with waiters true; under the lock."""
        if origin.waiters:
            self.waiting.setdefault(origin, None)
        else:
            self.waiting.pop(origin, None)

    def close_expired(self, now_ns: int) -> None:
        """Close the connections that have been idle for too long."""
        with self.lock:
            origins = tuple(self._origins.values())
        for origin in origins:
            try:
                while now_ns - origin.idle[0].idle_since_ns > self.max_idle_ns:
                    origin.discard(origin.idle.popleft())
            except IndexError:
                # None is left, or another thread took it.
                continue

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
            self.waiting.clear()
        for waiter in waiters:
            notify(waiter)
        for origin in origins:
            origin.close_idle()
        for connection in tuple(self.connections):
            connection.transport.abort()

    def drop_inherited(self) -> None:
        """In the child of a fork: close the copies of the parent's sockets, which stay open there, and start clean."""
        self.lock = threading.Lock()
        for origin in tuple(self._origins.values()):
            origin.idle.clear()
            origin.waiters.clear()
            origin.open = 0
        self.waiting.clear()
        self.open = 0
        for connection in tuple(self.connections):
            connection.transport.drop()
        self.connections.clear()

    def stats(self) -> PoolStats:
        """Counts at this moment."""
        with self.lock:
            origins = tuple(self._origins.values())
        return PoolStats(
            open=self.open,
            idle=sum(len(origin.idle) for origin in origins),
            waiting=sum(len(origin.waiters) for origin in origins),
        )


def _closed_error() -> ClientClosed:
    return ClientClosed("the connection pool is closed: what it belongs to was closed")
