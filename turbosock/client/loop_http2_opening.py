"""LoopHttp2OpeningStream: a stream of a Loop's HTTP/2 session on which a WebSocket is to be opened (RFC 8441).

To its exchange it is a stream like any other, but that the request that was to change the protocol goes as an extended
CONNECT. When the server agrees, `take_over()` makes a tunnel of it, and no exchange has it any more. It serves one
opening, and leaves its session with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.loop_http2 import LoopHttp2Stream
from turbosock.connection.http2_tunnel import Http2Tunnel
from turbosock.protocol.http2.request_fields import fields_of_upgrade

if TYPE_CHECKING:
    from turbosock.client.loop_http2 import LoopHttp2Session
    from turbosock.connection.http1 import Expectation
    from turbosock.connection.source import BodySource
    from turbosock.protocol.http2.engine import Engine


class LoopHttp2OpeningStream(LoopHttp2Stream):
    """See the module."""

    __slots__ = ("_tunnel",)

    ends_at_head = False
    # A tunnel is told of one frame at a time.
    takes_runs = False

    def __init__(self, session: LoopHttp2Session) -> None:
        super().__init__(session)
        self._tunnel: Http2Tunnel | None = None

    @property
    def tunnelled(self) -> bool:  # type: ignore[override]  # what is never so for others
        """Whether a WebSocket has it."""
        return self._tunnel is not None

    def start(
        self,
        method: str,
        head: bytes,
        source: BodySource | None = None,
        expected: Expectation | None = None,
        *,
        wait_for_continue: bool = False,
    ) -> None:
        """As LoopHttp2Stream's, of a request that opens a WebSocket by HTTP/1.1."""
        super().start("CONNECT", head, source, expected, wait_for_continue=wait_for_continue)

    def _encode(self, engine: Engine, head: bytes) -> bytes:
        return engine.encoder.encode(fields_of_upgrade(head, self.session.scheme))

    def take_over(self) -> Http2Tunnel:
        """The server agreed: what the WebSocket is spoken through, with what came already."""
        self.timer.disarm()
        self.owner = None
        if self.whole:
            # The server said all that it has to say, and the end, behind its head.
            self.whole = False
            self.ring = None
            body = self.session.body
            if body.length:
                self.backlog.append(body.readable(), self.session.origin)
        self._tunnel = tunnel = Http2Tunnel(self.session, self, self.backlog, self._tunnel_closed)
        if self._lent:
            tunnel.took(self._root, self._start, self._lent)
            self._lent = 0
        return tunnel

    def _tunnel_closed(self) -> None:
        self._tunnel = None
        self.close()

    def on_data(self, root: memoryview, start: int, count: int) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            super().on_data(root, start, count)
        else:
            tunnel.took(root, start, count)

    def on_news(self) -> None:
        if self._tunnel is None:
            super().on_news()
        # In the same step, where it has just been made: what came behind the head does not lie there for longer.
        if self._tunnel is not None:
            self._tunnel.news()

    def on_room(self) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            super().on_room()
        else:
            tunnel.room()

    def finish(self) -> bool:
        """As LoopHttp2Stream's; nobody else is to have it."""
        super().finish()
        return False
