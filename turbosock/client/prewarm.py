"""Prewarming for a Client: idle connections of chosen origins, kept ready by a background thread for each.

    warm = client.prewarm("https://api.example", min_ready=2)
    warm.wait(5)                    # where the first request must find one
    ...
    warm.close()

Such a thread only dials, looks after idle connections once an interval, and closes what is unfit; it never touches one
that an exchange uses. An origin has a thread of its own so that one which accepts and says nothing holds up no other.
It ends with its Prewarming, with the client, or when the client is dropped.

Invariants: a ready connection is an idle one of the pool, counted by its limits, and makes no other idle connection
go; an origin has one Prewarming at most; a Client that is dropped without close() is not kept alive by its threads.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from turbosock import limits
from turbosock.config import PoolConfig, check_seconds
from turbosock.errors import (
    Cancelled,
    ClientClosed,
    InvalidOption,
    LimitError,
    Phase,
    StateError,
    TotalTimeout,
    TurbosockError,
)
from turbosock.pool.refill import Refill
from turbosock.pool.warm_origin import WarmOrigin
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.client import Client
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool

_monotonic_ns = time.monotonic_ns


class PrewarmStats(NamedTuple):
    """Counts of one prewarmed origin.

    Attributes:
        ready, building: how many connections there are now.
        target: how many should be ready.
        built, failed: how many dials succeeded and failed.
        last_error: what the last failure said, or "".
    """

    ready: int
    building: int
    target: int
    built: int
    failed: int
    last_error: str


class Prewarming:
    """Connections to one origin that are kept ready; the same for a Client and a Loop.

    Attributes:
        url: the origin, without a path.
        closed: whether it ended.
    """

    def __init__(self, owner: PrewarmOwner, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> None:
        self._owner = owner
        self.url = url
        self.timeouts = timeouts
        self.refill = refill
        self.closed = False
        self.interval_end_ns = 0
        self._no_room_until_ns = 0
        self.built_count = 0
        self.failed_count = 0
        self.last_error = ""
        self.warm = WarmOrigin(origin, refill, self.wake)

    @property
    def ready(self) -> int:
        """Idle connections to the origin at this moment."""
        return self.warm.ready

    def stats(self) -> PrewarmStats:
        """Counts at this moment."""
        refill = self.refill
        return PrewarmStats(
            self.ready, refill.building, refill.target(), self.built_count, self.failed_count, self.last_error
        )

    def builds_due(self, now_ns: int) -> int:
        """For whoever dials: how many dials to begin now; the refill is told of each."""
        return 0 if self.closed or now_ns < self._no_room_until_ns else self.warm.builds_due(now_ns)

    def built(self, now_ns: int) -> None:
        """For whoever dials: one more is ready."""
        self.refill.built(now_ns)
        self.built_count += 1
        self.warm.begin_interval()

    def failed(self, error: BaseException, now_ns: int) -> None:
        """For whoever dials: the origin did not answer as it should."""
        self.refill.failed(now_ns)
        self.failed_count += 1
        self.note_error(error)

    def note_error(self, error: BaseException) -> None:
        """Remember what an error said."""
        # Text, because an exception would keep every frame it went through alive; of a foreign one its name alone,
        # because what it says may hold a secret.
        self.last_error = str(error) if isinstance(error, TurbosockError) else type(error).__name__

    def found_no_room(self, now_ns: int) -> None:
        """For whoever dials: the pool has no place to spare for a dial that began; its limits come first."""
        self.refill.abandoned()
        self._no_room_until_ns = now_ns + self.refill.interval_ns

    def look_after(self, now_ns: int) -> None:
        """Once an interval: close what is unfit, and count demand anew."""
        if now_ns >= self.interval_end_ns:
            self.warm.origin.check_idle(now_ns)
            self.begin_interval(now_ns)

    def begin_interval(self, now_ns: int) -> None:
        """Count demand anew."""
        self.interval_end_ns = now_ns + self.refill.interval_ns
        self.warm.begin_interval()

    def wake(self) -> None:
        """Have whoever dials look."""
        self._owner.wake()

    def next_due_ns(self) -> int:
        """When to look again, unless `wake` comes first."""
        return min(self.interval_end_ns, max(self.refill.next_due_ns(self.ready), self._no_room_until_ns))

    def close(self) -> None:
        """Keep none ready any more, and give up dials under way; those that are ready stay in the pool until they are
        used or expire. Idempotent.
        """
        self.closed = True
        self.warm.close()
        self._owner.remove(self)

    def __enter__(self) -> Prewarming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Prewarming {self.url} ready={self.ready} target={self.refill.target()}>"


class PrewarmOwner:
    """Who keeps the prewarmed origins of a Client or a Loop."""

    def wake(self) -> None:
        """More may be due; called wherever a connection is taken."""
        raise AssertionError("each owner wakes in its own way")

    def remove(self, prewarming: Prewarming) -> None:
        """One is closed; a second call does nothing."""
        raise AssertionError("each owner keeps its own")


class ThreadPrewarmer(PrewarmOwner):
    """Keeps the prewarmed origins of one Client.

    Args:
        client: whose connections they are; held weakly.
    """

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._lock = threading.Lock()
        self._kept: tuple[ThreadPrewarming, ...] = ()
        self._closed = False

    def add(self, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> ThreadPrewarming:
        """Keep connections to `origin` ready from now on.

        Raises:
            ClientClosed: the client is closed.
            StateError: connections to it are kept ready already.
            LimitError: too many origins are, or the system has no thread for one more.
        """
        client = self._client()
        assert client is not None, "asked for by the client itself"
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed: prewarm() needs an open one")
            check_alone(self._kept, origin)
            prewarming = ThreadPrewarming(self, client, origin, refill, timeouts, url)
            # Under the lock, so that close() finds either none or one that runs.
            try:
                prewarming.start(client)
            except BaseException:
                prewarming.closed = True
                prewarming.warm.close()
                raise
            self._kept = (*self._kept, prewarming)
        return prewarming

    def remove(self, prewarming: Prewarming) -> None:
        with self._lock:
            self._kept = tuple(kept for kept in self._kept if kept is not prewarming)

    def stats(self) -> tuple[PrewarmStats, ...]:
        """Of each origin."""
        return tuple(prewarming.stats() for prewarming in self._kept)

    def close(self) -> None:
        """End with the client: nothing is dialled any more. A second call does nothing."""
        with self._lock:
            self._closed = True
            kept = self._kept
        for prewarming in kept:
            prewarming.close()
        end_s = time.monotonic() + limits.PREWARM_JOIN_S
        for prewarming in kept:
            prewarming.join(max(0.0, end_s - time.monotonic()))

    def drop_inherited(self) -> None:
        """In the child of a fork, where the threads are not: prewarming ended."""
        self._lock = threading.Lock()
        kept = self._kept
        self._kept = ()
        for prewarming in kept:
            prewarming.drop_inherited()


class ThreadPrewarming(Prewarming):
    """A Prewarming whose connections a thread makes."""

    def __init__(
        self,
        owner: ThreadPrewarmer,
        client: Client,
        origin: OriginPool,
        refill: Refill,
        timeouts: Timeouts,
        url: str,
    ) -> None:
        self._client = weakref.ref(client)
        self._changed = threading.Condition()
        # Of all locks and queues this one may be rung from a finalizer, and no interrupt leaves it shut.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._thread: threading.Thread | None = None
        super().__init__(owner, origin, refill, timeouts, url)

    def start(self, client: Client) -> None:
        """Begin; for ThreadPrewarmer.

        Raises:
            LimitError: the system has no thread to give.
        """
        bell = self._bell
        weakref.finalize(client, bell.put, None).atexit = False
        thread = threading.Thread(target=_run, args=(weakref.ref(self), bell), name="turbosock prewarming", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise LimitError(
                f"prewarm(): the system gave no thread for {self.url}: prewarm fewer origins, or raise the limit of "
                "processes"
            ) from error
        self._thread = thread

    def wake(self) -> None:
        if not self._rung:
            self._rung = True
            self._bell.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Block until `min_ready` connections are ready; False: the time passed, or it was closed.

        Raises:
            InvalidOption: `timeout_s` is not a number of seconds.
        """
        check_seconds("timeout_s", timeout_s)
        with self._changed:
            self._changed.wait_for(lambda: self.closed or self.ready >= self.refill.min_ready, timeout_s)
            return not self.closed and self.ready >= self.refill.min_ready

    def step(self) -> float | None:
        """Make what is due; for how many seconds nothing more is, or None when it is over."""
        # Before looking: who takes one from now on rings again.
        self._rung = False
        client = self._client()
        if client is None:
            # Nobody else can use what is left.
            self.warm.origin.close_idle()
        if self.closed or client is None or client.closed:
            self.close()
            return None
        now_ns = _monotonic_ns()
        try:
            self.look_after(now_ns)
            if self.builds_due(now_ns):
                self._build(client)
            due_ns = self.next_due_ns()
        except BaseException as error:
            # No memory, say: nobody else would go on.
            self.note_error(error)
            due_ns = now_ns + self.refill.interval_ns
        with self._changed:
            self._changed.notify_all()
        return min(max(0, due_ns - _monotonic_ns()) / NS_PER_S, limits.MAX_POLL_WAIT_S)

    def _build(self, client: Client) -> None:
        origin = self.warm.origin
        refill = self.refill
        refill.began()
        try:
            place = origin.reserve_spare()
            if place is None:
                self.found_no_room(_monotonic_ns())
                return
            connection = client.dial(_Dial(client, self), origin, place)
        except (Cancelled, ClientClosed):
            refill.abandoned()
        except BaseException as error:
            # Whatever a connector raises: with a pause, and on.
            self.failed(error, _monotonic_ns())
        else:
            now_ns = _monotonic_ns()
            origin.give_back(connection, now_ns)
            self.built(now_ns)

    def close(self) -> None:
        super().close()
        self._bell.put(None)
        with self._changed:
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread, after close(); for ThreadPrewarmer."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def drop_inherited(self) -> None:
        """In the child of a fork, where the thread is not."""
        self._changed = threading.Condition()
        self._bell = SimpleQueue()
        self._thread = None
        self.closed = True
        self.refill.restart()
        self.warm.close()


class _Dial:
    """What a dial asks of the one for whom it is; see blocking_dial.Dialler."""

    def __init__(self, client: Client, prewarming: Prewarming) -> None:
        self._client = client
        self._prewarming = prewarming
        self.timeouts = prewarming.timeouts
        self.deadline_ns = _monotonic_ns() + prewarming.timeouts.total_ns
        self.phase = Phase.NONE

    def check_deadline(self) -> None:
        if self._client.closed or self._prewarming.closed:
            raise Cancelled("prewarming was closed")
        if _monotonic_ns() >= self.deadline_ns:
            raise TotalTimeout(f"the total deadline of {self.timeouts.total_s} s passed; raise it")


def _run(prewarming_ref: weakref.ref[ThreadPrewarming], bell: SimpleQueue[None]) -> None:
    """The thread: between its steps it holds neither the prewarming nor the client."""
    while True:
        prewarming = prewarming_ref()
        wait_s = None if prewarming is None else prewarming.step()
        del prewarming
        if wait_s is None:
            return
        try:
            bell.get(timeout=wait_s)
        except Empty:
            pass


def check_alone(kept: Iterable[Prewarming], origin: OriginPool) -> None:
    """Raise where the connections of `origin` are kept ready already, or as many origins as may be.

    Raises:
        StateError, LimitError.
    """
    count = 0
    for other in kept:
        count += 1
        if other.warm.origin is origin:
            raise StateError(
                f"prewarm(): connections to {other.url} are kept ready already: use the one that the first call "
                "returned, or close() it before"
            )
    if count >= limits.MAX_PREWARMED_ORIGINS:
        raise LimitError(f"prewarm(): {count} origins are kept warm already: close() one of them before")


def refill_of(
    pool: PoolConfig,
    min_ready: int,
    max_ready: int | None,
    *,
    interval_s: float,
    backoff_first_s: float,
    backoff_cap_s: float,
    adaptive: bool,
    max_building: int = limits.PREWARM_BUILDING,
) -> Refill:
    """The policy that prewarm() was asked for; its arguments are that method's.

    Raises:
        InvalidOption: one is wrong, contradicts another or the limits of the pool, or would do nothing.
    """
    refill = Refill(
        min_ready,
        min_ready if max_ready is None else max_ready,
        interval_s=interval_s,
        backoff_first_s=backoff_first_s,
        backoff_cap_s=backoff_cap_s,
        max_building=max_building,
        adaptive=adaptive,
    )
    most = refill.max_ready
    for name, value in (("min_ready", min_ready), ("max_ready", most)):
        for limit in ("max_connections_per_origin", "max_idle"):
            bound = getattr(pool, limit)
            if value > bound:
                raise InvalidOption(f"{name}={value} is above the pool's {limit}={bound}: lower it or raise the second")
    if most > min_ready and not adaptive:
        raise InvalidOption(
            f"max_ready={most} is above min_ready={min_ready} without adaptive=True: {min_ready} would be kept "
            "ready; give adaptive=True, or leave max_ready out"
        )
    if adaptive and most == min_ready:
        raise InvalidOption(
            f"adaptive=True with min_ready={min_ready} and max_ready={max_ready} leaves nothing to adapt: give a "
            "max_ready above min_ready, or leave adaptive out"
        )
    return refill
