"""LoopEventStream: an event stream inside a Loop, whose events are taken from `loop.events`.

    stream = loop.events_from(url)
    while running:
        loop.poll(max_time=0.003)
        for event in loop.events:
            if event.connection is stream and event.kind is EventKind.MESSAGE:
                handle(event.event, event.data)

A receive stands in the queue once, with its first event; the others are read while it is iterated over, one after the
other, and what they lend is lent until the next step. A stream whose events are not taken is not read. It tells OPEN
each time that it is open, and CLOSED once, when no more will come.

Invariants: `pending` is True from when the first event of a receive is queued until the last one was taken, and
meanwhile nothing is received; an end that comes then is told after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from turbosock.client.event_exchange import ChainedEventExchange, EventExchange
from turbosock.client.event_stream import EventStream, EventStreamSettings, StreamState
from turbosock.client.events import Event, EventKind
from turbosock.errors import Cancelled, ClientClosed, LimitError, PoolExhausted, TurbosockError
from turbosock.limits import SSE_EVENT_BYTES, SSE_LOOP_BUFFER_BYTES
from turbosock.protocol.sse.event import ServerSentEvent
from turbosock.protocol.sse.parser import EventParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbosock.client.loop_services import LoopServices
    from turbosock.client.request import PreparedRequest
    from turbosock.client.request_options import RequestOptions
    from turbosock.client.timeout_argument import TimeoutArgument
    from turbosock.protocol.http1.head import ResponseHead


class StreamMessage(ServerSentEvent, Event):
    """The event that a stream has read last, as `loop.events` tells it; lent until the next one is taken."""

    __slots__ = ("stream",)

    kind = EventKind.MESSAGE
    error = None
    exchange = None

    stream: LoopEventStream

    def __init__(self, stream: LoopEventStream) -> None:
        super().__init__()
        self.stream = stream

    @property
    def connection(self) -> LoopEventStream:
        """The stream."""
        return self.stream


class LoopEventStream(EventStream):
    """See the module.

    Attributes:
        user: yours.
        pending: whether events wait to be taken.
    """

    __slots__ = ("_exchange", "_late_end", "_loop", "_stopped", "_timer", "message", "pending", "user")

    def __init__(
        self,
        loop: LoopServices,
        method: str,
        url: str,
        timeout: TimeoutArgument,
        settings: EventStreamSettings,
        options: RequestOptions,
        user: object,
    ) -> None:
        config = loop.config
        most = SSE_EVENT_BYTES if settings.max_event_bytes is None else settings.max_event_bytes
        parser = EventParser(loop.buffers, max_event_bytes=most, buffer_bytes=SSE_LOOP_BUFFER_BYTES)
        self.message = parser.event = StreamMessage(self)
        super().__init__(
            method,
            url,
            timeout,
            config.timeouts,
            settings,
            options,
            parser,
            loop.bodies,
            config.serializer,
            loop.event_tally,
        )
        self._loop = loop
        self._timer = loop.reactor.timers.idle(self)
        self._exchange: EventExchange | None = None
        # An end that waits for the events before it, and whether it waits.
        self._late_end: tuple[TurbosockError | None] | None = None
        self._stopped = False
        self.pending = False
        self.user = user
        loop.event_streams.add(self)

    # Connections

    def start(self) -> None:
        """Begin the first request; for Loop only.

        Raises:
            InvalidOption, LimitError: it cannot be sent at all.
        """
        try:
            self._connect()
        except TurbosockError:
            self._loop.event_streams.discard(self)
            self._end(None)
            raise

    def _connect(self) -> None:
        now_ns = self._now_ns()
        self.begin(now_ns)
        loop = self._loop
        exchange = EventExchange(loop, self) if loop.chain is None else ChainedEventExchange(loop, self)
        self._exchange = exchange
        loop.requests.check_room()
        prepared, source, flow, informational = loop.session.request(self.method, self.url, **self.request_options())
        exchange.on_informational = informational
        loop.requests.begin(exchange, prepared, source, self.timeouts_now(now_ns), flow, stream=True)

    def on_timer(self, now_ns: int) -> None:
        """It is time for the next connection."""
        if self.state is not StreamState.WAITING:
            return
        try:
            self._connect()
        except LimitError as error:
            # There is no room now.
            self._over(PoolExhausted(f"no request could be begun: {error}"))
        except TurbosockError as error:
            self._over(error)

    def on_head(self, prepared: PreparedRequest, head: ResponseHead) -> None:
        """An answer began; raises as `accept`."""
        if self.accept(prepared, head):
            self._loop.events.put_open(self)
        else:
            self._stopped = True

    def on_end(self, exchange: EventExchange, error: TurbosockError | None) -> None:
        """A connection is over."""
        if exchange is not self._exchange:
            return
        self._exchange = None
        if self.pending:
            self._late_end = (error,)
        else:
            self._over(error)

    def _over(self, error: TurbosockError | None) -> None:
        if self.state is StreamState.CLOSED:
            return
        if self._stopped:
            self._close(None)
            return
        try:
            if self.after(error, self._now_ns()):
                self._timer.move(self.due_ns)
                return
        except LimitError as no_timer:
            self.error = no_timer
        self._close(self.error)

    # Events

    def took(self, count: int, *, full: bool) -> None:
        """So many bytes were received into the parser; queue the first event of them.

        Raises:
            LimitError: code "event_too_large".
        """
        parser = self.parser
        now_ns = self._now_ns()
        parser.suit(count, full=full)
        parser.advance(count, now_ns)
        if parser.next_event():
            self._parse.note(self._now_ns() - now_ns)
            self.pending = True
            self._loop.events.append(self.message)

    def begin_taking(self) -> Iterator[StreamMessage] | None:
        """The first event of a receive is handed over; return what reads the others. None: it was dropped meanwhile."""
        if not self.pending:
            return None
        self._delivery.note(self._now_ns() - self.message.received_ns)
        # The parser tells all of its events by `message`.
        return cast("Iterator[StreamMessage]", iter(self.parser))

    def taken(self) -> None:
        """The last event of the receive was taken: read on, or end."""
        if not self.pending:
            # It was closed meanwhile.
            return
        self.pending = False
        try:
            self.parser.check()
        except LimitError as refused:
            self._fail(refused)
            return
        if self._late_end is not None:
            (error_of_end,) = self._late_end
            self._late_end = None
            self._over(error_of_end)
        elif self._exchange is not None:
            self._exchange.go_on()

    # The end

    def _fail(self, error: TurbosockError) -> None:
        """End the present connection, or the wait for it, and with this error, which is final, the stream."""
        exchange = self._exchange
        self._late_end = None
        self.pending = False
        if exchange is not None:
            exchange.fail(error)
        if self.state is not StreamState.CLOSED:
            self._exchange = None
            self._close(error)

    def _close(self, error: TurbosockError | None) -> None:
        """No more events: tell so, once."""
        self._end(error)
        self._timer.disarm()
        self._loop.event_streams.discard(self)
        self._loop.events.put_closed(self, error)

    def close(self) -> None:
        """End the stream, on the loop's thread: events that wait are dropped, CLOSED follows. Twice does nothing."""
        if self.state is StreamState.CLOSED:
            return
        exchange = self._exchange
        self._exchange = None
        self._late_end = None
        self.pending = False
        self._close(None)
        if exchange is not None:
            exchange.cancel()

    def cancel(self) -> None:
        """End the stream from any thread, in the loop's next turn: CLOSED comes with Cancelled."""
        self._loop.requests.attend_later(self)

    def attend(self) -> None:
        """The loop's part of `cancel()`."""
        if self.state is not StreamState.CLOSED:
            self._fail(Cancelled("the event stream was cancelled"))

    def drop(self, error: ClientClosed) -> None:
        """The loop is closed, or another process's: nothing is told."""
        self._exchange = None
        self.pending = False
        if self.state is not StreamState.CLOSED:
            self._end(error)

    def _now_ns(self) -> int:
        return self._loop.reactor.clock.now_ns()
