"""Dialling: from a list of addresses to one connected, non-blocking socket, with TLS on it where that is asked for.

A `Dial` is a small state machine that never waits. `start()` begins with the first address; while `pending`, the
socket `fd` is to be watched (for writing where `wants_write`, else for reading), and `on_ready()` takes the next step:
the connect, then the handshake. `attempt_deadline_ns` bounds the step, so that a first address that swallows packets
leaves time for the others, and a handshake that stalls ends; `on_timeout()` gives it up. A blocking caller and a Loop
drive the same object.

Invariants: at most one socket is open; the dial ends exactly once, `connected` or with its `error`, which names every
address that was tried. A handshake that fails ends the dial: another address of the same name would be no safer.
Racing of addresses (RFC 8305 §5) is left to a later layer; their order is the resolver's.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from turbosock.errors import ConnectError, ConnectTimeout, Phase, TurbosockError
from turbosock.reactor.sockets import (
    CONNECTED,
    PENDING_CONNECT,
    connect_result,
    explain,
    open_tcp,
    open_unix,
    start_connect,
    tune,
)
from turbosock.tls.failures import wrong_protocol
from turbosock.tls.provider import DONE, WANTS_WRITE

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.clock import Clock
    from turbosock.reactor.resolver import Address
    from turbosock.tls.provider import TlsSession

    Secure = Callable[[socket], TlsSession]

# An address is given at least this long before the next one is tried, however little time is left for all.
MIN_ATTEMPT_NS = 250_000_000


class Dial:
    """One dial over several addresses.

    Args:
        addresses: in the order to try, at least one; a Unix path is an Address of family AF_UNIX.
        clock: tells when attempts began.
        deadline_ns: the end of all attempts.
        secure: wraps the connected socket for TLS; None leaves it plain.
        handshake_ns: what the handshake may take, at most.
        alpn: the protocols that the caller speaks; a server that chooses another one is refused.

    Attributes:
        fd: what is to be watched while `pending`.
        session: the TLS session once the handshake has begun, else None.
        error: why the dial failed.
    """

    __slots__ = (
        "_addresses",
        "_alpn",
        "_clock",
        "_failures",
        "_handshake_ns",
        "_index",
        "_secure",
        "_socket",
        "attempt_deadline_ns",
        "connected",
        "deadline_ns",
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
    ) -> None:
        assert addresses, "a resolver answers with an address or an error"
        self._addresses = addresses
        self._alpn = alpn
        self._clock = clock
        self._failures: list[str] = []
        self._index = 0
        self._secure = secure
        self._handshake_ns = handshake_ns
        self._socket: socket | None = None
        self.deadline_ns = deadline_ns
        self.attempt_deadline_ns = deadline_ns
        self.connected = False
        self.pending = False
        self.wants_write = True
        self.error: TurbosockError | None = None
        self.session: TlsSession | None = None
        self.fd = -1

    def start(self) -> None:
        """Begin; afterwards the dial is `connected`, `pending`, or has its `error`.

        Raises:
            NetworkError: this process has no socket to give (origin LOCAL).
        """
        self._next()

    def _next(self) -> None:
        while self._index < len(self._addresses):
            address = self._addresses[self._index]
            if address.family == getattr(socket_module, "AF_UNIX", -1):
                sock = open_unix()
            else:
                sock = open_tcp(address.family)
                tune(sock)
            code = start_connect(sock, address.sockaddr)
            if code == CONNECTED or code in PENDING_CONNECT:
                self._socket = sock
                self.fd = sock.fileno()
                self.wants_write = True
                now_ns = self._clock.now_ns()
                left = len(self._addresses) - self._index
                share_ns = max((self.deadline_ns - now_ns) // left, MIN_ATTEMPT_NS)
                self.attempt_deadline_ns = min(now_ns + share_ns, self.deadline_ns)
                self.pending = code != CONNECTED
                if not self.pending:
                    self._on_connected()
                return
            sock.close()
            self._failed(explain(code))
        self._fail(ConnectError("could not connect: " + "; ".join(self._failures)).during(Phase.CONNECT))

    def _failed(self, reason: str) -> None:
        sockaddr = self._addresses[self._index].sockaddr
        where = sockaddr if isinstance(sockaddr, str) else f"{sockaddr[0]} port {sockaddr[1]}"
        self._failures.append(f"{where}: {reason}")
        self._index += 1

    def _fail(self, error: TurbosockError) -> None:
        self.close()
        self.error = error

    def _on_connected(self) -> None:
        sock = self._socket
        assert sock is not None, "a connect succeeds on a socket"
        if self._secure is None:
            self.pending = False
            self.connected = True
            return
        self.pending = True
        self.attempt_deadline_ns = min(self._clock.now_ns() + self._handshake_ns, self.deadline_ns)
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
        self.pending = False
        self.connected = True

    def on_ready(self) -> None:
        """What was watched for has happened: finish, or take the next step."""
        assert self.pending, "only a pending dial has a next step"
        if self.session is not None:
            self._shake_hands(self.session)
            return
        assert self._socket is not None, "a pending connect has a socket"
        code = connect_result(self._socket)
        if code == CONNECTED:
            self._on_connected()
            return
        self.close()
        self._failed(explain(code))
        self._next()

    def on_timeout(self) -> None:
        """The step's time is over: go on with the next address, or end where the peer stalls the handshake."""
        if self.session is not None:
            error = ConnectTimeout("the TLS handshake took longer than handshake_s; raise it or try later")
            self._fail(error.during(Phase.TLS))
            return
        self.close()
        self._failed("no answer in time")
        self._next()

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
        if self._socket is not None:
            self._socket.close()
        if self.session is not None:
            self.session.close()
        self._socket = None
        self.session = None
        self.fd = -1
        self.pending = False
