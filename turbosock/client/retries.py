"""Retries: whether a request that failed, or was turned away, is sent again, and how long to wait before.

RFC 9110 §9.2.2 (what may be repeated), §10.2.3 (Retry-After).

- A request is repeated only where its method is among the policy's (the idempotent ones, unless told) and its body can
  be sent again. What broke before a byte of it was sent, while waiting for or making its connection, has had no effect
  and may be repeated whatever it is.
- The pause is drawn evenly from zero to a bound that doubles with each attempt (full jitter, so that many clients do
  not return together), or is what the answer's Retry-After asks for.
- No pause goes past the deadline: what there is now is better than a timeout.
- A budget, shared by all requests of a client, keeps an outage from being amplified: each request earns a fraction of
  a retry, each retry spends a whole one, and a few a second are free. Without it, three retries turn an overload into
  four times the load at the worst moment.

`RetryPolicy` and `RetryBudget` are settings; `RetryState` is what one client knows. It has no clock and waits for
nothing: it is told what happened and when, and answers with a delay.

Invariants: t seconds and n requests after its beginning at most `ratio * n + min_per_s * t + reserve` retries were
allowed, where the reserve is RETRY_BUDGET_WINDOW_S of `min_per_s`, at least one; over any other span it is so with
MAX_RETRY_CREDIT more. A delay d has `0 <= d` and `now_ns + d < deadline_ns`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from turbosock import limits
from turbosock.client.request import IDEMPOTENT_METHODS
from turbosock.client.retry_after import retry_after_ns
from turbosock.config import check_count, check_seconds
from turbosock.errors import (
    Cancelled,
    ConnectError,
    ConnectTimeout,
    InvalidHeader,
    InvalidOption,
    MisuseError,
    NetworkError,
    Origin,
    Phase,
    PoolTimeout,
    ReadTimeout,
    ResolveError,
    TotalTimeout,
    TurbosockError,
    WriteTimeout,
)
from turbosock.forks import renewed_in_child
from turbosock.pool.token_bucket import TokenBucket
from turbosock.protocol.http1.grammar import checked_method
from turbosock.protocol.http1.headers import HeaderList
from turbosock.reactor.clock import NS_PER_S

# What `RetryState.next` answers: no.
NOT_AGAIN: Final = -1

# RFC 6585 §4, RFC 9110 §15.6.3 to §15.6.5: another attempt may find another server, or a rested one.
RETRY_STATUSES: Final = frozenset((429, 502, 503, 504))
RETRY_ERRORS: Final[tuple[type[TurbosockError], ...]] = (
    NetworkError,
    ConnectTimeout,
    ReadTimeout,
    WriteTimeout,
    PoolTimeout,
)
# What another attempt cannot mend, or the caller did not want.
_FINAL_ERRORS: Final = (Cancelled, MisuseError, TotalTimeout)
# What a proxy will say again.
_FINAL_CODES: Final = frozenset(("proxy_auth", "proxy_refused", "proxy_unsupported"))
# What breaks before the request has a connection.
_UNSENT_ERRORS: Final = (ConnectError, ConnectTimeout, PoolTimeout, ResolveError)
_UNSENT_PHASES: Final = frozenset((Phase.QUEUE, Phase.RESOLVE, Phase.CONNECT, Phase.PROXY, Phase.TLS))
# A request earns the ratio in millionths of a retry: whole numbers add up to what they should.
_WHOLE: Final = 1_000_000
# More doublings than any cap needs: a year of nanoseconds has 55 bits.
_MAX_DOUBLINGS: Final = 55
_MIN_PER_S_AT_LEAST: Final = 0.001


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How many retries a client may add to its requests.

    Attributes:
        ratio: retries for each request, so that an outage sees at most 1 + ratio times the usual load; at most 1.
        min_per_s: retries each second beside those, for clients that send few requests; 0: none.

    Raises:
        InvalidOption: an argument has a wrong type or value, or the two leave no retry at all.
    """

    ratio: float = limits.RETRY_BUDGET_RATIO
    min_per_s: float = limits.RETRY_BUDGET_MIN_PER_S

    def __post_init__(self) -> None:
        for name, value in (("ratio", self.ratio), ("min_per_s", self.min_per_s)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidOption(f"{name}={value!r}: give a number")
        if self.ratio != 0 and not 1 / _WHOLE <= self.ratio <= 1:
            raise InvalidOption(f"ratio={self.ratio!r}: give 0, or {1 / _WHOLE:.6f} to 1 retries for each request")
        if self.min_per_s != 0 and not _MIN_PER_S_AT_LEAST <= self.min_per_s <= limits.MAX_RETRY_BUDGET_PER_S:
            raise InvalidOption(
                f"min_per_s={self.min_per_s!r}: give 0, or {_MIN_PER_S_AT_LEAST} to "
                f"{limits.MAX_RETRY_BUDGET_PER_S:.0f} retries a second"
            )
        if self.ratio == 0 and self.min_per_s == 0:
            raise InvalidOption("ratio=0 and min_per_s=0 leave no retry: give one of them, or count=0 to the policy")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request is sent again.

    Attributes:
        count: attempts after the first; 0: none.
        statuses: of answers that are worth another attempt; any iterable of 400 to 599.
        methods: what may be carried out twice; any iterable, in the case in which they are sent.
        errors: classes of errors that are worth another attempt, their subclasses included. Misuse, cancelling and the
            total deadline are final whatever is given.
        backoff_first_s, backoff_cap_s: the bounds of the first and of the longest pause.
        respect_retry_after: whether an answer's Retry-After, where it is valid, decides the pause.
        max_retry_after_s: what a longer Retry-After is cut to; None means limits.RETRY_AFTER_CAP_S.
        budget: shared by all requests of a client; None: none, and an outage is amplified up to 1 + count times.

    Raises:
        InvalidOption: an argument has a wrong type or value, or two contradict each other; both are named.
    """

    count: int = limits.RETRIES
    statuses: Iterable[int] = RETRY_STATUSES
    methods: Iterable[str] = IDEMPOTENT_METHODS
    errors: Iterable[type[TurbosockError]] = RETRY_ERRORS
    backoff_first_s: float = limits.RETRY_BACKOFF_FIRST_S
    backoff_cap_s: float = limits.RETRY_BACKOFF_CAP_S
    respect_retry_after: bool = True
    max_retry_after_s: float | None = None
    budget: RetryBudget | None = RetryBudget()

    def __post_init__(self) -> None:
        check_count("count", self.count, 0, limits.MAX_ATTEMPTS - 1)
        # Frozen, hashable and picklable whatever was given.
        object.__setattr__(self, "statuses", _checked_statuses(self.statuses))
        object.__setattr__(self, "methods", _checked_methods(self.methods))
        object.__setattr__(self, "errors", _checked_errors(self.errors))
        check_seconds("backoff_first_s", self.backoff_first_s)
        check_seconds("backoff_cap_s", self.backoff_cap_s)
        check_seconds("max_retry_after_s", self.max_retry_after_s, optional=True)
        if not isinstance(self.respect_retry_after, bool):
            raise InvalidOption(f"respect_retry_after={self.respect_retry_after!r}: give True or False")
        if self.budget is not None and not isinstance(self.budget, RetryBudget):
            raise InvalidOption(f"budget={self.budget!r}: give a RetryBudget, or None")
        if self.backoff_first_s > self.backoff_cap_s:
            raise InvalidOption(
                f"backoff_first_s={self.backoff_first_s} is above backoff_cap_s={self.backoff_cap_s}: lower the first "
                "or raise the second"
            )
        if not self.respect_retry_after and self.max_retry_after_s is not None:
            raise InvalidOption(
                f"max_retry_after_s={self.max_retry_after_s} with respect_retry_after=False, which reads none: give "
                "one of them"
            )
        if self.count and not self.statuses and not self.errors:
            raise InvalidOption(
                f"count={self.count} with statuses=() and errors=() retries nothing: name some, or give count=0"
            )

    def repeats(self, method: str) -> bool:
        """Whether a request of this method may be carried out twice."""
        return method in self.methods


def _items(name: str, value: object) -> list[object]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidOption(f"{name}={value!r}: give a tuple or a set")
    return list(value)


def _checked_statuses(value: object) -> frozenset[int]:
    statuses: set[int] = set()
    for status in _items("statuses", value):
        check_count("statuses", status, 400, 599)
        assert isinstance(status, int), "just checked"
        statuses.add(status)
    return frozenset(statuses)


def _checked_methods(value: object) -> frozenset[str]:
    methods: set[str] = set()
    for method in _items("methods", value):
        try:
            # What it refuses is no method; anything but a str among that.
            methods.add(checked_method(method).decode("ascii"))  # type: ignore[arg-type]  # it says so itself
        except InvalidHeader as error:
            raise InvalidOption(f"methods: {str(error).removeprefix('method: ')}") from error
    return frozenset(methods)


def _checked_errors(value: object) -> tuple[type[TurbosockError], ...]:
    errors: list[type[TurbosockError]] = []
    for kind in _items("errors", value):
        if not isinstance(kind, type) or not issubclass(kind, TurbosockError):
            raise InvalidOption(f"errors: {kind!r} is none of turbosock's; give classes such as ReadError")
        if issubclass(kind, _FINAL_ERRORS):
            raise InvalidOption(f"errors: {kind.__name__} is final: another attempt cannot mend it, so leave it out")
        errors.append(kind)
    return tuple(errors)


class RetryStats(NamedTuple):
    """Counts since the state was made: requests, and of the attempts that were worth it, those made and those refused.

    `over_budget` were refused by the budget, which is the sign of an outage; `too_late` would have met the deadline.
    """

    requests: int
    retries: int
    over_budget: int
    too_late: int


class RetryState:
    """What one client knows about its retries; safe to share between threads and Loops.

    The order for a caller: `begin()` once for each request, whatever becomes of it; after an attempt that failed or was
    turned away `next()`, and where that is not NOT_AGAIN, wait so long and try again.

    Args:
        policy: when to try again.
        rng: draws the pauses; give a seeded one to repeat them.

    Raises:
        InvalidOption: an argument is of another type.
    """

    __slots__ = (
        "__weakref__",
        "_cap_ns",
        "_credit",
        "_draw",
        "_earned",
        "_errors",
        "_first_ns",
        "_lock",
        "_max_retry_after_ns",
        "_over_budget",
        "_requests",
        "_reserve",
        "_retries",
        "_too_late",
        "policy",
    )

    def __init__(self, policy: RetryPolicy, rng: random.Random | None = None) -> None:
        if not isinstance(policy, RetryPolicy):
            raise InvalidOption(f"retries={policy!r}: give a RetryPolicy")
        if rng is not None and not isinstance(rng, random.Random):
            raise InvalidOption(f"rng: a {type(rng).__name__} was given; give a random.Random, or None")
        self.policy = policy
        # The module's own generator is seeded anew in the child of a fork, which must not draw its parent's pauses.
        self._draw: Callable[[], float] = random.random if rng is None else rng.random
        self._errors = tuple(policy.errors)
        self._first_ns = max(1, int(policy.backoff_first_s * NS_PER_S))
        self._cap_ns = max(1, int(policy.backoff_cap_s * NS_PER_S))
        max_retry_after_s = limits.RETRY_AFTER_CAP_S if policy.max_retry_after_s is None else policy.max_retry_after_s
        self._max_retry_after_ns = int(max_retry_after_s * NS_PER_S)
        budget = policy.budget
        self._earned = 0 if budget is None else int(budget.ratio * _WHOLE)
        self._reserve: TokenBucket | None = None
        if budget is not None and budget.min_per_s:
            burst = max(1, int(budget.min_per_s * limits.RETRY_BUDGET_WINDOW_S))
            self._reserve = TokenBucket(budget.min_per_s, burst)
        # What requests have earned and retries not spent, in millionths.
        self._credit = 0
        self._lock = threading.Lock()
        self._requests = 0
        self._retries = 0
        self._over_budget = 0
        self._too_late = 0
        _states.add(self)

    def begin(self) -> None:
        """A request begins; it earns its part of the budget."""
        with self._lock:
            self._requests += 1
            self._credit = min(self._credit + self._earned, limits.MAX_RETRY_CREDIT * _WHOLE)

    def next(
        self,
        outcome: TurbosockError | int,
        headers: HeaderList | None = None,
        *,
        attempt: int,
        idempotent: bool,
        replayable: bool,
        now_ns: int,
        deadline_ns: int,
        wall_clock: Callable[[], float] = time.time,
    ) -> int:
        """The nanoseconds to wait before another attempt, which the budget has paid for; NOT_AGAIN: this one stands.

        Args:
            outcome: the error, with its phase, or the status code of the answer.
            headers: of the answer, where there is one.
            attempt: how often the request was begun, 1 after the first.
            idempotent: whether it may be carried out twice: `policy.repeats(method)`, or what its sender knows.
            replayable: whether its body can be sent again; True without a body.
            now_ns, deadline_ns: the present time, and when the request must have ended.
            wall_clock: tells the date as `time.time` does; asked where Retry-After is a date.
        """
        policy = self.policy
        if attempt > policy.count:
            return NOT_AGAIN
        if isinstance(outcome, int):
            if outcome not in policy.statuses or not (idempotent and replayable):
                return NOT_AGAIN
        elif not self._mends(outcome, idempotent and replayable):
            return NOT_AGAIN
        delay_ns = self._retry_after_ns(headers, wall_clock)
        if delay_ns < 0:
            bound_ns = min(self._first_ns << min(attempt - 1, _MAX_DOUBLINGS), self._cap_ns)
            delay_ns = int(self._draw() * bound_ns)
        with self._lock:
            if now_ns + delay_ns >= deadline_ns:
                self._too_late += 1
                return NOT_AGAIN
            if not self._spend(now_ns):
                self._over_budget += 1
                return NOT_AGAIN
            self._retries += 1
        return delay_ns

    def _mends(self, error: TurbosockError, repeatable: bool) -> bool:
        """Whether another attempt is allowed after this error, and may end otherwise."""
        if not isinstance(error, self._errors) or isinstance(error, _FINAL_ERRORS) or error.code in _FINAL_CODES:
            return False
        if isinstance(error, _UNSENT_ERRORS) or error.phase in _UNSENT_PHASES:
            return True
        # A local cause, once a connection stands, is the body itself: it could not be read.
        return repeatable and error.origin is not Origin.LOCAL

    def _retry_after_ns(self, headers: HeaderList | None, wall_clock: Callable[[], float]) -> int:
        """What the answer asks for; -1: nothing, or nothing that can be read."""
        if headers is None or not self.policy.respect_retry_after:
            return -1
        value = headers.joined(b"retry-after")
        delay_ns = None if value is None else retry_after_ns(value, self._max_retry_after_ns, wall_clock)
        return -1 if delay_ns is None else delay_ns

    def _spend(self, now_ns: int) -> bool:
        """Take a retry out of the budget, if it has one; under the lock."""
        if self.policy.budget is None:
            return True
        if self._credit >= _WHOLE:
            self._credit -= _WHOLE
            return True
        reserve = self._reserve
        if reserve is None or reserve.next_ns(now_ns) > now_ns:
            return False
        reserve.reserve(now_ns)
        return True

    def drop_inherited(self) -> None:
        """In the child of a fork: a lock that nobody holds, and the parent's budget; called by itself."""
        self._lock = threading.Lock()

    def stats(self) -> RetryStats:
        """Counts at this moment."""
        with self._lock:
            return RetryStats(
                requests=self._requests,
                retries=self._retries,
                over_budget=self._over_budget,
                too_late=self._too_late,
            )


_states: Final = renewed_in_child(RetryState.drop_inherited)
