"""TokenBucket: when the next may go, at a steady rate and with some in a burst; RateLimiter: one for each host, or one.

Who wants to go reserves a turn and is told its time: now, while the bucket has a token, and later when it owes some.
Turns are given out in the order of asking and never moved, so nobody waits for who came later.

The bucket is one number, the time at which it will be full again (the generic cell rate algorithm of ITU-T I.371 is
the same thing). Each turn moves it by what a token takes to come, and a turn's time lies burst - 1 tokens before it.
Times are exact: the rate is a fraction p/q, and the number counts p-ths of a nanosecond, in which a token takes
q * 10**9. Only what a caller is told is rounded, up to the next whole nanosecond, so nothing drifts, over any time.

A turn that is given back:
- while later ones wait, is kept for the next who asks, who so goes before some that asked earlier and delays none of
  them. Once its time has passed it is lost: at any other time it would be one too many;
- otherwise puts its token back. If it was the last, that is as if it had never been taken. If others were taken since,
  the bucket would have been fuller for them, and perhaps full: what would have run over does not come back. How far
  the bucket was from being full, at least, is kept for that (`slack`), which may return less than a whole token.

Invariants: in any span of time at most burst + rate * span go, to one nanosecond; the returned turns are sorted, and
all of them come before the last turn.

The bucket knows no clock and no thread; waiting until a turn has come is its user's.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Hashable
from fractions import Fraction
from typing import Final, NamedTuple

from turbosock import limits
from turbosock.config import check_count, check_seconds
from turbosock.errors import InvalidOption, LimitError
from turbosock.forks import renewed_in_child
from turbosock.pool.limiter import shown_host
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock


class TokenBucket:
    """Turns at `rate_per_s`, up to `burst` of them at once; for one thread at a time.

    Times are nanoseconds of one clock that does not run backwards and is never negative. A new bucket is full.

    Args:
        rate_per_s: tokens that come each second; a float counts as the decimal number that it is written as.
        burst: tokens that the bucket holds.

    Raises:
        InvalidOption: an argument has a wrong type or value, or the two contradict each other.
    """

    __slots__ = ("_asked_ns", "_begun_ns", "_depth", "_full_at", "_returned", "_scale", "_slack", "_step")

    def __init__(self, rate_per_s: float, burst: int = 1) -> None:
        if isinstance(rate_per_s, bool) or not isinstance(rate_per_s, (int, float)):
            raise InvalidOption(f"rate_per_s={rate_per_s!r}: give a number of tokens for each second")
        if not 0 < rate_per_s <= limits.MAX_TOKEN_RATE:
            raise InvalidOption(f"rate_per_s={rate_per_s!r}: give more than 0 and at most {limits.MAX_TOKEN_RATE:,}")
        check_count("burst", burst, 1, limits.MAX_LIMITER_COUNT)
        rate = Fraction(str(rate_per_s))
        if burst > rate * int(limits.MAX_TIMEOUT_S):
            raise InvalidOption(
                f"burst={burst} at rate_per_s={rate_per_s!r} takes more than a year to come: lower the first or raise "
                "the second"
            )
        # The unit of time is 1/scale of a nanosecond.
        self._scale = rate.numerator
        self._step = rate.denominator * NS_PER_S
        self._depth = (burst - 1) * self._step
        self._fill()

    def _fill(self) -> None:
        """Begin with all the tokens."""
        self._full_at = 0
        # The last time that a turn was asked for, and the last such time that found the bucket full.
        self._asked_ns = 0
        self._begun_ns = 0
        # How far it was from being full, at least, at each turn since then; no more than a token is of interest.
        self._slack = self._step
        # The times of turns that were given back, in nanoseconds.
        self._returned: list[int] = []

    def fresh(self) -> TokenBucket:
        """Another bucket with the same settings; full."""
        bucket = TokenBucket.__new__(TokenBucket)
        bucket._scale = self._scale
        bucket._step = self._step
        bucket._depth = self._depth
        bucket._fill()
        return bucket

    def next_ns(self, now_ns: int) -> int:
        """The time that reserve() would return."""
        returned = self._returned
        if returned:
            index = bisect_left(returned, now_ns)
            if index < len(returned):
                return returned[index]
        return max(now_ns, self._whole(self._full_at - self._depth))

    def reserve(self, now_ns: int) -> int:
        """Take a turn; returns the time from which its owner may go, `now_ns` where that is at once."""
        returned = self._returned
        if returned:
            # Those before now are lost.
            del returned[: bisect_left(returned, now_ns)]
            if returned:
                return returned.pop(0)
        now = now_ns * self._scale
        full_at = self._full_at
        if full_at <= now:
            full_at = now
            self._begun_ns = now_ns
            self._slack = self._step
        elif full_at - now < self._slack:
            self._slack = full_at - now
        self._asked_ns = now_ns
        self._full_at = full_at + self._step
        return max(now_ns, self._whole(full_at - self._depth))

    def give_back(self, due_ns: int) -> None:
        """Return a turn that was not used, once.

        Args:
            due_ns: what reserve() returned for it.
        """
        returned = self._returned
        if due_ns < self._last_ns():
            if len(returned) < limits.MAX_RETURNED_TURNS:
                insort(returned, due_ns)
            return
        self._put_back(due_ns)
        # The one before it may have been given back already, and so on.
        while returned and returned[-1] >= self._last_ns():
            self._put_back(returned.pop())

    def _put_back(self, due_ns: int) -> None:
        """Put the token of a turn back behind which nobody waits."""
        if due_ns < self._begun_ns:
            # The bucket has been full since then.
            return
        if due_ns >= max(self._asked_ns, self._last_ns()):
            self._full_at -= self._step
        else:
            self._full_at -= self._slack
            self._slack = 0

    def is_full(self, now_ns: int) -> bool:
        """Whether it is as good as a new one."""
        return self._full_at <= now_ns * self._scale

    def full_ns(self) -> int:
        """The time from which it is full, if nobody takes a turn or gives one back."""
        return self._whole(self._full_at)

    def _last_ns(self) -> int:
        """The earliest time of the last turn that was taken; in the past if it had not to wait."""
        return self._whole(self._full_at - self._depth - self._step)

    def _whole(self, time: int) -> int:
        """A time in nanoseconds, rounded up."""
        return -(-time // self._scale)


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
