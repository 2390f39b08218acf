"""MemoryPeer: who is at the other end of connections in memory: an object that is told what its client does.

Invariants: `on_connected` comes first and `on_closed` once; `on_bytes` brings each byte once, in order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.testing.memory_socket import MemorySocket


class MemoryPeer:
    """The other side of connections in memory; subclass it. One object may serve many connections.

    What a connection needs to remember is in `sock.user`. What a method raises is raised to whoever sent.
    """

    def on_connected(self, sock: MemorySocket) -> None:
        """A client connects; raise ConnectError to refuse it."""

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        """The client sent these; answer with `sock.deliver()` and its like, now or later."""

    def on_held(self, sock: MemorySocket) -> None:
        """The client sent something while `sock.hold()` lasts; `sock.let_go()` reads it."""

    def on_closed(self, sock: MemorySocket) -> None:
        """The client closed, or will send no more."""


Answering = Callable[[bytes], bytes | None]


class FunctionPeer(MemoryPeer):
    """A function as a peer: what it returns is delivered."""

    def __init__(self, function: Answering) -> None:
        self._function = function

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        answer = self._function(data)
        if answer:
            sock.deliver(answer)
