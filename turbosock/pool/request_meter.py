"""RequestMeter: how many requests of one Client or Loop ended how, and how long they took.

It is there once somebody asks for it (`ConnectionPool.measure`); before, a request pays for a look. A request that is
repeated, and answered by the head that is expected, has its series at hand, and counts there without a call.

What is counted is what is sent: each redirect and each attempt by itself, from when it asks for a connection until its
body was read, or it failed, or was left. The body of an event stream goes on for as long as its reader likes, so that
counts to the head of its answer, and a WebSocket to its opening.

Invariant: at most MAX_REQUEST_SERIES series; requests beyond them are counted in one whose host is OTHER.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from turbosock.limits import MAX_REQUEST_SERIES
from turbosock.reactor.time_histogram import TimeCounts, TimeHistogram

if TYPE_CHECKING:
    from turbosock.pool.origin_pool import OriginPool
    from turbosock.protocol.http1.head import ResponseHead

# What stands for methods of a program's own and for hosts beyond the bound, as OpenTelemetry names them.
OTHER: Final = "_OTHER"
# RFC 9110 section 9.3, and RFC 5789.
METHODS: Final = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))


class RequestSeries(TimeHistogram):
    """The times of requests that are alike; whoever counts on the hot path leaves the longest to its bucket.

    Attributes:
        method: or OTHER.
        host, port: as URLs say them; of a Unix socket its path, and 0.
        status_code: of the answer; 0 without one.
        error: the code of what failed, or "".
    """

    __slots__ = ("error", "host", "method", "port", "status_code")

    def __init__(self, method: str, host: str, port: int, status_code: int, error: str) -> None:
        super().__init__()
        self.method = method
        self.host = host
        self.port = port
        self.status_code = status_code
        self.error = error

    def counts(self) -> TimeCounts:
        counts = super().counts()
        longest = max((exponent for exponent, count in enumerate(counts.buckets) if count), default=0)
        return counts._replace(max_ns=(1 << longest) - 1)


class Countable(Protocol):
    """What the meter knows of a request; `series` is for the answer that is `expected`, or None."""

    method: str
    origin: OriginPool
    expected: ResponseHead | None
    series: RequestSeries | None


class RequestMeter:
    """See the module; safe to share between threads."""

    __slots__ = ("_series",)

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int, int, str], RequestSeries] = {}

    def count_answer(self, request: Countable, head: ResponseHead, time_ns: int) -> None:
        """A request was answered by this head; when it is again, its series is at hand."""
        series = self._find(request, head.status_code, "")
        # Without a call between: another thread may expect another head meanwhile.
        if request.expected is head:
            request.series = series
        series.note(time_ns)

    def count_failure(self, request: Countable, status_code: int, error: str, time_ns: int) -> None:
        """A request failed, after an answer's head or (0) without one."""
        self._find(request, status_code, error).note(time_ns)

    def _find(self, request: Countable, status_code: int, error: str) -> RequestSeries:
        key = request.origin.key
        host, port = (key.host, key.port) if key.path is None else (key.path, 0)
        method = request.method if request.method in METHODS else OTHER
        name = (method, host, port, status_code, error)
        found = self._series.get(name)
        if found is None:
            if len(self._series) >= MAX_REQUEST_SERIES:
                name = (OTHER, OTHER, 0, 0, "")
            # One step: another thread may do the same.
            found = self._series.setdefault(name, RequestSeries(*name))
        return found

    def series(self) -> tuple[RequestSeries, ...]:
        """Every series that has counted something."""
        return tuple(self._series.values())
