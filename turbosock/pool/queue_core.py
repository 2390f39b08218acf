"""QueueCore: what a request queue does whoever drains it: admits, orders, cancels, settles, counts, and ends.

RequestQueue drains it with threads and LoopQueue with a tick; both take a handle, perform it in their way, and settle
it.

A full queue refuses, or lets the submitter wait in a second line of the same kind: room goes to who is first there,
never to who happens to come by. The age of a request counts from its `submit()`.

The end: from `stop()` on nothing is accepted. What is in line is run (drain) or cancelled; when the time is over, what
is left of it is cancelled. Where `stop()` must not wait, because it would wait for its own thread, that happens when
the next one is taken.

Invariants, under the lock: a handle is in `_submitters` (WAITING), in `_line` (PENDING), in `_running` (RUNNING) or in
none of them (DONE); somebody waits for room only while the line is full; submitted = completed + failed + cancelled +
pending + running. Nothing that the user gave is called under the lock, but finalizers may run anywhere, so it is
re-entrant.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Generic, NamedTuple, Protocol, TypeVar
from weakref import WeakSet

from turbosock import limits
from turbosock.config import check_count
from turbosock.errors import Cancelled, ClientClosed, InvalidOption, QueueFull, StateError
from turbosock.forks import renewed_in_child
from turbosock.pool.priority_line import Priority, PriorityLine, check_priority
from turbosock.pool.queue_handle import Handle, HandleState, check_wait, seconds_to_ns
from turbosock.reactor.clock import Clock
from turbosock.reactor.latch import Latch

T = TypeVar("T")

FORKED = "the process was forked, and what drains it is in the parent: make a new queue in the child"
STOPPED = "it was stopped: make a new queue"


class Cancels(Protocol):
    """Whatever ends a request that runs; any thread may call it."""

    def cancel(self) -> object:
        """End it soon; a second call does nothing more."""


class StopReport(NamedTuple):
    """What became of the requests that were in line or under way at the first `stop()`.

    `completed` ended by themselves, well or badly, and `cancelled` by being cancelled. `running` were still under way
    when this was made, and `pending` still in line, which happens only where `stop()` cannot wait.
    """

    completed: int
    cancelled: int
    running: int
    pending: int


class QueueStats(NamedTuple):
    """Counts of one queue.

    `pending` in line, `running` under way, `waiting` submitters that wait for room; `workers` threads alive; and since
    the beginning: `submitted` requests accepted, of which `completed` well, `failed` and `cancelled`; `refused`
    with QueueFull.
    """

    pending: int
    running: int
    waiting: int
    workers: int
    submitted: int
    completed: int
    failed: int
    cancelled: int
    refused: int


class QueueCore(Generic[T]):
    """The part of a request queue that knows neither threads nor ticks.

    Args:
        max_pending: requests in line, those under way not counted.
        ageing_s: see PriorityLine.
        name: for messages.
        clock: tells how long requests have waited; what blocks waits in real time.
    """

    def __init__(self, max_pending: int, ageing_s: float | None, name: str, clock: Clock) -> None:
        check_count("max_pending", max_pending, 1, limits.MAX_QUEUE_PENDING)
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"name={name!r}: give a str that is not empty")
        self.max_pending = max_pending
        self.name = name
        self.now_ns = clock.now_ns
        self._line: PriorityLine[Handle[T]] = PriorityLine(max_pending, ageing_s, name=f"queue {name!r}")
        self._submitters: PriorityLine[Handle[T]] = PriorityLine(
            limits.MAX_QUEUE_SUBMITTERS, ageing_s, name=f"line of callers that wait for room in the queue {name!r}"
        )
        # In the order in which they were begun.
        self._running: dict[Handle[T], None] = {}
        self._closed_because = ""
        self._deadline_ns: int | None = None
        self._submitted = self._completed = self._failed = self._cancelled = self._refused = 0
        # Completed and failed, and cancelled, at the first stop().
        self._at_stop = (0, 0)
        self._renew_locks()
        _queues.add(self)

    def _renew_locks(self) -> None:
        """Locks that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.RLock()
        # Told when nothing is left in line and under way.
        self._emptied = threading.Condition(self._lock)

    # What the two queues add

    def _on_pending(self) -> None:
        """A request stands in line; under the lock."""

    def _on_accepted(self) -> None:
        """A request was accepted; without the lock, in the thread that submitted it."""

    def _on_stopping(self) -> None:
        """Nothing is accepted any more; under the lock."""

    def _on_stop(self) -> None:
        """A stop() was asked for; without the lock."""

    def _check_arguments(self, kwargs: dict[str, object]) -> None:
        """Refuse arguments of a submit() that this queue gives itself."""

    def _prepare(self, handle: Handle[T]) -> None:
        """Complete a handle before it is in line; in the thread that submits it."""

    def _may_wait(self) -> bool:
        """Whether the calling thread may wait for others to drain the queue."""
        raise AssertionError("a queue says who may wait")

    def _look_after(self, handle: Handle[T]) -> None:
        """Settle `handle` where only a look of the calling thread tells that it has ended; without the lock."""

    def _check_may_wait_for(self, handle: Handle[T]) -> None:
        """Raise StateError where waiting for `handle` would be for ever; under the lock."""

    @property
    def workers(self) -> int:
        """Threads that drain it."""
        return 0

    # Submitting

    @property
    def closed(self) -> bool:
        """Whether nothing is accepted any more."""
        return bool(self._closed_because)

    def submit(
        self, *args: object, priority: Priority = Priority.NORMAL, wait_s: float = 0.0, **kwargs: object
    ) -> Handle[T]:
        """Put a request in line; any thread may call it.

        `priority` and `wait_s` are the queue's own: a function with arguments of these names cannot be given them.

        Args:
            args, kwargs: for what the queue performs.
            priority: how soon it leaves the line.
            wait_s: seconds to wait for room in a full queue; 0 does not wait.

        Returns:
            The handle. An interruption (KeyboardInterrupt, say) that leaves the caller without it cancels the request.

        Raises:
            QueueFull: there is no room, or there was none in `wait_s`.
            ClientClosed: after `stop()`, also for those that wait for room then.
            StateError: the queue is full, and waiting in this thread would keep it so.
            InvalidOption: an argument cannot work.
        """
        check_priority(priority)
        check_wait("wait_s", wait_s)
        self._check_arguments(kwargs)
        handle: Handle[T] = Handle(self, priority, args, kwargs, 0)
        self._prepare(handle)
        try:
            event = self._enter(handle, wait_s)
            if event is not None:
                event.wait(wait_s)
                self._leave_submitters(handle, wait_s)
            self._on_accepted()
        except BaseException:
            # The caller never sees the handle.
            self._withdraw(handle)
            raise
        return handle

    def _enter(self, handle: Handle[T], wait_s: float) -> Latch | None:
        """Put a new handle in line; or into the line for room, and return what its submitter waits for."""
        with self._lock:
            if self._closed_because:
                raise self._closed_error("submit")
            handle.submitted_ns = self.now_ns()
            if not self._line.is_full:
                self._accept(handle)
                return None
            if not wait_s or self._submitters.is_full:
                self._refused += 1
                raise self._full_error(0.0)
            if not self._may_wait():
                raise StateError(
                    f"wait_s={wait_s}: the queue {self.name!r} is full, and this thread is the one that drains it: "
                    "poll() it first"
                )
            handle.event = event = Latch()
            self._submitters.push(handle, handle.priority, handle.submitted_ns)
            return event

    def _leave_submitters(self, handle: Handle[T], wait_s: float) -> None:
        """The wait for room is over: return if the handle was let in, or say why not."""
        with self._lock:
            if handle.state is not HandleState.WAITING:
                return
            if not self._submitters.remove(handle) and self._closed_because:
                raise self._closed_error("submit")
            self._refused += 1
            raise self._full_error(wait_s)

    def _withdraw(self, handle: Handle[T]) -> None:
        with self._lock:
            if self._submitters.remove(handle):
                return
        self.cancel(handle)

    def _accept(self, handle: Handle[T]) -> None:
        handle.state = HandleState.PENDING
        self._submitted += 1
        self._line.push(handle, handle.priority, handle.submitted_ns)
        self._on_pending()

    def _admit(self) -> None:
        """There is room: let in whose turn it is."""
        while not self._line.is_full:
            handle = self._submitters.pop(self.now_ns())
            if handle is None:
                return
            event = handle.event
            # From now on an event is for those who wait for the outcome.
            handle.event = None
            self._accept(handle)
            assert event is not None, "who waits for room has something to wait for"
            event.set()

    # Draining

    def _take(self, now_ns: int) -> Handle[T] | None:
        """The request whose turn it is, which is RUNNING now; None: there is none. Under the lock."""
        if self._deadline_ns is not None and now_ns >= self._deadline_ns:
            self._cancel_pending()
        handle = self._line.first(now_ns)
        if handle is None:
            return None
        # An interrupt in between leaves it in line, and so to the next turn, instead of nowhere.
        self._running[handle] = None
        handle.began_ns = now_ns
        handle.state = HandleState.RUNNING
        self._line.remove(handle)
        self._admit()
        return handle

    def _settle(self, handle: Handle[T], value: T | None, error: BaseException | None) -> None:
        """A request that ran has ended; nothing happens to one that had an outcome."""
        with self._lock:
            if handle.state is HandleState.DONE:
                return
            self._finish(handle, value, error)

    def _finish(self, handle: Handle[T], value: T | None, error: BaseException | None) -> None:
        self._running.pop(handle, None)
        if error is None:
            self._completed += 1
        elif isinstance(error, Cancelled):
            self._cancelled += 1
        else:
            self._failed += 1
        handle.finish(value, error, self.now_ns())
        if self._is_empty():
            self._emptied.notify_all()

    def _is_empty(self) -> bool:
        return not self._running and not len(self._line)

    # Handles

    def cancel(self, handle: Handle[T]) -> bool:
        """See Handle.cancel."""
        with self._lock:
            if handle.state is HandleState.DONE:
                return handle.cancelled
            if self._line.remove(handle):
                self._finish(handle, None, Cancelled("the request was cancelled before it was begun"))
                self._admit()
                return True
            canceller = self._note_cancel(handle)
        if canceller is not None:
            canceller.cancel()
            return True
        return handle.wants_cancel

    def _note_cancel(self, handle: Handle[T]) -> Cancels | None:
        """A request that runs is to end: what ends it, if there is something; under the lock."""
        return handle.canceller

    def watch(self, handle: Handle[T]) -> Latch | None:
        """What is set at the end of `handle`; None: it has ended.

        Raises:
            StateError: waiting would be for ever.
        """
        self._look_after(handle)
        with self._lock:
            if handle.done:
                return None
            self._check_may_wait_for(handle)
            if handle.event is None:
                handle.event = Latch()
            return handle.event

    # The end

    def stop(self, drain: bool = True, timeout_s: float = limits.QUEUE_STOP_TIMEOUT_S) -> StopReport:
        """Accept nothing more, and complete or cancel everything that was accepted; any thread may call it.

        Called again it waits again, and a call without `drain` cancels what an earlier one left.

        Args:
            drain: True runs what is in line; False cancels it at once, and tells what runs to end, where there are
                the means (see Handle.cancel).
            timeout_s: seconds until that is over. What is then in line is cancelled and what runs is told to end, but
                not waited for.

        Returns:
            What became of them all. In a thread that must not wait, because it is what drains the queue, it returns
            at once, and the rest goes on as asked.

        Raises:
            InvalidOption: an argument cannot work.
        """
        if not isinstance(drain, bool):
            raise InvalidOption(f"drain={drain!r}: give True or False")
        check_wait("timeout_s", timeout_s)
        ends_s = time.monotonic() + timeout_s
        with self._lock:
            self._begin_end(STOPPED)
            self._deadline_ns = self.now_ns() + seconds_to_ns(timeout_s)
        if not drain or not self._can_drain():
            self._give_up()
        self._on_stop()
        if self._may_wait():
            with self._lock:
                emptied = self._emptied.wait_for(self._is_empty, timeout_s)
            if not emptied:
                self._give_up()
        self._on_stopped(ends_s)
        with self._lock:
            ended, cancelled = self._at_stop
            return StopReport(
                completed=self._completed + self._failed - ended,
                cancelled=self._cancelled - cancelled,
                running=len(self._running),
                pending=len(self._line),
            )

    def _can_drain(self) -> bool:
        """Whether anything will ever take what is in line."""
        return True

    def _on_stopped(self, ends_s: float) -> None:
        """A stop() has waited; its time is over at `ends_s` of time.monotonic()."""

    def _begin_end(self, reason: str) -> None:
        """Accept nothing more; under the lock."""
        if self._closed_because:
            return
        self._closed_because = reason
        self._at_stop = (self._completed + self._failed, self._cancelled)
        for handle in self._submitters.clear():
            # Its submitter finds it in no line.
            assert handle.event is not None, "who waits for room has something to wait for"
            handle.event.set()
        self._on_stopping()

    def _give_up(self) -> None:
        """Cancel what is in line, and tell what runs to end."""
        with self._lock:
            self._cancel_pending()
            cancellers = [self._note_cancel(handle) for handle in self._running]
        for canceller in cancellers:
            if canceller is not None:
                canceller.cancel()

    def _cancel_pending(self) -> None:
        for handle in self._line.clear():
            self._finish(handle, None, Cancelled("the queue was stopped before the request was begun"))

    def _abort(self, reason: str) -> None:
        """End without a stop(): nothing will ever take what is in line."""
        with self._lock:
            self._begin_end(reason)
            for handle in self._line.clear():
                self._finish(handle, None, self._closed_error("result"))

    def after_fork(self) -> None:
        """In the child: the queue is closed, and what it held has ended; the parent's goes on."""
        self._renew_locks()
        self._closed_because = FORKED
        self._submitters.clear()
        left = [*self._line.clear(), *self._running]
        self._running.clear()
        for handle in left:
            # Whoever waited is in the parent, and may hold the gate just now.
            handle.event = None
            handle.finish(None, self._closed_error("result"), self.now_ns())
        self._failed += len(left)
        self._at_stop = (self._completed + self._failed, self._cancelled)

    def _closed_error(self, method: str) -> ClientClosed:
        """The error of a call that needs an open queue."""
        return ClientClosed(f"{method}(): the queue {self.name!r} is closed, because {self._closed_because}")

    def _full_error(self, waited_s: float) -> QueueFull:
        waited = f" after {waited_s} s" if waited_s else ""
        return QueueFull(
            f"the queue {self.name!r} is full{waited}: {self.max_pending} requests are in line; submit less, wait "
            "longer with wait_s, or raise max_pending"
        )

    # Looking

    def stats(self) -> QueueStats:
        """Counts at this moment."""
        with self._lock:
            return QueueStats(
                pending=len(self._line),
                running=len(self._running),
                waiting=len(self._submitters),
                workers=self.workers,
                submitted=self._submitted,
                completed=self._completed,
                failed=self._failed,
                cancelled=self._cancelled,
                refused=self._refused,
            )

    def __reduce__(self) -> str:
        raise StateError("a request queue holds threads or exchanges and cannot be pickled; make a new one")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<{type(self).__name__} {self.name!r} {state} pending={len(self._line)} running={len(self._running)}>"


# Whichever kind of queue it is.
_queues: WeakSet[QueueCore[Any]] = renewed_in_child(lambda queue: queue.after_fork())
