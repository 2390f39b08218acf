"""What a connection of the listener does: requests in order, bodies gathered, refusals, waits and their ends."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
from typing import Any

import pytest

from support.http_stage import Stage, read_answers, request
from support.seeds import seeds
from turbosock import limits
from turbosock.errors import NetworkError
from turbosock.reactor.poller import available_pollers
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange


def echo(exchange: HttpExchange) -> None:
    """Answer with what was understood of the request."""
    asked = exchange.request
    line = f"{asked.method} {asked.target} {len(asked.content)}\n".encode()
    exchange.respond(200, {"X-Fields": str(len(asked.headers))}, line + asked.content)


CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n1;name=value\r\n \r\nA\r\nchunked 10\r\n0\r\nX-Trailer: t\r\n\r\n"
)
# Each row: what a client sends, in one piece, and the statuses that it is to read.
CONVERSATIONS: dict[str, tuple[bytes, list[int]]] = {
    "one": (request(), [200]),
    "old and persistent": (request(version="1.0", fields="Connection: keep-alive\r\n"), [200]),
    "old": (request(version="1.0", host=""), [200]),
    "three in a row": (request(target="/1") + request(target="/2") + request(target="/3"), [200, 200, 200]),
    "body": (request("POST", "/b", body=b"some content"), [200]),
    "empty lines first": (b"\r\n\r\n" + request("POST", "/b", body=b"1") + b"\r\n" + request(), [200, 200]),
    "chunks": (CHUNKED, [200]),
    "bodies in a row": (CHUNKED + request("PUT", "/b", body=b"x" * 60) + CHUNKED + request(), [200] * 4),
    "asked to close": (request(target="/1") + request(fields="Connection: close\r\n") + request(), [200, 200]),
    "absolute": (request(target="http://other:80/p?q"), [200]),
    "asterisk": (request("OPTIONS", "*"), [200]),
    "then garbage": (request() + b"\x16\x03\x01\x02\x00\x01\x00", [200, 400]),
    "no host": (request(host=""), [400]),
    "two hosts": (request(fields="Host: i\r\n"), [400]),
    "bare line feed": (b"GET / HTTP/1.1\nHost: h\n\n", [400]),
    "space before colon": (request(fields="X : y\r\n"), [400]),
    "folded": (request(fields="X: y\r\n z\r\n"), [400]),
    "two lengths": (request(fields="Content-Length: 1\r\nContent-Length: 2\r\n") + b"ab", [400]),
    "signed length": (request(fields="Content-Length: +1\r\n") + b"a", [400]),
    "length and chunks": (
        request(fields="Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        [501],
    ),
    "unknown coding": (request(fields="Transfer-Encoding: gzip, chunked\r\n"), [501]),
    "chunked twice": (request(fields="Transfer-Encoding: chunkedchunked\r\n"), [501]),
    "newer": (request(version="2.0"), [505]),
    "http/2 too late": (request() + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [200, 505]),
    "not quite http/2": (b"PRI * HTTP/2.0\r\nHost: h\r\n\r\n", [505]),
    "tunnel": (request("CONNECT", "h:443"), [501]),
    "bad chunk size": (request("POST", fields="Transfer-Encoding: chunked\r\n") + b"5x\r\nhello\r\n0\r\n\r\n", [400]),
    "bad chunk end": (request("POST", fields="Transfer-Encoding: chunked\r\n") + b"5\r\nhelloXX0\r\n\r\n", [400]),
    "smuggled in a trailer": (
        request("POST", fields="Transfer-Encoding: chunked\r\n") + b"0\r\nContent-Length: 5\r\n\r\n",
        [400],
    ),
}


def converse(pieces: list[bytes], methods: list[str], *, pooling: bool = True) -> tuple[list[object], bool, bool]:
    """Send the pieces one by one; the answers' summaries, whether the connection ended, whether all rings are back."""
    with Stage(echo, pooling=pooling) as stage:
        peer = stage.connect()
        for piece in pieces:
            if peer.look() and peer.ended:
                break
            try:
                peer.send(piece)
            except BrokenPipeError:
                break
        answers = peer.answers(*methods)
        return [answer.summary() for answer in answers], peer.ended, stage.idle_rings


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_requests_cut_anywhere_get_the_same_answers(name: str) -> None:
    data, statuses = CONVERSATIONS[name]
    methods = ["GET"] * len(statuses)
    whole, ended, idle = converse([data], methods)
    assert [summary[0] for summary in whole] == statuses  # type: ignore[index]  # a summary begins with the status
    assert idle or not ended
    for pieces in (
        [data[i : i + 1] for i in range(len(data))],
        *([data[:cut], data[cut:]] for cut in range(1, len(data), 1 if len(data) < 150 else 3)),
    ):
        assert converse(pieces, methods)[:2] == (whole, ended)


@pytest.mark.parametrize("seed", seeds(5))
def test_requests_cut_at_random_get_the_same_answers_without_pools(seed: int) -> None:
    chosen = random.Random(seed)
    data = b"".join(CONVERSATIONS[name][0] for name in ("three in a row", "body", "chunks", "bodies in a row"))
    methods = ["GET"] * 9
    whole, _, _ = converse([data], methods)
    cuts = sorted(chosen.sample(range(1, len(data)), 12))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert converse(pieces, methods, pooling=False)[0] == whole


@pytest.mark.parametrize("poller", available_pollers())
def test_connection_serves_request_after_request_and_holds_no_ring_between(poller: str) -> None:
    with Stage(echo, poller=poller) as stage:
        peer = stage.connect()
        for count in range(1, 4):
            peer.send(request(target=f"/{count}"))
            assert len(peer.answers(*["GET"] * count)) == count
            assert stage.idle_rings
        assert not peer.ended
        assert stage.listener.stats()[:3] == (1, 1, 3)


def test_equal_heads_are_parsed_once_and_a_longer_one_is_not_mistaken() -> None:
    # Without diagnostics: they poison the old bytes that this is about.
    with Stage(echo, diagnostics=False) as stage:
        peer = stage.connect()
        for _ in range(2):
            peer.send(request(target="/a"))
        first, second = stage.exchanges
        assert first.request.headers is second.request.headers
        # The ring still holds the end of the old request behind the bytes that came.
        peer.send(request(target="/a")[:-2])
        assert len(stage.exchanges) == 2
        peer.send(b"X: y\r\n\r\n")
        assert stage.exchanges[2].request.headers["x"] == "y"


def test_pipelined_requests_are_answered_in_order_whoever_is_late() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(b"".join(request(target=f"/{i}") for i in range(3)))
        for i in range(3):
            assert [exchange.request.path for exchange in stage.exchanges] == [f"/{k}" for k in range(i + 1)]
            stage.turn()
            stage.exchanges[i].respond(200, None, b"%d" % i)
            stage.turn()
        assert [answer.body for answer in peer.answers("GET", "GET", "GET")] == [b"0", b"1", b"2"]
        assert stage.idle_rings


def test_requests_in_a_row_share_a_step_and_then_wait_in_line() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.socket.send(request() * (limits.MAX_PIPELINED_REQUESTS + 1))
        stage.reactor.collect(0.0)
        stage.reactor.step()
        assert len(stage.exchanges) == limits.MAX_PIPELINED_REQUESTS
        assert stage.reactor.line
        stage.turn()
        assert len(stage.exchanges) == limits.MAX_PIPELINED_REQUESTS + 1


def test_flood_of_requests_while_one_is_unanswered_is_left_in_the_socket() -> None:
    with Stage() as stage:
        peer = stage.connect()
        flood = request(fields=f"X: {'x' * 1000}\r\n") * 1000
        with pytest.raises(AssertionError, match="takes no more"):
            peer.send(flood)
        assert len(stage.exchanges) == 1
        assert stage.listener.stats().bytes_in <= limits.RECEIVE_RING_BYTES


def test_client_that_ends_its_half_is_still_answered_and_then_closed() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        peer.finish()
        stage.exchanges[0].respond(200, None, b"late")
        (answer,) = peer.answers()
        assert answer.body == b"late" and answer.header("connection") == "close"
        assert peer.ended and stage.listener.stats().open == 0


def test_client_that_leaves_between_requests_is_forgotten_silently() -> None:
    with Stage(echo) as stage:
        for data in (b"", request(), request()[:10]):
            peer = stage.connect()
            peer.send(data)
            peer.finish()
            peer.answers(*["GET"] * len(stage.exchanges[-1:]) if data == request() else ["GET"])
            assert peer.ended
        assert stage.listener.stats().open == 0
        assert stage.listener.stats().refused == 0
        assert stage.idle_rings


def test_head_too_long_or_with_too_many_fields_is_answered_431() -> None:
    with Stage(echo, max_head_bytes=300, max_head_fields=3) as stage:
        for data in (request(fields="X: y\r\n" * 3), request(fields=f"X: {'y' * 300}\r\n"), b"GET /" + b"x" * 400):
            peer = stage.connect()
            peer.send(data)
            (answer,) = peer.answers()
            assert answer.status_code == 431 and answer.header("connection") == "close"
        assert not stage.exchanges


def test_head_that_never_ends_is_refused_within_its_bound() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.send(b"GET / HTTP/1.1\r\nHost: h\r\n")
        sent = 0
        while not peer.look():
            peer.send(b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 8)
            sent += 1
            assert sent < 1000
        assert read_answers(peer.received, ["GET"], ended=False)[0].status_code == 431


def test_body_longer_than_its_bound_is_answered_413_however_framed() -> None:
    with Stage(echo, max_body_bytes=10) as stage:
        for data in (
            request("POST", body=b"x" * 11),
            request("POST", fields="Content-Length: 99999999999999999\r\n"),
            request("POST", fields="Transfer-Encoding: chunked\r\n") + b"a\r\n" + b"x" * 10 + b"\r\n1\r\n",
            request("POST", fields="Transfer-Encoding: chunked\r\n") + b"fffffffffffffff\r\n",
        ):
            peer = stage.connect()
            peer.send(data)
            assert [answer.status_code for answer in peer.answers("POST")] == [413]
        assert not stage.exchanges
        peer = stage.connect()
        peer.send(request("POST", body=b"x" * 10))
        assert [answer.status_code for answer in peer.answers("POST")] == [200]


def test_chunks_of_one_byte_by_the_thousand_are_gathered() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.send(request("POST", "/", "Transfer-Encoding: chunked\r\n") + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        (answer,) = peer.answers("POST")
        assert answer.body == b"POST / 50000\n" + b"x" * 50_000


def test_long_body_is_gathered_in_shares_of_a_turn() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        body = bytes(range(256)) * 8192
        peer.send(request("PUT", "/", body=body))
        (answer,) = peer.answers("PUT")
        assert answer.body == b"PUT / %d\n" % len(body) + body
        assert stage.idle_rings


def test_waiting_client_is_told_to_continue_and_an_eager_one_is_not() -> None:
    expecting = request("POST", fields="Expect: 100-continue\r\nContent-Length: 4\r\n")
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.send(expecting)
        assert peer.look() == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"body")
        assert [answer.status_code for answer in peer.answers("POST")] == [100, 200]
        eager = stage.connect()
        eager.send(expecting + b"body")
        assert [answer.status_code for answer in eager.answers("POST")] == [200]
        refused = stage.connect()
        refused.send(request("POST", fields="Expect: 100-continue\r\nContent-Length: 99999999999\r\n"))
        assert [answer.status_code for answer in refused.answers("POST")] == [413]


def test_long_body_shares_the_turn_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_QUANTUM_BYTES", 10_000)
    with Stage(echo) as stage:
        peer = stage.connect()
        data = request("PUT", "/", body=b"x" * 180_000)
        view = memoryview(data)
        before = 0.0
        while not stage.exchanges:
            try:
                view = view[peer.socket.send(view) :] if view else view
            except BlockingIOError:
                pass
            stage.reactor.collect(0.0)
            stage.reactor.step()
            assert stage.reactor.bytes_in - before <= 2 * limits.RECEIVE_RING_BYTES
            before = stage.reactor.bytes_in
        assert peer.answers("PUT")[0].status_code == 200


def test_refused_bytes_are_thrown_away_in_shares_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TURN_QUANTUM_BYTES", 10_000)
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.socket.send(b"nonsense\r\n\r\n" + b"x" * 190_000)
        before = 0.0
        steps = 0
        while stage.reactor.bytes_in < 190_000:
            stage.reactor.collect(0.0)
            stage.reactor.step()
            assert stage.reactor.bytes_in - before <= 3 * limits.RECEIVE_RING_BYTES
            before = stage.reactor.bytes_in
            steps += 1
        assert steps > 1


def test_refusal_after_a_head_request_has_its_body() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.send(request("HEAD") + b"nonsense\r\n\r\n")
        refusal = peer.answers("HEAD", "GET")[1]
        assert (refusal.status_code, refusal.body) == (400, b"400 Bad Request\n")


def test_refused_head_request_has_no_body() -> None:
    with Stage(echo, max_body_bytes=1) as stage:
        peer = stage.connect()
        peer.send(request("HEAD", body=b"long"))
        assert peer.answers("HEAD")[0].status_code == 413


def test_refused_client_that_goes_on_sending_reads_the_answer_and_is_dropped() -> None:
    with Stage(echo, max_body_bytes=10) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 1000000\r\n"))
        peer.send(b"x" * 500_000)
        (answer,) = peer.answers("POST")
        # Our half is closed, theirs is still read and thrown away: the answer was not lost in a reset.
        assert answer.status_code == 413 and peer.ended and not peer.reset
        assert stage.listener.stats().open == 1
        stage.advance(limits.SERVER_LINGER_S)
        assert stage.listener.stats().open == 0
        assert stage.idle_rings


def test_lingering_ends_with_the_client_or_after_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SERVER_LINGER_BYTES", 100_000)
    with Stage(echo) as stage:
        polite = stage.connect()
        polite.send(b"nonsense\r\n\r\n")
        assert stage.listener.stats().open == 1
        polite.finish()
        assert stage.listener.stats().open == 0
        endless = stage.connect()
        endless.send(b"nonsense\r\n\r\n")
        with pytest.raises(BrokenPipeError):
            endless.send(b"x" * 1_000_000)
        assert stage.listener.stats().open == 0


@pytest.mark.parametrize("byte", [value for value in range(256) if value < 0x20 or value == 0x7F])
def test_control_byte_anywhere_in_a_head_is_never_served(byte: int) -> None:
    stray = bytes([byte])
    whole = request("GET", "/path", "Name: value\r\n")
    with Stage(echo) as stage:
        for inside in (b"GET", b"/path", b"HTTP/1.1", b"Name", b"value"):
            at = whole.index(inside) + 1
            peer = stage.connect()
            peer.send(whole[:at] + stray + whole[at:])
            peer.finish()
            answers = peer.answers()
            if inside == b"value" and byte == 0x09:
                assert [answer.status_code for answer in answers] == [200]
            else:
                assert [answer.status_code for answer in answers] in ([400], [505])
        assert len(stage.exchanges) == (byte == 0x09)


# Time


def test_drip_of_header_bytes_is_answered_408_after_the_time_of_a_head() -> None:
    with Stage(echo, head_timeout_s=10, idle_timeout_s=60) as stage:
        peer = stage.connect()
        stage.advance(30)
        for byte in request()[:9]:
            peer.send(bytes([byte]))
            stage.advance(1)
        assert not peer.look()
        stage.advance(1)
        (answer,) = peer.answers()
        assert answer.status_code == 408 and answer.header("connection") == "close"
        assert peer.ended
        assert stage.listener.stats().timeouts == 1


def test_head_in_time_leaves_its_deadline_behind() -> None:
    with Stage(echo, head_timeout_s=10, idle_timeout_s=60) as stage:
        peer = stage.connect()
        for _ in range(3):
            peer.send(request()[:9])
            stage.advance(9)
            peer.send(request()[9:])
            stage.advance(59)
        assert len(peer.answers("GET", "GET", "GET")) == 3
        assert not peer.ended


def test_idle_connection_is_closed_silently() -> None:
    with Stage(echo, idle_timeout_s=60) as stage:
        silent = stage.connect()
        served = stage.connect()
        stage.advance(30)
        served.send(request())
        stage.advance(30)
        assert silent.look() == b"" and silent.ended
        served.answers()
        assert not served.ended
        stage.advance(30)
        served.look()
        assert served.ended and stage.listener.stats().open == 0


def test_body_that_stands_still_is_answered_408_and_one_that_moves_is_not() -> None:
    with Stage(echo, body_timeout_s=5) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 9\r\n"))
        for _ in range(8):
            stage.advance(4.9)
            peer.send(b"x")
        assert not peer.look()
        stage.advance(5)
        (answer,) = peer.answers("POST")
        assert answer.status_code == 408 and peer.ended


def test_client_that_reads_nothing_is_given_up() -> None:
    lost: list[HttpExchange] = []

    def answer(exchange: HttpExchange) -> None:
        exchange.on_closed = lost.append
        exchange.start(200, None)
        exchange.send(b"x" * 10_000_000)

    with Stage(answer, write_timeout_s=7) as stage:
        peer = stage.connect()
        peer.send(request())
        stage.advance(6)
        # Every byte taken starts the time anew.
        peer.look(1_000_000)
        stage.turn()
        stage.advance(6)
        assert stage.listener.stats().open == 1
        stage.advance(1)
        assert stage.listener.stats().open == 0
        assert lost == stage.exchanges and lost[0].closed
        assert stage.listener.stats().timeouts == 1


def test_sending_more_does_not_save_a_client_that_reads_nothing() -> None:
    with Stage(write_timeout_s=7) as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        exchange.send(b"x" * 500_000)
        for _ in range(6):
            stage.advance(1)
            exchange.send(b"more")
        assert not exchange.closed
        stage.advance(1)
        assert exchange.closed


def test_client_that_reads_and_stops_again_gets_its_time_each_time() -> None:
    with Stage(write_timeout_s=7) as stage:
        peer = stage.connect()
        peer.send(request())
        exchange = stage.exchanges[0]
        exchange.start(200)
        for _ in range(2):
            exchange.send(b"x" * 500_000)
            stage.advance(6)
            stage.settle(peer)
            stage.advance(1000)
        exchange.send(b"x" * 500_000)
        stage.advance(6)
        assert not exchange.closed
        stage.advance(1)
        assert exchange.closed and stage.listener.stats().open == 0


def test_handler_has_all_the_time_it_wants() -> None:
    with Stage() as stage:
        peer = stage.connect()
        peer.send(request())
        stage.advance(1_000_000)
        stage.exchanges[0].respond(200, None, b"done")
        assert peer.answers()[0].body == b"done"


# Handlers that fail


def test_handler_error_is_answered_500_logged_without_the_query_and_survived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(exchange: HttpExchange) -> None:
        if exchange.request.path == "/bad":
            raise ValueError("broken handler")
        exchange.respond(200)

    with Stage(fail) as stage, caplog.at_level(logging.ERROR, "turbosock.server"):
        peer = stage.connect()
        peer.send(request(target="/bad?token=secret", fields="Authorization: secret\r\n"))
        peer.send(request())
        assert [answer.status_code for answer in peer.answers("GET", "GET")] == [500, 200]
    assert "broken handler" in caplog.text and "GET /bad" in caplog.text
    assert "secret" not in caplog.text


def test_handler_error_after_the_head_went_aborts_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    def fail(exchange: HttpExchange) -> None:
        exchange.start(200)
        exchange.send(b"begun")
        raise ValueError("broken handler")

    with Stage(fail) as stage:
        peer = stage.connect()
        peer.send(request())
        peer.look()
        assert peer.ended and not peer.received.endswith(b"0\r\n\r\n")
    assert "broken handler" in caplog.text


def test_interrupt_in_a_handler_passes_and_closes_its_connection() -> None:
    def interrupt(exchange: HttpExchange) -> None:
        raise KeyboardInterrupt

    with Stage(interrupt) as stage:
        peer = stage.connect()
        with pytest.raises(KeyboardInterrupt):
            peer.send(request())
        assert stage.listener.stats().open == 0
        assert stage.idle_rings


def test_connection_lost_while_the_handler_thinks_is_told_once() -> None:
    lost: list[HttpExchange] = []

    def keep(exchange: HttpExchange) -> None:
        exchange.on_closed = lost.append

    with Stage(keep) as stage:
        peer = stage.connect()
        peer.send(request("POST", body=b"x"))
        # Unread bytes make the close a reset.
        peer.close()
        exchange = stage.exchanges[0]
        exchange.start(200)
        for _ in range(3):
            exchange.send(b"x")
        assert exchange.closed
        assert stage.listener.stats().open == 0
        # The handler's own call told it.
        assert lost == []


@pytest.mark.parametrize("seed", seeds(30))
def test_garbage_is_refused_or_waited_for_and_the_next_client_served(seed: int) -> None:
    chosen = random.Random(seed)
    with Stage(echo) as stage:
        for _ in range(20):
            data = bytearray(b"".join(chosen.choices([row[0] for row in CONVERSATIONS.values()], k=2)))
            for _ in range(chosen.randrange(1, 6)):
                data[chosen.randrange(len(data))] = chosen.randrange(256)
            peer = stage.connect()
            try:
                peer.send(bytes(data[: chosen.randrange(len(data))]))
            except BrokenPipeError:
                pass
            peer.close()
        well = stage.connect()
        well.send(request())
        assert [answer.status_code for answer in well.answers()] == [200]
        stage.advance(limits.SERVER_IDLE_TIMEOUT_S)
        assert stage.listener.stats().open == 0
        assert stage.idle_rings


# Clients of exchanges that a handler keeps


class Keeping:
    """A handler that keeps its exchanges, and is told who has left."""

    def __init__(self) -> None:
        self.left: list[HttpExchange] = []

    def __call__(self, exchange: HttpExchange) -> None:
        exchange.on_closed = self.left.append


# What a client sends before it leaves, and the options of the listener.
LEFT_BEHIND: dict[str, tuple[bytes, dict[str, Any]]] = {
    "nothing": (request(), {}),
    "a byte": (request() + b"G", {}),
    "another request": (request() * 2, {}),
    "a body": (request("POST", body=b"x" * 9)[:-1], {"stream_body": True}),
}


@pytest.mark.parametrize("poller", available_pollers())
@pytest.mark.parametrize("behind", LEFT_BEHIND)
def test_client_that_leaves_unread_bytes_behind_is_noticed_within_the_idle_time(behind: str, poller: str) -> None:
    data, options = LEFT_BEHIND[behind]
    keeping = Keeping()
    with Stage(keeping, poller=poller, idle_timeout_s=20, **options) as stage:
        peer = stage.connect()
        peer.send(data)
        # These stay in the socket, where the one before let the session stop reading.
        peer.send(b"x")
        stage.advance(20)
        assert stage.listener.stats().open == 1 and not keeping.left
        peer.close()
        stage.advance(20)
        assert keeping.left == stage.exchanges and keeping.left[0].closed
        stats = stage.listener.stats()
        assert (stats.open, stats.timeouts) == (0, 0)
        assert stage.idle_rings and len(stage.reactor.timers) == 0
        stage.advance(1000)
        assert len(keeping.left) == 1


def test_thousands_of_clients_that_leave_a_byte_behind_leave_nothing_else() -> None:
    keeping = Keeping()
    with Stage(keeping, diagnostics=False, idle_timeout_s=20) as stage:
        before = len(os.listdir("/proc/self/fd"))
        for round_number in range(1, 21):
            for _ in range(100):
                peer = stage.connect()
                peer.send(request() + b"G")
                peer.socket.close()
            stage.peers.clear()
            stage.advance(20)
            assert stage.listener.stats().open == 0 and len(stage.reactor.timers) == 0
            assert len(keeping.left) == round_number * 100
        assert len(os.listdir("/proc/self/fd")) == before


def test_client_that_stays_is_waited_for_as_long_as_the_handler_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[bool] = []

    def tune(sock: socket.socket, *, keep_alive: bool = False) -> None:
        probed.append(keep_alive)

    monkeypatch.setattr("turbosock.server.http_session.tune", tune)
    keeping = Keeping()
    with Stage(keeping, idle_timeout_s=20) as stage:
        peer = stage.connect()
        peer.send(request() * 2)
        for _ in range(10):
            stage.advance(20)
        # One without power, or behind a broken network, is the system's to find.
        assert probed == [True] * 10
        stage.exchanges[0].respond()
        stage.turn()
        stage.exchanges[1].respond()
        assert len(peer.answers("GET", "GET")) == 2 and not keeping.left


def test_client_that_ended_its_stream_is_served_while_it_is_sent_something() -> None:
    keeping = Keeping()
    with Stage(keeping, idle_timeout_s=20) as stage:
        peer, silent = stage.connect(), stage.connect()
        for client in (peer, silent):
            client.send(request())
            client.finish()
        exchange = stage.exchanges[0]
        stage.advance(19)
        exchange.start(200)
        for _ in range(5):
            stage.advance(20)
            exchange.send(b"x")
        # An end without a stream that goes on is a client that has left.
        assert keeping.left == [stage.exchanges[1]]
        exchange.end()
        assert peer.answers()[0].body == b"x" * 5 and peer.ended
        assert stage.listener.stats().open == 0


def test_client_that_ended_its_stream_has_left_an_idle_time_after_it_was_last_sent_something() -> None:
    keeping = Keeping()
    with Stage(keeping, idle_timeout_s=20) as stage:
        peer = stage.connect()
        for _ in range(2):
            peer.send(request())
            stage.exchanges[-1].respond()
        peer.send(request())
        peer.finish()
        # What answered the requests before says nothing about this one's client.
        stage.advance(20)
        assert keeping.left == [stage.exchanges[2]]
        other = stage.connect()
        other.send(request())
        other.finish()
        stage.exchanges[3].start(200)
        stage.advance(20)
        assert len(keeping.left) == 1
        stage.advance(20)
        assert len(keeping.left) == 2 and stage.listener.stats().open == 0


def test_waits_of_an_exchange_hold_no_ring() -> None:
    with Stage(Keeping(), stream_body=True) as stage:
        kept, streaming = stage.connect(), stage.connect()
        kept.send(request())
        assert stage.idle_rings
        streaming.send(request("POST", fields="Content-Length: 9\r\n") + b"abc")
        body = stage.exchanges[1]
        view = bytearray(9)
        assert body.readinto(view) == 3 and body.readinto(view) == -1
        assert stage.idle_rings
        streaming.send(b"defghi")
        assert body.readinto(view) == 6 and view[:6] == b"defghi"


def test_wait_for_a_body_holds_no_ring() -> None:
    with Stage(echo) as stage:
        peer = stage.connect()
        peer.send(request("POST", fields="Content-Length: 6\r\n") + b"abc")
        assert stage.idle_rings
        peer.send(b"def" + request())
        assert [answer.status_code for answer in peer.answers("POST", "GET")] == [200, 200]
        assert stage.idle_rings


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_socket_that_cannot_be_watched_again_ends_its_own_connection_alone(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise NetworkError("cannot watch a socket", errno=errno.ENOSPC, code="exhausted")

    keeping = Keeping()
    with Stage(keeping) as stage:
        peer, other = stage.connect(), stage.connect()
        peer.send(request() + b"\r\n")
        # Nobody asks for this one: the socket is not watched any more.
        peer.send(b"\r\n")
        other.send(request())
        with monkeypatch.context() as patched:
            patched.setattr(Reactor, "set_interest", full)
            stage.exchanges[0].respond(200, None, b"x" * size)
            stage.turn()
        peer.look()
        assert peer.ended and not keeping.left
        assert stage.listener.stats().open == 1
        stage.exchanges[1].respond()
        assert other.answers()[0].status_code == 200
        assert stage.idle_rings
