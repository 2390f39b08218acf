"""Events: what a Loop tells its user, pulled and not pushed.

`loop.events` is iterated after `poll()`; leaving early leaves the rest for the next time. An Event and what it lends
(`data`) are valid until the next `poll()`; the object is then used again, unless somebody still holds it.

Invariant: events come out in the order in which they went in; a queue above its bound stops the loop's reading and
never drops an event.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.buffers import ObjectPool

if TYPE_CHECKING:
    from turbosock.buffers import PooledBuffer
    from turbosock.client.ticking import Exchange
    from turbosock.errors import TurbosockError


class EventKind(enum.Enum):
    """What happened.

    OPEN, MESSAGE, DATA, WRITABLE, CLOSED: of a connection. RESPONSE: an exchange is done, with an answer.
    ERROR: an exchange, or something without a connection, failed.
    """

    OPEN = "open"
    MESSAGE = "message"
    DATA = "data"
    RESPONSE = "response"
    WRITABLE = "writable"
    CLOSED = "closed"
    ERROR = "error"


class Event:
    """One thing that happened; valid, with what it lends, until the next `poll()`.

    Attributes:
        kind: what.
        exchange: the request concerned, or None.
        connection: the connection concerned, or None.
        data: payload, lent, or None.
        error: why, for ERROR and CLOSED.
    """

    __slots__ = ("connection", "data", "error", "exchange", "kind", "lease")

    def __init__(self) -> None:
        self.kind = EventKind.ERROR
        self.exchange: Exchange | None = None
        self.connection: object = None
        self.data: memoryview | None = None
        self.error: TurbosockError | None = None
        self.lease: PooledBuffer | None = None

    def forget(self) -> None:
        """Let go of everything; lent data ends."""
        self.exchange = None
        self.connection = None
        self.error = None
        if self.data is not None:
            self.data.release()
            self.data = None
        if self.lease is not None:
            self.lease.release()
            self.lease = None

    def __repr__(self) -> str:
        return f"<Event {self.kind.name} {self.exchange or self.connection or ''}>"


class EventQueue:
    """The events of one Loop; iterating takes them out.

    Args:
        pooling, diagnostics: as in Config.
    """

    __slots__ = ("_delivered", "_events", "_pool", "full_count", "max_queued")

    def __init__(self, *, pooling: bool, diagnostics: bool) -> None:
        self._events: deque[Event] = deque()
        self._delivered: list[Event] = []
        self._pool = ObjectPool(
            Event, Event.forget, max_idle=limits.MAX_IDLE_EVENTS, pooling=pooling, diagnostics=diagnostics
        )
        self.max_queued = limits.MAX_QUEUED_EVENTS
        # How often the bound made the loop stop.
        self.full_count = 0

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> EventQueue:
        return self

    def __next__(self) -> Event:
        events = self._events
        if not events:
            raise StopIteration
        event = events.popleft()
        self._delivered.append(event)
        return event

    def put(self, kind: EventKind, exchange: Exchange | None, error: TurbosockError | None = None) -> Event:
        """Add an event; for the loop."""
        event = self._pool.rent()
        event.kind = kind
        event.exchange = exchange
        event.error = error
        self._events.append(event)
        return event

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be produced until events are taken."""
        return len(self._events) >= self.max_queued

    def recycle(self) -> None:
        """The next poll begins: what was delivered before is over."""
        delivered = self._delivered
        if delivered:
            give_back = self._pool.give_back
            while delivered:
                give_back(delivered.pop())

    def clear(self) -> None:
        """Drop everything."""
        self.recycle()
        while self._events:
            self._events.popleft().forget()
        self._pool.clear()
