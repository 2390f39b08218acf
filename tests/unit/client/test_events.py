"""The queue of events: order, what is lent and for how long, reuse, bounds."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from support.loop_peer import make_config
from turbosock import EventKind, Exchange, Loop
from turbosock.buffers import BufferPool
from turbosock.client.events import DataEvent, Event, EventQueue, GuardedDataEvent
from turbosock.errors import LeaseError


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool()


@pytest.fixture(params=[True, False], ids=["pooled", "plain"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(make_config(zero_alloc=request.param)) as loop:
        yield loop


@pytest.fixture
def queue(loop: Loop) -> EventQueue:
    """A loop's queue; the loop itself is never polled."""
    return loop.events


@pytest.fixture
def exchange(loop: Loop) -> Exchange:
    return loop.request("GET", "http://127.0.0.1:1/")


def put(queue: EventQueue, pool: BufferPool, exchange: Exchange, data: bytes) -> None:
    lease = pool.rent(1024)
    lease.view[: len(data)] = data
    queue.put_data(exchange, lease, len(data))


def test_events_come_out_in_the_order_they_went_in(queue: EventQueue, pool: BufferPool, exchange: Exchange) -> None:
    put(queue, pool, exchange, b"one")
    queue.append(exchange)
    put(queue, pool, exchange, b"two")
    assert len(queue) == 3
    kinds = [(event.kind, None if event.data is None else bytes(event.data), event.exchange) for event in queue]
    assert kinds == [
        (EventKind.DATA, b"one", exchange),
        (EventKind.RESPONSE, None, exchange),
        (EventKind.DATA, b"two", exchange),
    ]
    assert len(queue) == 0 and list(queue) == []
    queue.clear()


def test_leaving_early_leaves_the_rest(queue: EventQueue, pool: BufferPool, exchange: Exchange) -> None:
    for data in (b"1", b"2", b"3"):
        put(queue, pool, exchange, data)
    for _ in queue:
        break
    queue.recycle()
    assert [bytes(event.data or b"") for event in queue] == [b"2", b"3"]
    queue.clear()


def test_recycling_ends_what_was_taken_and_nothing_else(
    queue: EventQueue, pool: BufferPool, exchange: Exchange
) -> None:
    put(queue, pool, exchange, b"taken")
    put(queue, pool, exchange, b"waits")
    event = next(queue)
    data = event.data
    assert data is not None
    queue.recycle()
    assert event.data is None and event.exchange is None
    with pytest.raises(ValueError, match="released"):
        bytes(data)
    assert pool.stats().outstanding == 1
    assert bytes(next(queue).data or b"") == b"waits"
    queue.recycle()
    assert pool.stats().outstanding == 0


def test_event_that_nobody_holds_is_used_again() -> None:
    pool = BufferPool()
    with Loop(make_config(zero_alloc=True)) as loop:
        exchange = loop.request("GET", "http://127.0.0.1:1/")
        put(loop.events, pool, exchange, b"1")
        first = id(next(loop.events))
        loop.events.recycle()
        put(loop.events, pool, exchange, b"2")
        assert id(next(loop.events)) == first


def test_event_that_its_users_variable_still_names_is_used_again_a_turn_later() -> None:
    with Loop(make_config(zero_alloc=True)) as loop:
        queue = loop.events
        seen = []
        for number in range(6):
            queue.put_open(number)
            for event in queue:
                seen.append(id(event))
                assert event.connection == number
            queue.recycle()
        assert event.connection is None and len(set(seen)) == 2


def test_event_of_a_connection_that_is_kept_is_not_used_again() -> None:
    with Loop(make_config(zero_alloc=True)) as loop:
        queue = loop.events
        kept: list[Event] = []
        for number in range(6):
            queue.put_open(number)
            kept += queue
            queue.recycle()
        assert len({id(event) for event in kept}) == 6


def test_event_that_is_held_is_not_used_again(queue: EventQueue, pool: BufferPool, exchange: Exchange) -> None:
    put(queue, pool, exchange, b"held")
    held = next(queue)
    for _ in range(20):
        queue.recycle()
        put(queue, pool, exchange, b"other")
        assert next(queue) is not held
    assert held.data is None
    queue.clear()


def test_retained_memory_outlives_its_event(queue: EventQueue, pool: BufferPool, exchange: Exchange) -> None:
    put(queue, pool, exchange, b"mine")
    event = next(queue)
    assert isinstance(event, DataEvent) and event.lease is not None
    lease = event.lease.retain()
    queue.recycle()
    for _ in range(5):
        put(queue, pool, exchange, b"others")
        next(queue)
        queue.recycle()
    assert bytes(lease.view[:4]) == b"mine"
    lease.release()
    assert pool.stats().outstanding == 0


def test_data_that_another_object_views_does_not_stop_the_queue(
    queue: EventQueue, pool: BufferPool, exchange: Exchange
) -> None:
    put(queue, pool, exchange, b"viewed")
    put(queue, pool, exchange, b"second")
    data = next(queue).data
    assert data is not None
    viewer = (ctypes.c_char * 6).from_buffer(data)
    next(queue)
    queue.recycle()
    assert pool.stats().outstanding == 0
    assert viewer.raw == b"viewed"


def test_full_queue_says_so(queue: EventQueue, pool: BufferPool, exchange: Exchange) -> None:
    queue.max_queued = 2
    put(queue, pool, exchange, b"1")
    assert not queue.is_full
    put(queue, pool, exchange, b"2")
    assert queue.is_full
    next(queue)
    assert not queue.is_full
    queue.clear()


def test_clear_drops_what_waits_and_ends_what_was_taken(
    queue: EventQueue, pool: BufferPool, exchange: Exchange
) -> None:
    for _ in range(3):
        put(queue, pool, exchange, b"x")
    queue.append(exchange)
    taken = next(queue)
    queue.clear()
    assert len(queue) == 0 and taken.data is None and pool.stats().outstanding == 0


def test_guarded_event_used_past_its_life_names_what_to_do() -> None:
    pool = BufferPool(diagnostics=True)
    with Loop(make_config(diagnostics=True)) as loop:
        queue = loop.events
        exchange = loop.request("GET", "http://127.0.0.1:1/")
        put(queue, pool, exchange, b"once")
        event = next(queue)
        assert isinstance(event, GuardedDataEvent) and bytes(event.data or b"") == b"once"
        assert "4 bytes" in repr(event)
        queue.recycle()
        for name in ("data", "exchange", "lease"):
            with pytest.raises(LeaseError, match=f"{name} of a DATA event after the next poll"):
                getattr(event, name)
        assert repr(event) == "<DataEvent, over>"
        with pytest.raises(AttributeError):
            _ = event.nothing
        # Another one is made for the next data.
        put(queue, pool, exchange, b"next")
        assert next(queue) is not event


def test_forgotten_event_is_as_new(pool: BufferPool, exchange: Exchange) -> None:
    event = DataEvent()
    lease = pool.rent(1024)
    event.exchange = exchange
    event.connection = object()
    event.lease = lease
    event.data = lease.view[:1]
    event.forget()
    fresh = DataEvent()
    assert {name: getattr(event, name) for name in DataEvent.__slots__} == {
        name: getattr(fresh, name) for name in DataEvent.__slots__
    }
    event.forget()
