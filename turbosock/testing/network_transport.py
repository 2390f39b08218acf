"""NetworkTransport: turbosock's transport over a NetworkSocket, for blocking callers and Loops alike.

Waits pass in the virtual time of the socket's network; nothing here asks the system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.reactor.context import COMPLETED, CONFIGURED, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE, WakeableWaiter
from turbosock.testing.memory_transport import MemoryTransport
from turbosock.testing.network_socket import NetworkSocket
from turbosock.tls.provider import TlsInfo

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.waker import Waker

_NO_TLS: Final = TlsInfo("memory", "", "TLSv1.3", "TLS_AES_128_GCM_SHA256", None, False, "off", 0)


class NetworkTransport(MemoryTransport):
    """See the module.

    Args:
        sock: connected, or about to be; the transport's from here on.
        reactor: drives it; None for a blocking caller.
        secure: whether it passes for TLS: bytes are what they are, and `tls` says that all is well.
        alpn: what was agreed on by that.
    """

    __slots__ = ("_network_socket",)

    def __init__(
        self, sock: NetworkSocket, reactor: Reactor | None = None, *, secure: bool = False, alpn: str | None = None
    ) -> None:
        self._network_socket = sock
        super().__init__(sock, reactor)
        if secure:
            self.tls = _NO_TLS._replace(alpn=alpn)

    def receive(self, context: IOContext) -> bool:
        sock = self._network_socket
        if sock.failure is not None and not sock.inbox and context.state == CONFIGURED:
            context.bytes_transferred = 0
            context.error = sock.failure
            context.state = COMPLETED
            return False
        return super().receive(context)

    def make_wakeable_waiter(self, waker: Waker) -> WakeableWaiter:
        return _NetworkWaiter(self._network_socket)

    def has_left(self, *, half: bool) -> bool:
        sock = self._network_socket
        return sock.gone or (half and sock.ended)


class _NetworkWaiter(WakeableWaiter):
    """Nobody need wake it: its waits take no time."""

    __slots__ = ("_socket",)

    def __init__(self, sock: NetworkSocket) -> None:
        self._socket = sock

    def wait(self, timeout_ns: int, write: bool, read: bool = True) -> int:
        sock = self._socket
        sock.wait_for(timeout_ns, write, read)
        return (READABLE if read and sock.readable else 0) | (WRITABLE if write and sock.writable else 0)
