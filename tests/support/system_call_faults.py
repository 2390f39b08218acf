"""The Nth system call of turbosock fails: sockets, pollers and TLS engines whose calls are counted.

`faulty_system(faults)` puts them where turbosock makes its own; what others make is not concerned. The count begins
with `arm()`. A call that fails has done nothing, as in the kernel.

Not counted: what moves no further than the interpreter (`fileno`); `close`, which frees the descriptor whatever it says
(close(2)); and the wait of epoll, which fails for nothing but a mistake of its caller (epoll_wait(2)). CPython tries
again after EINTR, so no call here ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select as real_select
import socket as real_socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Faults:
    """Which call fails, and how.

    Args:
        kinds: the calls that are counted.

    Attributes:
        fired: what failed, or None as long as nothing did.
        sockets: every socket that was made, since `arm()` or before.
    """

    def __init__(self, kinds: frozenset[str]) -> None:
        self.kinds = kinds
        self.fired: str | None = None
        self.sockets: list[real_socket.socket] = []
        self._left = 0
        self._code = 0

    def arm(self, number: int, code: int) -> None:
        """Let the call of this number, counted from 1, fail with this errno."""
        self.fired = None
        self._left = number
        self._code = code

    def disarm(self) -> None:
        """No more calls fail."""
        self._left = 0

    def code(self, name: str) -> int:
        """Count a call; the errno with which it fails, or 0."""
        if not self._left or name not in self.kinds:
            return 0
        self._left -= 1
        if self._left:
            return 0
        self.fired = name
        return self._code

    def count(self, name: str) -> None:
        """Count a call, and raise what it fails with."""
        code = self.code(name)
        if code:
            raise OSError(code, os.strerror(code))

    def open_sockets(self) -> int:
        """How many sockets were made and not closed."""
        self.sockets = [sock for sock in self.sockets if sock.fileno() >= 0]
        return len(self.sockets)


def _counted(faults: Faults, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        faults.count(name)
        return call(*arguments)

    return counted


# What moves bytes and makes connections, and fails every day.
TRAFFIC = frozenset(
    {
        "TLS do_handshake",
        "TLS read",
        "TLS shutdown",
        "TLS write",
        "accept",
        "bind",
        "connect",
        "getpeername",
        "getsockname",
        "listen",
        "recv_into",
        "recvmsg_into",
        "send",
        "sendmsg",
        "shutdown",
        "socket",
    }
)
# What tells a poller, and makes one: it fails where the kernel has no memory or no room for more.
WATCHING = frozenset({"epoll", "modify", "register"})
# What asks a socket, and tells it something.
SETTINGS = frozenset({"getsockopt", "setsockopt"})
# What fails where a sandbox forbids it, or the kernel has no memory, and hardly anywhere else.
UNLIKELY = frozenset({"poll", "setblocking"})

SOCKET_CALLS = (
    "bind",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv_into",
    "recvmsg_into",
    "send",
    "sendmsg",
    "setblocking",
    "setsockopt",
    "shutdown",
)
ENGINE_CALLS = ("do_handshake", "read", "write", "shutdown")


def _socket_class(faults: Faults) -> type[real_socket.socket]:
    class FaultySocket(real_socket.socket):
        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if fileno is None:
                faults.count("socket")
            super().__init__(family, type, proto, fileno)
            faults.sockets.append(self)

        def connect_ex(self, address: Any) -> int:
            return faults.code("connect") or super().connect_ex(address)

        def accept(self) -> tuple[real_socket.socket, Any]:
            faults.count("accept")
            sock, address = super().accept()
            return FaultySocket(sock.family, sock.type, sock.proto, sock.detach()), address

    for name in SOCKET_CALLS:
        setattr(FaultySocket, name, _counted_method(faults, name))
    return FaultySocket


def _counted_method(faults: Faults, name: str) -> Callable[..., Any]:
    call = getattr(real_socket.socket, name)

    def counted(self: real_socket.socket, *arguments: Any) -> Any:
        faults.count(name)
        return call(self, *arguments)

    return counted


class _Engine:
    """OpenSSL's object of one connection, whose calls are counted."""

    def __init__(self, faults: Faults, engine: Any) -> None:
        object.__setattr__(self, "_engine", engine)
        for name in ENGINE_CALLS:
            object.__setattr__(self, name, _counted(faults, f"TLS {name}", getattr(engine, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._engine, name, value)


def _secure_class(faults: Faults) -> type[ssl.SSLSocket]:
    class FaultySecureSocket(ssl.SSLSocket):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)

        @property
        def _sslobj(self) -> Any:
            return self.__dict__.get("_faulty_engine")

        @_sslobj.setter
        def _sslobj(self, engine: Any) -> None:
            self.__dict__["_faulty_engine"] = None if engine is None else _Engine(faults, engine)
            faults.sockets.append(self)

    return FaultySecureSocket


class _Module:
    """A module of which some names are replaced."""

    def __init__(self, real: Any, **replaced: Any) -> None:
        self.__dict__.update(replaced)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Calls:
    """An object of which some calls are counted."""

    def __init__(self, faults: Faults, real: Any, *names: str) -> None:
        self._real = real
        for name in names:
            setattr(self, name, _counted(faults, name, getattr(real, name)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def _poll_makers(faults: Faults) -> dict[str, Callable[[], _Calls]]:
    def make_epoll() -> _Calls:
        faults.count("epoll")
        return _Calls(faults, real_select.epoll(), "register", "modify")

    return {"epoll": make_epoll, "poll": lambda: _Calls(faults, real_select.poll(), "poll")}


@contextlib.contextmanager
def faulty_system(faults: Faults) -> Iterator[None]:
    """Let turbosock's calls be counted, and fail, for the length of a with block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("turbosock.reactor.sockets.socket", _Module(real_socket, socket=_socket_class(faults)))
        patch.setattr("turbosock.reactor.poller.select", _Module(real_select, **_poll_makers(faults)))
        patch.setattr(ssl.SSLContext, "sslsocket_class", _secure_class(faults))
        yield
