"""StreamListener: accepts stream connections for a reactor, and shakes hands where there is TLS; the base of listeners.

With `tls` a client shakes hands before its first byte is read (`tls_handshake.py`); what speaks no TLS, or stops in the
middle, is counted and closed.

Invariants: at most `max_connections` sessions and handshakes; while that many are open, or while the process has no
descriptors left, the listening socket is not watched and clients wait in its backlog. A step accepts at most
MAX_ACCEPTS_PER_TURN.
Left to others: what a connection does once it stands. A subclass makes a session of it (`_make_session`), and the
session calls `forget` when it has closed.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from turbosock import limits
from turbosock.config import TlsServerConfig, check_count, check_seconds
from turbosock.errors import LimitError, NetworkError, TlsError, TurbosockError
from turbosock.logs import area
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.poller import IN
from turbosock.reactor.sockets import ListenAddress, accept, listen, tune, unix_path
from turbosock.server.request import PeerAddress, RequestTls
from turbosock.server.tls_handshake import TlsHandshake
from turbosock.transport.tls_acceptor import TlsAcceptor
from turbosock.transport.tls_server_transport import TlsServerTransport
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.reactor import Reactor
    from turbosock.tls.provider import TlsSession

logger = area("server")

ACCEPT_RETRY_NS: Final = int(limits.ACCEPT_RETRY_S * NS_PER_S)


class Session(Protocol):
    """What a listener has of each connection that stands."""

    @property
    def gone(self) -> bool:
        """Whether it has ended, or gave its transport to another one."""

    def close(self) -> None:
        """The listener is closed: end at once."""


class StreamListener:
    """Accepts; see the module. Arguments, as far as they are not a subclass's own, are described there.

    Args:
        reactor: drives it.
        address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
        tls: the certificates to show, and what clients must; None for plaintext. Its files are read here, once.
        alpn: what the connections can speak, for TLS.
        max_connections: connections at once; more wait in the backlog.
        handshake_timeout_s: for the whole TLS handshake.
        backlog, reuse_port, dual_stack, mode: as in `sockets.listen`.

    Attributes:
        address: where it listens: (host, port) with the real port, or the path.
        closed: whether `close()` was called.
        timeouts: connections that were given up.
        handshakes: those under way.
        mask, queued: the reactor's.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        TlsError: there is no TLS engine for `tls`.
        NetworkError: the system refused to listen there; `errno` says why.
    """

    __slots__ = (
        "_accepted",
        "_crowded",
        "_exhausted",
        "_failed_handshakes",
        "_gone_bytes_in",
        "_gone_bytes_out",
        "_listening",
        "_path",
        "_retry",
        "_sessions",
        "_socket",
        "_tls",
        "_watching",
        "address",
        "closed",
        "handshake_ns",
        "handshakes",
        "mask",
        "max_connections",
        "queued",
        "reactor",
        "timeouts",
    )

    def __init__(
        self,
        reactor: Reactor,
        address: ListenAddress,
        *,
        tls: TlsServerConfig | None,
        alpn: tuple[str, ...],
        max_connections: int,
        handshake_timeout_s: float,
        backlog: int,
        reuse_port: bool,
        dual_stack: bool,
        mode: int | None,
    ) -> None:
        check_count("max_connections", max_connections, 1, limits.MAX_TIMERS // 2)
        check_count("backlog", backlog, 1, 65_535)
        self.reactor = reactor
        self.max_connections = max_connections
        self.handshake_ns = whole_ns("handshake_timeout_s", handshake_timeout_s)
        self.timeouts = 0
        self.handshakes: set[TlsHandshake] = set()
        self._accepted = 0
        self._crowded = 0
        self._exhausted = 0
        self._failed_handshakes = 0
        self._gone_bytes_in = 0
        self._gone_bytes_out = 0
        self._sessions: set[Any] = set()
        self.mask = 0
        self.queued = False
        self.closed = False
        self._listening = True
        self._tls = None if tls is None else TlsAcceptor(tls, alpn=alpn)
        self._listen_at(address, backlog=backlog, reuse_port=reuse_port, dual_stack=dual_stack, mode=mode)
        self._retry = reactor.timers.idle(self)
        self._watching = True

    def _listen_at(
        self, address: ListenAddress, *, backlog: int, reuse_port: bool, dual_stack: bool, mode: int | None
    ) -> None:
        """Listen there, and watch for clients."""
        self._socket = listen(address, backlog=backlog, reuse_port=reuse_port, dual_stack=dual_stack, mode=mode)
        self._path = unix_path(address) if isinstance(address, str) else None
        name = self._socket.getsockname()
        self.address: ListenAddress = name[:2] if isinstance(name, tuple) else name
        try:
            self.reactor.register(self._socket.fileno(), self, read=True, write=False)
        except TurbosockError:
            self._leave_address()
            raise

    def _make_session(self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None) -> Session:
        """A session on `transport`, which is its own from here on.

        Raises:
            LimitError: the reactor has no room for it; the transport is the caller's to close.
        """
        raise AssertionError("a listener says what its connections do")

    def stats(self) -> Any:
        """What happened so far."""
        raise AssertionError("a listener says what it counts")

    # What the reactor calls

    def on_ready(self, mask: int) -> None:
        """Clients wait: accept some of them."""
        for _ in range(limits.MAX_ACCEPTS_PER_TURN):
            if not self._listening:
                return
            if len(self._sessions) + len(self.handshakes) >= self.max_connections:
                self._crowded += 1
                self._watch(False)
                return
            try:
                sock = accept(self._socket)
            except NetworkError:
                # Their sockets stay in the backlog and would be reported in every turn.
                self._pause()
                self._watch(not self._retry.armed)
                return
            if sock is None:
                return
            fd = sock.fileno()
            try:
                self._admit(sock)
            except BaseException:
                self._give_up(sock, fd)
                raise
        self.reactor.requeue(self, IN)

    def on_timer(self, now_ns: int) -> None:
        """The process may have descriptors again, or the system memory."""
        self._watch(True)

    def _admit(self, sock: socket) -> None:
        tune(sock)
        try:
            peer = sock.getpeername()
        except OSError:
            # Reset while it waited.
            sock.close()
            return
        if self._tls is not None:
            self._begin_handshake(self._tls, sock, peer)
            return
        try:
            transport = SaeaTransport(sock, self.reactor)
        except (LimitError, NetworkError):
            self._exhausted += 1
            sock.close()
            return
        if self._begin(transport, peer, None):
            self._accepted += 1

    def _begin_handshake(self, acceptor: TlsAcceptor, sock: socket, peer: PeerAddress) -> None:
        try:
            session = acceptor.wrap(sock)
        except TlsError:
            # As above.
            sock.close()
            return
        except NetworkError:
            self._exhausted += 1
            sock.close()
            return
        try:
            self.handshakes.add(TlsHandshake(self, session, peer))
        except (LimitError, NetworkError):
            self._exhausted += 1
            session.close()
            return
        self._accepted += 1

    def _begin(self, transport: SaeaTransport, peer: PeerAddress, tls: RequestTls | None) -> bool:
        """Whether the reactor has room for a session on `transport`, which is closed otherwise."""
        try:
            session = self._make_session(transport, peer, tls)
        except LimitError:
            self._exhausted += 1
            transport.close()
            return False
        self._sessions.add(session)
        return True

    def _give_up(self, sock: socket, fd: int) -> None:
        """An interrupt met a client on its way from one owner to the next: close what was made, if nobody has it."""
        if any(session.transport is not None and session.transport.fd == fd for session in self._sessions):
            return
        handler = self.reactor.handler_of(fd)
        if isinstance(handler, (SaeaTransport, TlsHandshake)):
            handler.close()
        sock.close()

    def mend(self) -> None:
        """For the Loop, a turn of which broke off: nobody takes a place who is not there."""
        for handshake in tuple(self.handshakes):
            if handshake.over:
                self.handshakes.discard(handshake)
        for session in tuple(self._sessions):
            if session.transport is not None and session.transport.fd < 0:
                session.close()
            if session.gone:
                self._sessions.discard(session)
        self.after_close()

    def _pause(self) -> None:
        """Something has run out: try again in a while, or with the next turn where there is no timer left either."""
        self._exhausted += 1
        with contextlib.suppress(LimitError):
            self._retry.move(self.reactor.clock.now_ns() + ACCEPT_RETRY_NS)

    def _watch(self, wanted: bool) -> None:
        if self._watching is not wanted and self._listening:
            try:
                self.reactor.set_interest(self._socket.fileno(), read=wanted, write=False)
            except NetworkError:
                self._pause()
            else:
                self._watching = wanted

    def _leave_address(self) -> None:
        self.reactor.unregister(self._socket.fileno())
        self._socket.close()
        if self._path is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def secured(self, session: TlsSession, peer: PeerAddress) -> None:
        """For handshakes: one is done."""
        sock = session.socket
        fd = sock.fileno()
        try:
            tls = RequestTls(session.info(), session.peer_certificate_der, session.server_name)
            try:
                transport = TlsServerTransport(session, self.reactor)
            except (LimitError, NetworkError):
                self._exhausted += 1
                session.close()
            else:
                if self._begin(transport, peer, tls):
                    return
        except BaseException:
            self._give_up(sock, fd)
            raise
        self.after_close()

    def refuse_handshake(self, error: TurbosockError | None) -> None:
        """For handshakes: one has failed; None: in time."""
        self._failed_handshakes += 1
        if isinstance(error, TlsError) and error.reason == "sni_callback":
            logger.error("no certificate could be chosen for a client", exc_info=error.__cause__)

    def forget(self, session: Session, transport: SaeaTransport | None) -> None:
        """For sessions: one has closed; without a transport where an interrupt kept it from standing."""
        self._sessions.discard(session)
        self.after_close()
        if transport is not None:
            self._gone_bytes_in += int(transport.bytes_in)
            self._gone_bytes_out += int(transport.bytes_out)

    def count_timeout(self) -> None:
        """For sessions: one was given up."""
        self.timeouts += 1

    def after_close(self) -> None:
        """For sessions and handshakes: there is room for another client."""
        if not self._watching and not self._retry.armed:
            self._watch(True)

    # The end

    def close(self) -> None:
        """Stop listening, remove a Unix path and close every connection; a second call does nothing."""
        if self.closed:
            return
        self.closed = True
        self._stop_listening()
        for session in tuple(self._sessions):
            session.close()

    def _stop_listening(self) -> None:
        """Accept nobody any more, and remove a Unix path; a second call does nothing."""
        if not self._listening:
            return
        self._listening = False
        self.mask = 0
        self.reactor.timers.cancel(self._retry)
        self._leave_address()
        for handshake in tuple(self.handshakes):
            handshake.close()

    def _drop_inherited(self) -> None:
        """In the child of a fork: close its copies; the path is the parent's, who listens there."""
        self._path = None
        self.close()

    def __repr__(self) -> str:
        count = len(self._sessions) + len(self.handshakes)
        return f"<{type(self).__name__} {self.address!r} open={count}{' closed' if self.closed else ''}>"


def whole_ns(name: str, seconds: float) -> int:
    """The nanoseconds of an option in seconds, above 0.

    Raises:
        InvalidOption: it is no usable time; `name` is named.
    """
    check_seconds(name, seconds)
    return max(1, int(seconds * NS_PER_S))
