"""A network without sockets, in virtual time: what a Client or a Loop does on it happens in one thread and repeats.

`Network` holds a clock and what will happen on it. `SimulatedSocket` stands where turbosock makes a `socket.socket`,
`SimulatedWaiter` and `SimulatedPoller` where it waits for one; everything above them is the library's own. A wait moves
the clock to the next happening, so that hours pass in milliseconds and nothing ever sleeps.

The sockets behave as Linux's do, as far as a client can tell: bytes that came before a reset are read before it, the
first send to a peer that has gone is taken and lost, a blocking send goes on until its time is over, and what a poller
reports is a hint that may be wrong.

What answers on the other side is an `Endpoint`; see `simulated_origin.py`.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import socket as real_socket
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from random import Random
from typing import Any, Protocol

import pytest

from turbosock.reactor.clock import NS_PER_S, NS_PER_US, ManualClock

FIRST_FD = 1_000_000
# Calls that one simulation may make: more is a loop that goes nowhere, which virtual time would never end.
MAX_CALLS = 400_000
IN, OUT, BROKEN = 1, 4, 8 | 16
FOREVER_NS = 1 << 62

Buffer = bytes | bytearray | memoryview


class Endpoint(Protocol):
    """The other side of one connection."""

    def on_bytes(self, data: bytes) -> None:
        """The client sent these."""

    def on_closed(self) -> None:
        """The client closed, or shut down, its side."""


class Network:
    """A clock, what will happen, and the sockets that are open.

    Args:
        random: decides what the network does by itself.
        connect: makes the endpoint of a connection that is accepted.
        sound: whether every connect succeeds at once.

    Attributes:
        sockets: the client's open sockets by descriptor.
        every: all that there have been.
    """

    def __init__(self, random: Random, connect: Callable[[SimulatedSocket], Endpoint], *, sound: bool = False) -> None:
        self.random = random
        self.sound = sound
        self.clock = ManualClock(NS_PER_S)
        self.connect = connect
        self.sockets: dict[int, SimulatedSocket] = {}
        self.every: list[SimulatedSocket] = []
        self._numbers = itertools.count()
        self._happenings: list[tuple[int, int, Callable[[], None]]] = []
        self._calls = 0

    def now_ns(self) -> int:
        return self.clock.now_ns()

    def after(self, delay_s: float, happening: Callable[[], None]) -> None:
        """Let something happen later, or at the next look if `delay_s` is 0."""
        due_ns = self.now_ns() + int(delay_s * NS_PER_S)
        heapq.heappush(self._happenings, (due_ns, next(self._numbers), happening))

    def look(self) -> None:
        """Somebody looks at the network: whatever is due has happened."""
        self._calls += 1
        assert self._calls < MAX_CALLS, "the library calls again and again, and nothing comes of it"
        while self._happenings and self._happenings[0][0] <= self.now_ns():
            heapq.heappop(self._happenings)[2]()

    def wait(self, timeout_ns: int, ready: Callable[[], object]) -> bool:
        """Let time pass until `ready()`, `timeout_ns` at most; whether it is."""
        end_ns = self.now_ns() + max(timeout_ns, 0)
        while True:
            self.look()
            if ready():
                return True
            next_ns = self._happenings[0][0] if self._happenings else end_ns
            assert next_ns < FOREVER_NS, "a wait without an end, for something that never happens"
            if next_ns >= end_ns:
                self.clock.advance(ns=end_ns - self.now_ns())
                self.look()
                return bool(ready())
            self.clock.advance(ns=next_ns - self.now_ns())

    def pass_time(self, seconds: float) -> None:
        """Nobody does anything for a while."""
        self.wait(int(seconds * NS_PER_S), lambda: False)


class SimulatedSocket:
    """The client's side of one connection, with the calls that turbosock makes of a socket.

    Attributes:
        inbox: bytes that came and were not read.
        ended: the peer has closed its side.
        broken: the errno of a reset that the next call reports, or 0.
        gone: the peer has closed altogether: what is sent now is lost, and answered by a reset.
        window: how many bytes can be sent before the peer has taken some.
        sent: everything that was ever taken by a send.
    """

    def __init__(self, network: Network, family: int, kind: int) -> None:
        self.network = network
        self.family = family
        self.type = kind
        self.inbox = bytearray()
        self.ended = False
        self.broken = 0
        self.gone = False
        self.dead = False
        self.window = 0
        self.sent = bytearray()
        self.endpoint: Endpoint | None = None
        self._connected = False
        self._failed = 0
        self._blocking = True
        self._receive_ns = FOREVER_NS
        self._send_ns = FOREVER_NS
        self._fd = FIRST_FD + len(network.every)
        network.every.append(self)
        network.sockets[self._fd] = self

    # What the other side does

    def accepted(self, window: int) -> None:
        """The connection stands."""
        if self._fd < 0:
            return
        self._connected = True
        self.window = window
        self.endpoint = self.network.connect(self)

    def refused(self, code: int) -> None:
        """There will be no connection."""
        self._failed = code

    def deliver(self, data: bytes) -> None:
        """Bytes arrive."""
        if not self.ended:
            self.inbox += data

    def end(self) -> None:
        """The peer closes its sending half."""
        self.ended = True

    def leave(self) -> None:
        """The peer closes: there is an end, and nobody behind it."""
        self.ended = self.gone = True

    def reset(self, code: int = errno.ECONNRESET) -> None:
        """The peer resets the connection."""
        if not self.dead:
            self.broken = code
            self.dead = self.gone = self.ended = True

    def open_window(self, room: int) -> None:
        """The peer has taken bytes: there is room for more."""
        self.window += room

    # What a poller sees

    @property
    def readable(self) -> bool:
        return self._connected and bool(self.inbox or self.ended or self.broken)

    @property
    def writable(self) -> bool:
        return bool(self._failed or self.broken or (self._connected and (self.window or self.dead)))

    def mask(self) -> int:
        found = (IN if self.readable else 0) | (OUT if self.writable else 0)
        return found | BROKEN if self._failed or self.dead else found

    # What turbosock calls

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, flag: bool) -> None:
        self._blocking = flag

    def connect_ex(self, address: tuple[Any, ...]) -> int:
        self._check_open()
        random = self.network.random
        if self.network.sound:
            self.network.after(0.0, lambda: self.accepted(100_000))
            return errno.EINPROGRESS
        kind = random.random()
        if kind < 0.03:
            return errno.ECONNREFUSED
        delay_s = random.choice((0.0, 0.0, 0.001, 0.05))
        if kind < 0.06:
            self.network.after(delay_s, lambda: self.refused(errno.ECONNREFUSED))
        elif kind >= 0.07:
            # In between: packets are swallowed.
            window = random.choice((50, 3000, 100_000, 1 << 30))
            self.network.after(delay_s, lambda: self.accepted(window))
        return errno.EINPROGRESS

    def getsockopt(self, level: int, option: int) -> int:
        assert (level, option) == (real_socket.SOL_SOCKET, real_socket.SO_ERROR)
        self._check_open()
        found, self._failed = self._failed or self.broken, 0
        return found

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._check_open()
        if level == real_socket.SOL_SOCKET and isinstance(value, bytes):
            seconds, microseconds = struct.unpack("@ll", value)
            limit_ns = seconds * NS_PER_S + microseconds * NS_PER_US or FOREVER_NS
            if option == real_socket.SO_RCVTIMEO:
                self._receive_ns = limit_ns
            else:
                self._send_ns = limit_ns

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        self._check_open()
        self.network.look()
        if not self.readable and (
            not self._blocking or not self.network.wait(self._receive_ns, lambda: self.readable or self._fd < 0)
        ):
            raise BlockingIOError(errno.EAGAIN, "nothing came")
        if not self.inbox:
            self._raise_broken()
            return 0
        view = memoryview(buffer).cast("B")
        count = min(nbytes or len(view), len(view), len(self.inbox))
        view[:count] = self.inbox[:count]
        del self.inbox[:count]
        return count

    def send(self, data: Buffer) -> int:
        self._check_open()
        self.network.look()
        view = memoryview(data).cast("B")
        taken = 0
        end_ns = self.network.now_ns() + self._send_ns
        while True:
            if self.broken or self.dead:
                if taken:
                    return taken
                self._raise_broken()
                raise BrokenPipeError(errno.EPIPE, "the peer has gone")
            count = min(self.window, len(view) - taken)
            if count:
                piece = bytes(view[taken : taken + count])
                taken += count
                self.window -= count
                self.sent += piece
                self._carry(piece)
            if taken == len(view):
                return taken
            left_ns = end_ns - self.network.now_ns()
            if not self._blocking or not self.network.wait(left_ns, lambda: self.writable):
                if taken:
                    return taken
                raise BlockingIOError(errno.EAGAIN, "no room")

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        return self.send(b"".join(bytes(buffer) for buffer in buffers))

    def shutdown(self, how: int) -> None:
        self._check_open()
        if not self._connected or self.dead:
            raise OSError(errno.ENOTCONN, "not connected")
        self.ended = True
        self._tell_closed()

    def close(self) -> None:
        if self._fd >= 0:
            del self.network.sockets[self._fd]
            self._fd = -1
            self._tell_closed()

    def _check_open(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "closed")

    def _raise_broken(self) -> None:
        code, self.broken = self.broken, 0
        if code:
            raise OSError(code, "the connection broke")

    def _carry(self, data: bytes) -> None:
        endpoint = self.endpoint
        assert endpoint is not None, "only a connected socket has a window"
        if self.gone:
            self.network.after(0.0, self.reset)
        else:
            self.network.after(0.0, lambda: endpoint.on_bytes(data))

    def _tell_closed(self) -> None:
        endpoint = self.endpoint
        if endpoint is not None:
            self.endpoint = None
            self.network.after(0.0, endpoint.on_closed)


class SimulatedWaiter:
    """As `SingleWaiter`."""

    network: Network

    def __init__(self, fd: int) -> None:
        self._socket = self.network.sockets[fd]

    def wait(self, timeout_ns: int, write: bool = False) -> bool:
        sock = self._socket
        return self.network.wait(timeout_ns, lambda: sock.writable if write else sock.readable)


def simulated_wait_for_any(network: Network) -> Any:
    """As `wait_for_any`."""

    def wait_for_any(fds: Collection[int], timeout_ns: int, write: bool = False) -> list[int]:
        def ready() -> list[int]:
            sockets = [(fd, network.sockets[fd]) for fd in fds]
            return [fd for fd, sock in sockets if (sock.writable if write else sock.readable)]

        network.wait(timeout_ns, ready)
        return ready()

    return wait_for_any


class SimulatedPoller:
    """As `Poller`; now and then it reports what is not so."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._interests: dict[int, int] = {}
        self.tokens: dict[int, Any] = {}
        self.batch = 1 << 30

    def register(self, fd: int, read: bool, write: bool, token: object) -> None:
        assert fd not in self.tokens, "registered twice"
        self.tokens[fd] = token
        self.modify(fd, read, write)

    def modify(self, fd: int, read: bool, write: bool) -> None:
        assert fd in self.tokens, "registered first"
        assert fd < FIRST_FD or fd in self._network.sockets, "a closed descriptor is not watched"
        self._interests[fd] = (IN if read else 0) | (OUT if write else 0)

    def unregister(self, fd: int) -> None:
        del self.tokens[fd], self._interests[fd]

    def wait(self, timeout_s: float) -> list[tuple[int, int]]:
        self._network.wait(int(timeout_s * NS_PER_S), self._ready)
        ready = self._ready()
        random = self._network.random
        if self._interests and random.random() < 0.02:
            fd = random.choice(sorted(self._interests))
            sock = self._network.sockets.get(fd)
            # Not of a dial: what connects is writable once it is, and an idle connection's end is believed.
            if sock is not None and sock.endpoint is not None and self._is_used(self.tokens[fd]):
                ready.append((fd, self._interests[fd]))
        random.shuffle(ready)
        return [pair for pair in ready if pair[1]]

    def close(self) -> None:
        self.tokens.clear()
        self._interests.clear()

    def _ready(self) -> list[tuple[int, int]]:
        found = []
        for fd, interests in self._interests.items():
            sock = self._network.sockets.get(fd)
            mask = 0 if sock is None or not interests else sock.mask() & (interests | BROKEN)
            if mask:
                found.append((fd, mask))
        return found

    @staticmethod
    def _is_used(token: object) -> bool:
        context = getattr(token, "receive_context", None)
        connection = getattr(getattr(context, "completed", None), "__self__", None)
        return getattr(connection, "owner", None) is not None


class _SocketModule:
    """The module `socket`, whose sockets are simulated."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def socket(self, family: int, kind: int) -> SimulatedSocket:
        return SimulatedSocket(self._network, family, kind)

    def __getattr__(self, name: str) -> Any:
        return getattr(real_socket, name)


@contextlib.contextmanager
def simulated(network: Network) -> Iterator[None]:
    """Let turbosock use `network`, and its clock, for the length of a with block."""
    waiter = type("SimulatedWaiter", (SimulatedWaiter,), {"network": network})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turbosock.reactor.sockets.socket", _SocketModule(network))
        patch.setattr("turbosock.transport.transport.SingleWaiter", waiter)
        patch.setattr("turbosock.client.blocking_dial.wait_for_any", simulated_wait_for_any(network))
        patch.setattr("turbosock.reactor.reactor.make_poller", lambda kind: SimulatedPoller(network))
        for module in ("client", "response", "exchange"):
            patch.setattr(f"turbosock.client.{module}._monotonic_ns", network.clock.now_ns)
        for module in ("client", "blocking_dial"):
            patch.setattr(f"turbosock.client.{module}.SYSTEM_CLOCK", network.clock)
        yield
