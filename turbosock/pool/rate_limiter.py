"""RateLimiter: turns at a steady rate, from a token bucket for each host, or one for all.

Here are the hosts, the lock and the counts; how turns are given out is `token_bucket.py`'s. How many may be under way
at once is `limiter.py`'s.

Invariants: no turn is handed out that is further away than `max_wait_s`; at most `max_hosts` buckets are remembered,
and one that is forgotten was full, as a new one is.

Waiting until a turn has come is left to the user.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final, NamedTuple

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.errors import InvalidOption, LimitError
from turbosock.forks import renewed_in_child
from turbosock.pool.limiter import shown_host
from turbosock.pool.token_bucket import TokenBucket
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock


class RateStats(NamedTuple):
    """Hosts whose buckets are remembered now; the others are counts since the limiter was made.

    `delayed` of the `reserved` turns were not at once; `returned` were given back; `refused` would have been later than
    `max_wait_s`, or of a host too many.
    """

    hosts: int
    reserved: int
    delayed: int
    returned: int
    refused: int


class RateLimiter:
    """Turns at a steady rate, for each host by itself or for all together; safe to share between threads and Loops.

    The order for a caller: `reserve()`, wait until the time that it returns, go; or `give_back()`, if it comes to
    nothing.

    Args:
        rate_per_s: turns for each second.
        burst: turns at once, after a rest.
        per_host: whether each host has a bucket of its own; False: one for all.
        max_wait_s: the longest wait that is handed out, which bounds the line; 0 hands out none.
        max_hosts: buckets remembered at once; None means limits.MAX_LIMITED_HOSTS. Full ones make room: a new one is
            as good. Not to be given for one bucket.

    Raises:
        InvalidOption: an argument has a wrong type or value, or two contradict each other.
    """

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_delayed",
        "_lock",
        "_max_hosts",
        "_max_wait_ns",
        "_max_wait_s",
        "_model",
        "_none_full_before_ns",
        "_now_ns",
        "_per_host",
        "_refused",
        "_reserved",
        "_returned",
    )

    def __init__(
        self,
        rate_per_s: float,
        burst: int = 1,
        *,
        per_host: bool = True,
        max_wait_s: float = limits.POOL_TIMEOUT_S,
        max_hosts: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._model = TokenBucket(rate_per_s, burst)
        if not isinstance(per_host, bool):
            raise InvalidOption(f"per_host={per_host!r}: give True or False")
        # 0 is a time here: not to wait.
        if max_wait_s != 0 or isinstance(max_wait_s, bool):
            check_seconds("max_wait_s", max_wait_s)
        if max_hosts is None:
            max_hosts = limits.MAX_LIMITED_HOSTS
        elif not per_host:
            raise InvalidOption(f"max_hosts={max_hosts!r} with per_host=False, which has one bucket: give one of them")
        check_count("max_hosts", max_hosts, 1, limits.MAX_LIMITER_COUNT)
        self._per_host = per_host
        self._max_wait_s = max_wait_s
        self._max_wait_ns = int(max_wait_s * NS_PER_S)
        self._max_hosts = max_hosts
        self._now_ns = clock.now_ns
        self._lock = threading.Lock()
        self._buckets: dict[Hashable, TokenBucket] = {}
        # Known from the last look at all of them; nothing but a turn given back makes one full sooner.
        self._none_full_before_ns = 0
        self._reserved = 0
        self._delayed = 0
        self._returned = 0
        self._refused = 0
        _limiters.add(self)

    def reserve(self, host: Hashable) -> int:
        """Take a turn to ask `host`; returns the clock's time from which its owner may go, now or later.

        Raises:
            LimitError: the turn would be later than `max_wait_s` from now, or `max_hosts` others are busy. Nothing was
                taken.
        """
        now_ns = self._now_ns()
        key = host if self._per_host else None
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._new_bucket(host, key, now_ns)
            if bucket.next_ns(now_ns) - now_ns > self._max_wait_ns:
                self._refused += 1
                raise LimitError(
                    f"reserve(): the next turn for {shown_host(host)} is "
                    f"{(bucket.next_ns(now_ns) - now_ns) / NS_PER_S:.3g} s away, more than "
                    f"max_wait_s={self._max_wait_s:g}: raise max_wait_s or rate_per_s, or ask less often"
                )
            due_ns = bucket.reserve(now_ns)
            self._reserved += 1
            if due_ns > now_ns:
                self._delayed += 1
            return due_ns

    def _new_bucket(self, host: Hashable, key: Hashable, now_ns: int) -> TokenBucket:
        """A bucket for a new host, in the place of full ones if need be; under the lock."""
        buckets = self._buckets
        if len(buckets) >= self._max_hosts and now_ns >= self._none_full_before_ns:
            for other in [other for other, bucket in buckets.items() if bucket.is_full(now_ns)]:
                del buckets[other]
            self._none_full_before_ns = min((bucket.full_ns() for bucket in buckets.values()), default=0)
        if len(buckets) >= self._max_hosts:
            self._refused += 1
            raise LimitError(
                f"reserve(): no turn for {shown_host(host)}, because max_hosts={self._max_hosts} others were asked too "
                "recently: raise max_hosts, or ask fewer hosts at once"
            )
        bucket = buckets[key] = self._model.fresh()
        return bucket

    def give_back(self, host: Hashable, due_ns: int) -> None:
        """Return a turn that was not used, once.

        Args:
            host: what it was reserved for.
            due_ns: what reserve() returned for it.
        """
        with self._lock:
            self._returned += 1
            bucket = self._buckets.get(host if self._per_host else None)
            # One that was forgotten was full.
            if bucket is not None:
                bucket.give_back(due_ns)
                self._none_full_before_ns = 0

    def drop_inherited(self) -> None:
        """In the child of a fork: a lock that nobody holds, and the parent's pace; called by itself."""
        self._lock = threading.Lock()

    def stats(self) -> RateStats:
        """Counts at this moment."""
        with self._lock:
            return RateStats(
                hosts=len(self._buckets),
                reserved=self._reserved,
                delayed=self._delayed,
                returned=self._returned,
                refused=self._refused,
            )


_limiters: Final = renewed_in_child(RateLimiter.drop_inherited)
