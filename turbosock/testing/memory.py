"""Connections in memory: the peer is a function or an object of this process, and no system call is made.

    def answer(data: bytes) -> bytes:
        return b"HTTP/1.1 204 No Content\\r\\n\\r\\n"

    with turbosock.Client(connector=MemoryConnector(answer)) as client:
        client.get("http://anywhere/")

`MemorySocket` behaves as a connected socket does, and stands where one would: what turbosock does with it, its
contexts, pools, timeouts and errors, is what it does on a network. A Client is given kernel-blocking sockets (or, on
request, those that it waits for itself), a Loop those whose readiness puts them into its reactor's line.

The parts: who answers is a `MemoryPeer`, what stands between is a `MemorySocket`, which tells about time, order and
ends, and what turbosock steps is a `MemoryTransport` or a `MemoryStreamTransport`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from turbosock.config import TransportMode
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock
from turbosock.testing.memory_peer import Answering, FunctionPeer, MemoryPeer
from turbosock.testing.memory_socket import MemorySocket
from turbosock.testing.memory_transport import MemoryStreamTransport, MemoryTransport
from turbosock.transport.transport import Transport

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Target


class MemoryConnector:
    """Connects a Client or a Loop, or several, to a peer in memory.

    Args:
        handler: a function that takes the bytes of each send and returns the answer's, or None; or a MemoryPeer.
        clock: tells blocking callers the time of delayed bytes; see `memory_socket.py`. A Loop has its own.
        mode: what blocking callers are given.

    Attributes:
        opened_count, closed_count: connections made, and closed by the client, so far.

    Raises:
        InvalidOption: an argument is none of these.
    """

    def __init__(
        self,
        handler: MemoryPeer | Answering,
        *,
        clock: Clock = SYSTEM_CLOCK,
        mode: TransportMode = TransportMode.STREAM,
    ) -> None:
        if not isinstance(handler, MemoryPeer) and not callable(handler):
            raise InvalidOption(f"handler={handler!r}: give a function of the bytes sent, or a MemoryPeer")
        if not callable(getattr(clock, "now_ns", None)):
            raise InvalidOption(f"clock={clock!r}: give a clock, such as a ManualClock")
        if not isinstance(mode, TransportMode):
            raise InvalidOption(f"mode={mode!r}: give a TransportMode")
        self._peer = handler if isinstance(handler, MemoryPeer) else FunctionPeer(handler)
        self._clock = clock
        self._mode = mode
        self._lock = threading.Lock()
        self.opened_count = 0
        self.closed_count = 0

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """See Connector.connect; raises what the peer's `on_connected` raises."""
        clock = self._clock if reactor is None else reactor.clock
        sock = MemorySocket(self._peer, target, clock, self._count_closed)
        self._peer.on_connected(sock)
        with self._lock:
            self.opened_count += 1
        if reactor is None and self._mode is TransportMode.STREAM:
            return MemoryStreamTransport(sock)
        return MemoryTransport(sock, reactor)

    def _count_closed(self) -> None:
        with self._lock:
            self.closed_count += 1
