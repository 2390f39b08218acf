"""Answers that are streams of events: heads, back-pressure, comments on a timer, ends."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from support.event_stage import EventStage
from turbosock import EventSender, HttpExchange, InvalidOption, Send, StateError


class Handler:
    """Begins an answer of events for each request, and keeps it."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.senders: list[EventSender] = []
        self.closed: list[EventSender] = []
        self.writable: list[EventSender] = []

    def __call__(self, exchange: HttpExchange) -> None:
        sender = exchange.respond_events(**self._options)
        sender.on_closed = self.closed.append
        sender.on_writable = self.writable.append
        self.senders.append(sender)


def raw(stage: EventStage, request: bytes) -> socket.socket:
    """A client that is not ours, with its request sent."""
    address = stage.listener.address
    assert isinstance(address, tuple)
    client = socket.create_connection(address[:2])
    client.settimeout(5)
    client.sendall(request)
    return client


def test_events_arrive_with_their_fields() -> None:
    handler = Handler(retry_ms=1234)
    with EventStage(handler) as stage:
        stream = stage.events()
        stage.until(lambda: handler.senders)
        (sender,) = handler.senders
        assert sender.send("one\ntwo", event="tick", id="1") is Send.OK
        assert sender.send(b"three") is Send.OK
        stage.until(lambda: len(stage.told[stream]) == 2)
        assert stage.told[stream] == [b"one\ntwo", b"three"]
        assert stage.ids[stream] == ["1", "1"]
        assert stream.retry_ms == 1234


def test_head_of_the_answer_says_what_it_is_and_keeps_given_fields() -> None:
    handler = Handler(headers={"cache-control": "no-store", "X-Mine": "1"})
    with EventStage(handler) as stage, raw(stage, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        stage.until(lambda: handler.senders)
        head = client.recv(4096).lower()
        assert b"content-type: text/event-stream\r\n" in head
        assert head.count(b"cache-control:") == 1
        assert b"cache-control: no-store\r\n" in head
        assert b"x-mine: 1\r\n" in head
        assert b"transfer-encoding: chunked\r\n" in head


def test_client_says_what_it_has_already() -> None:
    handler = Handler()
    with EventStage(handler) as stage:
        stage.events(last_event_id="é7")
        stage.until(lambda: handler.senders)
        assert handler.senders[0].last_event_id == "é7"


def test_end_is_followed_by_another_request() -> None:
    handler = Handler()
    with EventStage(handler) as stage:
        stream = stage.events()
        stage.until(lambda: handler.senders)
        handler.senders[0].send("a", id="1")
        assert handler.senders[0].end() is Send.OK
        assert handler.senders[0].end() is Send.OK
        assert handler.senders[0].send("b") is Send.CLOSED
        stage.until(lambda: len(stage.told[stream]) == 1 and stream.attempts == 1)
        stage.pass_time(1)
        stage.until(lambda: len(handler.senders) == 2)
        assert handler.senders[1].last_event_id == "1"


def test_slow_client_fills_the_answer_and_is_told_of_room() -> None:
    handler = Handler(heartbeat_s=None)
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with EventStage(handler, max_unsent_bytes=65_536) as stage, raw(stage, request) as client:
        stage.until(lambda: handler.senders)
        (sender,) = handler.senders
        sent = 0
        while sender.send(b"x" * 10_000) is Send.OK:
            sent += 1
        assert sender.send(b"x" * 10_000) is Send.FULL
        received = 0
        while not handler.writable:
            received += len(client.recv(1 << 20))
            stage.loop.poll()
        assert handler.writable == [sender]
        assert sender.send(b"last") is Send.OK
        sender.end()
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            stage.loop.poll()
            data = client.recv(1 << 20)
            received += len(data)
        assert received > sent * 10_000


def test_client_that_leaves_is_told_of_once_and_costs_no_timer() -> None:
    handler = Handler()
    with EventStage(handler) as stage:
        before = len(stage.loop.reactor.timers)
        client = raw(stage, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stage.until(lambda: handler.senders)
        client.close()
        (sender,) = handler.senders
        # The end of its stream may be a half close: what is sent then meets a reset.
        for _ in range(200):
            stage.pass_time(5)
            if sender.closed:
                break
        assert sender.closed
        assert sender.send("x") is Send.CLOSED
        assert handler.closed in ([sender], [])
        assert len(stage.loop.reactor.timers) == before


def test_silence_is_broken_before_it_is_too_long() -> None:
    handler = Handler(heartbeat_s=10)
    with EventStage(handler) as stage:
        stream = stage.events(heartbeat_s=11)
        stage.until(lambda: handler.senders)
        for _ in range(20):
            stage.pass_time(5)
        assert stream.attempts == 1
        # Two looks at each silence, and one comment.
        assert 9 <= stream.stats().comments <= 11
        for i in range(10):
            handler.senders[0].send(str(i))
            stage.pass_time(4)
        assert stream.stats().comments <= 12


def test_answer_without_a_heartbeat_has_no_comments() -> None:
    handler = Handler(heartbeat_s=None)
    with EventStage(handler) as stage:
        stream = stage.events(heartbeat_s=1000)
        stage.until(lambda: handler.senders)
        stage.pass_time(500)
        assert stream.stats().comments == 0


def test_head_request_is_answered_with_a_head() -> None:
    handler = Handler()
    with EventStage(handler) as stage, raw(stage, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        stage.until(lambda: handler.senders)
        assert handler.senders[0].closed
        assert handler.senders[0].send("x") is Send.CLOSED
        assert client.recv(4096).endswith(b"\r\n\r\n")


def test_http_1_0_client_reads_until_the_end() -> None:
    handler = Handler()
    with EventStage(handler) as stage, raw(stage, b"GET / HTTP/1.0\r\n\r\n") as client:
        stage.until(lambda: handler.senders)
        handler.senders[0].send("x")
        handler.senders[0].end()
        stage.pass_time(0)
        data = b""
        while piece := client.recv(4096):
            data += piece
        assert data.endswith(b"\r\n\r\ndata: x\n\n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"heartbeat_s": 0}, "heartbeat_s"),
        ({"retry_ms": -1}, "retry_ms"),
        ({"headers": {"a b": "1"}}, "headers"),
    ],
)
def test_option_that_cannot_work_is_refused_and_nothing_was_sent(options: dict[str, Any], named: str) -> None:
    refused: list[Exception] = []

    def handler(exchange: HttpExchange) -> None:
        try:
            exchange.respond_events(**options)
        except InvalidOption as error:
            refused.append(error)
        exchange.respond(200, {"Content-Type": "text/event-stream"})

    with EventStage(handler) as stage:
        stage.events()
        stage.until(lambda: refused)
        assert named in str(refused[0])


def test_second_answer_is_refused() -> None:
    refused: list[Exception] = []

    def handler(exchange: HttpExchange) -> None:
        exchange.respond(204)
        try:
            exchange.respond_events()
        except StateError as error:
            refused.append(error)

    with EventStage(handler) as stage:
        stage.events()
        stage.until(lambda: refused)
