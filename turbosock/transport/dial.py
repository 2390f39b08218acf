"""Dialling: from a list of addresses to one connected, non-blocking socket, with TLS on it where that is asked for.

A `Dial` is a small state machine that never waits. `start()` begins; while `pending`, the descriptors of `watched` are
to be watched (for writing where `wants_write`, else for reading), `on_ready(fd)` takes the next step of the one that is
ready, and `on_timeout()` the step that is due at `due_ns`. A blocking caller and a Loop drive the same object.

Its stages, one after the other: a race of the addresses (`ConnectRace`), then on the winner alone the TLS handshake. A
handshake that fails or stalls ends the dial, as in curl: that address answered, another one of the same name would be
no safer, and the peer's words about the certificate are what the caller has to read.

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
from turbosock.tls.provider import DONE, WANTS_WRITE
from turbosock.transport.connect_race import ConnectRace

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.clock import Clock
    from turbosock.reactor.resolver import Address
    from turbosock.tls.provider import TlsSession

    Secure = Callable[[socket], TlsSession]


class Dial:
    """One dial over several addresses.

    Args:
        addresses: in the order to try, at least one; a Unix path is an Address of family AF_UNIX.
        clock: tells when steps began.
        deadline_ns: the end of everything; `due_ns` is never later.
        secure: wraps the connected socket for TLS; None leaves it plain.
        handshake_ns: what the handshake may take, at most.
        alpn: the protocols that the caller speaks; a server that chooses another one is refused.
        local: by family, the address of this machine to connect from; None leaves it to the system.

    Attributes:
        due_ns: when `on_timeout()` is to be called, unless something is ready before.
        fd: the descriptor that is connected, or -1.
        session: the TLS session once the handshake has begun, else None.
        error: why the dial failed.
    """

    __slots__ = (
        "_alpn",
        "_clock",
        "_handshake_ns",
        "_race",
        "_secure",
        "_socket",
        "connected",
        "deadline_ns",
        "due_ns",
        "error",
        "fd",
        "pending",
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
    ) -> None:
        self._race = ConnectRace(addresses, clock, local)
        self._alpn = alpn
        self._clock = clock
        self._secure = secure
        self._handshake_ns = handshake_ns
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
        else:
            self._race.on_ready(fd)
            self._after_race()

    def on_timeout(self) -> None:
        """`due_ns` has come: another address begins, or the handshake has taken too long."""
        if self.session is not None:
            error = ConnectTimeout("the TLS handshake took longer than handshake_s; raise it or try later")
            self._fail(error.during(Phase.TLS))
        elif self._race.next_ns < self.deadline_ns:
            self._race.on_timeout()
            self._after_race()

    def _after_race(self) -> None:
        """A step of the race was taken: it is won, lost, or goes on."""
        race = self._race
        if race.winner is not None:
            self._socket = race.take()
            self.fd = self._socket.fileno()
            self._begin_handshake(self._socket)
        elif race.failed:
            self._fail(race.error())
        else:
            self.due_ns = min(race.next_ns, self.deadline_ns)

    def _begin_handshake(self, sock: socket) -> None:
        if self._secure is None:
            self._succeed()
            return
        self.due_ns = min(self._clock.now_ns() + self._handshake_ns, self.deadline_ns)
        try:
            self.session = self._secure(sock)
        except TurbosockError as error:
            self._fail(error.during(Phase.TLS))
            return
        # The session owns the descriptor from here on.
        self._socket = None
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
        return session

    def close(self) -> None:
        """Give the attempt up; what was taken is not concerned."""
        self._race.close()
        if self._socket is not None:
            self._socket.close()
        if self.session is not None:
            self.session.close()
        self._socket = None
        self.session = None
        self.fd = -1
        self.pending = False
