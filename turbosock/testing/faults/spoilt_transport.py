"""SpoiltTransport: another transport, seen through the faults of its connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbosock.reactor.context import COMPLETED, CONFIGURED, IOContext
from turbosock.testing.faults.spoilt_socket import SpoiltSocket
from turbosock.testing.memory_transport import MemoryTransport

if TYPE_CHECKING:
    from turbosock.errors import TurbosockError
    from turbosock.reactor.reactor import Reactor


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
