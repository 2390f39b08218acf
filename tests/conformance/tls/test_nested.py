"""TLS inside TLS, on both providers: two sessions, one in the other, and what each of them tells of the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.tls import Authority, Files, MemoryServer, Network, dns, raw_context, receive, shake
from turbosock.config import TlsConfig, TlsServerConfig
from turbosock.errors import StateError, TlsError, TlsVerificationError
from turbosock.tls import DONE, WANTS_READ, WANTS_WRITE, TlsSession

PATTERN = bytes(range(251)) * 4096
INNER = "inner.example.com"


class Tunnel:
    """A client inside a client, a server in memory inside a server.

    Attributes:
        outer, inner: the client's sessions.
        far: the outer server's session.
        server: the inner server's engine.
    """

    def __init__(self, network: Network, client: TlsConfig, server: TlsServerConfig, inner: MemoryServer) -> None:
        self.outer, self.far = network.connected(client, server)
        context = network.provider.client_context(client)
        self.inner = network.provider.wrap_carrier(self.outer, context, INNER, 443)
        self.server = inner

    def carry(self, data: bytes) -> None:
        """Send records of the inner server through the outer one."""
        position = 0
        while position < len(data):
            sent = self.far.send(data[position:])
            assert sent > 0
            position += sent

    def drain(self) -> bytes:
        """What the inner client has sent: records."""
        records = b""
        while isinstance(piece := receive(self.far), bytes) and piece:
            records += piece
        return records

    def shake(self) -> int:
        """Take the inner handshake to its end."""
        for _ in range(20):
            if (code := self.inner.handshake()) == DONE:
                self.carry(self.server.answer(self.drain()))
                return code
            self.carry(self.server.answer(self.drain()))
        return code


@pytest.fixture
def tunnel(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> Tunnel:
    leaf = authority.leaf(names=[dns(INNER.encode())])
    made = Tunnel(network, trusting, serving, MemoryServer(raw_context(files.write(leaf.pem()))))
    assert made.shake() == DONE
    return made


def test_bytes_go_both_ways_through_both(tunnel: Tunnel) -> None:
    assert tunnel.inner.send(b"question") == 8
    assert tunnel.server.decrypt(tunnel.drain()) == b"question"
    tunnel.carry(tunnel.server.encrypt(b"answer"))
    assert receive(tunnel.inner) == b"answer"
    assert receive(tunnel.inner) == WANTS_READ
    assert tunnel.inner.host == INNER
    assert tunnel.inner.socket is tunnel.outer.socket


def test_records_that_came_together_are_told_of(tunnel: Tunnel) -> None:
    receive(tunnel.inner)
    tunnel.carry(tunnel.server.encrypt(b"first") + tunnel.server.encrypt(b"second"))
    assert receive(tunnel.inner) == b"first"
    # No poller sees these.
    assert tunnel.inner.hides()
    assert receive(tunnel.inner) == b"second"
    assert not tunnel.inner.hides()
    assert receive(tunnel.inner) == WANTS_READ


def test_long_sends_are_resumed_without_loss(tunnel: Tunnel) -> None:
    position, blocked, records = 0, 0, b""
    view = memoryview(PATTERN)
    while position < len(view):
        sent = tunnel.inner.send(view[position:])
        if sent > 0:
            position += sent
            continue
        assert sent == WANTS_WRITE
        blocked += 1
        records += tunnel.drain()
    records += tunnel.drain()
    assert blocked
    arrived = tunnel.server.decrypt(records)
    while len(arrived) < len(PATTERN):
        arrived += tunnel.server.decrypt(b"")
    assert arrived == PATTERN


def test_truncation_of_the_outer_is_one_of_the_inner(tunnel: Tunnel) -> None:
    tunnel.far.close()
    assert receive(tunnel.inner) == b""
    assert tunnel.inner.truncated


def test_goodbye_of_the_inner_ends_the_stream_properly(tunnel: Tunnel) -> None:
    tunnel.carry(tunnel.server.say_goodbye())
    assert receive(tunnel.inner) == b""
    assert not tunnel.inner.truncated
    assert tunnel.inner.close_notify() == DONE


def test_end_of_the_outer_alone_is_a_truncation_of_the_inner(tunnel: Tunnel) -> None:
    assert tunnel.far.close_notify() == DONE
    assert receive(tunnel.inner) == b""
    assert tunnel.inner.truncated
    assert not tunnel.outer.truncated


def test_damage_inside_is_an_error_of_the_inner(tunnel: Tunnel) -> None:
    record = bytearray(tunnel.server.encrypt(b"0123456789"))
    record[-3] ^= 1
    tunnel.carry(bytes(record))
    with pytest.raises(TlsError, match=INNER):
        receive(tunnel.inner)


def test_close_closes_both(tunnel: Tunnel) -> None:
    tunnel.inner.close()
    assert tunnel.outer.socket.fileno() < 0
    with pytest.raises(StateError):
        receive(tunnel.outer)
    with pytest.raises(StateError):
        receive(tunnel.inner)


def test_wrong_name_inside_is_refused(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    server = MemoryServer(raw_context(files.write(authority.leaf().pem())))
    made = Tunnel(network, trusting, serving, server)
    with pytest.raises(TlsVerificationError) as caught:
        made.shake()
    assert caught.value.reason == "hostname_mismatch"


def test_kernel_has_nothing_of_the_inner(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    leaf = authority.leaf(names=[dns(INNER.encode())])
    server = MemoryServer(raw_context(files.write(leaf.pem())))
    made = Tunnel(network, replace(trusting, ktls=True), serving, server)
    assert made.shake() == DONE
    assert made.inner.info().ktls == "requested, not active"


def test_session_of_the_inner_is_resumed(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    context = raw_context(files.write(authority.leaf(names=[dns(INNER.encode())]).pem()))
    resumed = []
    for _ in range(2):
        made = Tunnel(network, trusting, serving, MemoryServer(context))
        assert made.shake() == DONE
        made.carry(made.server.encrypt(b"x"))
        assert receive(made.inner) == b"x"
        resumed.append(made.inner.session_reused)
        made.inner.close()
    assert resumed == [False, True]


def test_tunnel_shows_no_session_before_its_handshake(
    network: Network, authority: Authority, trusting: TlsConfig, serving: TlsServerConfig, files: Files
) -> None:
    outer, far = network.sessions(trusting, serving)
    assert shake(outer, far) == (DONE, DONE)
    inner: TlsSession = network.provider.wrap_carrier(outer, network.provider.client_context(trusting), INNER, 443)
    assert inner.handshake() == WANTS_READ
    far.close()
    with pytest.raises(TlsError):
        inner.handshake()
