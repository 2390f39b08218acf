"""ReconnectPolicy: when an event stream that ended is connected to again, and how long to wait before.

WHATWG HTML §9.2.3 and §9.2.5: a client reestablishes a stream that ended or could not be reached, waiting the
reconnection time that the stream has named, and longer while attempts fail. Beyond the standard:

- Before the stream has named a time there is none: the first attempt after a stream that told events follows at once.
  A second one does so only `backoff_first_s` later; sooner it waits, as after a failure.
- The pause after a failure has a random part, evenly from zero to a bound that doubles with each further one (full
  jitter, so that all clients of a server that restarts do not return together).
- 429, 500, 502, 503 and 504 are answers of a server that is not there right now; their Retry-After is kept to. The
  standard once said so of four of them, and now leaves a stream with any of them for good, which loses it to each
  restart behind a balancer.
- A connection that ends without an event is a failure, unless it was open for `backoff_cap_s`: a feed may be quiet, and
  be cut by a proxy each minute, and has nothing to wait for. One that ends by its silence is a failure all the same.
- A stream that was never open is given up after a few attempts, and at once where its name has no address.

Invariant: a pause is at least what the stream and the answer asked for, up to `max_retry_s`, and at most that plus
`backoff_cap_s`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from turbosock import limits
from turbosock.config import NS_PER_S, check_count, check_seconds
from turbosock.errors import InvalidOption

# RFC 6585 §4, RFC 9110 §15.6.
TEMPORARY_STATUSES: Final = frozenset((429, 500, 502, 503, 504))
# More doublings than any cap needs.
_MAX_DOUBLINGS: Final = 40

_random = random.random


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """When an event stream is connected to again.

    Attributes:
        max_attempts: failures in a row after which a stream that was open once is given up; None: it never is.
        max_first_attempts: the same for a stream that was never open.
        backoff_first_s, backoff_cap_s: the bounds of the first and of the longest random pause.
        max_retry_s: what a longer reconnection time, or Retry-After, is cut to.

    Raises:
        InvalidOption: an argument has a wrong type or value, or two contradict each other.
    """

    max_attempts: int | None = None
    max_first_attempts: int | None = limits.SSE_FIRST_ATTEMPTS
    backoff_first_s: float = limits.SSE_BACKOFF_FIRST_S
    backoff_cap_s: float = limits.SSE_BACKOFF_CAP_S
    max_retry_s: float = limits.SSE_RETRY_CAP_S

    def __post_init__(self) -> None:
        for name, count in (("max_attempts", self.max_attempts), ("max_first_attempts", self.max_first_attempts)):
            if count is not None:
                check_count(name, count, 1, limits.MAX_SSE_ATTEMPTS)
        check_seconds("backoff_first_s", self.backoff_first_s)
        check_seconds("backoff_cap_s", self.backoff_cap_s)
        check_seconds("max_retry_s", self.max_retry_s)
        if self.backoff_first_s > self.backoff_cap_s:
            raise InvalidOption(
                f"backoff_first_s={self.backoff_first_s} is above backoff_cap_s={self.backoff_cap_s}: lower the first "
                "or raise the second"
            )


class Reconnection:
    """What one stream knows of its own past; it has no clock and waits for nothing.

    Args:
        policy: its settings.

    Attributes:
        failures: connections in a row that failed.
        was_open: whether it ever was.
    """

    __slots__ = ("_free_ns", "failures", "policy", "was_open")

    def __init__(self, policy: ReconnectPolicy) -> None:
        self.policy = policy
        self.failures = 0
        self.was_open = False
        # When an attempt may follow at once again.
        self._free_ns = 0

    @property
    def is_over(self) -> bool:
        """Whether there were as many failures as there may be."""
        policy = self.policy
        most = policy.max_attempts if self.was_open else policy.max_first_attempts
        return most is not None and self.failures >= most

    def has_lasted(self, open_ns: int) -> bool:
        """Whether a connection that was open for so long, and told nothing, is none that failed."""
        return open_ns >= int(self.policy.backoff_cap_s * NS_PER_S)

    def pause_ns(self, asked_ns: int, now_ns: int) -> int:
        """How long to wait before the next attempt.

        Args:
            asked_ns: what the stream, or the answer, asked for; 0: nothing.
            now_ns: the present time.
        """
        policy = self.policy
        asked_ns = min(asked_ns, int(policy.max_retry_s * NS_PER_S))
        first_ns = int(policy.backoff_first_s * NS_PER_S)
        if self.failures:
            bound_ns = min(first_ns << min(self.failures - 1, _MAX_DOUBLINGS), int(policy.backoff_cap_s * NS_PER_S))
        elif asked_ns:
            bound_ns = first_ns
        elif now_ns >= self._free_ns:
            self._free_ns = now_ns + first_ns
            return 0
        else:
            bound_ns = first_ns
        return asked_ns + int(bound_ns * _random())
