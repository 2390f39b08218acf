"""A session over TLS: bytes that no poller sees, ends that are told, memory that is given back; on both engines."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from support.http_stage import Stage, request
from support.tls import Authority, Files
from support.tls_stage import TlsPeer, trusting
from turbosock import limits
from turbosock.config import TlsProviderMode, TlsServerConfig
from turbosock.connection.send import Send
from turbosock.errors import NetworkError
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange
from turbosock.tls import WANTS_WRITE, TlsSession

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf()
BIG = bytes(i * 7 % 256 for i in range(65_536)) * 32


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> TlsServerConfig:
    """A listener's settings with a good certificate."""
    return TlsServerConfig(Files(tmp_path).certificate(LEAF), provider=request.param)


def shaken(stage: Stage) -> TlsPeer:
    """A client whose handshake is done."""
    client = TlsPeer(stage, trusting(AUTHORITY.pem))
    assert client.shake()
    return client


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, None, exchange.request.content or b"ok")


def test_requests_in_a_record_that_did_not_fit_the_ring_are_served_after_the_answer_before_them(
    serving: TlsServerConfig,
) -> None:
    # The ring is filled to its last byte, which is a request's last byte, from a record that holds more.
    one = request(fields="X: " + "x" * (64 - len(request()) - 5) + "\r\n")
    assert limits.RECEIVE_RING_BYTES % len(one) == 0 and len(one) == 64
    full = limits.RECEIVE_RING_BYTES // len(one)
    data = one * (full + 30)
    kept: list[HttpExchange] = []

    def keep_the_last_of_the_ring(exchange: HttpExchange) -> None:
        if len(stage.exchanges) == full:
            kept.append(exchange)
        else:
            exchange.respond(204)

    with Stage(keep_the_last_of_the_ring, tls=serving) as stage:
        client = shaken(stage)
        for start in range(0, len(data), 10_001):
            client.engine.write(data[start : start + 10_001])
        client.flush()
        client.look()
        assert len(stage.exchanges) == full
        kept[0].respond(204)
        stage.turn()
        assert len(stage.exchanges) == full + 30


def test_last_answer_ends_with_close_notify(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving) as stage:
        client = shaken(stage)
        client.write(request(fields="Connection: close\r\n"))
        assert client.answers()[0].body == b"ok"
        assert client.ended and client.error is None and client.wire.ended


def test_idle_connection_ends_with_close_notify(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving, idle_timeout_s=5) as stage:
        client = shaken(stage)
        stage.advance(5)
        assert client.look() == b"" and client.ended and client.error is None


@pytest.mark.parametrize("finds_room", [True, False])
def test_goodbye_without_room_is_waited_for_and_not_for_ever(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch, finds_room: bool
) -> None:
    with Stage(answer, tls=serving) as stage:
        client = shaken(stage)
        kind = type(next(iter(stage.listener._sessions)).connection.transport.session)
        with monkeypatch.context() as patched:
            patched.setattr(kind, "close_notify", lambda session: WANTS_WRITE)
            stage.reactor.collect(0.0)
            client.engine.write(request(fields="Connection: close\r\n") + b"and more")
            client.wire.socket.send(client._outgoing.read())
            stage.reactor.collect(0.0)
            stage.reactor.step()
            assert stage.listener.stats().open == 1
            if not finds_room:
                stage.clock.advance(limits.SERVER_WRITE_TIMEOUT_S)
                stage.reactor.expire_timers()
                assert stage.listener.stats()[:5] == (1, 0, 1, 0, 0)
        if finds_room:
            stage.turn()
            client.wire.finish()
            assert client.answers()[0].body == b"ok" and client.ended
            assert stage.listener.stats().open == 0


def test_goodbye_that_cannot_be_waited_for_is_left_out(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise NetworkError("cannot watch a socket", errno=errno.ENOSPC, code="exhausted")

    with Stage(answer, tls=serving) as stage:
        client = shaken(stage)
        kind = type(next(iter(stage.listener._sessions)).connection.transport.session)
        with monkeypatch.context() as patched:
            patched.setattr(kind, "close_notify", lambda session: WANTS_WRITE)
            patched.setattr(Reactor, "set_interest", refuse)
            client.write(request(fields="Connection: close\r\n"))
        assert client.answers()[0].body == b"ok" and client.wire.ended
        assert stage.listener.stats().open == 0 and stage.idle_rings


def test_answer_until_the_close_is_whole_for_its_reader(serving: TlsServerConfig) -> None:
    def stream(exchange: HttpExchange) -> None:
        exchange.start(200)
        assert exchange.send(BIG) is Send.OK
        exchange.end()

    with Stage(stream, tls=serving) as stage:
        client = shaken(stage)
        client.write(request(version="1.0"))
        assert client.answers()[0].body == BIG
        assert client.ended and client.error is None


def test_client_that_is_refused_while_it_sends_reads_the_whole_refusal(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving, max_body_bytes=1000) as stage:
        client = shaken(stage)
        client.write(request("POST", fields="Content-Length: 10000000\r\n"))
        for _ in range(20):
            client.write(bytes(10_000))
        assert client.answers("POST")[0].status_code == 413
        assert client.ended and client.error is None and not client.wire.reset
        assert stage.listener.stats().open == 1
        client.write(bytes(10_000))
        stage.advance(limits.SERVER_LINGER_S)
        assert stage.listener.stats().open == 0 and stage.idle_rings
        assert stage.listener.stats().bytes_in >= 200_000


def test_memory_that_is_not_bytes_is_yours_again_when_the_call_returns(serving: TlsServerConfig) -> None:
    memory = bytearray(BIG)

    def lend(exchange: HttpExchange) -> None:
        exchange.respond(200, None, memoryview(memory))
        # Neither what changes in it nor that it grows is anybody's business now.
        memory[:] = bytes(len(memory))
        memory.extend(b"more")

    with Stage(lend, tls=serving) as stage:
        client = shaken(stage)
        client.write(request())
        assert client.answers()[0].body == BIG


def test_small_pieces_that_wait_for_a_slow_client_arrive_in_order(
    serving: TlsServerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [b"%d\n" % i for i in range(3000)]

    def stream(exchange: HttpExchange) -> None:
        exchange.start(200)
        exchange.send(BIG)
        for piece in pieces:
            assert exchange.send(piece) is Send.OK
        exchange.end()

    with Stage(stream, tls=serving, max_unsent_bytes=10_000_000) as stage:
        client = shaken(stage)
        kind = type(next(iter(stage.listener._sessions)).connection.transport.session)
        send = kind.send
        given: set[type] = set()

        def spy(session: TlsSession, data: bytes) -> int:
            given.add(type(data))
            return int(send(session, data))

        monkeypatch.setattr(kind, "send", spy)
        client.write(request() + request())
        bodies = [each.body for each in client.answers("GET", "GET")]
        assert bodies == [BIG + b"".join(pieces)] * 2
        # What may still grow is no memory for an engine that wants the same bytes again.
        assert bytearray not in given


def test_body_over_tls_is_read_by_its_handler_as_it_comes(serving: TlsServerConfig) -> None:
    received = bytearray()

    def on_data(exchange: HttpExchange) -> None:
        view = memoryview(bytearray(20_000))
        while (count := exchange.readinto(view)) > 0:
            received.extend(view[:count])
        if count == 0:
            exchange.respond(200, None, b"%d" % len(received))

    def read(exchange: HttpExchange) -> None:
        exchange.on_data = on_data

    with Stage(read, tls=serving, stream_body=True) as stage:
        client = shaken(stage)
        data = request("POST", body=BIG)
        for start in range(0, len(data), 50_001):
            client.write(data[start : start + 50_001])
        assert client.answers("POST")[0].body == b"%d" % len(BIG)
        assert received == BIG


@pytest.mark.parametrize("cut", [1, 3, 5, 20])
def test_record_cut_in_half_waits_and_then_times_out_as_plain_bytes_do(serving: TlsServerConfig, cut: int) -> None:
    with Stage(answer, tls=serving) as stage:
        client = shaken(stage)
        client.engine.write(request())
        record = client._outgoing.read()
        client.wire.send(record[:-cut])
        assert not stage.exchanges
        client.wire.send(record[-cut:])
        assert client.answers()[0].body == b"ok"
        client.engine.write(request())
        client.wire.send(client._outgoing.read()[:-cut])
        stage.advance(limits.SERVER_IDLE_TIMEOUT_S)
        assert len(client.answers()) == 1 and client.ended
        assert stage.listener.stats().timeouts == 1


def test_garbage_behind_the_handshake_closes_that_connection_alone(serving: TlsServerConfig) -> None:
    with Stage(answer, tls=serving) as stage:
        bad, good = shaken(stage), shaken(stage)
        bad.wire.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        bad.look()
        assert bad.wire.ended and not bad.received
        good.write(request())
        assert good.answers()[0].body == b"ok"
        assert stage.listener.stats().open == 1


def test_client_that_leaves_without_a_word_is_let_go_with_its_answer(serving: TlsServerConfig) -> None:
    with Stage(tls=serving) as stage:
        client = shaken(stage)
        client.write(request())
        client.wire.close()
        stage.exchanges[0].respond()
        stage.turn()
        assert stage.listener.stats().open == 0 and stage.idle_rings


def test_client_that_leaves_while_its_exchange_is_kept_is_noticed_behind_unread_records(
    serving: TlsServerConfig,
) -> None:
    left: list[HttpExchange] = []

    def keep(exchange: HttpExchange) -> None:
        exchange.on_closed = left.append

    with Stage(keep, tls=serving, idle_timeout_s=20) as stage:
        client = shaken(stage)
        client.write(request() + b"G")
        client.write(b"E")
        stage.advance(20)
        assert not left
        client.wire.close()
        stage.advance(20)
        assert left == stage.exchanges and stage.listener.stats().open == 0 and stage.idle_rings
