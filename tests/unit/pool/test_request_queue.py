"""The request queue of threads: order, room, handles, every way to end, and threads that die or fork."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import queue as plain_queue
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.forks import NEEDS_FORK, held_elsewhere, in_child
from support.in_thread import GUARD_S, InThread
from turbosock import limits
from turbosock.errors import (
    Cancelled,
    ClientClosed,
    DeadlineError,
    InvalidOption,
    LimitError,
    QueueFull,
    StateError,
    TurbosockError,
)
from turbosock.pool.queue_handle import Handle
from turbosock.pool.request_queue import Priority, RequestQueue, StopReport
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.latch import Latch

CRITICAL, HIGH, NORMAL, LOW = Priority
A_MOMENT_S = 1e-6


class Calls:
    """What a queue performs: notes each call, and holds those named "hold..." until `release()`.

    Attributes:
        made: the names, in the order of their beginning.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.began: plain_queue.Queue[str] = plain_queue.Queue()
        self._released = threading.Event()

    def __call__(self, name: str) -> str:
        self.made.append(name)
        self.began.put(name)
        if name.startswith("hold"):
            assert self._released.wait(GUARD_S), "nobody released the call"
        if name.startswith("fail"):
            raise ValueError(name)
        return name.upper()

    def await_begin(self, name: str) -> None:
        assert self.began.get(timeout=GUARD_S) == name

    def release(self) -> None:
        self._released.set()


class WatchedQueue(RequestQueue[str]):
    """A queue that tells when a caller waits for room, and when one waits for a result."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.entered: plain_queue.Queue[str] = plain_queue.Queue()
        self.watched: plain_queue.Queue[str] = plain_queue.Queue()
        super().__init__(*args, **options)

    def _enter(self, handle: Handle[str], wait_s: float) -> Latch | None:
        event = super()._enter(handle, wait_s)
        if event is not None:
            self.entered.put(str(handle.args[0]))
        return event

    def watch(self, handle: Handle[str]) -> Latch | None:
        event = super().watch(handle)
        if event is not None:
            self.watched.put("waits")
        return event


class Token:
    """Ends a call that waits for it."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()


@pytest.fixture
def calls() -> Iterator[Calls]:
    made = Calls()
    yield made
    made.release()


def held_queue(calls: Calls, **options: Any) -> WatchedQueue:
    """A started queue of one worker, which holds a call."""
    made = WatchedQueue(calls, workers=1, **options)
    made.start()
    made.submit("hold")
    calls.await_begin("hold")
    return made


def until(holds: Callable[[], object]) -> None:
    """Let other threads run until it does."""
    ends_s = time.monotonic() + GUARD_S
    while not holds():
        assert time.monotonic() < ends_s, "it never did"
        os.sched_yield()


# Running


def test_result_is_what_the_call_returned() -> None:
    with RequestQueue(lambda a, *, b: a + b, workers=2) as queue:
        handles = [queue.submit(number, b=1000) for number in range(50)]
        assert [handle.result(GUARD_S) for handle in handles] == [number + 1000 for number in range(50)]
        assert all(handle.done and not handle.cancelled for handle in handles)


def test_exception_of_the_call_is_raised_by_result_and_returned_by_exception(calls: Calls) -> None:
    with RequestQueue(calls) as queue:
        failed, good = queue.submit("fail"), queue.submit("good")
        with pytest.raises(ValueError, match="fail"):
            failed.result(GUARD_S)
        assert isinstance(failed.exception(), ValueError)
        assert good.exception(GUARD_S) is None
        assert queue.stats()[5:8] == (1, 1, 0)


def test_requests_submitted_before_start_run_after_it_by_priority(calls: Calls) -> None:
    queue = RequestQueue(calls, workers=1)
    for priority in (LOW, NORMAL, HIGH, CRITICAL):
        for number in (1, 2):
            queue.submit(f"{priority.name} {number}", priority=priority)
    assert calls.made == []
    queue.start()
    queue.stop()
    # How many had ended when stop() began, and are not of its report, is the scheduler's.
    assert (queue.stats().completed, queue.stats().cancelled) == (8, 0)
    assert calls.made == [f"{each.name} {number}" for each in Priority for number in (1, 2)]


def test_aged_low_request_goes_before_a_fresh_critical_one(calls: Calls) -> None:
    clock = ManualClock()
    queue = held_queue(calls, ageing_s=10, clock=clock)
    queue.submit("low", priority=LOW)
    clock.advance(30)
    queue.submit("critical", priority=CRITICAL)
    calls.release()
    queue.stop()
    assert calls.made == ["hold", "low", "critical"]


def test_workers_perform_at_once() -> None:
    barrier = threading.Barrier(4)
    with RequestQueue(lambda: barrier.wait(GUARD_S), workers=4) as queue:
        handles = [queue.submit() for _ in range(4)]
        assert sorted(handle.result(GUARD_S) for handle in handles) == [0, 1, 2, 3]


def test_ended_request_keeps_neither_its_arguments_nor_its_worker_the_answer() -> None:
    class Answer:
        pass

    with RequestQueue(lambda argument: Answer()) as queue:
        argument = Answer()
        seen = weakref.ref(argument)
        handle = queue.submit(argument)
        answer = weakref.ref(handle.result(GUARD_S))
        del argument
        gc.collect()
        assert seen() is None
        del handle
        # The worker lets go of it on its way to the next wait.
        until(lambda: answer() is None)


def test_failed_request_is_freed_without_the_garbage_collector() -> None:
    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    with RequestQueue(fail) as queue:
        handle = queue.submit()
        error = weakref.ref(handle.exception(GUARD_S) or Failure())
        queue.stop()
        assert error() is not None
        gc.disable()
        try:
            del handle
            assert error() is None
        finally:
            gc.enable()


# Starting


def test_start_called_by_many_threads_starts_the_workers_once(calls: Calls) -> None:
    queue = RequestQueue(calls, workers=3, name="start test")
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait(GUARD_S)
        queue.start()

    for starter in [InThread(start) for _ in range(8)]:
        assert starter.outcome() is None
    names = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("start test"))
    assert names == ["start test 1", "start test 2", "start test 3"]
    assert queue.stats().workers == 3
    queue.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("start test")]


def test_start_after_stop_is_refused(calls: Calls) -> None:
    queue = RequestQueue(calls)
    queue.stop()
    with pytest.raises(ClientClosed, match=r"start\(\).*stopped"):
        queue.start()


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_start_that_gets_too_few_threads_ends_everything(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    queue = RequestQueue(calls, workers=4)
    handle = queue.submit("a")
    start = threading.Thread.start

    def fail_third(thread: threading.Thread) -> None:
        if thread.name.endswith(" 3"):
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_third)
    with pytest.raises(LimitError if isinstance(error, RuntimeError) else KeyboardInterrupt):
        queue.start()
    assert isinstance(handle.exception(0), ClientClosed)
    with pytest.raises(ClientClosed, match="could be started"):
        queue.submit("b")
    assert queue.stop() == (1, 0, 0, 0)
    assert calls.made == []
    assert queue.stats().workers == 0


# Room


def test_full_queue_refuses_at_once_and_names_its_bound(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=2, name="small")
    queue.submit("a")
    queue.submit("b")
    with pytest.raises(QueueFull, match=r"'small' is full: 2 requests.*max_pending"):
        queue.submit("c")
    assert queue.stats().refused == 1
    calls.release()
    queue.stop()
    assert calls.made == ["hold", "a", "b"]


def test_full_queue_refuses_after_the_wait_for_room(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=1)
    queue.submit("a")
    with pytest.raises(QueueFull, match="after 1e-06 s"):
        queue.submit("b", wait_s=A_MOMENT_S)
    assert queue.stats()[:3] == (1, 1, 0)
    calls.release()
    queue.stop()
    assert calls.made == ["hold", "a"]


def test_callers_that_wait_for_room_are_let_in_by_priority_then_in_order(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=1)
    queue.submit("a")
    waiting = []
    for name, priority in (("low", LOW), ("first", NORMAL), ("second", NORMAL), ("critical", CRITICAL)):
        waiting.append(InThread(functools.partial(queue.submit, name, priority=priority, wait_s=GUARD_S)))
        assert queue.entered.get(timeout=GUARD_S) == name
    assert queue.stats().waiting == 4
    calls.release()
    for caller in waiting:
        assert isinstance(caller.outcome().result(GUARD_S), str)
    queue.stop()
    assert calls.made == ["hold", "a", "critical", "first", "second", "low"]


def test_room_goes_to_who_waits_and_not_to_who_comes_by(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=1)
    pending = queue.submit("a")
    caller = InThread(lambda: queue.submit("b", wait_s=GUARD_S))
    queue.entered.get(timeout=GUARD_S)
    assert pending.cancel()
    with pytest.raises(QueueFull):
        queue.submit("c", priority=CRITICAL)
    assert caller.outcome().priority is NORMAL
    calls.release()
    queue.stop()
    assert calls.made == ["hold", "b"]


def test_callers_that_wait_for_room_are_bounded(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_QUEUE_SUBMITTERS", 1)
    queue = held_queue(calls, max_pending=1)
    queue.submit("a")
    caller = InThread(lambda: queue.submit("b", wait_s=GUARD_S))
    queue.entered.get(timeout=GUARD_S)
    with pytest.raises(QueueFull):
        queue.submit("c", wait_s=GUARD_S)
    assert queue.stats()[:3] == (1, 1, 1)
    assert queue.stats().refused == 1
    queue.stop(drain=False, timeout_s=0)
    assert isinstance(caller.outcome(), ClientClosed)


def test_stop_wakes_callers_that_wait_for_room(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=1)
    queue.submit("a")
    callers = [InThread(lambda: queue.submit("b", wait_s=GUARD_S)) for _ in range(3)]
    for _ in callers:
        queue.entered.get(timeout=GUARD_S)
    queue.stop(timeout_s=0)
    for caller in callers:
        assert isinstance(caller.outcome(), ClientClosed)
        assert "submit()" in str(caller.outcome())
    assert queue.stats().waiting == 0


def test_interrupted_caller_that_waits_for_room_leaves_it_to_the_next(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A real signal that comes just before the wait is seen after it only: Python has no way to wait for both.
    def interrupt(_latch: Latch, _timeout_s: float) -> bool:
        raise KeyboardInterrupt

    queue = held_queue(calls, max_pending=1)
    pending = queue.submit("a")
    with monkeypatch.context() as patch:
        patch.setattr(Latch, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.submit("interrupted", wait_s=GUARD_S)
    assert queue.entered.get(timeout=GUARD_S) == "interrupted"
    assert queue.stats()[:3] == (1, 1, 0)
    caller = InThread(lambda: queue.submit("next", wait_s=GUARD_S))
    assert queue.entered.get(timeout=GUARD_S) == "next"
    pending.cancel()
    assert isinstance(caller.outcome(), Handle)
    calls.release()
    queue.stop()
    assert calls.made == ["hold", "next"]


def test_caller_interrupted_after_it_was_let_in_takes_its_request_back(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = held_queue(calls)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "_on_accepted", interrupt)
    with pytest.raises(KeyboardInterrupt):
        queue.submit("a")
    assert queue.stats()[:3] == (0, 1, 0)
    calls.release()
    queue.stop()
    assert calls.made == ["hold"]


# Handles


def test_result_that_does_not_come_in_time_says_how_far_it_is(calls: Calls) -> None:
    queue = held_queue(calls)
    pending = queue.submit("a")
    with pytest.raises(DeadlineError, match=r"still pending after 1e-06 s"):
        pending.result(A_MOMENT_S)
    with pytest.raises(TimeoutError, match="still pending after 0 s"):
        pending.exception(0)
    calls.release()
    assert pending.result() == "A"
    queue.stop()


def test_result_wakes_every_thread_that_waits(calls: Calls) -> None:
    queue = held_queue(calls)
    handle = queue.submit("a")
    # For longer than the guard: to be late is to fail.
    waiting = [InThread(lambda: handle.result(2 * GUARD_S)) for _ in range(4)]
    for _ in waiting:
        queue.watched.get(timeout=GUARD_S)
    calls.release()
    assert [each.outcome() for each in waiting] == ["A"] * 4
    queue.stop()


def test_result_without_a_time_waits_for_the_documented_one(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOTAL_TIMEOUT_S", A_MOMENT_S)
    queue = held_queue(calls)
    with pytest.raises(DeadlineError):
        queue.submit("a").result()
    queue.stop(drain=False, timeout_s=0)


def test_pending_request_cancelled_leaves_the_line(calls: Calls) -> None:
    queue = held_queue(calls)
    first, second = queue.submit("a"), queue.submit("b")
    waiting = InThread(lambda: first.result(GUARD_S))
    queue.watched.get(timeout=GUARD_S)
    assert first.cancel()
    assert (first.done, first.cancelled, second.done) == (True, True, False)
    assert isinstance(waiting.outcome(), Cancelled)
    assert isinstance(first.exception(), Cancelled)
    assert first.cancel()
    calls.release()
    assert second.result(GUARD_S) == "B"
    assert not second.cancel()
    assert not second.cancelled
    queue.stop()
    assert calls.made == ["hold", "b"]


def test_running_request_without_a_token_runs_on(calls: Calls) -> None:
    queue = WatchedQueue(calls, workers=1)
    queue.start()
    handle = queue.submit("hold")
    calls.await_begin("hold")
    assert not handle.cancel()
    calls.release()
    assert handle.result(GUARD_S) == "HOLD"
    assert not handle.cancelled
    queue.stop()


def waits_for_its_token(*, cancel: Token, began: threading.Event, ends_well: bool = False) -> str:
    began.set()
    assert cancel.cancelled.wait(GUARD_S)
    if ends_well:
        return "well"
    raise Cancelled("as asked")


@pytest.mark.parametrize("ends_well", [False, True])
def test_running_request_with_a_token_is_told_to_end(ends_well: bool) -> None:
    began = threading.Event()
    with RequestQueue(waits_for_its_token, cancel_token=Token) as queue:
        handle = queue.submit(began=began, ends_well=ends_well)
        assert began.wait(GUARD_S)
        assert handle.cancel()
        assert (handle.exception(GUARD_S) is None) is ends_well
        assert handle.cancelled is not ends_well
        assert queue.stats()[5:8] == (int(ends_well), 0, int(not ends_well))


def test_token_of_the_callers_own_is_refused_beside_the_queues(calls: Calls) -> None:
    queue: RequestQueue[str] = RequestQueue(calls, cancel_token=Token)
    with pytest.raises(InvalidOption, match="cancel, cancel_token"):
        queue.submit("a", cancel=Token())
    assert queue.stats().submitted == 0
    queue.stop()


def test_request_that_waits_for_itself_is_told_so() -> None:
    handles: plain_queue.Queue[Handle[object]] = plain_queue.Queue()

    def wait_for_self() -> object:
        return handles.get(timeout=GUARD_S).result()

    with RequestQueue(wait_for_self) as queue:
        handle = queue.submit()
        handles.put(handle)
        with pytest.raises(StateError, match="waits for its own result"):
            handle.result(GUARD_S)


def test_waited_counts_from_submit_to_begin_or_end_or_now(calls: Calls) -> None:
    clock = ManualClock(5)
    queue = held_queue(calls, clock=clock)
    begins, ends = queue.submit("a"), queue.submit("b")
    clock.advance(ns=7)
    assert (begins.waited_ns, ends.waited_ns) == (7, 7)
    ends.cancel()
    clock.advance(ns=1)
    calls.release()
    begins.result(GUARD_S)
    clock.advance(ns=100)
    assert (begins.waited_ns, ends.waited_ns) == (8, 7)
    queue.stop()


def test_handle_shows_its_priority_and_state(calls: Calls) -> None:
    queue = held_queue(calls)
    handle = queue.submit("a", priority=HIGH)
    assert (repr(handle), handle.priority) == ("<Handle HIGH pending>", HIGH)
    assert repr(queue) == "<WatchedQueue 'requests' open pending=1 running=1>"
    queue.stop(drain=False, timeout_s=0)
    assert repr(handle) == "<Handle HIGH done>"


# The end


def test_stop_completes_what_is_in_line_and_counts_it(calls: Calls) -> None:
    queue = held_queue(calls)
    handles = [queue.submit(name) for name in ("a", "fail", "c")]
    stopper = InThread(queue.stop)
    # What ends before that is not counted.
    until(lambda: queue.closed)
    calls.release()
    assert stopper.outcome() == StopReport(completed=4, cancelled=0, running=0, pending=0)
    assert [handle.done for handle in handles] == [True] * 3
    assert queue.stats().workers == 0


def test_stop_without_drain_cancels_what_is_in_line_and_waits_for_what_runs(calls: Calls) -> None:
    queue = held_queue(calls)
    handles = [queue.submit(name) for name in "abc"]
    stopper = InThread(lambda: queue.stop(drain=False, timeout_s=GUARD_S))
    assert all(isinstance(handle.exception(GUARD_S), Cancelled) for handle in handles)
    calls.release()
    assert stopper.outcome() == (1, 3, 0, 0)
    assert calls.made == ["hold"]


def test_stop_whose_time_is_over_cancels_what_is_in_line_and_reports_what_runs(calls: Calls) -> None:
    queue = held_queue(calls)
    handles = [queue.submit(name) for name in "abc"]
    assert queue.stop(timeout_s=A_MOMENT_S) == (0, 3, 1, 0)
    assert all(handle.cancelled for handle in handles)
    calls.release()
    assert queue.stop(timeout_s=GUARD_S) == (1, 3, 0, 0)


@pytest.mark.parametrize(("drain", "timeout_s"), [(False, GUARD_S), (True, A_MOMENT_S)])
def test_stop_ends_running_requests_by_their_tokens(drain: bool, timeout_s: float) -> None:
    began = threading.Event()
    queue = RequestQueue(waits_for_its_token, cancel_token=Token)
    queue.start()
    handle = queue.submit(began=began)
    assert began.wait(GUARD_S)
    queue.stop(drain, timeout_s)
    assert isinstance(handle.exception(GUARD_S), Cancelled)
    assert queue.stop(drain, GUARD_S) == (0, 1, 0, 0)


def test_stop_before_start_cancels_what_is_in_line(calls: Calls) -> None:
    queue = RequestQueue(calls)
    handle = queue.submit("a")
    assert queue.stop() == (0, 1, 0, 0)
    assert handle.cancelled
    assert calls.made == []


def test_stop_without_drain_ends_an_earlier_stop(calls: Calls) -> None:
    queue = held_queue(calls)
    handles = [queue.submit(name) for name in "ab"]
    first = InThread(lambda: queue.stop(timeout_s=GUARD_S))
    until(lambda: queue.closed)
    second = InThread(lambda: queue.stop(drain=False, timeout_s=GUARD_S))
    assert all(isinstance(handle.exception(GUARD_S), Cancelled) for handle in handles)
    calls.release()
    assert first.outcome() == second.outcome() == (1, 2, 0, 0)


def test_stop_inside_a_call_returns_at_once_and_the_rest_is_completed(calls: Calls) -> None:
    def perform(name: str) -> object:
        calls.made.append(name)
        return queue.stop(timeout_s=GUARD_S) if name == "stop" else name

    queue: RequestQueue[object] = RequestQueue(perform, workers=1)
    handles = [queue.submit(name) for name in ("stop", "a", "b")]
    queue.start()
    assert handles[0].result(GUARD_S) == (0, 0, 1, 2)
    assert handles[2].result(GUARD_S) == "b"
    assert queue.stop() == (3, 0, 0, 0)


def test_stop_inside_a_call_cancels_the_rest_when_its_time_is_over() -> None:
    clock = ManualClock()

    def perform(name: str) -> object:
        if name != "stop":
            return name
        report = queue.stop(timeout_s=5)
        clock.advance(5)
        return report

    queue: RequestQueue[object] = RequestQueue(perform, workers=1, clock=clock)
    handles = [queue.submit(name) for name in ("stop", "a", "b")]
    queue.start()
    assert handles[0].result(GUARD_S) == (0, 0, 1, 2)
    assert isinstance(handles[1].exception(GUARD_S), Cancelled)
    assert queue.stop() == (1, 2, 0, 0)


def test_with_block_left_by_an_error_cancels_what_is_in_line(calls: Calls) -> None:
    queue = RequestQueue(calls, workers=1)
    handles: list[Handle[str]] = []

    def body() -> None:
        with queue:
            handles.append(queue.submit("hold"))
            calls.await_begin("hold")
            handles.append(queue.submit("a"))
            raise OSError("the body failed")

    block = InThread(body)
    until(lambda: len(handles) == 2)
    assert isinstance(handles[1].exception(GUARD_S), Cancelled)
    calls.release()
    assert isinstance(block.outcome(), OSError)
    assert calls.made == ["hold"]


def test_stopped_queue_refuses_and_stops_again(calls: Calls) -> None:
    with RequestQueue(calls, name="ended") as queue:
        queue.submit("a")
    with pytest.raises(ClientClosed, match=r"submit\(\): the queue 'ended' is closed, because it was stopped"):
        queue.submit("b")
    report = queue.stop()
    assert queue.stop(drain=False) == report
    assert queue.closed


# Threads that die


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | None]:
    """What ended threads, as threading.excepthook was told."""
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_value))
    return told


@pytest.mark.parametrize("cause", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_worker_ended_by_its_call_is_replaced(cause: BaseException, deaths: list[BaseException | None]) -> None:
    def perform(name: str) -> str:
        if name == "die":
            raise cause
        return threading.current_thread().name

    with RequestQueue(perform, workers=1, name="w") as queue:
        died, alive = queue.submit("die"), queue.submit("live")
        with pytest.raises(TurbosockError, match=type(cause).__name__) as caught:
            died.result(GUARD_S)
        assert (caught.value.code, caught.value.__cause__) == ("interrupted", cause)
        assert alive.result(GUARD_S) == "w 2"
        assert queue.stats().workers == 1
        # A thread tells of its death when the next one is there already.
        until(lambda: deaths)
    assert deaths == [cause]


def test_worker_that_dies_during_the_drain_is_replaced(deaths: list[BaseException | None], calls: Calls) -> None:
    def perform(name: str) -> str:
        calls(name)
        if name == "die":
            raise SystemExit
        return name

    queue = RequestQueue(perform, workers=1)
    for name in ("hold", "die", "last"):
        queue.submit(name)
    queue.start()
    stopper = InThread(queue.stop)
    until(lambda: queue.closed)
    calls.release()
    assert stopper.outcome() == (3, 0, 0, 0)
    assert calls.made == ["hold", "die", "last"]
    until(lambda: deaths)
    assert len(deaths) == 1


def test_last_worker_that_cannot_be_replaced_ends_the_queue(
    deaths: list[BaseException | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_die = threading.Event()

    def die() -> None:
        assert may_die.wait(GUARD_S)
        raise SystemExit

    queue = RequestQueue(die, workers=1)
    queue.start()
    handles = [queue.submit() for _ in range(3)]

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    may_die.set()
    assert isinstance(handles[2].exception(GUARD_S), ClientClosed)
    assert "last worker died" in str(handles[1].exception(GUARD_S))
    with pytest.raises(ClientClosed, match="last worker died"):
        queue.submit()
    assert queue.stop() == (2, 0, 0, 0)
    assert queue.stats().workers == 0
    # While the hook is the test's.
    until(lambda: deaths)


# Forks


def check_closed_by_fork(queue: RequestQueue[Any], *handles: Handle[Any]) -> None:
    for handle in handles:
        error = handle.exception(0)
        assert isinstance(error, ClientClosed), error
        assert "forked" in str(error), error
        assert not handle.cancel()
    for call in (lambda: queue.submit("x"), queue.start):
        with pytest.raises(ClientClosed, match="forked"):
            call()
    assert queue.stop(timeout_s=GUARD_S) == (0, 0, 0, 0)
    stats = queue.stats()
    assert stats[:4] == (0, 0, 0, 0), stats
    assert stats.submitted == stats.completed + stats.failed + stats.cancelled, stats


@NEEDS_FORK
def test_fork_with_requests_in_every_state_closes_the_childs_copy_alone(calls: Calls) -> None:
    queue = held_queue(calls, max_pending=2)
    handles = [queue.submit("a"), queue.submit("b")]
    caller = InThread(lambda: queue.submit("c", wait_s=GUARD_S))
    queue.entered.get(timeout=GUARD_S)
    waiting = InThread(lambda: handles[0].result(GUARD_S))
    queue.watched.get(timeout=GUARD_S)

    in_child(lambda: check_closed_by_fork(queue, *handles))

    calls.release()
    assert waiting.outcome() == "A"
    assert caller.outcome().result(GUARD_S) == "C"
    assert queue.stop() == (0, 0, 0, 0)
    assert queue.stats().completed == 4


@NEEDS_FORK
@pytest.mark.parametrize("started", [False, True])
def test_fork_of_a_queue_without_requests_closes_the_childs_copy(calls: Calls, started: bool) -> None:
    queue = RequestQueue(calls)
    if started:
        queue.start()
    in_child(lambda: check_closed_by_fork(queue))
    handle = queue.submit("a")
    queue.start()
    assert handle.result(GUARD_S) == "A"
    queue.stop()


@NEEDS_FORK
def test_fork_while_another_thread_holds_the_lock_does_not_hang_the_child(calls: Calls) -> None:
    queue = held_queue(calls)
    handle = queue.submit("a")
    with held_elsewhere(queue._lock):
        in_child(lambda: check_closed_by_fork(queue, handle))
    queue.stop(drain=False, timeout_s=0)


@NEEDS_FORK
def test_fork_does_not_wake_in_the_child_who_waits_in_the_parent(calls: Calls) -> None:
    parent = os.getpid()

    class HeldLatch(Latch):
        """What a thread of the parent is just passing."""

        def set(self) -> None:
            assert os.getpid() == parent, "the gate is held by nobody here"
            super().set()

    queue = held_queue(calls)
    handle = queue.submit("a")
    handle.event = HeldLatch()
    in_child(lambda: check_closed_by_fork(queue, handle))
    queue.stop(drain=False, timeout_s=0)


@NEEDS_FORK
def test_fork_inside_a_call_ends_the_request_in_the_child_and_not_in_the_parent() -> None:
    def fork() -> str:
        # The check runs in the only thread that the child has: a copy of the worker.
        in_child(lambda: check_closed_by_fork(queue))
        return "parent"

    with RequestQueue(fork, workers=2) as queue:
        assert queue.submit().result(GUARD_S) == "parent"


@NEEDS_FORK
def test_worker_copied_by_a_fork_inside_its_call_ends_in_the_child() -> None:
    parent = os.getpid()
    children: list[int] = []
    handles: plain_queue.Queue[Handle[str]] = plain_queue.Queue()

    def fork() -> str:
        mine = handles.get(timeout=GUARD_S)
        handles.put(mine)
        child = os.fork()
        if child:
            children.append(child)
            return "parent"
        # The thread ends, and with it the only thread of this process: exit code 0 says that it found its end.
        signal.alarm(int(GUARD_S))
        return "child"

    class EndsInChild(RequestQueue[str]):
        def _worker_ended(self) -> None:
            super()._worker_ended()
            if os.getpid() != parent:
                error = handles.get_nowait().exception(0)
                stats = self.stats()
                ended = stats.completed + stats.failed
                os._exit(0 if not stats.workers and ended == 1 and isinstance(error, ClientClosed) else 1)

    with EndsInChild(fork, workers=1) as queue:
        handle = queue.submit()
        handles.put(handle)
        assert handle.result(GUARD_S) == "parent"
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
        assert queue.stats().workers == 1


# Settings


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"perform": None}, "perform=None"),
        ({"workers": 0}, "workers=0"),
        ({"workers": limits.MAX_QUEUE_WORKERS + 1}, "workers"),
        ({"workers": True}, "workers"),
        ({"max_pending": 0}, "max_pending=0"),
        ({"max_pending": 1.5}, "max_pending"),
        ({"ageing_s": 0}, "ageing_s=0"),
        ({"ageing_s": -1}, "ageing_s=-1"),
        ({"cancel_token": 1}, "cancel_token=1"),
        ({"name": ""}, "name=''"),
        ({"name": None}, "name=None"),
    ],
)
def test_queue_with_impossible_settings_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        RequestQueue(**{"perform": print, **options})


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf"), "1", False, True, 10**12])
def test_time_that_is_none_is_refused_wherever_one_is_given(calls: Calls, value: Any) -> None:
    queue = RequestQueue(calls)
    handle = queue.submit("a")
    with pytest.raises(InvalidOption, match="wait_s"):
        queue.submit("b", wait_s=value)
    with pytest.raises(InvalidOption, match="timeout_s"):
        handle.result(value)
    with pytest.raises(InvalidOption, match="timeout_s"):
        queue.stop(timeout_s=value)
    assert not queue.closed
    with pytest.raises(InvalidOption, match="drain=1"):
        queue.stop(drain=1)  # type: ignore[arg-type]  # what the test is about
    with pytest.raises(InvalidOption, match="priority='HIGH'"):
        queue.submit("b", priority="HIGH")  # type: ignore[arg-type]  # what the test is about
    assert queue.stats().submitted == 1
    queue.stop()


def test_queue_cannot_be_pickled(calls: Calls) -> None:
    with pytest.raises(StateError, match="pickled"):
        pickle.dumps(RequestQueue(calls))


# Many threads


def test_many_submitters_and_cancels_lose_and_repeat_nothing() -> None:
    performed: plain_queue.SimpleQueue[tuple[int, int]] = plain_queue.SimpleQueue()
    handles: plain_queue.SimpleQueue[Handle[tuple[int, int]]] = plain_queue.SimpleQueue()

    def perform(number: int, index: int) -> tuple[int, int]:
        performed.put((number, index))
        return number, index

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with RequestQueue(perform, workers=4, max_pending=5) as queue:

            def submit(number: int) -> None:
                for index in range(100):
                    priority = Priority(index % len(Priority))
                    handle = queue.submit(number, index, priority=priority, wait_s=GUARD_S)
                    handles.put(handle)
                    if index % 7 == 0:
                        handle.cancel()

            submitters = [InThread(functools.partial(submit, number)) for number in range(6)]
            assert [each.outcome() for each in submitters] == [None] * 6
    finally:
        sys.setswitchinterval(interval)
    ended = [handles.get() for _ in range(600)]
    assert all(handle.done for handle in ended)
    seen = [performed.get() for _ in range(performed.qsize())]
    assert len(set(seen)) == len(seen), "performed twice"
    assert sorted(seen) == sorted(handle.result(0) for handle in ended if not handle.cancelled)
    stats = queue.stats()
    assert stats[:5] == (0, 0, 0, 0, 600)
    assert (stats.completed, stats.cancelled) == (len(seen), 600 - len(seen))
