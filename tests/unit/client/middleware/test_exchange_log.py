"""ExchangeLog: levels, and what costs nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from support.middleware import FakeExchange
from turbosock import ExchangeLog
from turbosock.errors import ConnectError, InvalidOption

URL = "http://user:hunter2@example.com/path?key=hunter3"


def logged(caplog: pytest.LogCaptureFixture, link: ExchangeLog, error: ConnectError | None = None) -> Any:
    caplog.set_level(1, "turbosock.exchange")
    exchange = FakeExchange(URL)
    exchange.error = error
    exchange.clock.advance(1.5)
    link.leave(exchange)
    (record,) = caplog.records
    return record


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.ERROR])
def test_answer_is_logged_at_the_level_and_a_failure_at_warning_at_least(
    caplog: pytest.LogCaptureFixture, level: int
) -> None:
    assert logged(caplog, ExchangeLog(level)).levelno == level
    caplog.clear()
    assert logged(caplog, ExchangeLog(level), ConnectError("refused")).levelno == max(level, logging.WARNING)


def test_record_has_the_exchange_without_credentials(caplog: pytest.LogCaptureFixture) -> None:
    record = logged(caplog, ExchangeLog(), ConnectError("refused"))
    assert record.getMessage() == "GET http://example.com/path failed (connect), 0 bytes in 1500.0 ms"
    assert (record.status_code, record.error, record.elapsed_s, record.attempts) == (0, "connect", 1.5, 0)
    assert "hunter" not in str(vars(record))


def test_level_that_nobody_listens_to_makes_no_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "turbosock.exchange")
    ExchangeLog().leave(FakeExchange(URL))
    assert not caplog.records


@pytest.mark.parametrize("level", [0, -1, 51, True, "INFO", None, 20.0])
def test_level_that_is_none_is_refused(level: Any) -> None:
    with pytest.raises(InvalidOption, match="level"):
        ExchangeLog(level)
