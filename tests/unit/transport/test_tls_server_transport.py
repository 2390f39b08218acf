"""An accepted TLS session as a transport: its goodbye, and what it does when there is no room for one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.tls import HOST, Authority, Files
from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import WriteError
from turbosock.reactor.context import IOContext
from turbosock.reactor.poller import WRITABLE
from turbosock.reactor.reactor import Reactor
from turbosock.tls import DONE, WANTS_READ, TlsSession, provider_for
from turbosock.transport.tls_server_transport import TlsServerTransport

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf()


class Ends(NamedTuple):
    """A server's transport on a reactor, and its client."""

    transport: TlsServerTransport
    client: TlsSession
    reactor: Reactor

    def turn(self) -> None:
        self.reactor.collect(0.0)
        for _ in range(len(self.reactor.line)):
            self.reactor.step()


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def ends(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ends]:
    files = Files(tmp_path)
    provider = provider_for(TlsConfig(provider=request.param))
    near, far = socket.socketpair()
    client = provider.wrap(near, provider.client_context(TlsConfig(ca_file=files.write(AUTHORITY.pem))), HOST, 443)
    session = provider.wrap_server(far, provider.server_context(TlsServerConfig(files.certificate(LEAF))))
    codes = [1, 1]
    while codes != [DONE, DONE]:
        codes = [client.handshake() if codes[0] else DONE, session.handshake() if codes[1] else DONE]
    reactor = Reactor()
    transport = TlsServerTransport(session, reactor)
    yield Ends(transport, client, reactor)
    transport.close()
    client.close()
    reactor.close(lambda handler: None)


def fill(sock: socket.socket) -> int:
    """Fill a socket past its engine; how many bytes that took."""
    count = 0
    while True:
        try:
            count += socket.socket.send(sock, bytes(4096))
        except BlockingIOError:
            return count


def test_goodbye_waits_for_room_and_is_told_when_there_is_some(ends: Ends) -> None:
    transport = ends.transport
    told: list[IOContext] = []
    transport.send_context.completed = told.append
    # What the handshake left, tickets, comes first.
    assert ends.client.recv_into(bytearray(1), 1) == WANTS_READ
    count = fill(transport.socket)
    assert not transport.say_goodbye()
    ends.turn()
    assert not told
    while count:
        count -= len(socket.socket.recv(ends.client.socket, min(count, 65536)))
    ends.turn()
    assert told == [transport.send_context] and told[0].bytes_transferred == 0
    assert ends.client.recv_into(bytearray(10), 10) == 0 and not ends.client.truncated
    # It is over: nothing more is watched for, and a second goodbye is none.
    ends.turn()
    assert len(told) == 1 and transport.say_goodbye()


def test_goodbye_without_room_may_have_nobody_to_be_told(ends: Ends) -> None:
    fill(ends.transport.socket)
    assert not ends.transport.say_goodbye()
    ends.client.socket.close()
    ends.transport.on_ready(WRITABLE)
    assert ends.transport.say_goodbye()


def test_goodbye_to_a_session_that_broke_is_done(ends: Ends) -> None:
    class Broken:
        def close_notify(self) -> int:
            raise WriteError("broken")

        def close(self) -> None:
            return

    whole = ends.transport.session
    ends.transport.session = Broken()  # type: ignore[assignment]  # a session as far as a goodbye goes
    assert ends.transport.say_goodbye()
    ends.transport.session = whole


def test_what_comes_after_the_end_is_thrown_away_undecrypted(ends: Ends) -> None:
    transport = ends.transport
    assert transport.say_goodbye() and transport.end_output()
    assert ends.client.send(b"x" * 1000) == 1000
    scratch = bytearray(65536)
    # Records: longer than what is in them. And whatever the client's handshake had left, with pyOpenSSL.
    assert transport.discard(scratch) > 1000
    assert transport.discard(scratch) < 0
    assert transport.bytes_in > 1000
    assert ends.client.recv_into(bytearray(10), 10) == 0 and not ends.client.truncated
    ends.client.close()
    assert transport.discard(scratch) == 0


def test_readiness_is_told_while_decrypted_bytes_wait_and_not_after_the_end(ends: Ends) -> None:
    transport = ends.transport
    told: list[IOContext] = []
    transport.receive_context.completed = told.append
    ends.client.send(b"0123456789")
    buffer = bytearray(4)
    ready = True
    while ready:
        transport.readable = True
        transport.receive_context.set_buffer(buffer, 0, 4)
        ready = transport.receive(transport.receive_context)
        ends.turn()
    assert buffer == b"0123" and not transport.is_drained()
    for wanted in (True, False):
        told.clear()
        transport.readable = False
        transport.receive_context.set_buffer(b"", 0, 0)
        assert transport.receive(transport.receive_context)
        ends.turn()
        assert bool(told) is wanted
        if wanted:
            transport.say_goodbye()
            transport.end_output()


def test_end_without_a_goodbye_leaves_a_session_that_can_be_closed(ends: Ends) -> None:
    assert ends.transport.end_output()
    ends.transport.close()
    assert ends.client.recv_into(bytearray(10), 10) == 0


def test_end_of_a_connection_that_has_gone_says_so(ends: Ends) -> None:
    ends.transport.close()
    assert not ends.transport.end_output()
