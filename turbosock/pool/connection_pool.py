"""The connections of one Client or Loop: limits in all, waiters of every origin, age, and the end.

Everything here is off the path of a request that finds an idle connection: that one asks its `OriginPool` alone, which
comes here when `attend_ns` says that there is something to do: somebody waits, too many are idle, the pool is closed,
or a second has passed since idle connections were last looked through. So no helper thread is needed.

Invariants: places taken never exceed `max_connections`, nor those of an origin its own limit; a place is offered to
exactly one waiter, and one that declines passes it on; the waiters of an origin are served in order, and origins in the
order in which they began to wait; `attend_ns` is written under the lock alone.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakSet, WeakValueDictionary

from turbosock import limits
from turbosock.config import PoolConfig
from turbosock.logs import area
from turbosock.pool.origin_pool import OriginKey, OriginPool, Place, Pooled, PooledConnection, Waiter, closed_error
from turbosock.pool.request_meter import RequestMeter
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.time_histogram import TimeCounts, TimeHistogram
from turbosock.reactor.timers import NEVER

_log = area("pool")
_SWEEP_NS = int(limits.IDLE_SWEEP_S * NS_PER_S)


class PoolStats(NamedTuple):
    """Counts of one pool at one moment, and since it was made.

    Attributes:
        open: connections, idle ones included, and places that are being dialled into.
        idle, in_use, dialling: its parts.
        waiting: callers that stand in line.
        origins: that are remembered.
        opened: connections made so far.
        expired: closed because they were idle, or alive, for too long, or had served enough.
        unfit: closed because their peer had closed, or spoken unasked, while they were idle.
        evicted: closed while idle to make room.
        bytes_in, bytes_out: moved by all of them, until each was closed or changed its protocol.
        queued: how long callers stood in line.
    """

    open: int
    idle: int
    waiting: int
    in_use: int
    dialling: int
    origins: int
    opened: int
    expired: int
    unfit: int
    evicted: int
    bytes_in: int
    bytes_out: int
    queued: TimeCounts


class HostCounts(NamedTuple):
    """The connections to one host and port at one moment.

    Attributes:
        host, port: as URLs say them; of a Unix socket its path, and 0.
        open, idle: connections, and those of them that nobody uses; places that are being dialled into are neither.
        active: requests under way on them.
    """

    host: str
    port: int
    open: int
    idle: int
    active: int


class ConnectionPool:
    """The connections of one Client or Loop.

    Args:
        config: the limits.
        alpn: the protocols that its connections may speak.

    Attributes:
        places: those of connections and of dials, in all.
        connections: every connection, idle or in use.
        wears: whether connections are let go at an age, or after so many exchanges.
        attend_ns: from when on a connection that comes back brings its origin here.
        quiet_ns: when a reactor last found no idle connection readable; 0 where none watches them.
        waiting: the origins with waiters, in the order in which they began to wait.
        opened_count, expired_count, unfit_count, evicted_count: see PoolStats.
        queued: how long callers stood in line.
        meter: counts requests, once `measure()` was called; None before.
    """

    __slots__ = (
        "_alpn",
        "_forgotten",
        "_gone_bytes_in",
        "_gone_bytes_out",
        "_max_lifetime_ns",
        "_max_requests",
        "_origins",
        "_sweep_ns",
        "attend_ns",
        "closed",
        "config",
        "connections",
        "evicted_count",
        "expired_count",
        "lock",
        "max_idle_ns",
        "meter",
        "opened_count",
        "places",
        "queued",
        "quiet_ns",
        "unfit_count",
        "waiting",
        "wears",
    )

    def __init__(self, config: PoolConfig, alpn: tuple[str, ...] = ("http/1.1",)) -> None:
        self.config = config
        self._alpn = alpn
        self.max_idle_ns = int(config.max_idle_s * NS_PER_S)
        self._max_lifetime_ns = NEVER if config.max_lifetime_s is None else int(config.max_lifetime_s * NS_PER_S)
        self._max_requests = NEVER if config.max_requests is None else config.max_requests
        self.lock = threading.Lock()
        self.quiet_ns = 0
        self.wears = config.max_requests is not None or config.max_lifetime_s is not None
        self.attend_ns = 0
        self._sweep_ns = 0
        self.closed = False
        self.places: WeakSet[Place] = WeakSet()
        self.connections: WeakSet[Pooled] = WeakSet()
        self._origins: OrderedDict[OriginKey, OriginPool] = OrderedDict()
        # Those that had to go, as long as a prepared request remembers them: it must not meet a second one.
        self._forgotten: WeakValueDictionary[OriginKey, OriginPool] = WeakValueDictionary()
        self.waiting: OrderedDict[OriginPool, None] = OrderedDict()
        self.opened_count = 0
        self.expired_count = 0
        self.unfit_count = 0
        self.evicted_count = 0
        self._gone_bytes_in = 0.0
        self._gone_bytes_out = 0.0
        self.queued = TimeHistogram()
        self.meter: RequestMeter | None = None

    @property
    def open(self) -> int:
        """Connections and reserved places in all."""
        return len(self.places)

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

    def may_share(self, key: OriginKey) -> bool:
        """Whether connections of such an origin may turn out to speak HTTP/2."""
        if key.forwarded or key.upgrades:
            return False
        return "h2" in self._alpn and (key.scheme == "https" or len(self._alpn) == 1)

    # Places

    def reserve(self, origin: OriginPool, *, spare: bool = False) -> Place | None:
        """Take a place for `origin`; closes the oldest idle connection of any where the total demands it.

        Args:
            spare: take a free place alone, and only where its connection can be idle as well; what is idle stays.

        Raises:
            ClientClosed: the pool is closed.
        """
        with self.lock:
            if not spare:
                origin.missed += 1
            if self.closed:
                raise closed_error()
            # A prepared request may know an origin that was forgotten here meanwhile, and wait in its line next.
            self._origins.setdefault(origin.key, origin)
            if origin.open >= self.config.max_connections_per_origin or (origin.shares and origin.dialling):
                return None
            victim = None
            if self.open >= self.config.max_connections:
                victim = None if spare else self._oldest_idle()
                if victim is None:
                    return None
            if spare and self._idle_soon() >= self.config.max_idle:
                return None
            place = self._take_place(origin, victim)
        self._close_victim(victim)
        return place

    def _idle_soon(self) -> int:
        """Idle connections, and those being dialled, each of which may be meant to be idle; under the lock."""
        return sum(len(origin.idle) for origin in self._origins.values()) + self.open - len(self.connections)

    def _oldest_idle(self) -> Pooled | None:
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
        return None if oldest is None else oldest.evict()

    def _take_place(self, origin: OriginPool, victim: Pooled | None) -> Place:
        """Count a new place for `origin`: a free one, or that of `victim`; under the lock."""
        if victim is not None:
            self._forget_connection(victim)
        place = Place()
        self.places.add(place)
        origin.places.add(place)
        return place

    def _forget_connection(self, connection: Pooled) -> None:
        """Take a connection, which its caller closes, out of the count; under the lock."""
        place = connection.place
        owner = connection.origin
        assert isinstance(owner, OriginPool) and isinstance(place, Place), "a pooled connection knows its place"
        connection.place = None
        owner.places.discard(place)
        self.places.discard(place)
        self.connections.discard(connection)
        transport = connection.transport
        self._gone_bytes_in += transport.bytes_in
        self._gone_bytes_out += transport.bytes_out

    def _close_victim(self, victim: Pooled | None) -> None:
        """Close a connection whose place was taken already: nobody else may be offered it."""
        if victim is not None:
            self.count_evicted()
            victim.close()

    def admit(self, connection: Pooled) -> None:
        """Count a connection that stands in its place."""
        with self.lock:
            self.connections.add(connection)
            self.opened_count += 1
            self._note()
        if _log.isEnabledFor(logging.DEBUG):
            self._log_change("opened", connection)

    def remove(self, connection: Pooled) -> None:
        """Count a connection that was closed no more, and offer its place; nothing where it is not counted."""
        origin = connection.origin
        with self.lock:
            if connection.place is None:
                return
            assert isinstance(origin, OriginPool), "a connection with a place has an origin"
            self._forget_connection(connection)
            self._note()
        if _log.isEnabledFor(logging.DEBUG):
            self._log_change("closed", connection)
        self.serve_places(origin)

    def _log_change(self, what: str, connection: Pooled) -> None:
        origin = connection.origin
        assert isinstance(origin, OriginPool), "a connection that was counted has an origin"
        host, is_open = origin.host, self.open
        _log.debug("connection to %s %s, %d open", host, what, is_open, extra={"host": host, "open": is_open})

    def free_place(self, origin: OriginPool, place: Place) -> None:
        """A dial failed, or was not needed: offer its place to who waits."""
        with self.lock:
            self.places.discard(place)
            origin.places.discard(place)
        self.serve_places(origin)

    # Waiters

    def settle(self, origin: OriginPool, now_ns: int) -> None:
        """A connection came back to `origin`: it may be wanted here or elsewhere, or be one too many."""
        if self.closed:
            origin.close_idle()
            return
        origin.hand_over()
        self.serve_places(origin)
        if len(self.connections) > self.config.max_idle:
            self._trim_idle()
        if now_ns >= self._sweep_ns:
            self.close_expired(now_ns)

    def _trim_idle(self) -> None:
        while True:
            with self.lock:
                if sum(len(other.idle) for other in self._origins.values()) <= self.config.max_idle:
                    return
                victim = self._oldest_idle()
            if victim is None:
                return
            self.count_evicted()
            victim.close()
            self.remove(victim)

    def serve_places(self, first: OriginPool) -> None:
        """Offer places to waiters, of `first`, then of the origin that waits longest.

        A place is a free one, or that of an idle connection which nobody asks for.
        """
        while self.waiting:
            with self.lock:
                chosen: OriginPool | None = None
                for origin in (first, *self.waiting):
                    if (
                        origin.waiters
                        and origin.open < self.config.max_connections_per_origin
                        and not (origin.shares and origin.dialling)
                    ):
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
                place = self._take_place(chosen, victim)
            self._close_victim(victim)
            if not waiter.offer(None, place):
                with self.lock:
                    self.places.discard(place)
                    chosen.places.discard(place)

    def note_waiters(self, origin: OriginPool) -> None:
        """Keep the set of origins with waiters true; under the lock."""
        if origin.waiters:
            self.waiting.setdefault(origin, None)
        else:
            self.waiting.pop(origin, None)
        self._note()

    def _note(self) -> None:
        """Say from when on this pool wants to see what comes back; under the lock."""
        if self.waiting or self.closed or len(self.connections) > self.config.max_idle:
            self.attend_ns = 0
        else:
            self.attend_ns = self._sweep_ns

    # Age

    def is_worn(self, connection: PooledConnection, now_ns: int) -> bool:
        """Whether a connection has served enough, or is too old, to be kept."""
        return connection.served >= self._max_requests or now_ns >= connection.retire_ns

    def retirement_ns(self, now_ns: int) -> int:
        """When a connection made now is too old, spread so that those made together do not end together."""
        if self._max_lifetime_ns == NEVER:
            return NEVER
        return now_ns + int(self._max_lifetime_ns * (1 - limits.LIFETIME_JITTER * random.random()))

    def close_expired(self, now_ns: int) -> None:
        """Close the connections that have been idle, or alive, for too long."""
        with self.lock:
            origins = tuple(self._origins.values())
            self._sweep_ns = now_ns + _SWEEP_NS
            self._note()
        for origin in origins:
            try:
                while now_ns - origin.idle[0].idle_since_ns > self.max_idle_ns:
                    expired = origin.idle.popleft()
                    self.count_expired()
                    origin.discard(expired)
            except IndexError:
                # None is left, or another thread took it.
                continue
            if self._max_lifetime_ns != NEVER:
                self._close_retired(origin, now_ns)

    def _close_retired(self, origin: OriginPool, now_ns: int) -> None:
        for connection in tuple(origin.idle):
            if now_ns >= connection.retire_ns:
                try:
                    origin.idle.remove(connection)
                except ValueError:
                    # Taken meanwhile; it is looked at again when it comes back.
                    continue
                self.count_expired()
                origin.discard(connection)

    # Counts

    def count_expired(self) -> None:
        """A connection is closed that was idle, or alive, for too long, or had served enough."""
        with self.lock:
            self.expired_count += 1

    def count_unfit(self) -> None:
        """An idle connection is closed whose peer has spoken or closed."""
        with self.lock:
            self.unfit_count += 1

    def count_evicted(self) -> None:
        """An idle connection is closed to make room."""
        with self.lock:
            self.evicted_count += 1

    # The end

    def close(self, notify: Callable[[Waiter], object]) -> None:
        """Close idle connections and wake everybody else; a second call ends what an interrupt broke off.

        Args:
            notify: called with each waiter, which then leaves the line.
        """
        with self.lock:
            self.closed = True
            self._note()
            origins = tuple(self._origins.values())
            waiters = [waiter for origin in origins for waiter in origin.waiters]
        for waiter in waiters:
            notify(waiter)
        with self.lock:
            for origin in origins:
                origin.waiters.clear()
            self.waiting.clear()
        for origin in origins:
            origin.close_idle()
        with self.lock:
            # A weak set is walked in steps: others discard from it under the lock.
            connections = tuple(self.connections)
        for connection in connections:
            connection.transport.abort()

    def retire(self) -> None:
        """Keep no connection from now on: idle ones are closed, others when they come back. Exchanges go on."""
        with self.lock:
            self.config = replace(self.config, max_idle=0)
            self._note()
        self._trim_idle()

    def drop_inherited(self) -> None:
        """In the child of a fork: close the copies of the parent's sockets, which stay open there, and start clean."""
        self.lock = threading.Lock()
        connections = tuple(self.connections)
        for origin in tuple(self._origins.values()):
            origin.idle.clear()
            origin.sessions.clear()
            origin.waiters.clear()
            origin.places = WeakSet()
        self.waiting.clear()
        self.places = WeakSet()
        self.connections = WeakSet()
        for connection in connections:
            connection.place = None
            connection.drop()

    def measure(self) -> RequestMeter:
        """Count requests from now on; the meter, which is the same each time."""
        with self.lock:
            if self.meter is None:
                self.meter = RequestMeter()
            for origin in (*self._origins.values(), *self._forgotten.values()):
                origin.meter = self.meter
            return self.meter

    def hosts(self) -> list[HostCounts]:
        """Counts of each host and port that is remembered, however many ways lead there."""
        found: dict[tuple[str, int], HostCounts] = {}
        with self.lock:
            for origin in self._origins.values():
                key = origin.key
                name = (key.host, key.port) if key.path is None else (key.path, 0)
                _, _, is_open, idle, active = found.get(name) or HostCounts(*name, 0, 0, 0)
                stands = sum(place.stands for place in tuple(origin.places))
                unused = min(stands, origin.idle_connections)
                if origin.sessions:
                    active += sum(len(session.engine.streams) for session in tuple(origin.sessions))
                else:
                    active += stands - unused
                found[name] = HostCounts(*name, is_open + stands, idle + unused, active)
        return list(found.values())

    def stats(self) -> PoolStats:
        """Counts at this moment."""
        with self.lock:
            places = len(self.places)
            connections = len(self.connections)
            transports = [connection.transport for connection in self.connections]
            # Of all this, threads take and give back idle connections alone without the lock.
            idle = sum(origin.idle_connections for origin in self._origins.values())
            return PoolStats(
                open=places,
                idle=idle,
                waiting=sum(len(origin.waiters) for origin in self._origins.values()),
                in_use=max(0, connections - idle),
                dialling=max(0, places - connections),
                origins=len(self._origins),
                opened=self.opened_count,
                expired=self.expired_count,
                unfit=self.unfit_count,
                evicted=self.evicted_count,
                bytes_in=int(self._gone_bytes_in + sum(transport.bytes_in for transport in transports)),
                bytes_out=int(self._gone_bytes_out + sum(transport.bytes_out for transport in transports)),
                queued=self.queued.counts(),
            )
