"""Request queues under random submits, cancels, timeouts, ends and stops, held against a model that searches naively.

One test drives a LoopQueue, where everything happens in one thread. The other drives a RequestQueue whose calls wait to
be let go: after each operation it waits for exactly the calls that the model says have begun, so that every run with a
seed is the same however the threads are scheduled.
"""

from __future__ import annotations

import functools
import os
import queue as plain_queue
import random
import threading
from typing import Any

import pytest

from support.in_thread import GUARD_S, InThread
from support.seeds import seeds
from turbosock.errors import Cancelled, ClientClosed, DeadlineError, QueueFull, StateError, TurbosockError
from turbosock.pool.loop_queue import LoopQueue
from turbosock.pool.priority_line import Priority, PriorityLine
from turbosock.pool.queue_handle import Handle
from turbosock.pool.request_queue import RequestQueue
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.latch import Latch

A_MOMENT_S = 1e-6


class Asked:
    """A request as the model sees it.

    Attributes:
        number: the order of coming into the line in which it stands.
        outcome: "ok", "failed" or "cancelled", once it is known.
    """

    def __init__(self, name: int, priority: Priority, since_ns: int) -> None:
        self.name = name
        self.number = name
        self.priority = priority
        self.since_ns = since_ns
        self.outcome = ""
        self.handle: Handle[Any] | None = None

    def rank(self, now_ns: int, ageing_s: int | None) -> tuple[int, int, int]:
        aged = (now_ns - self.since_ns) // (ageing_s * NS_PER_S) if ageing_s else 0
        return max(0, self.priority - aged), self.since_ns, self.number


def pop(line: list[Asked], now_ns: int, ageing_s: int | None) -> Asked:
    """Take the first of all out, after a look at every one."""
    first = min(line, key=lambda asked: asked.rank(now_ns, ageing_s))
    line.remove(first)
    return first


def outcome_of(handle: Handle[Any]) -> str:
    if not handle.done:
        return ""
    error = handle.exception(0)
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, Cancelled) else "failed"


# A line


@pytest.mark.parametrize("seed", seeds(60))
def test_line_under_random_operations_agrees_with_the_model(seed: int) -> None:
    chance = random.Random(seed)
    ageing_s = chance.choice([None, 1, 5])
    size = chance.randrange(1, 30)
    line: PriorityLine[Asked] = PriorityLine(size, ageing_s)
    model: list[Asked] = []
    now_ns = 0
    for name in range(400):
        now_ns += chance.choice([0, 0, NS_PER_S // 3, NS_PER_S])
        operation = chance.random()
        if operation < 0.5:
            asked = Asked(name, chance.choice(list(Priority)), now_ns)
            if len(model) == size:
                with pytest.raises(QueueFull):
                    line.push(asked, asked.priority, now_ns)
            else:
                line.push(asked, asked.priority, now_ns)
                model.append(asked)
        elif operation < 0.85:
            assert line.pop(now_ns) is (pop(model, now_ns, ageing_s) if model else None)
        elif model:
            asked = chance.choice(model)
            model.remove(asked)
            assert line.remove(asked)
        assert len(line) == len(model)
        assert line.is_full is (len(model) == size)


# A tick


class FakeExchange:
    """What was begun; the test ends it."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None

    def cancel(self) -> None:
        if not self.done:
            self.error = Cancelled("cancelled")
            self.done = True


class TickModel:
    """A LoopQueue, and what it must be like after every operation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.max_pending = self.chance.randrange(1, 8)
        self.max_in_flight = self.chance.randrange(1, 5)
        self.ageing_s = self.chance.choice([None, 2])
        self.queue = LoopQueue(self.begin, self.max_in_flight, self.max_pending, self.ageing_s, clock=self.clock)
        self.everyone: list[Asked] = []
        self.pending: list[Asked] = []
        self.running: list[Asked] = []
        self.exchanges: dict[int, FakeExchange] = {}
        self.begun: list[int] = []
        self.expected: list[int] = []
        self.refused = 0
        self.stopped = False
        self.deadline_ns: int | None = None
        self.left_at_stop: list[Asked] = []

    def begin(self, name: int) -> FakeExchange:
        self.begun.append(name)
        if name % 11 == 10:
            raise ValueError("it does not begin")
        self.exchanges[name] = exchange = FakeExchange(name)
        return exchange

    def submit(self) -> None:
        asked = Asked(len(self.everyone), self.chance.choice(list(Priority)), self.clock.now_ns())
        refusal: type[TurbosockError] | None = None
        wait_s = self.chance.choice([0.0, A_MOMENT_S])
        if self.stopped:
            refusal = ClientClosed
        elif len(self.pending) == self.max_pending:
            # The only thread here is the loop's own.
            refusal = StateError if wait_s else QueueFull
            self.refused += not wait_s
        if refusal is not None:
            with pytest.raises(refusal):
                self.queue.submit(asked.name, priority=asked.priority, wait_s=wait_s)
            return
        asked.handle = self.queue.submit(asked.name, priority=asked.priority, wait_s=wait_s)
        self.everyone.append(asked)
        self.pending.append(asked)

    def cancel(self) -> None:
        if not self.everyone:
            return
        asked = self.chance.choice(self.everyone)
        assert asked.handle is not None
        told = asked.handle.cancel()
        assert told is (asked.outcome in ("", "cancelled"))
        if asked in self.pending:
            self.pending.remove(asked)
            asked.outcome = "cancelled"

    def end(self) -> None:
        open_ones = [exchange for exchange in self.exchanges.values() if not exchange.done]
        if open_ones:
            exchange = self.chance.choice(open_ones)
            exchange.error = self.chance.choice([None, OSError("reset"), Cancelled("elsewhere")])
            exchange.done = True

    def ask(self) -> None:
        """Ask for a result in the loop's own thread."""
        if not self.everyone:
            return
        asked = self.chance.choice(self.everyone)
        assert asked.handle is not None
        exchange = self.exchanges.get(asked.name)
        if asked in self.running and exchange is not None and exchange.done:
            self.note_end(asked, exchange)
        if asked.outcome:
            asked.handle.exception()
        else:
            with pytest.raises(StateError):
                asked.handle.exception()

    def pass_time(self) -> None:
        self.clock.advance(self.chance.choice([0, 0.3, 1]))

    def stop(self) -> None:
        if self.chance.random() < 0.8:
            # Rare enough that there is something to stop.
            return
        drain = self.chance.random() < 0.6
        if not self.stopped:
            self.left_at_stop = self.pending + self.running
        self.stopped = True
        self.deadline_ns = self.clock.now_ns() + 2 * NS_PER_S
        report = self.queue.stop(drain, 2)
        if not drain:
            self.give_up()
        self.notice()
        ended = [asked.outcome for asked in self.left_at_stop]
        assert report == (
            ended.count("ok") + ended.count("failed"),
            ended.count("cancelled"),
            len(self.running),
            len(self.pending),
        )
        assert sum(report) == len(self.left_at_stop)

    def poll(self) -> None:
        if self.deadline_ns is not None and self.clock.now_ns() >= self.deadline_ns:
            self.give_up()
        self.notice()
        for _ in range(self.max_in_flight):
            if not self.pending or len(self.running) == self.max_in_flight:
                break
            asked = pop(self.pending, self.clock.now_ns(), self.ageing_s)
            self.expected.append(asked.name)
            if asked.name % 11 == 10:
                asked.outcome = "failed"
            else:
                self.running.append(asked)
        assert self.queue.poll() == len(self.pending) + len(self.running)

    def give_up(self) -> None:
        for asked in self.pending:
            asked.outcome = "cancelled"
        self.pending.clear()
        for asked in self.running:
            self.exchanges[asked.name].cancel()

    def notice(self) -> None:
        for asked in tuple(self.running):
            exchange = self.exchanges[asked.name]
            if exchange.done:
                self.note_end(asked, exchange)

    def note_end(self, asked: Asked, exchange: FakeExchange) -> None:
        self.running.remove(asked)
        asked.outcome = {type(None): "ok", OSError: "failed", Cancelled: "cancelled"}[type(exchange.error)]

    def check(self) -> None:
        assert self.begun == self.expected
        outcomes = [asked.outcome for asked in self.everyone]
        assert [outcome_of(asked.handle) for asked in self.everyone if asked.handle is not None] == outcomes
        counts = [outcomes.count(word) for word in ("ok", "failed", "cancelled")]
        assert list(self.queue.stats()) == [
            len(self.pending), len(self.running), 0, 0, len(self.everyone), *counts, self.refused,
        ]  # fmt: skip
        assert self.queue.closed is self.stopped


@pytest.mark.parametrize("seed", seeds(80))
def test_loop_queue_under_random_operations_agrees_with_the_model(seed: int) -> None:
    model = TickModel(seed)
    operations = [model.submit] * 4 + [model.poll] * 3 + [model.end] * 2 + [model.cancel, model.ask, model.pass_time]
    for _ in range(250):
        model.chance.choice(operations)()
        model.check()
    for _ in range(40):
        model.chance.choice([*operations, model.stop])()
        model.check()
    model.queue.stop(drain=False)
    assert all(asked.handle is not None and asked.handle.done for asked in model.everyone)


# Threads


class Token:
    """Lets its call go with the word "cancelled"."""

    def __init__(self) -> None:
        self.words: plain_queue.SimpleQueue[str] = plain_queue.SimpleQueue()

    def cancel(self) -> None:
        self.words.put("cancelled")


class WatchedQueue(RequestQueue[str]):
    """A queue that tells when a caller waits for room."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.entered: plain_queue.Queue[int] = plain_queue.Queue()
        super().__init__(*args, **options)

    def _enter(self, handle: Handle[str], wait_s: float) -> Latch | None:
        event = super()._enter(handle, wait_s)
        if event is not None and wait_s > A_MOMENT_S:
            self.entered.put(0)
        return event


class ThreadModel:
    """A RequestQueue, and what it must be like after every operation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.clock = ManualClock()
        self.workers = self.chance.randrange(1, 4)
        self.max_pending = self.chance.randrange(1, 5)
        self.ageing_s = self.chance.choice([None, 2])
        self.queue = WatchedQueue(
            self.perform, self.workers, self.max_pending, self.ageing_s, cancel_token=Token, clock=self.clock
        )
        self.began: plain_queue.Queue[int] = plain_queue.Queue()
        self.tokens: dict[int, Token] = {}
        self.names = 0
        self.started = False
        self.everyone: list[Asked] = []
        self.waiting: list[tuple[Asked, InThread]] = []
        self.pending: list[Asked] = []
        self.running: list[Asked] = []
        self.refused = 0

    def perform(self, name: int, cancel: Token) -> str:
        self.tokens[name] = cancel
        self.began.put(name)
        word = cancel.words.get(timeout=GUARD_S)
        if word == "cancelled":
            raise Cancelled("as asked")
        if word == "failed":
            raise ValueError(word)
        if word == "died":
            raise SystemExit
        return word

    def start(self) -> None:
        self.started = True
        self.queue.start()

    def new(self) -> Asked:
        self.names += 1
        return Asked(self.names, self.chance.choice(list(Priority)), self.clock.now_ns())

    def submit(self) -> None:
        asked = self.new()
        if len(self.pending) == self.max_pending:
            with pytest.raises(QueueFull):
                self.queue.submit(asked.name, priority=asked.priority, wait_s=self.chance.choice([0.0, A_MOMENT_S]))
            self.refused += 1
            return
        asked.handle = self.queue.submit(asked.name, priority=asked.priority, wait_s=GUARD_S)
        self.everyone.append(asked)
        self.pending.append(asked)

    def wait_for_room(self) -> None:
        if len(self.pending) < self.max_pending or len(self.waiting) > 5:
            return
        asked = self.new()
        submit = functools.partial(self.queue.submit, asked.name, priority=asked.priority, wait_s=GUARD_S)
        self.waiting.append((asked, InThread(submit)))
        self.queue.entered.get(timeout=GUARD_S)

    def admit(self) -> None:
        """Let in who waits, as far as there is room."""
        while self.waiting and len(self.pending) < self.max_pending:
            now_ns = self.clock.now_ns()
            first = min(self.waiting, key=lambda pair: pair[0].rank(now_ns, self.ageing_s))
            self.waiting.remove(first)
            asked, caller = first
            asked.handle = caller.outcome()
            assert isinstance(asked.handle, Handle), asked.handle
            # Of two that are as old, who came into this line first is first.
            self.names += 1
            asked.number = self.names
            self.everyone.append(asked)
            self.pending.append(asked)

    def cancel(self) -> None:
        if not self.everyone:
            return
        asked = self.chance.choice(self.everyone)
        assert asked.handle is not None
        assert asked.handle.cancel() is (asked.outcome in ("", "cancelled"))
        if asked in self.pending:
            self.pending.remove(asked)
            asked.outcome = "cancelled"
            self.admit()
        elif asked in self.running:
            self.await_end(asked, "cancelled")

    def end(self) -> None:
        if self.running:
            asked = self.chance.choice(self.running)
            word = self.chance.choice(["ok", "ok", "failed", "died"])
            self.tokens[asked.name].words.put(word)
            self.await_end(asked, "failed" if word == "died" else word)

    def await_end(self, asked: Asked, outcome: str) -> None:
        assert asked.handle is not None
        asked.handle.exception(GUARD_S)
        self.running.remove(asked)
        asked.outcome = outcome

    def ask(self) -> None:
        unfinished = [asked for asked in self.everyone if not asked.outcome]
        if unfinished:
            asked = self.chance.choice(unfinished)
            assert asked.handle is not None
            with pytest.raises(DeadlineError):
                asked.handle.result(self.chance.choice([0, A_MOMENT_S]))

    def pass_time(self) -> None:
        # Never between the end of a call and the begin of the next: settle() has waited for that.
        self.clock.advance(self.chance.choice([0, 0.3, 1]))

    def settle(self) -> None:
        """Wait for the calls that must have begun by now, and for no other."""
        expected = set()
        while self.started and self.pending and len(self.running) < self.workers:
            asked = pop(self.pending, self.clock.now_ns(), self.ageing_s)
            self.running.append(asked)
            expected.add(asked.name)
            self.admit()
        assert {self.began.get(timeout=GUARD_S) for _ in expected} == expected
        assert self.began.empty()

    def check(self) -> None:
        outcomes = [asked.outcome for asked in self.everyone]
        assert [outcome_of(asked.handle) for asked in self.everyone if asked.handle is not None] == outcomes
        counts = [outcomes.count(word) for word in ("ok", "failed", "cancelled")]
        stats = self.queue.stats()
        assert [*stats[:3], *stats[4:]] == [
            len(self.pending), len(self.running), len(self.waiting), len(self.everyone), *counts, self.refused,
        ]  # fmt: skip

    def stop(self) -> None:
        """One of the ways to end, with whatever is in line and under way."""
        left = self.pending + self.running
        running = len(self.running)
        way = self.chance.choice(["drain", "cancel", "no time"])
        if way == "no time":
            report = self.queue.stop(drain=True, timeout_s=0)
            # Those that run were told to end, and may have done so by now.
            assert report.cancelled + report.running == len(left), report
            report = self.queue.stop(timeout_s=GUARD_S)
            assert report == (0, len(left), 0, 0)
        elif way == "cancel" or not self.started:
            report = self.queue.stop(drain=False, timeout_s=GUARD_S)
            assert report == (0, len(left), 0, 0)
        else:
            stopper = InThread(functools.partial(self.queue.stop, True, GUARD_S))
            while not self.queue.closed:
                os.sched_yield()
            for asked in self.running:
                self.tokens[asked.name].words.put("ok")
            for _ in range(len(left) - running):
                name = self.began.get(timeout=GUARD_S)
                self.tokens[name].words.put("ok")
            assert stopper.outcome() == (len(left), 0, 0, 0)
        for asked in left:
            assert asked.handle is not None
            assert outcome_of(asked.handle) == ("ok" if way == "drain" and self.started else "cancelled")
        for _, caller in self.waiting:
            assert isinstance(caller.outcome(), ClientClosed)
        assert self.queue.stats()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", seeds(30))
def test_request_queue_under_random_operations_agrees_with_the_model(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Calls that end their threads are part of it.
    hook = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda args: args.exc_type is SystemExit or hook(args))
    model = ThreadModel(seed)
    operations = [model.submit] * 4 + [model.end] * 3 + [model.wait_for_room] * 2
    operations += [model.cancel, model.ask, model.pass_time]
    start_at = model.chance.randrange(20)
    for number in range(model.chance.randrange(150)):
        if number == start_at:
            model.start()
        else:
            model.chance.choice(operations)()
        model.settle()
        model.check()
    model.stop()
