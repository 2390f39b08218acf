"""Loop: the ticking face. One `poll()` a frame moves everything that is ready, within a budget.

    loop = turbosock.Loop()
    exchange = loop.request("GET", url, into=buffer)
    while running:
        loop.poll(max_time=0.003)
        for event in loop.events:
            ...

One turn: events of the last turn are recycled; cancelled exchanges end; look-ups are delivered and dials begun; what
is ready is collected and stepped until nothing is left or a budget is spent; timers that are due fire. However small
the budget, a turn begins one dial, takes one step and fires one timer, where they wait; each of these looks at the
time when it is done, and stops. What was not served waits in line, in order.

Invariants: one thread runs a Loop; `wakeup()` and `Exchange.cancel()` are the calls that another may make; a network
failure is an event, never an exception out of `poll()`; what is not ours to handle (no memory, an interrupt) is raised
by the call that met it, after the exchange concerned has ended.

A Loop belongs to the process that made it. In the child of a fork its copy is closed: descriptors are shared, an epoll
set among them, so the child closes its copies of them, says nothing to any peer and unlinks no path. The parent's Loop
goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Unpack, overload

from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.client.auth.argument import AuthArgument
from turbosock.client.default_headers import default_headers
from turbosock.client.dials import Dials
from turbosock.client.event_tally import EventTally
from turbosock.client.events import EventQueue
from turbosock.client.exchange import writable_bytes
from turbosock.client.loop_connection import LoopConnection
from turbosock.client.loop_exchange import Exchange
from turbosock.client.loop_prewarm import LoopPrewarmer
from turbosock.client.loop_requests import LoopRequests, here
from turbosock.client.message_dial import MessageOptions, connect
from turbosock.client.middleware import Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.prewarm import Prewarming, refill_of
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.request import Preparer
from turbosock.client.request_options import LoopOptions, RequestOptions, check_options
from turbosock.client.retries import RetryPolicy
from turbosock.client.routes import Routes
from turbosock.client.session import REDIRECTS, CookiesArgument, Session
from turbosock.client.timeout_argument import DEFAULT, TimeoutArgument
from turbosock.config import Config, Timeouts, TlsConfig, check_seconds
from turbosock.connection.broadcast import Broadcast, broadcast
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.message_services import MessageServices
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import ClientClosed, InvalidOption, StateError, TurbosockError
from turbosock.forks import renewed_in_child
from turbosock.loop_stats import LoopStats
from turbosock.poll_result import PollResult, Stop
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.pool.origin_pool import Waiter
from turbosock.protocol.framing.choice import FramingArgument, framing_of
from turbosock.reactor.clock import NS_PER_S, SYSTEM_CLOCK, Clock, virtual
from turbosock.reactor.poller import IN
from turbosock.reactor.reactor import Handler, Reactor
from turbosock.reactor.sockets import ListenAddress
from turbosock.server.http_listener import HttpHandler, HttpListener
from turbosock.server.listening import listen
from turbosock.server.options import HttpOptions, TcpOptions, UdpOptions, WebSocketOptions
from turbosock.server.stream_listener import StreamListener
from turbosock.server.tcp_listener import TcpListener
from turbosock.server.udp_listener import UdpListener
from turbosock.transport.connector import Connector, Source, Wrapper
from turbosock.transport.secure import TlsDialer
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.client.cookies import Cookies
    from turbosock.client.event_stream import ReconnectArgument
    from turbosock.client.loop_event_stream import LoopEventStream
    from turbosock.client.loop_websocket import LoopWebSocketOptions
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.http2_session import Http2Session
    from turbosock.connection.message_strategy import Data
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.websocket.deflate import DeflateArgument
    from turbosock.protocol.websocket.mask_keys import MaskKeys
    from turbosock.server.websocket_listener import WebSocketListener


FORKED = "the loop is another process's, of which this one is a fork: {} a Loop made here; make a new one"
# Bound once: before 3.12 each look-up of an enum's member makes an object.
_IDLE: Final = Stop.IDLE

NESTED = "{}() was called inside poll() or flush(), by a handler or another thread: call it between turns"


class Loop:
    """A ticking engine: requests, and listeners, driven by `poll()`.

    Args:
        config: as for Client; `transport` does not matter here, a Loop's sockets never block.
        middleware: links around every exchange, outermost first; see `turbosock.Middleware`.
        clock: tells the time; None: the connector's, or the system's.
        connector: makes the connections of requests instead of the network, or stands around them; None: the network.
        redirects, retries, auth, cookies: as for Client.

    Attributes:
        events: what happened; iterate it after each `poll()`.

    Raises:
        InvalidOption: an argument is not what it should be; it is named.
        NetworkError: the system has no descriptors to give; `code` is "exhausted".
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        middleware: Iterable[Middleware] = (),
        clock: Clock | None = None,
        connector: Connector | Wrapper | None = None,
        redirects: RedirectPolicy | None = REDIRECTS,
        retries: RetryPolicy | None = None,
        auth: AuthArgument | None = None,
        cookies: CookiesArgument = None,
    ) -> None:
        if config is None:
            config = Config()
        if not isinstance(config, Config):
            raise InvalidOption(f"config: a {type(config).__name__} was given; give a turbosock.Config")
        self.config = config
        # Until it is whole: a fork in another thread has nothing to drop before.
        self.closed = True
        self._forked = False
        _loops.add(self)
        self.source = source = Source(connector)
        if clock is not None and clock is not source.clock and source.clock is not None and virtual(source.clock):
            raise InvalidOption("clock: the connector has a virtual time, which its connections live in; leave it out")
        clock = clock or source.clock or SYSTEM_CLOCK
        self.rings = RingPool(pooling=config.zero_alloc, diagnostics=config.diagnostics)
        self.buffers = BufferPool(
            max_outstanding_bytes=limits.MAX_LENT_BYTES,
            pooling=config.zero_alloc,
            diagnostics=config.diagnostics,
            name="segments of DATA events",
        )
        # Apart from those: an upload must not starve the readers, nor they it.
        self.bodies = BufferPool(pooling=config.zero_alloc, diagnostics=config.diagnostics, name="bodies of requests")
        self.max_body_bytes = config.max_body_bytes
        self.pool = ConnectionPool(config.pool, config.alpn)
        self._timeouts = config.timeouts
        self.secure = TlsDialer(config.tls, alpn=config.alpn)
        chain = Chain(middleware)
        self.chain: Chain | None = chain if chain.links else None
        routes = Routes.of(config, dials=source.connector is None)
        self.session = Session(
            Preparer(self.pool, default_headers(config), self.secure, routes),
            self.bodies,
            config.serializer,
            self.chain,
            redirects=redirects,
            retries=retries,
            auth=auth,
            cookies=cookies,
        )
        self.requests = LoopRequests(self, pooling=config.zero_alloc)
        self.events = EventQueue(self.requests.spare, pooling=config.zero_alloc, diagnostics=config.diagnostics)
        self.messages = MessageServices(self.events, pooling=config.zero_alloc, diagnostics=config.diagnostics)
        self._result = PollResult()
        # Turns that ended after their max_time, and the longest such time.
        self._overruns = 0
        self._longest_overrun_ns = 0
        self._prewarmer: LoopPrewarmer | None = None
        self.dials = Dials(clock)
        # Event streams that are not closed.
        self.event_streams: set[LoopEventStream] = set()
        self.event_tally = EventTally()
        # Masks what WebSockets send; made with the first.
        self._mask_keys: MaskKeys | None = None
        # Whether poll() or flush() runs.
        self._turning = False
        self._bytes_in = 0.0
        self._bytes_out = 0.0
        # Last, because nobody would close it if something failed after it.
        self.reactor = self.messages.reactor = Reactor(config.poller, clock, config.resolver)
        self.closed = False

    @property
    def cookies(self) -> Cookies:
        """The jar. Raises InvalidOption where the loop was made with cookies=False."""
        return self.session.cookies

    # Requests

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
        if self._prewarmer is None:
            self._prewarmer = LoopPrewarmer(self)
        return self._prewarmer.add(prepared.origin, refill, timeouts, prepared.url.safe)

    # Listening

    @overload
    def listen(
        self,
        address: ListenAddress,
        *,
        protocol: Literal["http"] = "http",
        handler: HttpHandler,
        **options: Unpack[HttpOptions],
    ) -> HttpListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["tcp"], **options: Unpack[TcpOptions]
    ) -> TcpListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["websocket"], **options: Unpack[WebSocketOptions]
    ) -> WebSocketListener: ...

    @overload
    def listen(
        self, address: ListenAddress, *, protocol: Literal["udp"], **options: Unpack[UdpOptions]
    ) -> UdpListener: ...

    def listen(self, address: ListenAddress, *, protocol: str = "http", **options: Any) -> Any:
        """Accept connections at `address`, and serve them inside `poll()`.

        Args:
            address: (host, port), with port 0 for any free one; or a Unix path, "/run/app.sock" or "unix:app.sock".
            protocol: "http": each request is given to `handler`, which answers at once, or keeps the exchange and
                answers in a later tick. "tcp" and "websocket": messages are events. "udp": datagrams are; the address
                is (host, port).
            options: `tls`, limits and timeouts; see `HttpListener`, `TcpListener`, `WebSocketListener` and
                `UdpListener`.

        Returns:
            The listener; its `address` tells the real port.

        Raises:
            InvalidOption: an argument cannot work, or a file that `tls` names; the message names it.
            TlsError: there is no TLS engine for `tls`.
            NetworkError: the system refused to listen there.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("listen() needs")
        return listen(self, address, protocol, options)

    def connect(
        self,
        address: ListenAddress,
        *,
        framing: FramingArgument = None,
        tls: TlsConfig | bool | None = None,
        timeout: TimeoutArgument = DEFAULT,
        user: object = None,
        **options: Unpack[MessageOptions],
    ) -> MessageConnection:
        """Connect to `address` inside `poll()`; messages are events.

        Args:
            address: (host, port), or a Unix path, "/run/app.sock" or "unix:app.sock".
            framing: how messages stand in the stream; see TcpListener.
            tls: True speaks TLS by this Loop's Config, a TlsConfig by itself.
            timeout: of connecting, as in `request`; names, addresses and TLS included.
            user: whatever you want to find again in `connection.user`.
            options: `max_message`, `quota`, `max_unsent`, `message_timeout_s`, `idle_timeout_s`, `write_timeout_s`, as
                in TcpListener. `proxy`, `host_map` and `local_address` as in `request`; those of the Config hold
                otherwise, of its proxies the one for everything ("all", ALL_PROXY), which makes a tunnel.

        Returns:
            The connection. OPEN tells when it stands; if it never does, its one event is CLOSED, with the reason.

        Raises:
            InvalidOption: an argument cannot work; the message names it.
            TlsError: there is no TLS engine for `tls`.
            LimitError: the reactor has no timer for it.
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("connect() needs")
        timeouts = self._timeouts if timeout is DEFAULT else Timeouts.of(timeout)
        connection = connect(self, address, framing_of(framing), tls, timeouts, dict(options))
        connection.user = user
        return connection

    def broadcast(self, connections: Iterable[MessageConnection], data: Data | str, key: object = None) -> Broadcast:
        """Send one message to each of `connections`, framed once for all of a listener's; as their `send()`.

        Args:
            connections: message connections, of any kinds.
            data, key: as in `MessageConnection.send`.

        Returns:
            How many took it (`ok`), had no room (`full`) and were not open (`closed`).

        Raises:
            InvalidOption: one of them cannot send such a message; those before it have taken it.
        """
        return broadcast(connections, data, key)

    # The turn

    def poll(
        self,
        timeout: float | None = 0.0,
        *,
        max_time: float | None = None,
        max_events: int | None = None,
        max_bytes: int | None = None,
    ) -> PollResult:
        """One turn: wait at most `timeout`, then work within the budgets.

        Args:
            timeout: seconds to wait when nothing is ready, and no event of an earlier turn was left in `events`; None
                waits for the next event or deadline.
            max_time: seconds of work, the wait not counted.
            max_events: events that this turn may deliver.
            max_bytes: bytes that this turn may receive.

        Returns:
            The result, valid until the next call. Also where a handler closes the loop: the turn ends there, with
            nothing delivered, and the next call raises.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
            InvalidOption: a budget is not a positive number.
            NetworkError: the system cannot wait, for want of memory; `code` is "exhausted".
            StateError: called by a handler, inside a turn.
        """
        if self.closed:
            raise self._closed_error("poll() needs")
        if timeout is None:
            timeout = limits.MAX_POLL_WAIT_S
        elif timeout != 0.0:
            check_seconds("timeout", timeout, zero=True)
        if max_time is not None or max_events is not None or max_bytes is not None:
            _check_budgets(max_time, max_events, max_bytes)
        if self._turning:
            raise StateError(NESTED.format("poll"))
        self._turning = True
        try:
            requests = self.requests
            requests.thread = here.thread
            dials = self.dials
            dials.beginnings_left = limits.MAX_DIALS_PER_TURN
            dials.handshake_steps_left = limits.MAX_DIAL_HANDSHAKES_PER_TURN
            events = self.events
            events.recycle()
            before = len(events)
            reactor = self.reactor
            messages = self.messages
            end_ns = None if max_time is None else reactor.clock.now_ns() + int(max_time * NS_PER_S)
            if messages.dirty or messages.starving:
                # What the last tick has sent leaves before anything is received.
                messages.now_ns = now_ns = reactor.clock.now_ns()
                # In half of the time: what everybody is sent in each tick must not keep this turn from receiving.
                messages.flush(None if end_ns is None else (now_ns + end_ns) // 2)
                messages.resume_starving()
                if len(events) != before or messages.dirty:
                    timeout = 0.0
            if requests.called or dials.line or requests.starved:
                under_way = requests.under_way
                requests.attend()
                dials.begin(end_ns)
                if len(events) != before or requests.under_way != under_way or dials.line or requests.called:
                    # Something to tell, or to do, already.
                    timeout = 0.0
            if before:
                timeout = 0.0
            # A handler, or the iterable of a body, may have closed this loop: here and after each part of the turn.
            if not self.closed:
                if end_ns is None or not timeout:
                    reactor.collect(timeout)
                else:
                    # The wait is not counted.
                    left_ns = end_ns - reactor.clock.now_ns()
                    reactor.collect(timeout)
                    end_ns = reactor.clock.now_ns() + left_ns
            stop = _IDLE
            line = reactor.line
            messages.now_ns = reactor.clock.now_ns()
            if line:
                stop = self._work(end_ns, max_events, max_bytes)
            if messages.dirty and messages.flush(end_ns):
                stop = Stop.TIME
            if not self.closed and reactor.expire_timers(end_ns, messages.now_ns):
                stop = Stop.TIME
            if not self.closed and reactor.resolver.pending:
                reactor.resolver.deliver()
            if dials.line:
                if end_ns is None or reactor.clock.now_ns() < end_ns:
                    dials.begin(end_ns)
                if end_ns is not None and dials.line and reactor.clock.now_ns() >= end_ns:
                    stop = Stop.TIME
        except BaseException:
            self.mend()
            raise
        finally:
            self._turning = False
        if stop is _IDLE and self.pool.connections:
            # Whatever was readable in the beginning has been served; what stands in line came there by itself.
            self.pool.quiet_ns = reactor.clock.now_ns()
        result = self._result
        result.delivered = 0 if self.closed else len(events) - before
        result.backlog = reactor.backlog
        result.moved_in = reactor.bytes_in - self._bytes_in
        result.moved_out = reactor.bytes_out - self._bytes_out
        self._bytes_in = reactor.bytes_in
        self._bytes_out = reactor.bytes_out
        if (requests.starved or messages.starving) and stop is _IDLE:
            stop = Stop.EVENTS if events.is_full else Stop.POOL
        if end_ns is not None:
            overrun_ns = reactor.clock.now_ns() - end_ns
            if overrun_ns > 0:
                self._overruns += 1
                self._longest_overrun_ns = max(self._longest_overrun_ns, overrun_ns)
        result.stop = stop
        return result

    def mend(self) -> None:
        """A call broke off, by an interrupt or for want of memory, perhaps between two owners or two steps.

        A connection that nobody has any more is closed, and its place given back. Those that an exchange has get a
        turn, and a look at their deadlines: one that was lost may have been theirs.
        """
        if self.closed:
            return
        try:
            self.reactor.mend()
            now_ns = self.reactor.clock.now_ns()
            for connection in tuple(self.pool.connections):
                if not isinstance(connection, LoopConnection):
                    self._mend_session(connection, now_ns)
                    continue
                owner = connection.owner
                if isinstance(owner, Exchange) and owner.connection is connection and not owner.done:
                    transport = connection.transport
                    assert isinstance(transport, SaeaTransport), "a Loop has no blocking transports"
                    if owner not in self.requests.starved:
                        connection.arm_ready()
                        self.reactor.requeue(transport, IN)
                    connection.timer.move(now_ns)
                elif connection not in connection.origin.idle:
                    connection.discard()
            for message_connection in tuple(self.messages.connections):
                message_connection.mend()
            for handler in self.reactor.handlers():
                if isinstance(handler, StreamListener):
                    handler.mend()
            self.dials.mend()
        except (MemoryError, TurbosockError):
            # What broke off is told; what is not mended ends by its deadline.
            return

    def _mend_session(self, session: Http1Connection | Http2Session, now_ns: int) -> None:
        """As `mend`, of a connection with streams."""
        from turbosock.client.loop_http2 import LoopHttp2Session, LoopHttp2Stream

        assert isinstance(session, LoopHttp2Session), "a Loop's connections are LoopConnections and LoopHttp2Sessions"
        session.mend()
        for stream in tuple(session.streams):
            assert isinstance(stream, LoopHttp2Stream), "as above"
            owner = stream.owner
            if isinstance(owner, Exchange) and owner.connection is stream and not owner.done:
                if owner not in self.requests.starved:
                    session.step_later(stream)
                stream.timer.move(now_ns)
            elif not stream.tunnelled and stream not in session.origin.idle:  # type: ignore[union-attr]  # a pooled session has its origin
                stream.discard()
        if not session.closed:
            session.resume()

    def _work(self, end_ns: int | None, max_events: int | None, max_bytes: int | None) -> Stop:
        """Serve the line until it is empty or a budget is spent."""
        reactor = self.reactor
        line = reactor.line
        events = self.events
        if end_ns is None and max_events is None and max_bytes is None:
            # Nothing is counted: but a handler that comes back to the line waits for the next turn, so that a
            # flood cannot hold the caller here.
            waiting = events.waiting
            last_event = events.max_queued
            left = len(line)
            # Empty too soon where a handler closed the loop.
            while left and line:
                left -= 1
                # As reactor.step(): a call saved for every ready connection.
                handler = line.popleft()
                handler.queued = False
                mask = handler.mask
                handler.mask = 0
                if mask:
                    handler.on_ready(mask)
                    if len(waiting) >= last_event:
                        events.full_count += 1
                        return Stop.EVENTS
            return _IDLE
        step = reactor.step
        now_ns = reactor.clock.now_ns
        last_event = events.max_queued
        if max_events is not None and len(events) + max_events < last_event:
            last_event = len(events) + max_events
        last_byte = reactor.bytes_in + max_bytes if max_bytes is not None else None
        # Events alone do not bound a flood into a buffer: then, too, each is served once.
        steps_left = len(line) if end_ns is None and last_byte is None else -1
        while line and steps_left:
            steps_left -= 1
            step()
            if len(events) >= last_event:
                if events.is_full:
                    events.full_count += 1
                return Stop.EVENTS
            if last_byte is not None and reactor.bytes_in >= last_byte:
                return Stop.BYTES
            if end_ns is not None and now_ns() >= end_ns:
                return Stop.TIME if line else Stop.IDLE
        return Stop.IDLE

    def flush(self, max_time: float = 0.0) -> int:
        """Send what this tick produced, without reading or delivering anything.

        Args:
            max_time: seconds to go on for while sockets take bytes.

        Returns:
            Bytes sent by this call; also where a callback closes the loop, which ends it.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
            InvalidOption: `max_time` is not a number of seconds.
            StateError: called by a handler, inside a turn.
        """
        if self.closed:
            raise self._closed_error("flush() needs")
        if max_time != 0.0:
            check_seconds("max_time", max_time, zero=True)
        if self._turning:
            raise StateError(NESTED.format("flush"))
        self._turning = True
        try:
            reactor = self.reactor
            self.messages.now_ns = reactor.clock.now_ns()
            end_ns = self.messages.now_ns
            if max_time:
                end_ns += int(max_time * NS_PER_S)
            if self.dials.line:
                self.dials.begin(end_ns if max_time else None)
            before = reactor.bytes_out
            self.messages.flush(end_ns if max_time else None)
            while not self.closed:
                sent = reactor.bytes_out
                reactor.flush_writable()
                if reactor.bytes_out == sent or reactor.clock.now_ns() >= end_ns:
                    break
            return int(reactor.bytes_out - before)
        except BaseException:
            self.mend()
            raise
        finally:
            self._turning = False

    def next_deadline(self) -> float | None:
        """Seconds until `poll()` is due even if no socket is ready: 0.0 with work waiting, None for never.

        Raises:
            ClientClosed: after `close()`, or in the child of a fork.
        """
        if self.closed:
            raise self._closed_error("next_deadline() needs")
        requests = self.requests
        messages = self.messages
        if self.dials.line or requests.starved or requests.called or len(self.events):
            return 0.0
        if messages.dirty or messages.starving:
            return 0.0
        due_ns = self.reactor.next_deadline_ns()
        if due_ns is None:
            return None
        return max(0, due_ns - self.reactor.clock.now_ns()) / NS_PER_S

    def wakeup(self) -> None:
        """End a wait inside `poll()`; the one call that another thread may make."""
        self.reactor.waker.wake()

    def stats(self) -> LoopStats:
        """One snapshot of connections, pools, queues and listeners; of a closed loop, too."""
        connections = self.pool.stats()
        requests = self.requests
        reactor = self.reactor
        handlers = tuple(reactor.handlers())
        return LoopStats(
            open=connections.open,
            idle=connections.idle,
            waiting=connections.waiting,
            exchanges=requests.under_way,
            held=len(requests.held),
            starved=len(requests.starved),
            dials=len(self.dials),
            events=len(self.events),
            timers=len(reactor.timers),
            lookups=reactor.resolver.pending,
            backlog=reactor.backlog,
            watched=len(handlers),
            exhausted=requests.exhausted_count,
            overruns=self._overruns,
            longest_overrun_s=self._longest_overrun_ns / NS_PER_S,
            messages=self.messages.stats(),
            bytes_in=int(reactor.bytes_in),
            bytes_out=int(reactor.bytes_out),
            connections=connections,
            rings=self.rings.stats(),
            buffers=self.buffers.stats(),
            objects=requests.spare.stats(),
            listeners=tuple(each.stats() for each in handlers if isinstance(each, (StreamListener, UdpListener))),
            prewarmed=() if self._prewarmer is None else self._prewarmer.stats(),
            retries=None if self.session.retries is None else self.session.retries.stats(),
            event_streams=len(self.event_streams),
            events_read=self.event_tally.totals(),
            events_full=self.events.full_count,
        )

    # The end

    def close(self) -> None:
        """Close every connection and fail what is under way with ClientClosed; idempotent.

        Events that were not taken are gone, and lent data with them; exchanges stay readable. A handler may call it:
        the `poll()` or `flush()` that called the handler returns, and the next one raises.

        What message connections have to send leaves as far as their sockets take it, and WebSockets say 1001, going
        away, behind it; nothing is waited for. Who is to have time to answer is closed before, and polled until then.
        """
        if self.closed:
            return
        self.closed = True
        messages = self.messages
        for message_connection in tuple(messages.connections):
            message_connection.say_last_words()
        # Before connections of HTTP/2 are closed that carry some of them.
        messages.flush()
        if self._prewarmer is not None:
            self._prewarmer.close()
        for stream in self.event_streams:
            stream.drop(ClientClosed("the loop was closed while the event stream was open"))
        self.event_streams.clear()
        self.pool.close(_fail_waiter)
        self.requests.close_held()
        self.dials.close()
        for connection in tuple(self.pool.connections):
            owner = connection.owner
            if isinstance(owner, Exchange):
                owner.fail(ClientClosed("the loop was closed while the request was under way"))
        for message_connection in tuple(messages.connections):
            message_connection.abort()
        self.reactor.close(_close_handler)
        messages.clear()
        self.events.clear()
        self.requests.clear()
        self.rings.clear()
        self.buffers.clear()
        self.bodies.clear()

    def _closed_error(self, need: str) -> ClientClosed:
        if self._forked:
            return ClientClosed(FORKED.format(need))
        return ClientClosed(f"the loop is closed: {need} an open one")

    def _drop_inherited(self) -> None:
        """In the child of a fork: close its copies of what is the parent's, who notices nothing.

        Exchanges under way end with ClientClosed, without an event. Events that were taken keep their data.
        """
        if self.closed:
            return
        self.closed = self._forked = True
        pool = self.pool
        exchanges: list[object] = []
        for connection in pool.connections:
            if isinstance(connection, LoopConnection):
                exchanges.append(connection.owner)
            else:
                exchanges += [stream.owner for stream in connection.streams]  # type: ignore[union-attr]  # as in mend()
        for origin in pool.waiting:
            exchanges += origin.waiters
        pool.closed = True
        pool.drop_inherited()
        exchanges += self.requests.drop_held()
        exchanges += self.dials.drop()
        if self._prewarmer is not None:
            self._prewarmer.close()
        for stream in self.event_streams:
            stream.drop(_forked_error())
        self.event_streams.clear()
        for message_connection in tuple(self.messages.connections):
            message_connection.drop()
        listeners = []
        for handler in self.reactor.drop():
            if isinstance(handler, SaeaTransport):
                handler.drop()
            else:
                listeners.append(handler)
        # After their connections' transports, which would say goodbye.
        for handler in listeners:
            if isinstance(handler, (StreamListener, UdpListener)):
                handler._drop_inherited()
            else:
                _close_handler(handler)
        for exchange in exchanges:
            if isinstance(exchange, Exchange):
                exchange.drop(_forked_error())
        self.requests.under_way = 0
        for _ in self.events:
            # Taken out without being recycled: the event that the caller is looking at stays whole.
            pass
        self.requests.clear()
        self.rings.clear()
        self.buffers.clear()
        self.bodies.clear()

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> str:
        raise StateError("a Loop holds sockets and cannot be pickled; pickle its Config and make a new Loop")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Loop {state} exchanges={self.requests.under_way} events={len(self.events)}>"


def _fail_waiter(waiter: Waiter) -> None:
    assert isinstance(waiter, Exchange), "a Loop's waiters are exchanges"
    waiter.fail(ClientClosed("the loop was closed while the request waited for a connection"))


def _close_handler(handler: Handler) -> None:
    close = getattr(handler, "close", None)
    if close is not None:
        close()


def _forked_error() -> ClientClosed:
    return ClientClosed(FORKED.format("the request under way was its own; this process needs"))


_loops: Final = renewed_in_child(Loop._drop_inherited)


def _check_budgets(max_time: float | None, max_events: int | None, max_bytes: int | None) -> None:
    check_seconds("max_time", max_time, optional=True)
    for name, value in (("max_events", max_events), ("max_bytes", max_bytes)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InvalidOption(f"{name}={value!r}: give a whole number above 0, or None")
