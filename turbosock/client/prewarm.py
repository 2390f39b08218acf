"""Prewarming: idle connections to one origin, kept ready; what is the same for a Client and a Loop.

    warm = client.prewarm("https://api.example", min_ready=2)
    warm.wait(5)                    # where the first request must find one
    ...
    warm.close()

Who dials is a thread of its own for each origin of a Client (`thread_prewarming.py`), and the Loop inside its turns
(`loop_prewarm.py`); each asks `builds_due()`, and tells what became of a dial.

Invariants: a ready connection is an idle one of the pool, counted by its limits, and makes no other idle connection
go; an origin has one Prewarming at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from turbosock import limits
from turbosock.config import PoolConfig
from turbosock.errors import InvalidOption, LimitError, StateError, TurbosockError
from turbosock.pool.refill import Refill
from turbosock.pool.warm_origin import WarmOrigin

if TYPE_CHECKING:
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool


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

    def __enter__(self) -> Self:
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
