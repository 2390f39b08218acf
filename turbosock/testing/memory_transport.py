"""MemoryTransport and MemoryStreamTransport: turbosock's two kinds of transport, over a socket in memory.

They differ from those over the system's sockets where these ask the system: who waits, asks the socket itself, and a
reactor has no descriptor to watch, so the transport puts itself into its line.
"""

from __future__ import annotations

import socket as socket_module
import threading
from typing import TYPE_CHECKING, cast

from turbosock import limits
from turbosock.reactor.poller import IN, OUT
from turbosock.reactor.sockets import WOULD_BLOCK
from turbosock.testing.memory_socket import MemorySocket
from turbosock.transport.transport import SLACK_NS, SaeaTransport, StreamTransport, Transport, Waiter

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.testing.network_socket import NetworkSocket

_get_ident = threading.get_ident


class _OverMemory(Transport):
    """What both kinds ask their socket instead of the system."""

    __slots__ = ()

    memory: MemorySocket | NetworkSocket

    # There is no descriptor that the system could move a file's bytes to.
    moves_files = False

    def end_output(self) -> bool:
        try:
            self.memory.shutdown(socket_module.SHUT_WR)
        except OSError:
            # Closed meanwhile.
            return False
        return True

    def discard(self, scratch: bytearray | memoryview) -> int:
        try:
            count = self.memory.recv_into(scratch)
        except BlockingIOError:
            return WOULD_BLOCK
        except OSError:
            # As reactor.sockets.discard: none will come any more, for whatever reason.
            return 0
        self.bytes_in += count
        return count

    def drop(self) -> None:
        self.memory.forget()
        super().drop()

    def _wait(self, budget_ns: int, *, write: bool) -> bool:
        return self.memory.wait(budget_ns, write)

    def make_waiter(self) -> Waiter:
        return self.memory


class MemoryStreamTransport(_OverMemory, StreamTransport):
    """A kernel-blocking socket in memory: the wait is the receive itself."""

    __slots__ = ("memory",)

    memory: MemorySocket

    def __init__(self, sock: MemorySocket) -> None:
        self.memory = sock
        super().__init__(cast(socket_module.socket, sock))

    def await_readable(self, budget_ns: int) -> None:
        off_ns = self.receive_budget_ns - budget_ns
        if off_ns > SLACK_NS or off_ns < -SLACK_NS or self.receive_budget_ns < 0:
            self.memory.receive_timeout_ns = budget_ns
            self.receive_budget_ns = budget_ns

    def allow_send(self, budget_ns: int) -> None:
        off_ns = self.send_budget_ns - budget_ns
        if off_ns > SLACK_NS or off_ns < -SLACK_NS or self.send_budget_ns < 0:
            self.memory.send_timeout_ns = budget_ns
            self.send_budget_ns = budget_ns


class MemoryTransport(_OverMemory, SaeaTransport):
    """A non-blocking socket in memory.

    Args:
        sock: the connection.
        reactor: drives it: whenever the socket is ready for what is asked of it, the transport puts itself in the
            reactor's line, as a poller would. None for a blocking caller.

    Invariant: outside `on_ready`, while it asks to read and something is there, it stands in line.
    """

    __slots__ = ("_thread", "memory")

    def __init__(self, sock: MemorySocket | NetworkSocket, reactor: Reactor | None = None) -> None:
        self.memory = sock
        # Without the reactor: there is no descriptor to register.
        super().__init__(cast(socket_module.socket, sock))
        self._thread = _get_ident()
        if reactor is not None:
            self.reactor = reactor
            self.burst_bytes = limits.TURN_QUANTUM_BYTES
            sock.drive(reactor, self._notice)
            self._notice()

    def _notice(self) -> None:
        """Stand in line for what is asked for and there."""
        reactor = self.reactor
        if reactor is None or self.fd < 0:
            return
        mask = IN if self._reading and self.memory.readable else 0
        if self._writing and self.memory.writable:
            mask |= OUT
        if mask:
            reactor.requeue(self, mask)
            if self._thread != _get_ident():
                reactor.waker.wake()

    def _set_interest(self) -> None:
        self._notice()

    def on_ready(self, mask: int) -> None:
        self._thread = _get_ident()
        super().on_ready(mask)
        # Pollers report a level: what is still there, or has come from another thread meanwhile, is told again.
        if self._reading and self.memory.readable:
            self._notice()
