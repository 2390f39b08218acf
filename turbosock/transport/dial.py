"""Dialling: from a list of addresses to one connected, non-blocking socket.

A `Dial` is a small state machine that never waits. `start()` begins with the first address; while `pending`, the
socket `fd` is to be watched for writing, and `on_writable()` says how the attempt ended or begins the next one.
`attempt_deadline_ns` bounds one address, so that a first address that swallows packets leaves time for the others;
`on_timeout()` gives it up. A blocking caller and a Loop drive the same object.

Invariants: at most one socket is open; `socket` is not None exactly while `pending` or `connected`; the error at the
end names every address that was tried. Racing of addresses (RFC 8305 §5) is left to a later layer; their order is the
resolver's.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Sequence
from typing import TYPE_CHECKING

from turbosock.errors import ConnectError, Phase
from turbosock.reactor.sockets import (
    CONNECTED,
    PENDING_CONNECT,
    connect_result,
    explain,
    open_tcp,
    open_unix,
    start_connect,
    tune,
)

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.clock import Clock
    from turbosock.reactor.resolver import Address

# An address is given at least this long before the next one is tried, however little time is left for all.
MIN_ATTEMPT_NS = 250_000_000


class Dial:
    """One dial over several addresses.

    Args:
        addresses: in the order to try, at least one; a Unix path is an Address of family AF_UNIX.
        clock: tells when attempts began.
        deadline_ns: the end of all attempts.
    """

    __slots__ = (
        "_addresses",
        "_clock",
        "_failures",
        "_index",
        "attempt_deadline_ns",
        "connected",
        "deadline_ns",
        "error",
        "fd",
        "pending",
        "socket",
    )

    def __init__(self, addresses: Sequence[Address], clock: Clock, deadline_ns: int) -> None:
        assert addresses, "a resolver answers with an address or an error"
        self._addresses = addresses
        self._clock = clock
        self._failures: list[str] = []
        self._index = 0
        self.deadline_ns = deadline_ns
        self.attempt_deadline_ns = deadline_ns
        self.connected = False
        self.pending = False
        self.error: ConnectError | None = None
        self.socket: socket | None = None
        self.fd = -1

    def start(self) -> None:
        """Begin; afterwards the dial is `connected`, `pending`, or has its `error`.

        Raises:
            NetworkError: this process has no socket to give (origin LOCAL).
        """
        self._next()

    def _next(self) -> None:
        while self._index < len(self._addresses):
            address = self._addresses[self._index]
            if address.family == getattr(socket_module, "AF_UNIX", -1):
                sock = open_unix()
            else:
                sock = open_tcp(address.family)
                tune(sock)
            code = start_connect(sock, address.sockaddr)
            if code == CONNECTED or code in PENDING_CONNECT:
                self.socket = sock
                self.fd = sock.fileno()
                self.connected = code == CONNECTED
                self.pending = not self.connected
                now_ns = self._clock.now_ns()
                left = len(self._addresses) - self._index
                share_ns = max((self.deadline_ns - now_ns) // left, MIN_ATTEMPT_NS)
                self.attempt_deadline_ns = min(now_ns + share_ns, self.deadline_ns)
                return
            sock.close()
            self._failed(explain(code))
        self.pending = False
        self.error = ConnectError("could not connect: " + "; ".join(self._failures))
        self.error.during(Phase.CONNECT)

    def _failed(self, reason: str) -> None:
        sockaddr = self._addresses[self._index].sockaddr
        where = sockaddr if isinstance(sockaddr, str) else f"{sockaddr[0]} port {sockaddr[1]}"
        self._failures.append(f"{where}: {reason}")
        self._index += 1

    def _drop_socket(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None
        self.fd = -1
        self.pending = False

    def on_writable(self) -> None:
        """The socket became writable (or failed): finish, or go on with the next address."""
        assert self.socket is not None and self.pending, "only a pending dial has a socket to ask"
        code = connect_result(self.socket)
        if code == CONNECTED:
            self.pending = False
            self.connected = True
            return
        self._drop_socket()
        self._failed(explain(code))
        self._next()

    def on_timeout(self) -> None:
        """The attempt's share of time is over: go on with the next address."""
        self._drop_socket()
        self._failed("no answer in time")
        self._next()

    def take(self) -> socket:
        """The connected socket; it is the caller's from here on."""
        assert self.connected and self.socket is not None, "only a connected dial has a socket to take"
        sock = self.socket
        self.socket = None
        self.fd = -1
        return sock

    def abort(self) -> None:
        """Shut the attempt down from any thread: its waiter wakes up."""
        sock = self.socket
        if sock is not None:
            try:
                sock.shutdown(socket_module.SHUT_RDWR)
            except OSError:
                # Not connected yet, or not any more; the waiter's own deadline stands.
                return

    def close(self) -> None:
        """Give the attempt up."""
        self._drop_socket()
