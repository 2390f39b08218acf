"""DatagramSession: what a UDP listener knows of one address: it lives from its first datagram until it is silent.

Invariant: OPEN, any number of MESSAGE, one CLOSED. A session has a timer of its own, which a datagram only notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbosock.connection.send import Send

if TYPE_CHECKING:
    from turbosock.reactor.address import SocketAddress
    from turbosock.server.udp_listener import UdpListener


class DatagramSession:
    """One address of a UDP listener that keeps sessions; made by its first datagram.

    Attributes:
        address: the peer's.
        user: whatever you want to find again.
        open: whether it has not ended.
        untaken, held: the events', which a listener bounds.
    """

    __slots__ = ("_last_ns", "_listener", "_timer", "address", "held", "open", "untaken", "user")

    def __init__(self, listener: UdpListener, address: SocketAddress, now_ns: int) -> None:
        self._listener = listener
        self.address = address
        self.user: Any = None
        self.open = True
        self.untaken = 0
        self.held = False
        self._last_ns = now_ns
        self._timer = listener.reactor.timers.add(now_ns + listener.session_ns, self)

    def send(self, data: bytes | bytearray | memoryview) -> Send:
        """Send a datagram there; see `UdpListener.send_to`."""
        return self._listener.send_to(data, self.address) if self.open else Send.CLOSED

    def close(self) -> None:
        """Forget the address; CLOSED follows. A datagram from there begins a new session."""
        if self.open:
            self.open = False
            self._listener.reactor.timers.cancel(self._timer)
            self._listener.forget_session(self)

    def note(self, now_ns: int) -> None:
        """For the listener: a datagram has come."""
        self._last_ns = now_ns

    def on_timer(self, now_ns: int) -> None:
        """It may have been silent for long enough."""
        due_ns = self._last_ns + self._listener.session_ns
        if due_ns <= now_ns:
            self.close()
        else:
            self._timer.move(due_ns)

    def on_room(self) -> None:
        """For the events: never called, because a session is not held."""

    def __repr__(self) -> str:
        return f"<DatagramSession {self.address!r}{'' if self.open else ' closed'}>"
