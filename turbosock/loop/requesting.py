"""LoopRequesting: what a Loop sends to servers over HTTP: requests, event streams, WebSockets, and what warms them up.

Each call checks its arguments, prepares the request and begins it; what it returns proceeds inside `poll()`. `request`
does all of that in its own frame, because a tick may be full of them; what is opened less often is begun by the file
that has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

from turbosock import limits
from turbosock.client.exchange import writable_bytes
from turbosock.client.loop_exchange import Exchange
from turbosock.client.loop_prewarm import LoopPrewarmer
from turbosock.client.prewarm import Prewarming, refill_of
from turbosock.client.request_options import LoopOptions, RequestOptions, check_options
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Timeouts
from turbosock.errors import InvalidOption
from turbosock.loop.base import LoopBase

if TYPE_CHECKING:
    from turbosock.client.event_stream import ReconnectArgument
    from turbosock.client.loop_event_stream import LoopEventStream
    from turbosock.client.loop_websocket import LoopWebSocketOptions
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.websocket.deflate import DeflateArgument


class LoopRequesting(LoopBase):
    """See the module."""

    def request(
        self,
        method: str,
        url: str,
        *,
        into: bytearray | memoryview | None = None,
        stream: bool = False,
        notify: bool = True,
        user: object = None,
        timeout: TimeoutArgument = DEFAULT,
        **options: Unpack[RequestOptions],
    ) -> Exchange:
        """Begin a request; it proceeds inside `poll()`.

        Args:
            method, url, timeout: as in `Client.request`, and so are the options.
            into: a writable buffer for the body, yours again when the exchange is done; without it, and without
                `stream`, the body is gathered into `exchange.content`.
            stream: deliver the body in DATA events.
            notify: whether the end is an event; False for callers that look at `exchange.done`.
            user: whatever you want to find again in `exchange.user`.

        Returns:
            The exchange. It is yours for as long as you keep it.

        Raises:
            InvalidOption: an argument cannot work; nothing was sent.
            LimitError: MAX_QUEUED_EXCHANGES are under way.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("request() needs")
        requests = self.requests
        if requests.under_way >= limits.MAX_QUEUED_EXCHANGES:
            requests.check_room()
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        if into is not None:
            if stream:
                raise InvalidOption("into, stream: give one of them")
            view = None
            try:
                if type(into) is bytearray:
                    view = memoryview(into)
                elif (
                    type(into) is memoryview
                    and into.format == "B"
                    and into.ndim == 1
                    and into.c_contiguous
                    and not into.readonly
                ):
                    view = into
            except ValueError:
                # A released view: what follows says so.
                pass
            into = writable_bytes(into, "into") if view is None else view
        source = flow = informational = None
        # The usual request of a tick: nothing to validate, nothing to serialise.
        prepared = self.session.find_get(url) if not options and method == "GET" and type(url) is str else None
        if prepared is None:
            check_options(options)
            prepared, source, flow, informational = self.session.request(method, url, **options)
        exchange = requests.spare.rent()
        exchange.forget()
        exchange.user = user
        exchange.on_informational = informational
        requests.under_way += 1
        try:
            exchange.begin(prepared, source, timeouts, into, stream, notify, flow)
        except BaseException as error:
            requests.break_off(exchange, prepared, notify, error)
            raise
        return exchange

    def get(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """GET; see `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """HEAD; see `request`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """OPTIONS; see `request`."""
        return self.request("OPTIONS", url, **options)

    def delete(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """DELETE; see `request`."""
        return self.request("DELETE", url, **options)

    def post(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """POST; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """PUT; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str, **options: Unpack[LoopOptions]) -> Exchange:
        """PATCH; see `request`."""
        return self.request("PATCH", url, **options)

    def events_from(
        self,
        url: str,
        *,
        method: str = "GET",
        last_event_id: str | None = None,
        resume: str | None = None,
        reconnect: ReconnectArgument = None,
        heartbeat_s: float | None = None,
        max_event_bytes: int | None = None,
        timeout: TimeoutArgument = DEFAULT,
        user: object = None,
        **options: Unpack[RequestOptions],
    ) -> LoopEventStream:
        """Read a stream of server-sent events, over as many connections as it takes, inside `poll()`.

        Each event is a MESSAGE in `events`, beside OPEN each time that the stream is open, and one CLOSED at its end.

        Args:
            url, user: as in `request`; the others as in `Client.events`.

        Returns:
            The stream; it is each of its events' `connection`.

        Raises:
            InvalidOption: an argument cannot work; nothing was sent.
            LimitError: MAX_QUEUED_EXCHANGES are under way.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("events_from() needs")
        # Not with the module: few programs read event streams.
        from turbosock.client.event_stream import EventStreamSettings
        from turbosock.client.loop_event_stream import LoopEventStream

        settings = EventStreamSettings(last_event_id, resume, reconnect, heartbeat_s, max_event_bytes)
        stream = LoopEventStream(self, method, url, timeout, settings, options, user)
        stream.start()
        return stream

    def websocket(
        self,
        url: str,
        *,
        subprotocols: Iterable[str] = (),
        origin: str | None = None,
        deflate: DeflateArgument = False,
        timeout: TimeoutArgument = DEFAULT,
        user: object = None,
        **options: Unpack[LoopWebSocketOptions],
    ) -> WebSocketConnection:
        """Open a WebSocket (RFC 6455) inside `poll()`; its messages are events.

        Args:
            url, subprotocols, origin, deflate: as in `Client.websocket`.
            timeout: of the opening, redirects included, as in `request`.
            user: whatever you want to find again in `connection.user`.
            options: of the WebSocket, as in WebSocketSettings: `max_message`, `quota`, `max_unsent`, and the times
                `message_timeout_s`, `idle_timeout_s`, `write_timeout_s`, `ping_interval_s`, `ping_timeout_s`,
                `close_timeout_s`. Of the request that opens it, as in `Client.websocket`: `params`, `headers`, `auth`,
                `cookies`, `follow_redirects`, `proxy`, `host_map`, `local_address`.

        Returns:
            The WebSocket. OPEN tells when it is open; if it never is, its one event is CLOSED, with the reason: a
            StatusError where the server refused.

        Raises:
            InvalidOption: an argument cannot work; the message names it, and nothing was sent.
            LimitError: MAX_QUEUED_EXCHANGES are under way.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("websocket() needs")
        # Not with the module: few programs open WebSockets.
        from turbosock.client.loop_websocket import open_websocket

        if self._mask_keys is None:
            from turbosock.protocol.websocket.mask_keys import MaskKeys

            self._mask_keys = MaskKeys()
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        connection = open_websocket(self, self._mask_keys, url, timeouts, subprotocols, origin, deflate, options)
        connection.user = user
        return connection

    def prewarm(
        self,
        url: str,
        min_ready: int = 1,
        max_ready: int | None = None,
        *,
        interval_s: float = limits.PREWARM_INTERVAL_S,
        backoff_first_s: float = limits.PREWARM_BACKOFF_FIRST_S,
        backoff_cap_s: float = limits.PREWARM_BACKOFF_CAP_S,
        adaptive: bool = False,
        timeout: TimeoutArgument = DEFAULT,
    ) -> Prewarming:
        """Keep connections to the origin of `url` ready, dialled inside `poll()`; arguments and errors are Client's.

        Returns:
            What tells how many are ready, and ends it.
        """
        if self.closed:
            raise self._closed_error("prewarm() needs")
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        refill = refill_of(
            self.config.pool,
            min_ready,
            max_ready,
            interval_s=interval_s,
            backoff_first_s=backoff_first_s,
            backoff_cap_s=backoff_cap_s,
            adaptive=adaptive,
        )
        prepared = self.session.preparer.prepare("GET", url)
        if self.prewarmer is None:
            self.prewarmer = LoopPrewarmer(self)
        return self.prewarmer.add(prepared.origin, refill, timeouts, prepared.url.safe)
