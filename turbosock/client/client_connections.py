"""ClientConnections: how a blocking client comes to a connection, and what becomes of what dropped responses held.

A connection is looked for by the thread that wants it: one that is idle, else a place to dial into, else a wait in
line. It is dialled by that thread, too, or by the one that keeps connections ready.

Invariants: a place that was reserved is given back by whatever fails on the way to its connection; a finalizer may run
inside anything, so it only leaves here what it found, and closes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from turbosock.client.blocking_dial import BlockingWaiter, connect_blocking, dial_blocking
from turbosock.client.http_version import has_prior_knowledge, speaks_http2
from turbosock.config import TransportMode
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.http2_stream import Http2Stream
from turbosock.errors import ClientClosed, InvalidOption, Phase, PoolTimeout
from turbosock.pool.origin_pool import OriginPool, Place
from turbosock.reactor.resolver import Resolver
from turbosock.transport.secure import TlsDialer
from turbosock.transport.transport import SaeaTransport, Transport

if TYPE_CHECKING:
    from turbosock.client.blocking_dial import Dialler
    from turbosock.client.chained_response import ChainedStreamedResponse
    from turbosock.client.response import Response
    from turbosock.config import Config
    from turbosock.connection.receive_ring import RingPool
    from turbosock.pool.connection_pool import ConnectionPool
    from turbosock.pool.origin_pool import OriginKey, PooledConnection, Waiter
    from turbosock.reactor.clock import Clock
    from turbosock.transport.connector import Source


class ClientConnections:
    """See the module.

    Args:
        config: the client's.
        pool: where they are kept.
        rings: what they receive into.
        source: the connector, or the network, and what stands around connections.
        clock: the client's.

    Attributes:
        closed: nothing is dialled any more.
        resolver: looks names up.
        secure: puts TLS on connections to https.
    """

    __slots__ = (
        "_abandoned",
        "_clock",
        "_config",
        "_dropped",
        "_now_ns",
        "_pool",
        "_rings",
        "_source",
        "closed",
        "resolver",
        "secure",
    )

    def __init__(self, config: Config, pool: ConnectionPool, rings: RingPool, source: Source, clock: Clock) -> None:
        self._config = config
        self._pool = pool
        self._rings = rings
        self._source = source
        self._clock = clock
        self._now_ns = clock.now_ns
        self.closed = False
        self.resolver = Resolver(clock=clock, custom=config.resolver)
        self.secure = TlsDialer(config.tls, alpn=config.alpn)
        # Connections of responses that were dropped, and such responses that are in links of the chain.
        self._abandoned: deque[PooledConnection] = deque()
        self._dropped: deque[ChainedStreamedResponse] = deque()

    def connect(self, response: Response) -> PooledConnection:
        """A connection for an exchange that found none idle: dialled, or waited for; for Response only."""
        origin = response.prepared.origin
        # A dial is dear enough to look around by the way: nothing else closes what nobody asks for any more.
        self._pool.close_expired(self._now_ns())
        self.close_abandoned()
        if origin.key.upgrades:
            stream = self._stream_of_session(origin.key)
            if stream is not None:
                return stream
        place: Place | None = None
        while place is None:
            place = origin.reserve()
            if place is not None:
                break
            now_ns = self._now_ns()
            idle = origin.take_idle(now_ns)
            if idle is None:
                offered = self._wait_for_connection(response, now_ns)
                if isinstance(offered, Place):
                    place = offered
                    break
                idle = offered
            if not response.retries or (isinstance(idle, Http2Stream) and idle.is_quiet()):
                return idle
            # The place of a connection that is probably stale serves a new one. A stream's connection was looked at.
            origin.discard(idle)
        return self.dial(response, origin, place)

    def _stream_of_session(self, key: OriginKey) -> Http2Stream | None:
        """A stream of a connection that requests to this origin use, where its server takes WebSockets on it."""
        pool = self._pool
        key = key._replace(upgrades=False)
        if pool.may_share(key):
            for session in tuple(pool.origin(key).sessions):
                # A Client's sessions are of this kind.
                stream: Http2Stream | None = session.vacate_for_websocket()  # type: ignore[attr-defined]
                if stream is not None:
                    return stream
        return None

    def dial(self, dialler: Dialler, origin: OriginPool, place: Place) -> PooledConnection:
        """A new connection in a place that was reserved; for whoever keeps connections ready, too.

        Raises:
            NetworkError, TlsError, ConnectTimeout, TotalTimeout, Cancelled, ClientClosed: the place is free again.
        """
        transport = None
        try:
            source = self._source
            if source.connector is None:
                mode = self._config.transport
                if has_prior_knowledge(self._config, origin.key):
                    # A connection that threads share never blocks in the kernel.
                    mode = TransportMode.SAEA
                transport = dial_blocking(dialler, origin.key, self.resolver, self.secure, mode, self._clock)
            else:
                transport = connect_blocking(dialler, origin.key, source.connector, self._now_ns())
            transport = source.wrapped(transport, origin.key, None)
            connection = self._made(transport, origin, place)
        except BaseException:
            origin.released(place)
            if transport is not None:
                transport.close()
            raise
        if self.closed:
            # close() may have looked for connections before this one stood.
            origin.discard(connection)
            raise ClientClosed("the client was closed while the request was under way")
        return connection

    def _made(self, transport: Transport, origin: OriginPool, place: Place) -> PooledConnection:
        """The connection on this transport, or the first stream of it."""
        config = self._config
        if not speaks_http2(transport, config, origin.key):
            make: type[Http1Connection] = Http1Connection
            if origin.key.upgrades:
                # Not with the module: few programs open WebSockets.
                from turbosock.connection.websocket_opening import OpeningConnection

                make = OpeningConnection
            connection = make(
                transport,
                self._rings,
                max_head_bytes=config.max_head_bytes,
                max_head_fields=config.max_head_fields,
                decodes=config.decode,
            )
            origin.opened(connection, place, self._now_ns())
            return connection
        if not isinstance(transport, SaeaTransport):
            raise InvalidOption("connector: HTTP/2 needs a transport that does not block")
        # Not with the module: programs that speak HTTP/1.1 alone need not have it.
        from turbosock.client.shared_http2 import SharedHttp2Session

        session = SharedHttp2Session(transport, self._rings, origin.key.scheme, config, self._now_ns)
        try:
            stream = origin.opened_session(session, place, self._now_ns())
            assert stream is not None, "a new session has room for one"
            origin.share_session()
        except BaseException:
            # Others may have found it already.
            session.close()
            raise
        return stream

    def abandon(self, connection: PooledConnection) -> None:
        """Close a connection whose response was dropped, later and elsewhere; for finalizers."""
        self._abandoned.append(connection)

    def abandon_links(self, response: ChainedStreamedResponse) -> None:
        """Leave the links of a response that was dropped, later and elsewhere; for finalizers."""
        self._dropped.append(response)

    def close_abandoned(self) -> None:
        """Close and leave what dropped responses held."""
        while self._dropped:
            try:
                response = self._dropped.popleft()
            except IndexError:
                # Another thread does the same, and took the last one.
                break
            response.end_abandoned()
        while self._abandoned:
            try:
                connection = self._abandoned.popleft()
            except IndexError:
                return
            origin = connection.origin
            assert isinstance(origin, OriginPool), "a client's connection knows its pool"
            origin.discard(connection)

    def _wait_for_connection(self, response: Response, now_ns: int) -> PooledConnection | Place:
        """Stand in line for a connection, or for a place to dial into.

        Raises:
            PoolTimeout, TotalTimeout, Cancelled, ClientClosed.
        """
        response.phase = Phase.QUEUE
        origin = response.prepared.origin
        waiter = BlockingWaiter()
        response.waiter = waiter
        try:
            # cancel() may have come before it could see the waiter.
            response.check_deadline()
            origin.wait(waiter)
            deadline_ns = min(now_ns + response.timeouts.pool_ns, response.deadline_ns)
            if waiter.wait(deadline_ns - now_ns):
                if waiter.closed:
                    raise ClientClosed("the client was closed while the request waited for a connection")
                if not waiter.interrupted:
                    return waiter.take()
            response.check_deadline()
            limit = self._config.pool.max_connections_per_origin
            raise PoolTimeout(
                f"no connection was free for {response.timeouts.pool_s} s: all {limit} to this origin, or all of the "
                "pool, are in use; close responses, raise the limits of PoolConfig, or raise pool_s"
            )
        except BaseException:
            origin.leave(waiter)
            waiter.give_up(origin, self._now_ns())
            raise
        finally:
            response.waiter = None
            origin.note_queued(self._now_ns() - now_ns)

    def close(self) -> None:
        """Close every connection; who waits for one wakes up, and who dials one finds out. Again does nothing."""
        self.closed = True
        self.close_abandoned()
        self._pool.close(_wake_closed)


def _wake_closed(waiter: Waiter) -> None:
    assert isinstance(waiter, BlockingWaiter), "a Client's waiters block"
    waiter.close()
