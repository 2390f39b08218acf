"""TLS of a listener, on both engines, in virtual time: handshakes that succeed, fail, stall and come in bursts."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from support.http_stage import Peer, Stage, request
from support.tls import HOST, Authority, Files, dns
from support.tls_stage import TlsPeer, showing, trusting
from turbosock import limits
from turbosock.config import ClientAuth, TlsCertificate, TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import InvalidOption, LimitError, NetworkError, TlsError
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.poller import available_pollers
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener
from turbosock.server.tls_handshake import TlsHandshake
from turbosock.tls import WANTS_READ, WANTS_WRITE, TlsSession
from turbosock.tls.provider import TlsContext, TlsProvider

TIMEOUT_S = limits.SERVER_HANDSHAKE_TIMEOUT_S
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
AUTHORITY = Authority()
LEAF = AUTHORITY.leaf()


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def mode(request: pytest.FixtureRequest) -> TlsProviderMode:
    chosen: TlsProviderMode = request.param
    return chosen


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def serving(mode: TlsProviderMode, files: Files) -> TlsServerConfig:
    """A listener's settings with a good certificate."""
    return TlsServerConfig(files.certificate(LEAF), provider=mode)


@pytest.fixture
def context() -> ssl.SSLContext:
    """A client that trusts it."""
    return trusting(AUTHORITY.pem)


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, None, b"ok")


@pytest.mark.parametrize("poller", available_pollers())
@pytest.mark.parametrize("version", VERSIONS)
def test_request_over_tls_is_answered_and_told_what_was_agreed_on(
    serving: TlsServerConfig, context: ssl.SSLContext, poller: str, version: ssl.TLSVersion
) -> None:
    context.maximum_version = version
    with Stage(answer, poller=poller, tls=serving) as stage:
        client = TlsPeer(stage, context)
        assert client.shake()
        client.write(request() + request())
        assert [each.body for each in client.answers("GET", "GET")] == [b"ok", b"ok"]
        seen = stage.exchanges[0].request
        assert seen.tls is not None
        cipher = client.engine.cipher()
        assert cipher is not None
        assert (seen.tls.version, seen.tls.cipher, seen.tls.alpn) == (client.engine.version(), cipher[0], "http/1.1")
        assert (seen.server_name, seen.peer_certificate_der) == (HOST, None)
        stats = stage.listener.stats()
        assert (stats.accepted, stats.open, stats.requests, stats.failed_handshakes) == (1, 1, 2, 0)


def test_request_over_plain_tcp_is_told_nothing_of_tls() -> None:
    with Stage(answer) as stage:
        stage.connect().send(request())
        seen = stage.exchanges[0].request
        assert (seen.tls, seen.server_name, seen.peer_certificate_der) == (None, None, None)


@pytest.mark.parametrize("asks", [ClientAuth.OPTIONAL, ClientAuth.REQUIRED])
@pytest.mark.parametrize("version", VERSIONS)
def test_client_certificate_is_shown_to_the_handler(
    serving: TlsServerConfig, context: ssl.SSLContext, files: Files, asks: ClientAuth, version: ssl.TLSVersion
) -> None:
    context.maximum_version = version
    leaf = AUTHORITY.leaf([dns(b"user")], client=True)
    asking = replace(serving, client_auth=asks, client_ca_data=AUTHORITY.pem)
    with Stage(answer, tls=asking) as stage:
        client = TlsPeer(stage, showing(context, leaf, files))
        assert client.shake()
        client.write(request())
        assert client.answers()[0].status_code == 200
        assert stage.exchanges[0].request.peer_certificate_der == leaf.der


def test_optional_client_certificate_may_be_missing(serving: TlsServerConfig, context: ssl.SSLContext) -> None:
    asking = replace(serving, client_auth=ClientAuth.OPTIONAL, client_ca_data=AUTHORITY.pem)
    with Stage(answer, tls=asking) as stage:
        client = TlsPeer(stage, context)
        assert client.shake()
        client.write(request())
        assert client.answers()[0].status_code == 200
        assert stage.exchanges[0].request.peer_certificate_der is None


def test_required_client_certificate_missing_is_told_by_an_alert_that_no_reset_destroys(
    serving: TlsServerConfig, context: ssl.SSLContext
) -> None:
    asking = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_data=AUTHORITY.pem)
    with Stage(answer, tls=asking) as stage:
        client = TlsPeer(stage, context)
        # TLS 1.3: the client is done before the server has looked, and its request comes in the same breath.
        with_request = client.hello()
        client.wire.socket.send(with_request)
        stage.turn()
        client.feed()
        client.engine.do_handshake()
        client.engine.write(request() * 100)
        client.flush()
        assert client.look() == b""
        assert client.error is not None and "CERTIFICATE_REQUIRED" in str(client.error).upper().replace(" ", "_")
        assert not client.wire.reset
        stats = stage.listener.stats()
        assert (stats.failed_handshakes, stats.requests, stats.timeouts) == (1, 0, 0)
        # It is read until it goes, and not for ever.
        assert stats.open == 1
        stage.advance(limits.SERVER_LINGER_S)
        stats = stage.listener.stats()
        assert (stats.open, stats.timeouts, stats.failed_handshakes) == (0, 0, 1)
        assert len(stage.reactor.timers) == 0


def test_client_that_goes_after_its_failure_is_let_go_at_once(
    serving: TlsServerConfig, context: ssl.SSLContext
) -> None:
    asking = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_data=AUTHORITY.pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Stage(answer, tls=asking) as stage:
        client = TlsPeer(stage, context)
        assert not client.shake()
        assert stage.listener.stats().open == 1
        client.wire.close()
        assert stage.listener.stats().open == 0


def test_failed_client_that_sends_without_end_is_read_to_the_bound_alone(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SERVER_LINGER_BYTES", 100_000)
    monkeypatch.setattr(limits, "TURN_QUANTUM_BYTES", 20_000)
    with Stage(answer, tls=serving) as stage:
        wire = stage.connect()
        wire.send(request())
        sent = 0
        while stage.listener.stats().open:
            sent += wire.socket.send(bytes(10_000))
            stage.turn()
        assert 90_000 < sent <= 110_000 + 65536


def plain_http(chosen: random.Random, hello: bytes) -> bytes:
    return request()


def garbage(chosen: random.Random, hello: bytes) -> bytes:
    # No first byte of a record that OpenSSL would wait for the rest of.
    return b"\xff" + chosen.randbytes(500)


def spoiled(chosen: random.Random, hello: bytes) -> bytes:
    """A record whose handshake message has an impossible length."""
    return hello[:6] + b"\xff" + hello[7:]


@pytest.mark.parametrize("flight", [plain_http, garbage, spoiled])
def test_client_that_speaks_no_tls_is_counted_and_closed_quietly(
    serving: TlsServerConfig,
    context: ssl.SSLContext,
    caplog: pytest.LogCaptureFixture,
    flight: Callable[[random.Random, bytes], bytes],
) -> None:
    seed = 3
    with Stage(answer, tls=serving) as stage, caplog.at_level(logging.DEBUG):
        client = TlsPeer(stage, context)
        client.wire.send(flight(random.Random(seed), client.hello()))
        assert b"HTTP" not in client.wire.look() and client.wire.ended and not client.wire.reset, f"seed {seed}"
        assert stage.listener.stats().failed_handshakes == 1
        client.wire.close()
        assert stage.listener.stats().open == 0
        assert not caplog.records and not stage.exchanges
        # The next one is served.
        good = TlsPeer(stage, context)
        assert good.shake()
        good.write(request())
        assert good.answers()[0].status_code == 200


@pytest.mark.parametrize("size", [0, 1, 5, 6, 100])
def test_client_that_leaves_in_the_middle_of_a_record_is_let_go(
    serving: TlsServerConfig, context: ssl.SSLContext, size: int
) -> None:
    with Stage(answer, tls=serving) as stage:
        client = TlsPeer(stage, context)
        client.wire.send(client.hello()[:size])
        assert stage.listener.stats().open == 1
        client.wire.finish()
        stats = stage.listener.stats()
        assert (stats.open, stats.failed_handshakes, stats.timeouts) == (0, 1, 0)
        assert b"HTTP" not in client.wire.look() and client.wire.ended
        assert len(stage.reactor.timers) == 0


@pytest.mark.parametrize("size", [0, 1, 100, -1, None])
def test_handshake_that_stalls_is_given_up_at_its_deadline(
    serving: TlsServerConfig, context: ssl.SSLContext, size: int | None
) -> None:
    with Stage(answer, tls=serving) as stage:
        client = TlsPeer(stage, context)
        # None: the first flight whole, and not a byte of the second.
        client.wire.send(client.hello()[:size])
        stage.advance(TIMEOUT_S - 0.001)
        client.wire.look()
        assert not client.wire.ended and stage.listener.stats().open == 1
        stage.advance(0.002)
        client.wire.look()
        assert client.wire.ended
        stats = stage.listener.stats()
        assert (stats.open, stats.timeouts, stats.failed_handshakes) == (0, 1, 1)


def test_handshake_that_drips_is_given_up_at_the_same_deadline(
    serving: TlsServerConfig, context: ssl.SSLContext
) -> None:
    with Stage(answer, tls=serving, handshake_timeout_s=5) as stage:
        client = TlsPeer(stage, context)
        hello = client.hello()
        for i in range(5):
            assert stage.listener.stats().open == 1
            client.wire.send(hello[i : i + 1])
            stage.advance(1)
        client.wire.look()
        assert client.wire.ended and stage.listener.stats().timeouts == 1


def test_flight_byte_by_byte_shakes_hands(serving: TlsServerConfig, context: ssl.SSLContext) -> None:
    with Stage(answer, tls=serving) as stage:
        client = TlsPeer(stage, context)
        hello = client.hello()
        for i in range(len(hello)):
            client.wire.send(hello[i : i + 1])
        assert client.shake()
        client.write(request())
        assert client.answers()[0].body == b"ok"


@pytest.mark.parametrize("poller", available_pollers())
def test_burst_of_handshakes_is_taken_in_shares_and_others_are_served_between(
    serving: TlsServerConfig, context: ssl.SSLContext, poller: str
) -> None:
    count = 2 * limits.MAX_HANDSHAKES_PER_TURN + 1
    with Stage(answer, poller=poller, tls=serving) as stage:
        first = TlsPeer(stage, context)
        assert first.shake()
        clients = [TlsPeer(stage, context) for _ in range(count)]
        for client in clients:
            client.wire.socket.send(client.hello())
        answered = []
        reactor = stage.reactor
        for turn in range(3):
            first.engine.write(request())
            first.wire.socket.send(first._outgoing.read())
            reactor.collect(0.0)
            # As a turn does that has all the time it wants: what comes back to the line is served again.
            while reactor.line:
                reactor.step()
            answered.append(sum(bool(client.wire.look()) for client in clients))
            assert stage.listener.stats().requests == turn + 1
            left = count - answered[-1]
            assert reactor.backlog == left and (reactor.next_deadline_ns() == reactor.clock.now_ns()) == bool(left)
        share = limits.MAX_HANDSHAKES_PER_TURN
        assert answered == [share, 2 * share, count]
        assert all(client.shake() for client in clients)


def test_handshakes_count_as_connections(serving: TlsServerConfig, context: ssl.SSLContext) -> None:
    with Stage(answer, tls=serving, max_connections=2) as stage:
        shaking, stalled, waiting = (TlsPeer(stage, context) for _ in range(3))
        waiting.wire.socket.send(waiting.hello())
        stage.turn()
        assert stage.listener.stats().open == 2 and not waiting.wire.look()
        assert shaking.shake()
        stage.turn()
        assert not waiting.wire.look()
        stage.advance(TIMEOUT_S)
        assert stalled.wire.look() == b"" and stalled.wire.ended
        stage.turn()
        assert waiting.wire.look()
        shaking.wire.close()
        waiting.wire.close()
        assert stage.listener.stats().open == 0


def test_sni_callback_that_fails_is_logged_and_the_listener_goes_on(
    serving: TlsServerConfig, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    def choose(name: str | None) -> TlsCertificate | None:
        if name != HOST:
            raise LookupError("no such customer")
        return None

    with Stage(answer, tls=replace(serving, sni_callback=choose)) as stage:
        assert not TlsPeer(stage, context, "other.example").shake()
        assert [record.name for record in caplog.records] == ["turbosock.server"]
        assert "no such customer" in caplog.text
        assert TlsPeer(stage, context).shake()
        assert stage.listener.stats().failed_handshakes == 1


def test_certificate_is_chosen_by_the_name_asked_for(serving: TlsServerConfig, files: Files) -> None:
    other = AUTHORITY.leaf([dns(b"other.example")])
    named = replace(serving, certificates={"other.example": files.certificate(other)})
    with Stage(answer, tls=named) as stage:
        client = TlsPeer(stage, trusting(AUTHORITY.pem), "other.example")
        assert client.shake()
        assert client.engine.getpeercert(binary_form=True) == other.der
        client.write(request())
        assert stage.exchanges[0].request.server_name == "other.example"


def test_close_of_the_listener_ends_handshakes_in_every_state(
    serving: TlsServerConfig, context: ssl.SSLContext
) -> None:
    with Stage(answer, tls=serving) as stage:
        silent, half, failed, done = (TlsPeer(stage, context) for _ in range(4))
        half.wire.send(half.hello()[:50])
        failed.wire.send(request())
        assert done.shake()
        assert stage.listener.stats().open == 4
        stage.listener.close()
        for client in (silent, half, failed, done):
            client.wire.look()
            assert client.wire.ended
        assert stage.listener.stats().open == 0 and len(stage.reactor.timers) == 0


def test_close_while_a_handshake_waits_for_its_turn_is_safe(serving: TlsServerConfig, context: ssl.SSLContext) -> None:
    with Stage(answer, tls=serving) as stage:
        client = TlsPeer(stage, context)
        client.wire.socket.send(client.hello())
        stage.reactor.collect(0.0)
        stage.reactor.handshakes_left = 0
        stage.reactor.step()
        assert stage.reactor.backlog == 1
        stage.listener.close()
        stage.turn()
        assert client.wire.look() == b"" and client.wire.ended


TOO_MANY = LimitError("too many")
NO_ROOM = NetworkError("cannot watch a socket", errno=errno.ENOSPC, code="exhausted")


@pytest.mark.parametrize(
    ("broken", "refusal"),
    [
        ("TlsHandshake", TOO_MANY),
        ("TlsHandshake", NO_ROOM),
        ("HttpSession", TOO_MANY),
        ("TlsServerTransport", TOO_MANY),
        ("TlsServerTransport", NO_ROOM),
        ("wrap", TlsError("gone", reason="closed")),
    ],
)
def test_client_beyond_what_the_reactor_takes_is_turned_away(
    serving: TlsServerConfig,
    context: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
    broken: str,
    refusal: Exception,
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise refusal

    with Stage(answer, tls=serving) as stage:
        with monkeypatch.context() as patched:
            places = {
                "wrap": "transport.tls_acceptor.TlsAcceptor.wrap",
                "HttpSession": "server.http_listener.HttpSession",
            }
            patched.setattr(f"turbosock.{places.get(broken, f'server.stream_listener.{broken}')}", full)
            client = TlsPeer(stage, context)
            if broken == "TlsHandshake" or broken == "wrap":
                client.wire.look()
            else:
                client.shake()
                stage.turn()
                client.wire.look()
        assert client.wire.ended
        stats = stage.listener.stats()
        assert (stats.open, stats.exhausted) == (0, 0 if broken == "wrap" else 1)
        assert len(stage.reactor.timers) == 0
        assert TlsPeer(stage, context).shake()


def test_client_whose_socket_the_system_refuses_to_set_up_is_closed(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped: list[socket.socket] = []

    def refuse(provider: TlsProvider, sock: socket.socket, context: TlsContext) -> TlsSession:
        wrapped.append(sock)
        raise OSError(errno.ENOMEM, "injected")

    monkeypatch.setattr(TlsProvider, "wrap_server", refuse)
    with Stage(answer, tls=serving) as stage:
        peer = stage.connect()
        stage.settle(peer)
        stats = stage.listener.stats()
        assert (stats.accepted, stats.open, stats.exhausted) == (0, 0, 1)
        assert [sock.fileno() for sock in wrapped] == [-1]


def test_handshake_that_cannot_be_watched_leaves_no_timer(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise LimitError("descriptor too high")

    with Stage(answer, tls=serving) as stage:
        with monkeypatch.context() as patched:
            patched.setattr(Reactor, "register", full)
            peer: Peer = stage.connect()
        assert peer.look() == b"" and peer.ended
        assert stage.listener.stats().exhausted == 1 and len(stage.reactor.timers) == 0


class WritingSession:
    """A session whose flight does not fit the socket at first."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.codes = [WANTS_WRITE, WANTS_READ]
        self.steps = 0

    def handshake(self) -> int:
        self.steps += 1
        if self.steps == 1:
            self.socket.recv(100)
        return self.codes.pop(0)

    def close(self) -> None:
        self.socket.close()


def test_handshake_that_waits_for_room_goes_on_when_there_is_some(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving) as stage:
        near, far = socket.socketpair()
        session = WritingSession(near)
        handshake = TlsHandshake(stage.listener, cast(TlsSession, session), "peer")
        stage.listener.handshakes.add(handshake)
        far.send(b"x")
        stage.turn()
        # Read, then told of room, then left alone: nothing has come.
        assert session.steps == 2
        handshake.close()
        far.close()


def test_report_that_comes_after_the_end_is_passed_over(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving) as stage:
        stage.connect()
        (handshake,) = stage.listener.handshakes
        assert isinstance(handshake, TlsHandshake)
        for _ in range(2):
            handshake.close()
        handshake.on_ready(1)
        assert stage.listener.stats().open == 0


def with_alpn(files: Files) -> TlsServerConfig:
    return TlsServerConfig(files.certificate(LEAF), alpn=("h2", "h3"))


@pytest.mark.parametrize(
    ("named", "options"),
    [
        ("tls", lambda files: {"tls": "cert.pem"}),
        ("tls", lambda files: {"tls": TlsConfig()}),
        ("cert_file", lambda files: {"tls": TlsServerConfig(TlsCertificate("/nowhere/cert.pem"))}),
        ("key_file", lambda files: {"tls": TlsServerConfig(TlsCertificate(files.write(LEAF.pem()), "/nowhere/key"))}),
        ("client_ca_file", lambda files: {"tls": TlsServerConfig(
            files.certificate(LEAF), client_auth=ClientAuth.REQUIRED, client_ca_file="/nowhere/ca.pem")}),
        ("alpn", lambda files: {"tls": with_alpn(files)}),
        ("handshake_timeout_s", lambda files: {"handshake_timeout_s": 0}),
        ("handshake_timeout_s", lambda files: {"handshake_timeout_s": "10"}),
    ],
)  # fmt: skip
def test_setting_that_cannot_work_is_refused_by_name_before_anything_listens(
    named: str, options: Callable[[Files], dict[str, Any]], files: Files, tmp_path: Path
) -> None:
    reactor = Reactor(clock=ManualClock())
    path = os.fspath(tmp_path / "s")
    with pytest.raises(InvalidOption, match=named):
        HttpListener(reactor, RingPool(), path, answer, **options(files))
    assert not os.path.exists(path)
    reactor.close(lambda handler: None)
