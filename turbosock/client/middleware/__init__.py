"""Middleware: an ordered chain of links around every exchange of a Client or a Loop."""

from turbosock.client.middleware.base import GO, NOT_AGAIN, UNTIL_WOKEN, Draft, Middleware
from turbosock.client.middleware.concurrency_limit import ConcurrencyLimit
from turbosock.client.middleware.exchange_log import ExchangeLog
from turbosock.client.middleware.header_defaults import HeaderDefaults
from turbosock.client.middleware.rate_limit import RateLimit
from turbosock.client.middleware.retry_hook import RetryHook
from turbosock.client.middleware.timeline import Timeline, TimelineRecorder

__all__ = [
    "GO",
    "NOT_AGAIN",
    "UNTIL_WOKEN",
    "ConcurrencyLimit",
    "Draft",
    "ExchangeLog",
    "HeaderDefaults",
    "Middleware",
    "RateLimit",
    "RetryHook",
    "Timeline",
    "TimelineRecorder",
]
