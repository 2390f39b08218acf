"""The listener for WebSockets, and upgrading from a handler of HTTP: opening handshakes of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.websocket import frame
from support.websocket_loop import ACCEPT, WebSocketStage, frames, handshake
from turbosock import EventKind, HttpExchange, InvalidHeader, InvalidOption, Loop, Send, StateError
from turbosock.server.http_listener import HttpListener
from turbosock.server.websocket_settings import WebSocketSettings


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_proper_request_opens_a_websocket(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", subprotocols=("b", "a")) as stage:
        _, answer = stage.ask(handshake("Sec-WebSocket-Protocol: a, b", path="/room?id=7"))
        (event,) = stage.loop.events
        connection: Any = event.connection

        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n") and not rest
        assert b"Sec-WebSocket-Accept: " + ACCEPT in head and b"Sec-WebSocket-Protocol: b" in head
        assert event.kind is EventKind.OPEN
        assert connection.request.path == "/room" and connection.request.query == "id=7"
        assert connection.subprotocol == "b" and connection.open
        assert stage.listener.connections == (connection,)


def test_frames_right_behind_the_handshake_are_taken(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client = stage.raw()
        client.send(handshake() + frame(2, b"early") + frame(1, b"bird")[:4])
        assert [each[0] for each in stage.turn()] == [EventKind.OPEN, EventKind.MESSAGE]
        client.send(frame(1, b"bird")[4:])

        assert stage.messages() == ["bird"]


def test_handshake_byte_by_byte_opens_a_websocket(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client = stage.raw()
        data = handshake() + frame(2, b"x")
        for i in range(len(data)):
            client.send(data[i : i + 1])
            stage.turn(1)

        assert stage.seen == [(EventKind.OPEN,), (EventKind.MESSAGE, b"x")]


BAD_HANDSHAKES = {
    "a plain GET": (handshake(without="Upgrade"), 426),
    "a POST": (handshake().replace(b"GET", b"POST"), 405),
    "HTTP/1.0": (handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "no Connection": (handshake(without="Connection"), 400),
    "no key": (handshake(without="Sec-WebSocket-Key"), 400),
    "a short key": (handshake().replace(b"dGhl", b""), 400),
    "another version": (handshake().replace(b"Version: 13", b"Version: 8"), 426),
    "a page of another host": (handshake("Origin: https://evil.example"), 403),
    "another path": (handshake(path="/other"), 404),
    "a body": (handshake("Content-Length: 5") + b"12345", 413),
    "no request at all": (b"\x16\x03\x01\r\n\r\n", 400),
}


@pytest.mark.parametrize("what", BAD_HANDSHAKES)
def test_bad_handshake_gets_its_status(tmp_path: Path, what: str) -> None:
    request, expected = BAD_HANDSHAKES[what]
    with WebSocketStage(tmp_path / "s", path="/") as stage:
        _, answer = stage.ask(request)

        assert status(answer) == expected
        assert stage.turn() == []
        assert stage.listener.stats().refused == 1 and stage.listener.stats().opened == 0


def test_origins_are_whom_the_listener_says(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", origins=("https://game.example",)) as stage:
        assert status(stage.ask(handshake("Origin: https://game.example"))[1]) == 101
        assert status(stage.ask(handshake("Origin: http://here"))[1]) == 403
        assert status(stage.ask(handshake())[1]) == 101


def test_slow_handshake_is_given_up(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", handshake_timeout_s=2.0) as stage:
        client = stage.raw()
        client.send(handshake()[:40])
        stage.turn()
        stage.clock.advance(ns=2_100_000_000)
        stage.turn()

        assert client.take().startswith(b"HTTP/1.1 408 ")
        assert stage.listener.stats().timeouts == 1


def test_more_connections_than_allowed_wait(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", max_connections=2) as stage:
        first, _ = stage.client()
        stage.client()
        third = stage.raw()
        third.send(handshake())
        assert stage.turn() == []
        assert stage.listener.stats().crowded == 1
        first.close()
        stage.turn()

        assert stage.seen == [(EventKind.CLOSED, 1006, ""), (EventKind.OPEN,)]


def test_listener_counts_what_its_connections_did_after_they_ended(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        client.send(frame(2, b"x") * 3)
        stage.turn()
        connection.send(b"y")
        stage.turn()
        client.close()
        stage.turn()
        stats = stage.listener.stats()

        assert (stats.messages_in, stats.messages_out, stats.open, stats.opened) == (3, 1, 0, 1)
        assert stats.bytes_in == len(handshake()) + 3 * len(frame(2, b"x"))
        assert stage.loop.stats().listeners == (stats,)


def test_closing_the_listener_closes_its_websockets(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        stage.listener.close()
        sent = stage.sent(client)
        client.send(frame(8, (1001).to_bytes(2, "big")))
        stage.turn()

        assert sent == [(0x88, (1001).to_bytes(2, "big"))]
        assert not connection.open


def test_closing_the_loop_says_going_away_behind_what_waits_and_ends_websockets(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s") as stage:
        client, connection = stage.client()
        closing, other = stage.client()
        other.close(4000)
        stage.turn()
        closing.take()
        assert connection.send(b"last") is Send.OK
        stage.loop.close()

        assert frames(client.take()) == [(0x82, b"last"), (0x88, (1001).to_bytes(2, "big"))]
        assert client.at_end()
        # A Close is said once.
        assert closing.take() == b""
        assert closing.at_end()


def test_closing_the_loop_waits_for_nobody_who_takes_nothing(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", max_message=8 << 20, max_unsent=8 << 20) as stage:
        client, connection = stage.client()
        assert connection.send(bytes(8 << 20)) is Send.OK
        stage.loop.close()

        assert not connection.open
        assert connection.close_code == 1006
        assert client is not None


@pytest.mark.parametrize(
    "options",
    [
        {"path": "room"},
        {"subprotocols": "chat"},
        {"origins": ("example",)},
        {"deflate": 1},
        {"max_message": 0},
        {"quota": 1},
        {"ping_interval_s": 0},
        {"ping_timeout_s": None},
        {"close_timeout_s": -1},
        {"handler": print},
        {"framing": None},
    ],
)
def test_option_that_cannot_work_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with Loop() as loop, pytest.raises(InvalidOption, match=next(iter(options))):
        loop.listen(str(tmp_path / "s"), protocol="websocket", **options)


# From a handler of HTTP


def serve(exchange: HttpExchange) -> None:
    if exchange.request.path == "/socket":
        exchange.upgrade_websocket(SETTINGS, {"Set-Cookie": "seen=1"})
    else:
        exchange.respond(200, {"Content-Type": "text/html"}, b"<p>page")


SETTINGS = WebSocketSettings(ping_interval_s=None)


def test_one_listener_serves_a_page_and_websockets(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", protocol="http", handler=serve) as stage:
        client, answer = stage.ask(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        assert answer.endswith(b"<p>page")
        client.send(handshake(path="/socket"))
        stage.turn()
        opening = client.take()
        client.send(frame(2, b"hello"))

        assert status(opening) == 101 and b"Set-Cookie: seen=1" in opening
        assert stage.messages() == [b"hello"]
        stats = stage.listener.stats()
        assert (stats.open, stats.requests) == (1, 2)
        client.close()
        stage.turn()
        assert stage.seen[-1] == (EventKind.CLOSED, 1006, "")
        assert stage.listener.stats().open == 0
        assert stage.listener.stats().bytes_in > 100


def test_request_that_opens_nothing_is_refused_and_the_connection_goes_on(tmp_path: Path) -> None:
    with WebSocketStage(tmp_path / "s", protocol="http", handler=serve) as stage:
        client, answer = stage.ask(b"GET /socket HTTP/1.1\r\nHost: here\r\n\r\n")
        assert status(answer) == 426
        client.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        stage.turn()

        assert client.take().endswith(b"<p>page")


def test_exchange_that_was_kept_is_upgraded_ticks_later(tmp_path: Path) -> None:
    kept: list[HttpExchange] = []
    with WebSocketStage(tmp_path / "s", protocol="http", handler=kept.append) as stage:
        client = stage.raw()
        client.send(handshake())
        stage.turn()
        connection = kept[0].upgrade_websocket(SETTINGS)
        assert connection is not None and connection.open
        connection.send("welcome")
        stage.turn()
        head, _, rest = client.take().partition(b"\r\n\r\n")

        assert status(head) == 101 and frames(rest) == [(0x81, b"welcome")]
        with pytest.raises(StateError):
            kept[0].upgrade_websocket(SETTINGS)
        with pytest.raises(StateError):
            kept[0].respond(200)


def test_field_of_the_handshakes_own_is_refused(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def answer(exchange: HttpExchange) -> None:
        try:
            exchange.upgrade_websocket(SETTINGS, {"Upgrade": "something"})
        except InvalidHeader as error:
            errors.append(error)
            exchange.respond(500)

    with WebSocketStage(tmp_path / "s", protocol="http", handler=answer) as stage:
        assert status(stage.ask(handshake())[1]) == 500
        assert errors


def test_client_that_has_gone_opens_nothing(tmp_path: Path) -> None:
    kept: list[HttpExchange] = []
    with WebSocketStage(tmp_path / "s", protocol="http", handler=kept.append) as stage:
        client = stage.raw()
        client.send(handshake())
        stage.turn()
        kept[0].abort()

        assert kept[0].upgrade_websocket(SETTINGS) is None


def test_listener_of_no_loop_cannot_upgrade(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def answer(exchange: HttpExchange) -> None:
        try:
            exchange.upgrade_websocket(SETTINGS)
        except StateError as error:
            errors.append(error)
            exchange.respond(500)

    with WebSocketStage(tmp_path / "s") as stage:
        listener = HttpListener(stage.loop.reactor, stage.loop.rings, str(tmp_path / "t"), answer)
        stage.listener = listener
        assert status(stage.ask(handshake())[1]) == 500
        assert "loop.listen" in str(errors[0])


def test_interrupt_while_a_session_is_made_leaves_no_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with WebSocketStage(tmp_path / "s", handshake_timeout_s=5) as stage:
        with monkeypatch.context() as patched:
            patched.setattr("turbosock.server.http_session.Http1ServerConnection", interrupted)
            lost = stage.raw()
            with pytest.raises(KeyboardInterrupt):
                stage.loop.poll()
        assert lost.at_end()
        stage.clock.advance(10)
        assert stage.turn() == []
        assert stage.loop.stats().timers == 0
        stage.client()
