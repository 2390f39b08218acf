"""An origin kept warm: what counts as demand, when its builder is woken, and that it leaves the origin as it was."""

from __future__ import annotations

from typing import cast

import pytest

from support.scripted_transport import ScriptedTransport
from turbosock.config import PoolConfig
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.receive_ring import RingPool
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import HEALTH_CHECK_AFTER_NS, OriginKey, OriginPool, PooledConnection
from turbosock.pool.refill import Refill
from turbosock.pool.warm_origin import WarmOrigin
from turbosock.reactor.clock import NS_PER_S
from turbosock.transport.transport import Transport

RINGS = RingPool()


class Stage:
    """A warm origin, and its builder's part.

    Attributes:
        wakes: how often the builder was woken.
    """

    def __init__(self, min_ready: int = 1, max_ready: int = 8, *, adaptive: bool = False) -> None:
        self.wakes = 0
        self.pool = ConnectionPool(PoolConfig())
        self.origin = self.pool.origin(OriginKey("http", "a", 80))
        self.refill = Refill(min_ready, max_ready, interval_s=1, max_building=8, adaptive=adaptive)
        self.warm = WarmOrigin(self.origin, self.refill, self._wake)

    def _wake(self) -> None:
        self.wakes += 1

    def build(self, now_ns: int = 0) -> int:
        """Build what is due; how many."""
        due = self.warm.builds_due(now_ns)
        for _ in range(due):
            self.refill.began()
            self.give_back(self.opened(now_ns), now_ns)
            self.refill.built(now_ns)
            self.warm.begin_interval()
        return due

    def opened(self, now_ns: int = 0) -> Http1Connection:
        place = self.origin.reserve_spare()
        assert place is not None
        connection = Http1Connection(cast(Transport, ScriptedTransport()), RINGS)
        self.origin.opened(connection, place, now_ns)
        return connection

    def give_back(self, connection: PooledConnection, now_ns: int = 0) -> None:
        self.origin.give_back(connection, now_ns)

    def take(self, now_ns: int = 0) -> PooledConnection:
        connection = self.origin.take_idle(now_ns)
        assert connection is not None
        return connection


def transport_of(connection: PooledConnection) -> ScriptedTransport:
    return cast(ScriptedTransport, connection.transport)


def test_origin_is_filled_to_its_target_and_no_further() -> None:
    stage = Stage(3)
    assert (stage.build(), stage.warm.ready, stage.build(), stage.wakes) == (3, 3, 0, 0)


def test_taking_wakes_the_builder_once_for_each_new_depth() -> None:
    stage = Stage(3)
    stage.build()
    first = stage.take()
    assert stage.wakes == 1
    for _ in range(10):
        stage.give_back(first)
        assert stage.take() is first
    assert stage.wakes == 1
    stage.take()
    assert stage.wakes == 2


def test_what_was_drawn_is_replaced_at_once() -> None:
    stage = Stage(2)
    stage.build()
    stage.take()
    stage.take()
    assert (stage.build(), stage.warm.ready) == (2, 2)


def test_connection_that_comes_back_before_the_builder_looks_is_not_replaced() -> None:
    stage = Stage(1)
    stage.build()
    stage.give_back(stage.take())
    assert stage.build() == 0


def test_callers_who_found_none_are_demand() -> None:
    stage = Stage(1, 8, adaptive=True)
    stage.build()
    held = [stage.take()]
    for _ in range(40):
        # Four callers in each interval find nothing.
        for _ in range(4):
            assert stage.origin.reserve() is not None
        stage.warm.builds_due(len(held))
    for second in range(1, 12):
        for _ in range(4):
            assert stage.origin.reserve() is not None
        stage.warm.builds_due(second * NS_PER_S)
    assert stage.refill.target() >= 4


def test_one_busy_connection_is_one_of_demand() -> None:
    stage = Stage(1, 8, adaptive=True)
    for second in range(20):
        stage.build(second * NS_PER_S)
        stage.warm.begin_interval()
        for _ in range(100):
            stage.give_back(stage.take(second * NS_PER_S), second * NS_PER_S)
    assert stage.refill.target() == 1


def test_connection_that_died_is_replaced_after_the_interval_and_not_before() -> None:
    stage = Stage(2)
    stage.build()
    for connection in list(stage.origin.idle):
        transport_of(connection).quiet = False
    stage.origin.check_idle(HEALTH_CHECK_AFTER_NS)
    assert stage.warm.ready == 0 and stage.pool.stats().unfit == 2
    assert stage.build(NS_PER_S // 2) == 0
    assert stage.build(NS_PER_S) == 2


def test_connections_found_dead_by_a_caller_are_never_given_out() -> None:
    stage = Stage(3)
    stage.build()
    for connection in list(stage.origin.idle):
        transport_of(connection).quiet = False
    assert stage.origin.take_idle(HEALTH_CHECK_AFTER_NS) is None
    assert (stage.warm.ready, stage.pool.open, stage.wakes) == (0, 0, 1)


def test_caller_who_finds_the_first_dead_is_one_of_demand_and_the_dead_one_waits_for_the_interval() -> None:
    stage = Stage(3)
    stage.build()
    transport_of(stage.origin.idle[-1]).quiet = False
    stage.take(HEALTH_CHECK_AFTER_NS)
    assert (stage.warm.ready, stage.wakes) == (1, 1)
    assert stage.build(HEALTH_CHECK_AFTER_NS) == 1
    assert stage.build(NS_PER_S) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_closed_it_leaves_the_origin_to_its_users(times: int) -> None:
    stage = Stage(2)
    stage.build()
    for _ in range(times):
        stage.warm.close()
    stage.take()
    stage.take()
    assert stage.wakes == 0
    origin: OriginPool = stage.origin
    assert origin.take_idle(0) is None
    second = WarmOrigin(origin, stage.refill, stage._wake)
    stage.give_back(stage.opened())
    second.begin_interval()
    stage.take()
    assert stage.wakes == 1
