"""A log of events: what is kept, who is sent what, and what becomes of those that cannot keep up."""

from __future__ import annotations

import random
import socket
from typing import Any

import pytest

from support.event_stage import EventStage
from support.seeds import seeds
from turbosock import EventLog, InvalidOption, limits


def numbers(first: int, last: int) -> list[bytes]:
    return [b"%d" % i for i in range(first, last + 1)]


def publish(log: EventLog, first: int, last: int) -> None:
    for i in range(first, last + 1):
        log.publish(str(i))


def test_subscribers_are_sent_what_comes_from_then_on() -> None:
    log = EventLog()
    log.publish("before")
    with EventStage(log.subscribe) as stage:
        streams = [stage.events() for _ in range(3)]
        stage.until(lambda: len(log) == 3)
        publish(log, 1, 5)
        stage.until(lambda: all(len(stage.told[stream]) == 5 for stream in streams))
        assert all(stage.told[stream] == numbers(1, 5) for stream in streams)


def test_client_that_comes_back_goes_on_after_what_it_has() -> None:
    log = EventLog()
    with EventStage(log.subscribe) as stage:
        stream = stage.events()
        stage.until(lambda: len(log) == 1)
        publish(log, 1, 3)
        stage.until(lambda: len(stage.told[stream]) == 3)
        log.close()
        assert len(log) == 0
        publish(log, 4, 6)
        stage.pass_time(1)
        stage.until(lambda: len(stage.told[stream]) == 6)
        publish(log, 7, 8)
        stage.until(lambda: len(stage.told[stream]) == 8)
        assert stage.told[stream] == numbers(1, 8)
        assert log.stats().replayed == 3


def test_client_with_an_id_that_is_not_kept_is_sent_all_that_is() -> None:
    log = EventLog(max_events=3)
    publish(log, 1, 10)
    with EventStage(log.subscribe) as stage:
        stream = stage.events(last_event_id="another run's")
        stage.until(lambda: len(stage.told[stream]) == 3)
        assert stage.told[stream] == numbers(8, 10)


def test_client_without_an_id_is_sent_all_that_is_kept_where_that_is_asked_for() -> None:
    log = EventLog()
    publish(log, 1, 4)
    with EventStage(lambda exchange: log.subscribe(exchange, from_start=True)) as stage:
        stream = stage.events()
        stage.until(lambda: len(stage.told[stream]) == 4)


def test_log_keeps_no_more_than_it_may() -> None:
    log = EventLog(max_events=10, max_bytes=10_000)
    for _ in range(50):
        log.publish("x" * 100)
    assert log.stats().events == 10
    for _ in range(5):
        log.publish("x" * 4000)
    assert log.stats().events == 2
    assert log.stats().bytes <= 10_000
    log.publish("x" * 100_000)
    assert log.stats().events == 1


def test_id_that_was_given_is_the_events_own_and_the_last_of_its_name_counts() -> None:
    log = EventLog(max_events=3)
    assert log.publish("a", id="same") == "same"
    log.publish("b", id="same")
    log.publish("c")
    log.publish("d")
    with EventStage(log.subscribe) as stage:
        stream = stage.events(last_event_id="same")
        stage.until(lambda: len(stage.told[stream]) == 2)
        assert stage.told[stream] == [b"c", b"d"]


def test_ids_of_two_logs_differ_unless_they_share_a_name() -> None:
    assert EventLog().publish("x") != EventLog().publish("x")
    assert EventLog(name="feed").publish("x") == EventLog(name="feed").publish("y") == "feed-1"


def slow_client(stage: EventStage, last_event_id: str = "") -> socket.socket:
    address = stage.listener.address
    assert isinstance(address, tuple)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    client.connect(address[:2])
    client.settimeout(5)
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %b\r\n\r\n" % last_event_id.encode())
    return client


def test_slow_client_catches_up_and_others_do_not_wait_for_it() -> None:
    log = EventLog(max_events=100_000, max_bytes=limits.MAX_SSE_LOG_BYTES)
    with EventStage(log.subscribe, max_unsent_bytes=65_536) as stage:
        stream = stage.events()
        with slow_client(stage) as client:
            stage.until(lambda: len(log) == 2)
            padding = "x" * 1000
            count = 0
            while not log.stats().waiting:
                for _ in range(100):
                    log.publish(f"{count} {padding}")
                    count += 1
                stage.loop.poll()
                stage.take()
            stage.until(lambda: len(stage.told[stream]) == count)
            received = b""
            while received.count(b"\ndata: ") < count:
                stage.loop.poll()
                received += client.recv(1 << 16)
            assert [int(line.split()[1]) for line in received.split(b"\n") if line.startswith(b"data: ")] == list(
                range(count)
            )
            stage.until(lambda: not log.stats().waiting)
            assert log.stats().lagged == 0


def test_client_that_is_too_slow_is_ended() -> None:
    log = EventLog(max_events=5)
    with EventStage(log.subscribe, max_unsent_bytes=65_536) as stage, slow_client(stage):
        stage.until(lambda: len(log) == 1)
        for _ in range(100_000):
            log.publish("x" * 10_000)
            if log.stats().lagged:
                break
        assert log.stats().lagged == 1
        assert len(log) == 0


@pytest.mark.parametrize("seed", seeds(3))
def test_streams_that_are_cut_at_any_time_miss_and_repeat_nothing(seed: int) -> None:
    rng = random.Random(seed)
    log = EventLog()
    with EventStage(log.subscribe) as stage:
        streams = [stage.events() for _ in range(5)]
        stage.until(lambda: len(log) == 5)
        published = 0
        # Each needs an id to come back with.
        publish(log, 1, 1)
        published = 1
        stage.until(lambda: all(stage.told[stream] for stream in streams))
        for _ in range(30):
            for sender in list(log._subscribers):
                if rng.random() < 0.2:
                    if rng.random() < 0.5:
                        log.unsubscribe(sender)
                    else:
                        sender.exchange.abort()
            for _ in range(rng.randrange(4)):
                published += 1
                log.publish(str(published))
            stage.pass_time(rng.choice((0.0, 0.1, 1.0)))
        for _ in range(20):
            stage.pass_time(1)
        stage.until(lambda: all(len(stage.told[stream]) == published for stream in streams))
        assert all(stage.told[stream] == numbers(1, published) for stream in streams)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_events": 0}, "max_events"),
        ({"max_events": limits.MAX_SSE_LOG_EVENTS + 1}, "max_events"),
        ({"max_bytes": 1.5}, "max_bytes"),
        ({"name": "a b"}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        EventLog(**options)


def test_event_that_cannot_be_said_is_refused_and_not_kept() -> None:
    log = EventLog()
    with pytest.raises(InvalidOption, match="event"):
        log.publish("x", event="a\nb")
    assert log.stats().published == 0
