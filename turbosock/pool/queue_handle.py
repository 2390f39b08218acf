"""Handle: what `submit()` gives back: one request of a queue, from its place in line to its outcome.

    WAITING   its submitter waits for room; nobody has the handle yet
    PENDING   in line; cancel() takes it out
    RUNNING   begun: performed by a worker, or an exchange in a Loop
    DONE      value or error are final

Invariants: a handle goes down this list and never back, and is DONE once; `state` is set last, so that whoever reads
DONE without the lock finds the outcome whole. A handle that is DONE holds no arguments, and nobody waits for it.
Left to the queue: every change of state, under its lock. Attributes that the docstring of the class does not name are
the queue's.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Generic, TypeVar

from turbosock import limits
from turbosock.config import check_seconds
from turbosock.errors import Cancelled, DeadlineError, TurbosockError
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.latch import Latch

if TYPE_CHECKING:
    from turbosock.pool.priority_line import Priority
    from turbosock.pool.queue_core import Cancels, QueueCore

T = TypeVar("T")


class HandleState(enum.Enum):
    """How far a request of a queue has come."""

    WAITING = "waiting for room"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"


class Handle(Generic[T]):
    """One request of a queue; any thread may use it.

    Attributes:
        priority: as it was submitted.
    """

    __slots__ = (
        "_queue",
        "_value",
        "args",
        "began_ns",
        "canceller",
        "ended_ns",
        "error",
        "event",
        "kwargs",
        "owner",
        "priority",
        "state",
        "submitted_ns",
        "wants_cancel",
    )

    def __init__(
        self,
        queue: QueueCore[T],
        priority: Priority,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        submitted_ns: int,
    ) -> None:
        self._queue = queue
        self._value: T | None = None
        self.args = args
        self.kwargs = kwargs
        self.priority = priority
        self.submitted_ns = submitted_ns
        self.began_ns: int | None = None
        self.ended_ns = 0
        self.error: BaseException | None = None
        # Made by the first one that waits.
        self.event: Latch | None = None
        # What ends it while it runs; `wants_cancel` remembers a cancel() that came before there was one.
        self.canceller: Cancels | None = None
        self.wants_cancel = False
        # The thread that performs it.
        self.owner: int | None = None
        self.state = HandleState.WAITING

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the end, and return what the request returned.

        Args:
            timeout_s: seconds to wait, 0 not to; None waits for limits.TOTAL_TIMEOUT_S, which is 300.

        Raises:
            DeadlineError: it has not ended in that time; it goes on.
            Cancelled: it was cancelled, or its queue was stopped before it began.
            ClientClosed: its queue ended without a stop(): by a fork, or because no worker was left.
            StateError: waiting would be for ever: in the thread that performs it, or that polls its queue.
            Exception: whatever the request raised.
        """
        self._wait(timeout_s)
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # without an error it is what the request returned

    def exception(self, timeout_s: float | None = None) -> BaseException | None:
        """Wait for the end, and return the error that `result` raises, or None; itself raises as `result` does when
        the end does not come."""
        self._wait(timeout_s)
        return self.error

    def cancel(self) -> bool:
        """End the request early; True: it will not run, was told to end, or was cancelled before.

        One that is in line leaves it, and its result raises Cancelled. One that runs is told to end where the queue
        has the means: `cancel_token` of a RequestQueue, the exchange's own `cancel()` in a LoopQueue; it may still
        end otherwise. False: it runs on, or had ended.
        """
        return self._queue.cancel(self)

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.state is HandleState.DONE

    @property
    def cancelled(self) -> bool:
        """Whether it has ended by being cancelled."""
        return self.done and isinstance(self.error, Cancelled)

    @property
    def waited_ns(self) -> int:
        """Nanoseconds from `submit()` until it began; until now, or until its end, if it has not begun."""
        until_ns = self.began_ns
        if until_ns is None:
            until_ns = self.ended_ns if self.done else self._queue.now_ns()
        return until_ns - self.submitted_ns

    def finish(self, value: T | None, error: BaseException | None, now_ns: int) -> None:
        """The outcome; for the queue, under its lock."""
        self._value = value
        self.error = error
        self.ended_ns = now_ns
        self.args = ()
        self.kwargs = {}
        self.canceller = None
        event = self.event
        self.event = None
        self.state = HandleState.DONE
        if event is not None:
            event.set()

    def _wait(self, timeout_s: float | None) -> None:
        if timeout_s is None:
            timeout_s = limits.TOTAL_TIMEOUT_S
        check_wait("timeout_s", timeout_s)
        if self.done:
            return
        event = self._queue.watch(self)
        if event is None or event.wait(timeout_s) or self.done:
            return
        raise DeadlineError(f"the request is still {self.state.value} after {timeout_s} s: wait longer, or cancel() it")

    def __repr__(self) -> str:
        return f"<Handle {self.priority.name} {self.state.value}>"


def check_wait(name: str, value: object) -> None:
    """Raise InvalidOption unless `value` is a usable time in seconds, or 0."""
    if type(value) in (int, float) and value == 0:
        return
    check_seconds(name, value)


def interrupted_error(error: BaseException) -> TurbosockError:
    """What a handle says when its thread was ended: the interruption itself is not for whoever asks for the result."""
    failure = TurbosockError(
        f"the thread that performed the request was ended by {type(error).__name__}; submit it again if it may be "
        "repeated",
        code="interrupted",
    )
    failure.__cause__ = error
    return failure


def seconds_to_ns(seconds: float) -> int:
    """Whole nanoseconds, 1 at least."""
    return max(1, int(seconds * NS_PER_S))
