"""One conformance suite for both transports, over socket pairs: what moves, what waits, what ends."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from turbosock import limits
from turbosock.connection.file_range import FileRange
from turbosock.errors import NetworkError, Origin, ReadError, StateError, WriteError
from turbosock.reactor.context import COMPLETED, CONFIGURED, FREE, PENDING, IOContext
from turbosock.reactor.poller import SingleWaiter
from turbosock.reactor.reactor import Reactor
from turbosock.transport.transport import SaeaTransport, StreamTransport, Transport

MS = 1_000_000
Pair = tuple[Transport, socket.socket]


@pytest.fixture(params=[StreamTransport, SaeaTransport], ids=["stream", "saea"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A transport of each kind and the plain socket at its other end."""
    near, far = socket.socketpair()
    far.settimeout(10)
    transport: Transport = request.param(near)
    yield transport, far
    transport.close()
    far.close()


def receive(transport: Transport, count: int = 100, budget_ns: int = 5_000 * MS) -> tuple[int, bytes]:
    """One receive after a wait for it: what `bytes_transferred` says, and the bytes."""
    buffer = bytearray(count)
    context = transport.receive_context
    context.set_buffer(buffer, 0, count)
    transport.await_readable(budget_ns)
    if transport.receive(context):
        context.disarm()
        return -1, b""
    assert context.error is None
    return context.bytes_transferred, bytes(buffer[: max(0, context.bytes_transferred)])


def send(transport: Transport, data: bytes) -> int:
    context = transport.send_context
    context.set_buffer(data, 0, len(data))
    if transport.send(context):
        context.disarm()
        return -1
    assert context.error is None
    return context.bytes_transferred


def test_receive_brings_what_has_come_and_counts_it(pair: Pair) -> None:
    transport, far = pair
    far.sendall(b"hello")
    assert receive(transport) == (5, b"hello")
    assert transport.bytes_in == 5
    far.sendall(b"0123456789")
    assert receive(transport, 4) == (4, b"0123")
    assert receive(transport, 100) == (6, b"456789")
    assert transport.bytes_in == 15


def test_receive_leaves_the_rest_of_the_buffer_alone(pair: Pair) -> None:
    transport, far = pair
    far.sendall(b"hello")
    buffer = bytearray(b"." * 10)
    context = transport.receive_context
    context.set_buffer(buffer, 3, 4)
    transport.await_readable(1_000 * MS)
    assert not transport.receive(context)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 4)
    assert buffer == b"...hell..."


def test_receive_at_the_end_of_the_stream_is_zero_again_and_again(pair: Pair) -> None:
    transport, far = pair
    far.sendall(b"last")
    far.shutdown(socket.SHUT_WR)
    assert receive(transport) == (4, b"last")
    assert receive(transport) == (0, b"")
    assert receive(transport) == (0, b"")


def test_receive_without_bytes_ends_with_its_budget(pair: Pair) -> None:
    transport, _ = pair
    assert receive(transport, budget_ns=20 * MS) == (-1, b"")
    # Whatever waited has ended: the next bytes are received as usual.
    pair[1].sendall(b"late")
    assert receive(transport) == (4, b"late")


def test_receive_of_nothing_is_a_wait_for_readiness(pair: Pair) -> None:
    transport, far = pair
    far.sendall(b"hello")
    transport.await_readable(1_000 * MS)
    context = transport.receive_context
    context.set_buffer(b"", 0, 0)
    assert not transport.receive(context)
    assert (context.bytes_transferred, transport.bytes_in) == (0, 0)
    assert receive(transport) == (5, b"hello")


def test_receive_after_a_reset_carries_the_error(pair: Pair) -> None:
    transport, far = pair
    # Closing with bytes unread resets a Unix stream, as it does TCP.
    assert send(transport, b"unread") == 6
    far.close()
    context = transport.receive_context
    context.set_buffer(bytearray(10), 0, 10)
    transport.await_readable(1_000 * MS)
    assert not transport.receive(context)
    assert isinstance(context.error, ReadError)
    assert context.error.errno is not None
    assert (context.state, context.bytes_transferred) == (COMPLETED, 0)


def test_send_moves_buffers_parts_and_vectors(pair: Pair) -> None:
    transport, far = pair
    assert send(transport, b"abc") == 3
    context = transport.send_context
    context.set_buffer(b"0123456789", 2, 5)
    assert not transport.send(context)
    assert context.bytes_transferred == 5
    context.set_buffer(b"0123456789", 0, 3)
    assert not transport.send(context)
    assert context.bytes_transferred == 3
    context.set_vector([b"x", memoryview(b"yz"), bytearray(b"!")], 4)
    assert not transport.send(context)
    assert context.bytes_transferred == 4
    assert far.recv(100) == b"abc" + b"23456" + b"012" + b"xyz!"
    assert transport.bytes_out == 15


def test_send_to_a_peer_that_is_gone_carries_the_error(pair: Pair) -> None:
    transport, far = pair
    far.close()
    context = transport.send_context
    context.set_buffer(b"x", 0, 1)
    assert not transport.send(context)
    assert isinstance(context.error, WriteError)
    assert context.state == COMPLETED


def fill(transport: Transport) -> int:
    """Send until the socket takes no more; how many bytes it took."""
    transport.allow_send(1 * MS)
    taken = 0
    while (count := send(transport, b"x" * 65_536)) > 0:
        taken += count
    return taken


def test_send_to_a_peer_that_does_not_read_ends_with_its_budget_and_goes_on_after(pair: Pair) -> None:
    transport, far = pair
    taken = fill(transport)
    assert taken == transport.bytes_out > 0
    context = transport.send_context
    context.set_buffer(b"last", 0, 4)
    pending = transport.send(context)
    assert pending is not transport.blocking
    if not pending:
        assert context.bytes_transferred == -1
    reader = threading.Thread(target=lambda: drain(far, taken))
    reader.start()
    transport.await_writable(5_000 * MS)
    if transport.blocking:
        context.set_buffer(b"last", 0, 4)
        assert not transport.send(context)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 4)
    reader.join(10)
    assert far.recv(10) == b"last"


def drain(sock: socket.socket, count: int) -> None:
    while count:
        count -= len(sock.recv(min(count, 65_536)))


@pytest.mark.parametrize("state", [FREE, PENDING, COMPLETED])
def test_context_that_is_not_configured_is_refused(pair: Pair, state: int) -> None:
    transport, _ = pair
    for context in (transport.receive_context, transport.send_context):
        context.state = state
        with pytest.raises(StateError, match="on an I/O context in state"):
            transport.receive(context)
        with pytest.raises(StateError, match="on an I/O context in state"):
            transport.send(context)
        with pytest.raises(StateError, match="on an I/O context in state"):
            transport.send_later(context)
        context.state = FREE


def test_quiet_is_asked_without_waiting_and_without_reading(pair: Pair) -> None:
    transport, far = pair
    assert transport.is_quiet()
    far.sendall(b"hello")
    assert not transport.is_quiet()
    assert receive(transport) == (5, b"hello")
    assert transport.is_quiet()
    far.close()
    assert not transport.is_quiet()


def test_connection_that_the_system_cannot_ask_about_is_not_quiet(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    transport, _ = pair

    def refuse(waiter: SingleWaiter, timeout_ns: int, write: bool = False) -> bool:
        raise NetworkError("no memory", errno=errno.ENOMEM, code="exhausted")

    monkeypatch.setattr(SingleWaiter, "wait", refuse)
    assert not transport.is_quiet()


def test_interposed_calls_see_what_moves_and_files_go_as_memory(pair: Pair) -> None:
    transport, far = pair
    assert transport.sends_files
    seen: list[object] = []

    def note(name: str, call: Callable[..., int]) -> Callable[..., int]:
        def noted(*args: Any) -> int:
            seen.append(name)
            return call(*args)

        return noted

    sock = transport.socket
    own = transport.interpose(note("recv", sock.recv_into), note("send", sock.send), note("sendmsg", sock.sendmsg))
    assert own == (sock.recv_into, sock.send, sock.sendmsg)
    assert not transport.sends_files
    send(transport, b"there")
    assert far.recv(10) == b"there"
    far.send(b"back")
    assert receive(transport)[1][:4] == b"back"
    assert seen == ["send", "recv"]


def test_abort_from_another_thread_ends_a_wait_for_bytes(pair: Pair) -> None:
    transport, _ = pair
    results: list[tuple[int, bytes]] = []
    thread = threading.Thread(target=lambda: results.append(receive(transport, budget_ns=20_000 * MS)))
    thread.start()
    transport.abort()
    thread.join(10)
    assert results == [(0, b"")]
    assert transport.fd >= 0


def test_abort_and_close_may_come_twice_and_in_any_order(pair: Pair) -> None:
    transport, far = pair
    transport.abort()
    transport.abort()
    assert far.recv(10) == b""
    transport.close()
    transport.close()
    transport.abort()
    assert transport.fd == -1


def test_close_disarms_what_is_pending(pair: Pair) -> None:
    transport, _ = pair
    for context in (transport.receive_context, transport.send_context):
        context.set_buffer(bytearray(10), 0, 10)
        context.state = PENDING
    transport.close()
    for context in (transport.receive_context, transport.send_context):
        assert context.state == FREE
        assert context.generation == 1
    assert transport.socket.fileno() == -1


# What a blocking transport does beside


def test_stream_moves_the_kernels_limit_only_when_it_is_off_by_much() -> None:
    near, far = socket.socketpair()
    transport = StreamTransport(near)
    with near, far:
        transport.await_readable(1_000 * MS)
        assert transport.receive_budget_ns == 1_000 * MS
        transport.await_readable(1_000 * MS - limits.TIMEOUT_SLACK_NS)
        assert transport.receive_budget_ns == 1_000 * MS
        transport.await_readable(1_000 * MS - limits.TIMEOUT_SLACK_NS - 1)
        assert transport.receive_budget_ns == 980 * MS - 1
        transport.await_readable(1_000 * MS + 1)
        assert transport.receive_budget_ns == 1_000 * MS + 1
        transport.allow_send(30 * MS)
        transport.allow_send(40 * MS)
        assert transport.send_budget_ns == 30 * MS
        transport.await_writable(60 * MS)
        assert transport.send_budget_ns == 60 * MS


def test_stream_waits_in_the_receive_itself() -> None:
    near, far = socket.socketpair()
    transport = StreamTransport(near)
    with near, far:
        assert (transport.blocking, transport.readable) == (True, True)
        assert near.getblocking()
        transport.await_readable(5_000 * MS)
        context = transport.receive_context
        buffer = bytearray(10)
        context.set_buffer(buffer, 0, 10)
        thread = threading.Thread(target=lambda: far.sendall(b"late"))
        thread.start()
        assert not transport.receive(context)
        assert bytes(buffer[:4]) == b"late"
        thread.join(10)


# What a non-blocking transport does beside, on a plain socket; the contract of every kind is in
# tests/conformance/test_transport.py.


class Noted:
    """Contexts whose completion was told."""

    def __init__(self) -> None:
        self.results: list[int] = []

    def __call__(self, context: IOContext) -> None:
        assert context.state == COMPLETED
        self.results.append(context.bytes_transferred)


@pytest.fixture(params=["epoll", "poll", "select"])
def driven(request: pytest.FixtureRequest) -> Iterator[tuple[SaeaTransport, socket.socket, Reactor]]:
    """A transport under a reactor of each poller, and the other end."""
    near, far = socket.socketpair()
    far.settimeout(10)
    reactor = Reactor(request.param)
    transport = SaeaTransport(near, reactor)
    yield transport, far, reactor
    transport.close()
    far.close()
    reactor.close(lambda handler: None)


def turn(reactor: Reactor, timeout_s: float = 5.0) -> None:
    """Wait for something and serve all that is in line."""
    reactor.collect(timeout_s)
    while reactor.line:
        reactor.step()


def test_saea_reset_completes_what_is_pending_with_the_error(
    driven: tuple[SaeaTransport, socket.socket, Reactor],
) -> None:
    transport, far, reactor = driven
    transport.send_context.set_buffer(b"unread", 0, 6)
    assert not transport.send(transport.send_context)
    context = transport.receive_context
    context.completed = noted = Noted()
    context.set_buffer(bytearray(10), 0, 10)
    assert context.state == CONFIGURED
    assert transport.receive(context)
    far.close()
    turn(reactor)
    assert noted.results == [0]
    assert isinstance(context.error, ReadError)


# A system that refuses


def refuse(reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the system watches nothing more, and stops watching nothing."""

    def refused(fd: int, read: bool, write: bool) -> None:
        raise OSError(errno.ENOMEM, "injected")

    monkeypatch.setattr(type(reactor._poller), "modify", staticmethod(refused))


def test_saea_that_cannot_be_watched_for_bytes_says_so(
    driven: tuple[SaeaTransport, socket.socket, Reactor], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, far, reactor = driven
    far.sendall(b"x")
    turn(reactor)
    # Nobody asks: it is not watched any more.
    transport.readable = False
    context = transport.receive_context
    with monkeypatch.context() as patch:
        refuse(reactor, patch)
        context.set_buffer(bytearray(10), 0, 10)
        with pytest.raises(NetworkError) as caught:
            transport.receive(context)
        assert caught.value.code == "exhausted" and context.state == FREE
        with pytest.raises(NetworkError):
            transport.arm()
        assert context.state == FREE
    transport.arm()
    context.completed = noted = Noted()
    turn(reactor)
    assert noted.results == [0]


def test_saea_that_cannot_be_watched_for_room_says_so(
    driven: tuple[SaeaTransport, socket.socket, Reactor], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, far, reactor = driven
    context = transport.send_context
    with monkeypatch.context() as patch:
        refuse(reactor, patch)
        context.set_buffer(b"later", 0, 5)
        with pytest.raises(NetworkError):
            transport.send_later(context)
        assert context.state == FREE
        # What the socket takes at once, and then no more.
        while SingleWaiter(transport.fd).wait(0, write=True):
            context.set_buffer(bytes(1 << 20), 0, 1 << 20)
            assert not transport.send(context)
        context.set_buffer(b"more", 0, 4)
        with pytest.raises(NetworkError) as caught:
            transport.send(context)
        assert caught.value.code == "exhausted" and context.state == FREE
    context.set_buffer(b"later", 0, 5)
    assert transport.send(context)
    far.recv(1 << 24)


def test_saea_whose_interest_cannot_be_dropped_tries_again(
    driven: tuple[SaeaTransport, socket.socket, Reactor], monkeypatch: pytest.MonkeyPatch
) -> None:
    transport, far, reactor = driven
    context = transport.send_context
    context.completed = noted = Noted()
    context.set_buffer(b"hello", 0, 5)
    transport.send_later(context)
    far.sendall(b"unasked")
    with monkeypatch.context() as patch:
        refuse(reactor, patch)
        turn(reactor)
        assert noted.results == [5]
        # Reported still, and harmless.
        turn(reactor, 0.0)
    turn(reactor, 0.0)
    reactor.collect(0.0)
    assert not reactor.line and noted.results == [5] and far.recv(10) == b"hello"


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
def test_saea_send_that_breaks_off_completes_with_it_and_raises_it(
    driven: tuple[SaeaTransport, socket.socket, Reactor], kind: type[BaseException]
) -> None:
    transport, _, reactor = driven

    def broken(data: object) -> int:
        raise kind

    context = transport.send_context
    context.completed = noted = Noted()
    context.set_buffer(b"hello", 0, 5)
    transport.send_later(context)
    transport._send = broken  # the socket's own method
    with pytest.raises(kind):
        turn(reactor)
    assert noted.results == [0] and type(context.error) is kind


def test_saea_that_was_closed_is_not_watched_any_more(driven: tuple[SaeaTransport, socket.socket, Reactor]) -> None:
    transport, _, _ = driven
    transport.close()
    context = transport.send_context
    context.set_buffer(b"hello", 0, 5)
    transport.send_later(context)
    transport.arm()
    context.disarm()


def test_stream_whose_wait_cannot_be_bounded_says_so() -> None:
    near, far = socket.socketpair()
    transport = StreamTransport(near)
    with far:
        transport.close()
        with pytest.raises(ReadError):
            transport.await_readable(1_000 * MS)
        with pytest.raises(WriteError):
            transport.allow_send(1_000 * MS)


# Files


def send_file(transport: Transport, path: Path, offset: int, count: int) -> int:
    """One send of a part of a file; -1 when there is no room."""
    context = transport.send_context
    with path.open("rb") as file:
        context.set_file(FileRange(file, 0, 10, 10), offset, count)
        if transport.send(context):
            context.disarm()
            return -1
    if context.error is not None:
        raise context.error
    return context.bytes_transferred


def test_file_is_sent_from_its_offset_and_counted(pair: Pair, tmp_path: Path) -> None:
    transport, far = pair
    (tmp_path / "file").write_bytes(b"0123456789")
    transport.allow_send(1_000 * MS)
    assert transport.sends_files
    assert send_file(transport, tmp_path / "file", 3, 5) == 5
    assert far.recv(100) == b"34567"
    assert transport.bytes_out == 5
    assert send_file(transport, tmp_path / "file", 10, 5) == 0
    # The next send is of memory again, and a blocking socket blocks again.
    assert send(transport, b"more") == 4
    assert far.recv(100) == b"more"
    assert transport.socket.getblocking() is transport.blocking
    assert os.get_blocking(transport.fd) is transport.blocking


def test_file_without_room_waits_no_longer_than_a_send_may(pair: Pair, tmp_path: Path) -> None:
    transport, _ = pair
    (tmp_path / "file").write_bytes(bytes(100_000))
    transport.allow_send(20 * MS)
    sent = 0
    for _ in range(1_000):
        count = send_file(transport, tmp_path / "file", 0, 100_000)
        if count < 0:
            break
        sent += count
    assert count == -1
    assert transport.bytes_out == sent
    assert os.get_blocking(transport.fd) is transport.blocking


def test_file_to_a_peer_that_is_gone_is_a_write_error_of_the_connection(pair: Pair, tmp_path: Path) -> None:
    transport, far = pair
    (tmp_path / "file").write_bytes(b"0123456789")
    transport.allow_send(1_000 * MS)
    far.close()
    with pytest.raises(WriteError, match="EPIPE") as caught:
        send_file(transport, tmp_path / "file", 0, 10)
    assert caught.value.origin is Origin.REMOTE


def test_file_that_was_closed_is_a_local_write_error(pair: Pair, tmp_path: Path) -> None:
    transport, _ = pair
    (tmp_path / "file").write_bytes(b"0123456789")
    transport.allow_send(1_000 * MS)
    with (tmp_path / "file").open("rb") as file:
        part = FileRange(file, 0, 10, 10)
    transport.send_context.set_file(part, 0, 10)
    assert not transport.send(transport.send_context)
    error = transport.send_context.error
    assert isinstance(error, WriteError)
    assert error.origin is Origin.LOCAL


def test_saea_file_goes_on_when_there_is_room(
    driven: tuple[SaeaTransport, socket.socket, Reactor], tmp_path: Path
) -> None:
    transport, far, reactor = driven
    (tmp_path / "file").write_bytes(bytes(100_000))
    context = transport.send_context
    context.completed = noted = Noted()
    with (tmp_path / "file").open("rb") as file:
        while True:
            context.set_file(FileRange(file, 0, 10, 10), 0, 100_000)
            if transport.send(context):
                break
        while not noted.results:
            far.recv(1 << 20)
            turn(reactor)
    assert noted.results[0] > 0 and context.state == COMPLETED
