"""Lingering: reading away, for a moment, what a client still sends that was told goodbye.

A close with unread bytes would reset the connection, and so take from the client what it has not read yet: the last
answer, or the alert that says why its handshake failed (RFC 9112 section 9.6). So the sending side is closed first,
and what still comes is read and thrown away, for SERVER_LINGER_S and MAX_SERVER_LINGER_BYTES at most.

Invariant: one turn reads TURN_QUANTUM_BYTES at most, and one receive beyond.

The time limit, the socket and the reactor's line are left to the user.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from turbosock import limits
from turbosock.reactor.clock import NS_PER_S

LINGER_NS: Final = int(limits.SERVER_LINGER_S * NS_PER_S)

# What a turn leaves behind: nothing more comes, or may; wait for more; there is more for the next turn.
OVER: Final = 0
WAITING: Final = 1
MORE: Final = 2


class Lingering:
    """What may still be read of one client."""

    __slots__ = ("_bytes_left",)

    def __init__(self) -> None:
        self._bytes_left = limits.MAX_SERVER_LINGER_BYTES

    def turn(self, discard: Callable[[], int]) -> int:
        """Read away what has come.

        Args:
            discard: receives once; its answer is that of `sockets.discard`.

        Returns:
            OVER, WAITING or MORE.
        """
        share = limits.TURN_QUANTUM_BYTES
        while self._bytes_left > 0:
            count = discard()
            if count < 0:
                return WAITING
            if count == 0:
                return OVER
            self._bytes_left -= count
            share -= count
            if share <= 0:
                return MORE
        return OVER
