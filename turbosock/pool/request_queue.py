"""RequestQueue: a bounded queue of requests by priority, performed by threads.

    with RequestQueue(client.request, workers=4) as queue:
        handle = queue.submit("GET", url, priority=Priority.HIGH)
        response = handle.result(timeout_s=10)

It performs any callable; with a Client's `request` it holds back what the origins need not see at once. Workers are
daemon threads: a program that ends without `stop()` does not wait for what is in line.

The order of calls: `start()`, then `submit()` from any thread, then `stop()`; a `with` block does the first and the
last. What is submitted before `start()` runs after it.

When a worker is ended by something that no `except Exception` takes (SystemExit, an interruption), its request fails
with a TurbosockError of code "interrupted", another thread takes its place, and the cause goes on to
`threading.excepthook`. In the child of a fork the queue is closed and its requests have ended with ClientClosed.

Invariants: once started, and until nothing is left after `stop()`, there are `workers` threads, fewer only where the
system gives no more; a request is performed once at most. Left to QueueCore: order, room, handles and the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from turbosock import limits
from turbosock.config import check_count
from turbosock.errors import InvalidOption, LimitError, StateError
from turbosock.pool.priority_line import Priority
from turbosock.pool.queue_core import Cancels, QueueCore, QueueStats, StopReport
from turbosock.pool.queue_handle import Handle, interrupted_error
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock

__all__ = ["Handle", "Priority", "QueueStats", "RequestQueue", "StopReport"]

T = TypeVar("T")

NO_WORKERS = "its last worker died and the system gave no other thread: make a new queue"


class RequestQueue(QueueCore[T]):
    """A bounded queue whose requests are performed by threads; any thread may use it.

    Args:
        perform: called with what was submitted, `client.request` for example; what it returns or raises is the
            outcome.
        workers: threads, each of which performs one request at a time.
        max_pending: requests in line, those under way not counted.
        ageing_s: seconds in line that make a request count one priority higher, again and again, so that LOW is not
            starved; None: never.
        cancel_token: makes a token for each request, `turbosock.CancelToken` for example; it is given to `perform` as
            `cancel=`, and is what `Handle.cancel` and `stop` end a running request with. None: what runs, runs.
        name: for messages and threads.
        clock: tells how long requests have been in line.

    Raises:
        InvalidOption: an argument cannot work.
    """

    def __init__(
        self,
        perform: Callable[..., T],
        workers: int = limits.QUEUE_WORKERS,
        max_pending: int = limits.QUEUE_PENDING,
        ageing_s: float | None = None,
        *,
        cancel_token: Callable[[], Cancels] | None = None,
        name: str = "requests",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not callable(perform):
            raise InvalidOption(f"perform={perform!r}: give a callable, client.request for example")
        check_count("workers", workers, 1, limits.MAX_QUEUE_WORKERS)
        if cancel_token is not None and not callable(cancel_token):
            raise InvalidOption(f"cancel_token={cancel_token!r}: give what makes a token, CancelToken for example")
        self._call = perform
        self._max_workers = workers
        self._make_token = cancel_token
        self._threads: set[threading.Thread] = set()
        self._threads_made = 0
        self._started = False
        super().__init__(max_pending, ageing_s, name, clock)

    def _renew_locks(self) -> None:
        super()._renew_locks()
        # Told of each request in line, and of the end.
        self._work = threading.Condition(self._lock)

    # Starting

    def start(self) -> None:
        """Start the workers; calls after the first one, from whatever thread, do nothing.

        Raises:
            ClientClosed: after `stop()`.
            LimitError: the system gives no more threads; the queue is closed then, and what was in line has ended.
        """
        with self._lock:
            if self._closed_because:
                raise self._closed_error("start")
            if self._started:
                return
            self._started = True
            try:
                # They look for work once the lock is free: all of them, or none.
                for _ in range(self._max_workers):
                    self._start_worker()
            except BaseException as error:
                self._abort("not all of its workers could be started: make a new queue, with fewer")
                if not isinstance(error, RuntimeError):
                    raise
                raise LimitError(
                    f"start(): the system gave {len(self._threads)} of {self._max_workers} threads: lower workers, or "
                    "raise the limit of processes"
                ) from error

    def _start_worker(self) -> None:
        self._threads_made += 1
        thread = threading.Thread(target=self._run_worker, name=f"{self.name} {self._threads_made}", daemon=True)
        thread.start()
        self._threads.add(thread)

    # Working

    def _run_worker(self) -> None:
        handle: Handle[T] | None = None
        try:
            while True:
                handle = self._next()
                if handle is None:
                    return
                self._perform(handle)
                # An idle worker keeps nobody's answer alive.
                handle = None
        except BaseException as error:
            if handle is not None:
                self._settle(handle, None, interrupted_error(error))
                handle = None
            raise
        finally:
            self._worker_ended()

    def _next(self) -> Handle[T] | None:
        """Wait for a request; None: there will be no more."""
        with self._lock:
            while True:
                handle = self._take(self.now_ns())
                if handle is not None:
                    handle.owner = threading.get_ident()
                    return handle
                if self._closed_because:
                    return None
                self._work.wait()

    def _perform(self, handle: Handle[T]) -> None:
        try:
            value = self._call(*handle.args, **handle.kwargs)
        except Exception as error:
            self._settle(handle, None, error)
        else:
            self._settle(handle, value, None)
        finally:
            # The error's traceback holds this frame: with the handle in it they would keep each other.
            del handle

    def _worker_ended(self) -> None:
        with self._lock:
            self._threads.discard(threading.current_thread())
            if self._closed_because and not len(self._line):
                return
            try:
                self._start_worker()
            except (RuntimeError, MemoryError):
                if not self._threads:
                    self._abort(NO_WORKERS)

    # What QueueCore asks

    def _on_pending(self) -> None:
        self._work.notify()

    def _on_stopping(self) -> None:
        self._work.notify_all()

    def _check_arguments(self, kwargs: dict[str, object]) -> None:
        if self._make_token is not None and "cancel" in kwargs:
            raise InvalidOption(
                "cancel, cancel_token: this queue gives every request a token of its own; use handle.cancel(), or make "
                "the queue without cancel_token"
            )

    def _prepare(self, handle: Handle[T]) -> None:
        if self._make_token is not None:
            handle.canceller = handle.kwargs["cancel"] = self._make_token()

    def _may_wait(self) -> bool:
        return threading.current_thread() not in self._threads

    def _check_may_wait_for(self, handle: Handle[T]) -> None:
        if handle.owner == threading.get_ident():
            raise StateError("a request waits for its own result: it would never have one")

    @property
    def workers(self) -> int:
        """Threads alive."""
        return len(self._threads)

    def _can_drain(self) -> bool:
        return bool(self._threads)

    def _on_stopped(self, ends_s: float) -> None:
        """Wait for the threads that have nothing left to do."""
        with self._lock:
            if self._running or len(self._line):
                return
            threads = tuple(self._threads)
        if not self._may_wait():
            return
        for thread in threads:
            thread.join(max(0.0, ends_s - time.monotonic()))

    def after_fork(self) -> None:
        """In the child: as for QueueCore; the workers are in the parent."""
        super().after_fork()
        self._threads.clear()

    def __enter__(self) -> RequestQueue[T]:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(drain=kind is None)
