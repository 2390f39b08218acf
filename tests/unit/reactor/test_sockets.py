"""The socket primitives, on loopback: codes for what is usual, our errors for what is broken."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from turbosock.errors import InvalidOption, NetworkError, Origin, ReadError, WriteError
from turbosock.reactor import sockets
from turbosock.reactor.poller import SingleWaiter

LONG_NS = 10_000_000_000

Pair = tuple[socket.socket, socket.socket]


def until_ready(sock: socket.socket, write: bool = False) -> None:
    assert SingleWaiter(sock.fileno()).wait(LONG_NS, write)


def connect(address: Any, family: int = socket.AF_INET) -> socket.socket:
    sock = sockets.open_unix() if isinstance(address, str) else sockets.open_tcp(family)
    code = sockets.start_connect(sock, address)
    if code in sockets.PENDING_CONNECT:
        until_ready(sock, write=True)
        code = sockets.connect_result(sock)
    assert code == sockets.CONNECTED, sockets.explain(code)
    return sock


def accept(listener: socket.socket) -> socket.socket:
    until_ready(listener)
    sock = sockets.accept(listener)
    assert sock is not None
    return sock


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with sockets.listen(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[Pair]:
    with connect(listener.getsockname()) as near, accept(listener) as far:
        yield near, far


@pytest.fixture
def dead_address() -> Iterator[Any]:
    """An address that is taken, and on which nothing listens."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        yield unheard.getsockname()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class FailingSocket(socket.socket):
    """A socket whose calls fail with one error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def accept(self) -> tuple[socket.socket, Any]:
        raise self.error

    def connect_ex(self, address: Any) -> int:
        raise self.error

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        raise self.error

    def send(self, data: Any, flags: int = 0) -> int:
        raise self.error

    def sendmsg(self, *arguments: Any) -> int:
        raise self.error

    def sendto(self, *arguments: Any) -> int:
        raise self.error


@pytest.mark.parametrize(
    "make",
    [lambda: sockets.open_tcp(socket.AF_INET), lambda: sockets.open_udp(socket.AF_INET), sockets.open_unix],
    ids=["tcp", "udp", "unix"],
)
def test_opened_socket_is_non_blocking_and_close_on_exec(make: Callable[[], socket.socket]) -> None:
    with make() as sock:
        assert sock.gettimeout() == 0.0 and not os.get_inheritable(sock.fileno())


def test_accepted_socket_is_non_blocking_and_close_on_exec(pair: Pair) -> None:
    assert pair[1].gettimeout() == 0.0 and not os.get_inheritable(pair[1].fileno())


@pytest.fixture
def no_descriptors(pair: Pair) -> Iterator[None]:
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_open_without_descriptors_left_says_exhausted(no_descriptors: None) -> None:
    with pytest.raises(NetworkError, match="too many open files") as caught:
        sockets.open_tcp(socket.AF_INET)
    error = caught.value
    assert (error.errno, error.code, error.origin) == (errno.EMFILE, "exhausted", Origin.LOCAL)


def test_open_of_an_unknown_family_is_a_local_error() -> None:
    with pytest.raises(NetworkError, match="cannot open a TCP socket") as caught:
        sockets.open_tcp(9999)
    assert caught.value.code == "network" and caught.value.origin is Origin.LOCAL


def test_connect_to_a_listener_succeeds_and_carries_bytes(pair: Pair) -> None:
    near, far = pair
    assert sockets.send(near, b"hello") == 5
    until_ready(far)
    view = bytearray(16)
    assert sockets.receive_into(far, view) == 5 and view[:5] == b"hello"


def test_connect_where_nothing_listens_is_refused(dead_address: Any) -> None:
    with sockets.open_tcp(socket.AF_INET) as sock:
        code = sockets.start_connect(sock, dead_address)
        if code in sockets.PENDING_CONNECT:
            until_ready(sock, write=True)
            code = sockets.connect_result(sock)
    assert code == errno.ECONNREFUSED
    assert "nothing listens there" in sockets.explain(code) and "ECONNREFUSED" in sockets.explain(code)


def test_connect_to_a_missing_path_returns_its_code(tmp_path: Path) -> None:
    with sockets.open_unix() as sock:
        assert sockets.start_connect(sock, str(tmp_path / "none")) == errno.ENOENT


def test_connect_to_a_path_that_is_too_long_returns_its_code() -> None:
    with sockets.open_unix() as sock:
        assert sockets.start_connect(sock, "/" + "x" * 300) == errno.ENAMETOOLONG


def test_connect_to_an_address_that_does_not_parse_returns_a_code() -> None:
    with FailingSocket(socket.gaierror(socket.EAI_NONAME, "no such name")) as sock:
        assert sockets.start_connect(sock, ("x", 1)) == errno.EINVAL


def test_unix_connect_with_a_full_backlog_is_a_failure_and_not_pending(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockets.listen(path, backlog=1):
        codes = []
        clients = [sockets.open_unix() for _ in range(4)]
        for client in clients:
            codes.append(sockets.start_connect(client, path))
            client.close()
    assert codes[0] == sockets.CONNECTED and codes[-1] == errno.EAGAIN
    assert errno.EAGAIN not in sockets.PENDING_CONNECT and "backlog" in sockets.explain(errno.EAGAIN)


def test_explain_of_an_unadvised_code_gives_the_systems_words() -> None:
    assert sockets.explain(errno.EISDIR) == f"{os.strerror(errno.EISDIR)} (EISDIR)"
    assert "errno 99999" in sockets.explain(99999)


def test_tune_turns_nagle_off_and_leaves_keep_alive_off(pair: Pair) -> None:
    near, _ = pair
    sockets.tune(near)
    assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_tune_for_keep_alive_bounds_the_silence_of_a_dead_peer(pair: Pair) -> None:
    near, _ = pair
    sockets.tune(near, keep_alive=True)
    assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    idle_s = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    interval_s = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
    probes = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
    silence_ms = near.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert silence_ms == (idle_s + interval_s * probes) * 1000 == 120_000


def test_tune_leaves_other_sockets_as_they_are() -> None:
    with sockets.open_unix() as unix, sockets.open_udp(socket.AF_INET) as udp:
        sockets.tune(unix, keep_alive=True)
        sockets.tune(udp, keep_alive=True)
        assert not udp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_tune_of_a_socket_that_refuses_options_raises_nothing(pair: Pair) -> None:
    near, _ = pair
    near.close()
    sockets.tune(near)


def kernel_timeout_us(sock: socket.socket, option: int) -> int:
    seconds, microseconds = struct.unpack("@ll", sock.getsockopt(socket.SOL_SOCKET, option, 16))
    return int(seconds) * 1_000_000 + int(microseconds)


SETTERS = [
    (sockets.set_receive_timeout, socket.SO_RCVTIMEO),
    (sockets.set_send_timeout, socket.SO_SNDTIMEO),
]


@pytest.mark.parametrize(("setter", "option"), SETTERS, ids=["receive", "send"])
@pytest.mark.parametrize("timeout_ns", [-(10**12), -1, 0, 1, 999, 1001])
def test_kernel_timeout_of_nothing_is_short_and_never_for_ever(
    pair: Pair, setter: Callable[[socket.socket, int], None], option: int, timeout_ns: int
) -> None:
    setter(pair[0], timeout_ns)
    assert 1 <= kernel_timeout_us(pair[0], option) <= 20_000


@pytest.mark.parametrize(("setter", "option"), SETTERS, ids=["receive", "send"])
@pytest.mark.parametrize("timeout_ns", [1_000_000_001, 59_999_999_001, 2_500_000_000])
def test_kernel_timeout_is_rounded_up(
    pair: Pair, setter: Callable[[socket.socket, int], None], option: int, timeout_ns: int
) -> None:
    setter(pair[0], timeout_ns)
    assert timeout_ns <= kernel_timeout_us(pair[0], option) * 1000 <= timeout_ns + 20_000_000


@pytest.mark.parametrize(("setter", "option"), SETTERS, ids=["receive", "send"])
def test_kernel_timeout_beyond_a_year_is_a_year(
    pair: Pair, setter: Callable[[socket.socket, int], None], option: int
) -> None:
    setter(pair[0], 10**30)
    assert kernel_timeout_us(pair[0], option) == 31_536_000 * 1_000_000


def test_blocking_receive_whose_kernel_timeout_passes_returns_would_block(pair: Pair) -> None:
    near, _ = pair
    near.setblocking(True)
    sockets.set_receive_timeout(near, 0)
    assert sockets.receive_into(near, bytearray(8)) == sockets.WOULD_BLOCK


def test_blocking_send_whose_kernel_timeout_passes_returns_would_block(pair: Pair) -> None:
    near, _ = pair
    near.setblocking(True)
    sockets.set_send_timeout(near, 0)
    block = bytes(1 << 20)
    for _ in range(100):
        if sockets.send(near, block) == sockets.WOULD_BLOCK:
            return
    pytest.fail("100 MiB went to a peer that does not read")


def test_receive_whose_settimeout_passes_returns_would_block(pair: Pair) -> None:
    near, _ = pair
    near.settimeout(0.001)
    assert sockets.receive_into(near, bytearray(8)) == sockets.WOULD_BLOCK


def receive_scattered_into(sock: socket.socket, view: bytearray) -> int:
    return sockets.receive_scattered(sock, [memoryview(view)[:1], memoryview(view)[1:]])


def receive_datagram_into(sock: socket.socket, view: bytearray) -> int:
    return sockets.receive_from_into(sock, view)[0]


RECEIVERS = [sockets.receive_into, receive_scattered_into, receive_datagram_into]
Receiver = Callable[[socket.socket, bytearray], int]


@pytest.mark.parametrize("receive", RECEIVERS)
def test_receive_without_bytes_returns_would_block(pair: Pair, receive: Receiver) -> None:
    assert receive(pair[0], bytearray(8)) == sockets.WOULD_BLOCK


@pytest.mark.parametrize("receive", RECEIVERS)
def test_receive_at_the_end_returns_zero(pair: Pair, receive: Receiver) -> None:
    near, far = pair
    far.send(b"last")
    far.close()
    until_ready(near)
    view = bytearray(8)
    assert receive(near, view) == 4 and view[:4] == b"last"
    until_ready(near)
    assert receive(near, view) == 0


@pytest.mark.parametrize("receive", RECEIVERS)
def test_receive_after_a_reset_raises_read_error(pair: Pair, receive: Receiver) -> None:
    near, far = pair
    reset(far)
    until_ready(near)
    with pytest.raises(ReadError, match="the peer reset the connection") as caught:
        receive(near, bytearray(8))
    assert caught.value.errno == errno.ECONNRESET and caught.value.origin is Origin.REMOTE
    assert isinstance(caught.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("receive", RECEIVERS)
def test_receive_from_a_closed_socket_is_a_local_error(pair: Pair, receive: Receiver) -> None:
    near, _ = pair
    near.close()
    with pytest.raises(ReadError) as caught:
        receive(near, bytearray(8))
    assert caught.value.errno == errno.EBADF and caught.value.origin is Origin.LOCAL


def test_receive_that_the_kernel_gave_up_is_an_error_and_not_would_block() -> None:
    with FailingSocket(TimeoutError(errno.ETIMEDOUT, "gone")) as sock, pytest.raises(ReadError, match="stopped"):
        sockets.receive_into(sock, bytearray(1))


def test_receive_scattered_fills_the_views_in_order(pair: Pair) -> None:
    near, far = pair
    far.send(b"abcdef")
    until_ready(near)
    first, second = bytearray(2), bytearray(8)
    assert sockets.receive_scattered(near, [first, second]) == 6
    assert bytes(first) == b"ab" and second[:4] == b"cdef"


def test_send_to_a_peer_that_does_not_read_ends_in_would_block(pair: Pair) -> None:
    near, _ = pair
    block = bytes(1 << 20)
    counts = [sockets.send(near, block)]
    while counts[-1] > 0:
        counts.append(sockets.send(near, block))
    assert counts[-1] == sockets.WOULD_BLOCK and counts[0] > 0
    assert sockets.send_gathered(near, [block, block]) == sockets.WOULD_BLOCK


@pytest.mark.parametrize(
    "transmit",
    [
        lambda sock: sockets.send(sock, b"x"),
        lambda sock: sockets.send_gathered(sock, [b"x", b"y"]),
        lambda sock: sockets.send_to(sock, b"x", ("127.0.0.1", 9)),
    ],
    ids=["send", "send_gathered", "send_to"],
)
def test_send_on_a_broken_connection_raises_write_error(transmit: Callable[[socket.socket], int]) -> None:
    with FailingSocket(BrokenPipeError(errno.EPIPE, "x")) as sock, pytest.raises(WriteError, match="closed") as caught:
        transmit(sock)
    assert caught.value.errno == errno.EPIPE and caught.value.origin is Origin.REMOTE
    with FailingSocket(OSError(errno.ENOBUFS, "none")) as sock, pytest.raises(WriteError) as caught:
        transmit(sock)
    assert caught.value.origin is Origin.LOCAL
    with FailingSocket(BlockingIOError(errno.EAGAIN, "wait")) as sock:
        assert transmit(sock) == sockets.WOULD_BLOCK
    with FailingSocket(TimeoutError("timed out")) as sock:
        assert transmit(sock) == sockets.WOULD_BLOCK


def test_send_after_a_shutdown_raises_write_error(pair: Pair) -> None:
    near, _ = pair
    near.shutdown(socket.SHUT_WR)
    with pytest.raises(WriteError) as caught:
        sockets.send(near, b"x")
    assert caught.value.errno == errno.EPIPE


def test_send_gathered_keeps_the_order_of_buffers(pair: Pair) -> None:
    near, far = pair
    assert sockets.send_gathered(near, [b"head ", bytearray(b"body "), memoryview(b"tail")]) == 14
    until_ready(far)
    assert far.recv(64) == b"head body tail"


def test_datagrams_carry_their_sender_and_may_be_empty() -> None:
    with sockets.open_udp(socket.AF_INET) as one, sockets.open_udp(socket.AF_INET) as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        view = bytearray(16)
        assert sockets.receive_from_into(two, view) == (sockets.WOULD_BLOCK, None)
        assert sockets.send_to(one, b"ping", two.getsockname()) == 4
        assert sockets.send_to(one, b"", two.getsockname()) == 0
        until_ready(two)
        assert sockets.receive_from_into(two, view) == (4, one.getsockname()) and view[:4] == b"ping"
        until_ready(two)
        assert sockets.receive_from_into(two, view) == (0, one.getsockname())


def test_listener_without_a_connection_accepts_none(listener: socket.socket) -> None:
    assert sockets.accept(listener) is None


def test_listener_address_in_use_names_it(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(
        NetworkError, match=f"cannot listen on 127.0.0.1 port {port}: something listens there"
    ) as caught:
        sockets.listen(("127.0.0.1", port))
    assert caught.value.errno == errno.EADDRINUSE and caught.value.origin is Origin.LOCAL


def test_listener_address_of_another_machine_is_refused_by_the_system() -> None:
    with pytest.raises(NetworkError, match="does not have that address") as caught:
        sockets.listen(("192.0.2.1", 0))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_listener_restarted_while_old_connections_linger_listens_again(listener: socket.socket) -> None:
    address = listener.getsockname()
    with connect(address) as near, accept(listener) as far:
        # The side that closes first keeps the port in TIME_WAIT.
        far.close()
        until_ready(near)
    listener.close()
    with sockets.listen(address) as again:
        assert again.getsockname() == address


def test_listeners_with_reuse_port_share_a_port() -> None:
    with (
        sockets.listen(("127.0.0.1", 0), reuse_port=True) as first,
        sockets.listen(first.getsockname(), reuse_port=True) as second,
    ):
        assert second.getsockname() == first.getsockname()


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
@pytest.mark.parametrize("dual_stack", [False, True])
def test_ipv6_listener_takes_ipv4_only_with_dual_stack(dual_stack: bool) -> None:
    with sockets.listen(("::", 0), dual_stack=dual_stack) as listener:
        port = listener.getsockname()[1]
        with connect(("::1", port, 0, 0), socket.AF_INET6), accept(listener):
            pass
        if dual_stack:
            with connect(("127.0.0.1", port)), accept(listener):
                pass
        else:
            with sockets.open_tcp(socket.AF_INET) as sock:
                code = sockets.start_connect(sock, ("127.0.0.1", port))
                if code in sockets.PENDING_CONNECT:
                    until_ready(sock, write=True)
                    code = sockets.connect_result(sock)
                assert code == errno.ECONNREFUSED


def test_listener_on_localhost_is_on_loopback() -> None:
    with sockets.listen(("localhost", 0)) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "options", "complaint"),
    [
        ("example", {}, "address is 'example'"),
        ("", {}, "address is ''"),
        ("unix:", {}, "Unix socket needs a path"),
        ("/a\0b", {}, "NUL"),
        ("/" + "x" * 300, {}, "address has the path"),
        ("/x", {"reuse_port": True}, "reuse_port"),
        ("/x", {"dual_stack": True}, "dual_stack"),
        (("127.0.0.1", 0), {"mode": 0o600}, "mode"),
        (("127.0.0.1", 0), {"backlog": 0}, "backlog"),
        (("127.0.0.1", 0), {"dual_stack": True}, "dual_stack"),
        (("127.0.0.1", -1), {}, "port -1"),
        (("127.0.0.1", 65_536), {}, "port 65536"),
        (("127.0.0.1", True), {}, "port True"),
        (("127.0.0.1", "80"), {}, "port '80'"),
        (("127.0.0.1",), {}, "address is"),
        ((b"127.0.0.1", 1), {}, "host b'127.0.0.1'"),
        (("127.1", 0), {}, "four decimal numbers"),
        (("", 0), {}, "address has the host ''"),
        (5, {}, "address is 5"),
    ],
)
def test_listen_with_a_wrong_argument_names_it(address: Any, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidOption, match=complaint):
        sockets.listen(address, **options)


@pytest.mark.parametrize("prefix", ["", "unix:"])
def test_unix_listener_accepts_at_its_path_with_its_mode(tmp_path: Path, prefix: str) -> None:
    path = str(tmp_path / "s")
    with sockets.listen(prefix + path, mode=0o600) as listener:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with connect(path) as near, accept(listener) as far:
            assert sockets.send(near, b"x") == 1
            until_ready(far)
            assert sockets.receive_into(far, bytearray(4)) == 1


def test_unix_listener_replaces_an_abandoned_path(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    sockets.listen(path).close()
    assert os.path.exists(path)
    with sockets.listen(path) as listener, connect(path), accept(listener):
        pass


def test_unix_listener_leaves_a_path_in_use_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with sockets.listen(path) as first:
        with pytest.raises(NetworkError, match="something listens there") as caught:
            sockets.listen(path)
        assert caught.value.errno == errno.EADDRINUSE
        with connect(path), accept(first):
            pass


def test_unix_listener_never_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    with pytest.raises(NetworkError):
        sockets.listen(str(path))
    assert path.read_bytes() == b"precious"


def test_unix_listener_in_a_missing_directory_names_the_path(tmp_path: Path) -> None:
    path = str(tmp_path / "none" / "s")
    with pytest.raises(NetworkError, match=f"cannot listen on {path}") as caught:
        sockets.listen(path)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
def test_accept_of_a_connection_that_is_gone_returns_none(code: int) -> None:
    with FailingSocket(OSError(code, "gone")) as listener:
        assert sockets.accept(listener) is None


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_accept_with_the_system_exhausted_says_so(code: int) -> None:
    with FailingSocket(OSError(code, "none")) as listener, pytest.raises(NetworkError, match="accept") as caught:
        sockets.accept(listener)
    assert (caught.value.code, caught.value.errno, caught.value.origin) == ("exhausted", code, Origin.LOCAL)


def test_accept_without_descriptors_left_keeps_the_connection_waiting(listener: socket.socket) -> None:
    with connect(listener.getsockname()):
        until_ready(listener)
        lowest = os.dup(0)
        os.close(lowest)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(NetworkError, match="too many open files"):
                sockets.accept(listener)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with accept(listener):
            pass


def test_accept_on_a_broken_listener_is_a_local_error() -> None:
    with FailingSocket(OSError(errno.EINVAL, "not listening")) as listener, pytest.raises(NetworkError) as caught:
        sockets.accept(listener)
    assert caught.value.errno == errno.EINVAL and caught.value.code == "network"


def finish(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(("leave", "known", "known_by_half"), [(reset, True, True), (finish, False, True)])
def test_peer_that_left_behind_unread_bytes_is_known_to_have_left(
    pair: Pair, leave: Callable[[socket.socket], None], known: bool, known_by_half: bool
) -> None:
    near, far = pair
    far.sendall(b"unread")
    until_ready(near)
    assert not sockets.has_left(near, half=False) and not sockets.has_left(near, half=True)
    leave(far)
    # Unread bytes make the socket readable before and after: only the end itself can be waited for.
    ended = select.poll()
    ended.register(near, select.POLLRDHUP)
    assert ended.poll(LONG_NS // 1_000_000)
    assert (sockets.has_left(near, half=False), sockets.has_left(near, half=True)) == (known, known_by_half)


def test_peer_of_a_unix_socket_that_closed_is_known_to_have_left() -> None:
    near, far = socket.socketpair()
    with near:
        far.sendall(b"unread")
        far.shutdown(socket.SHUT_WR)
        assert not sockets.has_left(near, half=False)
        far.close()
        assert sockets.has_left(near, half=False)


def test_look_for_a_peer_that_the_system_refuses_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoMemory:
        def register(self, sock: socket.socket, mask: int) -> None:
            """Takes every socket."""

        def poll(self, timeout_ms: int) -> list[tuple[int, int]]:
            raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr("turbosock.reactor.sockets.select.poll", NoMemory)
    near, far = socket.socketpair()
    with near, far:
        assert not sockets.has_left(near, half=True)


# A system that refuses


class Refusing:
    """A socket whose every call is refused."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.closed = False

    def _refuse(self, *arguments: object) -> Any:
        raise OSError(self.code, "injected")

    getsockopt = setsockopt = setblocking = _refuse

    def close(self) -> None:
        self.closed = True


def test_connect_whose_outcome_cannot_be_asked_has_failed() -> None:
    assert sockets.connect_result(cast("socket.socket", Refusing(errno.ENOBUFS))) == errno.ENOBUFS


@pytest.mark.parametrize(
    ("bound", "kind"), [(sockets.set_receive_timeout, ReadError), (sockets.set_send_timeout, WriteError)]
)
def test_time_limit_that_the_system_refuses_raises_in_our_words(
    bound: Callable[[socket.socket, int], None], kind: type[NetworkError]
) -> None:
    for code, origin in ((errno.ENOBUFS, Origin.LOCAL), (errno.EINVAL, Origin.REMOTE)):
        with pytest.raises(kind) as caught:
            bound(cast("socket.socket", Refusing(code)), 1_000_000)
        assert caught.value.errno == code and caught.value.origin is origin


def test_socket_that_cannot_be_set_up_is_closed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = Refusing(errno.ENOMEM)
    monkeypatch.setattr(socket, "socket", lambda *arguments: refusing)
    with pytest.raises(NetworkError, match="open a TCP socket") as caught:
        sockets.open_tcp(socket.AF_INET)
    assert caught.value.code == "exhausted" and refusing.closed
    with pytest.raises(NetworkError, match="set up a socket"):
        sockets.set_blocking(cast("socket.socket", refusing), True)
