"""LoopBase: what a Loop is made of, and what its exchanges, dials and connections may ask of it (see LoopServices).

Everything is made here, in one place, and ended in one other: `ending.py`. What a Loop can be asked to do is built upon
this: requests in `requesting.py`, listeners and connections of messages in `listening.py`, the turn in `loop.py`.

Invariant: `closed` is True until all of it stands, and again from the moment that its end begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.buffers import BufferPool
from turbosock.client.auth.argument import AuthArgument
from turbosock.client.default_headers import default_headers
from turbosock.client.dials import Dials
from turbosock.client.event_tally import EventTally
from turbosock.client.events import EventQueue
from turbosock.client.loop_prewarm import LoopPrewarmer
from turbosock.client.loop_requests import LoopRequests
from turbosock.client.middleware import Middleware
from turbosock.client.middleware.chain import Chain
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.request import Preparer
from turbosock.client.retries import RetryPolicy
from turbosock.client.routes import Routes
from turbosock.client.session import REDIRECTS, CookiesArgument, Session
from turbosock.config import Config, check_config
from turbosock.connection.message_services import MessageServices
from turbosock.connection.receive_ring import RingPool
from turbosock.errors import ClientClosed, InvalidOption
from turbosock.loop.ending import FORKED, loops
from turbosock.loop.mending import mend
from turbosock.poll_result import PollResult
from turbosock.pool.connection_pool import ConnectionPool
from turbosock.reactor.clock import SYSTEM_CLOCK, Clock, virtual
from turbosock.reactor.reactor import Reactor
from turbosock.transport.connector import Connector, Source, Wrapper
from turbosock.transport.secure import TlsDialer

if TYPE_CHECKING:
    from turbosock.client.cookies import Cookies
    from turbosock.client.loop_event_stream import LoopEventStream
    from turbosock.protocol.websocket.mask_keys import MaskKeys


class LoopBase:
    """See the module; its arguments are the Loop's."""

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
        check_config(config)
        self.config = config
        # Until it is whole: a fork in another thread has nothing to drop before.
        self.closed = True
        self.forked = False
        loops.add(self)
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
        self.overruns = 0
        self.longest_overrun_ns = 0
        self.prewarmer: LoopPrewarmer | None = None
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

    def mend(self) -> None:
        """For exchanges, too: see `mending`."""
        mend(self)

    def _closed_error(self, need: str) -> ClientClosed:
        if self.forked:
            return ClientClosed(FORKED.format(need))
        return ClientClosed(f"the loop is closed: {need} an open one")
