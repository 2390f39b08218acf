"""SpoiltTransport: another transport, seen through the faults of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbosock.reactor.context import COMPLETED, CONFIGURED, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE, WakeableWaiter
from turbosock.testing.faults.spoilt_socket import SpoiltSocket
from turbosock.testing.memory_transport import MemoryTransport

if TYPE_CHECKING:
    from turbosock.errors import TurbosockError
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.waker import Waker


class SpoiltTransport(MemoryTransport):
    """See the module.

    Args:
        sock: moves the bytes over that transport.
        reactor: drives both; None for a blocking caller.
    """

    __slots__ = ("_spoilt",)

    def __init__(self, sock: SpoiltSocket, reactor: Reactor | None) -> None:
        self._spoilt = sock
        as_memory: Any = sock
        super().__init__(as_memory, reactor)
        self.tls = sock.inner.tls

    def receive(self, context: IOContext) -> bool:
        failure = self._spoilt.failure
        if failure is not None and context.state == CONFIGURED and context.count:
            context.bytes_transferred = 0
            context.error = failure
            context.state = COMPLETED
            return False
        return super().receive(context)

    def allow_send(self, budget_ns: int) -> None:
        super().allow_send(budget_ns)
        self._spoilt.inner.allow_send(budget_ns)

    def end_error(self) -> TurbosockError | None:
        return self._spoilt.inner.end_error()

    def is_drained(self) -> bool:
        return not self._spoilt.holds and self._spoilt.inner.is_drained()

    def make_wakeable_waiter(self, waker: Waker) -> WakeableWaiter:
        return _SpoiltWaiter(self._spoilt, waker)

    def has_left(self, *, half: bool) -> bool:
        return self._spoilt.inner.has_left(half=half)


class _SpoiltWaiter(WakeableWaiter):
    """Waits as the inner transport's does, for as long as nothing is due here."""

    __slots__ = ("_inner", "_spoilt")

    def __init__(self, sock: SpoiltSocket, waker: Waker) -> None:
        self._spoilt = sock
        self._inner = sock.inner.make_wakeable_waiter(waker)

    def wait(self, timeout_ns: int, write: bool, read: bool = True) -> int:
        ready = self._ready(write, read)
        if ready:
            return ready
        sock = self._spoilt
        self._inner.wait(sock.limited_ns(timeout_ns), sock.waits_for_room, read and not sock.deaf)
        return self._ready(write, read)

    def _ready(self, write: bool, read: bool) -> int:
        sock = self._spoilt
        return (READABLE if read and sock.look(False) else 0) | (WRITABLE if write and sock.look(True) else 0)
