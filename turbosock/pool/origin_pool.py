"""The connections of one origin: idle ones, places for more, and who waits.

Taking an idle connection is one pop and giving it back one append, most recently used first. Everything slower (age,
health, limits, waiters) happens off that path.

The order for a caller: `take_idle()`; without one `reserve()` a place and dial, then `opened(connection, place)` or
`released(place)`; without a place `wait(waiter)`, and the waiter is offered a connection, or a place to dial into. At
the end `give_back(connection)` or `discard(connection)`.

Invariants: a `Place` counts for as long as somebody holds it, and no longer: an interrupt between two owners loses
neither a place nor a connection, because what nobody refers to any more is not counted; a connection belongs to one
place and one origin for its life; an idle connection has no owner; one OriginPool stands for a key as long as anybody
knows it.
A waiter appends itself and then looks for an idle connection, and who gives back appends and then looks for a waiter,
and for the pool's end: whoever comes second sees the other, so no wake-up is lost, and no connection forgotten.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias
from weakref import WeakSet

from turbosock import limits
from turbosock.connection.http2_stream import Http2Stream
from turbosock.errors import ClientClosed
from turbosock.protocol.http2.settings import UNLIMITED
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.http2_session import Http2Session
    from turbosock.pool.connection_pool import ConnectionPool
    from turbosock.proxy_config import Proxy

HEALTH_CHECK_AFTER_NS = int(limits.HEALTH_CHECK_AFTER_S * NS_PER_S)


class OriginKey(NamedTuple):
    """What connections must have in common to be interchangeable.

    `scheme`, `host` and `port` are the URL's; for Unix sockets `host` is what the Host field says, and `path` the
    socket's path. `connect_to` is where the connection leads instead, (host, port) or the path of a Unix socket, and
    `local_addresses` from where; `hops` are the proxies on the way, the nearest first, credentials included. `upgrades`
    says that HTTP/1.1 is spoken for as long as it takes to change to another protocol (RFC 9110 §7.8). What one pool
    has once for all of its connections (TLS settings, resolver) is not part of it.
    """

    scheme: str
    host: str
    port: int
    path: str | None = None
    connect_to: tuple[str, int] | str | None = None
    local_addresses: tuple[tuple[str, int], ...] = ()
    hops: tuple[Proxy, ...] = ()
    upgrades: bool = False

    @property
    def forwarded(self) -> bool:
        """Whether the last proxy forwards the requests themselves, and makes no tunnel for them."""
        hops = self.hops
        return (
            bool(hops)
            and not self.upgrades
            and self.scheme == "http"
            and hops[-1].speaks_http
            and not hops[-1].tunnel
            and self.connect_to is None
        )


class Place:
    """The right to one connection; counted by the pool's weak sets until it is let go or given up.

    Attributes:
        stands: whether a connection stands in it, and it is not being dialled into any more.
    """

    __slots__ = ("__weakref__", "stands")

    def __init__(self) -> None:
        self.stands = False


# What serves one exchange at a time: a connection of HTTP/1.1, or one of the streams of an HTTP/2 session.
PooledConnection: TypeAlias = "Http1Connection | Http2Stream"
# What stands in a place.
Pooled: TypeAlias = "Http1Connection | Http2Session"


class Waiter(Protocol):
    """Somebody who waits for a connection."""

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        """Take a connection, or else a reserved place to dial into; False declines it.

        Called on the thread that gave the connection back, without the pool's lock; a session's own may be held.
        """


class OriginPool:
    """The connections to one origin.

    Attributes:
        host: what the host is called in limiters: with its port, or a Unix socket's path.
        idle: connections that wait for an exchange, the one used last at the right.
        places: those of its connections and dials.
        waiters: who stands in line for it.
        sessions: those of HTTP/2, whose streams these connections are.
        shares: whether connections are, or may turn out to be, sessions: one dial at a time finds out.
        told_streams: how many streams a server of it took last; a new session opens no more before it is told.
        missed: how often nothing was idle, and a place was asked for.
        meter: counts the requests to it, or None.
    """

    __slots__ = (
        "__weakref__",
        "_keep",
        "_pool",
        "_take",
        "host",
        "idle",
        "key",
        "meter",
        "missed",
        "places",
        "sessions",
        "shares",
        "told_streams",
        "waiters",
    )

    def __init__(self, pool: ConnectionPool, key: OriginKey) -> None:
        self._pool = pool
        self.key = key
        self.host = f"{key.host}:{key.port}" if key.path is None else f"unix:{key.path}"
        self.idle: deque[PooledConnection] = deque()
        # Bound once, for the two calls of every request.
        self._take = self.idle.pop
        self._keep = self.idle.append
        self.places: WeakSet[Place] = WeakSet()
        self.waiters: deque[Waiter] = deque()
        self.sessions: list[Http2Session] = []
        self.shares = pool.may_share(key)
        self.told_streams = UNLIMITED
        self.missed = 0
        self.meter = pool.meter

    def watch(self, take: Callable[[], PooledConnection] | None) -> None:
        """Take idle connections through `take`, which raises IndexError where `idle.pop` would; None ends that."""
        self._take = self.idle.pop if take is None else take

    @property
    def open(self) -> int:
        """Connections and reserved places."""
        return len(self.places)

    def take_idle(self, now_ns: int) -> PooledConnection | None:
        """The most recently used idle connection that is fit for use, or None."""
        if not self.idle:
            return self._vacant() if self.sessions else None
        try:
            connection = self._take()
        except IndexError:
            # Another thread was faster.
            return self._vacant()
        if now_ns - connection.idle_since_ns < HEALTH_CHECK_AFTER_NS:
            return connection
        if now_ns - self._pool.quiet_ns < HEALTH_CHECK_AFTER_NS:
            # The reactor has just looked at every idle connection.
            return connection
        return self._first_fit(connection, now_ns)

    def _vacant(self) -> PooledConnection | None:
        """A further stream of a session that has a place for one, or None."""
        for session in self.sessions:
            stream = session.vacate()
            if stream is not None:
                return stream
        return None

    def _first_fit(self, connection: PooledConnection, now_ns: int) -> PooledConnection | None:
        """`connection` or an older one, after asking whether it expired, and whether its peer has spoken or closed."""
        while not self._is_kept(connection, now_ns):
            try:
                connection = self.idle.pop()
            except IndexError:
                return self._vacant()
        return connection

    def give_back(self, connection: PooledConnection, now_ns: int) -> None:
        """Keep a reusable connection for the next exchange, or hand it to who waits."""
        pool = self._pool
        if pool.wears and pool.is_worn(connection, now_ns):
            pool.count_expired()
            self.discard(connection)
            return
        connection.idle_since_ns = now_ns
        self._keep(connection)
        if now_ns >= pool.attend_ns:
            pool.settle(self, now_ns)

    def hand_over(self, session: Http2Session | None = None) -> None:
        """Give an idle connection to the first waiter who takes it, or streams to as many as there are.

        Args:
            session: make none but streams of this one, whose lock the caller may hold; None: of any.
        """
        while self.waiters:
            try:
                connection = self._take()
            except IndexError:
                vacant = self._vacant() if session is None else session.vacate()
                if vacant is None:
                    return
                connection = vacant
            with self._pool.lock:
                waiter = self.waiters.popleft() if self.waiters else None
                self._pool.note_waiters(self)
            if waiter is not None and waiter.offer(connection, None):
                if self.sessions:
                    # A session may have room for all of them.
                    continue
                return
            # Back where it was; whoever began to wait meanwhile is seen by the next round.
            self._keep(connection)
            if self._pool.closed:
                # close() looked while the connection was in nobody's hands but ours.
                self.close_idle()
                return

    def note_queued(self, wait_ns: int) -> None:
        """Somebody has left the line, well or not."""
        self._pool.queued.note(wait_ns)

    @property
    def max_idle_ns(self) -> int:
        """For how long a connection may be idle."""
        return self._pool.max_idle_ns

    def count_expired(self) -> None:
        """Its user closes one that was idle, or alive, for too long."""
        self._pool.count_expired()

    def count_unfit(self) -> None:
        """Its user closes an idle one whose peer has spoken or closed."""
        self._pool.count_unfit()

    def close_idle(self) -> None:
        """Close every idle connection; for ConnectionPool."""
        while self.idle:
            try:
                connection = self._take()
            except IndexError:
                return
            self.discard(connection)

    def reserve(self) -> Place | None:
        """A place to dial into, or None where the limits allow no more connections.

        Raises:
            ClientClosed: the pool is closed.
        """
        return self._pool.reserve(self)

    def reserve_spare(self) -> Place | None:
        """A place for a connection that nobody waits for: as `reserve()`, but no idle connection makes room for it."""
        return self._pool.reserve(self, spare=True)

    def check_idle(self, now_ns: int) -> None:
        """Close the idle connections that expired, or whose peer has spoken or closed; each costs a system call."""
        fit: list[PooledConnection] = []
        try:
            # All but the newest, which most requests take ...
            while len(self.idle) > 1:
                connection = self.idle.popleft()
                if self._is_kept(connection, now_ns):
                    fit.append(connection)
        except IndexError:
            # Other threads took the rest.
            pass
        finally:
            fit.reverse()
            self.idle.extendleft(fit)
        # ... and that one once the others are back, so that nobody dials meanwhile who need not.
        try:
            connection = self.idle.pop()
        except IndexError:
            pass
        else:
            if self._is_kept(connection, now_ns):
                self.idle.append(connection)
        if self.waiters:
            self.hand_over()
        if self._pool.closed:
            self.close_idle()

    def _is_kept(self, connection: PooledConnection, now_ns: int) -> bool:
        """Whether a connection taken out of `idle` is fit to be idle on; it is closed otherwise."""
        pool = self._pool
        if now_ns - connection.idle_since_ns > pool.max_idle_ns or now_ns >= connection.retire_ns:
            pool.count_expired()
        elif connection.transport.is_quiet():
            return True
        else:
            pool.count_unfit()
        self.discard(connection)
        return False

    def opened(self, connection: Http1Connection, place: Place, now_ns: int) -> None:
        """`connection` stands in `place` from now on."""
        connection.origin = self
        connection.retire_ns = self._pool.retirement_ns(now_ns)
        connection.place = place
        place.stands = True
        self._pool.admit(connection)
        if self.shares:
            # It speaks HTTP/1.1: there is no reason to wait for each other.
            self.shares = False
            self._pool.serve_places(self)

    def released(self, place: Place) -> None:
        """Give a reserved place up: the dial failed. A second call does nothing."""
        self._pool.free_place(self, place)

    def discard(self, connection: PooledConnection) -> None:
        """Close a connection and free its place; a second call does nothing. The place of a stream is its session's."""
        connection.close()
        if not isinstance(connection, Http2Stream):
            self._pool.remove(connection)
        elif self.waiters and self.sessions:
            self.hand_over(connection.session)

    def hand_out(self, connection: Http1Connection) -> None:
        """Count a connection no more that speaks another protocol now; it is its taker's, and its place is free."""
        self._pool.remove(connection)

    def discard_idle(self, connection: PooledConnection) -> None:
        """As `discard`, of one that is idle, or between two owners."""
        try:
            self.idle.remove(connection)
        except ValueError:
            # Taken out already, by a pool that closes, say.
            pass
        self.discard(connection)

    def retire_idle(self, stream: Http2Stream) -> bool:
        """Close a stream if it is idle; whether it was. Who takes it meanwhile keeps it."""
        try:
            self.idle.remove(stream)
        except ValueError:
            return False
        self.discard(stream)
        return True

    def evict(self) -> Pooled | None:
        """Take out what was used least recently, for its place; None: nothing here is idle. Under the pool's lock.

        A session is idle where all of its streams are.
        """
        try:
            oldest = self.idle[0]
            if not isinstance(oldest, Http2Stream):
                self.idle.remove(oldest)
                return oldest
        except (IndexError, ValueError):
            # take_idle() asks for no lock; what it took comes back, and is looked for again then.
            return None
        session = oldest.session
        # First, so that nobody gets a further stream of it.
        self.leave_session(session)
        taken: list[Http2Stream] = []
        for stream in tuple(session.streams):
            try:
                self.idle.remove(stream)
            except ValueError:
                # One is in use, or was taken by another thread at this moment.
                self.idle.extendleft(reversed(taken))
                self.sessions.append(session)
                return None
            taken.append(stream)
        return session

    # Sessions

    def opened_session(self, session: Http2Session, place: Place, now_ns: int) -> Http2Stream | None:
        """As `opened`, for a connection that turned out to be a session: its first stream, for who dialled.

        Raises:
            NetworkError: the system cannot watch it; nobody but the caller knows of it.
        """
        session.origin = self
        session.retire_ns = self._pool.retirement_ns(now_ns)
        session.place = place
        session.places = min(session.places, max(1, self.told_streams))
        stream = session.vacate()
        session.idle_since_ns = now_ns
        # Before others find it: nothing is said ahead of the preface.
        session.begin()
        self.sessions.append(session)
        self._pool.admit(session)
        # Last: who sees that nobody dials any more finds the session.
        place.stands = True
        if session.closed:
            # Its peer has gone already, and what its end took back came before this.
            self.leave_session(session)
            self._pool.remove(session)
        return stream

    def share_session(self) -> None:
        """Who waited to see what a connection would be gets a stream of it; and if there are too few, a place."""
        if self.waiters:
            self.hand_over()
            if self.waiters:
                self._pool.serve_places(self)

    def leave_session(self, session: Http2Session) -> None:
        """A session takes no further exchanges."""
        try:
            self.sessions.remove(session)
        except ValueError:
            # It has left already.
            pass

    def session_ended(self, session: Http2Session) -> None:
        """A session is closed: its place is free."""
        self._pool.remove(session)

    @property
    def idle_connections(self) -> int:
        """How many connections are idle: of sessions, those without an open stream."""
        if not self.sessions:
            return len(self.idle)
        return sum(1 for session in tuple(self.sessions) if not session.engine.streams)

    @property
    def dialling(self) -> bool:
        """Whether somebody dials; under the pool's lock."""
        return any(not place.stands for place in self.places)

    def wait(self, waiter: Waiter) -> None:
        """Stand in line; the waiter may be offered something before this returns.

        Raises:
            ClientClosed: the pool is closed, and nobody would come.
        """
        with self._pool.lock:
            if self._pool.closed:
                raise closed_error()
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


def closed_error() -> ClientClosed:
    """What a closed pool raises."""
    return ClientClosed("the connection pool is closed: what it belongs to was closed")
