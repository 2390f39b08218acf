"""A WebSocket in several threads: one sends while another receives, many do either, one ends it for all of them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.in_thread import InThread
from support.scripted_server import (
    await_event,
    send,
    stall,
)
from support.websocket_server import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    answer_close,
    close_frame,
    echo,
    note_frame,
    note_until_close,
    server_frame,
    take_frame,
)
from support.websocket_stage import WebSocketStage, soon
from turbosock import (
    StateError,
    WebSocketClosed,
)


def test_one_thread_sends_while_another_receives(stage: WebSocketStage) -> None:
    count = 300
    with stage.open(echo) as ws:
        receiving = InThread(lambda: [ws.recv(timeout=5) for _ in range(count)])
        for index in range(count):
            ws.send(b"%d" % index * 50)
        assert receiving.outcome() == [b"%d" % index * 50 for index in range(count)]


def test_eight_threads_send_and_no_message_is_mixed_or_lost(stage: WebSocketStage) -> None:
    count = 40
    with stage.open(echo) as ws:

        def work(thread: int) -> None:
            for index in range(count):
                size = (1, 200, 5000, 70_000)[index % 4]
                ws.send(bytes([65 + thread]) * size)

        receiving = InThread(lambda: [ws.recv(timeout=8) for _ in range(8 * count)])
        senders = [InThread(lambda thread=thread: work(thread)) for thread in range(8)]  # type: ignore[misc]  # its default
        assert [sender.outcome() for sender in senders] == [None] * 8
        came = receiving.outcome()
        assert isinstance(came, list)
        for thread in range(8):
            own = [message for message in came if message[:1] == bytes([65 + thread])]
            assert [len(message) for message in own] == [1, 200, 5000, 70_000] * (count // 4)
            assert all(message == message[:1] * len(message) for message in own)


def test_threads_that_receive_share_the_messages(stage: WebSocketStage) -> None:
    data = b"".join(server_frame(BINARY, b"%d" % index) for index in range(400))
    with stage.open(send(data), answer_close) as ws:
        receivers = [InThread(lambda: [ws.recv(timeout=5) for _ in range(100)]) for _ in range(4)]
        came = [message for receiver in receivers for message in receiver.outcome()]
        assert sorted(came) == sorted(b"%d" % index for index in range(400))


def test_ping_and_its_pong_pass_a_thread_that_receives(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        receiving = InThread(lambda: ws.recv(timeout=8))
        soon(lambda: bool(ws._receiving))
        assert [ws.ping(timeout=5) > 0 for _ in range(20)] == [True] * 20
        ws.send("enough")
        assert receiving.outcome() == "enough"


def test_ping_takes_over_from_a_thread_that_stops_receiving(stage: WebSocketStage) -> None:
    go_on = threading.Event()

    def script(peer: Any) -> None:
        _, opcode, payload = take_frame(peer)
        assert opcode == PING
        send(server_frame(TEXT, b"for the receiver"))(peer)
        await_event(go_on)(peer)
        send(server_frame(PONG, payload))(peer)

    with stage.open(script, answer_close) as ws:
        receiving = InThread(lambda: ws.recv(timeout=8))
        soon(lambda: bool(ws._receiving))
        pinging = InThread(lambda: ws.ping(timeout=8))
        assert receiving.outcome() == "for the receiver"
        go_on.set()
        assert pinging.outcome() > 0


def test_close_wakes_a_thread_that_receives_with_the_answer(stage: WebSocketStage) -> None:
    with stage.open(answer_close) as ws:
        receiving = InThread(ws.recv)
        soon(lambda: bool(ws._receiving))
        ws.close(1001, timeout=5)
        error = receiving.outcome()
        assert isinstance(error, WebSocketClosed) and error.clean and error.close_code == 1001


def test_close_wakes_a_thread_that_receives_though_nobody_answers(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:
        receiving = InThread(ws.recv)
        soon(lambda: bool(ws._receiving))
        started = time.monotonic()
        ws.close(timeout=0.1)
        error = receiving.outcome()
        assert time.monotonic() - started < 1
        assert isinstance(error, WebSocketClosed) and not error.clean


def test_abort_wakes_threads_that_receive_and_send(stage: WebSocketStage) -> None:
    with stage.open(stall) as ws:

        def send_for_ever() -> None:
            while True:
                ws.send(bytes(1 << 20))

        receiving, sending = InThread(ws.recv), InThread(send_for_ever)
        soon(lambda: bool(ws._receiving) and bool(ws._sending))
        started = time.monotonic()
        ws.abort()
        assert isinstance(receiving.outcome(), WebSocketClosed)
        assert isinstance(sending.outcome(), WebSocketClosed)
        assert time.monotonic() - started < 1
        soon(lambda: ws._duplex.transport.fd < 0)


def test_ping_of_the_peer_is_answered_behind_a_message_that_is_being_sent(stage: WebSocketStage) -> None:
    seen: list[Frame] = []
    begun = threading.Event()
    message = bytes(12 << 20)

    def script(peer: Any) -> None:
        peer.received = peer.receive()
        send(server_frame(PING, b"now") + server_frame(TEXT, b"go on"))(peer)
        await_event(begun)(peer)
        for _ in range(2):
            note_frame(seen)(peer)

    with stage.open(script, answer_close) as ws:
        sending = InThread(lambda: ws.send(message))
        assert ws.recv(timeout=5) == "go on"
        assert ws._sending, "the message does not fit into the buffers of the system"
        begun.set()
        assert sending.outcome() is None
        ws.close(timeout=5)
    assert [(opcode, len(payload)) for opcode, payload in seen] == [(BINARY, len(message)), (PONG, 3)]


def test_close_of_the_peer_is_answered_behind_a_message_that_is_being_sent(stage: WebSocketStage) -> None:
    seen: list[Frame] = []
    message = bytes(12 << 20)

    def script(peer: Any) -> None:
        peer.received = peer.receive()
        send(close_frame(1001))(peer)
        note_until_close(seen)(peer)

    with stage.open(script) as ws:
        sending = InThread(lambda: ws.send(message))
        soon(lambda: bool(ws._sending))
        with pytest.raises(WebSocketClosed) as caught:
            ws.recv(timeout=5)
        assert caught.value.close_code == 1001
        assert sending.outcome() is None
    assert [(opcode, len(payload)) for opcode, payload in seen] == [(BINARY, len(message)), (CLOSE, 2)]


def test_call_inside_a_call_of_the_same_direction_is_refused(plain: WebSocketStage) -> None:
    import signal

    caught: list[BaseException] = []

    def handler(number: int, frame: object) -> None:
        for call in (lambda: ws.recv(timeout=1), lambda: ws.recv_view(timeout=1), lambda: ws.ping(timeout=0.01)):
            try:
                call()
            except StateError as error:
                caught.append(error)
        ws.close(4321)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with plain.open(answer_close, close_timeout_s=5) as ws:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(WebSocketClosed) as ended:
                ws.recv(timeout=5)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(caught) == 3
    assert ended.value.close_code == 4321 and ended.value.clean, "what a handler may do"


@NEEDS_FORK
def test_child_of_a_fork_leaves_the_websocket_to_its_parent(stage: WebSocketStage) -> None:
    with stage.open(echo) as ws:
        ws.send("before")
        assert ws.recv(timeout=5) == "before"

        def in_the_child() -> None:
            assert ws.closed
            with pytest.raises(WebSocketClosed):
                ws.send("child")
            with pytest.raises(WebSocketClosed):
                ws.recv()
            ws.close()

        in_child(in_the_child)
        ws.send("after")
        assert ws.recv(timeout=5) == "after"


def test_connection_is_closed_by_whoever_leaves_last_though_he_sent_a_control_frame_alone(
    stage: WebSocketStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, go_on = threading.Event(), threading.Event()
    with stage.open(stall) as ws:
        duplex = ws._duplex
        send_now = type(duplex).send

        def send_and_linger(self: Any, view: memoryview, budget_ns: int) -> int:
            count = send_now(self, view, budget_ns)
            sent.set()
            assert go_on.wait(5)
            return count

        monkeypatch.setattr(type(duplex), "send", send_and_linger)
        closing = InThread(lambda: ws.close(wait=False))
        assert sent.wait(5)
        ws.abort()
        go_on.set()
        closing.outcome()
        assert duplex.transport.socket.fileno() == -1
