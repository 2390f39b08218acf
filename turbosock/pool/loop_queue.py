"""LoopQueue: the request queue of a tick: begins exchanges in a Loop, and notices those that are done.

    queue = LoopQueue(loop.request, wakeup=loop.wakeup)
    handle = queue.submit("GET", url, notify=False)         # from any thread
    while running:
        queue.poll()                                        # once a tick, before loop.poll()
        loop.poll(max_time=0.003)

What it begins is any callable that returns at once with an `Exchange`: an object with `done`, `error` and `cancel()`.
The handle's result is that object, or its error is raised. Other threads wait for results as they do with a
RequestQueue; in the loop's own thread, which is the one that polled last, and before that the one that made the queue,
a result that is not there raises StateError.

The end: in the loop's own thread `stop()` returns at once; go on with `poll()` until it returns 0. A `with` block,
after which nobody polls, cancels what is left.

Invariants: at most `max_in_flight` exchanges are under way, and one poll begins no more than that; nothing here waits
in the loop's thread. Left to QueueCore: order, room, handles and the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, TypeVar

from turbosock import limits
from turbosock.config import check_count
from turbosock.errors import InvalidOption, StateError
from turbosock.pool.queue_core import Cancels, QueueCore
from turbosock.pool.queue_handle import Handle, interrupted_error
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock


class Exchange(Protocol):
    """A request that was begun and proceeds elsewhere."""

    @property
    def done(self) -> bool:
        """Whether it has ended."""

    @property
    def error(self) -> BaseException | None:
        """What failed, once it is done."""

    def cancel(self) -> object:
        """End it soon; any thread may call it."""


E = TypeVar("E", bound=Exchange)


class LoopQueue(QueueCore[E]):
    """A bounded queue whose requests are begun by `poll()`; any thread may submit, cancel and wait.

    Args:
        begin: called with what was submitted, `loop.request` for example; returns the exchange. What it raises is the
            outcome.
        max_in_flight: exchanges under way at once.
        max_pending: requests in line, those under way not counted.
        ageing_s: seconds in line that make a request count one priority higher, again and again, so that LOW is not
            starved; None: never.
        wakeup: called, in the thread concerned, when there is something for the next `poll()`: `loop.wakeup` ends a
            wait of the loop.
        name: for messages.
        clock: tells how long requests have been in line; the loop's own, if it was given one.

    Raises:
        InvalidOption: an argument cannot work.
    """

    def __init__(
        self,
        begin: Callable[..., E],
        max_in_flight: int = limits.QUEUE_IN_FLIGHT,
        max_pending: int = limits.QUEUE_PENDING,
        ageing_s: float | None = None,
        *,
        wakeup: Callable[[], object] | None = None,
        name: str = "requests",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not callable(begin):
            raise InvalidOption(f"begin={begin!r}: give a callable, loop.request for example")
        check_count("max_in_flight", max_in_flight, 1, limits.MAX_QUEUED_EXCHANGES)
        if wakeup is not None and not callable(wakeup):
            raise InvalidOption(f"wakeup={wakeup!r}: give a callable, loop.wakeup for example, or None")
        self._begin = begin
        self._max_in_flight = max_in_flight
        self._wakeup = wakeup
        # Those that were begun; between _take() and begin a handle is in `_running` alone.
        self._exchanges: dict[Handle[E], E] = {}
        self._thread = threading.get_ident()
        self._polling = False
        super().__init__(max_pending, ageing_s, name, clock)

    # The tick

    def poll(self) -> int:
        """Notice the exchanges that are done, and begin those whose turn it is.

        Returns:
            Requests in line and under way: 0 means that nothing is left.

        Raises:
            StateError: called by what `begin` calls.
            BaseException: an interruption that struck `begin`; its request has failed.
        """
        return self.drain(self.now_ns())

    def drain(self, now_ns: int) -> int:
        """`poll()` for whoever knows the time already, in nanoseconds of the queue's clock."""
        if self._polling:
            raise StateError(f"poll() of the queue {self.name!r} was called inside poll(): call it between turns")
        self._polling = True
        try:
            self._thread = threading.get_ident()
            if self._deadline_ns is not None and now_ns >= self._deadline_ns:
                self._give_up()
            self._notice()
            # A request may end as it begins: one poll takes no more of those either.
            for _ in range(self._max_in_flight):
                handle = self._next(now_ns)
                if handle is None:
                    break
                self._begin_exchange(handle)
        finally:
            self._polling = False
        return len(self._line) + len(self._running)

    def _next(self, now_ns: int) -> Handle[E] | None:
        with self._lock:
            return self._take(now_ns) if len(self._running) < self._max_in_flight else None

    def _notice(self) -> None:
        for handle, exchange in tuple(self._exchanges.items()):
            if exchange.done:
                self._end_exchange(handle, exchange)

    def _begin_exchange(self, handle: Handle[E]) -> None:
        try:
            exchange = self._begin(*handle.args, **handle.kwargs)
            done = exchange.done
            with self._lock:
                # In the child of a fork inside `begin` it has ended already.
                if handle in self._running:
                    self._exchanges[handle] = handle.canceller = exchange
                wants_cancel = handle.wants_cancel
        except Exception as error:
            self._settle(handle, None, error)
            return
        except BaseException as error:
            self._settle(handle, None, interrupted_error(error))
            raise
        if done:
            self._end_exchange(handle, exchange)
        elif wants_cancel:
            exchange.cancel()

    def _end_exchange(self, handle: Handle[E], exchange: E) -> None:
        self._exchanges.pop(handle, None)
        error = exchange.error
        self._settle(handle, exchange if error is None else None, error)

    # What QueueCore asks

    def _on_accepted(self) -> None:
        self._wake()

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup()

    def _note_cancel(self, handle: Handle[E]) -> Cancels | None:
        handle.wants_cancel = True
        return handle.canceller

    def _may_wait(self) -> bool:
        return threading.get_ident() != self._thread

    def _look_after(self, handle: Handle[E]) -> None:
        if self._may_wait():
            return
        # The user's own object: what it does when it is asked is not for our lock.
        exchange = self._exchanges.get(handle)
        if exchange is not None and exchange.done:
            self._end_exchange(handle, exchange)

    def _check_may_wait_for(self, handle: Handle[E]) -> None:
        if self._may_wait():
            return
        raise StateError(
            f"the request is {handle.state.value}, and this thread is the loop's: waiting here would be for ever; "
            "poll() until handle.done"
        )

    def _on_stop(self) -> None:
        self._wake()

    def _on_stopped(self, ends_s: float) -> None:
        if not self._may_wait():
            # What cancel() ended at once.
            self._notice()

    def after_fork(self) -> None:
        """In the child: as for QueueCore; the exchanges are the parent's."""
        super().after_fork()
        self._exchanges.clear()

    def __enter__(self) -> LoopQueue[E]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(drain=False)
