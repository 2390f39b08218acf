"""Things kept ready: taking, checking, refilling by steps or by a thread, the end, and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from turbosock.errors import ClientClosed, InvalidOption, PoolTimeout, StateError
from turbosock.pool.prewarmer import Prewarmer
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, ManualClock
from turbosock.reactor.latch import Latch
from turbosock.reactor.timers import NEVER

# No test waits for so long; one that would hang fails instead.
GUARD_S = 20.0


class Item:
    """Something that was built; `closed` counts how often it was closed."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fit = True
        self.closed = 0
        self.dropped = 0
        self.checked = 0


class Works:
    """The callables of a prewarmer, and what they did.

    Attributes:
        error: what build raises, or None.
        gate: build waits for it; open unless a test closes it.
        entered: set when a build begins.
    """

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.error: BaseException | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.in_build: Callable[[], object] | None = None
        self.in_check: Callable[[], object] | None = None
        self.in_close: Callable[[], object] | None = None

    def build(self) -> Item:
        self.entered.set()
        assert self.gate.wait(GUARD_S)
        if self.in_build is not None:
            self.in_build()
        if self.error is not None:
            raise self.error
        item = Item(len(self.items))
        self.items.append(item)
        return item

    def check(self, item: Item) -> bool:
        item.checked += 1
        if self.in_check is not None:
            self.in_check()
        return item.fit

    def close(self, item: Item) -> None:
        item.closed += 1
        if self.in_close is not None:
            self.in_close()

    def drop(self, item: Item) -> None:
        item.dropped += 1

    @property
    def closed(self) -> list[int]:
        """The numbers of the items that were closed once."""
        return [item.number for item in self.items if item.closed == 1]


class Bench:
    """Prewarmers on one clock that stands still."""

    def __init__(self) -> None:
        self.works = Works()
        self.clock = ManualClock(1000)
        self.keepers: list[Prewarmer[Item]] = []

    def keeper(self, min_ready: int = 2, max_ready: int = 4, **options: Any) -> Prewarmer[Item]:
        works = self.works
        options = {"interval_s": 1.0, "max_age_s": 10.0, "clock": self.clock, **options}
        keeper = Prewarmer(works.build, works.check, works.close, min_ready=min_ready, max_ready=max_ready, **options)
        self.keepers.append(keeper)
        return keeper

    def filled(self, **options: Any) -> Prewarmer[Item]:
        keeper = self.keeper(**options)
        keeper.step(self.clock.now_ns())
        return keeper

    def close(self) -> None:
        self.works.gate.set()
        self.works.in_build = self.works.in_check = self.works.in_close = None
        for keeper in self.keepers:
            assert keeper.close(GUARD_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def wait_for_line(keeper: Prewarmer[Item], count: int) -> None:
    end_s = time.monotonic() + GUARD_S
    while len(keeper._waiters) < count:
        assert time.monotonic() < end_s, "nobody stands in line"


def wait_until_ready(keeper: Prewarmer[Item], count: int) -> None:
    end_s = time.monotonic() + GUARD_S
    while keeper.stats().ready < count:
        assert time.monotonic() < end_s, "it was not filled"


def wait_until(event: threading.Event) -> None:
    assert event.wait(GUARD_S), "it did not come about"


class Caller(threading.Thread):
    """A thread that calls once and keeps what came of it."""

    def __init__(self, call: Callable[[], Item | None]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.result: Item | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error

    def finish(self) -> Item | None:
        self.join(GUARD_S)
        assert not self.is_alive(), "it hangs"
        if self.error is not None:
            raise self.error
        return self.result


# Options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"min_ready": 5, "max_ready": 4}, ("min_ready=5", "max_ready=4")),
        ({"max_age_s": 0.5, "interval_s": 1.0}, ("max_age_s=0.5", "interval_s=1.0")),
        ({"backoff_first_s": 9.0, "backoff_cap_s": 3.0}, ("backoff_first_s=9.0", "backoff_cap_s=3.0")),
        ({"min_ready": 0}, ("min_ready=0",)),
        ({"max_age_s": -1}, ("max_age_s=-1",)),
        ({"max_age_s": 0}, ("max_age_s=0",)),
        ({"drop": 3}, ("drop=3",)),
    ],
)
def test_prewarmer_wrong_options_are_refused_by_name(
    bench: Bench, options: dict[str, Any], named: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidOption) as caught:
        bench.keeper(**options)
    for name in named:
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["build", "check", "close"])
def test_prewarmer_callables_that_are_none_are_refused_by_name(name: str) -> None:
    works = Works()
    callables: dict[str, Any] = {"build": works.build, "check": works.check, "close": works.close}
    callables[name] = None
    with pytest.raises(InvalidOption, match=f"{name}=None"):
        Prewarmer(**callables)


# Taking


def test_step_fills_and_take_gives_the_oldest(bench: Bench) -> None:
    keeper = bench.filled()
    assert keeper.stats().ready == 2
    first, second = keeper.take(), keeper.try_take()
    assert [first, second] == bench.works.items
    assert [item.checked for item in bench.works.items] == [1, 1]
    assert bench.works.closed == []


def test_try_take_of_nothing_is_none_and_counted(bench: Bench) -> None:
    keeper = bench.keeper()
    assert keeper.try_take() is None
    assert keeper.stats()[:6] == (0, 0, 0, 0, 0, 1)


def test_take_without_a_thread_builds_on_the_spot(bench: Bench) -> None:
    keeper = bench.keeper()
    item = keeper.take()
    assert item is bench.works.items[0]
    assert item.checked == 0
    assert keeper.stats()[:7] == (0, 0, 1, 0, 1, 1, 0)


def test_take_on_the_spot_raises_what_build_raises(bench: Bench) -> None:
    keeper = bench.keeper()
    bench.works.error = OSError("down")
    with pytest.raises(OSError, match="down"):
        keeper.take()
    stats = keeper.stats()
    assert (stats.building, stats.failed, stats.last_error) == (0, 1, "OSError")
    # The keeper pauses as well.
    assert keeper.step(bench.clock.now_ns()) > bench.clock.now_ns()
    assert keeper.stats().failed == 1


def test_take_on_the_spot_after_a_satisfied_step_makes_the_next_step_look(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1)
    assert keeper.try_take() is not None
    keeper.take()
    assert keeper.stats().ready == 0
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 1


@pytest.mark.parametrize("method", ["take", "try_take"])
def test_dead_items_are_closed_and_the_next_one_is_taken(bench: Bench, method: str) -> None:
    keeper = bench.filled(min_ready=3)
    bench.works.items[0].fit = bench.works.items[1].fit = False
    assert getattr(keeper, method)() is bench.works.items[2]
    assert bench.works.closed == [0, 1]
    assert keeper.stats()[:7] == (0, 0, 3, 0, 1, 0, 2)


def test_items_that_are_all_dead_are_a_miss(bench: Bench) -> None:
    keeper = bench.filled()
    for item in bench.works.items:
        item.fit = False
    assert keeper.try_take() is None
    assert bench.works.closed == [0, 1]
    assert keeper.stats()[:7] == (0, 0, 2, 0, 0, 1, 2)


def test_items_that_are_all_dead_make_take_build(bench: Bench) -> None:
    keeper = bench.filled()
    for item in bench.works.items[:2]:
        item.fit = False
    assert keeper.take() is bench.works.items[2]


def test_item_too_old_is_not_taken_and_not_asked(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1)
    bench.clock.advance(9.9)
    assert keeper.try_take() is bench.works.items[0]
    keeper.step(bench.clock.now_ns())
    bench.clock.advance(10.0)
    assert keeper.try_take() is None
    assert bench.works.closed == [1]
    assert bench.works.items[1].checked == 0


def test_check_that_raises_means_unfit(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1)

    def fail() -> None:
        raise ValueError("odd")

    bench.works.in_check = fail
    assert keeper.try_take() is None
    assert bench.works.closed == [0]
    assert keeper.stats().last_error == "ValueError"


@pytest.mark.parametrize("method", ["take", "try_take"])
def test_take_interrupted_in_its_check_closes_the_item(bench: Bench, method: str) -> None:
    keeper = bench.filled(min_ready=1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    bench.works.in_check = interrupt
    with pytest.raises(KeyboardInterrupt):
        getattr(keeper, method)()
    assert bench.works.closed == [0]
    assert keeper.stats()[:7] == (0, 0, 1, 0, 0, 0, 1)


def test_close_that_raises_disturbs_nobody(bench: Bench) -> None:
    keeper = bench.filled()

    def fail() -> None:
        raise OSError("gone")

    bench.works.in_close = fail
    bench.works.items[0].fit = False
    assert keeper.try_take() is bench.works.items[1]
    assert keeper.stats().last_error == "OSError"


def test_build_that_returns_none_is_a_failure() -> None:
    with Prewarmer[None](lambda: None, lambda item: True, lambda item: None) as keeper:
        with pytest.raises(StateError, match="returned None"):
            keeper.take()
        assert keeper.stats().failed == 1


@pytest.mark.parametrize("timeout_s", [0, -1, "soon", True])
def test_take_with_a_timeout_that_is_none_is_refused(bench: Bench, timeout_s: Any) -> None:
    with pytest.raises(InvalidOption, match="timeout_s="):
        bench.keeper().take(timeout_s=timeout_s)


# Steps


def test_step_tells_when_the_next_is_due(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=3, max_building=2)
    now_ns = bench.clock.now_ns()
    assert keeper.step(now_ns) == now_ns
    assert keeper.stats().ready == 2
    assert keeper.step(now_ns) == now_ns + NS_PER_S
    assert keeper.stats().ready == 3
    for _ in range(3):
        keeper.try_take()
    bench.works.error = OSError("down")
    retry_ns = keeper.step(now_ns)
    assert now_ns < retry_ns <= now_ns + NS_PER_S // 10
    assert keeper.stats().failed == 1


def test_step_replaces_what_was_taken_at_once(bench: Bench) -> None:
    keeper = bench.filled()
    keeper.take()
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 2


def test_step_checks_at_the_interval_and_replaces_the_dead(bench: Bench) -> None:
    keeper = bench.filled()
    bench.works.items[1].fit = False
    bench.clock.advance(0.9)
    keeper.step(bench.clock.now_ns())
    assert [item.checked for item in bench.works.items] == [0, 0]
    bench.clock.advance(0.1)
    keeper.step(bench.clock.now_ns())
    assert [item.checked for item in bench.works.items] == [1, 1, 0]
    assert bench.works.closed == [1]
    assert keeper.stats().ready == 2
    # Their order is as it was.
    assert [keeper.try_take(), keeper.try_take()] == [bench.works.items[0], bench.works.items[2]]


def test_step_replaces_what_is_too_old(bench: Bench) -> None:
    keeper = bench.filled()
    for _ in range(10):
        bench.clock.advance(1.0)
        keeper.step(bench.clock.now_ns())
    assert bench.works.closed == [0, 1]
    assert keeper.stats().ready == 2


def test_item_that_is_one_too_many_is_closed(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1, max_ready=1)
    entry = keeper._ready.popleft()
    waiter = keeper_waiter(keeper)
    keeper._keep(entry, keeper._generation)
    bench.clock.advance(1.0)
    keeper.step(bench.clock.now_ns())
    # A caller gives back what it was given at the last moment, and its place is filled already.
    keeper._leave_line(waiter)
    assert bench.works.closed == [0]
    assert keeper.stats()[:7] == (1, 0, 2, 0, 0, 1, 1)


def test_step_inside_a_step_is_refused(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=1)
    bench.works.in_build = lambda: keeper.step(bench.clock.now_ns())
    keeper.step(bench.clock.now_ns())
    assert "step() was called inside step()" in keeper.stats().last_error
    bench.works.in_build = keeper.start
    bench.clock.advance(1.0)
    keeper.step(bench.clock.now_ns())
    assert "start() was called inside step()" in keeper.stats().last_error


def test_step_interrupted_leaves_the_keeper_usable(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=1)
    bench.works.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        keeper.step(bench.clock.now_ns())
    assert keeper.stats()[:4] == (0, 0, 0, 0)
    bench.works.error = None
    # It said nothing of the origin: there is no pause.
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 1


def test_step_during_a_take_on_the_spot_still_fills(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=2)

    def step_once() -> None:
        bench.works.in_build = None
        keeper.step(bench.clock.now_ns())

    bench.works.in_build = step_once
    keeper.take()
    assert keeper.stats().ready == 2


def test_step_after_all_died_waits_for_the_interval(bench: Bench) -> None:
    keeper = bench.filled()
    for item in bench.works.items[:2]:
        item.fit = False
    # An origin that accepts and closes gets what was asked for, and no filling for each caller.
    keeper.take()
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 0
    bench.clock.advance(1.0)
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 2


def test_demand_raises_what_is_kept(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1, max_ready=4, adaptive=True)
    for _ in range(20):
        for _ in range(4):
            keeper.take()
        bench.clock.advance(1.0)
        while keeper.step(bench.clock.now_ns()) <= bench.clock.now_ns():
            pass
    assert keeper.stats().ready == 4


# The end


def test_close_closes_each_ready_item_once(bench: Bench) -> None:
    keeper = bench.filled()
    taken = keeper.take()
    assert keeper.close()
    assert keeper.close()
    assert (taken.closed, bench.works.closed) == (0, [1])
    assert keeper.stats()[:7] == (0, 0, 2, 0, 1, 0, 1)


@pytest.mark.parametrize(
    ("method", "arguments"), [("take", ()), ("try_take", ()), ("start", ()), ("step", (5,)), ("take", (1.0,))]
)
def test_entries_after_close_raise_and_name_themselves(bench: Bench, method: str, arguments: tuple[Any, ...]) -> None:
    keeper = bench.filled()
    keeper.close()
    with pytest.raises(ClientClosed, match=rf"{method}\(\)"):
        getattr(keeper, method)(*arguments)


def test_close_as_the_end_of_a_block(bench: Bench) -> None:
    with bench.filled() as keeper:
        keeper.take()
    assert bench.works.closed == [1]


@pytest.mark.parametrize("wait_s", [-1, None, False, "x"])
def test_close_with_a_wait_that_is_no_time_is_refused(bench: Bench, wait_s: Any) -> None:
    with pytest.raises(InvalidOption, match="wait_s="):
        bench.keeper().close(wait_s)


class NeverWaited(Latch):
    """A latch that nobody may wait for: it would be for itself."""

    def wait(self, timeout_s: float) -> bool:
        raise AssertionError("waited for itself")


def test_close_inside_a_build_lets_it_arrive_and_closes_it(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=2)
    closed: list[bool] = []
    keeper._settled = NeverWaited()
    bench.works.in_build = lambda: closed.append(keeper.close(GUARD_S))
    assert keeper.step(bench.clock.now_ns()) == NEVER
    assert (closed, bench.works.closed, len(bench.works.items)) == ([False], [0], 1)
    assert keeper.close(0)
    keeper._settled = Latch()


def test_close_during_a_take_on_the_spot_closes_the_item(bench: Bench) -> None:
    keeper = bench.keeper()
    bench.works.in_build = lambda: keeper.close(0)
    with pytest.raises(ClientClosed, match=r"while take\(\) built"):
        keeper.take()
    assert bench.works.closed == [0]
    assert keeper.stats()[:7] == (0, 0, 1, 0, 0, 1, 1)


def test_close_waits_for_a_take_on_the_spot_in_another_thread(bench: Bench) -> None:
    keeper = bench.filled()
    keeper.try_take()
    keeper.try_take()
    bench.works.entered.clear()
    bench.works.gate.clear()
    caller = Caller(keeper.take)
    wait_until(bench.works.entered)
    assert not keeper.close(0)
    bench.works.in_close = lambda: closing.append(keeper._settled.is_set)
    closing: list[bool] = []
    bench.works.gate.set()
    assert keeper.close(GUARD_S)
    assert (bench.works.closed, closing) == ([2], [False])
    with pytest.raises(ClientClosed):
        caller.finish()


def test_close_during_a_check_closes_the_item(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1)
    bench.works.in_check = lambda: keeper.close(0)
    bench.clock.advance(1.0)
    keeper.step(bench.clock.now_ns())
    assert bench.works.closed == [0]


# The thread

# An interval that ends in no test: the thread wakes only when it is woken.
NEVER_LOOKS: dict[str, Any] = {"interval_s": 100_000.0, "max_age_s": 200_000.0}


def build_signal(bench: Bench, count: int) -> threading.Event:
    """An event that is set when so many builds have ended."""
    reached = threading.Event()
    get = bench.works.build

    def counted() -> Item:
        item = get()
        if len(bench.works.items) >= count:
            reached.set()
        return item

    bench.works.build = counted  # type: ignore[method-assign]  # the prewarmer is made after this
    return reached


@pytest.mark.parametrize("method", ["take", "try_take"])
def test_thread_fills_and_refills_what_is_taken(bench: Bench, method: str) -> None:
    refilled = build_signal(bench, 3)
    keeper = bench.keeper(**NEVER_LOOKS)
    keeper.start()
    wait_until_ready(keeper, 2)
    assert getattr(keeper, method)() is bench.works.items[0]
    wait_until(refilled)


def test_start_again_keeps_the_one_thread(bench: Bench) -> None:
    keeper = bench.keeper(**NEVER_LOOKS)
    keeper.start()
    wait_until_ready(keeper, 2)
    thread = keeper._thread
    keeper.start()
    assert keeper._thread is thread
    assert thread is not None and thread.daemon
    with pytest.raises(StateError, match="the background thread builds"):
        keeper.step(bench.clock.now_ns())
    assert keeper.close(GUARD_S)
    assert not thread.is_alive()


def test_start_that_cannot_is_as_if_not_called(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    keeper = bench.keeper(min_ready=1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            keeper.start()
    keeper.step(bench.clock.now_ns())
    assert keeper.stats().ready == 1


def test_callers_in_line_are_served_in_order(bench: Bench) -> None:
    bench.works.gate.clear()
    keeper = bench.keeper(min_ready=1)
    keeper.start()
    wait_until(bench.works.entered)
    callers = []
    for count in range(1, 4):
        callers.append(Caller(lambda: keeper.take(GUARD_S)))
        wait_for_line(keeper, count)
    bench.works.gate.set()
    assert [caller.finish() for caller in callers] == bench.works.items[:3]


def test_caller_in_line_learns_why_nothing_came(bench: Bench) -> None:
    bench.works.error = OSError("no route")
    keeper = bench.keeper(min_ready=1)
    keeper.start()
    wait_until(bench.works.entered)
    # The clock stands still, so the pause never ends.
    with pytest.raises(PoolTimeout, match=r"take\(\) waited for 0\.01 s"):
        keeper.take(0.01)
    assert len(keeper._waiters) == 0
    assert keeper.stats().taken == 0


def test_caller_in_line_is_woken_by_close(bench: Bench) -> None:
    bench.works.gate.clear()
    keeper = bench.keeper(min_ready=1)
    keeper.start()
    wait_until(bench.works.entered)
    caller = Caller(lambda: keeper.take(GUARD_S))
    wait_for_line(keeper, 1)
    assert not keeper.close(0), "a build is under way"
    with pytest.raises(ClientClosed, match=r"take\(\) waited"):
        caller.finish()
    bench.works.gate.set()
    assert keeper.close(GUARD_S)
    assert bench.works.closed == [0]


def test_caller_interrupted_in_line_passes_on_what_it_was_given(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1)
    entry = keeper._ready.popleft()
    waiter = keeper_waiter(keeper)
    keeper._keep(entry, keeper._generation)
    assert waiter.entry is entry
    keeper._leave_line(waiter)
    assert keeper.stats()[:6] == (1, 0, 1, 0, 0, 1)
    assert keeper.try_take() is entry.item


def keeper_waiter(keeper: Prewarmer[Item]) -> Any:
    """A caller in line, as one with a thread would be."""
    keeper._thread = threading.Thread()
    try:
        return keeper._take_or_stand_in_line(0)[1]
    finally:
        keeper._thread = None


def test_caller_interrupted_in_line_leaves_it(bench: Bench) -> None:
    keeper = bench.keeper()
    waiter = keeper_waiter(keeper)

    class Interrupted:
        def wait(self, timeout_s: float) -> bool:
            raise KeyboardInterrupt

    waiter.latch = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        keeper._wait(waiter, GUARD_S)
    assert not keeper._waiters


def test_thread_survives_whatever_build_raises(bench: Bench) -> None:
    bench.works.error = SystemExit(3)
    keeper = bench.keeper(min_ready=1, backoff_first_s=1e-9, backoff_cap_s=1e-9, clock=SYSTEM_CLOCK)
    failed = threading.Event()
    bench.works.in_build = lambda: failed.set() if keeper.stats().failed >= 3 else None
    keeper.start()
    wait_until(failed)
    bench.works.error = None
    assert keeper.take(GUARD_S) is bench.works.items[0]


def test_thread_that_takes_for_itself_builds_on_the_spot(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=1)
    taken: list[Item] = []
    done = threading.Event()

    def take_one() -> None:
        if not taken:
            bench.works.in_build = None
            taken.append(keeper.take(GUARD_S))
            done.set()

    bench.works.in_build = take_one
    keeper.start()
    wait_until(done)
    assert taken == bench.works.items[:1]


def test_threads_that_meet_take_each_item_once(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=4, max_ready=8)
    keeper.start()
    taken: list[list[Item]] = [[] for _ in range(6)]

    def take_many(mine: list[Item]) -> None:
        for turn in range(100):
            item = keeper.try_take() if turn % 2 else keeper.take(GUARD_S)
            if item is not None:
                mine.append(item)

    callers = [Caller(lambda mine=mine: take_many(mine)) for mine in taken]  # type: ignore[misc]  # the default binds
    for caller in callers:
        caller.finish()
    assert keeper.close(GUARD_S)
    numbers = sorted(item.number for mine in taken for item in mine)
    assert len(numbers) == len(set(numbers)) >= 300
    assert sorted(numbers + bench.works.closed) == list(range(len(bench.works.items)))
    stats = keeper.stats()
    assert (stats.taken, stats.discarded, stats.ready) == (len(numbers), len(bench.works.closed), 0)


# Forks


def in_child(call: Callable[[], object]) -> str:
    """What `call` returns in the child of a fork, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = repr(call())
        except BaseException as error:
            answer = repr(error)
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return text


def test_fork_child_drops_what_is_ready_and_starts_clean(bench: Bench) -> None:
    keeper = bench.filled(drop=bench.works.drop)

    def look() -> object:
        items = tuple(bench.works.items)
        stats = keeper.stats()
        item = keeper.take()
        return stats[:7], [one.dropped for one in items], [one.closed for one in items], item in items

    assert in_child(look) == repr(((0,) * 7, [1, 1], [0, 0], False))
    assert keeper.stats().ready == 2
    assert keeper.take() is bench.works.items[0]


def test_fork_child_without_drop_forgets_what_is_ready(bench: Bench) -> None:
    keeper = bench.filled()
    assert in_child(lambda: (keeper.try_take(), [one.closed for one in bench.works.items])) == "(None, [0, 0])"


def test_fork_child_has_no_thread_and_may_start_one(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=1)
    keeper.start()
    bench.works.gate.clear()

    def look() -> object:
        alone = keeper._thread is None and keeper.stats().building == 0
        bench.works.gate = threading.Event()
        bench.works.gate.set()
        keeper.start()
        return alone, keeper.take(GUARD_S) is not None, keeper.close(GUARD_S)

    assert in_child(look) == "(True, True, True)"


def test_fork_child_of_a_fork_with_the_lock_held_is_not_stuck(bench: Bench) -> None:
    keeper = bench.filled()
    with keeper._lock:
        answer = in_child(lambda: keeper.stats().ready)
    assert answer == "0"


def test_fork_inside_a_build_leaves_the_item_to_the_parent(bench: Bench) -> None:
    keeper = bench.keeper(min_ready=1, drop=bench.works.drop)
    reading, writing = os.pipe()
    children: list[int] = []

    bench.works.in_build = lambda: children.append(os.fork())
    try:
        keeper.step(bench.clock.now_ns())
        answer = repr((keeper.stats()[:4], bench.works.items[0].dropped))
    except BaseException as error:
        if children[0]:
            raise
        answer = repr(error)
    if not children[0]:
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        assert answers.read() == repr(((0, 0, 0, 0), 1))
    os.waitpid(children[0], 0)
    assert answer == repr(((1, 0, 1, 0), 0))


def test_fork_during_a_check_drops_what_is_unfit_in_the_child(bench: Bench) -> None:
    keeper = bench.filled(min_ready=1, drop=bench.works.drop)
    item = bench.works.items[0]
    item.fit = False
    # As if the check had forked, and this were the child.
    bench.works.in_check = keeper.drop_inherited
    bench.clock.advance(1.0)
    keeper.step(bench.clock.now_ns())
    assert (item.dropped, item.closed) == (1, 0)


def test_fork_child_of_a_closed_one_is_closed(bench: Bench) -> None:
    keeper = bench.filled()
    keeper.close()
    assert "ClientClosed" in in_child(keeper.take)
    assert in_child(lambda: keeper.close(GUARD_S)) == "True"
