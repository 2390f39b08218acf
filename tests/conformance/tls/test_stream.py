"""Bytes after the handshake, on both providers: codes, resends, ends of every kind, damage, key updates, memory."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO

import pytest
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from support.tls import (
    Authority,
    Files,
    Network,
    Wire,
    raw_context,
    receive,
    receive_waiting,
    shake,
)
from turbosock import limits
from turbosock.config import TlsConfig, TlsServerConfig, TlsVersion
from turbosock.errors import ReadError, StateError, TlsError, TlsRecordError, TlsTruncated, WriteError
from turbosock.tls import DONE, WANTS_READ, WANTS_WRITE, TlsSession

PATTERN = bytes(range(251)) * 8192


@pytest.fixture
def pair(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> tuple[TlsSession, TlsSession]:
    return network.connected(trusting, serving)


@pytest.fixture
def wire(network: Network, authority: Authority, trusting: TlsConfig, files: Files) -> Wire:
    made = network.wire(trusting, raw_context(files.write(authority.leaf().pem())))
    made.shake()
    return made


def test_bytes_go_both_ways_and_reads_without_any_want_more(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    assert receive(client) == WANTS_READ
    assert client.send(b"question") == 8
    assert receive(server) == b"question"
    assert server.send(bytearray(b"answer")) == 6
    assert receive(client) == b"answer"
    assert client.send(memoryview(b"more")[1:]) == 3
    assert receive(server) == b"ore"
    assert receive(server) == WANTS_READ


def test_read_of_a_part_leaves_the_rest_pending_where_no_poller_sees_it(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    server.send(b"0123456789")
    buffer = bytearray(b"." * 20)
    view = memoryview(buffer)
    assert client.pending() == 0
    assert client.recv_into(view[5:], 4) == 4
    assert buffer == b".....0123..........."
    assert client.pending() == 6
    assert select.select([client.socket], [], [], 0)[0] == []
    assert client.recv_into(buffer, 20) == 6
    assert buffer[:6] == b"456789"
    assert client.pending() == 0


def test_read_returns_at_most_its_count_and_a_record(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    assert server.send(PATTERN[: 3 * limits.TLS_RECORD_BYTES]) > 0
    buffer = bytearray(4 * limits.TLS_RECORD_BYTES)
    assert 0 < client.recv_into(memoryview(buffer), len(buffer)) <= limits.TLS_RECORD_BYTES


def pump(sender: TlsSession, receiver: TlsSession, data: memoryview) -> tuple[bytes, int]:
    """Send all of `data`, reading only when the sender would block; what arrived, and how often it would have."""
    arrived = bytearray()
    buffer = bytearray(1 << 16)
    blocked = position = 0
    while position < len(data) or len(arrived) < len(data):
        if position < len(data):
            sent = sender.send(data[position:])
            if sent > 0:
                position += sent
                continue
            assert sent == WANTS_WRITE
            blocked += 1
        while (count := receiver.recv_into(buffer, len(buffer))) > 0:
            arrived += buffer[:count]
        assert count == WANTS_READ
    return bytes(arrived), blocked


def test_send_of_more_than_the_socket_takes_is_resumed_without_loss(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    for sender, receiver in (pair, (server, client)):
        arrived, blocked = pump(sender, receiver, memoryview(PATTERN))
        assert arrived == PATTERN
        assert blocked > 0


def test_send_takes_a_bounded_step(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> None:
    client, server = network.connected(trusting, serving)
    for end in (client, server):
        end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    sent = client.send(PATTERN)
    assert sent == WANTS_WRITE or 0 < sent <= limits.MAX_TLS_SEND_BYTES


def block(sender: TlsSession, data: memoryview) -> int:
    """Send until the socket takes no more; the position of the call that would have blocked."""
    position = 0
    while (sent := sender.send(data[position:])) > 0:
        position += sent
    assert sent == WANTS_WRITE
    return position


def drain(receiver: TlsSession) -> bytes:
    """Everything that has arrived."""
    arrived = bytearray()
    while isinstance(piece := receive(receiver), bytes) and piece:
        arrived += piece
    return bytes(arrived)


def test_send_that_would_block_keeps_its_bytes_at_their_address(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    source = bytearray(PATTERN)
    position = block(client, memoryview(source))
    # The engine is to find the same bytes in the same place: the session holds the memory.
    with pytest.raises(BufferError):
        source.append(0)
    arrived = drain(server)
    # Other bytes of the same length are not what is sent: the first call's are.
    sent = client.send(bytes(len(source) - position))
    while sent < 0:
        arrived += drain(server)
        sent = client.send(bytes(len(source) - position))
    arrived += drain(server)
    assert arrived == PATTERN[: position + sent]
    source.append(0)


def test_send_of_fewer_bytes_than_wait_is_refused(pair: tuple[TlsSession, TlsSession]) -> None:
    client, _ = pair
    block(client, memoryview(PATTERN))
    with pytest.raises(StateError, match="with the same bytes"):
        client.send(b"x")


def test_reads_go_on_while_a_send_waits(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    position = block(client, memoryview(PATTERN))
    server.send(b"meanwhile")
    assert receive(client) == b"meanwhile"
    arrived = drain(server)
    while (sent := client.send(memoryview(PATTERN)[position:])) < 0:
        arrived += drain(server)
    assert arrived + drain(server) == PATTERN[: position + sent]


def test_close_notify_ends_the_stream_properly(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    server.send(b"last")
    assert server.close_notify() == DONE
    assert receive(client) == b"last"
    assert receive(client) == b""
    assert not client.truncated
    assert receive(client) == b""
    # The other direction is still open.
    assert client.send(b"one more") == 8
    assert receive(server) == b"one more"
    assert client.close_notify() == DONE
    assert receive(server) == b""
    assert server.close_notify() == DONE
    with pytest.raises(StateError):
        server.send(b"after the end")


def test_close_without_close_notify_is_a_truncation(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    server.send(b"half of it")
    server.close()
    assert receive(client) == b"half of it"
    assert receive(client) == b""
    assert client.truncated
    assert receive(client) == b""
    error = client.truncation()
    assert isinstance(error, TlsTruncated)
    assert error.reason == "truncated"
    assert "without close_notify" in str(error)


@pytest.mark.parametrize("kept", [1, 4, 5, 6, 30])
def test_record_cut_in_half_waits_and_then_is_a_truncation(wire: Wire, kept: int) -> None:
    record = wire.server.encrypt(b"0123456789")
    wire.far.sendall(record[:kept])
    assert {receive(wire.client) for _ in range(10)} == {WANTS_READ}
    wire.far.close()
    assert receive(wire.client) == b""
    assert wire.client.truncated


def test_record_in_single_bytes_arrives_whole(wire: Wire) -> None:
    record = wire.server.encrypt(b"0123456789")
    for index in range(len(record) - 1):
        wire.far.sendall(record[index : index + 1])
        assert receive(wire.client) == WANTS_READ
    wire.far.sendall(record[-1:])
    assert receive(wire.client) == b"0123456789"
    assert wire.client.send(b"thanks") == 6
    assert wire.server.decrypt(receive_waiting(wire.far)) == b"thanks"
    wire.far.sendall(wire.server.say_goodbye())
    assert receive(wire.client) == b""
    assert not wire.client.truncated


def test_record_with_one_bit_flipped_is_an_error(wire: Wire) -> None:
    record = bytearray(wire.server.encrypt(b"0123456789"))
    record[-3] ^= 1
    wire.far.sendall(record)
    with pytest.raises(TlsRecordError, match="changed the bytes") as caught:
        receive(wire.client)
    assert caught.value.reason == "malformed"


def test_record_sent_twice_is_an_error(wire: Wire) -> None:
    record = wire.server.encrypt(b"0123456789")
    wire.far.sendall(record + record)
    assert receive(wire.client) == b"0123456789"
    with pytest.raises(TlsRecordError):
        receive(wire.client)


def test_plaintext_inside_tls_is_an_error(wire: Wire) -> None:
    wire.far.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(TlsRecordError):
        receive(wire.client)


def test_alert_in_plaintext_is_an_error(wire: Wire) -> None:
    wire.far.sendall(b"\x15\x03\x03\x00\x02\x01\x00")
    with pytest.raises(TlsError):
        receive(wire.client)
    assert not wire.client.truncated


def test_session_that_failed_is_not_resumed(network: Network, trusting: TlsConfig, wire: Wire) -> None:
    wire.far.sendall(b"garbage, and not a record")
    with pytest.raises(TlsRecordError):
        receive(wire.client)
    wire.client.close()
    sessions = network.provider.client_context(trusting).sessions
    assert sessions is not None
    assert len(sessions) == 0


def reset(session: TlsSession) -> None:
    """Close a TCP socket with a reset."""
    session.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    session.close()


def tcp_pair(network: Network, trusting: TlsConfig, serving: TlsServerConfig) -> tuple[TlsSession, TlsSession]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    client, server = network.client(near, trusting), network.server(far, serving)
    deadline = time.monotonic() + 10
    codes = [WANTS_READ, WANTS_READ]
    while codes != [DONE, DONE]:
        select.select([client.socket, server.socket], [], [], 0.01)
        codes = [side.handshake() if code else code for side, code in zip((client, server), codes, strict=True)]
        assert time.monotonic() < deadline
    return client, server


def test_connection_reset_is_a_network_error_and_no_tls_one(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = tcp_pair(network, trusting, serving)
    reset(server)
    select.select([client.socket], [], [], 10)
    failure: ReadError | None = None
    try:
        assert receive(client) == b""
    except ReadError as error:
        failure = error
    # `ssl` before Python 3.13 cannot tell a reset from an end without close_notify.
    assert client.truncated if failure is None else failure.errno
    assert failure is not None or (network.provider.name == "ssl" and sys.version_info < (3, 13))
    assert client.close_notify() == DONE


def test_send_into_a_connection_that_was_reset_is_a_network_error(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    client, server = tcp_pair(network, trusting, serving)
    reset(server)
    select.select([client.socket], [], [], 10)
    with pytest.raises(WriteError, match="writing failed"):
        client.send(b"to nobody")
    with pytest.raises(StateError, match="failed"):
        client.send(b"to nobody")
    # What the peer had said might still be read; here that was nothing.
    failure: ReadError | None = None
    try:
        assert receive(client) == b""
    except ReadError as error:
        failure = error
    assert client.truncated if failure is None else failure.errno


def test_failed_send_leaves_no_error_for_the_next_call(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig
) -> None:
    # OpenSSL's queue of errors is the thread's: what is left in it is told to the next call, of any connection.
    client, server = tcp_pair(network, trusting, serving)
    reset(server)
    select.select([client.socket], [], [], 10)
    with pytest.raises(WriteError):
        client.send(b"to nobody")
    # pyOpenSSL has no word for this.
    assert Binding().lib.ERR_peek_error() == 0


def test_unwrap_gives_the_socket_back_in_plaintext(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    codes = [client.unwrap()]
    assert codes == [WANTS_READ]
    assert receive(server) == b""
    for _ in range(10):
        if server.unwrap() == DONE and client.unwrap() == DONE:
            break
    client.socket.sendall(b"in the clear")
    assert server.socket.recv(100) == b"in the clear"
    server.socket.sendmsg([b"so ", b"is this"])
    assert client.socket.recv(100) == b"so is this"
    with pytest.raises(StateError):
        client.send(b"x")


def test_unwrap_with_a_peer_that_just_closes_is_a_truncation(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    assert client.unwrap() == WANTS_READ
    assert receive(server) == b""
    server.close()
    with pytest.raises(TlsTruncated):
        client.unwrap()


def test_session_closed_twice_is_closed(pair: tuple[TlsSession, TlsSession]) -> None:
    client, _ = pair
    client.close()
    client.close()
    assert client.socket.fileno() == -1
    with pytest.raises(StateError, match="closed"):
        client.send(b"x")
    with pytest.raises(StateError, match="closed"):
        receive(client)
    assert client.close_notify() == DONE


def test_renegotiation_is_refused(network: Network, authority: Authority, trusting: TlsConfig, files: Files) -> None:
    near, far = network.pair()
    far.setblocking(False)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_certificate(authority.leaf().certificate)
    context.use_privatekey(authority.leaf().key)
    peer = SSL.Connection(context, far)
    peer.set_accept_state()

    class Peer:
        def handshake(self) -> int:
            try:
                peer.do_handshake()
            except SSL.WantReadError:
                return WANTS_READ
            return DONE

        def close(self) -> None:
            far.close()

    client = network.client(near, trusting)
    assert shake(client, Peer()) == (DONE, DONE)
    assert peer.renegotiate()
    assert Peer().handshake() in (WANTS_READ, DONE)
    assert receive(client) == WANTS_READ
    # The client has said no with an alert; its peer, which insists, gives up.
    with pytest.raises(SSL.Error, match="no renegotiation"):
        peer.recv(100)
    with pytest.raises(TlsError) as caught:
        receive(client)
    assert caught.value.reason


def await_ready(session: TlsSession, step: Callable[[], bytes | int]) -> bytes | int:
    """Step until there is something else to say than that the socket must be waited for."""
    deadline = time.monotonic() + 10
    while (outcome := step()) in (WANTS_READ, WANTS_WRITE):
        select.select([session.socket], [session.socket] if outcome == WANTS_WRITE else [], [], 1)
        assert time.monotonic() < deadline
    return outcome


def read_line(stream: IO[bytes]) -> bytes:
    """A line of an unbuffered pipe, within a deadline."""
    assert select.select([stream], [], [], 10)[0]
    return stream.readline()


@pytest.mark.parametrize("command", ["K", "k"], ids=["both ways", "one way"])
def test_key_update_mid_stream_goes_unnoticed(
    network: Network, authority: Authority, trusting: TlsConfig, files: Files, command: str
) -> None:
    path = files.write(authority.leaf().pem())
    process = subprocess.Popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", path, "-key", path, "-naccept", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        line = b""
        while not line.startswith(b"ACCEPT"):
            line = process.stdout.readline()
        port = int(line.rpartition(b":")[2])
        client = network.client(socket.create_connection(("127.0.0.1", port)), trusting)
        assert await_ready(client, client.handshake) == DONE
        for text in (b"before\n", b"after\n", b"again\n"):
            process.stdin.write(text)
            assert await_ready(client, lambda: receive(client)) == text
            assert client.send(b"heard " + text) == 6 + len(text)
            while b"heard" not in line:
                line = read_line(process.stdout)
            assert line.endswith(b"heard " + text)
            process.stdin.write(command.encode() + b"\n")
            # It takes what stands in its pipe as one line: the next text waits until the command has had its effect.
            assert select.select([client.socket], [], [], 10)[0]
            assert receive(client) == WANTS_READ
            line = b""
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def test_reads_and_writes_retain_and_allocate_no_block(pair: tuple[TlsSession, TlsSession]) -> None:
    client, server = pair
    buffer = bytearray(4096)
    view = memoryview(buffer)
    data = bytes(100)
    counted = [0] * 64

    def exchange(rounds: int) -> None:
        for index in range(rounds):
            client.send(data)
            server.recv_into(view, 4096)
            counted[index] = sys.getallocatedblocks()

    exchange(64)
    exchange(64)
    assert counted[60] - counted[10] <= 1


def test_would_block_costs_no_memory_that_stays(pair: tuple[TlsSession, TlsSession]) -> None:
    client, _ = pair
    view = memoryview(bytearray(4096))
    counted = [0] * 64
    for _ in range(2):
        for index in range(64):
            client.recv_into(view, 4096)
            counted[index] = sys.getallocatedblocks()
    assert counted[60] - counted[10] <= 1


@pytest.mark.parametrize("version", list(TlsVersion))
def test_ktls_that_is_asked_for_is_reported_as_the_kernel_says(
    network: Network, trusting: TlsConfig, serving: TlsServerConfig, version: TlsVersion
) -> None:
    config = replace(trusting, ktls=True, maximum_version=version)
    client, server = tcp_pair(network, config, replace(serving, ktls=True))
    assert server.send(b"over whatever there is") == 22
    assert await_ready(client, lambda: receive(client)) == b"over whatever there is"
    if not os.path.exists("/proc/net/tls_stat"):
        assert client.info().ktls in ("requested, not active", "requested, not known")
    else:
        assert client.info().ktls != "off"
