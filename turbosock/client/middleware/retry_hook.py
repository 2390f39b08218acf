"""RetryHook: another attempt where a function of the user's says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.middleware.base import NOT_AGAIN, Middleware
from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained


class RetryHook(Middleware):
    """Asks a function after each answer and each failure.

    Args:
        decide: called with the exchange: `exchange.error` is what failed it, or None where an answer's head is there
            (`status_code`, `headers`). Returns the seconds to wait before the next attempt, or None: it stands.
        max_attempts: the first included.
        any_method: also ask for requests that are not idempotent, which may then be carried out twice.

    Raises:
        InvalidOption: an argument cannot work.
    """

    def __init__(
        self, decide: Callable[[Chained], float | None], *, max_attempts: int = 3, any_method: bool = False
    ) -> None:
        if not callable(decide):
            raise InvalidOption(f"decide={decide!r}: give a function that takes the exchange")
        check_count("max_attempts", max_attempts, 1, limits.MAX_ATTEMPTS)
        if not isinstance(any_method, bool):
            raise InvalidOption(f"any_method={any_method!r}: give True or False")
        self._decide = decide
        self._max_attempts = max_attempts
        self._any_method = any_method

    def again(self, exchange: Chained, now_ns: int) -> int:
        if exchange.attempts >= self._max_attempts or not (self._any_method or exchange.prepared.idempotent):
            return NOT_AGAIN
        delay_s = self._decide(exchange)
        if delay_s is None:
            return NOT_AGAIN
        if (
            isinstance(delay_s, bool)
            or not isinstance(delay_s, (int, float))
            or not 0 <= delay_s <= limits.MAX_TIMEOUT_S
        ):
            raise InvalidOption(f"decide() returned {delay_s!r}: give 0 or more seconds, or None")
        return int(delay_s * NS_PER_S)
