"""Whole programs on a network without sockets, in virtual time: they dial, wait and poll in one thread, and repeat.

`Network` holds a clock, what happens on it, and the sockets that are open. `SimulatedSocket`, a NetworkSocket that is
dialled, stands where turbosock makes a `socket.socket`, `SimulatedWaiter` and `SimulatedPoller` where it waits for one;
everything above them is the library's own. Beside what networks do, a poller reports now and then what is not so.

What answers on the other side is an `Endpoint`; see `simulated_origin.py`.
"""

from __future__ import annotations

import contextlib
import errno
import socket as real_socket
import struct
from collections.abc import Callable, Collection, Iterator
from random import Random
from typing import Any

import pytest

from turbosock.reactor.clock import NS_PER_S, NS_PER_US
from turbosock.reactor.context import Buffer
from turbosock.reactor.reactor import Reactor
from turbosock.testing.line import Line
from turbosock.testing.network_socket import Endpoint, NetworkSocket
from turbosock.testing.virtual_clock import VirtualClock
from turbosock.transport.connector import Target
from turbosock.transport.transport import Transport

FIRST_FD = 1_000_000
# Calls that one simulation may make: more is a loop that goes nowhere, which virtual time would never end.
MAX_CALLS = 400_000
IN, OUT, BROKEN = 1, 4, 8 | 16
FOREVER_NS = 1 << 62


class _CountingClock(VirtualClock):
    """Ends a program that looks again and again, and gets nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def look(self) -> None:
        self._calls += 1
        assert self._calls < MAX_CALLS, "the library calls again and again, and nothing comes of it"
        super().look()


class _Time:
    """What a Client or a Loop is told of the clock: it waits for what it believes to be sockets, and not by it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.now_ns = clock.now_ns


class InTime:
    """Around the connections of a Client that is to live in the time of a network."""

    inner = None

    def __init__(self, network: Network) -> None:
        self.clock = network.time

    def wrap(self, transport: Transport, target: Target, reactor: Reactor | None) -> Transport:
        """The transport as it is."""
        return transport


class Network:
    """A clock, what will happen, and the sockets that are open.

    Args:
        random: decides what the network does by itself.
        connect: makes the endpoint of a connection that is accepted.
        sound: whether every connect succeeds at once.

    Attributes:
        time: the clock, for what takes one.
        sockets: the client's open sockets by descriptor.
        every: all that there have been.
    """

    def __init__(self, random: Random, connect: Callable[[SimulatedSocket], Endpoint], *, sound: bool = False) -> None:
        self.random = random
        self.sound = sound
        self.clock = _CountingClock()
        self.time = _Time(self.clock)
        self.connect = connect
        self.sockets: dict[int, SimulatedSocket] = {}
        self.every: list[SimulatedSocket] = []
        self.now_ns = self.clock.now_ns
        self.after = self.clock.after
        self.wait = self.clock.wait
        self.pass_time = self.clock.sleep


class SimulatedSocket(NetworkSocket):
    """The client's side of one connection, with what a dial calls.

    Attributes:
        sent: everything that was ever taken by a send.
    """

    def __init__(self, network: Network, family: int, kind: int) -> None:
        super().__init__(network.clock, Line(network.random), 0)
        self.network = network
        self.family = family
        self.type = kind
        self.sent = bytearray()
        self._connected = False
        self._failed = 0
        self._fd = FIRST_FD + len(network.every)
        network.every.append(self)
        network.sockets[self._fd] = self

    # What the other side does

    def accepted(self, window: int) -> None:
        """The connection stands."""
        if not self.closed:
            self._connected = True
            self.window = window
            self.endpoint = self.network.connect(self)

    def refused(self, code: int) -> None:
        """There will be no connection."""
        self._failed = code

    # What a poller sees

    @property
    def readable(self) -> bool:
        return self._connected and super().readable

    @property
    def writable(self) -> bool:
        return bool(self._failed) or (self._connected and super().writable)

    def mask(self) -> int:
        found = (IN if self.readable else 0) | (OUT if self.writable else 0)
        return found | BROKEN if self._failed or self.dead else found

    # What turbosock calls

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
        found, self._failed = self._failed or self._broken, 0
        return found

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        self._check_open()
        if level == real_socket.SOL_SOCKET and isinstance(value, bytes):
            seconds, microseconds = struct.unpack("@ll", value)
            limit_ns = seconds * NS_PER_S + microseconds * NS_PER_US or FOREVER_NS
            if option == real_socket.SO_RCVTIMEO:
                self.limit(receive_ns=limit_ns)
            else:
                self.limit(send_ns=limit_ns)

    def send(self, data: Buffer) -> int:
        taken = super().send(data)
        self.sent += memoryview(data).cast("B")[:taken]
        return taken

    def shutdown(self, how: int) -> None:
        if not self._connected:
            raise OSError(errno.ENOTCONN, "not connected")
        super().shutdown(how)

    def close(self) -> None:
        if not self.closed:
            del self.network.sockets[self._fd]
        super().close()


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
        yield
