"""ClientBase: what a Client is made of, and what its responses, streams and WebSockets may ask of it.

What it can be asked for is built upon this: WebSockets and prewarming in `client_opening.py`, the rest in `client.py`.

Invariant: in the child of a fork it goes on without its parent's connections and calls, of which nothing is told.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from turbosock import limits
from turbosock.buffers import BufferPool, ObjectPool
from turbosock.client.auth.argument import AuthArgument
from turbosock.client.blocking_dial import Interruptible
from turbosock.client.chained_response import ChainedResponse, ChainedStreamedResponse
from turbosock.client.client_connections import ClientConnections
from turbosock.client.default_headers import default_headers
from turbosock.client.event_tally import EventTally
from turbosock.client.middleware import Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.request import Preparer
from turbosock.client.response import Response, StreamedResponse
from turbosock.client.retries import RetryPolicy
from turbosock.client.routes import Routes
from turbosock.client.session import REDIRECTS, CookiesArgument, Session
from turbosock.client.thread_prewarmer import ThreadPrewarmer
from turbosock.config import Config, check_config
from turbosock.connection.receive_ring import RingPool
from turbosock.forks import renewed_in_child
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.reactor.clock import SYSTEM_CLOCK
from turbosock.transport.connector import Connector, Source, Wrapper

if TYPE_CHECKING:
    from turbosock.client.blocking_event_stream import BlockingEventStream
    from turbosock.client.cookies import Cookies
    from turbosock.client.websocket import WebSocket
    from turbosock.protocol.websocket.mask_keys import MaskKeys


class ClientBase:
    """See the module; its arguments are the Client's."""

    __slots__ = (
        "__weakref__",
        "_forwarding",
        "_mask_keys",
        "_names_lines",
        "_response_type",
        "_responses",
        "_session",
        "_timeouts",
        "buffers",
        "chain",
        "clock",
        "closed",
        "config",
        "connections",
        "event_streams",
        "event_tally",
        "held",
        "long_rings",
        "now_ns",
        "pool",
        "prewarmer",
        "rings",
        "websockets",
    )

    def __init__(
        self,
        config: Config | None = None,
        *,
        middleware: Iterable[Middleware] = (),
        connector: Connector | Wrapper | None = None,
        redirects: RedirectPolicy | None = REDIRECTS,
        retries: RetryPolicy | None = None,
        auth: AuthArgument | None = None,
        cookies: CookiesArgument = None,
    ) -> None:
        if config is None:
            config = Config()
        check_config(config)
        self.config = config
        self.closed = False
        self._timeouts = config.timeouts
        source = Source(connector)
        self.clock = clock = source.clock or SYSTEM_CLOCK
        # Bound once: each request asks for the time five times.
        self.now_ns = clock.now_ns
        self.pool = ConnectionPool(config.pool, config.alpn)
        chain = Chain(middleware)
        self.chain: Chain | None = chain if chain.links else None
        self._response_type: type[Response] = ChainedResponse if chain.links else Response
        # Prepares requests without default fields; made with the first one.
        self._forwarding: Preparer | None = None
        self.prewarmer = ThreadPrewarmer(self)
        # Exchanges that a link makes wait, or that wait before another attempt.
        self.held: set[Interruptible] = set()
        # By identity: streams of events are their users' to keep, or to drop.
        self.event_streams: dict[int, weakref.ref[BlockingEventStream]] = {}
        self.event_tally = EventTally()
        self.websockets: WeakSet[WebSocket] = WeakSet()
        self._mask_keys: MaskKeys | None = None
        self.rings = RingPool(pooling=config.zero_alloc, diagnostics=config.diagnostics)
        # Of WebSockets with long messages.
        self.long_rings = RingPool(
            pooling=config.zero_alloc,
            diagnostics=config.diagnostics,
            capacity=limits.WEBSOCKET_LONG_RING_BYTES,
            max_idle=limits.MAX_IDLE_LONG_RINGS,
        )
        self.buffers = BufferPool(pooling=config.zero_alloc, diagnostics=config.diagnostics)
        self.connections = ClientConnections(config, self.pool, self.rings, source, clock)
        routes = Routes.of(config, dials=source.connector is None)
        self._session = Session(
            Preparer(self.pool, default_headers(config), self.connections.secure, routes),
            self.buffers,
            config.serializer,
            self.chain,
            redirects=redirects,
            retries=retries,
            auth=auth,
            cookies=cookies,
        )
        # No reset on return: an answer stays readable for whoever holds it, and is forgotten when it is lent again.
        self._responses: ObjectPool[StreamedResponse] = ObjectPool(
            self._make_response, None, pooling=config.zero_alloc, diagnostics=config.diagnostics
        )
        self._names_lines = config.diagnostics
        clients.add(self)

    @property
    def cookies(self) -> Cookies:
        """The jar. Raises InvalidOption where the client was made with cookies=False."""
        return self._session.cookies

    def _make_response(self) -> StreamedResponse:
        make = StreamedResponse if self.chain is None else ChainedStreamedResponse
        return make(self, self._responses)

    def keep_websocket(self, websocket: WebSocket) -> None:
        """Have `close()` end it; for whoever opens one."""
        with self.pool.lock:
            self.websockets.add(websocket)

    def _streams_alive(self) -> list[BlockingEventStream]:
        found = [reference() for reference in tuple(self.event_streams.values())]
        return [stream for stream in found if stream is not None]


def _drop_inherited(client: ClientBase) -> None:
    client.pool.drop_inherited()
    # Calls of threads that are not here.
    client.held.clear()
    client.prewarmer.drop_inherited()


# A socket that both processes used would mix their answers.
clients: Final = renewed_in_child(_drop_inherited)
