"""Exchange: what a reused one forgets, what its properties say when, and what bounds it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from support.loop_peer import OK, Peer, answer, connect, make_clock, make_config, settle, turns
from turbosock import EventKind, Exchange, Loop, PoolConfig
from turbosock.client import loop_exchange
from turbosock.errors import BodyTooLarge, LimitError, Origin, StateError, StatusError, WriteError
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
    prepared = loop._preparer.prepare("GET", peer.url)
    loop._under_way += 1
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
    assert loop.stats().open == 0 and loop._under_way == 0 and not loop.dials
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


STEPS = {
    "start": "turbosock.connection.http1.Http1Connection.start",
    "write": "turbosock.connection.http1.Http1Connection.on_writable",
    "read": "turbosock.connection.http1.Http1Connection.read_head",
    "dial": "turbosock.client.ticking_dial.Dial",
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


def test_dial_or_wait_without_a_timer_is_an_error_event(
    clock: ManualClock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(deadline_ns: int, target: object) -> Any:
        raise LimitError("no timer is left")

    with Loop(make_config(pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        with monkeypatch.context() as patch:
            patch.setattr(type(loop.reactor.timers), "add", staticmethod(none_left))
            unable = loop.request("GET", peer.url)
            assert type(unable.error) is LimitError and loop.stats().open == 0
        first = loop.request("GET", peer.url)
        with monkeypatch.context() as patch:
            patch.setattr(type(loop.reactor.timers), "add", staticmethod(none_left))
            waiter = loop.request("GET", peer.url)
            assert type(waiter.error) is LimitError and loop.stats().waiting == 0
        connect(loop, peer).send(OK)
        turns(loop, lambda: first.done)
        assert first.content == b"ok"


def test_place_offered_when_no_timer_is_left_is_an_error_event(
    clock: ManualClock, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(deadline_ns: int, target: object) -> Any:
        raise LimitError("no timer is left")

    with Loop(make_config(pool=PoolConfig(max_connections_per_origin=1)), clock=clock) as loop:
        first = loop.request("GET", peer.url)
        waiter = loop.request("GET", peer.url)
        monkeypatch.setattr(type(loop.reactor.timers), "add", staticmethod(none_left))
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


def test_a_step_asks_for_a_quantum_in_all_and_a_segment_at_least() -> None:
    assert loop_exchange._left_in_step(0) == 256 * 1024
    assert loop_exchange._left_in_step(100 * 1024) == 156 * 1024
    assert loop_exchange._left_in_step(255 * 1024) == 64 * 1024
