"""Load: requests for some URLs, so many in flight at any time, and no faster than they may be.

The places are divided among the URLs in turn. Bodies are received and dropped. A place whose request failed rests for
a moment, so that a server that is down is not asked as fast as it can refuse.

Invariant: each place is in flight, ready (its request is due, and waits for the rate), or at rest.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.cli.top.tally import Tally
from turbosock.client.events import EventKind
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.client.loop_exchange import Exchange
    from turbosock.errors import TurbosockError
    from turbosock.loop import Loop

_REST_NS: Final = int(limits.TOP_REST_S * NS_PER_S)


class Target:
    """One URL and what became of the requests for it.

    Attributes:
        url: as it is shown, without credentials, once the first request has begun.
        before: the tally up to the last look; recent: since then.
    """

    __slots__ = ("_given", "before", "recent", "url")

    def __init__(self, url: str) -> None:
        self._given = url
        self.url = ""
        self.before = Tally()
        self.recent = Tally()

    def begin(self, loop: Loop, options: dict[str, Any]) -> None:
        """Ask for it once more; raises as `Loop.request`."""
        exchange = loop.request("GET", self._given, stream=True, user=self, **options)
        self.url = exchange.prepared.url.safe

    def look(self) -> None:
        """What is recent from now on is counted anew."""
        self.before.add(self.recent)
        self.recent = Tally()

    @property
    def total(self) -> Tally:
        """The tally since the start."""
        total = Tally()
        total.add(self.before)
        total.add(self.recent)
        return total


class Load:
    """Keeps requests running in a Loop; `turn()` again and again.

    Args:
        loop: which it does not close.
        urls: what is asked for.
        places: requests in flight at any time, at least one for each URL.
        rate_per_s: how many requests may begin in a second; None: as many as there is room for.
        options: of each request.

    Attributes:
        targets: one for each URL.
        started_ns, looked_ns: when the load, and the present interval, began.
        in_flight: requests under way.
        last_error: of a request.
    """

    def __init__(
        self,
        loop: Loop,
        urls: Sequence[str],
        *,
        places: int = limits.TOP_IN_FLIGHT,
        rate_per_s: float | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.loop = loop
        self.targets = [Target(url) for url in urls]
        self.in_flight = 0
        self.last_error: TurbosockError | None = None
        self._options = options or {}
        self._clock = loop.reactor.clock
        self.started_ns = self.looked_ns = self._due_ns = self._clock.now_ns()
        self._step_ns = 0 if rate_per_s is None else int(NS_PER_S / rate_per_s)
        count = max(places, len(urls))
        self._ready = deque(self.targets[index % len(urls)] for index in range(count))
        # Places at rest: until when, a number that keeps their order, and whose.
        self._resting: list[tuple[int, int, Target]] = []
        self._rests = 0

    def turn(self, until_ns: int) -> None:
        """Begin what is due, before and behind a wait until something happened, but no longer than until then.

        Raises:
            TurbosockError: a request cannot even begin.
        """
        now_ns = self._clock.now_ns()
        self._begin_due(now_ns)
        wake_ns = until_ns
        if self._ready:
            wake_ns = min(wake_ns, self._due_ns)
        if self._resting:
            wake_ns = min(wake_ns, self._resting[0][0])
        self.loop.poll(max(wake_ns - now_ns, 0) / NS_PER_S)
        for event in self.loop.events:
            if event.kind is not EventKind.DATA:
                assert event.exchange is not None, "events of requests alone are asked for"
                self._finish(event.exchange)
        self._begin_due(self._clock.now_ns())

    def look(self) -> None:
        """Begin another interval."""
        self.looked_ns = self._clock.now_ns()
        for target in self.targets:
            target.look()

    def _begin_due(self, now_ns: int) -> None:
        while self._resting and self._resting[0][0] <= now_ns:
            self._ready.append(heapq.heappop(self._resting)[2])
        # What could not begin in time is not made up for at once.
        self._due_ns = max(self._due_ns, now_ns - NS_PER_S)
        while self._ready and self._due_ns <= now_ns:
            self._ready.popleft().begin(self.loop, self._options)
            self.in_flight += 1
            self._due_ns += self._step_ns

    def _finish(self, exchange: Exchange) -> None:
        target = exchange.user
        assert isinstance(target, Target), "as given with the request"
        self.in_flight -= 1
        target.recent.note(exchange)
        if exchange.error is None:
            self._ready.append(target)
            return
        self.last_error = exchange.error
        self._rests += 1
        heapq.heappush(self._resting, (exchange.finished_ns + _REST_NS, self._rests, target))
