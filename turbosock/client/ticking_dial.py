"""TickingDial: a dial for the pool: its connection takes the place that was kept for it, and its target the connection.

Invariant: a dial holds a place of its origin's pool until it gives a connection to its exchange or gives the place
back. The steps are `dial_steps.py`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from turbosock.client.dial_steps import DialSteps
from turbosock.client.http_version import speaks_http2
from turbosock.client.loop_connection import LoopConnection
from turbosock.errors import Phase, TurbosockError

if TYPE_CHECKING:
    from turbosock.client.loop_http2 import LoopHttp2Stream
    from turbosock.client.loop_services import LoopServices
    from turbosock.config import Timeouts
    from turbosock.pool.origin_pool import OriginPool, Place
    from turbosock.transport.transport import SaeaTransport


class DialTarget(Protocol):
    """For whom a dial is: an exchange, or whoever keeps connections ready."""

    timeouts: Timeouts
    deadline_ns: int
    phase: Phase
    dial: TickingDial | None

    def on_connected(self, connection: LoopConnection | LoopHttp2Stream) -> None:
        """The dial succeeded; the connection stands in its place, and is the target's."""

    def fail(self, error: TurbosockError) -> None:
        """The dial failed; its place was given back."""

    def break_off(self, error: BaseException) -> None:
        """A step raised what is not the network's, and will raise it again: end, and the dial with it."""


class TickingDial(DialSteps):
    """A dial into a place of an origin's pool."""

    __slots__ = ("_origin", "_place")

    def __init__(self, target: DialTarget, loop: LoopServices, origin: OriginPool, place: Place) -> None:
        super().__init__(target, loop, origin.key, loop.secure)
        self._origin = origin
        self._place = place

    def _stand(self, transport: SaeaTransport) -> None:
        """The connection stands: it takes its place, and the exchange takes it."""
        target = self._target
        assert target is not None, "a dial ends with its exchange"
        try:
            connection = self._made(transport)
        except BaseException:
            transport.close()
            raise
        try:
            self._end()
        finally:
            try:
                target.on_connected(connection)
                if self._origin.sessions:
                    self._origin.share_session()
            except BaseException as error:
                if connection.owner is None:
                    # Nobody has taken it, nor will.
                    connection.discard()
                target.break_off(error)
                raise

    def _made(self, transport: SaeaTransport) -> LoopConnection | LoopHttp2Stream:
        """The connection on this transport, or the first stream of it."""
        loop = self._loop
        origin = self._origin
        now_ns = loop.reactor.clock.now_ns()
        if not speaks_http2(transport, loop.config, origin.key):
            make = LoopConnection
            if origin.key.upgrades:
                # As below: few programs open WebSockets.
                from turbosock.client.loop_opening_connection import LoopOpeningConnection

                make = LoopOpeningConnection
            connection = make(transport, loop)
            origin.opened(connection, self._place, now_ns)
            return connection
        # Not with the module: programs that speak HTTP/1.1 alone need not have it.
        from turbosock.client.loop_http2 import LoopHttp2Session, LoopHttp2Stream

        session = LoopHttp2Session(transport, loop, origin.key.scheme)
        stream = origin.opened_session(session, self._place, now_ns)
        assert isinstance(stream, LoopHttp2Stream), "a new session has room for one"
        return stream

    def _release(self) -> None:
        self._origin.released(self._place)
