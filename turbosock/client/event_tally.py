"""EventTally: what the event streams of one Client or Loop have counted together, those included that are gone.

A stream counts for itself, where it costs least. What it has counted since the tally last looked is added here when
somebody asks, and when the stream ends or is dropped; so the sums only grow.

Invariant: whatever a stream has counted is added once. The lock may be taken again by its holder, because a stream can
be dropped inside anything.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from turbosock.forks import renewed_in_child
from turbosock.limits import TIME_BUCKETS
from turbosock.reactor.time_histogram import TimeCounts

if TYPE_CHECKING:
    from turbosock.client.event_stream import EventStream

_NO_TIMES: Final = TimeCounts(0, 0, 0, (0,) * TIME_BUCKETS)


class EventTotals(NamedTuple):
    """Sums over streams; as in EventStreamStats."""

    reconnections: int = 0
    events: int = 0
    bytes_in: int = 0
    parse: TimeCounts = _NO_TIMES
    delivery: TimeCounts = _NO_TIMES

    def plus(self, other: EventTotals) -> EventTotals:
        """Both together."""
        return EventTotals(
            self.reconnections + other.reconnections,
            self.events + other.events,
            self.bytes_in + other.bytes_in,
            self.parse + other.parse,
            self.delivery + other.delivery,
        )

    def minus(self, earlier: EventTotals) -> EventTotals:
        """What was counted since."""
        return EventTotals(
            self.reconnections - earlier.reconnections,
            self.events - earlier.events,
            self.bytes_in - earlier.bytes_in,
            self.parse - earlier.parse,
            self.delivery - earlier.delivery,
        )


class EventTally:
    """See the module; safe to share between threads."""

    __slots__ = ("__weakref__", "_lock", "_streams", "_totals")

    def __init__(self) -> None:
        self.renew_lock()
        self._streams: WeakSet[EventStream] = WeakSet()
        self._totals = EventTotals()
        _tallies.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.RLock()

    def begin(self, stream: EventStream) -> None:
        """Look after a stream that has counted nothing yet."""
        with self._lock:
            self._streams.add(stream)

    def add(self, stream: EventStream) -> None:
        """Add what a stream has counted since it was last looked at."""
        with self._lock:
            stats = stream.stats()
            now = EventTotals(stats.reconnections, stats.events, stats.bytes_in, stats.parse, stats.delivery)
            added = now.minus(stream.tallied)
            stream.tallied = now
            self._totals = self._totals.plus(added)

    def totals(self) -> EventTotals:
        """The sums at this moment."""
        with self._lock:
            for stream in tuple(self._streams):
                self.add(stream)
            return self._totals


_tallies: Final = renewed_in_child(EventTally.renew_lock)
