"""EventSender: an answer that is a stream of server-sent events, in a handler's hands.

    def handler(exchange):
        sender = exchange.respond_events()
        sender.send("hello", event="greeting", id="1")

Keep it, and send in later ticks. Each call says what became of it: OK, FULL (nothing was taken, the client is slow;
`on_writable` follows) or CLOSED. Its silences are broken by comments, on a timer.

Invariants: what is sent is whole events, in order; while the exchange is open the timer is armed, if there is one, and
after that it is gone. All calls on the thread that polls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from turbosock.config import check_seconds
from turbosock.connection.send import Send
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.sse.serialize import Data, comment_bytes, event_bytes, retry_bytes
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.reactor.timers import Timer
    from turbosock.server.http_exchange import HttpExchange

_HEARTBEAT = comment_bytes()

Callback = Callable[["EventSender"], object]


class EventSender:
    """See the module; made by `HttpExchange.respond_events`.

    Attributes:
        exchange: whose answer it is.
        last_event_id: the id that the client wants to go on after, or "".
        on_writable: called when there is room again after Send.FULL.
        on_closed: called when the client has gone, but not from inside a call whose answer says so.
        user: yours.
    """

    __slots__ = (
        "_period_ns",
        "_reactor",
        "_silent",
        "_timer",
        "exchange",
        "last_event_id",
        "on_closed",
        "on_writable",
        "user",
    )

    def __init__(
        self,
        exchange: HttpExchange,
        reactor: Reactor,
        headers: HeaderItems | None,
        heartbeat_s: float | None,
        retry_ms: int | None,
    ) -> None:
        check_seconds("heartbeat_s", heartbeat_s, optional=True)
        first = b"" if retry_ms is None else retry_bytes(retry_ms)
        self.exchange = exchange
        self.last_event_id = _last_event_id(exchange)
        self.on_writable: Callback | None = None
        self.on_closed: Callback | None = None
        self.user: object = None
        self._reactor = reactor
        # Looked at twice in each silence: so it is over before it is too long, and sending costs no look at a clock.
        self._period_ns = 0 if heartbeat_s is None else max(1, int(heartbeat_s * NS_PER_S / 2))
        self._silent = False
        self._timer: Timer | None = None
        sent = exchange.start(200, _fields(headers))
        exchange.on_writable = self._on_writable
        exchange.on_closed = self._on_closed
        if self._period_ns and sent is not Send.CLOSED:
            self._timer = reactor.timers.add(reactor.clock.now_ns() + self._period_ns, self)
        if first:
            self.put(first)
        if exchange.request.method == "HEAD":
            # Nothing comes after its head.
            self.end()

    def send(self, data: Data, *, event: str | None = None, id: str | None = None, retry_ms: int | None = None) -> Send:
        """Send one event.

        Args:
            data: text, or bytes that are UTF-8; with any line ends.
            event: its type; None: "message".
            id: what the client asks to go on after, once this event has come; None leaves that as it is.
            retry_ms: the reconnection time from now on.

        Returns:
            Send.OK; Send.FULL: nothing was taken, `on_writable` is called when there is room; or Send.CLOSED, after
            `end()` as well.

        Raises:
            InvalidOption: an argument cannot be said; it is named.
        """
        return self.put(event_bytes(data, event=event, id=id, retry_ms=retry_ms))

    def comment(self, text: str = "") -> Send:
        """Send a comment, which the client's user is not told of; returns and raises as `send`."""
        return self.put(comment_bytes(text))

    def put(self, block: bytes) -> Send:
        """Send whole events that were serialised before, by `protocol.sse.serialize`; returns and raises as `send`."""
        self._silent = False
        exchange = self.exchange
        if exchange.done:
            return Send.CLOSED
        sent = exchange.send(block)
        if sent is Send.CLOSED:
            self._stop()
        return sent

    def end(self) -> Send:
        """End the stream, in good order: most clients reconnect. Returns Send.OK or Send.CLOSED; twice is once."""
        self._stop()
        exchange = self.exchange
        if exchange.done:
            return Send.OK
        return exchange.end()

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more: it was ended, or the client has gone."""
        return self.exchange.closed or self.exchange.done

    # What the exchange and the timer call

    def on_timer(self, now_ns: int) -> None:
        """Half a silence is over."""
        timer = self._timer
        if timer is None or self.closed:
            self._stop()
            return
        timer.move(now_ns + self._period_ns)
        if self._silent:
            self.put(_HEARTBEAT)
        else:
            self._silent = True

    def _on_writable(self, exchange: HttpExchange) -> None:
        if self.on_writable is not None:
            self.on_writable(self)

    def _on_closed(self, exchange: HttpExchange) -> None:
        self._stop()
        if self.on_closed is not None:
            self.on_closed(self)

    def _stop(self) -> None:
        timer = self._timer
        if timer is not None:
            self._timer = None
            self._reactor.timers.cancel(timer)

    def __repr__(self) -> str:
        return f"<EventSender {'closed' if self.closed else 'open'} of {self.exchange.request!r}>"


def _fields(headers: HeaderItems | None) -> list[tuple[bytes, bytes]]:
    """The fields of an event stream; those that were given come before ours of the same name."""
    fields = [] if headers is None else list(HeaderList(headers).raw)
    names = {name.lower() for name, _ in fields}
    for name, value in ((b"Content-Type", b"text/event-stream"), (b"Cache-Control", b"no-cache")):
        if name.lower() not in names:
            fields.append((name, value))
    return fields


def _last_event_id(exchange: HttpExchange) -> str:
    # The field holds UTF-8, whatever other fields do.
    value = exchange.request.headers.joined(b"last-event-id")
    return "" if value is None else value.decode("utf-8", "replace")
