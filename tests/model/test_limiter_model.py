"""A concurrency limiter under random operations, held against a model that keeps plain lists."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.errors import ClientClosed, LimitError
from turbosock.pool.limiter import CLOSED, FREE, GRANTED, WAITING, ConcurrencyLimiter, Ticket
from turbosock.reactor.clock import ManualClock

HOSTS = "abcde"


class User(Ticket):
    """Somebody who enters, waits and leaves, again and again; `host` is None outside."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.host: str | None = None
        # What it does when its permit comes: whether it leaves at once, and whether it takes another user with it.
        self.leaves_at_once = False
        self.companion: User | None = None

    def on_granted(self) -> None:
        model = self.model
        model.expected_grants.remove(self)
        assert self.state == GRANTED
        assert self.granted_ns == model.clock.now_ns()
        if self.companion is not None:
            companion, self.companion = self.companion, None
            model.leave(companion)
        if self.leaves_at_once:
            model.leave(self)

    def on_closed(self) -> None:
        self.model.told_closed.append(self)
        assert self.state == CLOSED
        if self.leaves_at_once:
            self.model.leave(self)

    def cancel(self) -> None:
        assert self.state == GRANTED
        self.model.told_cancel.append(self)
        if self.leaves_at_once:
            self.model.leave(self)


class Model:
    """What a limiter must be like after every operation, said as plainly as can be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock(1)
        self.max_per_host = self.chance.randrange(1, 4)
        self.max_hosts = self.chance.randrange(1, len(HOSTS) + 1)
        self.limiter = ConcurrencyLimiter(self.max_per_host, max_hosts=self.max_hosts, clock=self.clock)
        self.users = [User(self) for _ in range(self.chance.randrange(5, 30))]
        self.holding: dict[str, list[User]] = {host: [] for host in HOSTS}
        self.waiting: dict[str, list[User]] = {host: [] for host in HOSTS}
        self.sent_away: list[User] = []
        self.expected_grants: list[User] = []
        self.told_closed: list[User] = []
        self.told_cancel: list[User] = []
        self.closed = False
        self.asked = self.granted = self.waited = self.timed_out = self.cancelled = self.refused = 0

    def hosts_in_use(self) -> set[str]:
        return {user.host for user in self.users if user.host is not None}

    def enter(self) -> None:
        outside = [user for user in self.users if user.host is None]
        if not outside:
            return
        user = self.chance.choice(outside)
        host = self.chance.choice(HOSTS)
        user.leaves_at_once = self.chance.random() < 0.2
        others = [other for other in self.users if other.host is not None and other is not user]
        user.companion = self.chance.choice(others) if others and self.chance.random() < 0.1 else None
        self.asked += 1
        if self.closed:
            self.refused += 1
            with pytest.raises(ClientClosed):
                self.limiter.enter(host, user)
            return
        if host not in self.hosts_in_use() and len(self.hosts_in_use()) == self.max_hosts:
            self.refused += 1
            with pytest.raises(LimitError):
                self.limiter.enter(host, user)
            return
        user.host = host
        at_once = len(self.holding[host]) < self.max_per_host
        if at_once:
            self.holding[host].append(user)
            self.granted += 1
        else:
            self.waiting[host].append(user)
            self.waited += 1
        assert self.limiter.enter(host, user) is at_once
        assert user.waited_ns == 0

    def leave(self, user: User, *, timed_out: bool = False) -> None:
        host = user.host
        if host is None:
            # Twice is once.
            self.limiter.leave(user, timed_out=timed_out)
            return
        user.host = None
        if user in self.holding[host]:
            self.holding[host].remove(user)
            if self.waiting[host] and not self.closed:
                successor = self.waiting[host].pop(0)
                self.holding[host].append(successor)
                self.expected_grants.append(successor)
                self.granted += 1
        elif user in self.waiting[host]:
            self.waiting[host].remove(user)
            if timed_out:
                self.timed_out += 1
            else:
                self.cancelled += 1
        else:
            self.sent_away.remove(user)
        self.limiter.leave(user, timed_out=timed_out)
        assert user.state == FREE

    def leave_one(self) -> None:
        self.leave(self.chance.choice(self.users), timed_out=self.chance.random() < 0.5)

    def leave_as_holder(self) -> None:
        holders = [user for users in self.holding.values() for user in users]
        if holders:
            self.leave(self.chance.choice(holders))

    def close(self) -> None:
        lines = [user for host in HOSTS for user in self.waiting[host]]
        holders = [user for host in HOSTS for user in self.holding[host]]
        self.closed = True
        for host in HOSTS:
            self.waiting[host].clear()
        self.refused += len(lines)
        self.sent_away += lines
        again = list(self.sent_away)
        self.told_closed.clear()
        self.told_cancel.clear()
        cancel = self.chance.random() < 0.5
        left = self.limiter.close(cancel=cancel)
        assert left == sum(len(users) for users in self.holding.values())
        assert set(self.told_closed) == set(again)
        assert len(self.told_closed) == len(again)
        assert set(self.told_cancel) == set(holders if cancel else [])

    def check(self) -> None:
        assert self.expected_grants == [], "granted, and not told"
        for user in self.users:
            host = user.host
            if host is None:
                assert user.state == FREE
            elif user in self.holding[host]:
                assert user.state == GRANTED
            elif user in self.waiting[host]:
                assert user.state == WAITING
            else:
                assert user.state == CLOSED
        for host in HOSTS:
            assert len(self.holding[host]) <= self.max_per_host
            assert not self.waiting[host] or len(self.holding[host]) == self.max_per_host
        waiting = sum(len(users) for users in self.waiting.values())
        in_flight = sum(len(users) for users in self.holding.values())
        assert (self.limiter.in_flight, self.limiter.waiting) == (in_flight, waiting)
        assert self.limiter.stats() == (
            len(self.hosts_in_use()),
            in_flight,
            waiting,
            self.granted,
            self.waited,
            self.timed_out,
            self.cancelled,
            self.refused,
        )
        assert self.asked == self.granted + self.timed_out + self.cancelled + self.refused + waiting

    def end(self) -> None:
        for user in self.chance.sample(self.users, len(self.users)):
            self.leave(user)
            self.check()
        assert self.limiter.stats()[:3] == (0, 0, 0)
        assert all((user._line, user._before, user._after) == (None, None, None) for user in self.users)


@pytest.mark.parametrize("seed", seeds(80))
def test_limiter_under_random_operations_agrees_with_the_model(seed: int) -> None:
    model = Model(seed)
    operations = [model.enter, model.enter, model.enter, model.leave_one, model.leave_as_holder]
    for _ in range(300):
        model.clock.advance(ns=model.chance.randrange(3))
        model.chance.choice(operations)()
        model.check()
    if model.chance.random() < 0.7:
        for _ in range(40):
            model.chance.choice([*operations, model.close])()
            model.check()
    model.end()
