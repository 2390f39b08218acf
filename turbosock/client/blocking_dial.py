"""What a blocking exchange waits for before it has a connection: a place in the pool, a name, a connect.

Each wait ends at its deadline, and `interrupt()`, which any thread may call, ends it at once.
"""

from __future__ import annotations

import socket as socket_module
import threading
from typing import TYPE_CHECKING, Protocol

from turbosock import limits
from turbosock.client.dial_plan import DialPlan
from turbosock.config import Timeouts, TransportMode
from turbosock.errors import ConnectTimeout, Phase, ResolveError
from turbosock.pool.origin_pool import OriginKey, Place
from turbosock.reactor.clock import NS_PER_S, virtual
from turbosock.reactor.latch import Latch
from turbosock.reactor.poller import wait_for_any
from turbosock.reactor.resolver import Resolver
from turbosock.transport.connector import Connector, connect_with
from turbosock.transport.tls_transport import TlsTransport
from turbosock.transport.transport import SaeaTransport, StreamTransport, Transport

if TYPE_CHECKING:
    from turbosock.pool.origin_pool import OriginPool, PooledConnection
    from turbosock.reactor.clock import Clock
    from turbosock.tls.provider import TlsSession
    from turbosock.transport.dial import Dial
    from turbosock.transport.secure import TlsDialer

_LOOK_NS = int(limits.DIAL_LOOK_S * NS_PER_S)


class Interruptible(Protocol):
    """A wait that another thread can end."""

    def interrupt(self) -> None:
        """Wake the waiting thread."""


class BlockingWaiter:
    """A thread that stands in a pool's line.

    Attributes:
        interrupted, closed: why it woke up with nothing.
    """

    __slots__ = ("_gave_up", "_latch", "_lock", "_offered", "closed", "interrupted")

    def __init__(self) -> None:
        self._latch = Latch()
        self._lock = threading.Lock()
        self._gave_up = False
        self._offered: PooledConnection | Place | None = None
        self.interrupted = False
        self.closed = False

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        """See `pool.Waiter`; a thread that has given up declines."""
        with self._lock:
            if self._gave_up:
                return False
            self._offered = place if connection is None else connection
        self._latch.set()
        return True

    def interrupt(self) -> None:
        """Wake the thread up with nothing."""
        self.interrupted = True
        self._latch.set()

    def close(self) -> None:
        """The pool is closed: wake the thread up with nothing."""
        self.closed = True
        self._latch.set()

    def wait(self, timeout_ns: int) -> bool:
        """Wait for an offer or an interruption; False when the time passed first."""
        return self._latch.wait(timeout_ns / NS_PER_S)

    def sleep(self, delay_ns: int, clock: Clock) -> None:
        """Sleep so long, or until an interruption; in virtual time where that is the clock's."""
        passing = virtual(clock)
        if passing is None:
            self._latch.wait(delay_ns / NS_PER_S)
        else:
            passing.wait(delay_ns, lambda: self._latch.is_set)

    def take(self) -> PooledConnection | Place:
        """What was offered."""
        offered = self._offered
        assert offered is not None, "taken once, after an offer"
        self._offered = None
        return offered

    def give_up(self, origin: OriginPool, now_ns: int) -> None:
        """Take nothing from now on, and pass on what was offered at the last moment."""
        with self._lock:
            self._gave_up = True
            offered = self._offered
            self._offered = None
        if isinstance(offered, Place):
            origin.released(offered)
        elif offered is not None:
            origin.give_back(offered, now_ns)


class Dialler(Protocol):
    """On whose behalf a thread dials: a Response, or whoever keeps connections ready."""

    timeouts: Timeouts
    deadline_ns: int
    phase: Phase

    def check_deadline(self) -> None:
        """Raise where the dial is to end: at the deadline, or because it was cancelled."""


def dial_blocking(
    dialler: Dialler, key: OriginKey, resolver: Resolver, tls: TlsDialer, mode: TransportMode, clock: Clock
) -> Transport:
    """A connected transport to the origin.

    Raises:
        ResolveError, ConnectError: there is no address, or none accepted.
        ProxyError: a proxy on the way failed, or refused.
        TlsError: the handshake failed, or the server's certificate was refused.
        NetworkError: the system has no socket to give, or cannot set it up or wait for it.
        ConnectTimeout, TotalTimeout, Cancelled, ClientClosed.
    """
    timeouts = dialler.timeouts
    deadline_ns = min(clock.now_ns() + timeouts.connect_ns, dialler.deadline_ns)
    dialler.phase = Phase.RESOLVE
    dialler.check_deadline()
    plan = DialPlan(key)
    while not plan.known:
        try:
            plan.learn(resolver.resolve(plan.host, plan.port, deadline_ns, dialler.check_deadline))
        except ConnectTimeout:
            # Where the total deadline was the nearer one, it is named.
            dialler.check_deadline()
            raise
        except ResolveError as error:
            raise plan.not_found(error) from error.__cause__
    dialler.phase = Phase.CONNECT
    dial = plan.dial(clock, deadline_ns, timeouts, tls)
    try:
        dial.start()
        while dial.pending:
            _note_phase(dialler, dial)
            now_ns = clock.now_ns()
            dialler.check_deadline()
            if now_ns >= deadline_ns:
                raise ConnectTimeout(
                    f"no connection within connect_s={timeouts.connect_s} s{dial.tried()}; raise it or try later"
                )
            if now_ns >= dial.due_ns:
                dial.on_timeout()
                continue
            ready = wait_for_any(dial.watched, min(dial.due_ns - now_ns, _LOOK_NS), dial.wants_write)
            if ready:
                # One at a time: its step may close the others.
                dial.on_ready(ready[0])
        # A fast peer ends the handshake in the step that began it.
        _note_phase(dialler, dial)
        if dial.error is not None:
            raise dial.error
        dialler.check_deadline()
        taken: TlsSession | socket_module.socket | None = None
        try:
            if dial.session is not None:
                taken = session = dial.take_session()
                transport = TlsTransport(session)
                if key.scheme != "https":
                    # That was agreed on with a proxy, and not with the origin.
                    transport.tls = None
                return transport
            taken = sock = dial.take()
            return StreamTransport(sock) if mode is TransportMode.STREAM else SaeaTransport(sock)
        except BaseException:
            # The system refuses to set it up, and the dial has let go of it.
            if taken is not None:
                taken.close()
            raise
    finally:
        dial.close()


def _note_phase(dialler: Dialler, dial: Dial) -> None:
    """Each change of the phase is a moment of a timeline."""
    if dialler.phase is not dial.phase:
        dialler.phase = dial.phase


def connect_blocking(dialler: Dialler, key: OriginKey, connector: Connector, now_ns: int) -> Transport:
    """As dial_blocking, with what the connector makes instead of the network.

    Raises:
        TurbosockError: as the connector raises it.
        TotalTimeout, Cancelled, ClientClosed.
    """
    dialler.phase = Phase.CONNECT
    dialler.check_deadline()
    deadline_ns = min(now_ns + dialler.timeouts.connect_ns, dialler.deadline_ns)
    return connect_with(connector, key, None, deadline_ns)
