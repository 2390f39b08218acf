"""TokenBucket: when the next may go, at a steady rate and with some in a burst.

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

The bucket knows no clock and no thread; waiting until a turn has come is its user's. `rate_limiter.py` keeps one for
each host.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from fractions import Fraction

from turbosock import limits
from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S


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
