"""What bytes of a handshake, or of TLS inside TLS, go over: a socket, or a TLS session that stands already.

A `TlsSession` is a carrier as it is; `SocketCarrier` gives a connected socket the same face and the same codes.
"""

from __future__ import annotations

import socket as socket_module
from typing import Protocol

from turbosock.errors import ReadError, WriteError
from turbosock.reactor.sockets import explain
from turbosock.tls.provider import WANTS_READ, WANTS_WRITE, ReadableBuffer, WritableBuffer


class Carrier(Protocol):
    """Moves bytes without waiting; its calls are those of TlsSession, with their codes and errors.

    Attributes:
        socket: what to wait for.
    """

    socket: socket_module.socket

    def recv_into(self, view: WritableBuffer, count: int) -> int:
        """Receive up to `count` bytes into the start of `view`: the count, 0 at the end, or a code."""

    def send(self, data: ReadableBuffer) -> int:
        """Send some of `data`: the count, or a code, after which the same bytes are due."""

    def pending(self) -> int:
        """How many bytes wait where no poller sees them."""

    def hides(self) -> bool:
        """Whether more may wait there, still encrypted."""

    def close_notify(self) -> int:
        """Tell the peer that no more will be sent, where there are words for that: DONE or WANTS_WRITE."""

    def forget_tickets(self) -> None:
        """Keep nothing for another connection."""

    def close(self) -> None:
        """Close the socket; a second call does nothing."""


class SocketCarrier:
    """A connected, non-blocking socket, which is the carrier's from here on."""

    __slots__ = ("socket",)

    def __init__(self, sock: socket_module.socket) -> None:
        self.socket = sock

    def recv_into(self, view: WritableBuffer, count: int) -> int:
        """See Carrier; raises ReadError."""
        try:
            return self.socket.recv_into(view, count)
        except BlockingIOError:
            return WANTS_READ
        except OSError as error:
            raise ReadError(f"reading failed: {explain(error.errno or 0)}", errno=error.errno) from error

    def send(self, data: ReadableBuffer) -> int:
        """See Carrier; raises WriteError."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return WANTS_WRITE
        except OSError as error:
            raise WriteError(f"writing failed: {explain(error.errno or 0)}", errno=error.errno) from error

    def pending(self) -> int:
        """None ever."""
        return 0

    def hides(self) -> bool:
        """Never."""
        return False

    def close_notify(self) -> int:
        """There are no words."""
        return 0

    def forget_tickets(self) -> None:
        """There are none."""

    def close(self) -> None:
        """See Carrier."""
        self.socket.close()
