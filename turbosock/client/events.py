"""Events: what a Loop tells its user, pulled and not pushed.

`loop.events` is iterated after `poll()`; leaving early leaves the rest for the next time. A DataEvent and what it lends
(`data`) are valid until the next `poll()`; the object is then used again, unless somebody still holds it. The end of a
request is announced by its Exchange, which is an Event itself: nothing is made for it. The events of an event stream
stand in the queue together, and are read one by one as they are taken: each is valid until the next step.
A ConnectionEvent tells of a message connection or a datagram socket, on the same terms as a DataEvent.

Invariant: events come out in the order in which they went in; a queue above its bound stops the loop's reading and
never drops an event.
"""

from __future__ import annotations

import enum
from collections import deque
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from turbosock import limits
from turbosock.buffers import ObjectPool
from turbosock.buffers.interpreter import REUSE_IS_SAFE, UNSHARED_REFERENCES, getrefcount
from turbosock.connection.retained import RetainedMessage
from turbosock.errors import LeaseError, StateError, TurbosockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from turbosock.buffers import PooledBuffer
    from turbosock.client.loop_event_stream import LoopEventStream, StreamMessage
    from turbosock.client.loop_exchange import Exchange
    from turbosock.connection.message_ring import Holdable, Taker


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

    The end of a request is an event too: the Exchange itself, valid for as long as you hold it.

    Attributes:
        kind: what.
        exchange: the request concerned, or None.
        connection: the connection concerned, or None.
        data: payload or None: a memoryview, which is lent; for a WebSocket also bytes or str of your own.
        error: why, for ERROR and CLOSED.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        kind: EventKind
        error: TurbosockError | None

        @property
        def data(self) -> Any: ...

        @property
        def stream(self) -> LoopEventStream | None: ...

        @property
        def exchange(self) -> Exchange | None: ...

        @property
        def connection(self) -> object: ...

    else:
        # Whose events it begins, if it is an event stream's.
        stream = None


class DataEvent(Event):
    """Payload that arrived; pooled.

    Attributes:
        lease: the memory behind `data`; `retain()` it to keep the data past the next `poll()`.
    """

    __slots__ = ("connection", "data", "error", "exchange", "kind", "lease")

    def __init__(self) -> None:
        self.kind = EventKind.DATA
        self.exchange: Exchange | None = None
        self.connection: object = None
        self.data: memoryview | None = None
        self.error: TurbosockError | None = None
        self.lease: PooledBuffer | None = None

    def forget(self) -> None:
        """Let go of everything; lent data ends."""
        self.exchange = None
        self.connection = None
        data = self.data
        if data is not None:
            self.data = None
            try:
                data.release()
            except BufferError:
                # Some object still looks at it through this very view. As with a slice that was kept, what it sees is
                # another's from now on; diagnostics report the memory's live view.
                pass
        lease = self.lease
        if lease is not None:
            self.lease = None
            lease.release()

    def __repr__(self) -> str:
        return f"<DataEvent {len(self.data) if self.data is not None else 0} bytes of {self.exchange}>"


class GuardedDataEvent(DataEvent):
    """A DataEvent of diagnostics: made anew each time, and one that is used past its life says so."""

    __slots__ = ()

    def forget(self) -> None:
        super().forget()
        del self.data, self.exchange, self.lease

    def __getattr__(self, name: str) -> object:
        # Only for attributes that are missing: forget() deletes them.
        if name in ("data", "exchange", "lease"):
            raise LeaseError(
                f"{name} of a DATA event after the next poll(): copy the data, or retain() its lease, before"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except LeaseError:
            return "<DataEvent, over>"


class ConnectionEvent(Event):
    """What happened to a message connection or a datagram socket: OPEN, MESSAGE, WRITABLE or CLOSED; pooled.

    Attributes:
        address: the sender of a datagram; None for connections, which have their own.
    """

    __slots__ = ("address", "connection", "data", "error", "kind", "ring")

    exchange: Final = None

    def __init__(self) -> None:
        self.kind = _OPEN
        self.connection: Any = None
        self.data: Any = None
        self.error: TurbosockError | None = None
        self.address: Any = None
        # Where the data lies, if that is lent.
        self.ring: Holdable | None = None

    def retain(self) -> RetainedMessage:
        """The message, to be kept past the next `poll()`; it counts against its connection's quota until its release.

        Raises:
            StateError: the event is none of a message, or is over.
        """
        if self.data is None:
            raise StateError("retain() of an event without data: retain a MESSAGE, before the next poll()")
        return RetainedMessage(self.data, self.ring)

    def forget(self) -> None:
        """Let go of everything; lent data ends."""
        taker: Taker | None = self.connection
        ring = self.ring
        self.connection = None
        self.address = None
        self.error = None
        data = self.data
        if data is None:
            return
        self.data = None
        if ring is not None:
            self.ring = None
            try:
                data.release()
            except BufferError:
                # As above.
                pass
            ring.let_go()
        if taker is not None:
            taker.untaken -= 1
            if taker.held:
                taker.on_room()

    def __repr__(self) -> str:
        return f"<ConnectionEvent {self.kind.name} of {self.connection}>"


class GuardedConnectionEvent(ConnectionEvent):
    """A ConnectionEvent of diagnostics: made anew each time, and one that is used past its life says so."""

    __slots__ = ()

    def forget(self) -> None:
        super().forget()
        del self.data, self.connection

    def __getattr__(self, name: str) -> object:
        # Only for attributes that are missing: forget() deletes them.
        if name in ("data", "connection"):
            raise LeaseError(f"{name} of an event after the next poll(): copy the data, or retain() it, before")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        try:
            return super().__repr__()
        except LeaseError:
            return "<ConnectionEvent, over>"


_OPEN: Final = EventKind.OPEN
_MESSAGE: Final = EventKind.MESSAGE
_WRITABLE: Final = EventKind.WRITABLE
_CLOSED: Final = EventKind.CLOSED


class EventQueue:
    """The events of one Loop; iterating takes them out.

    Args:
        exchanges: takes the exchanges whose end was delivered.
        pooling, diagnostics: as in Config.
    """

    __slots__ = (
        "_delivered",
        "_exchanges",
        "_free",
        "_held",
        "_make",
        "_max_free",
        "_messages",
        "_note",
        "_pool",
        "_take",
        "_taking",
        "append",
        "full_count",
        "max_queued",
        "waiting",
    )

    def __init__(self, exchanges: ObjectPool[Exchange], *, pooling: bool, diagnostics: bool) -> None:
        self._exchanges = exchanges
        # The events that were not taken yet.
        self.waiting: deque[Event] = deque()
        self._take = self.waiting.popleft
        # Adds an event; the queue's own method, for the loop.
        self.append = self.waiting.append
        # The event stream whose events are being taken, and what reads those behind the first one.
        self._taking: LoopEventStream | None = None
        self._messages: Iterator[StreamMessage] | None = None
        # A deque keeps its blocks; a list is made anew as it grows and shrinks.
        self._delivered: deque[Event] = deque()
        self._note = self._delivered.append
        kind: type[DataEvent] = GuardedDataEvent if diagnostics else DataEvent
        self._pool: ObjectPool[DataEvent] = ObjectPool(
            kind, kind.forget, max_idle=limits.MAX_IDLE_EVENTS, pooling=pooling and not diagnostics
        )
        # Events of connections that wait for their next use. No ObjectPool: each message would cost two calls more.
        self._free: deque[ConnectionEvent] = deque()
        self._held: ConnectionEvent | None = None
        self._make: type[ConnectionEvent] = GuardedConnectionEvent if diagnostics else ConnectionEvent
        self._max_free = limits.MAX_IDLE_EVENTS if pooling and REUSE_IS_SAFE and not diagnostics else 0
        self.max_queued = limits.MAX_QUEUED_EVENTS
        # How often the bound made the loop stop.
        self.full_count = 0

    def __len__(self) -> int:
        return len(self.waiting) if self._messages is None else len(self.waiting) + 1

    def __iter__(self) -> Iterator[Event]:
        stream = self._taking
        if stream is None and self.waiting:
            stream = self.waiting[0].stream
        if stream is None or not stream.parser.begun:
            return self
        # No step of Python's stands between the parser of many events and whoever takes them.
        return chain.from_iterable(iter(self._take_some, None))

    def __next__(self) -> Event:
        if self._messages is not None:
            for message in self._messages:
                return message
            taking = self._taking
            assert taking is not None, "the two are set together"
            self._messages = self._taking = None
            taking.taken()
        while self.waiting:
            event = self._take()
            stream = event.stream
            if stream is None:
                self._note(event)
            elif event is stream.message:
                messages = stream.begin_taking()
                if messages is None:
                    continue
                self._messages = messages
                self._taking = stream
            return event
        raise StopIteration

    def _take_some(self) -> Iterable[Event] | None:
        """The next event, with those of its stream that came with it; None: there is none."""
        event = next(self, None)
        if event is None:
            return None
        messages = self._messages
        return (event,) if messages is None else chain((event,), messages)

    def put_data(self, exchange: Exchange, lease: PooledBuffer, count: int) -> None:
        """Add a DATA event for the first `count` bytes of `lease`; for the loop."""
        event = self._pool.rent()
        event.exchange = exchange
        event.lease = lease
        event.data = lease.view[:count]
        self.waiting.append(event)

    def put_message(
        self, connection: Taker, data: memoryview | bytes | str, ring: Holdable | None, address: object = None
    ) -> None:
        """Add a MESSAGE event; with `ring`, where its data lies, it is one more of the ring's holders."""
        event = self._free.pop() if self._free else self._make()
        event.kind = _MESSAGE
        event.connection = connection
        event.data = data
        event.address = address
        if ring is not None:
            event.ring = ring
            ring.holders += 1
        self.append(event)

    def put_open(self, connection: object, address: object = None) -> None:
        """Add an OPEN event."""
        self._put(_OPEN, connection, address)

    def put_writable(self, connection: object, address: object = None) -> None:
        """Add a WRITABLE event."""
        self._put(_WRITABLE, connection, address)

    def put_closed(self, connection: object, error: TurbosockError | None, address: object = None) -> None:
        """Add a CLOSED event."""
        self._put(_CLOSED, connection, address).error = error

    def tells_end(self, connection: object) -> bool:
        """Whether its CLOSED event waits to be taken."""
        return any(event.kind is _CLOSED and event.connection is connection for event in self.waiting)

    def _put(self, kind: EventKind, connection: object, address: object) -> ConnectionEvent:
        event = self._free.pop() if self._free else self._make()
        event.kind = kind
        event.connection = connection
        event.address = address
        self.append(event)
        return event

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be produced until events are taken."""
        return len(self.waiting) >= self.max_queued

    def recycle(self) -> None:
        """The next poll begins: what was delivered before is over."""
        delivered = self._delivered
        while delivered:
            event = delivered.pop()
            if isinstance(event, ConnectionEvent):
                event.forget()
                # As in an ObjectPool: what somebody still holds is not used again. The last one is held by the variable
                # of its user's loop, until that names the first one of this turn: it is looked at once more.
                if len(self._free) < self._max_free:
                    if getrefcount(event) <= UNSHARED_REFERENCES:
                        self._free.append(event)
                        continue
                    held, self._held = self._held, event
                    if held is not None and getrefcount(held) <= UNSHARED_REFERENCES:
                        self._free.append(held)
            elif isinstance(event, DataEvent):
                self._pool.give_back(event)
            elif not event.gathers:  # type: ignore[attr-defined]  # what is no DataEvent is an Exchange
                # One with content is its user's object; the others are used again once nobody holds them.
                self._exchanges.give_back(event)  # type: ignore[arg-type]  # as above

    def clear(self) -> None:
        """Drop everything."""
        self.recycle()
        self._messages = self._taking = None
        while self.waiting:
            event = self.waiting.popleft()
            if isinstance(event, (DataEvent, ConnectionEvent)):
                event.forget()
        self._free.clear()
        self._held = None
        self._pool.clear()
