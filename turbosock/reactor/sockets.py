"""Socket primitives that answer with codes: the one place where the system's errors become ours.

Receiving and sending return a count, 0 at the end of the stream, or WOULD_BLOCK; connecting returns an errno. Only a
connection that is broken raises, and then one of our classes. CPython raises inside a call that would block, so a
caller that knows a socket is drained (a short read of plain TCP) does better not to call.

The same functions serve both transport modes. On a non-blocking socket WOULD_BLOCK means not ready. On a blocking one
with `set_receive_timeout` or `set_send_timeout` it means that this time passed (SO_RCVTIMEO ends in EAGAIN, socket(7)).

Every descriptor is close-on-exec. CPython retries EINTR (PEP 475) and ignores SIGPIPE.

Left to others: which addresses to try (`resolver.py`), waiting (`poller.py`), TLS.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from turbosock.errors import InvalidOption, InvalidUrl, NetworkError, Origin, ReadError, WriteError
from turbosock.limits import (
    KEEP_ALIVE_IDLE_S,
    KEEP_ALIVE_INTERVAL_S,
    KEEP_ALIVE_PROBES,
    LISTEN_BACKLOG,
    MAX_TIMEOUT_S,
)
from turbosock.reactor.address import Address, SocketAddress, literal_addresses
from turbosock.reactor.clock import NS_PER_MS, NS_PER_S, NS_PER_US

WOULD_BLOCK: Final = -1

CONNECTED: Final = 0
# What start_connect() may return for a connection under way: wait until it is writable, then ask connect_result().
# Windows says EWOULDBLOCK. A Unix socket's EAGAIN is another thing, a full backlog: it failed.
PENDING_CONNECT: Final = frozenset({errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)})

# ip(7); the module has the name from Python 3.12 on.
_IP_BIND_ADDRESS_NO_PORT: Final = 24

ListenAddress = tuple[str, int] | str

_UNIX_PREFIX = "unix:"
_MAX_TIMEOUT_NS: Final = int(MAX_TIMEOUT_S) * NS_PER_S

# Out of descriptors, memory or places: ours to report, not the peer's doing.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC})
# accept(2): the connection that was waiting is gone, or its network had an error; the listener is sound.
_ACCEPT_LOST = frozenset(
    {
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EPROTO,
        errno.EPERM,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
# What sendto(2) says of a datagram that is longer than any may be.
TOO_LONG: Final = frozenset({errno.EMSGSIZE})
_ADVICE = {
    errno.ECONNREFUSED: "nothing listens there: check that the server runs, and its port",
    errno.ECONNRESET: "the peer reset the connection",
    errno.EPIPE: "the peer closed the connection",
    errno.ETIMEDOUT: "the peer stopped answering",
    errno.EHOSTUNREACH: "no route to the host: check the address and the network",
    errno.ENETUNREACH: "no route to its network: check the address and the network",
    errno.EADDRINUSE: "something listens there already: stop it, or choose another address",
    errno.EADDRNOTAVAIL: "this machine does not have that address, or has no free port left",
    errno.EACCES: "permission denied: ports below 1024 and some paths need privileges",
    errno.ENOENT: "no such path: check that the server runs, and the directory",
    errno.EMFILE: "this process has too many open files: close some, or raise `ulimit -n`",
    errno.ENFILE: "the system has too many open files",
    errno.ENOSPC: "no room: too many sockets are watched (fs.epoll.max_user_watches), or the path's disk is full",
    errno.EAGAIN: "the listener's backlog is full: try again later",
    errno.ENAMETOOLONG: "the path is too long for a Unix socket",
}


def explain(code: int) -> str:
    """Return the system's words for the errno `code`, with what to do where that is known."""
    advice = _ADVICE.get(code)
    name = errno.errorcode.get(code, f"errno {code}")
    return f"{advice} ({name})" if advice else f"{os.strerror(code)} ({name})"


def _explain_error(error: OSError) -> str:
    return str(error) if error.errno is None else explain(error.errno)


def local_error(doing: str, error: OSError) -> NetworkError:
    """Return what to raise where this system refused; `code` is "exhausted" when it ran out of something."""
    code = "exhausted" if error.errno in _EXHAUSTED else "network"
    return NetworkError(f"cannot {doing}: {_explain_error(error)}", errno=error.errno, code=code, origin=Origin.LOCAL)


def open_tcp(family: int) -> socket.socket:
    """Return a non-blocking TCP socket of `family`, AF_INET or AF_INET6.

    Raises:
        NetworkError: the system has none to give; `code` is "exhausted" when files or memory ran out.
    """
    return _open(family, socket.SOCK_STREAM, "open a TCP socket")


def open_udp(family: int) -> socket.socket:
    """Return a non-blocking UDP socket of `family`; raises as `open_tcp` does."""
    return _open(family, socket.SOCK_DGRAM, "open a UDP socket")


def open_unix() -> socket.socket:
    """Return a non-blocking Unix stream socket; raises as `open_tcp` does."""
    if sys.platform == "win32":
        raise InvalidOption("address: this platform has no Unix sockets in Python; use TCP on 127.0.0.1")
    return _open(socket.AF_UNIX, socket.SOCK_STREAM, "open a Unix socket")


def _open(family: int, kind: int, doing: str) -> socket.socket:
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise local_error(doing, error) from error
    return _unblocked(sock, doing)


def _unblocked(sock: socket.socket, doing: str) -> socket.socket:
    """Return `sock`, non-blocking from here on, or close it."""
    try:
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise local_error(doing, error) from error
    return sock


def set_blocking(sock: socket.socket, blocking: bool) -> None:
    """Make a socket wait in its calls, or not.

    Raises:
        NetworkError: the system refused.
    """
    try:
        sock.setblocking(blocking)
    except OSError as error:
        raise local_error("set up a socket", error) from error


def bind_local(sock: socket.socket, address: tuple[Any, ...]) -> None:
    """Have a socket that is about to connect leave from `address`, (host, port, ...) with port 0 for any free one.

    Raises:
        NetworkError: this machine has no such address, or the port is taken.
    """
    host, port = address[:2]
    try:
        if port and sys.platform != "win32":
            # The port is wanted again as soon as a connection from it is closed, and for several at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif sys.platform == "linux":
            # Without it each connection takes a port of this machine for itself, whatever its destination.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind(address)
    except OSError as error:
        raise local_error(f"connect from local_address {host} port {port}", error) from error


def start_connect(sock: socket.socket, address: SocketAddress) -> int:
    """Begin to connect; `address` is numeric, since a name would block on a look-up.

    Returns:
        CONNECTED, an errno of PENDING_CONNECT (wait until writable, then `connect_result`), or the errno of a failure.
    """
    try:
        return sock.connect_ex(address)
    except OSError as error:
        # Raised before any system call: a path that is too long, or a host that is not numeric.
        return errno.ENAMETOOLONG if error.errno is None else errno.EINVAL


def connect_result(sock: socket.socket) -> int:
    """Return how a pending connect ended: CONNECTED or an errno (SO_ERROR). Ask only once the socket is writable."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        # It cannot be asked, and so is of no use.
        return error.errno or errno.EIO


def tune(sock: socket.socket, *, keep_alive: bool = False) -> None:
    """Set what a connection of ours wants: no Nagle delay, and on request the probing of an idle peer.

    Args:
        sock: a TCP socket; others are left as they are.
        keep_alive: probe a silent peer, for connections that may be silent for long (streams, WebSockets). Data
            that stays unacknowledged ends the connection after the same time (TCP_USER_TIMEOUT, RFC 5482).
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        return
    # A connection that was reset meanwhile refuses options on some systems; its next read says so.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not keep_alive:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_IDLE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_INTERVAL_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_ALIVE_PROBES)
            silence_ms = (KEEP_ALIVE_IDLE_S + KEEP_ALIVE_INTERVAL_S * KEEP_ALIVE_PROBES) * 1000
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, silence_ms)


if sys.platform == "win32":
    _pack_timeout = struct.Struct("@L").pack
else:
    _pack_timeout = struct.Struct("@ll").pack


def _timeout_option(timeout_ns: int) -> bytes:
    # A new bytes object of a few dozen bytes, not a shared buffer: two threads would overwrite each other's.
    if timeout_ns > _MAX_TIMEOUT_NS:
        timeout_ns = _MAX_TIMEOUT_NS
    if sys.platform == "win32":
        return _pack_timeout(max(-(-timeout_ns // NS_PER_MS), 1))
    # Zero would mean no timeout at all.
    timeout_us = -(-timeout_ns // NS_PER_US) if timeout_ns > 0 else 1
    return _pack_timeout(timeout_us // 1_000_000, timeout_us % 1_000_000)


def set_receive_timeout(sock: socket.socket, timeout_ns: int) -> None:
    """Bound each receive of a blocking socket (SO_RCVTIMEO), rounded up to µs; 0 and less mean the shortest, 1 µs.

    One system call of about 1.5 µs: move it only when it is off by more than TIMEOUT_SLACK_NS. Linux rounds it up to
    its clock tick, 1 to 10 ms.

    Raises:
        ReadError: the system refused, as some do once the peer has reset the connection.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeout_option(timeout_ns))
    except OSError as error:
        _receive_failed(error)


def set_send_timeout(sock: socket.socket, timeout_ns: int) -> None:
    """Bound each send of a blocking socket (SO_SNDTIMEO), as `set_receive_timeout` does for receives.

    Raises:
        WriteError: as there.
    """
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeout_option(timeout_ns))
    except OSError as error:
        _send_failed(error)


def receive_into(sock: socket.socket, view: bytearray | memoryview) -> int:
    """Receive into `view`, which must not be empty.

    Returns:
        How many bytes came, 0 at the end of the stream, or WOULD_BLOCK.

    Raises:
        ReadError: the connection was reset, or the system refused.
    """
    try:
        return sock.recv_into(view)
    except OSError as error:
        return _receive_failed(error)


def end_output(sock: socket.socket) -> bool:
    """Close the sending half; False: the connection has gone.

    A socket that a TLS engine wraps keeps its engine, which its own shutdown() would take away.
    """
    try:
        socket.socket.shutdown(sock, socket.SHUT_WR)
    except OSError:
        # It was reset meanwhile: nobody is left to tell.
        return False
    return True


def discard(sock: socket.socket, scratch: bytearray | memoryview) -> int:
    """Receive into `scratch` what nobody will look at, past a TLS engine if there is one; the socket never blocks.

    Returns:
        How many bytes came; 0 when none will come any more, for whatever reason; WOULD_BLOCK.
    """
    try:
        return socket.socket.recv_into(sock, scratch)
    except BlockingIOError:
        return WOULD_BLOCK
    except OSError:
        return 0


def receive_scattered(sock: socket.socket, views: Sequence[bytearray | memoryview]) -> int:
    """Receive into several views in order, with one system call; returns and raises as `receive_into` does."""
    try:
        return sock.recvmsg_into(views)[0]
    except OSError as error:
        return _receive_failed(error)


def receive_from_into(sock: socket.socket, view: bytearray | memoryview) -> tuple[int, SocketAddress | None]:
    """Receive one datagram into `view`, cut off where it is longer.

    Returns:
        Its length and sender; or WOULD_BLOCK and None. A length of 0 is an empty datagram, not an end.

    Raises:
        ReadError: the system refused, or a connected peer's host reported that nothing listens (ECONNREFUSED).
    """
    try:
        return sock.recvfrom_into(view)
    except OSError as error:
        return _receive_failed(error), None


def _receive_failed(error: OSError) -> int:
    # A timeout set with settimeout() carries no errno.
    if isinstance(error, BlockingIOError) or (isinstance(error, TimeoutError) and error.errno is None):
        return WOULD_BLOCK
    origin = Origin.LOCAL if error.errno in _EXHAUSTED or error.errno == errno.EBADF else Origin.REMOTE
    raise ReadError(f"reading failed: {_explain_error(error)}", errno=error.errno, origin=origin) from error


def send(sock: socket.socket, data: bytes | bytearray | memoryview) -> int:
    """Send as much of `data` as the socket takes now.

    Returns:
        How many bytes it took, or WOULD_BLOCK for none.

    Raises:
        WriteError: the connection was reset or closed, or the system refused.
    """
    try:
        return sock.send(data)
    except OSError as error:
        return _send_failed(error)


def send_gathered(sock: socket.socket, buffers: Sequence[bytes | bytearray | memoryview]) -> int:
    """Send several buffers in order with one system call; at most IOV_MAX, 1024 on Linux. Otherwise as `send`."""
    try:
        return sock.sendmsg(buffers)
    except OSError as error:
        return _send_failed(error)


def send_to(sock: socket.socket, data: bytes | bytearray | memoryview, address: SocketAddress) -> int:
    """Send one datagram, whole or not at all; returns and raises as `send` does."""
    try:
        return sock.sendto(data, address)
    except OSError as error:
        return _send_failed(error)


def _send_failed(error: OSError) -> int:
    if isinstance(error, BlockingIOError) or (isinstance(error, TimeoutError) and error.errno is None):
        return WOULD_BLOCK
    origin = Origin.LOCAL if error.errno in _EXHAUSTED or error.errno == errno.EBADF else Origin.REMOTE
    raise WriteError(f"writing failed: {_explain_error(error)}", errno=error.errno, origin=origin) from error


def unix_path(address: str) -> str | None:
    """Return the path of a Unix address, "/run/app.sock" or "unix:app.sock", or None where it is none.

    Raises:
        InvalidOption: the path is empty or has a NUL byte.
    """
    if address.startswith(_UNIX_PREFIX):
        path = address[len(_UNIX_PREFIX) :]
    elif address.startswith("/"):
        path = address
    else:
        return None
    if not path or "\0" in path:
        raise InvalidOption(f"address is {address!r}: a Unix socket needs a path without NUL bytes")
    return path


def listen(
    address: ListenAddress,
    *,
    backlog: int = LISTEN_BACKLOG,
    reuse_port: bool = False,
    dual_stack: bool = False,
    mode: int | None = None,
) -> socket.socket:
    """Return a non-blocking listening socket.

    Args:
        address: (host, port) with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock". A
            path left behind by a process that died is replaced, one that something listens on is not. Whoever
            closes the listener removes its path.
        backlog: connections that may wait to be accepted.
        reuse_port: let several processes listen on one port (SO_REUSEPORT).
        dual_stack: for an IPv6 address: take IPv4 clients too.
        mode: permission bits of a Unix socket's path; None leaves them to the umask.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
        NetworkError: the system refused; `errno` says why.
    """
    if backlog < 1:
        raise InvalidOption(f"backlog is {backlog}: it must be at least 1")
    if isinstance(address, str):
        path = unix_path(address)
        if path is None:
            raise InvalidOption(f'address is {address!r}: give (host, port), "/path" or "unix:path"')
        if reuse_port or dual_stack:
            raise InvalidOption("reuse_port and dual_stack are for (host, port) addresses")
        return _listen_unix(path, backlog, mode)
    if mode is not None:
        raise InvalidOption("mode is for Unix paths: a port has no permission bits")
    host, port = _checked_host_port(address)
    family, sockaddr = _numeric_listen_address(host, port)
    if dual_stack and family != socket.AF_INET6:
        raise InvalidOption(f"dual_stack needs an IPv6 address such as '::', and address is {address!r}")
    sock = open_tcp(family)
    try:
        if sys.platform != "win32":
            # A restarted server may listen although old connections linger in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            if sys.platform == "win32":
                raise InvalidOption("reuse_port: this platform has no SO_REUSEPORT")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise local_error(f"listen on {host} port {port}", error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def bind_udp(
    address: ListenAddress,
    *,
    reuse_port: bool = False,
    dual_stack: bool = False,
    buffer_bytes: int | None = None,
) -> socket.socket:
    """Return a non-blocking UDP socket that is bound to `address`, (host, port) with port 0 for any free one.

    Args:
        reuse_port, dual_stack: as in `listen`.
        buffer_bytes: SO_RCVBUF and SO_SNDBUF, which the system may cut; None leaves them as they are.

    Raises:
        InvalidOption, NetworkError: as `listen`.
    """
    host, port = _checked_host_port(address)
    family, sockaddr = _numeric_listen_address(host, port, socket.SOCK_DGRAM)
    if dual_stack and family != socket.AF_INET6:
        raise InvalidOption(f"dual_stack needs an IPv6 address such as '::', and address is {address!r}")
    sock = open_udp(family)
    try:
        if reuse_port:
            if sys.platform == "win32":
                raise InvalidOption("reuse_port: this platform has no SO_REUSEPORT")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual_stack else 1)
        if buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        sock.bind(sockaddr)
    except OSError as error:
        sock.close()
        raise local_error(f"listen for datagrams on {host} port {port}", error) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _checked_host_port(address: object) -> tuple[str, int]:
    if not isinstance(address, tuple) or len(address) != 2:
        raise InvalidOption(f'address is {address!r}: give (host, port), "/path" or "unix:path"')
    host, port = address
    if not isinstance(host, str):
        raise InvalidOption(f"address has the host {host!r}: give a str, '0.0.0.0' for every IPv4 interface")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65_535:
        raise InvalidOption(f"address has the port {port!r}: give an int from 0 to 65535")
    return host, port


def _numeric_listen_address(host: str, port: int, kind: int = socket.SOCK_STREAM) -> Address:
    try:
        literal = literal_addresses(host, port)
        if literal is not None:
            return literal[0]
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, InvalidUrl) as error:
        raise InvalidOption(f"address has the host {host!r}, which this machine cannot listen on: {error}") from error
    family, _, _, _, sockaddr = found[0]
    return Address(family, sockaddr)


def _listen_unix(path: str, backlog: int, mode: int | None) -> socket.socket:
    sock = open_unix()
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_abandoned(path):
                raise
            os.unlink(path)
            sock.bind(path)
        if mode is not None:
            # Nobody can connect before listen(), so no moment is open to the wrong user.
            os.chmod(path, mode)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        if error.errno is None:
            raise InvalidOption(f"address has the path {path!r}: {error}") from error
        raise local_error(f"listen on {path}", error) from error
    return sock


def _is_abandoned(path: str) -> bool:
    """Return whether `path` is a socket on which nothing listens any more."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    with open_unix() as probe:
        return start_connect(probe, path) == errno.ECONNREFUSED


def accept(listener: socket.socket) -> socket.socket | None:
    """Return the next waiting connection as a non-blocking socket, or None when there is none now.

    A connection that was aborted while it waited counts as none; a listener still ready shows again.

    Raises:
        NetworkError: `code` is "exhausted" when descriptors or memory ran out. The connection stays in the queue and
            the listener stays ready, so stop watching it for a while.
    """
    try:
        sock, _ = listener.accept()
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in _ACCEPT_LOST:
            return None
        raise local_error("accept a connection", error) from error
    return _unblocked(sock, "accept a connection")


def has_left(sock: socket.socket, *, half: bool) -> bool:
    """Return whether the peer is known to have gone, whatever of its bytes lies unread: one system call, no wait.

    Args:
        sock: a connected socket.
        half: take the end of the peer's stream for its leaving, where the system tells one without reading (Linux).
    """
    if sys.platform == "win32":
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    # Errors and hang-ups are reported unasked.
    waiter = select.poll()
    waiter.register(sock, select.POLLRDHUP if half and sys.platform == "linux" else 0)
    try:
        return bool(waiter.poll(0))
    except OSError:
        # No memory for it: the next look will tell.
        return False
