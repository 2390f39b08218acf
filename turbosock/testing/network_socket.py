"""NetworkSocket: a socket on a network in memory, in virtual time, with the calls that turbosock makes of one.

It behaves as a Linux socket does, as far as its user can tell: bytes that came before a reset are received before it,
the first send to a peer that has gone is taken and lost, a blocking send goes on until its time is over, and what is
sent waits while the peer does not read. The other side is an `Endpoint`, or another such socket (`join`).

Invariants: bytes arrive once, in order, and not before their `Line` lets them; whoever drives the socket is told
whenever it may have become ready.
"""

from __future__ import annotations

import errno
import os
import socket as socket_module
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final, Protocol

from turbosock import limits
from turbosock.errors import TurbosockError
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.context import Buffer
from turbosock.testing.line import Line

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.testing.virtual_clock import VirtualClock
    from turbosock.transport.connector import Target

# What stands where a real socket's descriptor does: no process has so many, so that a stray system call fails.
_FIRST_NUMBER: Final = 1 << 29
_FOREVER_NS: Final = int(limits.MAX_TIMEOUT_S) * NS_PER_S


class Endpoint(Protocol):
    """The other side of one connection."""

    def on_bytes(self, data: bytes) -> None:
        """These have arrived."""

    def on_closed(self) -> None:
        """The socket was closed, or will send no more."""


class NetworkSocket:
    """One side of a connection; see the module.

    Args:
        clock: the network's.
        line: carries what is sent.
        window: how many bytes can be sent before the peer has taken some.

    Attributes:
        inbox: bytes that came and were not read.
        ended: the peer has closed its side.
        gone: the peer has closed altogether: what is sent now is lost, and answered by a reset.
        dead: the connection was reset.
        failure: what a receive is to fail with once the inbox is empty, or None.
        window: what can still be sent.
        endpoint: who is told what arrives; None once it was told that nothing more comes.
        target: where it leads, where whoever made it has said so.
        attend: called whenever something has changed, for who is not driven by a reactor of its own.
    """

    # A kind of socket that has no options of TCP.
    family: int = socket_module.AF_UNIX
    type: int = socket_module.SOCK_STREAM

    _numbers = count(_FIRST_NUMBER)

    def __init__(self, clock: VirtualClock, line: Line, window: int = limits.NETWORK_WINDOW_BYTES) -> None:
        self.clock = clock
        self.line = line
        self.inbox = bytearray()
        self.ended = False
        self.gone = False
        self.dead = False
        self.failure: TurbosockError | None = None
        self.window = window
        self.endpoint: Endpoint | None = None
        self.target: Target | None = None
        self.attend: Callable[[], object] | None = None
        self._near: NetworkSocket | None = None
        self._broken = 0
        self._blocking = True
        self._receive_ns = _FOREVER_NS
        self._send_ns = _FOREVER_NS
        self._fd = next(self._numbers)
        self._notice: Callable[[], object] | None = None

    # What the other side does

    def deliver(self, data: bytes) -> None:
        """Bytes arrive; at a socket that was closed they are answered by a reset."""
        if not self.ended:
            self.inbox += data
            self.tell()

    def end(self) -> None:
        """The peer closes its sending half."""
        self.ended = True
        self.tell()

    def leave(self) -> None:
        """The peer closes: there is an end, and nobody behind it."""
        self.gone = True
        self.end()

    def reset(self, code: int = errno.ECONNRESET) -> None:
        """The peer resets the connection."""
        if not self.dead:
            self._broken = code
            self.dead = True
            self.leave()

    def fail(self, error: TurbosockError) -> None:
        """Let the next receive that finds no bytes fail with this, instead of anything that a network could do."""
        self.failure = error
        self.leave()

    def tell_peer(self, what: Callable[[NetworkSocket], object]) -> None:
        """Let something happen to the socket that this one is joined to, behind what was sent."""
        near = self._near
        if near is not None:
            self.clock.at(self.line.arrival_ns(self.clock.now_ns(), 0), lambda: what(near))

    def open_window(self, room: int) -> None:
        """The peer has taken bytes: there is room for more."""
        self.window += room
        self.tell()

    def tell(self) -> None:
        """Whoever drives this socket, or attends to it, is to look."""
        if self._notice is not None:
            self._notice()
        if self.attend is not None:
            self.attend()

    # What a poller sees

    @property
    def readable(self) -> bool:
        """Whether a receive brings anything: bytes, the end, or what is wrong."""
        return bool(self.inbox or self.ended or self._broken)

    @property
    def writable(self) -> bool:
        """Whether a send does anything, and be it fail."""
        return bool(self.window > 0 or self.dead or self._broken)

    def wait(self, timeout_ns: int, write: bool = False) -> bool:
        """Whether the socket becomes ready in so much virtual time."""
        return self.clock.wait(timeout_ns, lambda: self.writable if write else self.readable)

    def wait_for(self, timeout_ns: int, write: bool, read: bool) -> None:
        """As wait(), for any of several directions."""
        self.clock.wait(timeout_ns, lambda: (read and self.readable) or (write and self.writable))

    # What the transport needs beside a socket's own calls

    def drive(self, reactor: Reactor, notice: Callable[[], object]) -> None:
        """From now on `notice` is called when the socket may have become ready."""
        self._notice = notice

    def forget(self) -> None:
        """This copy belongs to a process that does not use it: closing it tells nobody."""
        self.endpoint = None
        self._near = None

    # What turbosock calls

    def fileno(self) -> int:
        """A number that is no descriptor; -1 once it is closed."""
        return self._fd

    def setblocking(self, flag: bool) -> None:
        """Whether calls wait."""
        self._blocking = flag

    def limit(self, *, receive_ns: int | None = None, send_ns: int | None = None) -> None:
        """For how long a blocking call waits; None: as before."""
        self._receive_ns = self._receive_ns if receive_ns is None else receive_ns
        self._send_ns = self._send_ns if send_ns is None else send_ns

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """As a socket's."""
        self._check_open()
        self.clock.look()
        if not self.readable and (
            not self._blocking or not self.clock.wait(self._receive_ns, lambda: self.readable or self._fd < 0)
        ):
            raise BlockingIOError(errno.EAGAIN, "nothing came")
        if not self.inbox:
            self._raise_broken()
            return 0
        view = memoryview(buffer).cast("B")
        taken = min(nbytes or len(view), len(view), len(self.inbox))
        view[:taken] = self.inbox[:taken]
        del self.inbox[:taken]
        near = self._near
        if near is not None:
            # As everything that another socket hears: among the happenings, of which there is one at a time.
            self.clock.at(self.clock.now_ns(), lambda: near.open_window(taken))
        return taken

    def send(self, data: Buffer) -> int:
        """As a socket's."""
        self._check_open()
        self.clock.look()
        view = memoryview(data).cast("B")
        taken = 0
        end_ns = self.clock.now_ns() + self._send_ns
        while True:
            if self._broken or self.dead:
                if taken:
                    return taken
                self._raise_broken()
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            room = min(self.window, len(view) - taken)
            if room > 0:
                piece = bytes(view[taken : taken + room])
                taken += room
                self.window -= room
                self._carry(piece)
            if taken == len(view):
                return taken
            left_ns = end_ns - self.clock.now_ns()
            if not self._blocking or not self.clock.wait(left_ns, lambda: self.writable):
                if taken:
                    return taken
                raise BlockingIOError(errno.EAGAIN, "no room")

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        """As a socket's."""
        return self.send(b"".join(bytes(buffer) for buffer in buffers))

    def shutdown(self, how: int) -> None:
        """As a socket's."""
        self._check_open()
        if self.dead:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how != socket_module.SHUT_WR:
            self.ended = True
        self._tell_closed()
        self.tell()

    def close(self) -> None:
        """As a socket's."""
        if self._fd >= 0:
            self._fd = -1
            self._notice = None
            self._tell_closed()
            self._near = None

    @property
    def closed(self) -> bool:
        """Whether it was closed on this side."""
        return self._fd < 0

    def _check_open(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _raise_broken(self) -> None:
        code, self._broken = self._broken, 0
        if code:
            raise OSError(code, os.strerror(code))

    def _carry(self, data: bytes) -> None:
        endpoint = self.endpoint
        now_ns = self.clock.now_ns()
        if self.gone:
            self.clock.at(self.line.arrival_ns(now_ns, 0), self.reset)
            return
        if endpoint is None:
            return
        for piece in self.line.pieces(data):
            self.clock.at(self.line.arrival_ns(now_ns, len(piece)), partial(endpoint.on_bytes, piece))

    def _tell_closed(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None:
            self.endpoint = None
            self.clock.at(self.line.arrival_ns(self.clock.now_ns(), 0), endpoint.on_closed)


class _Joint:
    """What a socket tells arrives at another."""

    def __init__(self, near: NetworkSocket, far: NetworkSocket) -> None:
        self._near = near
        self._far = far

    def on_bytes(self, data: bytes) -> None:
        far = self._far
        if far.closed:
            self._near.reset()
        else:
            far.deliver(data)

    def on_closed(self) -> None:
        if self._near.closed:
            self._far.leave()
        else:
            self._far.end()


def join(one: NetworkSocket, other: NetworkSocket) -> None:
    """Make one connection of two sockets."""
    one.endpoint = _Joint(one, other)
    other.endpoint = _Joint(other, one)
    one._near = other
    other._near = one
