"""DialSteps: a dial inside a Loop: look-up, attempts and their deadlines, each as a step.

What an attempt is, and which address comes next, is `transport.dial`'s business; here it is given its turns. What the
connection is for is a subclass's.

Invariants: between the steps of a pending dial exactly the descriptors that it wants watched are registered, and during
a step none of them is.
"""

from __future__ import annotations

import socket as socket_module
from typing import TYPE_CHECKING, Any, Protocol

from turbosock.client.dial_plan import DialPlan
from turbosock.errors import Cancelled, ClientClosed, ConnectTimeout, Phase, TotalTimeout, TurbosockError
from turbosock.reactor.resolver import Lookup
from turbosock.transport.connector import connect_with
from turbosock.transport.tls_transport import TlsTransport
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.client.loop_services import LoopServices
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginKey
    from turbosock.tls.provider import TlsSession
    from turbosock.transport.connector import Connector
    from turbosock.transport.dial import Dial
    from turbosock.transport.secure import TlsDialer
    from turbosock.transport.transport import Transport

_CONNECT = Phase.CONNECT
_RESOLVE = Phase.RESOLVE


class DialingTarget(Protocol):
    """For whom a dial is."""

    timeouts: Timeouts
    deadline_ns: int
    phase: Phase

    @property
    def dial(self) -> DialSteps | None: ...

    @dial.setter
    def dial(self, none: None) -> None: ...

    def on_connected(self, connection: Any) -> None:
        """The dial succeeded; what stands is the target's."""

    def fail(self, error: TurbosockError) -> None:
        """The dial failed."""

    def break_off(self, error: BaseException) -> None:
        """A step raised what is not the network's, and will raise it again: end, and the dial with it."""


class _Watch:
    """One descriptor of a dial, as the reactor knows it: several may be under way at once."""

    __slots__ = ("_dial", "_fd", "mask", "queued")

    def __init__(self, dial: DialSteps, fd: int) -> None:
        self._dial = dial
        self._fd = fd
        self.mask = 0
        self.queued = False

    def on_ready(self, mask: int) -> None:
        """An attempt ended, well or not, or the handshake can go on."""
        self._dial.on_ready(self._fd)


class DialSteps:
    """A dial inside a Loop; see the module. A subclass says what becomes of the connection (`_stand`).

    Args:
        target: for whom it is.
        loop: gives it its turns.
        key: where to.
        secure: puts TLS on connections to an https key.
    """

    __slots__ = (
        "_dial",
        "_target",
        "_loop",
        "_key",
        "_lookup",
        "_plan",
        "_secure",
        "_shakes",
        "_timer",
        "_watched",
        "deadline_ns",
    )

    def __init__(self, target: DialingTarget, loop: LoopServices, key: OriginKey, secure: TlsDialer) -> None:
        self._target: DialingTarget | None = target
        self._loop = loop
        self._key = key
        self._secure = secure
        self._plan = DialPlan(key)
        # Whether its steps may be dear ones.
        self._shakes = key.scheme == "https" or any(hop.scheme == "https" for hop in key.hops)
        now_ns = loop.reactor.clock.now_ns()
        self.deadline_ns = min(now_ns + target.timeouts.connect_ns, target.deadline_ns)
        self._timer = loop.reactor.timers.idle(self)
        self._lookup: Lookup | None = None
        self._dial: Dial | None = None
        # The descriptors that are registered.
        self._watched: list[int] = []

    def arm(self) -> None:
        """For the loop, which gives it a turn to begin in: the deadline stands from now on."""
        if self._target is not None and not self._timer.armed:
            self._timer.move(self.deadline_ns)

    @property
    def begun(self) -> bool:
        """Whether it goes on by itself; not so before `start()`, nor where a turn broke off on the way to it."""
        lookup = self._lookup
        return self._dial is not None or (lookup is not None and not lookup.finished)

    def start(self) -> None:
        """Begin, in the loop's thread, or go on after a turn that broke off; a second call does nothing."""
        if self._target is None or self.begun:
            return
        if self._lookup is not None:
            # Answered, and the answer did not come here.
            self.on_resolved(self._lookup)
            return
        plan = self._plan
        try:
            connector = self._loop.source.connector
            if connector is not None:
                self._connect_with(connector)
                return
            self._resolve_or_connect(plan)
        except TurbosockError as error:
            self._fail(error)
        except BaseException as error:
            self._break_off(error)
            raise

    def _resolve_or_connect(self, plan: DialPlan) -> None:
        target = self._target
        assert target is not None, "a dial ends with its exchange"
        while not plan.known:
            target.phase = _RESOLVE
            self._lookup = lookup = self._loop.reactor.resolver.start(plan.host, plan.port, self)
            if not lookup.finished:
                return
            self._lookup = None
            if lookup.error is not None:
                self._fail(plan.not_found(lookup.error))
                return
            plan.learn(list(lookup.addresses))
        self._connect()

    def _connect_with(self, connector: Connector) -> None:
        """All of it in one step: the connector answers at once."""
        assert self._target is not None, "asked for by start()"
        self._target.phase = _CONNECT
        transport = connect_with(connector, self._key, self._loop.reactor, self.deadline_ns)
        self._hand_over(transport)

    def on_resolved(self, lookup: Lookup) -> None:
        """The name has its answer."""
        if lookup is not self._lookup:
            # A turn broke off: before the look-up was known here, or after `start()` had gone on with it.
            return
        self._lookup = None
        plan = self._plan
        if lookup.error is not None:
            self._fail(plan.not_found(lookup.error))
            return
        try:
            plan.learn(list(lookup.addresses))
            self._resolve_or_connect(plan)
        except TurbosockError as error:
            self._fail(error)
        except BaseException as error:
            self._break_off(error)
            raise

    def _connect(self) -> None:
        target = self._target
        assert target is not None, "a dial ends with its exchange"
        target.phase = _CONNECT
        clock = self._loop.reactor.clock
        self._dial = dial = self._plan.dial(clock, self.deadline_ns, target.timeouts, self._secure)
        dial.start()
        self._after_step(dial)

    def _after_step(self, dial: Dial) -> None:
        if self._target is not None and self._target.phase is not dial.phase:
            # Each change is a moment of a timeline.
            self._target.phase = dial.phase
        if dial.connected:
            self._succeed(dial)
        elif dial.error is not None:
            self._fail(dial.error)
        else:
            for fd in dial.watched:
                self._watched.append(fd)
                self._loop.reactor.register(fd, _Watch(self, fd), read=not dial.wants_write, write=dial.wants_write)
            self._timer.move(dial.due_ns)

    def _unwatch(self) -> None:
        """Before any step, which may close descriptors: a number may be another socket's right after."""
        while self._watched:
            self._loop.reactor.unregister(self._watched[-1])
            self._watched.pop()

    def on_ready(self, fd: int) -> None:
        """The descriptor `fd` is ready."""
        dial = self._dial
        if dial is None or fd not in self._watched:
            return
        try:
            if self._shakes and not self._loop.dials.take_handshake_step():
                # Enough for one turn. It stays registered, so that the poller reports it again in the next one.
                return
            self._unwatch()
            dial.on_ready(fd)
            self._after_step(dial)
        except TurbosockError as error:
            self._fail(error)
        except BaseException as error:
            self._break_off(error)
            raise

    def on_timer(self, now_ns: int) -> None:
        """A step is due, or all of the time is over."""
        dial = self._dial
        target = self._target
        try:
            if now_ns >= self.deadline_ns:
                if target is not None and now_ns >= target.deadline_ns:
                    self._fail(TotalTimeout(f"the total deadline of {target.timeouts.total_s} s passed; raise it"))
                else:
                    tried = "" if dial is None else dial.tried()
                    self._fail(ConnectTimeout(f"no connection within connect_s{tried}; raise it or try later"))
            elif dial is not None and dial.pending:
                self._unwatch()
                dial.on_timeout()
                self._after_step(dial)
        except TurbosockError as error:
            self._fail(error)
        except BaseException as error:
            self._break_off(error)
            raise

    def _succeed(self, dial: Dial) -> None:
        loop = self._loop
        transport: SaeaTransport
        fd = dial.fd
        # Whoever closes the descriptor, if something breaks off.
        owner: Dial | TlsSession | socket_module.socket | SaeaTransport = dial
        try:
            if dial.session is not None:
                owner = session = dial.take_session()
                owner = transport = TlsTransport(session, loop.reactor)
                if self._key.scheme != "https":
                    # That was agreed on with a proxy, and not with the origin.
                    transport.tls = None
            else:
                owner = sock = dial.take()
                owner = transport = SaeaTransport(sock, loop.reactor)
        except BaseException:
            # select() has no room for its number, say. An interrupt may have come right after it was registered.
            loop.reactor.unregister(fd)
            owner.close()
            raise
        self._hand_over(transport)

    def _hand_over(self, transport: Transport) -> None:
        """The connection stands, once what the loop's connector puts around it does."""
        loop = self._loop
        if self._target is not None:
            transport = loop.source.wrapped(transport, self._key, loop.reactor)
        if self._target is None:
            # The connector ended the exchange meanwhile, and this dial with it.
            transport.close()
            return
        assert isinstance(transport, SaeaTransport), "whoever made it has looked"
        self._stand(transport)

    def _stand(self, transport: SaeaTransport) -> None:
        """The connection stands: the target takes it."""
        raise AssertionError("a dial says what it is for")

    def _release(self) -> None:
        """The dial has failed: give back what was taken for it."""

    def _fail(self, error: TurbosockError) -> None:
        target = self._target
        if target is None:
            return
        # Whatever breaks off in here, the place is given back, and the target is told.
        try:
            self._end()
            dial = self._dial
            if dial is not None:
                self._unwatch()
                dial.close()
        finally:
            try:
                self._release()
            finally:
                target.fail(error)

    def _break_off(self, error: BaseException) -> None:
        """As `Exchange.break_off`, which ends this dial too; nothing where the exchange has its connection already."""
        target = self._target
        if target is not None:
            target.break_off(error)

    def _end(self) -> None:
        target = self._target
        self._target = None
        if target is not None:
            target.dial = None
        self._loop.dials.under_way.discard(self)
        self._loop.reactor.timers.cancel(self._timer)
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None

    def orphan(self) -> None:
        """The exchange is over: an attempt under way is given up."""
        if self._target is not None:
            self._fail(Cancelled("the exchange was cancelled"))

    def drop(self) -> DialingTarget | None:
        """In the child of a fork: close the copy of the socket, which the parent's dial goes on with. Whose it was."""
        target = self._target
        self._target = None
        self._lookup = None
        self._watched.clear()
        if self._dial is not None:
            self._dial.close()
        return target

    def close(self) -> None:
        """The loop is closed."""
        target = self._target
        if target is not None:
            target.fail(ClientClosed("the loop was closed while the request waited for its connection"))
