"""EventLog: the last events of a feed, for as many streams as subscribe, and for those that come back.

    log = EventLog()
    loop.listen(address, handler=log.subscribe)
    ...
    log.publish("the news", event="update")

Each event is serialised once and kept, up to bounds of count and bytes, so that a client that reconnects with the id of
the last event that it has goes on right after it. A subscriber that is slower than the feed waits for room and catches
up from what is kept; where that is gone already, its stream is ended, and it comes back.

Invariants: events have numbers without gaps, those from `first` on below `next` are kept; a subscriber is sent each
event once and in order, or its stream is ended. All calls on the thread that polls.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, NamedTuple

from turbosock import limits
from turbosock.config import check_count
from turbosock.connection.send import Send
from turbosock.errors import InvalidOption
from turbosock.protocol.sse.serialize import Data, event_bytes
from turbosock.server.event_sender import EventSender

if TYPE_CHECKING:
    from turbosock.protocol.http1.headers import HeaderItems
    from turbosock.server.http_exchange import HttpExchange


class EventLogStats(NamedTuple):
    """An EventLog at one moment, and since it was made.

    Attributes:
        subscribers: streams that are open; waiting: those of them whose client is slow.
        events, bytes: kept.
        published: events so far; replayed: events that were sent from what was kept.
        lagged: streams that were ended because what came next was not kept any more.
    """

    subscribers: int
    waiting: int
    events: int
    bytes: int
    published: int
    replayed: int
    lagged: int


class EventLog:
    """See the module.

    Args:
        max_events, max_bytes: what is kept; the last event is, whatever its size.
        name: begins the ids that it gives, so that those of another log, or of another run, are not taken for its own;
            None: a random one.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = (
        "_blocks",
        "_bytes",
        "_first",
        "_lagged",
        "_max_bytes",
        "_max_events",
        "_name",
        "_next",
        "_numbers",
        "_replayed",
        "_subscribers",
    )

    def __init__(
        self,
        *,
        max_events: int = limits.SSE_LOG_EVENTS,
        max_bytes: int = limits.SSE_LOG_BYTES,
        name: str | None = None,
    ) -> None:
        check_count("max_events", max_events, 1, limits.MAX_SSE_LOG_EVENTS)
        check_count("max_bytes", max_bytes, 1, limits.MAX_SSE_LOG_BYTES)
        if name is None:
            name = secrets.token_hex(4)
        if not isinstance(name, str) or not name.isascii() or not name.isalnum():
            raise InvalidOption(f"name={name!r}: give ASCII letters and digits")
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._name = name
        # Id and bytes of each event that is kept, by its number; and the numbers by id.
        self._blocks: dict[int, tuple[str, bytes]] = {}
        self._numbers: dict[str, int] = {}
        self._bytes = 0
        self._first = 1
        self._next = 1
        # What each one is sent next; below `next` where it waits for room.
        self._subscribers: dict[EventSender, int] = {}
        self._replayed = 0
        self._lagged = 0

    def publish(self, data: Data, *, event: str | None = None, id: str | None = None) -> str:
        """Send an event to every subscriber, and keep it.

        Args:
            data, event: as in `EventSender.send`.
            id: its own; None: the log's next one.

        Returns:
            Its id.

        Raises:
            InvalidOption: an argument cannot be said; nothing was sent.
        """
        number = self._next
        if id is None:
            id = f"{self._name}-{number}"
        block = event_bytes(data, event=event, id=id)
        self._next = number + 1
        self._blocks[number] = (id, block)
        self._numbers[id] = number
        self._bytes += len(block)
        while self._first < number and (len(self._blocks) > self._max_events or self._bytes > self._max_bytes):
            self._forget_first()
        for sender, position in tuple(self._subscribers.items()):
            if position == number:
                sent = sender.put(block)
                if sent is Send.OK:
                    self._subscribers[sender] = number + 1
                elif sent is Send.CLOSED:
                    self._forget(sender)
            elif position < self._first:
                self._end_lagging(sender)
        return id

    def _forget_first(self) -> None:
        first = self._first
        self._first = first + 1
        id, block = self._blocks.pop(first)
        self._bytes -= len(block)
        if self._numbers.get(id) == first:
            del self._numbers[id]

    def subscribe(
        self,
        exchange: HttpExchange,
        *,
        headers: HeaderItems | None = None,
        heartbeat_s: float | None = limits.SSE_HEARTBEAT_S,
        retry_ms: int | None = None,
        from_start: bool = False,
    ) -> EventSender:
        """Answer a request with the events from now on; a handler by itself.

        A client that names the last event that it has is sent first what came after it, or all that is kept where that
        event is not.

        Args:
            headers, heartbeat_s, retry_ms: as in `HttpExchange.respond_events`.
            from_start: whether a client that names no event is sent all that is kept.

        Returns:
            What sends; its `on_writable` and `on_closed` are the log's.

        Raises:
            StateError, InvalidOption, InvalidHeader: as `respond_events`.
        """
        sender = exchange.respond_events(headers, heartbeat_s=heartbeat_s, retry_ms=retry_ms)
        last_id = sender.last_event_id
        position = self._next
        if last_id:
            number = self._numbers.get(last_id)
            position = self._first if number is None else number + 1
        elif from_start:
            position = self._first
        sender.on_writable = self._go_on
        sender.on_closed = self._forget
        self._send_from(sender, position)
        return sender

    def unsubscribe(self, sender: EventSender) -> None:
        """End a stream; does nothing where it is over."""
        self._forget(sender)
        sender.end()

    def close(self) -> None:
        """End every stream, in good order. What is kept stays."""
        for sender in tuple(self._subscribers):
            self.unsubscribe(sender)

    def _go_on(self, sender: EventSender) -> None:
        """A slow client has room again."""
        position = self._subscribers.get(sender)
        if position is not None:
            self._send_from(sender, position)

    def _send_from(self, sender: EventSender, position: int) -> None:
        """Send what is kept from `position` on, as far as there is room."""
        blocks = self._blocks
        while position < self._next:
            sent = sender.put(blocks[position][1])
            if sent is Send.CLOSED:
                self._forget(sender)
                return
            if sent is Send.FULL:
                break
            position += 1
            self._replayed += 1
        if sender.closed:
            self._forget(sender)
        else:
            self._subscribers[sender] = position

    def _end_lagging(self, sender: EventSender) -> None:
        self._lagged += 1
        self.unsubscribe(sender)

    def _forget(self, sender: EventSender) -> None:
        self._subscribers.pop(sender, None)

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._subscribers)

    def __bool__(self) -> bool:
        """A log without subscribers is one all the same."""
        return True

    def stats(self) -> EventLogStats:
        """One snapshot."""
        positions = self._subscribers.values()
        return EventLogStats(
            subscribers=len(positions),
            waiting=sum(position < self._next for position in positions),
            events=len(self._blocks),
            bytes=self._bytes,
            published=self._next - 1,
            replayed=self._replayed,
            lagged=self._lagged,
        )

    def __repr__(self) -> str:
        return f"<EventLog events={len(self._blocks)} subscribers={len(self._subscribers)}>"
