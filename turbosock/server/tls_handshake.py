"""TlsHandshake: one accepted connection from its TLS handshake's first byte to its last, in the reactor's steps.

A step computes signatures and checks certificates: a millisecond, where others take microseconds. So one turn takes
MAX_HANDSHAKES_PER_TURN of them, and the rest wait in line for the next one. The whole has one deadline, which no byte
moves: a client that drips is out of time like one that is silent.

A handshake that fails is over without a word beyond the alert that the engine sends. The client may be in the middle
of a flight, so its connection lingers before it is closed (`lingering.py`).

Invariants: not a byte beyond the handshake is read here; a handshake ends once, given to its listener or closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.connection.lingering import LINGER_NS, MORE, OVER, Lingering
from turbosock.errors import TlsError, TurbosockError
from turbosock.reactor.poller import IN
from turbosock.reactor.sockets import discard, end_output
from turbosock.tls.provider import DONE, WANTS_WRITE

if TYPE_CHECKING:
    from turbosock.server.request import PeerAddress
    from turbosock.server.stream_listener import StreamListener
    from turbosock.tls.provider import TlsSession


class TlsHandshake:
    """One handshake of a listener's; see the module.

    Args:
        listener: whose it is; its `secured` is called, or `refuse_handshake`.
        session: on the accepted socket, its handshake not begun; closed here unless it is given to the listener.
        peer: the client's address.

    Attributes:
        mask, queued: the reactor's.

    Raises:
        LimitError: a timer, or a higher descriptor, than the reactor takes.
    """

    __slots__ = ("_fd", "_lingering", "_listener", "_session", "_timer", "_writing", "mask", "peer", "queued")

    def __init__(self, listener: StreamListener, session: TlsSession, peer: PeerAddress) -> None:
        reactor = listener.reactor
        self._listener = listener
        self._session: TlsSession | None = session
        self.peer = peer
        self.mask = 0
        self.queued = False
        self._writing = False
        # Of a client whose handshake has failed.
        self._lingering: Lingering | None = None
        self._fd = session.socket.fileno()
        self._timer = reactor.timers.idle(self)
        reactor.register(self._fd, self, read=True, write=False)
        try:
            # Only now, when it is whole: an interrupt in these lines must not leave half of one to be called.
            self._timer.move(reactor.clock.now_ns() + listener.handshake_ns)
        except TurbosockError:
            reactor.unregister(self._fd)
            raise

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self._session is None

    def on_ready(self, mask: int) -> None:
        """Take the next step, in this turn or the next one."""
        session = self._session
        if session is None:
            return
        if self._lingering is not None:
            self._linger(session, self._lingering)
            return
        reactor = self._listener.reactor
        if not reactor.handshakes_left:
            reactor.defer(self, mask)
            return
        reactor.handshakes_left -= 1
        try:
            wanted = session.handshake()
        except TurbosockError as error:
            self._fail(session, error)
            return
        if wanted == DONE:
            self._session = None
            self._end()
            self._listener.secured(session, self.peer)
        else:
            self._watch(writing=wanted == WANTS_WRITE)

    def on_timer(self, now_ns: int) -> None:
        """The client took too long, to shake hands or to go away."""
        if self._lingering is None:
            self._listener.timeouts += 1
            self._listener.refuse_handshake(None)
        self.close()

    def _watch(self, *, writing: bool) -> None:
        if self._writing is not writing:
            self._writing = writing
            self._listener.reactor.set_interest(self._fd, read=not writing, write=writing)

    def _fail(self, session: TlsSession, error: TurbosockError) -> None:
        self._listener.refuse_handshake(error)
        gone = isinstance(error, TlsError) and error.reason == "closed"
        if gone or not end_output(session.socket):
            self.close()
            return
        self._lingering = Lingering()
        self._watch(writing=False)
        self._timer.move(self._listener.reactor.clock.now_ns() + LINGER_NS)

    def _linger(self, session: TlsSession, lingering: Lingering) -> None:
        scratch = bytearray(limits.TLS_RECORD_BYTES)
        left = lingering.turn(lambda: discard(session.socket, scratch))
        if left == OVER:
            self.close()
        elif left == MORE:
            self._listener.reactor.requeue(self, IN)

    def close(self) -> None:
        """Give the client up; a second call does nothing."""
        session = self._session
        if session is not None:
            self._session = None
            self._end()
            session.close()
            self._listener.after_close()

    def _end(self) -> None:
        """Nothing of the reactor's, nor of the listener's, refers to this any more."""
        reactor = self._listener.reactor
        self.mask = 0
        reactor.timers.cancel(self._timer)
        reactor.unregister(self._fd)
        self._listener.handshakes.discard(self)
