"""Refill and Prewarmer under random takes, failures, outages, deaths and steps of time, against naive models."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.pool.prewarmer import Prewarmer
from turbosock.pool.refill import Refill
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.timers import NEVER

MS = 1_000_000


class PolicyModel:
    """Somebody who keeps items by a Refill, and knows what it must say.

    Attributes:
        begun, allowed: builds in the present interval, and how many there may be.
        deaths: whether any item vanished in the present interval, and builds may be withheld for it.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.min_ready = self.chance.randrange(1, 6)
        self.max_ready = self.min_ready + self.chance.randrange(6)
        self.max_building = self.chance.randrange(1, 5)
        self.first_ns = self.chance.randrange(1, 300) * MS
        self.cap_ns = self.first_ns + self.chance.randrange(2000) * MS
        self.interval_ns = self.chance.randrange(100, 2000) * MS
        self.adaptive = self.chance.random() < 0.5
        self.policy = Refill(
            self.min_ready,
            self.max_ready,
            interval_s=self.interval_ns / NS_PER_S,
            backoff_first_s=self.first_ns / NS_PER_S,
            backoff_cap_s=self.cap_ns / NS_PER_S,
            max_building=self.max_building,
            adaptive=self.adaptive,
            rng=random.Random(seed + 1),
        )
        self.first_ns = self.policy.backoff_first_ns
        self.cap_ns = self.policy.backoff_cap_ns
        self.interval_ns = self.policy.interval_ns
        self.draws = random.Random(seed + 1)
        self.start_ns = self.now_ns = self.chance.randrange(10**12)
        self.interval = 0
        self.up = True
        self.ready = 0
        self.building = 0
        self.failures = 0
        self.pause_end_ns = 0
        self.begun = 0
        self.allowed = self.min_ready
        self.deaths = False
        self.policy.builds_due(self.ready, self.now_ns)

    def pass_time(self) -> None:
        step_ns = self.chance.choice((0, 1, MS, 50 * MS, self.interval_ns // 2, 3 * self.interval_ns))
        due_ns = self.policy.next_due_ns(self.ready)
        if due_ns not in (0, NEVER) and self.chance.random() < 0.3:
            step_ns = max(0, due_ns - self.now_ns)
        self.now_ns += step_ns
        interval = (self.now_ns - self.start_ns) // self.interval_ns
        if interval != self.interval:
            self.interval = interval
            self.policy.builds_due(self.ready, self.now_ns)
            self.begun = 0
            self.allowed = max(self.policy.target(), self.policy.target() - self.ready)
            self.deaths = False

    def take(self) -> None:
        if self.ready:
            self.ready -= 1
        self.policy.taken(self.now_ns)
        self.allowed += 1

    def die(self) -> None:
        if self.ready:
            self.ready -= 1
            self.deaths = True

    def build(self) -> None:
        for _ in range(self.policy.builds_due(self.ready, self.now_ns)):
            if self.failures:
                self.allowed += 1
            self.policy.began()
            self.building += 1
            self.begun += 1

    def end_build(self) -> None:
        if not self.building:
            return
        self.building -= 1
        if self.chance.random() < 0.1:
            self.policy.abandoned()
            self.allowed += 1
        elif self.up:
            self.policy.built(self.now_ns)
            self.ready += 1
            self.failures = 0
            self.pause_end_ns = 0
        else:
            self.policy.failed(self.now_ns)
            self.allowed += 1
            if self.now_ns >= self.pause_end_ns:
                bound_ns = min(self.cap_ns, self.first_ns * 2**self.failures)
                self.failures += 1
                pause_ns = 1 + int(self.draws.random() * bound_ns)
                assert 1 <= pause_ns <= bound_ns
                self.pause_end_ns = self.now_ns + pause_ns

    def turn(self) -> None:
        self.up = not self.up

    def check(self) -> None:
        policy = self.policy
        target = policy.target()
        assert self.min_ready <= target <= self.max_ready
        assert policy.building == self.building
        due = policy.builds_due(self.ready, self.now_ns)
        next_ns = policy.next_due_ns(self.ready)
        missing = target - self.ready - self.building
        room = self.max_building - self.building
        # Never more than is missing, than may be built at once, and than this interval allows.
        assert 0 <= due <= max(0, min(missing, room))
        assert self.begun <= self.allowed, "an interval had more builds than its target and its takes"
        if self.failures:
            # Not before the pause ends, one at a time, and certainly then.
            assert due == (missing > 0 and not self.building and self.now_ns >= self.pause_end_ns)
            if missing > 0 and not self.building:
                assert next_ns == self.pause_end_ns
        elif not self.deaths:
            assert due == max(0, min(missing, room)), "fewer builds than owed while the origin is up"
        if due:
            assert next_ns <= self.now_ns
        elif not self.failures:
            assert next_ns > self.now_ns


@pytest.mark.parametrize("seed", seeds(60))
def test_refill_under_random_events_agrees_with_the_model(seed: int) -> None:
    model = PolicyModel(seed)
    operations = [model.take, model.take, model.build, model.build, model.build, model.end_build, model.end_build]
    operations += [model.pass_time, model.pass_time, model.die]
    for _ in range(600):
        if model.chance.random() < 0.02:
            model.turn()
        model.chance.choice(operations)()
        model.check()
    # The origin is up for good: within the longest pause and an interval everything owed is there.
    model.up = True
    while model.building:
        model.end_build()
    for _ in range(200):
        model.now_ns += max(model.cap_ns, model.interval_ns)
        model.build()
        while model.building:
            model.end_build()
    assert model.ready >= model.policy.target()
    assert model.policy.next_due_ns(model.ready) == NEVER


class Item:
    """Something built: alive until it dies, and ended once."""

    def __init__(self) -> None:
        self.alive = True
        self.ends: list[str] = []


class KeeperModel:
    """A Prewarmer driven by steps, and every item it ever built."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock(self.chance.randrange(10**12))
        self.up = True
        self.made: list[Item] = []
        self.failed = 0
        self.held: list[Item] = []
        self.min_ready = self.chance.randrange(1, 5)
        self.max_ready = self.min_ready + self.chance.randrange(5)
        self.keeper = Prewarmer(
            self.build,
            self.is_alive,
            self.close_item,
            min_ready=self.min_ready,
            max_ready=self.max_ready,
            max_age_s=3.0,
            interval_s=0.5,
            backoff_first_s=0.1,
            backoff_cap_s=2.0,
            max_building=self.chance.randrange(1, 4),
            adaptive=self.chance.random() < 0.5,
            rng=random.Random(seed),
            clock=self.clock,
        )
        self.due_ns = 0

    def build(self) -> Item:
        # A build may take its time.
        self.clock.advance(ns=self.chance.randrange(20 * MS))
        if not self.up:
            self.failed += 1
            raise OSError("the origin is down")
        item = Item()
        self.made.append(item)
        return item

    def is_alive(self, item: Item) -> bool:
        assert item.ends == [], "an item that was taken or closed was checked"
        return item.alive

    def close_item(self, item: Item) -> None:
        item.ends.append("closed")
        if self.chance.random() < 0.1:
            raise OSError("it did not like to be closed")

    def take(self) -> None:
        try:
            item = self.keeper.take()
        except OSError:
            assert not self.up, "an origin that is up failed"
            return
        item.ends.append("taken")
        assert item.alive

    def try_take(self) -> None:
        item = self.keeper.try_take()
        if item is not None:
            item.ends.append("taken")
            assert item.alive

    def die(self) -> None:
        ready = [item for item in self.made if not item.ends]
        if ready:
            self.chance.choice(ready).alive = False

    def pass_time(self) -> None:
        self.clock.advance(ns=self.chance.choice((MS, 50 * MS, 500 * MS, 4000 * MS)))

    def step(self) -> None:
        self.due_ns = self.keeper.step(self.clock.now_ns())

    def turn(self) -> None:
        self.up = not self.up

    def check(self) -> None:
        stats = self.keeper.stats()
        ends = [item.ends for item in self.made]
        assert all(len(end) <= 1 for end in ends), "an item ended twice"
        assert stats.built == len(self.made)
        assert stats.failed == self.failed
        assert stats.taken == ends.count(["taken"])
        assert stats.discarded == ends.count(["closed"])
        assert stats.ready == ends.count([]) <= self.max_ready
        assert stats.building == 0


@pytest.mark.parametrize("seed", seeds(60))
def test_prewarmer_under_random_operations_agrees_with_the_model(seed: int) -> None:
    model = KeeperModel(seed)
    operations = [model.take, model.try_take, model.try_take, model.step, model.step, model.step]
    operations += [model.pass_time, model.pass_time, model.die]
    for _ in range(300):
        if model.chance.random() < 0.03:
            model.turn()
        model.chance.choice(operations)()
        model.check()
    model.up = True
    # Past the longest pause and the next interval, as many steps as it asks for fill it.
    model.clock.advance(2.5)
    for _ in range(20):
        model.step()
        if model.due_ns > model.clock.now_ns():
            break
    model.check()
    assert model.keeper.stats().ready >= model.min_ready, "fewer ready than owed"
    assert model.keeper.close()
    model.check()
    assert all(len(item.ends) == 1 for item in model.made), "an item was neither taken nor closed"
