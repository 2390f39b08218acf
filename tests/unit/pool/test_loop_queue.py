"""The request queue of a tick: what one poll begins and notices, whose thread may wait, and every way to end."""

from __future__ import annotations

import queue as plain_queue
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.in_thread import GUARD_S, InThread
from turbosock import limits
from turbosock.errors import Cancelled, ClientClosed, InvalidOption, QueueFull, ReadError, StateError, TurbosockError
from turbosock.pool.loop_queue import LoopQueue
from turbosock.pool.priority_line import Priority
from turbosock.pool.queue_handle import Handle
from turbosock.reactor.clock import ManualClock
from turbosock.reactor.latch import Latch

CRITICAL, HIGH, NORMAL, LOW = Priority


class FakeExchange:
    """What was begun; the test ends it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = False
        self.error: BaseException | None = None
        self.cancels = 0

    def end(self, error: BaseException | None = None) -> None:
        self.error = error
        self.done = True

    def cancel(self) -> None:
        self.cancels += 1
        if not self.done:
            self.end(Cancelled("the exchange was cancelled"))


class FakeLoop:
    """Begins exchanges; some end as they begin, or do not begin."""

    def __init__(self) -> None:
        self.exchanges: list[FakeExchange] = []
        self.wakeups = 0

    def request(self, name: str, raises: BaseException | None = None, *, done: bool = False) -> FakeExchange:
        if raises is not None:
            raise raises
        exchange = FakeExchange(name)
        exchange.done = done
        self.exchanges.append(exchange)
        return exchange

    def wakeup(self) -> None:
        self.wakeups += 1

    @property
    def begun(self) -> list[str]:
        return [exchange.name for exchange in self.exchanges]


class WatchedQueue(LoopQueue[FakeExchange]):
    """A queue that tells when a caller waits for room, when one waits for a result, and when a stop begins."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.events: plain_queue.Queue[str] = plain_queue.Queue()
        super().__init__(*args, **options)

    def _enter(self, handle: Handle[FakeExchange], wait_s: float) -> Latch | None:
        event = super()._enter(handle, wait_s)
        if event is not None:
            self.events.put("waits for room")
        return event

    def watch(self, handle: Handle[FakeExchange]) -> Latch | None:
        event = super().watch(handle)
        if event is not None:
            self.events.put("waits for a result")
        return event

    def _on_stop(self) -> None:
        super()._on_stop()
        self.events.put("stops")

    def await_event(self, name: str) -> None:
        assert self.events.get(timeout=GUARD_S) == name


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def queue_of(loop: FakeLoop, *names: str, **options: Any) -> tuple[WatchedQueue, list[Handle[FakeExchange]]]:
    """A queue with requests in line."""
    queue = WatchedQueue(loop.request, **options)
    return queue, [queue.submit(name) for name in names]


# The tick


def test_poll_begins_by_priority_as_many_as_may_be_in_flight(loop: FakeLoop) -> None:
    queue, _ = queue_of(loop, "a", "b", max_in_flight=2)
    queue.submit("c", priority=CRITICAL)
    assert loop.begun == []
    assert queue.poll() == 3
    assert loop.begun == ["c", "a"]
    assert queue.poll() == 3
    loop.exchanges[0].end()
    assert queue.poll() == 2
    assert loop.begun == ["c", "a", "b"]


def test_result_is_the_exchange_once_poll_noticed_its_end(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")
    queue.poll()
    assert not handle.done
    loop.exchanges[0].end()
    assert queue.poll() == 0
    assert handle.result() is loop.exchanges[0]
    assert queue.stats()[4:8] == (1, 1, 0, 0)


def test_error_of_the_exchange_is_the_error_of_the_handle(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")
    queue.poll()
    loop.exchanges[0].end(ReadError("reset"))
    queue.poll()
    with pytest.raises(ReadError):
        handle.result()
    assert queue.stats()[4:8] == (1, 0, 1, 0)


def test_request_that_does_not_begin_fails_and_takes_no_place(loop: FakeLoop) -> None:
    queue = LoopQueue(loop.request, max_in_flight=1)
    failed = queue.submit("a", InvalidOption("no such thing"))
    queue.submit("b")
    queue.poll()
    assert isinstance(failed.exception(), InvalidOption)
    queue.poll()
    assert loop.begun == ["b"]


def test_begin_that_returns_no_exchange_fails_its_request() -> None:
    queue: LoopQueue[Any] = LoopQueue(lambda: "no exchange")
    handle = queue.submit()
    assert queue.poll() == 0
    assert isinstance(handle.exception(), AttributeError)


def test_interruption_that_strikes_begin_ends_its_request_and_goes_on(loop: FakeLoop) -> None:
    queue = LoopQueue(loop.request)
    struck, good = queue.submit("a", KeyboardInterrupt()), queue.submit("b")
    with pytest.raises(KeyboardInterrupt):
        queue.poll()
    with pytest.raises(TurbosockError, match="KeyboardInterrupt"):
        struck.result()
    assert queue.poll() == 1
    assert not good.done


def test_poll_begins_no_more_than_may_be_in_flight_even_if_they_end_at_once(loop: FakeLoop) -> None:
    queue = LoopQueue(loop.request, max_in_flight=3)
    for number in range(7):
        queue.submit(str(number), done=True)
    assert [queue.poll() for _ in range(3)] == [4, 1, 0]


def test_aged_low_request_begins_before_a_fresh_critical_one(loop: FakeLoop) -> None:
    clock = ManualClock()
    queue = LoopQueue(loop.request, ageing_s=1, max_in_flight=1, clock=clock)
    queue.submit("low", priority=LOW)
    clock.advance(3)
    queue.submit("critical", priority=CRITICAL)
    queue.drain(clock.now_ns())
    assert loop.begun == ["low"]


def test_poll_inside_poll_is_refused() -> None:
    def begin() -> FakeExchange:
        queue.poll()
        raise AssertionError("poll() went on")

    queue = LoopQueue(begin)
    handle = queue.submit()
    assert queue.poll() == 0
    assert isinstance(handle.exception(), StateError)


# Threads


def test_submit_wakes_the_loop_from_any_thread(loop: FakeLoop) -> None:
    queue = LoopQueue(loop.request, wakeup=loop.wakeup)
    assert isinstance(InThread(lambda: queue.submit("a")).outcome(), Handle)
    assert loop.wakeups == 1
    queue.poll()
    assert loop.begun == ["a"]


def test_result_in_another_thread_waits_for_poll(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")
    queue.poll()
    waiting = InThread(lambda: handle.result(GUARD_S))
    queue.await_event("waits for a result")
    loop.exchanges[0].end()
    queue.poll()
    assert waiting.outcome() is loop.exchanges[0]


def test_unfinished_result_in_the_loops_own_thread_is_refused(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")
    with pytest.raises(StateError, match="pending, and this thread is the loop's"):
        handle.result()
    queue.poll()
    with pytest.raises(StateError, match="running, and this thread is the loop's"):
        handle.exception(GUARD_S)
    loop.exchanges[0].end()
    assert handle.result() is loop.exchanges[0]
    assert queue.poll() == 0


class AskingExchange:
    """An exchange of the user's own, which has another thread look at the queue whenever it is asked something."""

    def __init__(self) -> None:
        self.queue: LoopQueue[AskingExchange] | None = None
        self.ended = False

    def _ask(self) -> None:
        if self.queue is not None:
            InThread(self.queue.stats).outcome()

    @property
    def done(self) -> bool:
        self._ask()
        return self.ended

    @property
    def error(self) -> BaseException | None:
        self._ask()
        return None

    def cancel(self) -> None:
        self._ask()


def test_exchange_is_asked_whether_it_is_done_without_the_lock() -> None:
    exchange = AskingExchange()
    exchange.queue = queue = LoopQueue(lambda: exchange)
    handle = queue.submit()
    queue.poll()
    with pytest.raises(StateError):
        handle.result()
    exchange.ended = True
    assert handle.result() is exchange


def test_loops_own_thread_is_the_one_that_polled_last(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")

    def poll_and_ask() -> object:
        queue.poll()
        return handle.result(GUARD_S)

    assert isinstance(InThread(poll_and_ask).outcome(), StateError)
    loop.exchanges[0].end()
    poller = InThread(queue.poll)
    assert handle.result(GUARD_S) is loop.exchanges[0]
    assert poller.outcome() == 0


def test_caller_in_another_thread_waits_for_room(loop: FakeLoop) -> None:
    queue, _ = queue_of(loop, "a", max_pending=1, wakeup=loop.wakeup)
    caller = InThread(lambda: queue.submit("b", wait_s=GUARD_S))
    queue.await_event("waits for room")
    queue.poll()
    assert isinstance(caller.outcome(), Handle)
    assert loop.wakeups == 2
    # It may have come while poll() was at it.
    queue.poll()
    assert loop.begun == ["a", "b"]


def test_loops_own_thread_does_not_wait_for_room(loop: FakeLoop) -> None:
    queue, _ = queue_of(loop, max_pending=1)
    queue.submit("a", wait_s=GUARD_S)
    with pytest.raises(StateError, match="full, and this thread is the one that drains it"):
        queue.submit("b", wait_s=GUARD_S)
    with pytest.raises(QueueFull):
        queue.submit("b")
    assert queue.stats()[:3] == (1, 0, 0)


def test_wakeup_that_fails_takes_the_request_back(loop: FakeLoop) -> None:
    def fail() -> None:
        raise OSError("no wake-up")

    queue = LoopQueue(loop.request, wakeup=fail)
    with pytest.raises(OSError, match="no wake-up"):
        queue.submit("a")
    assert queue.poll() == 0
    assert loop.begun == []


# Cancelling


def test_pending_request_cancelled_never_begins(loop: FakeLoop) -> None:
    queue, handles = queue_of(loop, "a", "b")
    assert InThread(handles[0].cancel).outcome()
    queue.poll()
    assert loop.begun == ["b"]
    assert handles[0].cancelled


def test_request_in_flight_cancelled_cancels_its_exchange(loop: FakeLoop) -> None:
    queue, (handle,) = queue_of(loop, "a")
    queue.poll()
    assert handle.cancel()
    assert loop.exchanges[0].cancels == 1
    assert queue.poll() == 0
    assert handle.cancelled
    assert queue.stats().cancelled == 1


def test_request_cancelled_while_it_begins_is_cancelled_then() -> None:
    loop = FakeLoop()

    def begin() -> FakeExchange:
        assert handle.cancel()
        return loop.request("a")

    queue = LoopQueue(begin)
    handle = queue.submit()
    queue.poll()
    queue.poll()
    assert loop.exchanges[0].cancels == 1
    assert handle.cancelled


# The end


def test_stop_in_the_loops_own_thread_leaves_the_rest_to_poll(loop: FakeLoop) -> None:
    queue, handles = queue_of(loop, "a", "b", max_in_flight=1)
    queue.poll()
    assert queue.stop() == (0, 0, 1, 1)
    with pytest.raises(ClientClosed):
        queue.submit("c")
    loop.exchanges[0].end()
    assert queue.poll() == 1
    loop.exchanges[1].end()
    assert queue.poll() == 0
    assert queue.stop() == (2, 0, 0, 0)
    assert not any(handle.cancelled for handle in handles)


def test_stop_in_the_loops_own_thread_ends_everything_when_its_time_is_over(loop: FakeLoop) -> None:
    clock = ManualClock()
    queue, handles = queue_of(loop, "a", "b", max_in_flight=1, clock=clock)
    queue.poll()
    queue.stop(timeout_s=5)
    clock.advance(5)
    assert queue.poll() == 0
    assert all(handle.cancelled for handle in handles)
    assert queue.stop() == (0, 2, 0, 0)


def test_stop_without_drain_cancels_lines_and_exchanges(loop: FakeLoop) -> None:
    queue, handles = queue_of(loop, "a", "b", max_in_flight=1)
    queue.poll()
    assert queue.stop(drain=False) == (0, 2, 0, 0)
    assert all(handle.cancelled for handle in handles)
    assert loop.begun == ["a"]


def test_stop_in_another_thread_waits_for_poll(loop: FakeLoop) -> None:
    queue, _ = queue_of(loop, "a", "b", max_in_flight=1, wakeup=loop.wakeup)
    queue.poll()
    stopper = InThread(lambda: queue.stop(timeout_s=GUARD_S))
    queue.await_event("stops")
    assert loop.wakeups == 3
    for number in (0, 1):
        loop.exchanges[number].end()
        queue.poll()
    assert stopper.outcome() == (2, 0, 0, 0)


def test_with_block_cancels_what_is_left(loop: FakeLoop) -> None:
    with LoopQueue(loop.request, max_in_flight=1) as queue:
        handles = [queue.submit(name) for name in "ab"]
        queue.poll()
    assert all(handle.cancelled for handle in handles)
    assert queue.closed


@NEEDS_FORK
def test_fork_closes_the_childs_copy_alone(loop: FakeLoop) -> None:
    queue, handles = queue_of(loop, "a", "b", max_in_flight=1)
    queue.poll()

    def use() -> None:
        for handle in handles:
            assert "forked" in str(handle.exception())
        assert queue.poll() == 0
        with pytest.raises(ClientClosed, match="forked"):
            queue.submit("c")
        assert queue.stop() == (0, 0, 0, 0)
        assert loop.exchanges[0].cancels == 0
        assert not queue._exchanges, "the child keeps what is the parent's"

    in_child(use)
    loop.exchanges[0].end()
    assert queue.poll() == 1
    assert handles[0].result() is loop.exchanges[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"begin": 1}, "begin=1"),
        ({"max_in_flight": 0}, "max_in_flight=0"),
        ({"max_in_flight": limits.MAX_QUEUED_EXCHANGES + 1}, "max_in_flight"),
        ({"wakeup": "now"}, "wakeup='now'"),
        ({"max_pending": 0}, "max_pending=0"),
        ({"ageing_s": -1}, "ageing_s=-1"),
        ({"name": 1}, "name=1"),
    ],
)
def test_queue_with_impossible_settings_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        LoopQueue(**{"begin": print, **options})
