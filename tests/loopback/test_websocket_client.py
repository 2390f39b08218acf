"""WebSockets of a Client over loopback, every way: messages, control frames, the closing handshake, limits of time."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from support.https import Pki, vanish
from support.in_thread import InThread
from support.scripted_server import (
    Step,
    await_close,
    await_event,
    close,
    drip,
    reset,
    scripted,
    send,
    send_bytewise,
    stall,
)
from support.scripted_server import signal as tell
from support.websocket_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    accept,
    answer_close,
    close_frame,
    echo,
    note_frame,
    note_until_close,
    send_frame,
    server_frame,
    take_frame,
)
from support.websocket_stage import SOON_S, TIMEOUTS, WebSocketStage, send_for_long, soon
from turbosock import (
    ClientClosed,
    InvalidOption,
    LimitError,
    ReadTimeout,
    WebSocketClosed,
    WriteTimeout,
)
from turbosock.client.websocket import WebSocket
from turbosock.errors import Origin
from turbosock.protocol.websocket.deflate import DeflateOptions

MESSAGES: list[bytes | str] = [
    "",
    b"",
    "a text",
    b"\0\xff" * 60,
    "é€𝄞" * 40,
    b"m" * 125,
    b"m" * 126,
    b"m" * 4082,
    b"m" * 4083,
    b"m" * 65_522,
    b"m" * 65_523,
    bytes(range(256)) * 300,
    "ö" * 100_000,
    b"M" * 900_000,
]


def test_messages_of_every_length_come_back_as_they_went(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        for message in MESSAGES:
            ws.send(message)
            assert ws.recv(timeout=5) == message
            assert ws.received_text is isinstance(message, str)
        assert ws.messages_sent == ws.messages_received == len(MESSAGES)
    assert (ws.close_code, ws.close_reason, ws.closed) == (1000, "", True)


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages_come_back_as_they_went(stage: WebSocketStage, takeover: bool) -> None:
    extension = b"Sec-WebSocket-Extensions: permessage-deflate"
    options = DeflateOptions(client_no_context_takeover=not takeover, server_no_context_takeover=not takeover)
    if not takeover:
        extension += b"; server_no_context_takeover; client_no_context_takeover"
    with scripted(stage.script(accept(extension + b"\r\n"), echo)) as server:
        with stage.client().websocket(stage.url(server), deflate=options) as ws:
            for message in MESSAGES * 2:
                ws.send(message)
                assert ws.recv(timeout=5) == message
        assert ws.bytes_sent < 400_000


def test_buffers_are_sent_as_binary_messages(plain: WebSocketStage) -> None:
    with plain.open(echo) as ws:
        for data in (bytearray(b"abc"), memoryview(b"xabcx")[1:4], memoryview(b"abcd").cast("I")[:1]):
            ws.send(data)
            assert ws.recv() == bytes(data)
        wrong: list[Any] = [memoryview(b"abcdef")[::2], 5, None, ["a"]]
        for data in wrong:
            with pytest.raises(InvalidOption, match=r"^data: "):
                ws.send(data)
        with pytest.raises(InvalidOption, match="surrogate"):
            ws.send("\ud800")
        ws.send("still open")
        assert ws.recv() == "still open"


def test_messages_that_come_with_the_agreement_are_received(stage: WebSocketStage) -> None:
    behind = server_frame(TEXT, b"early") + server_frame(PING, b"?") + server_frame(BINARY, b"x" * 5000)
    seen: list[Frame] = []
    script = stage.script(accept(behind=behind), note_until_close(seen), send(close_frame()))
    with scripted(script) as server, stage.client().websocket(stage.url(server)) as ws:
        assert ws.recv() == "early"
        assert ws.recv() == b"x" * 5000
    assert seen == [(PONG, b"?"), (CLOSE, b"\x03\xe8")]


def test_messages_that_drip_byte_by_byte_are_received(stage: WebSocketStage) -> None:
    data = (
        server_frame(TEXT, "hé".encode()[:2], fin=False)
        + server_frame(PING, b"in between")
        + server_frame(CONTINUATION, "hé".encode()[2:])
        + server_frame(BINARY, b"b" * 300)
    )
    seen: list[Frame] = []
    with stage.open(send_bytewise(data), note_frame(seen), answer_close) as ws:
        assert ws.recv(timeout=5) == "hé"
        assert ws.recv(timeout=5) == b"b" * 300
    assert seen == [(PONG, b"in between")]


def test_view_of_a_message_is_lent_until_the_next_receive(stage: WebSocketStage) -> None:
    long = bytes(range(256)) * 1000
    with stage.open(
        send_frame(BINARY, b"s" * 500), send_frame(BINARY, long), send_frame(TEXT, "é".encode()), answer_close
    ) as ws:
        view = ws.recv_view(timeout=5)
        assert view == b"s" * 500 and view.readonly and not ws.received_text
        view = ws.recv_view(timeout=5)
        assert view == long
        assert stage.clients[0].buffers.stats().outstanding == 1
        del view
        assert ws.recv_view() == "é".encode() and ws.received_text
        assert stage.clients[0].buffers.stats().outstanding == 0


def test_iteration_ends_where_the_peer_closes_in_good_order(stage: WebSocketStage) -> None:
    seen: list[Frame] = []
    with stage.open(
        send_frame(TEXT, b"one"), send_frame(BINARY, b"two"), send(close_frame(1001)), note_until_close(seen)
    ) as ws:
        assert list(ws) == ["one", b"two"]
        assert list(ws) == []
    assert seen == [(CLOSE, b"\x03\xe9")]
    assert ws.close_code == 1001


def test_iteration_raises_where_the_peer_closes_for_a_reason(plain: WebSocketStage) -> None:
    with (
        plain.open(send(close_frame(4001, b"log in first")), note_until_close([])) as ws,
        pytest.raises(WebSocketClosed, match="4001, 'log in first'") as caught,
    ):
        list(ws)
    assert (caught.value.close_code, caught.value.close_reason, caught.value.clean) == (4001, "log in first", True)
    assert caught.value.origin is Origin.REMOTE


# Control frames


def test_ping_returns_the_seconds_there_and_back(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        assert ws.latency is None
        seconds = ws.ping()
        assert 0 < seconds < 5 and ws.latency == seconds


def test_messages_that_come_before_the_pong_are_kept_for_the_next_receive(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        for index in range(5):
            ws.send(f"number {index}")
        ws.send(b"x" * 100_000)
        ws.ping(timeout=5)
        assert [ws.recv() for _ in range(5)] == [f"number {index}" for index in range(5)]
        assert bytes(ws.recv_view()) == b"x" * 100_000 and not ws.received_text


def test_too_many_messages_before_the_pong_are_an_error_and_none_is_lost(
    plain: WebSocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.limits.MAX_KEPT_MESSAGES", 3)
    with plain.open(echo) as ws:
        for index in range(5):
            ws.send(b"%d" % index)
        with pytest.raises(LimitError, match="3 messages"):
            ws.ping()
        assert [ws.recv() for _ in range(5)] == [b"%d" % index for index in range(5)]
        assert ws.ping() > 0


def test_ping_that_nobody_answers_ends_with_its_timeout(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:
        started = time.monotonic()
        with pytest.raises(ReadTimeout, match="no Pong"):
            ws.ping(timeout=0.05)
        assert time.monotonic() - started < 1
        ws.send("still open")


def test_silent_peer_is_pinged_and_its_pong_keeps_it_alive(stage: WebSocketStage) -> None:
    seen: list[Frame] = []

    def answer_pings(peer: Any) -> None:
        for _ in range(3):
            note_frame(seen)(peer)
            send(server_frame(PONG, seen[-1][1]))(peer)
        send(server_frame(TEXT, b"at last"))(peer)

    with stage.open(answer_pings, answer_close, ping_interval_s=0.05, ping_timeout_s=5) as ws:
        assert ws.recv() == "at last"
        assert ws.latency is not None
    assert [opcode for opcode, _ in seen] == [PING] * 3
    assert len({payload for _, payload in seen}) == 3


@pytest.mark.parametrize("timeout", [None, 0.02])
def test_peer_that_answers_no_ping_is_given_up(stage: WebSocketStage, timeout: float | None) -> None:
    seen: list[Frame] = []

    def receive_for_long(ws: WebSocket) -> None:
        end = time.monotonic() + SOON_S
        while time.monotonic() < end:
            with contextlib.suppress(ReadTimeout):
                ws.recv(timeout)

    with (
        stage.open(note_until_close(seen), stall, ping_interval_s=0.08, ping_timeout_s=0.1) as ws,
        pytest.raises(WebSocketClosed, match=r"ping_timeout_s=0\.1") as caught,
    ):
        receive_for_long(ws)
    assert caught.value.origin is Origin.TIMEOUT and caught.value.close_code == 1011
    assert [opcode for opcode, _ in seen] == [PING, CLOSE]


def test_pings_of_a_flood_are_answered_as_far_as_they_can(stage: WebSocketStage) -> None:
    seen: list[Frame] = []
    flood = b"".join(server_frame(PING, b"%d" % index) for index in range(5000))
    with stage.open(send(flood), send_frame(TEXT, b"end"), note_until_close(seen), send(close_frame())) as ws:
        assert ws.recv(timeout=5) == "end"
    assert {opcode for opcode, _ in seen[:-1]} == {PONG}
    assert seen[-2] == (PONG, b"4999")


# Ends


def test_close_says_code_and_reason_and_waits_for_the_answer(stage: WebSocketStage) -> None:
    seen: list[Frame] = []
    with stage.open(note_until_close(seen), send(server_frame(TEXT, b"late") + close_frame(4000))) as ws:
        ws.close(4000, "enough é", timeout=5)
        ws.close()
        with pytest.raises(WebSocketClosed, match="we closed") as caught:
            ws.recv()
        assert caught.value.clean and caught.value.origin is Origin.LOCAL
        with pytest.raises(WebSocketClosed):
            ws.ping()
    assert seen == [(CLOSE, b"\x0f\xa0" + "enough é".encode())]
    assert ws.close_code == 4000


def test_close_that_does_not_wait_leaves_what_still_comes_to_be_received(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        for number in range(3):
            ws.send(b"%d" % number)
        ws.close(4002, wait=False)
        with pytest.raises(WebSocketClosed, match="we have closed"):
            ws.send("more")
        assert [ws.recv(timeout=5) for _ in range(3)] == [b"0", b"1", b"2"]
        with pytest.raises(WebSocketClosed) as caught:
            ws.recv()
        assert caught.value.clean and ws.close_code == 4002


@pytest.mark.parametrize("script", [stall, drip(server_frame(BINARY, b"x"), 0.001)], ids=["silent", "talking"])
def test_close_that_does_not_wait_bounds_the_receives_behind_it(stage: WebSocketStage, script: Step) -> None:
    with stage.open(script) as ws:
        ws.close(timeout=0.1, wait=False)
        started = time.monotonic()
        with pytest.raises(WebSocketClosed, match="did not answer"):
            receive_for_ever(ws)
        assert time.monotonic() - started < 1


def receive_for_ever(ws: WebSocket) -> None:
    while True:
        ws.recv()


@pytest.mark.parametrize(
    "arguments", [(1005, "why"), (1006,), (99,), (1000, "x" * 124), (1000, "", -1), (1000, "", "1")]
)
def test_close_with_what_cannot_be_said_is_refused_and_leaves_it_open(plain: WebSocketStage, arguments: Any) -> None:
    with plain.open(echo) as ws:
        with pytest.raises(InvalidOption):
            ws.close(*arguments)
        ws.send("open")
        assert ws.recv() == "open"


def test_peer_that_never_answers_a_close_costs_the_time_given(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:
        started = time.monotonic()
        ws.close(timeout=0.1)
        assert 0.08 < time.monotonic() - started < 0.5
    assert ws.close_code == 1006


def test_peer_that_talks_on_after_our_close_costs_the_time_given(stage: WebSocketStage) -> None:
    with stage.open(drip(server_frame(BINARY, bytes(100)), 0.001)) as ws:
        started = time.monotonic()
        ws.close(timeout=0.1)
        assert time.monotonic() - started < 0.5


def test_peer_that_closes_and_leaves_the_connection_open_costs_little(
    stage: WebSocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turbosock.client.websocket_receiving._LINGER_NS", 50_000_000)
    with stage.open(send(close_frame()), stall) as ws:
        started = time.monotonic()
        with pytest.raises(WebSocketClosed):
            ws.recv()
        assert time.monotonic() - started < 1
        assert ws.closed


def test_wait_for_the_end_of_the_connection_keeps_to_the_timeout_of_a_receive(stage: WebSocketStage) -> None:
    with stage.open(send(close_frame()), stall) as ws:
        started = time.monotonic()
        with pytest.raises(WebSocketClosed):
            ws.recv(timeout=0.1)
        assert time.monotonic() - started < 0.4


@pytest.mark.parametrize("end", [close, reset], ids=["close", "reset"])
@pytest.mark.parametrize("before", [b"", b"\x82\x05abc"], ids=["between", "inside"])
def test_connection_that_ends_without_a_close_is_abnormal(plain: WebSocketStage, end: Step, before: bytes) -> None:
    with plain.open(send(before), end) as ws:
        with pytest.raises(WebSocketClosed) as caught:
            ws.recv(timeout=5)
        assert caught.value.close_code == 1006 and not caught.value.clean
        assert caught.value.origin is Origin.REMOTE
    assert ws.close_code == 1006


def test_tls_that_ends_without_a_goodbye_is_abnormal_and_says_so(websocket_pki: Pki) -> None:
    for way in ("ssl", "pyopenssl"):
        stage = WebSocketStage(way, websocket_pki)
        with stage.open(send_frame(TEXT, b"x"), vanish) as ws:
            assert ws.recv() == "x"
            with pytest.raises(WebSocketClosed, match="close_notify") as caught:
                ws.recv(timeout=5)
            assert caught.value.close_code == 1006
        stage.end()


def test_send_to_a_peer_that_has_gone_ends_in_an_error_and_what_it_said_can_be_received(stage: WebSocketStage) -> None:
    gone = threading.Event()
    with stage.open(send_frame(TEXT, b"last words"), send(close_frame(1012)), tell(gone)) as ws:
        assert gone.wait(SOON_S)
        with pytest.raises(WebSocketClosed) as caught:
            send_for_long(ws, bytes(10_000))
        assert caught.value.origin is Origin.REMOTE
        if stage.way in ("stream", "saea"):
            # What the system has of the peer's words may be lost with the reset.
            with pytest.raises(WebSocketClosed):
                list(ws)


def test_with_block_that_fails_says_so_to_the_peer(plain: WebSocketStage) -> None:
    for error, code in ((ValueError("mine"), 1011), (KeyboardInterrupt(), 1001)):
        seen: list[Frame] = []
        script = plain.script(accept(), note_until_close(seen), send(close_frame()))
        with (
            scripted(script) as server,
            pytest.raises(type(error)),
            plain.client().websocket(plain.url(server)),
        ):
            raise error
        assert seen == [(CLOSE, code.to_bytes(2, "big"))]


def test_websocket_dropped_without_close_warns_and_closes(plain: WebSocketStage) -> None:
    ended = threading.Event()
    with scripted(plain.script(accept(), await_close, tell(ended))) as server:
        held = [plain.client().websocket(plain.url(server))]
        with pytest.warns(ResourceWarning, match="dropped without close"):
            held.clear()
        assert ended.wait(SOON_S)


def test_aborted_websocket_tells_nobody_and_is_over(stage: WebSocketStage) -> None:
    with stage.open(await_close) as ws:
        ws.abort()
        ws.abort()
        assert ws.closed and ws.close_code == 1006
        for call in (ws.recv, ws.ping, lambda: ws.send("x"), lambda: next(ws)):
            with pytest.raises(WebSocketClosed, match="ended here"):
                call()


def test_client_that_is_closed_ends_its_websockets(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:
        receiving = InThread(ws.recv)
        soon(lambda: bool(ws._receiving))
        stage.clients[0].close()
        assert isinstance(receiving.outcome(), ClientClosed)
        assert ws.closed
        for call in (ws.recv, ws.ping, lambda: ws.send("x")):
            with pytest.raises(ClientClosed):
                call()


# Time


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_receive_ends_with_its_timeout_and_the_message_comes_later(stage: WebSocketStage, timeout: float) -> None:
    asked = threading.Event()
    half = server_frame(BINARY, b"x" * 1000)
    with stage.open(send(half[:500]), await_event(asked), send(half[500:]), answer_close) as ws:
        started = time.monotonic()
        for _ in range(2):
            with pytest.raises(ReadTimeout):
                ws.recv(timeout)
        assert time.monotonic() - started < 0.5
        asked.set()
        assert ws.recv(timeout=5) == b"x" * 1000


def test_receive_of_what_is_there_needs_no_time(stage: WebSocketStage) -> None:
    with stage.open(send(server_frame(TEXT, b"a") + server_frame(TEXT, b"b")), answer_close) as ws:
        assert ws.recv(timeout=5) == "a"
        assert ws.recv(timeout=0) == "b"


def test_drip_does_not_outlast_the_timeout_of_a_receive(stage: WebSocketStage) -> None:
    for data in (b"\x82\x7e\xff\xff" + bytes(10_000), server_frame(PONG) * 1000):
        with stage.open(drip(data, 0.001)) as ws:
            started = time.monotonic()
            with pytest.raises(ReadTimeout):
                ws.recv(timeout=0.1)
            assert time.monotonic() - started < 0.4


@pytest.mark.parametrize("timeout", [-1, True, "1", float("nan"), float("inf")])
def test_timeout_that_is_none_is_refused(plain: WebSocketStage, timeout: Any) -> None:
    with plain.open(echo) as ws:
        for call in (lambda: ws.recv(timeout), lambda: ws.send("x", timeout), lambda: ws.ping(timeout)):
            with pytest.raises(InvalidOption, match="timeout"):
                call()


def test_send_that_the_peer_does_not_take_ends_with_its_timeout(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:
        started = time.monotonic()
        with pytest.raises(WriteTimeout, match="did not take a message in time"):
            send_for_long(ws, bytes(1 << 20), 0.1)
        assert time.monotonic() - started < 3
        with pytest.raises(WebSocketClosed):
            ws.send("more")
        assert ws.closed


def test_send_that_the_peer_does_not_take_ends_with_write_s(stage: WebSocketStage) -> None:
    with stage.open(stall, timeouts=replace(TIMEOUTS, write_s=0.1)) as ws:
        started = time.monotonic()
        with pytest.raises(WriteTimeout):
            send_for_long(ws, bytes(1 << 20))
        assert time.monotonic() - started < 3


def test_peer_that_takes_little_by_little_gets_a_message_whole(stage: WebSocketStage) -> None:
    message = bytes(range(256)) * 3000
    taken: list[bytes] = []

    def take_slowly(peer: Any) -> None:
        for _ in range(100):
            peer.server.stopping.wait(0.002)
            peer.received += peer.receive()
        taken.append(take_frame(peer)[2])

    with stage.open(take_slowly, answer_close) as ws:
        ws.send(message)
    assert taken == [message]
