"""Exchange: what a reused one forgets, what its properties say when, and what bounds it."""

from __future__ import annotations

import errno
import gc
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.loop_peer import OK, Peer, answer, connect, make_clock, make_config, settle, turns
from turbosock import EventKind, Exchange, Loop, PoolConfig, Timeouts
from turbosock.client.loop_connection import LoopConnection
from turbosock.errors import (
    BodyTooLarge,
    LimitError,
    NetworkError,
    Origin,
    StateError,
    StatusError,
    TurbosockError,
    WriteError,
)
from turbosock.pool.origin_pool import Place
from turbosock.reactor.clock import ManualClock


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture
def clock() -> ManualClock:
    return make_clock()


@pytest.fixture
def loop(clock: ManualClock) -> Iterator[Loop]:
    with Loop(make_config(), clock=clock) as loop:
        yield loop


def finished(loop: Loop, peer: Peer, data: bytes = OK, **options: Any) -> Exchange:
    """An exchange that was answered with `data`."""
    exchange = loop.request("GET", peer.url, **options)
    connect(loop, peer).send(data)
    turns(loop, lambda: exchange.done)
    return exchange


# What is forgotten

# Made with the exchange and good for all its life; or set by every begin() before anybody can look.
KEPT = {"_guard", "_loop", "_now_ns", "prepared", "timeouts"}


def slots(kind: type) -> set[str]:
    return {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())}


def test_forget_resets_every_slot(loop: Loop) -> None:
    fresh, used = Exchange(loop), Exchange(loop)
    names = slots(Exchange) - KEPT
    assert {"head", "error", "user", "into", "trailers"} <= names
    poison = object()
    for name in names:
        setattr(used, name, poison)
    used.forget()
    left = {name for name in names if getattr(used, name) is poison}
    assert left == set()
    assert {name: getattr(used, name) for name in names} == {name: getattr(fresh, name) for name in names}


def test_poisoned_exchange_that_is_begun_again_works(loop: Loop, peer: Peer) -> None:
    exchange = Exchange(loop)
    for name in slots(Exchange) - {"_guard", "_loop", "_now_ns"}:
        setattr(exchange, name, object())
    exchange.forget()
    prepared = loop.session.preparer.prepare("GET", peer.url)
    loop.requests.under_way += 1
    exchange.begin(prepared, None, loop.config.timeouts, None, False, True)
    connect(loop, peer).send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and [event.exchange for event in loop.events] == [exchange]


# What it says, and when


def test_content_before_the_end_is_refused(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url)
    with pytest.raises(StateError, match="not done"):
        _ = exchange.content
    with pytest.raises(StateError, match="no response yet"):
        _ = exchange.status_code


@pytest.mark.parametrize("options", [{"stream": True}, {"into": bytearray(8)}])
@pytest.mark.parametrize("body", [b"ok", b""])
def test_content_that_went_elsewhere_is_refused(loop: Loop, peer: Peer, options: dict[str, Any], body: bytes) -> None:
    exchange = finished(loop, peer, answer(body), **options)
    with pytest.raises(StateError, match="went into"):
        _ = exchange.content


def test_empty_content_is_empty_bytes(loop: Loop, peer: Peer) -> None:
    assert finished(loop, peer, answer(b"")).content == b""


def test_text_follows_the_charset(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer, answer("é".encode("latin-1"), "Content-Type: text/plain; charset=latin-1"))
    assert exchange.text == "é"


def test_failed_status_is_an_answer_until_it_is_asked_about(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer, answer(b"", status="503 Service Unavailable"))
    assert exchange.error is None and not exchange.ok and exchange.kind is EventKind.RESPONSE
    with pytest.raises(StatusError, match="503"):
        exchange.raise_for_status()


def test_elapsed_is_told_by_the_loops_clock(loop: Loop, peer: Peer, clock: ManualClock) -> None:
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    clock.advance(1.5)
    assert exchange.elapsed == timedelta(seconds=1.5)
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    clock.advance(1.0)
    assert exchange.elapsed == timedelta(seconds=1.5)


def test_exchange_is_the_event_of_its_own_end(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer)
    event = next(loop.events)
    assert event is exchange and event.exchange is exchange and event.kind is EventKind.RESPONSE
    assert event.data is None and event.connection is None and event.error is None


def test_cancel_after_the_end_changes_nothing(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer)
    exchange.cancel()
    settle(loop)
    assert exchange.ok and not exchange.cancelled and [event.kind for event in loop.events] == [EventKind.RESPONSE]
    assert loop.stats().idle == 1


def test_exchange_that_is_over_declines_a_connection(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer)
    assert exchange.offer(None, Place()) is False
    assert loop.stats().open == 1


def test_late_callbacks_of_an_exchange_that_is_over_do_nothing(loop: Loop, peer: Peer) -> None:
    exchange = finished(loop, peer)
    exchange.on_readable()
    exchange.on_writable()
    exchange.resume()
    exchange.resume_later()
    exchange.fail(LimitError("too late"))
    assert exchange.ok and len(loop.events) == 1


# Errors that are not ours


def assert_works(loop: Loop, peer: Peer) -> None:
    """The loop is as before: nothing is left of what failed, and the next request is answered."""
    assert loop.stats().open == 0 and loop.requests.under_way == 0 and not loop.dials
    exchange = loop.request("GET", peer.url)
    connect(loop, peer).send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok"


def test_released_buffer_ends_the_exchange_and_is_raised(loop: Loop, peer: Peer) -> None:
    into = memoryview(bytearray(1_000_000))
    exchange = loop.request("GET", peer.url, into=into)
    connection = connect(loop, peer)
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(1000))
    turns(loop, lambda: exchange.nbytes)
    into.release()
    connection.send(bytes(1000))
    with pytest.raises(ValueError, match="released memoryview"):
        turns(loop, lambda: exchange.done)
    assert exchange.error is not None and exchange.error.code == "broken_off" and "ValueError" in str(exchange.error)
    assert [event.kind for event in loop.events] == [EventKind.ERROR]
    assert_works(loop, peer)


def answer_uploads(loop: Loop, peer: Peer) -> None:
    """Many turns, with a peer that answers whoever comes before it has the body."""
    for _ in range(50):
        loop.poll()
        if peer.waiting():
            peer.connections[-1].send(OK)


def refuse_memory(*arguments: object, **options: object) -> Any:
    raise MemoryError


def assert_unharmed(loop: Loop, peer: Peer) -> None:
    """No place is lost, nothing is counted as under way, and a request is answered, on whichever connection."""
    assert loop.requests.under_way == 0 and not loop.dials and loop.stats().waiting == 0
    assert loop.stats().open == loop.stats().idle
    exchange = loop.request("GET", peer.url)
    settle(loop)
    peer.waiting()
    peer.connections[-1].send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok"


@pytest.mark.parametrize(
    "place",
    [
        "turbosock.client.loop_exchange.Exchange.begin",
        "turbosock.pool.origin_pool.OriginPool.take_idle",
        "turbosock.pool.origin_pool.OriginPool.reserve",
        "turbosock.client.exchange_connecting.TickingDial",
        "turbosock.client.ticking_dial.TickingDial.arm",
        "turbosock.reactor.timers.TimerHeap._arm",
    ],
)
@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
def test_request_that_breaks_off_is_not_counted(
    loop: Loop, peer: Peer, place: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> Any:
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(place, broken)
        with pytest.raises(kind):
            loop.request("GET", peer.url, notify=False)
    assert len(loop.events) == 0
    assert_unharmed(loop, peer)


def test_kept_connection_is_closed_when_the_request_breaks_off_before_it_is_sent(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(loop, peer)
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "_send_on", refuse_memory)
        with pytest.raises(MemoryError):
            loop.request("GET", peer.url)
    assert loop.stats().open == 0 and peer.connections[0].is_closed()
    assert_unharmed(loop, peer)


@pytest.mark.parametrize(
    ("step", "offered"),
    [("_leave_queue", "connection"), ("_leave_queue", "place"), ("_send_on", "connection"), ("_dial_now", "place")],
)
def test_offer_that_breaks_off_ends_the_exchange_and_loses_no_place(
    clock: ManualClock, peer: Peer, step: str, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[str] = []
    whole = getattr(Exchange, step)

    def once(exchange: Exchange, *arguments: Any) -> Any:
        if exchange is waiter and not broken:
            broken.append(step)
            raise MemoryError
        return whole(exchange, *arguments)

    with Loop(make_config(pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        first = loop.request("GET", peer.url)
        connection = connect(loop, peer)
        waiter = loop.request("GET", peer.url)
        monkeypatch.setattr(Exchange, step, once)
        if offered == "place":
            connection.reset()
        else:
            connection.send(OK)
        with pytest.raises(MemoryError):
            turns(loop, lambda: waiter.done)
        assert waiter.error is not None and waiter.error.code == "broken_off" and first.done
        list(loop.events)
        assert_unharmed(loop, peer)


TIMERS = {
    "queue": ("turbosock.client.exchange_connecting.PoolTimeout", 1.0),
    "dial": ("turbosock.client.dial_steps.ConnectTimeout", 2.0),
    "head": ("turbosock.client.loop_exchange.ReadTimeout", 3.0),
}


@pytest.mark.parametrize("phase", TIMERS)
def test_deadline_that_breaks_off_ends_the_exchange_all_the_same(
    clock: ManualClock, peer: Peer, phase: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, after_s = TIMERS[phase]
    timeouts = Timeouts(pool_s=1.0, connect_s=2.0, read_s=3.0)
    with Loop(make_config(timeouts=timeouts, pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        if phase == "dial":
            with monkeypatch.context() as unanswered:
                unanswered.setattr(
                    "turbosock.transport.connect_race.start_connect", lambda sock, address: errno.EINPROGRESS
                )
                exchange = loop.request("GET", peer.url)
                loop.dials.begin(None)
        else:
            first = exchange = loop.request("GET", peer.url)
            connect(loop, peer)
            if phase == "queue":
                exchange = loop.request("GET", peer.url)
        with monkeypatch.context() as patch:
            patch.setattr(error, refuse_memory)
            clock.advance(after_s)
            with pytest.raises(MemoryError):
                loop.reactor.expire_timers()
        assert exchange.done and exchange.error is not None and exchange.error.code == "broken_off"
        if phase == "queue":
            first.cancel()
        assert_unharmed(loop, peer)


def test_exchange_ends_when_there_is_no_memory_for_words_either(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = loop.request("GET", peer.url)
    connect(loop, peer).send(OK)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.connection.http1.Http1Connection.read_head", refuse_memory)
        patch.setattr("turbosock.client.exchange_ending.TurbosockError", _Refused)
        patch.setattr(Exchange, "explained", refuse_memory)
        with pytest.raises(MemoryError):
            turns(loop, lambda: exchange.done)
    assert exchange.error is not None and exchange.error.code == "broken_off" and exchange.error.method is None
    assert [event.kind for event in loop.events] == [EventKind.ERROR]
    assert_unharmed(loop, peer)


class _Refused(TurbosockError):
    def __init__(self, *arguments: object, **options: object) -> None:
        raise MemoryError


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "step",
    [
        "turbosock.client.loop_connection.LoopConnection._on_received",
        "turbosock.client.loop_exchange.Exchange.on_readable",
        "turbosock.transport.transport.SaeaTransport.on_ready",
    ],
)
def test_step_that_is_interrupted_before_it_begins_is_taken_again(
    loop: Loop, peer: Peer, step: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise kind

    with monkeypatch.context() as patch:
        # Bound at the connection's birth.
        patch.setattr(step, broken)
        exchange = loop.request("GET", peer.url)
        connect(loop, peer).send(OK)
        with pytest.raises(kind):
            turns(loop, lambda: exchange.done)
        for connection in loop.pool.connections:
            patch.undo()
            assert isinstance(connection, LoopConnection)
            connection.transport.receive_context.completed = connection._on_received
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and loop.requests.under_way == 0 and loop.stats().idle == 1


def test_send_that_breaks_off_in_a_later_turn_ends_the_exchange(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = loop.request("POST", peer.url, content=bytes(1 << 24))
    connection = connect(loop, peer)
    settle(loop)
    monkeypatch.setattr("turbosock.transport.transport.SaeaTransport.send", refuse_memory)
    connection.take_available()
    with pytest.raises(MemoryError):
        turns(loop, lambda: exchange.done)
    assert exchange.error is not None and exchange.error.code == "broken_off"
    monkeypatch.undo()
    assert_works(loop, peer)


@pytest.mark.parametrize("step", ["turbosock.connection.http1.Http1Connection.finish", "give_back"])
def test_end_that_breaks_off_gives_the_place_back(
    loop: Loop, peer: Peer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = loop.request("GET", peer.url)
    connect(loop, peer).send(OK)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.pool.origin_pool.OriginPool.give_back" if step == "give_back" else step, refuse_memory)
        with pytest.raises(MemoryError):
            turns(loop, lambda: exchange.done)
    assert exchange.done and [event.exchange for event in loop.events] == [exchange]
    assert_works(loop, peer)


# A system that refuses


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ENOMEM])
@pytest.mark.parametrize("refused", ["dial", "connected", "writing"])
def test_socket_that_the_system_cannot_watch_is_an_error_event(
    clock: ManualClock, peer: Peer, tmp_path: Path, code: int, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(code, "injected")

    with Peer(tmp_path / "s") as unix, Loop(make_config("poll"), clock=clock) as loop:
        # A Unix socket connects at once: it is watched for the first time when it is connected.
        server = unix if refused == "connected" else peer
        exchange = loop.request("POST", server.url, content=bytes(1 << 24))
        with monkeypatch.context() as patch:
            if refused == "writing":
                patch.setattr(type(loop.reactor._poller), "modify", refuse)
            else:
                patch.setattr(type(loop.reactor._poller), "register", refuse)
            turns(loop, lambda: exchange.done)
        assert type(exchange.error) is NetworkError and exchange.error.code == "exhausted"
        assert exchange.error.errno == code and exchange.error.origin is Origin.LOCAL
        assert [event.kind for event in loop.events] == [EventKind.ERROR]
        server.waiting()
        assert_works(loop, server)


def test_answer_stands_although_its_connection_cannot_be_watched_any_more(
    loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(transport: object) -> None:
        raise NetworkError("cannot watch a socket", code="exhausted")

    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    monkeypatch.setattr("turbosock.transport.transport.SaeaTransport.arm", refuse)
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok" and loop.stats().open == 0
    assert [event.kind for event in loop.events] == [EventKind.RESPONSE]


STEPS = {
    "start": "turbosock.connection.http1.Http1Connection.start",
    "write": "turbosock.connection.http1.Http1Connection.on_writable",
    "read": "turbosock.connection.http1.Http1Connection.read_head",
    "dial": "turbosock.client.dial_plan.Dial",
    "connect": "turbosock.transport.dial.Dial.on_ready",
    "open": "turbosock.client.ticking_dial.LoopConnection",
}


@pytest.mark.parametrize("kind", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("step", STEPS)
def test_step_that_breaks_off_ends_the_exchange_and_is_raised(
    loop: Loop, peer: Peer, step: str, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object, **options: object) -> Any:
        raise kind

    exchange = loop.request("POST", peer.url, content=bytes(1 << 24))
    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], broken)
        with pytest.raises(kind):
            answer_uploads(loop, peer)
    assert exchange.done and exchange.error is not None and exchange.error.code == "broken_off"
    assert [event.exchange for event in loop.events] == [exchange]
    peer.waiting()
    assert_works(loop, peer)


def test_dial_or_wait_without_a_timer_is_an_error_event(clock: ManualClock, peer: Peer) -> None:
    with Loop(make_config(pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        timers = loop.reactor.timers
        most = timers._max_timers
        timers._max_timers = len(timers)
        unable = loop.request("GET", peer.url)
        assert type(unable.error) is LimitError and loop.stats().open == 0 and not loop.dials
        timers._max_timers = most
        first = loop.request("GET", peer.url)
        timers._max_timers = len(timers)
        waiter = loop.request("GET", peer.url)
        assert type(waiter.error) is LimitError and loop.stats().waiting == 0
        timers._max_timers = most
        connect(loop, peer).send(OK)
        turns(loop, lambda: first.done)
        assert first.content == b"ok"


def test_place_offered_when_no_timer_is_left_is_an_error_event(clock: ManualClock, peer: Peer) -> None:
    with Loop(make_config(pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        first = loop.request("GET", peer.url)
        waiter = loop.request("GET", peer.url)
        loop.reactor.timers._max_timers = 0
        first.cancel()
        assert type(waiter.error) is LimitError and loop.stats()[:3] == (0, 0, 0)


def test_file_that_was_closed_before_it_is_sent_again_is_an_error_event(loop: Loop, peer: Peer, tmp_path: Path) -> None:
    finished(loop, peer)
    (tmp_path / "body").write_bytes(bytes(100))
    peer.connections[0].read_head()
    with open(tmp_path / "body", "rb") as file:
        exchange = loop.request("PUT", peer.url, content=file)
        settle(loop)
    # The kept connection turns out to be stale.
    peer.connections[0].close()
    turns(loop, lambda: exchange.done)
    assert type(exchange.error) is WriteError and "ValueError" in str(exchange.error)
    assert exchange.error.origin is Origin.LOCAL and loop.stats().open == 0


# Bounds


@pytest.mark.parametrize("framing", ["whole", "length", "chunked", "close"])
def test_gathered_body_above_its_bound_is_an_error_event(clock: ManualClock, peer: Peer, framing: str) -> None:
    head = {
        "whole": answer(bytes(101)),
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + bytes(101),
        "close": b"HTTP/1.1 200 OK\r\n\r\n" + bytes(101),
    }[framing]
    with Loop(make_config(max_body_bytes=100), clock=clock) as loop:
        exchange = finished(loop, peer, head)
        assert type(exchange.error) is BodyTooLarge and "max_body_bytes=100" in str(exchange.error)
        assert loop.stats().open == 0


def test_gathered_body_of_exactly_the_bound_is_taken(clock: ManualClock, peer: Peer) -> None:
    with Loop(make_config(max_body_bytes=100), clock=clock) as loop:
        assert len(finished(loop, peer, answer(bytes(100))).content) == 100
        chunk = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n64\r\n%s\r\n0\r\n\r\n"
        exchange = loop.request("GET", peer.url)
        settle(loop)
        peer.connections[0].read_head()
        peer.connections[0].send(chunk % bytes(100))
        turns(loop, lambda: exchange.done)
        assert len(exchange.content) == 100


def test_announced_terabyte_makes_no_memory(loop: Loop, peer: Peer) -> None:
    exchange = loop.request("GET", peer.url, stream=True)
    connect(loop, peer).send(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999999999\r\n\r\nten bytes.")
    turns(loop, lambda: len(loop.events))
    assert loop.buffers.stats().outstanding == 1 and exchange.nbytes == 10


def fail_gathering(loop: Loop, peer: Peer) -> None:
    """An exchange whose peer closes inside the body, and whose error nobody keeps."""
    exchange = loop.request("GET", peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + bytes(100_000))
    settle(loop)
    connection.close()
    turns(loop, lambda: exchange.done)
    assert exchange.error is not None and exchange.error.__traceback__ is None


def test_failed_gathering_leaves_no_view_behind(loop: Loop, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    fail_gathering(loop, peer)
    loop.close()
    # From CPython 3.13 on a BytesIO complains when it is collected with a view alive.
    gc.collect()
    assert complaints == []
