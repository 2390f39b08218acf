"""The timer heap: order, re-arming in place, bounded garbage, and agreement with a naive model."""

from __future__ import annotations

import functools
import random
import sys

import pytest

from support.interrupts import Interrupter
from support.seeds import seeds
from turbosock.errors import InvalidOption, LimitError, StateError
from turbosock.reactor.timers import NEVER, Timer, TimerHeap


class Recorder:
    """A target that writes its name and the time into a shared list."""

    def __init__(self, name: str, fired: list[tuple[str, int]]) -> None:
        self.name = name
        self.fired = fired

    def on_timer(self, now_ns: int) -> None:
        self.fired.append((self.name, now_ns))


class Rearming:
    """A target that moves its own timer by a step, or to the present time."""

    def __init__(self, step_ns: int) -> None:
        self.step_ns = step_ns
        self.timer: Timer | None = None
        self.count = 0

    def on_timer(self, now_ns: int) -> None:
        self.count += 1
        assert self.timer is not None
        self.timer.move(now_ns + self.step_ns)


class Failing:
    def on_timer(self, now_ns: int) -> None:
        raise RuntimeError("from the target")


@pytest.fixture
def fired() -> list[tuple[str, int]]:
    return []


def test_expire_calls_targets_in_order_of_deadline(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    for name, deadline_ns in (("c", 30), ("a", 10), ("b", 20)):
        heap.add(deadline_ns, Recorder(name, fired))
    assert heap.next_deadline_ns() == 10
    assert heap.expire(20) == 2
    assert fired == [("a", 20), ("b", 20)]
    assert heap.next_deadline_ns() == 30 and len(heap) == 1


def test_expire_before_the_deadline_calls_nothing(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    heap.add(10, Recorder("a", fired))
    assert heap.expire(9) == 0 and fired == []
    assert heap.expire(10) == 1
    assert heap.expire(10) == 0


def test_equal_deadlines_fire_in_order_of_arming(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    for name in "abcdef":
        heap.add(5, Recorder(name, fired))
    heap.expire(5)
    assert [name for name, _ in fired] == list("abcdef")


def test_next_deadline_of_an_empty_heap_is_none() -> None:
    assert TimerHeap().next_deadline_ns() is None


def test_moved_later_fires_only_at_the_new_deadline(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(10, Recorder("a", fired))
    timer.move(50)
    assert heap.expire(49) == 0
    assert heap.next_deadline_ns() == 50, "the early entry was put right"
    assert heap.expire(50) == 1 and fired == [("a", 50)]


def test_moved_earlier_fires_once_at_the_new_deadline(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(50, Recorder("a", fired))
    timer.move(10)
    assert heap.next_deadline_ns() == 10
    assert heap.expire(10) == 1
    assert heap.expire(100) == 0 and fired == [("a", 10)]
    assert heap.next_deadline_ns() is None


def test_moving_later_makes_no_entry_and_no_object() -> None:
    heap = TimerHeap()
    timer = heap.add(10, Failing())
    deadlines = [1_000_000 + step for step in range(1000)]
    move = timer.move
    move(deadlines[0])
    before = sys.getallocatedblocks()
    for deadline_ns in deadlines:
        move(deadline_ns)
    grown = sys.getallocatedblocks() - before
    assert grown < 10, f"{grown} blocks stayed after 1000 moves"
    assert len(heap._entries) == 1


def test_disarmed_never_fires_and_can_be_moved_again(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(10, Recorder("a", fired))
    timer.disarm()
    timer.disarm()
    assert timer.deadline_ns == NEVER and len(heap) == 0
    assert heap.next_deadline_ns() is None
    assert heap.expire(100) == 0
    timer.move(200)
    assert timer.armed and heap.next_deadline_ns() == 200
    assert heap.expire(200) == 1


def test_disarmed_and_moved_while_its_entry_waits_fires_once(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(10, Recorder("a", fired))
    timer.disarm()
    timer.move(20)
    timer.disarm()
    timer.move(5)
    assert heap.expire(100) == 1 and fired == [("a", 100)]
    assert heap._garbage == 0 and heap._entries == []


def test_idle_timer_is_armed_by_move(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.idle(Recorder("a", fired))
    assert len(heap) == 0 and timer.deadline_ns == NEVER
    timer.move(3)
    assert heap.expire(3) == 1


def test_cancelled_lets_go_of_its_target_and_refuses_to_move(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    target = Recorder("a", fired)
    references = sys.getrefcount(target)
    timer = heap.add(10, target)
    heap.cancel(timer)
    heap.cancel(timer)
    assert sys.getrefcount(target) == references
    assert heap.expire(100) == 0
    with pytest.raises(StateError, match="cancelled"):
        timer.move(20)


def test_timer_reused_after_it_fired_fires_again(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(10, Recorder("a", fired))
    heap.expire(10)
    timer.move(20)
    heap.expire(20)
    assert fired == [("a", 10), ("a", 20)]


def test_target_that_rearms_itself_fires_once_a_period() -> None:
    heap = TimerHeap()
    target = Rearming(10)
    target.timer = heap.add(10, target)
    assert [heap.expire(now_ns) for now_ns in (10, 15, 20, 29, 30)] == [1, 0, 1, 0, 1]


def test_target_that_rearms_at_once_is_bounded_by_max_count() -> None:
    heap = TimerHeap()
    target = Rearming(0)
    target.timer = heap.add(1, target)
    assert heap.expire(1, max_count=7) == 7 == target.count


def test_expire_examines_at_most_max_count_and_resumes(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timers = [heap.add(1, Recorder(str(number), fired)) for number in range(10)]
    timers[0].move(100)
    assert heap.expire(5, max_count=4) == 3, "the moved entry counts as work"
    assert heap.next_deadline_ns() == 1, "more remains"
    assert heap.expire(5, max_count=0) == 0
    assert heap.expire(5) == 6


def test_exception_of_a_target_passes_and_the_rest_stay_armed(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    failing = heap.add(1, Failing())
    heap.add(2, Recorder("b", fired))
    with pytest.raises(RuntimeError, match="from the target"):
        heap.expire(5)
    assert not failing.armed and len(heap) == 1
    assert heap.expire(5) == 1


def test_target_that_cancels_another_due_timer_stops_it(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()

    class Canceller:
        def on_timer(self, now_ns: int) -> None:
            heap.cancel(victim)

    heap.add(1, Canceller())
    victim = heap.add(1, Recorder("victim", fired))
    assert heap.expire(1) == 1 and fired == []


def test_target_that_compacts_the_heap_while_it_expires_loses_nothing(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    doomed: list[Timer] = []

    class Sweeper:
        def on_timer(self, now_ns: int) -> None:
            for timer in doomed:
                heap.cancel(timer)

    heap.add(1, Sweeper())
    doomed.extend(heap.add(3, Recorder("doomed", fired)) for _ in range(500))
    heap.add(3, Recorder("kept", fired))
    assert heap.expire(5) == 2 and fired == [("kept", 5)]
    check_invariants(heap)


def test_armed_timers_over_the_bound_are_refused_and_disarmed_ones_are_not_counted() -> None:
    heap = TimerHeap(max_timers=2)
    first = heap.add(1, Failing())
    heap.add(2, Failing())
    with pytest.raises(LimitError, match="2 timers"):
        heap.add(3, Failing())
    first.disarm()
    third = heap.add(3, Failing())
    with pytest.raises(LimitError):
        first.move(4)
    heap.cancel(third)
    first.move(4)
    assert len(heap) == 2


@pytest.mark.parametrize("max_timers", [0, -1])
def test_heap_without_room_is_refused(max_timers: int) -> None:
    with pytest.raises(InvalidOption, match="max_timers"):
        TimerHeap(max_timers)


def test_garbage_of_cancelled_timers_is_bounded() -> None:
    heap = TimerHeap()
    kept = [heap.add(10**9, Failing()) for _ in range(100)]
    largest = 0
    for round_number in range(20_000):
        heap.cancel(heap.add(10**6 + round_number, Failing()))
        largest = max(largest, len(heap._entries))
    assert largest <= 2 * len(kept) + 66


def test_garbage_of_many_timers_disarmed_together_is_bounded() -> None:
    heap = TimerHeap()
    for timer in [heap.add(10, Failing()) for _ in range(1000)]:
        timer.disarm()
    assert len(heap._entries) <= 130


def test_compaction_keeps_the_order_of_moved_deadlines(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timers = [heap.add(number, Recorder(str(number), fired)) for number in range(400)]
    for number, timer in enumerate(timers):
        timer.move(10_000 - number)
    for number, timer in enumerate(timers):
        if number % 4:
            heap.cancel(timer)
    assert len(heap._entries) < 400, "it was compacted"
    check_invariants(heap)
    heap.expire(20_000)
    assert [int(name) for name, _ in fired] == list(range(396, -1, -4))


def test_garbage_of_one_timer_moved_to_and_fro_is_bounded() -> None:
    heap = TimerHeap()
    timer = heap.add(10**9, Failing())
    for step in range(20_000):
        timer.move(10**9 - step)
        assert len(heap._entries) <= 70


def test_deadline_beyond_the_largest_is_kept_as_the_largest(fired: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    timer = heap.add(2**70, Recorder("a", fired))
    assert timer.armed and timer.deadline_ns == NEVER - 1
    timer.move(2**70)
    assert timer.armed and heap.next_deadline_ns() == NEVER - 1
    timer.move(5)
    timer.move(NEVER)
    assert timer.armed and heap.expire(10) == 0
    check_invariants(heap)


def check_invariants(heap: TimerHeap) -> None:
    entries = heap._entries
    live = [entry for entry in entries if entry[2]._sequence == entry[1] and entry[2].armed]
    assert len(live) == len(heap)
    assert heap._garbage == len(entries) - len(live)
    assert heap._garbage <= max(64, len(entries) // 2)
    for queued_ns, _, timer in live:
        assert queued_ns == timer._queued_ns <= timer.deadline_ns
    assert all(entries[(index - 1) // 2][:2] <= entries[index][:2] for index in range(1, len(entries)))


@pytest.mark.parametrize("seed", seeds(12))
def test_random_operations_agree_with_a_naive_model(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    heap = TimerHeap()
    fired: list[tuple[str, int]] = []
    timers: dict[str, Timer] = {}
    model: dict[str, int] = {}
    now_ns = 0
    made = 0
    most = chance.choice([3, 30, 300])
    for _ in range(3000):
        choice = chance.random()
        deadline_ns = now_ns + chance.randrange(0, 400)
        if (choice < 0.25 and len(timers) < most) or not timers:
            name = str(made)
            made += 1
            timers[name] = heap.add(deadline_ns, Recorder(name, fired))
            model[name] = deadline_ns
        elif choice < 0.60:
            name = chance.choice(list(timers))
            timers[name].move(deadline_ns)
            model[name] = deadline_ns
        elif choice < 0.75:
            name = chance.choice(list(timers))
            timers[name].disarm()
            model.pop(name, None)
        elif choice < 0.85:
            name = chance.choice(list(timers))
            heap.cancel(timers.pop(name))
            model.pop(name, None)
        else:
            now_ns += chance.randrange(0, 60)
            fired.clear()
            count = heap.expire(now_ns)
            due = {name for name, deadline in model.items() if deadline <= now_ns}
            assert count == len(fired) and {name for name, _ in fired} == due
            for name in due:
                del model[name]
        assert len(heap) == len(model)
        bound_ns = heap.next_deadline_ns()
        assert (bound_ns is None) == (not model)
        assert bound_ns is None or bound_ns <= min(model.values())
        check_invariants(heap)


def test_deadline_that_is_interrupted_anywhere_is_told_all_the_same(fired: list[tuple[str, int]]) -> None:
    interrupter = Interrupter()
    for target in range(1, 100):
        fired.clear()
        heap = TimerHeap()
        timers = [heap.add(deadline_ns, Recorder(str(deadline_ns), fired)) for deadline_ns in (1, 2, 3)]
        try:
            interrupter.run(functools.partial(heap.expire, 5), target)
        except KeyboardInterrupt:
            heap.expire(5)
        assert {name for name, _ in fired} == {"1", "2", "3"}, interrupter.where
        assert len(heap) == 0 and heap.next_deadline_ns() is None, interrupter.where
        for timer in timers:
            timer.move(7)
        assert len(heap) == 3 and heap.expire(8) == 3
        if interrupter.where is None:
            break
    assert target > 5


def test_timer_that_finds_no_memory_is_not_armed_and_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(entries: object, entry: object) -> None:
        raise MemoryError

    heap = TimerHeap()
    target = Recorder("a", [])
    timer = heap.idle(target)
    later = heap.add(50, target)
    with monkeypatch.context() as patch:
        patch.setattr("turbosock.reactor.timers.heapq.heappush", refuse)
        for late in (timer, later):
            with pytest.raises(MemoryError):
                late.move(10)
    assert len(heap) == 1 and not timer.armed and later.deadline_ns == 50
    timer.move(20)
    assert heap.expire(50) == 2 and len(heap) == 0 and heap.next_deadline_ns() is None
