"""ExchangeLog: one line for each exchange in the standard logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from turbosock.client.middleware.base import Middleware
from turbosock.errors import InvalidOption
from turbosock.logs import area

if TYPE_CHECKING:
    from turbosock.client.middleware.chained import Chained


class ExchangeLog(Middleware):
    """Logs the end of each exchange to `turbosock.exchange`: method, URL without credentials and query, status, time.

    Args:
        level: of answers; failures are logged one level above, at WARNING at least.

    Each record has the same as attributes: `method`, `url`, `status_code` (0 without an answer), `error` (its code),
    `nbytes`, `elapsed_s`, `attempts`.

    Raises:
        InvalidOption: `level` is no level of logging.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        if isinstance(level, bool) or not isinstance(level, int) or not 0 < level <= logging.CRITICAL:
            raise InvalidOption(f"level={level!r}: give a level of logging, such as logging.INFO")
        self._level = level
        self._log = area("exchange")

    def leave(self, exchange: Chained) -> None:
        error = exchange.error
        level = self._level if error is None else max(self._level, logging.WARNING)
        if not self._log.isEnabledFor(level):
            return
        status_code = exchange.head.status_code if exchange.head is not None else 0
        elapsed_s = (exchange.now_ns() - exchange.started_ns) / 1e9
        url = exchange.prepared.url.safe
        self._log.log(
            level,
            "%s %s %s, %d bytes in %.1f ms",
            exchange.method,
            url,
            status_code if error is None else f"failed ({error.code})",
            exchange.received,
            elapsed_s * 1e3,
            extra={
                "method": exchange.method,
                "url": url,
                "status_code": status_code,
                "error": "" if error is None else error.code,
                "nbytes": exchange.received,
                "elapsed_s": elapsed_s,
                "attempts": exchange.attempts,
            },
        )
