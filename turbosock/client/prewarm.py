"""Prewarming for a Client: idle connections of chosen origins, kept ready by one background thread.

    warm = client.prewarm("https://api.example", min_ready=2, max_ready=8)
    warm.wait(5)                    # where the first request must find one
    ...
    warm.close()

The thread only dials, looks after idle connections once an interval, and closes what is unfit; it never touches one
that an exchange uses. It starts with the first `prewarm()`, and ends with the client, or when no origin is left.

Invariants: a ready connection is an idle one of the pool, counted by its limits, and makes no other idle connection
go; a Client that is dropped without close() is not kept alive by its thread.
"""

from __future__ import annotations

import threading
import time
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from turbosock.config import PoolConfig, check_seconds
from turbosock.errors import Cancelled, InvalidOption, Phase, TotalTimeout, TurbosockError
from turbosock.pool.warm_origin import WarmOrigin
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.client import Client
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.pool.refill import Refill

_monotonic_ns = time.monotonic_ns

# How long close() waits for a dial under way to notice: it looks up ten times a second.
_JOIN_S = 1.0


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
        self.warm = WarmOrigin(origin, refill, owner.wake)
        self.closed = False
        self.interval_end_ns = 0
        self.built_count = 0
        self.failed_count = 0
        self.last_error = ""

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

    def built(self, now_ns: int) -> None:
        """For whoever dials: one more is ready."""
        self.refill.built(now_ns)
        self.built_count += 1
        self.warm.begin_interval()

    def failed(self, error: TurbosockError, now_ns: int) -> None:
        """For whoever dials: the origin did not answer as it should."""
        self.refill.failed(now_ns)
        self.failed_count += 1
        self.last_error = str(error)

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
        """Have the owner look."""
        self._owner.wake()

    def next_due_ns(self) -> int:
        """When to look again, unless `wake` comes first."""
        return min(self.interval_end_ns, self.refill.next_due_ns(self.ready))

    def close(self) -> None:
        """Keep none ready any more; those that are stay in the pool until they are used or expire. Idempotent."""
        if not self.closed:
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
    """What keeps connections ready: a thread, or a Loop."""

    def wake(self) -> None:
        """More may be due; called on the thread that took a connection."""
        raise AssertionError("each owner wakes in its own way")

    def remove(self, prewarming: Prewarming) -> None:
        """One is closed."""
        raise AssertionError("each owner keeps its own")


class PrewarmThread(PrewarmOwner):
    """The one background thread of a Client; see the module.

    Args:
        client: whose connections it makes; held weakly.
    """

    def __init__(self, client: Client) -> None:
        self._client = weakref.ref(client)
        self._kept: list[ThreadPrewarming] = []
        self._changed = threading.Condition()
        self._event = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, origin: OriginPool, refill: Refill, timeouts: Timeouts, url: str) -> ThreadPrewarming:
        """Keep connections to `origin` ready from now on."""
        prewarming = ThreadPrewarming(self, origin, refill, timeouts, url)
        with self._changed:
            self._kept.append(prewarming)
            if self._thread is None:
                self._thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="turbosock prewarmer")
                self._thread.daemon = True
                self._thread.start()
        self.wake()
        return prewarming

    def wake(self) -> None:
        self._event.set()

    def remove(self, prewarming: Prewarming) -> None:
        with self._changed:
            self._kept = [kept for kept in self._kept if kept is not prewarming]
            self._changed.notify_all()
        self.wake()

    def step(self) -> bool:
        """Make what is due, then wait for more; False: nothing is left to do."""
        now_ns = _monotonic_ns()
        due_ns = now_ns + NS_PER_S
        for prewarming in tuple(self._kept):
            prewarming.look_after(now_ns)
            for _ in range(prewarming.warm.builds_due(now_ns)):
                client = self._client()
                if client is None or client.closed or not self._build(client, prewarming):
                    break
                del client
            due_ns = min(due_ns, prewarming.next_due_ns())
        with self._changed:
            client = self._client()
            if not self._kept or client is None or client.closed:
                self._thread = None
                return False
        del client
        self._event.wait(max(0, due_ns - _monotonic_ns()) / NS_PER_S)
        self._event.clear()
        return True

    def _build(self, client: Client, prewarming: ThreadPrewarming) -> bool:
        """Dial one; False: not now."""
        if prewarming.closed:
            return False
        origin = prewarming.warm.origin
        place = None if client.pool.closed else origin.reserve_spare()
        refill = prewarming.refill
        refill.began()
        if place is None:
            # The pool's limits come first; the next interval looks again.
            refill.abandoned()
            prewarming.interval_end_ns = _monotonic_ns() + refill.interval_ns
            return False
        dial = _Dial(client, prewarming)
        try:
            connection = client.dial(dial, origin, place)
        except Cancelled:
            refill.abandoned()
            return False
        except TurbosockError as error:
            prewarming.failed(error, _monotonic_ns())
            return False
        except BaseException:
            refill.abandoned()
            raise
        now_ns = _monotonic_ns()
        origin.give_back(connection, now_ns)
        prewarming.built(now_ns)
        with self._changed:
            self._changed.notify_all()
        return True

    def wait(self, prewarming: Prewarming, timeout_s: float) -> bool:
        """Wait until `min_ready` connections are ready."""
        with self._changed:
            return (
                self._changed.wait_for(
                    lambda: prewarming.closed or prewarming.ready >= prewarming.refill.min_ready, timeout_s
                )
                and not prewarming.closed
            )

    def stats(self) -> tuple[PrewarmStats, ...]:
        """Of each origin."""
        return tuple(prewarming.stats() for prewarming in self._kept)

    def close(self) -> None:
        """End with the client: nothing is dialled any more."""
        for prewarming in tuple(self._kept):
            prewarming.close()
        self.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    def drop_inherited(self) -> None:
        """In the child of a fork, where the thread is not: prewarming ended."""
        self._changed = threading.Condition()
        self._event = threading.Event()
        self._thread = None
        for prewarming in tuple(self._kept):
            prewarming.close()


class ThreadPrewarming(Prewarming):
    """A Prewarming whose connections a thread makes."""

    _owner: PrewarmThread

    def wait(self, timeout_s: float) -> bool:
        """Block until `min_ready` connections are ready; False: the time passed, or it was closed.

        Raises:
            InvalidOption: `timeout_s` is not a number of seconds.
        """
        check_seconds("timeout_s", timeout_s)
        return self._owner.wait(self, timeout_s)


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


def check_room(min_ready: int, max_ready: int, pool: PoolConfig) -> None:
    """Raise InvalidOption where the pool could never hold so many ready connections."""
    for name, value in (("min_ready", min_ready), ("max_ready", max_ready)):
        for limit in ("max_connections_per_origin", "max_idle"):
            most = getattr(pool, limit)
            if value > most:
                raise InvalidOption(f"{name}={value} is above the pool's {limit}={most}: lower it or raise the second")


def _run(owner_ref: weakref.ref[PrewarmThread]) -> None:
    while True:
        owner = owner_ref()
        if owner is None or not owner.step():
            return
        del owner
