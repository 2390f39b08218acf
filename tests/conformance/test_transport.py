"""One contract for every non-blocking transport: a plain socket, TLS by each engine, memory, a network in it.

What a transport promises is the same, whatever lies between it and its peer: what moves, what waits, what ends. What
only TLS has (bytes inside the engine, tickets, alerts, engines that take all or nothing) follows at the end.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import pytest

from support.tls import Authority, Files, Network, Wire, raw_context, receive_waiting
from turbosock import limits
from turbosock.config import ClientAuth, TlsConfig, TlsProviderMode, TlsServerConfig, TlsVersion
from turbosock.errors import (
    ReadError,
    StateError,
    TlsHandshakeError,
    TlsRecordError,
    TlsTruncated,
    TurbosockError,
    WriteError,
)
from turbosock.reactor.clock import SYSTEM_CLOCK
from turbosock.reactor.context import COMPLETED, FREE, PENDING, Buffer, IOContext
from turbosock.reactor.poller import READABLE, WRITABLE
from turbosock.reactor.reactor import Reactor
from turbosock.testing.line import Line
from turbosock.testing.memory_peer import MemoryPeer
from turbosock.testing.memory_socket import MemorySocket
from turbosock.testing.memory_transport import MemoryTransport
from turbosock.testing.network_socket import NetworkSocket, join
from turbosock.testing.network_transport import NetworkTransport
from turbosock.testing.virtual_clock import VirtualClock
from turbosock.tls import DONE, WANTS_READ, WANTS_WRITE, TlsSession, provider_for
from turbosock.transport.tls_transport import LONG_RECORD_BYTES, TlsTransport
from turbosock.transport.transport import SaeaTransport

MS = 1_000_000
ENGINES = {"ssl": TlsProviderMode.SYSTEM_ONLY, "pyopenssl": TlsProviderMode.PYOPENSSL_ONLY}


class Far(Protocol):
    """The other end, as tests see it."""

    def send(self, data: bytes) -> None:
        """Send all of it."""

    def receive(self, count: int) -> bytes:
        """Exactly so many bytes."""

    def end(self) -> None:
        """End the stream in good order."""

    def close(self) -> None:
        """Close, in good order."""


class PlainFar:
    """A plain socket at the other end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        sock.settimeout(10)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += self.socket.recv(count - len(found))
        return found

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()


class TlsFar:
    """A TLS session at the other end."""

    def __init__(self, session: TlsSession) -> None:
        self.session = session

    def _wait(self, code: int) -> None:
        fd = [self.session.socket]
        assert any(select.select(fd if code == WANTS_READ else [], fd if code == WANTS_WRITE else [], [], 10))

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = self.session.send(view)
            if sent < 0:
                self._wait(sent)
            else:
                view = view[sent:]

    def receive(self, count: int) -> bytes:
        found = bytearray(count)
        view = memoryview(found)
        filled = 0
        while filled < count:
            got = self.session.recv_into(view[filled:], count - filled)
            if got < 0:
                self._wait(got)
            else:
                assert got, "the transport ended the stream"
                filled += got
        return bytes(found)

    def end(self) -> None:
        assert self.session.close_notify() == DONE

    def close(self) -> None:
        if self.session.socket.fileno() >= 0:
            self.session.close_notify()
            self.session.close()


class MemoryFar(MemoryPeer):
    """The peer of a connection in memory, which reads only what it is asked for."""

    def __init__(self) -> None:
        self.read = bytearray()
        self.gone = False
        self._changed = threading.Condition()
        self.memory = MemorySocket(self)
        self.memory.hold()

    def on_bytes(self, sock: MemorySocket, data: bytes) -> None:
        self.read += data

    def on_held(self, sock: MemorySocket) -> None:
        with self._changed:
            self._changed.notify_all()

    def on_closed(self, sock: MemorySocket) -> None:
        self.gone = True

    def send(self, data: bytes) -> None:
        self.memory.deliver(data)

    def receive(self, count: int) -> bytes:
        while len(self.read) < count:
            with self._changed:
                assert self._changed.wait_for(lambda: self.memory.held, 10), "nothing comes"
            self.memory.let_go(count - len(self.read), go_on=False)
        found = bytes(self.read[:count])
        del self.read[:count]
        return found

    def end(self) -> None:
        self.memory.end()

    def close(self) -> None:
        self.memory.leave()


class NetworkFar:
    """The other end of a connection in virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self.near, self.far = (NetworkSocket(clock, Line(Random(1))) for _ in range(2))
        join(self.near, self.far)
        self.clock = clock

    def send(self, data: bytes) -> None:
        self.far.limit(send_ns=5_000 * MS)
        assert self.far.send(data) == len(data)
        self.clock.look()

    def receive(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            buffer = bytearray(count - len(found))
            found += buffer[: self.far.recv_into(buffer)]
        self.clock.look()
        return found

    def end(self) -> None:
        self.far.shutdown(socket.SHUT_WR)
        self.clock.look()

    def close(self) -> None:
        self.far.close()
        self.clock.look()


class Material(NamedTuple):
    """What TLS needs: an authority, a client that trusts it, a server."""

    authority: Authority
    trusting: TlsConfig
    serving: TlsServerConfig
    files: Files


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    files = Files(tmp_path_factory.mktemp("material"))
    authority = Authority()
    serving = TlsServerConfig(files.certificate(authority.leaf()))
    return Material(authority, TlsConfig(ca_file=files.write(authority.pem)), serving, files)


class Made(NamedTuple):
    """A transport, and its other end."""

    transport: SaeaTransport
    far: Far


Maker = Callable[[Reactor | None], Made]


@pytest.fixture(params=["plain", "memory", "network", *ENGINES])
def maker(request: pytest.FixtureRequest, material: Material) -> Iterator[Maker]:
    """Makes connected pairs of one kind, closed when the test ends."""
    kind = request.param
    network = None if kind not in ENGINES else Network(provider_for(TlsConfig(provider=ENGINES[kind])))
    made: list[Made] = []

    def make(reactor: Reactor | None) -> Made:
        if kind == "memory":
            memory_far = MemoryFar()
            one = Made(MemoryTransport(memory_far.memory, reactor), memory_far)
        elif kind == "network":
            clock = VirtualClock() if reactor is None else reactor.clock
            assert isinstance(clock, VirtualClock), "as the fixture of the reactor says"
            network_far = NetworkFar(clock)
            one = Made(NetworkTransport(network_far.near, reactor), network_far)
        elif network is None:
            near, far = socket.socketpair()
            one = Made(SaeaTransport(near, reactor), PlainFar(far))
        else:
            client, server = network.connected(material.trusting, material.serving)
            one = Made(TlsTransport(client, reactor), TlsFar(server))
        made.append(one)
        return one

    yield make
    for transport, far in made:
        transport.close()
        far.close()
    if network is not None:
        network.close()


@pytest.fixture
def pair(maker: Maker) -> Made:
    """A transport that nobody drives but its caller."""
    return maker(None)


@pytest.fixture(params=["epoll", "poll", "select"])
def reactor(request: pytest.FixtureRequest) -> Iterator[Reactor]:
    virtual = request.node.callspec.params.get("maker") == "network"
    made = Reactor(request.param, VirtualClock() if virtual else SYSTEM_CLOCK)
    yield made
    made.close(lambda handler: None)


@pytest.fixture
def driven(maker: Maker, reactor: Reactor) -> Iterator[Made]:
    """A transport under a reactor of each poller; the reactor is the transport's own."""
    made = maker(reactor)
    yield made
    made.transport.close()


def turn(transport: SaeaTransport, timeout_s: float = 5.0) -> None:
    """Wait for something and serve all that is in line."""
    reactor = transport.reactor
    assert reactor is not None
    reactor.collect(timeout_s)
    while reactor.line:
        reactor.step()


class Noted:
    """Contexts whose completion was told."""

    def __init__(self) -> None:
        self.results: list[int] = []

    def __call__(self, context: IOContext) -> None:
        assert context.state == COMPLETED
        self.results.append(context.bytes_transferred)


def receive(transport: SaeaTransport, count: int = 100, budget_ns: int = 5_000 * MS) -> bytes | None:
    """What one receive brings, after waits for it; None: nothing within the budget."""
    buffer = bytearray(count)
    context = transport.receive_context
    for _ in range(5):
        context.set_buffer(buffer, 0, count)
        transport.await_readable(budget_ns)
        if not transport.receive(context):
            if context.error is not None:
                raise context.error
            return bytes(buffer[: context.bytes_transferred])
        context.disarm()
        if not budget_ns:
            break
    return None


def send(transport: SaeaTransport, data: Buffer, offset: int = 0, count: int | None = None) -> int:
    """What one send takes; -1: it pends, and was given up."""
    context = transport.send_context
    context.set_buffer(data, offset, len(data) if count is None else count)
    if transport.send(context):
        context.disarm()
        return -1
    if context.error is not None:
        raise context.error
    return context.bytes_transferred


# What every transport does


def test_transport_receives_what_has_come_and_counts_it(pair: Made) -> None:
    transport, far = pair
    far.send(b"hello")
    assert receive(transport) == b"hello"
    far.send(b"0123456789")
    assert receive(transport, 4) == b"0123"
    assert receive(transport) == b"456789"
    assert transport.bytes_in == 15


def test_transport_receives_into_a_part_and_leaves_the_rest_alone(pair: Made) -> None:
    transport, far = pair
    far.send(b"hello")
    buffer = bytearray(b"." * 10)
    context = transport.receive_context
    context.set_buffer(buffer, 3, 4)
    for _ in range(5):
        transport.await_readable(1_000 * MS)
        if not transport.receive(context):
            break
        context.disarm()
        context.set_buffer(buffer, 3, 4)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 4)
    assert buffer == b"...hell..."


def test_transport_at_the_end_of_the_stream_receives_nothing_again_and_again(pair: Made) -> None:
    transport, far = pair
    far.send(b"last")
    far.end()
    assert receive(transport) == b"last"
    assert receive(transport) == b""
    assert receive(transport) == b""
    assert transport.end_error() is None


def test_transport_without_records_receives_nothing_behind_what_came(pair: Made) -> None:
    transport, far = pair
    if transport.tls is None:
        far.send(b"hello")
        assert transport.receive_behind(memoryview(bytearray(10)), 0, 10) == 0
        assert receive(transport) == b"hello"


def test_transport_without_bytes_waits_no_longer_than_its_budget(pair: Made) -> None:
    transport, far = pair
    assert receive(transport, budget_ns=0) is None
    far.send(b"late")
    assert receive(transport) == b"late"


def test_transport_receive_of_nothing_is_a_wait_for_readiness(pair: Made) -> None:
    transport, far = pair
    far.send(b"hello")
    transport.await_readable(1_000 * MS)
    context = transport.receive_context
    context.set_buffer(b"", 0, 0)
    assert not transport.receive(context)
    assert (context.bytes_transferred, transport.bytes_in) == (0, 0)
    assert receive(transport) == b"hello"


def test_transport_sends_buffers_parts_and_vectors(pair: Made) -> None:
    transport, far = pair
    assert send(transport, b"abc") == 3
    assert send(transport, bytearray(b"0123456789"), 2, 5) == 5
    assert send(transport, memoryview(b"0123456789"), 0, 3) == 3
    context = transport.send_context
    context.set_vector([b"x", memoryview(b"yz"), bytearray(b"!")], 4)
    assert not transport.send(context)
    assert context.bytes_transferred == 4
    assert far.receive(15) == b"abc" + b"23456" + b"012" + b"xyz!"
    assert transport.bytes_out == 15


@pytest.mark.parametrize("state", [FREE, PENDING, COMPLETED])
def test_transport_refuses_a_context_that_is_not_configured(pair: Made, state: int) -> None:
    transport = pair.transport
    for context in (transport.receive_context, transport.send_context):
        context.state = state
        for operation in (transport.receive, transport.send, transport.send_later):
            with pytest.raises(StateError, match="on an I/O context in state"):
                operation(context)
        context.state = FREE


def test_transport_asked_whether_it_is_quiet_loses_no_byte(pair: Made) -> None:
    transport, far = pair
    assert transport.is_quiet()
    far.send(b"hello")
    for _ in range(3):
        assert not transport.is_quiet()
    assert receive(transport, 1) == b"h"
    if receive(transport, 100, 0) is None:
        pytest.fail("the rest of the bytes is gone")
    assert transport.bytes_in == 5
    assert transport.is_quiet()
    far.close()
    for _ in range(3):
        assert not transport.is_quiet()
    assert receive(transport) == b""


def test_transport_aborted_by_another_thread_ends_its_wait(pair: Made) -> None:
    transport = pair.transport
    results: list[bytes | TurbosockError | None] = []

    def wait() -> None:
        try:
            results.append(receive(transport, budget_ns=20_000 * MS))
        except TurbosockError as error:
            results.append(error)

    if isinstance(pair.far, NetworkFar):
        # A wait takes no time that another thread could use.
        pair.far.clock.after(1.0, transport.abort)
        wait()
    else:
        thread = threading.Thread(target=wait)
        thread.start()
        transport.abort()
        thread.join(10)
    assert results == [b""]
    assert transport.fd >= 0
    # Its owner closes it, as ever.
    transport.close()
    assert transport.fd == -1


def test_transport_is_aborted_and_closed_in_any_order(pair: Made) -> None:
    transport, far = pair
    transport.abort()
    transport.abort()
    transport.close()
    transport.close()
    transport.abort()
    assert transport.fd == -1
    assert transport.socket.fileno() == -1
    far.close()


def test_transport_closed_disarms_what_is_pending(pair: Made) -> None:
    transport = pair.transport
    for context in (transport.receive_context, transport.send_context):
        context.set_buffer(bytearray(10), 0, 10)
        context.state = PENDING
    transport.close()
    for context in (transport.receive_context, transport.send_context):
        assert context.state == FREE


def test_transport_that_is_closed_tells_its_peer(pair: Made) -> None:
    transport, far = pair
    transport.close()
    if isinstance(far, TlsFar):
        assert far.session.recv_into(bytearray(1), 1) == 0
        assert not far.session.truncated
    elif isinstance(far, MemoryFar):
        assert far.gone
    elif isinstance(far, NetworkFar):
        assert far.receive(0) == b""
        assert far.far.gone
    else:
        assert isinstance(far, PlainFar)
        assert far.socket.recv(1) == b""


def test_transport_that_is_dropped_says_nothing(pair: Made) -> None:
    # A copy for the other process, as after a fork.
    transport, far = pair
    if isinstance(far, MemoryFar):
        transport.drop()
        assert (transport.fd, transport.readable, far.gone) == (-1, False, False)
        return
    if isinstance(far, NetworkFar):
        transport.drop()
        far.clock.sleep(1.0)
        assert (transport.fd, transport.readable, far.far.ended) == (-1, False, False)
        return
    copy = transport.socket.fileno()
    kept = os.dup(copy)
    transport.drop()
    assert (transport.fd, transport.readable) == (-1, False)
    if isinstance(far, TlsFar):
        assert far.session.recv_into(bytearray(1), 1) == WANTS_READ
    else:
        assert isinstance(far, PlainFar)
        assert select.select([far.socket], [], [], 0)[0] == []
    os.close(kept)


# Under a reactor


def test_driven_receive_pends_until_bytes_come(driven: Made) -> None:
    transport, far = driven
    context = transport.receive_context
    context.completed = noted = Noted()
    buffer = bytearray(10)
    context.set_buffer(buffer, 0, 10)
    assert transport.receive(context)
    turn(transport, 0.0)
    assert (context.state, noted.results) == (PENDING, [])
    far.send(b"hello")
    turn(transport)
    assert noted.results == [5]
    assert bytes(buffer[:5]) == b"hello"
    assert transport.reactor is not None
    assert transport.reactor.bytes_in == 5


def test_driven_receive_that_completes_at_once_does_not_call_back(driven: Made) -> None:
    transport, far = driven
    context = transport.receive_context
    context.completed = noted = Noted()
    far.send(b"0123456789")
    context.set_buffer(b"", 0, 0)
    assert transport.receive(context)
    turn(transport)
    assert noted.results == [0]
    context.set_buffer(bytearray(4), 0, 4)
    assert not transport.receive(context)
    assert transport.readable
    context.set_buffer(bytearray(100), 0, 100)
    assert not transport.receive(context)
    assert context.bytes_transferred == 6
    # A short read says that there is no more, and asking again would be dear.
    assert not transport.readable
    context.set_buffer(bytearray(100), 0, 100)
    assert transport.receive(context)
    assert noted.results == [0]


def test_driven_arm_is_told_once(driven: Made) -> None:
    transport, far = driven
    transport.receive_context.completed = noted = Noted()
    transport.arm()
    transport.arm()
    far.send(b"x")
    turn(transport)
    assert noted.results == [0]
    assert transport.readable


def test_driven_that_nobody_reads_is_not_reported_in_every_turn(driven: Made) -> None:
    transport, far = driven
    far.send(b"x")
    turn(transport)
    assert transport.reactor is not None
    transport.reactor.collect(0.0)
    assert not transport.reactor.line
    assert transport.readable


def test_driven_send_pends_until_the_peer_reads_and_counts_it_once(driven: Made) -> None:
    transport, far = driven
    context = transport.send_context
    context.completed = noted = Noted()
    block = b"0123456789abcdef" * 4096
    taken = 0
    context.set_buffer(block, 0, len(block))
    while not transport.send(context):
        taken += context.bytes_transferred
        context.set_buffer(block, taken % len(block), len(block) - taken % len(block))
    turn(transport, 0.0)
    assert noted.results == []
    found: list[bytes] = []
    if isinstance(far, NetworkFar):
        far.clock.after(1.0, lambda: found.append(far.receive(taken)))
        turn(transport)
    else:
        reader = threading.Thread(target=lambda: found.append(far.receive(taken + 1)))
        reader.start()
        while not noted.results:
            turn(transport)
        reader.join(10)
    assert noted.results == [context.bytes_transferred]
    assert noted.results[0] > 0
    taken += noted.results[0]
    assert transport.bytes_out == taken
    assert transport.reactor is not None
    assert transport.reactor.bytes_out == taken
    assert found[0] == (block * (taken // len(block) + 1))[: len(found[0])]
    # Nothing is asked of the poller any more than reading.
    transport.reactor.collect(0.0)
    assert transport not in transport.reactor.line


def test_driven_send_later_leaves_in_the_next_turn(driven: Made) -> None:
    transport, far = driven
    context = transport.send_context
    context.completed = noted = Noted()
    context.set_vector([b"ab", b"c"], 3)
    transport.send_later(context)
    assert (context.state, transport.bytes_out) == (PENDING, 0)
    turn(transport)
    assert noted.results == [3]
    assert far.receive(3) == b"abc"


def test_driven_closed_in_its_send_callback_is_not_read_any_more(driven: Made) -> None:
    transport, far = driven
    transport.send_context.completed = lambda context: transport.close()
    transport.receive_context.completed = noted = Noted()
    transport.arm()
    transport.send_context.set_buffer(b"x", 0, 1)
    transport.send_later(transport.send_context)
    far.send(b"both ready in one turn")
    turn(transport)
    assert transport.fd == -1
    assert noted.results == []


def test_driven_closed_while_it_stands_in_line_is_passed_over(driven: Made) -> None:
    transport, far = driven
    transport.receive_context.completed = noted = Noted()
    transport.arm()
    far.send(b"x")
    reactor = transport.reactor
    assert reactor is not None
    reactor.collect(5.0)
    assert len(reactor.line) == 1
    transport.close()
    while reactor.line:
        reactor.step()
    assert noted.results == []


# What only TLS has


@pytest.fixture(params=list(ENGINES))
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    made = Network(provider_for(TlsConfig(provider=ENGINES[request.param])))
    yield made
    made.close()


@pytest.fixture
def wire(network: Network, material: Material) -> Wire:
    """A client, shaken hands, whose peer's bytes are in the test's hands."""
    made = network.wire(material.trusting, raw_context(material.files.write(material.authority.leaf().pem())))
    made.shake()
    return made


@pytest.fixture
def tls(wire: Wire) -> Iterator[TlsTransport]:
    made = TlsTransport(wire.client)
    yield made
    made.close()


def test_tls_transport_tells_what_was_agreed_on(tls: TlsTransport, wire: Wire) -> None:
    assert tls.tls is not None
    assert tls.tls.version == "TLSv1.3"
    assert not tls.blocking


def test_tls_bytes_inside_the_engine_keep_a_transport_readable(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(wire.server.encrypt(b"0123456789"))
    assert receive(tls, 4) == b"0123"
    # No poller sees the rest.
    assert select.select([tls.socket], [], [], 0)[0] == []
    assert tls.readable
    assert not tls.is_drained()
    assert not tls.is_quiet()
    # A wait is over before it begins.
    tls.await_readable(60_000 * MS)
    assert receive(tls) == b"456789"
    assert tls.is_drained()
    assert tls.is_quiet()


def test_tls_record_of_a_long_body_leaves_a_transport_readable(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(wire.server.encrypt(bytes(LONG_RECORD_BYTES)))
    assert receive(tls, 1 << 16) == bytes(LONG_RECORD_BYTES)
    assert tls.readable
    wire.far.sendall(wire.server.encrypt(bytes(LONG_RECORD_BYTES - 1)))
    assert receive(tls, 1 << 16) == bytes(LONG_RECORD_BYTES - 1)
    assert not tls.readable


def test_tls_ticket_is_no_speech_and_no_end(network: Network, material: Material) -> None:
    # The server's tickets are sent with the end of its handshake, and stand in the socket.
    client, server = network.connected(material.trusting, material.serving)
    transport = TlsTransport(client)
    assert select.select([transport.socket], [], [], 5)[0]
    assert transport.is_quiet()
    assert select.select([transport.socket], [], [], 0)[0] == []
    assert transport.is_drained()
    assert receive(transport, budget_ns=0) is None
    TlsFar(server).send(b"and then")
    assert not transport.is_quiet()
    assert receive(transport, 1) == b"a"
    assert receive(transport) == b"nd then"
    transport.close()


def test_tls_record_that_is_not_whole_is_no_byte(tls: TlsTransport, wire: Wire) -> None:
    record = wire.server.encrypt(b"0123456789")
    wire.far.sendall(record[:-1])
    assert select.select([tls.socket], [], [], 5)[0]
    assert receive(tls, budget_ns=0) is None
    assert tls.is_quiet()
    wire.far.sendall(record[-1:])
    assert not tls.is_quiet()
    assert not tls.is_drained()
    assert receive(tls, 100) == b"0"
    assert receive(tls, 100) == b"123456789"


def test_tls_damage_that_a_look_finds_is_still_there_for_the_receive(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(2):
        assert not tls.is_quiet()
    for _ in range(2):
        with pytest.raises(TlsRecordError):
            receive(tls)


def test_tls_damage_is_an_error_of_the_context_and_ends_no_process(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(b"no record at all")
    context = tls.receive_context
    context.set_buffer(bytearray(10), 0, 10)
    tls.await_readable(5_000 * MS)
    assert not tls.receive(context)
    assert isinstance(context.error, TlsRecordError)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 0)


def test_tls_end_without_close_notify_is_told(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(wire.server.encrypt(b"as much"))
    wire.far.shutdown(socket.SHUT_WR)
    assert receive(tls) == b"as much"
    assert tls.end_error() is None
    assert receive(tls) == b""
    assert isinstance(tls.end_error(), TlsTruncated)


def behind(transport: TlsTransport, until: int = 100) -> bytes:
    """The records that `receive_behind()` brings, as long as the next one begins before that place."""
    memory = bytearray(200)
    count = transport.receive_behind(memoryview(memory), 10, 10 + until)
    assert memory[:10] == bytes(10)
    return bytes(memory[10 : 10 + count])


def test_tls_records_behind_one_another_are_received_together(tls: TlsTransport, wire: Wire) -> None:
    for word in (b"one ", b"two ", b"three ", b"four"):
        wire.far.sendall(wire.server.encrypt(word))
    assert receive(tls) == b"one "
    assert behind(tls, 5) == b"two three "
    assert tls.readable
    assert behind(tls) == b"four"
    assert not tls.readable
    assert behind(tls) == b""
    assert tls.bytes_in == 18


@pytest.mark.parametrize("word", [b"", b"as much"])
def test_tls_end_behind_records_is_told_by_the_next_receive(tls: TlsTransport, wire: Wire, word: bytes) -> None:
    wire.far.sendall(wire.server.encrypt(b"first") + (wire.server.encrypt(word) if word else b""))
    wire.far.shutdown(socket.SHUT_WR)
    assert receive(tls) == b"first"
    assert behind(tls) == word
    assert tls.readable
    assert receive(tls) == b""
    assert isinstance(tls.end_error(), TlsTruncated)


def test_tls_damage_behind_records_is_told_by_the_next_receive(tls: TlsTransport, wire: Wire) -> None:
    wire.far.sendall(wire.server.encrypt(b"first") + wire.server.encrypt(b"second") + b"no record at all")
    assert receive(tls) == b"first"
    assert behind(tls) == b"second"
    with pytest.raises(TlsRecordError):
        receive(tls)


def test_tls_vector_that_is_small_is_one_record_and_a_large_one_begins_with_its_first(
    tls: TlsTransport, wire: Wire
) -> None:
    context = tls.send_context
    context.set_vector([b"head\r\n", b"body"], 10)
    assert not tls.send(context)
    assert context.bytes_transferred == 10
    record = receive_waiting(wire.far)
    # One header of a record, and no more than one.
    assert int.from_bytes(record[3:5], "big") == len(record) - 5
    assert wire.server.decrypt(record) == b"head\r\nbody"
    large = bytes(limits.JOINED_SEND_BYTES)
    context.set_vector([b"head\r\n", large], len(large) + 6)
    assert not tls.send(context)
    assert context.bytes_transferred == 6


def stall(transport: TlsTransport, block: bytes) -> int:
    """Send until a send pends; what was taken before."""
    context = transport.send_context
    taken = 0
    while True:
        context.set_buffer(block, 0, len(block))
        if transport.send(context):
            return taken
        taken += context.bytes_transferred


def test_tls_send_that_is_stalled_counts_as_progress_while_the_peer_reads(tls: TlsTransport, wire: Wire) -> None:
    # A small buffer of the kernel takes a few records at once.
    tls.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    block = bytes(limits.MAX_TLS_SEND_BYTES)
    before = tls.bytes_out + stall(tls, block)
    context = tls.send_context
    assert tls.bytes_out == before
    # Nobody reads: no progress.
    tls.await_writable(0)
    assert tls.bytes_out == before
    counts: list[float] = []
    # Little by little: the engine goes on holding the block, a part of which is on its way.
    while context.state == PENDING:
        wire.far.recv(20_000)
        tls.await_writable(0)
        if tls.bytes_out != (counts[-1] if counts else before):
            counts.append(tls.bytes_out)
    if wire.client.provider == "ssl":
        # The whole block is one call of the engine; pyOpenSSL takes record by record.
        assert len(counts) > 2
    assert counts == sorted(counts)
    assert context.bytes_transferred > 0
    assert tls.bytes_out == before + context.bytes_transferred


def test_tls_send_is_retried_with_its_bytes_whatever_is_received_meanwhile(tls: TlsTransport, wire: Wire) -> None:
    wire.far.setblocking(False)
    block = bytes(range(256)) * 1024
    expected = stall(tls, block)
    wire.far.sendall(wire.server.encrypt(b"stop it"))
    assert not tls.is_quiet()
    assert receive(tls, 100) == b"s"
    assert receive(tls, 100) == b"top it"
    context = tls.send_context
    found = b""
    while context.state == PENDING:
        found += receive_waiting(wire.far)
        tls.await_writable(5_000 * MS)
    found += receive_waiting(wire.far)
    expected += context.bytes_transferred
    plain = b""
    wire.server.incoming.write(found)
    while len(plain) < expected:
        plain += wire.server.engine.read(1 << 20)
    assert plain == (block * (expected // len(block) + 1))[:expected]


def test_tls_buffer_of_a_send_that_was_given_up_is_its_owners_again_after_close(tls: TlsTransport, wire: Wire) -> None:
    block = bytearray(limits.MAX_TLS_SEND_BYTES)
    context = tls.send_context
    while True:
        context.set_buffer(memoryview(block), 0, len(block))
        if tls.send(context):
            break
    context.disarm()
    tls.close()
    block += b"x"


def test_tls_refusal_is_the_reason_of_a_send_that_fails(network: Network, material: Material) -> None:
    # TLS 1.3 tells of a missing client certificate after the handshake, and then the server is gone.
    demanding = replace(material.serving, client_auth=ClientAuth.REQUIRED, client_ca_data=material.authority.pem)
    client, server = network.sessions(material.trusting, demanding)
    failed = False
    done = False
    for _ in range(20):
        done = done or client.handshake() == DONE
        try:
            server.handshake()
        except TlsHandshakeError:
            failed = True
            break
    assert failed
    assert done
    server.close()
    transport = TlsTransport(client)
    error = failed_send(transport)
    if isinstance(error, WriteError):
        # Releases of OpenSSL from 3.2 on read nothing more once a write has failed.
        assert network.provider.name == "pyOpenSSL" or ssl.OPENSSL_VERSION_INFO >= (3, 2)
    else:
        assert isinstance(error, TlsHandshakeError)
        assert error.reason == "client_certificate_required"
    transport.close()


def failed_send(transport: TlsTransport) -> TurbosockError:
    """What the first send says that notices that the peer is gone."""
    for _ in range(3):
        try:
            send(transport, b"a question")
        except TurbosockError as error:
            return error
    raise AssertionError("the peer is not gone")


def test_tls_send_to_a_peer_that_is_gone_is_a_write_error(network: Network, material: Material) -> None:
    client, server = network.connected(material.trusting, material.serving)
    transport = TlsTransport(client)
    # What it has sent before it went is heard first.
    assert transport.is_quiet()
    server.close()
    assert isinstance(failed_send(transport), WriteError)
    with pytest.raises((WriteError, StateError)):
        send(transport, b"another")
    # One connection's failure is not another's.
    other, far = network.connected(material.trusting, material.serving)
    following = TlsTransport(other)
    far.socket.close()
    assert receive(following) == b""
    assert isinstance(following.end_error(), TlsTruncated)
    transport.close()
    following.close()


def test_tls_dropped_transport_leaves_no_session_to_resume(network: Network, material: Material) -> None:
    config = replace(material.trusting, alpn=("dropped",))
    for version in TlsVersion:
        client, _ = network.connected(replace(config, maximum_version=version), material.serving)
        transport = TlsTransport(client)
        assert transport.is_quiet()
        sessions = client._context.sessions
        assert sessions is not None
        transport.drop()
        assert len(sessions) == 0


def test_tls_reset_completes_what_is_pending(network: Network, material: Material) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    reactor = Reactor("poll")
    client, server = network.client(near, material.trusting), network.server(far, material.serving)
    codes = [WANTS_READ, WANTS_READ]
    while codes != [DONE, DONE]:
        codes = [side.handshake() if code else code for side, code in zip((client, server), codes, strict=True)]
    transport = TlsTransport(client, reactor)
    turn(transport)
    assert transport.is_quiet()
    context = transport.receive_context
    context.completed = noted = Noted()
    context.set_buffer(bytearray(10), 0, 10)
    assert transport.receive(context)
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.socket.close()
    turn(transport)
    assert noted.results == [0]
    # `ssl` before Python 3.13 takes a reset for an end without close_notify.
    assert isinstance(context.error, ReadError) or isinstance(transport.end_error(), TlsTruncated)
    transport.close()
    reactor.close(lambda handler: None)


class OddSession:
    """A session whose engine needs the other direction, as renegotiations and key updates make it."""

    nested = False

    def __init__(self, sock: socket.socket, codes: list[int]) -> None:
        self.socket = sock
        self.codes = codes
        self.truncated = False

    def info(self) -> None:
        return None

    def pending(self) -> int:
        return 0

    def hides(self) -> bool:
        return False

    def recv_into(self, view: memoryview | bytearray, count: int) -> int:
        code = self.codes.pop(0)
        if code > 0:
            view[:code] = b"x" * code
        return code

    def send(self, data: Buffer) -> int:
        return self.codes.pop(0)

    def close_notify(self) -> int:
        return DONE

    def forget_tickets(self) -> None:
        return

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def odd() -> Iterator[tuple[TlsTransport, OddSession, socket.socket]]:
    near, far = socket.socketpair()
    session = OddSession(near, [])
    transport = TlsTransport(session)  # type: ignore[arg-type]  # a fake, with what a transport asks of a session
    yield transport, session, far
    transport.close()
    far.close()


def test_tls_read_that_wants_to_write_waits_for_that(odd: tuple[TlsTransport, OddSession, socket.socket]) -> None:
    transport, session, _ = odd
    session.codes = [WANTS_WRITE, 3]
    transport.readable = True
    context = transport.receive_context
    buffer = bytearray(10)
    context.set_buffer(buffer, 0, 10)
    assert transport.receive(context)
    # The socket is writable, and has nothing to read.
    transport.await_readable(5_000 * MS)
    assert (context.state, context.bytes_transferred, bytes(buffer[:3])) == (COMPLETED, 3, b"xxx")


def test_tls_records_behind_which_the_engine_wants_to_write_are_received(
    odd: tuple[TlsTransport, OddSession, socket.socket],
) -> None:
    transport, session, _ = odd
    session.codes = [3, 4, WANTS_WRITE]
    assert behind(transport) == b"x" * 7
    # The next receive asks again, and waits for it.
    assert transport.readable


def test_tls_read_that_wants_to_write_goes_on_waiting_after_its_budget(
    odd: tuple[TlsTransport, OddSession, socket.socket],
) -> None:
    transport, session, far = odd
    transport.socket.setblocking(False)
    far.setblocking(False)
    filled = 0
    try:
        while True:
            filled += transport.socket.send(bytes(65_536))
    except BlockingIOError:
        pass
    session.codes = [WANTS_WRITE, 3]
    transport.readable = True
    context = transport.receive_context
    context.set_buffer(bytearray(10), 0, 10)
    assert transport.receive(context)
    transport.await_readable(0)
    assert context.state == PENDING
    receive_waiting(far)
    transport.await_readable(5_000 * MS)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 3)


def test_tls_write_that_wants_to_read_waits_for_that(odd: tuple[TlsTransport, OddSession, socket.socket]) -> None:
    transport, session, far = odd
    session.codes = [WANTS_READ, 4]
    context = transport.send_context
    context.set_buffer(b"data", 0, 4)
    assert transport.send(context)
    assert transport._wait(0, write=True)
    transport.await_writable(0)
    assert context.state == PENDING
    far.sendall(b"a record")
    transport.await_writable(5_000 * MS)
    assert (context.state, context.bytes_transferred) == (COMPLETED, 4)
    assert transport.bytes_out == 4


def test_tls_directions_that_wait_for_each_other_are_told_apart(
    odd: tuple[TlsTransport, OddSession, socket.socket],
) -> None:
    transport, session, _ = odd
    session.codes = [WANTS_WRITE, WANTS_READ, 4, 3]
    transport.readable = True
    receiving, sending = transport.receive_context, transport.send_context
    receiving.set_buffer(bytearray(10), 0, 10)
    assert transport.receive(receiving)
    sending.set_buffer(b"data", 0, 4)
    assert transport.send(sending)
    transport.on_ready(READABLE | WRITABLE)
    assert (sending.state, sending.bytes_transferred) == (COMPLETED, 4)
    assert (receiving.state, receiving.bytes_transferred) == (COMPLETED, 3)


def test_tls_transport_that_failed_holds_nobody(network: Network, material: Material, tmp_path: Path) -> None:
    wire = network.wire(material.trusting, raw_context(material.files.write(material.authority.leaf().pem())))
    wire.shake()
    transport = TlsTransport(wire.client)
    wire.far.sendall(b"no record at all")
    assert not transport.is_quiet()

    class Owner:
        pass

    owner = Owner()
    transport.receive_context.completed = lambda context, owner=owner: None
    seen = weakref.ref(owner)
    transport.close()
    del owner, transport
    gc.collect()
    assert seen() is None
