"""Connections by origin: limits, the order of waiters, the end of things, and threads that meet."""

from __future__ import annotations

import random
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import cast

import pytest

from support.scripted_transport import ScriptedTransport
from turbosock import limits
from turbosock.config import PoolConfig
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import ClientClosed
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import HEALTH_CHECK_AFTER_NS, OriginKey, OriginPool, Place, PooledConnection
from turbosock.reactor.clock import NS_PER_S
from turbosock.transport.transport import Transport

RINGS = RingPool()


def key(name: str = "a") -> OriginKey:
    return OriginKey("http", name, 80)


def pool_of(**options: int) -> ConnectionPool:
    return ConnectionPool(PoolConfig(**options))


def transport_of(connection: PooledConnection) -> ScriptedTransport:
    return cast(ScriptedTransport, connection.transport)


def new_connection() -> Http1Connection:
    return Http1Connection(cast(Transport, ScriptedTransport()), RINGS)


def opened(origin: OriginPool, now_ns: int = 0) -> Http1Connection:
    """A new connection in a reserved place."""
    place = origin.reserve()
    assert place is not None
    connection = new_connection()
    origin.opened(connection, place, now_ns)
    return connection


class Line:
    """A waiter that notes what it is offered.

    Args:
        takes: whether it accepts.
    """

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.offers: list[PooledConnection | None] = []
        self.place: Place | None = None

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        assert (connection is None) != (place is None), "one of the two is offered"
        self.offers.append(connection)
        if self.takes:
            self.place = place
        return self.takes


# One origin


def test_origin_is_one_for_each_key() -> None:
    pool = pool_of()
    assert pool.origin(key()) is pool.origin(key())
    others = [OriginKey("http+unix", "a", 80), OriginKey("http", "b", 80), OriginKey("http", "a", 81)]
    others.append(OriginKey("http", "a", 80, "/path"))
    assert len({id(pool.origin(other)) for other in [key(), *others]}) == 5


def test_connection_used_most_recently_comes_first() -> None:
    origin = pool_of().origin(key())
    first, second = opened(origin), opened(origin)
    origin.give_back(first, 0)
    origin.give_back(second, 0)
    assert origin.take_idle(0) is second
    assert origin.take_idle(0) is first
    assert origin.take_idle(0) is None


def test_connection_idle_for_a_moment_is_taken_unasked() -> None:
    origin = pool_of().origin(key())
    connection = opened(origin)
    transport_of(connection).quiet = False
    origin.give_back(connection, 0)
    assert origin.take_idle(HEALTH_CHECK_AFTER_NS - 1) is connection


def test_connection_idle_for_longer_is_asked_and_closed_if_it_spoke() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    good, bad = opened(origin), opened(origin)
    transport_of(bad).quiet = False
    origin.give_back(good, 0)
    origin.give_back(bad, 0)
    assert origin.take_idle(HEALTH_CHECK_AFTER_NS) is good
    assert transport_of(bad).closed
    assert (pool.stats().open, origin.open) == (1, 1)
    transport_of(good).quiet = False
    origin.give_back(good, 0)
    assert origin.take_idle(HEALTH_CHECK_AFTER_NS) is None
    assert pool.stats().open == 0


def test_connection_idle_for_too_long_is_closed_at_its_taking() -> None:
    pool = ConnectionPool(PoolConfig(max_idle_s=5))
    origin = pool.origin(key())
    connection = opened(origin)
    origin.give_back(connection, 0)
    assert origin.take_idle(5 * NS_PER_S) is connection
    origin.give_back(connection, 0)
    assert origin.take_idle(5 * NS_PER_S + 1) is None
    assert transport_of(connection).closed


def test_expired_connections_of_every_origin_are_closed_by_the_way() -> None:
    pool = ConnectionPool(PoolConfig(max_idle_s=5))
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    old, fresh, other = opened(a), opened(a), opened(b)
    a.give_back(old, 0)
    a.give_back(fresh, 3 * NS_PER_S)
    b.give_back(other, 0)
    pool.close_expired(6 * NS_PER_S)
    assert [transport_of(one).closed for one in (old, fresh, other)] == [True, False, True]
    assert pool.stats()[:3] == (1, 1, 0)


def test_connection_discarded_frees_its_place_once() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    connection = opened(origin)
    origin.discard(connection)
    origin.discard(connection)
    assert (pool.open, origin.open, transport_of(connection).closed) == (0, 0, True)


# Counts


class CountsUnderLock(ConnectionPool):
    """A pool that sees to it that nothing is counted without its lock, which would lose counts of other threads."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if name.endswith("_count"):
            assert value == 0 or self.lock.locked(), name
        super().__setattr__(name, value)


def test_every_connection_that_ends_is_counted_under_the_lock() -> None:
    pool = CountsUnderLock(PoolConfig(max_connections=2, max_idle=1, max_idle_s=5, max_lifetime_s=60, max_requests=2))
    origin, other = pool.origin(key("a")), pool.origin(key("b"))
    # One too many to be idle, one that makes room, one that spoke, one that was idle too long, one that is worn.
    first, second = opened(origin), opened(origin)
    origin.give_back(first, 0)
    origin.give_back(second, 0)
    third, fourth = opened(other), opened(other)
    transport_of(third).quiet = False
    other.give_back(third, 0)
    other.check_idle(0)
    other.give_back(fourth, 0)
    pool.close_expired(6 * NS_PER_S)
    fifth = opened(origin, 6 * NS_PER_S)
    fifth.served = 2
    origin.give_back(fifth, 6 * NS_PER_S)
    stats = pool.stats()
    assert (stats.open, stats.opened, stats.evicted, stats.unfit, stats.expired) == (0, 5, 2, 1, 2)


# Limits


def test_places_end_at_the_limit_of_the_origin_and_of_all() -> None:
    pool = pool_of(max_connections=3, max_connections_per_origin=2)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    first, second = a.reserve(), a.reserve()
    assert first is not None and second is not None and a.reserve() is None
    third = b.reserve()
    assert third is not None and b.reserve() is None
    a.released(first)
    a.released(first)
    fourth = b.reserve()
    assert fourth is not None and b.reserve() is None and a.reserve() is None
    assert (pool.open, a.open, b.open) == (3, 1, 2)


def test_place_is_made_by_closing_the_idle_connection_of_another_origin_that_is_oldest() -> None:
    pool = pool_of(max_connections=2, max_connections_per_origin=2)
    a, b, c = (pool.origin(key(name)) for name in "abc")
    younger, older = opened(a), opened(b)
    a.give_back(younger, 20)
    b.give_back(older, 10)
    place = c.reserve()
    assert place is not None
    assert (transport_of(older).closed, transport_of(younger).closed) == (True, False)
    assert (pool.open, a.open, b.open, c.open) == (2, 1, 0, 1)
    assert older not in pool.connections


def test_idle_connections_are_bounded_in_all() -> None:
    pool = pool_of(max_idle=2)
    origins = [pool.origin(key(name)) for name in "abcd"]
    connections = [opened(origin) for origin in origins]
    for now_ns, (origin, connection) in enumerate(zip(origins, connections, strict=True)):
        origin.give_back(connection, now_ns)
        assert pool.stats().idle <= 2
    assert [transport_of(one).closed for one in connections] == [True, True, False, False]
    assert pool.stats()[:3] == (2, 2, 0)


def test_idle_connections_of_none_are_kept_where_none_may_be() -> None:
    pool = pool_of(max_idle=0)
    origin = pool.origin(key())
    connection = opened(origin)
    origin.give_back(connection, 0)
    assert transport_of(connection).closed
    assert pool.stats()[:3] == (0, 0, 0)


def test_origins_are_bounded_and_the_unused_ones_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ORIGINS", 3)
    pool = pool_of()
    used = pool.origin(key("used"))
    opened(used)
    for i in range(20):
        pool.origin(key(f"other{i}"))
    assert len(pool._origins) <= 3
    assert pool.origin(key("used")) is used


def test_origin_forgotten_but_known_to_a_request_stays_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ORIGINS", 2)
    pool = pool_of()
    known = pool.origin(key("known"))
    for i in range(5):
        pool.origin(key(f"other{i}"))
    assert key("known") not in pool._origins
    assert pool.origin(key("known")) is known
    for i in range(5):
        pool.origin(key(f"other{i}"))
    # Whoever kept it may go on: its connections are counted and closed with the others.
    connection = opened(known)
    known.give_back(connection, 0)
    assert pool.stats()[:3] == (1, 1, 0)
    pool.close(lambda waiter: None)
    assert transport_of(connection).closed


# Waiters


def full_pool() -> tuple[ConnectionPool, OriginPool, Http1Connection]:
    pool = pool_of(max_connections=1, max_connections_per_origin=1)
    origin = pool.origin(key())
    return pool, origin, opened(origin)


def test_waiters_are_served_in_order_with_what_is_given_back() -> None:
    pool, origin, connection = full_pool()
    lines = [Line(), Line()]
    for line in lines:
        origin.wait(line)
    assert pool.stats()[:3] == (1, 0, 2)
    origin.give_back(connection, 0)
    assert [line.offers for line in lines] == [[connection], []]
    origin.give_back(connection, 0)
    assert [line.offers for line in lines] == [[connection], [connection]]
    assert pool.stats()[:3] == (1, 0, 0)


def test_waiter_is_offered_a_place_when_a_connection_goes() -> None:
    pool, origin, connection = full_pool()
    line = Line()
    origin.wait(line)
    origin.discard(connection)
    assert line.offers == [None]
    assert (pool.open, origin.open) == (1, 1)
    assert line.place is not None
    origin.released(line.place)
    assert (pool.open, origin.open) == (0, 0)


def test_waiter_who_comes_when_something_is_free_is_served_at_once() -> None:
    pool, origin, connection = full_pool()
    origin.give_back(connection, 0)
    line = Line()
    origin.wait(line)
    assert line.offers == [connection]
    other = pool.origin(key("other"))
    origin.give_back(connection, 0)
    line = Line()
    # The total is taken up by an idle connection of somebody else.
    other.wait(line)
    assert line.offers == [None]
    assert transport_of(connection).closed
    assert (pool.open, origin.open, other.open) == (1, 0, 1)


def test_waiter_who_declines_is_passed_over() -> None:
    _, origin, connection = full_pool()
    lines = [Line(takes=False), Line()]
    for line in lines:
        origin.wait(line)
    origin.give_back(connection, 0)
    assert [line.offers for line in lines] == [[connection], [connection]]
    assert not origin.idle


def test_place_that_everybody_declines_is_free_again() -> None:
    pool, origin, connection = full_pool()
    lines = [Line(takes=False), Line(takes=False)]
    for line in lines:
        origin.wait(line)
    origin.discard(connection)
    assert [line.offers for line in lines] == [[None], [None]]
    assert pool.stats()[:3] == (0, 0, 0)


def test_connection_that_everybody_declines_is_idle() -> None:
    pool, origin, connection = full_pool()
    origin.wait(Line(takes=False))
    origin.give_back(connection, 0)
    assert pool.stats()[:3] == (1, 1, 0)
    assert origin.take_idle(0) is connection


def test_waiter_who_left_is_not_offered_anything() -> None:
    _, origin, connection = full_pool()
    gone, there = Line(), Line()
    origin.wait(gone)
    origin.wait(there)
    assert origin.leave(gone)
    origin.give_back(connection, 0)
    assert (gone.offers, there.offers) == ([], [connection])
    assert not origin.leave(there)


def test_waiter_of_another_origin_gets_the_place_of_a_connection_given_back() -> None:
    pool, origin, connection = full_pool()
    other = pool.origin(key("other"))
    line = Line()
    other.wait(line)
    assert line.offers == []
    origin.give_back(connection, 0)
    assert line.offers == [None]
    assert transport_of(connection).closed
    assert (pool.open, origin.open, other.open) == (1, 0, 1)


def test_waiters_of_the_same_origin_come_before_those_of_others() -> None:
    pool, origin, connection = full_pool()
    other = pool.origin(key("other"))
    stranger, own = Line(), Line()
    other.wait(stranger)
    origin.wait(own)
    origin.give_back(connection, 0)
    assert (stranger.offers, own.offers) == ([], [connection])


def test_waiters_of_other_origins_are_served_in_the_order_of_their_coming() -> None:
    pool, origin, connection = full_pool()
    lines = []
    for name in "bcd":
        lines.append(Line())
        pool.origin(key(name)).wait(lines[-1])
    origin.discard(connection)
    assert [line.offers for line in lines] == [[None], [], []]


# What is lost


def test_place_that_nobody_holds_any_more_is_free() -> None:
    pool = pool_of(max_connections=1, max_connections_per_origin=1)
    origin = pool.origin(key())
    place = origin.reserve()
    assert place is not None and origin.reserve() is None
    # As an interrupt between two owners leaves it.
    del place
    assert (pool.open, origin.open) == (0, 0)
    assert origin.reserve() is not None


def test_connection_that_nobody_holds_any_more_frees_its_place() -> None:
    pool, origin, connection = full_pool()
    origin.give_back(connection, 0)
    taken = origin.take_idle(0)
    assert taken is connection and origin.reserve() is None
    del connection, taken
    assert pool.stats()[:3] == (0, 0, 0)
    assert origin.reserve() is not None


# Age


def test_connection_past_its_lifetime_is_not_kept() -> None:
    pool = ConnectionPool(PoolConfig(max_lifetime_s=100))
    origin = pool.origin(key())
    connection = opened(origin)
    earliest_ns = int(100 * NS_PER_S * (1 - limits.LIFETIME_JITTER))
    assert earliest_ns <= connection.retire_ns <= 100 * NS_PER_S
    origin.give_back(connection, earliest_ns - 1)
    assert origin.take_idle(earliest_ns - 1) is connection
    origin.give_back(connection, connection.retire_ns)
    assert transport_of(connection).closed and pool.stats().expired == 1


def test_connection_that_came_of_age_while_idle_is_not_taken_and_is_swept() -> None:
    pool = ConnectionPool(PoolConfig(max_lifetime_s=10, max_idle_s=60))
    origin, other = pool.origin(key("a")), pool.origin(key("b"))
    first, second = opened(origin), opened(other)
    origin.give_back(first, 0)
    other.give_back(second, 0)
    assert origin.take_idle(10 * NS_PER_S) is None
    assert transport_of(first).closed and not transport_of(second).closed
    pool.close_expired(10 * NS_PER_S)
    assert transport_of(second).closed and pool.stats().expired == 2


def test_lifetimes_are_spread() -> None:
    origin = ConnectionPool(PoolConfig(max_lifetime_s=1000)).origin(key())
    assert len({opened(origin).retire_ns for _ in range(20)}) > 10


def test_connection_that_served_enough_is_not_kept() -> None:
    pool = ConnectionPool(PoolConfig(max_requests=3))
    origin = pool.origin(key())
    connection = opened(origin)
    for served in (1, 2, 3):
        connection.served = served
        origin.give_back(connection, 0)
        assert transport_of(connection).closed == (served == 3)
        if served < 3:
            assert origin.take_idle(0) is connection
    assert pool.stats()[:3] == (0, 0, 0) and pool.stats().expired == 1


def test_expired_connections_of_others_are_closed_when_one_comes_back() -> None:
    pool = ConnectionPool(PoolConfig(max_idle_s=5))
    forgotten, busy = pool.origin(key("a")), pool.origin(key("b"))
    idle, used = opened(forgotten), opened(busy)
    forgotten.give_back(idle, 0)
    for now_s in range(1, 8):
        busy.give_back(used, now_s * NS_PER_S)
        assert busy.take_idle(now_s * NS_PER_S) is used
    assert transport_of(idle).closed


def test_counts_tell_what_became_of_connections() -> None:
    pool = pool_of(max_connections=2, max_connections_per_origin=2)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    first, second = opened(a), opened(a)
    place = None
    a.give_back(first, 0)
    stats = pool.stats()
    assert (stats.open, stats.idle, stats.in_use, stats.dialling, stats.origins, stats.opened) == (2, 1, 1, 0, 2, 2)
    place = b.reserve()
    stats = pool.stats()
    assert place is not None and (stats.evicted, stats.dialling, stats.idle, stats.in_use) == (1, 1, 0, 1)
    transport_of(second).quiet = False
    a.give_back(second, 0)
    assert a.take_idle(HEALTH_CHECK_AFTER_NS) is None
    assert pool.stats().unfit == 1


# The end


def test_pool_closed_closes_the_idle_wakes_the_waiting_and_aborts_the_rest() -> None:
    pool = pool_of(max_connections=2, max_connections_per_origin=2)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    idle, busy = opened(a), opened(b)
    line = Line()
    b.waiters.append(line)
    pool.note_waiters(b)
    a.idle.append(idle)
    woken: list[object] = []
    pool.close(woken.append)
    pool.close(woken.append)
    assert woken == [line]
    assert (transport_of(idle).closed, transport_of(busy).closed, transport_of(busy).aborted) == (True, False, True)
    assert pool.stats()[:3] == (1, 0, 0)
    b.give_back(busy, 0)
    assert transport_of(busy).closed
    assert pool.stats()[:3] == (0, 0, 0)


def test_pool_retired_keeps_no_connection_and_breaks_none_off() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    idle, used = opened(origin), opened(origin)
    origin.give_back(idle, 1)

    pool.retire()
    assert transport_of(idle).closed
    assert not transport_of(used).closed

    origin.give_back(used, 2)
    assert transport_of(used).closed
    assert pool.open == 0


def test_pool_closed_gives_no_place_and_takes_no_waiter() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    pool.close(lambda waiter: None)
    with pytest.raises(ClientClosed):
        origin.reserve()
    with pytest.raises(ClientClosed):
        origin.wait(Line())


# Threads


class Sleeper:
    """A waiter that blocks, as a Client's does."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.offered: PooledConnection | Place | None = None

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        self.offered = place if connection is None else connection
        self.event.set()
        return True


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads change places as often as the interpreter lets them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless")
def test_threads_that_share_a_small_pool_all_come_through() -> None:
    pool = pool_of(max_connections=3, max_connections_per_origin=2, max_idle=2)
    origins = [pool.origin(key(name)) for name in "abc"]
    in_use: set[int] = set()
    failures: list[str] = []
    rounds = 2_000

    def take(origin: OriginPool) -> PooledConnection | Place:
        found = origin.take_idle(0) or origin.reserve()
        if found is not None:
            return found
        sleeper = Sleeper()
        origin.wait(sleeper)
        if not sleeper.event.wait(20):
            raise AssertionError("a wake-up was lost")
        assert sleeper.offered is not None
        return sleeper.offered

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(rounds):
                origin = chance.choice(origins)
                taken = take(origin)
                if isinstance(taken, Place):
                    if chance.random() < 0.2:
                        origin.released(taken)
                        continue
                    new = new_connection()
                    origin.opened(new, taken, 0)
                    connection: PooledConnection = new
                else:
                    connection = taken
                if id(connection) in in_use or transport_of(connection).closed or connection.origin is not origin:
                    failures.append("a connection was lent twice, closed or to another origin")
                in_use.add(id(connection))
                if pool.open > 3 or origin.open > 2:
                    failures.append("more connections than allowed")
                in_use.discard(id(connection))
                if chance.random() < 0.3:
                    origin.discard(connection)
                else:
                    origin.give_back(connection, 0)
        except BaseException as error:
            failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    stats = pool.stats()
    assert stats.waiting == 0
    assert stats.open == stats.idle == len(pool.connections) <= 2


@pytest.mark.usefixtures("restless")
def test_threads_that_give_back_while_the_pool_closes_leave_nothing_open() -> None:
    for _ in range(50):
        pool = pool_of()
        origin = pool.origin(key())
        connections = [opened(origin) for _ in range(8)]
        barrier = threading.Barrier(5)

        def give_back(
            mine: list[Http1Connection], origin: OriginPool = origin, barrier: threading.Barrier = barrier
        ) -> None:
            barrier.wait(10)
            for connection in mine:
                origin.give_back(connection, 0)

        threads = [threading.Thread(target=give_back, args=(connections[i::4],)) for i in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait(10)
        pool.close(lambda waiter: None)
        for thread in threads:
            thread.join(10)
        assert all(transport_of(connection).closed for connection in connections)
        assert pool.stats()[:3] == (0, 0, 0)


# What is kept ready


def test_spare_place_makes_no_idle_connection_go() -> None:
    pool = pool_of(max_connections=2, max_connections_per_origin=2)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    for connection in (opened(a), opened(a)):
        a.give_back(connection, 0)
    assert b.reserve_spare() is None
    assert (pool.stats().idle, pool.stats().evicted) == (2, 0)
    assert b.reserve() is not None
    assert pool.stats().evicted == 1


def test_spare_places_end_where_their_connections_could_not_be_idle() -> None:
    pool = pool_of(max_idle=3)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    a.give_back(opened(a), 0)
    busy = opened(a)
    first, second = b.reserve_spare(), b.reserve_spare()
    assert first is not None and second is not None
    assert b.reserve_spare() is None
    b.released(second)
    connection = new_connection()
    b.opened(connection, first, 0)
    b.give_back(connection, 0)
    third = b.reserve_spare()
    assert third is not None and b.reserve_spare() is None
    assert (pool.stats().evicted, busy.origin) == (0, a)


def test_spare_place_of_a_closed_pool_is_refused() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    pool.close(lambda waiter: None)
    with pytest.raises(ClientClosed):
        origin.reserve_spare()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_idle_connections_are_looked_at_one_and_all(count: int) -> None:
    pool = pool_of()
    origin = pool.origin(key())
    connections = [opened(origin) for _ in range(count)]
    for connection in connections:
        origin.give_back(connection, 0)
    origin.check_idle(0)
    assert list(origin.idle) == connections
    for connection in connections:
        transport_of(connection).quiet = False
    origin.check_idle(0)
    assert not origin.idle and pool.stats().unfit == count
    assert all(transport_of(connection).closed for connection in connections)


def test_idle_connections_that_are_fit_keep_their_order() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    connections = [opened(origin) for _ in range(5)]
    for now_ns, connection in enumerate(connections):
        origin.give_back(connection, now_ns)
    for index in (1, 4):
        transport_of(connections[index]).quiet = False
    origin.check_idle(10)
    assert list(origin.idle) == [connections[index] for index in (0, 2, 3)]


def test_idle_connections_are_not_left_open_by_a_look_while_the_pool_closes() -> None:
    pool = pool_of()
    origin = pool.origin(key())
    connections = [opened(origin) for _ in range(3)]
    for connection in connections:
        origin.give_back(connection, 0)

    class Closing(ScriptedTransport):
        def is_quiet(self) -> bool:
            pool.close(lambda waiter: None)
            return True

    connections[1].transport = cast(Transport, Closing())
    origin.check_idle(0)
    assert not origin.idle and all(transport_of(connection).closed for connection in connections)


def test_close_that_was_interrupted_is_ended_by_the_next_one() -> None:
    pool = pool_of(max_connections=2, max_connections_per_origin=2)
    a, b = pool.origin(key("a")), pool.origin(key("b"))
    idle, busy = opened(a), opened(b)
    lines = [Line(), Line()]
    b.waiters.extend(lines)
    pool.note_waiters(b)
    a.idle.append(idle)

    def interrupt(waiter: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.close(interrupt)
    told: list[object] = []
    pool.close(told.append)
    assert told == lines and pool.stats().waiting == 0
    assert transport_of(idle).closed and transport_of(busy).aborted
    pool.close(told.append)
    assert told == lines


def test_waiter_at_a_forgotten_origin_is_woken_by_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_ORIGINS", 2)
    pool = pool_of(max_connections=1, max_connections_per_origin=1)
    known = pool.origin(key("known"))
    busy = opened(pool.origin(key("busy")))
    for i in range(5):
        pool.origin(key(f"other{i}"))
    assert key("known") not in pool._origins
    line = Line()
    assert known.reserve() is None
    known.wait(line)
    assert pool.stats().waiting == 1
    woken: list[object] = []
    pool.close(woken.append)
    assert woken == [line] and not transport_of(busy).closed


def test_connection_that_served_enough_is_never_among_the_idle() -> None:
    pool = ConnectionPool(PoolConfig(max_requests=1))
    origin = pool.origin(key())
    seen: list[int] = []

    class Watching(deque[PooledConnection]):
        def append(self, connection: PooledConnection) -> None:
            seen.append(connection.served)
            super().append(connection)

    origin._keep = Watching().append
    connection = opened(origin)
    connection.served = 1
    origin.give_back(connection, 0)
    assert seen == [] and transport_of(connection).closed
