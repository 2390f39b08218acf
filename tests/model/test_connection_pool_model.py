"""A connection pool under random operations, held against a model that counts naively."""

from __future__ import annotations

import random
from typing import cast

import pytest

from support.scripted_transport import ScriptedTransport
from support.seeds import seeds
from turbosock.config import PoolConfig
from turbosock.connection.http1 import Http1Connection
from turbosock.connection.receive_ring import RingPool
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import OriginKey, OriginPool, Place, PooledConnection
from turbosock.transport.transport import Transport

RINGS = RingPool()
NAMES = "abcd"


class User:
    """Somebody who asks for a connection to one origin.

    Attributes:
        number: the order of asking.
        served: whether a connection or a place was offered.
        connection: the connection, or None for a place.
        place: the place, until a connection stands in it.
    """

    def __init__(self, model: Model, name: str) -> None:
        self.model = model
        self.name = name
        self.number = model.next_number()
        self.served = False
        self.connection: PooledConnection | None = None
        self.place: Place | None = None

    def offer(self, connection: PooledConnection | None, place: Place | None) -> bool:
        assert not self.served, "offered twice"
        waiting = [user for user in self.model.waiting if user.name == self.name]
        assert waiting[0] is self, "served out of order"
        self.model.waiting.remove(self)
        self.serve(connection, place)
        return True

    def serve(self, connection: PooledConnection | None, place: Place | None) -> None:
        assert (connection is None) != (place is None), "a connection or a place"
        self.served = True
        self.connection = connection
        self.place = place
        self.model.holding.append(self)
        if connection is not None:
            assert connection.origin is self.model.origins[self.name], "a connection to another origin"
            assert not cast(ScriptedTransport, connection.transport).closed, "a closed connection"


class Model:
    """What a pool must be like after every operation, said as plainly as can be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        per_origin = self.chance.randrange(1, 4)
        self.config = PoolConfig(
            max_connections=self.chance.randrange(per_origin, 7),
            max_connections_per_origin=per_origin,
            max_idle=self.chance.randrange(5),
        )
        self.pool = ConnectionPool(self.config)
        self.origins: dict[str, OriginPool] = {name: self.pool.origin(OriginKey("http", name, 80)) for name in NAMES}
        self.made: list[Http1Connection] = []
        self.waiting: list[User] = []
        self.holding: list[User] = []
        self.now_ns = 0
        self.numbers = 0

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def ask(self) -> None:
        user = User(self, self.chance.choice(NAMES))
        origin = self.origins[user.name]
        connection = origin.take_idle(self.now_ns)
        place = origin.reserve() if connection is None else None
        if connection is not None or place is not None:
            user.serve(connection, place)
        else:
            self.waiting.append(user)
            origin.wait(user)

    def leave(self) -> None:
        if self.waiting:
            user = self.chance.choice(self.waiting)
            self.waiting.remove(user)
            assert self.origins[user.name].leave(user)

    def open(self) -> None:
        """Somebody who has a place dials: it succeeds or fails."""
        places = [user for user in self.holding if user.connection is None]
        if not places:
            return
        user = self.chance.choice(places)
        place = user.place
        user.place = None
        assert place is not None
        if self.chance.random() < 0.7:
            user.connection = Http1Connection(cast(Transport, ScriptedTransport()), RINGS)
            self.made.append(user.connection)
            self.origins[user.name].opened(user.connection, place, self.now_ns)
        else:
            self.holding.remove(user)
            self.origins[user.name].released(place)

    def end(self) -> None:
        """Somebody's exchange ends, well or badly."""
        users = [user for user in self.holding if user.connection is not None]
        if not users:
            return
        user = self.chance.choice(users)
        self.holding.remove(user)
        assert user.connection is not None
        if self.chance.random() < 0.6:
            self.origins[user.name].give_back(user.connection, self.now_ns)
        else:
            self.origins[user.name].discard(user.connection)

    def check(self) -> None:
        alive = [one for one in self.made if not cast(ScriptedTransport, one.transport).closed]
        held = [user.connection for user in self.holding if user.connection is not None]
        idle = [one for origin in self.origins.values() for one in origin.idle]
        assert len(set(map(id, held + idle))) == len(held) + len(idle), "a connection in two places"
        assert set(map(id, alive)) == set(map(id, held + idle)), "a connection lost, or closed in use"
        assert set(self.pool.connections) == set(alive)
        assert self.pool.stats()[:3] == (len(self.holding) + len(idle), len(idle), len(self.waiting))
        assert len(idle) <= self.config.max_idle
        assert self.pool.open <= self.config.max_connections
        for name, origin in self.origins.items():
            users = sum(user.name == name for user in self.holding)
            assert origin.open == users + len(origin.idle) <= self.config.max_connections_per_origin
            waiting = [user.number for user in self.waiting if user.name == name]
            assert waiting == sorted(waiting)
            # Nobody waits for what is there.
            if waiting:
                full = origin.open >= self.config.max_connections_per_origin
                taken = self.pool.open >= self.config.max_connections and not idle
                assert not origin.idle
                assert full or taken, "a waiter was forgotten"


@pytest.mark.parametrize("seed", seeds(60))
def test_pool_under_random_operations_agrees_with_the_model(seed: int) -> None:
    model = Model(seed)
    operations = [model.ask, model.ask, model.open, model.open, model.end, model.end, model.leave]
    for _ in range(300):
        model.now_ns += 1
        model.chance.choice(operations)()
        model.check()
