"""Dialling: from a list of addresses to one connected, non-blocking socket, with TLS on it where that is asked for.

A `Dial` is a small state machine that never waits. `start()` begins; while `pending`, the descriptors of `watched` are
to be watched (for writing where `wants_write`, else for reading), `on_ready(fd)` takes the next step of the one that is
ready, and `on_timeout()` the step that is due at `due_ns`. A blocking caller and a Loop drive the same object.

Its stages, one after the other: a race of the addresses (`ConnectRace`), then on the winner alone the way through
proxies, where there are some (`ProxyPath`), and the TLS handshake. A handshake that fails or stalls ends the dial, as
in curl: that address answered, another one of the same name would be no safer, and the peer's words about the
certificate are what the caller has to read.

Invariants: the dial ends exactly once, `connected` or with its `error`; a descriptor of `watched` is closed only inside
`on_ready`, `on_timeout` and `close`, so whoever stops watching before calling these never watches another's. Its end,
`deadline_ns`, is for the caller to keep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from turbosock.errors import ConnectTimeout, Phase, TurbosockError
from turbosock.reactor.timers import NEVER
from turbosock.tls.failures import wrong_protocol
from turbosock.tls.provider import DONE, WANTS_WRITE, TlsSession
from turbosock.transport.connect_race import ConnectRace

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.clock import Clock
    from turbosock.reactor.resolver import Address
    from turbosock.tls.carrier import SocketCarrier
    from turbosock.transport.proxy_path import ProxyPath

    Secure = Callable[[socket | SocketCarrier | TlsSession], TlsSession]


class Dial:
    """One dial over several addresses.

    Args:
        addresses: in the order to try, at least one; a Unix path is an Address of family AF_UNIX.
        clock: tells when steps began.
        deadline_ns: the end of everything; `due_ns` is never later.
        secure: wraps the connected socket for TLS, or what a path made of it; None leaves it as it is.
        handshake_ns: what the handshake may take, at most, and each stage of a path.
        alpn: the protocols that the caller speaks; a server that chooses another one is refused.
        local: by family, the address of this machine to connect from; None leaves it to the system.
        path: the way through proxies, of which `addresses` are the nearest one's; None: there are none.

    Attributes:
        due_ns: when `on_timeout()` is to be called, unless something is ready before.
        fd: the descriptor that is connected, or -1.
        session: the TLS session once its handshake has begun, or that with a proxy where none follows; else None.
        phase: what is being done.
        error: why the dial failed.
    """

    __slots__ = (
        "_alpn",
        "_carrier",
        "_clock",
        "_handshake_ns",
        "_path",
        "_race",
        "_secure",
        "_socket",
        "connected",
        "deadline_ns",
        "due_ns",
        "error",
        "fd",
        "pending",
        "phase",
        "session",
        "wants_write",
    )

    def __init__(
        self,
        addresses: Sequence[Address],
        clock: Clock,
        deadline_ns: int,
        secure: Secure | None = None,
        handshake_ns: int = 0,
        alpn: tuple[str, ...] = (),
        local: Mapping[int, tuple[Any, ...]] | None = None,
        path: ProxyPath | None = None,
    ) -> None:
        self._race = ConnectRace(addresses, clock, local)
        self._alpn = alpn
        self._clock = clock
        self._secure = secure
        self._handshake_ns = handshake_ns
        self._path = path
        self.phase = Phase.CONNECT if path is None else Phase.PROXY
        # What a path made of the winner: a session with a proxy.
        self._carrier: TlsSession | None = None
        # The race's winner.
        self._socket: socket | None = None
        self.deadline_ns = deadline_ns
        self.due_ns = deadline_ns
        self.connected = False
        self.pending = False
        self.wants_write = True
        self.error: TurbosockError | None = None
        self.session: TlsSession | None = None
        self.fd = -1

    def start(self) -> None:
        """Begin; afterwards the dial is `connected`, `pending`, or has its `error`."""
        self.pending = True
        self._race.start()
        self._after_race()

    @property
    def watched(self) -> Collection[int]:
        """The descriptors to watch while `pending`."""
        return self._race.attempts.keys() if self.fd < 0 else (self.fd,)

    def on_ready(self, fd: int) -> None:
        """The descriptor `fd` of `watched` is ready: take its next step."""
        assert self.pending, "only a pending dial has a next step"
        if self.session is not None:
            self._shake_hands(self.session)
        elif self._path is not None and self.fd >= 0:
            self._walk(self._path)
        else:
            self._race.on_ready(fd)
            self._after_race()

    def on_timeout(self) -> None:
        """`due_ns` has come: another address begins, or the handshake has taken too long."""
        if self.session is not None:
            error = ConnectTimeout("the TLS handshake took longer than handshake_s; raise it or try later")
            self._fail(error.during(Phase.TLS))
        elif self._path is not None and self.fd >= 0:
            words = f"the proxy {self._path.proxy.url} took longer than handshake_s; raise it or try later"
            self._fail(ConnectTimeout(words).during(Phase.PROXY))
        elif self._race.next_ns < self.deadline_ns:
            self._race.on_timeout()
            self._after_race()

    def _after_race(self) -> None:
        """A step of the race was taken: it is won, lost, or goes on."""
        race = self._race
        if race.winner is not None:
            self._socket = sock = race.take()
            self.fd = sock.fileno()
            if self._path is None:
                self._begin_handshake(sock)
            else:
                self._path.begin(sock)
                self._socket = None
                self._allow_a_stage()
                self._walk(self._path)
        elif race.failed:
            error = race.error()
            self._fail(error if self._path is None else self._path.unreachable(error))
        else:
            self.due_ns = min(race.next_ns, self.deadline_ns)

    def _allow_a_stage(self) -> None:
        self.due_ns = min(self._clock.now_ns() + self._handshake_ns, self.deadline_ns)

    def _walk(self, path: ProxyPath) -> None:
        """Take the next step through the proxies."""
        stage = path.stage
        try:
            wanted = path.step()
        except TurbosockError as error:
            self._fail(error)
            return
        self.wants_write = wanted == WANTS_WRITE
        if wanted != DONE:
            if path.stage != stage:
                self._allow_a_stage()
            return
        carrier = path.take()
        self._path = None
        if isinstance(carrier, TlsSession):
            self._carrier = carrier
            if self._secure is None:
                self.session = carrier
        else:
            self._socket = carrier.socket
        self._begin_handshake(carrier)

    def _begin_handshake(self, over: socket | SocketCarrier | TlsSession) -> None:
        if self._secure is None:
            self._succeed()
            return
        self.phase = Phase.TLS
        self._allow_a_stage()
        try:
            self.session = self._secure(over)
        except TurbosockError as error:
            self._fail(error.during(Phase.TLS))
            return
        # The session owns the descriptor from here on.
        self._socket = self._carrier = None
        self._shake_hands(self.session)

    def _shake_hands(self, session: TlsSession) -> None:
        try:
            wanted = session.handshake()
        except TurbosockError as error:
            self._fail(error.during(Phase.TLS))
            return
        self.wants_write = wanted == WANTS_WRITE
        if wanted != DONE:
            return
        if session.alpn is not None and session.alpn not in self._alpn:
            self._fail(wrong_protocol(session.alpn, session.host).during(Phase.TLS))
            return
        self._succeed()

    def _succeed(self) -> None:
        self.pending = False
        self.connected = True
        self.due_ns = NEVER

    def _fail(self, error: TurbosockError) -> None:
        self.close()
        self.error = error

    def tried(self) -> str:
        """What became of each address, in brackets, for a message about too little time; "" once one is connected."""
        tried = self._race.tried() if self.fd < 0 else ""
        return f" ({tried})" if tried else ""

    def take(self) -> socket:
        """The connected plain socket; it is the caller's from here on, as `session` is where there is one."""
        sock = self._socket
        assert self.connected and sock is not None, "only a connected dial without TLS has a socket to take"
        self._socket = None
        return sock

    def take_session(self) -> TlsSession:
        """The session, shaken hands; it is the caller's from here on."""
        session = self.session
        assert self.connected and session is not None, "only a connected dial with TLS has a session to take"
        self.session = None
        self._carrier = None
        return session

    def close(self) -> None:
        """Give the attempt up; what was taken is not concerned."""
        self._race.close()
        if self._socket is not None:
            self._socket.close()
        if self._path is not None:
            self._path.close()
        if self._carrier is not None:
            self._carrier.close()
        if self.session is not None:
            self.session.close()
        self._socket = None
        self._carrier = None
        self.session = None
        self.fd = -1
        self.pending = False
