"""Connecting to one of several addresses: Happy Eyeballs, the racing of attempts (RFC 8305 §5).

A `ConnectRace` never waits. `start()` begins with the first address. The next one begins at `next_ns`, an attempt delay
after the one before, or at once when an attempt fails; those under way go on. The first that connects wins, and the
others are closed. While there is no `winner` and it has not `failed`, the sockets of `attempts` are to be watched for
writing: `on_ready(fd)` says that one is, `on_timeout()` that `next_ns` has come.

Invariants: an address is tried once, in the order given; with a winner, or once it failed, no attempt is under way;
every socket is closed here but the winner's, once it was taken. The end of all attempts is for the caller to set.

What this machine refuses (no descriptors, no IPv6, a local address that it does not have) fails that address only: an
older attempt, or one of the other family, may still do.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from turbosock.errors import ConnectError, NetworkError, Phase, TurbosockError
from turbosock.limits import CONNECT_ATTEMPT_DELAY_S
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.sockets import (
    CONNECTED,
    PENDING_CONNECT,
    bind_local,
    connect_result,
    explain,
    open_tcp,
    open_unix,
    start_connect,
    tune,
)
from turbosock.reactor.timers import NEVER

if TYPE_CHECKING:
    from socket import socket

    from turbosock.reactor.clock import Clock
    from turbosock.reactor.resolver import Address

ATTEMPT_DELAY_NS = round(CONNECT_ATTEMPT_DELAY_S * NS_PER_S)
_AF_UNIX = getattr(socket_module, "AF_UNIX", -1)


class _Attempt(NamedTuple):
    """A connect under way."""

    sock: socket
    address: Address


class ConnectRace:
    """One race over several addresses.

    Args:
        addresses: in the order to try, at least one; a Unix path is an Address of family AF_UNIX.
        clock: tells when attempts begin.
        local: by family, the address of this machine to connect from; the system chooses for the others.

    Attributes:
        attempts: those under way, by the descriptors that are to be watched for writing.
        next_ns: when the next one is to begin; NEVER: there is none left, or none is needed.
        winner: the connected socket, until `take()`.
    """

    __slots__ = (
        "_addresses",
        "_clock",
        "_failures",
        "_index",
        "_local",
        "_local_error",
        "attempts",
        "next_ns",
        "winner",
    )

    def __init__(
        self, addresses: Sequence[Address], clock: Clock, local: Mapping[int, tuple[Any, ...]] | None = None
    ) -> None:
        assert addresses, "a resolver answers with an address or an error"
        self._local = local
        self._addresses = addresses
        self._clock = clock
        self._failures: list[str] = []
        self._index = 0
        # The first refusal of this machine; forgotten once a peer or the network refused as well.
        self._local_error: NetworkError | None = None
        self.attempts: dict[int, _Attempt] = {}
        self.next_ns = NEVER
        self.winner: socket | None = None

    @property
    def failed(self) -> bool:
        """Whether every address was tried, and none will connect."""
        return self.winner is None and not self.attempts and self._index == len(self._addresses)

    def start(self) -> None:
        """Begin with the first address."""
        self._begin_next()

    def on_ready(self, fd: int) -> None:
        """The attempt of descriptor `fd`, which is no longer watched, has ended, well or not."""
        sock, address = self.attempts.pop(fd)
        code = connect_result(sock)
        if code == CONNECTED:
            self._won(sock)
            return
        sock.close()
        self._failed_at(address, explain(code))
        self._begin_next()

    def on_timeout(self) -> None:
        """`next_ns` has come: the next attempt begins beside the others."""
        self._begin_next()

    def _begin_next(self) -> None:
        """Begin with the next address that lets itself be tried."""
        while self._index < len(self._addresses):
            address = self._addresses[self._index]
            self._index += 1
            try:
                sock = self._open(address)
            except NetworkError as error:
                if not self._failures:
                    self._local_error = error
                self._failures.append(f"{_shown(address)}: {error}")
                continue
            try:
                code = start_connect(sock, address.sockaddr)
                if code in PENDING_CONNECT:
                    self.attempts[sock.fileno()] = _Attempt(sock, address)
                    more = self._index < len(self._addresses)
                    self.next_ns = self._clock.now_ns() + ATTEMPT_DELAY_NS if more else NEVER
                    return
            except BaseException:
                self.attempts.pop(sock.fileno(), None)
                sock.close()
                raise
            if code == CONNECTED:
                self._won(sock)
                return
            sock.close()
            self._failed_at(address, explain(code))
        self.next_ns = NEVER

    def _open(self, address: Address) -> socket:
        if address.family == _AF_UNIX:
            return open_unix()
        sock = open_tcp(address.family)
        tune(sock)
        if self._local is not None and address.family in self._local:
            try:
                bind_local(sock, self._local[address.family])
            except BaseException:
                sock.close()
                raise
        return sock

    def _won(self, sock: socket) -> None:
        self.winner = sock
        self.next_ns = NEVER
        self._close_attempts()

    def _failed_at(self, address: Address, reason: str) -> None:
        self._local_error = None
        self._failures.append(f"{_shown(address)}: {reason}")

    def error(self) -> TurbosockError:
        """Why a race failed: what every address said, or what this machine refuses for all of them."""
        assert self.failed, "asked for once every address was tried"
        error = self._local_error
        if error is None:
            error = ConnectError("could not connect: " + "; ".join(self._failures))
        return error.during(Phase.CONNECT)

    def tried(self) -> str:
        """What became of each address so far, for a message about too little time."""
        under_way = [f"{_shown(attempt.address)}: no answer" for attempt in self.attempts.values()]
        return "; ".join(self._failures + under_way)

    def take(self) -> socket:
        """The connected socket; it is the caller's from here on."""
        sock = self.winner
        assert sock is not None, "taken once, from a race that was won"
        self.winner = None
        return sock

    def _close_attempts(self) -> None:
        while self.attempts:
            self.attempts.popitem()[1].sock.close()

    def close(self) -> None:
        """Give up; what was taken is not concerned."""
        self._index = len(self._addresses)
        self.next_ns = NEVER
        self._close_attempts()
        if self.winner is not None:
            self.winner.close()
            self.winner = None


def _shown(address: Address) -> str:
    sockaddr = address.sockaddr
    return sockaddr if isinstance(sockaddr, str) else f"{sockaddr[0]} port {sockaddr[1]}"
