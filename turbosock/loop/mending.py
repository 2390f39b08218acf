"""Mending: what a Loop does after a call of it broke off, by an interrupt or for want of memory.

The call may have ended between two owners, or between two steps. What broke off raises, and the exchange concerned has
ended; everybody else goes on, though the step that would have told them may be the one that was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.client.loop_connection import LoopConnection
from turbosock.client.loop_exchange import Exchange
from turbosock.errors import TurbosockError
from turbosock.reactor.poller import IN
from turbosock.server.stream_listener import StreamListener
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.connection.http1 import Http1Connection
    from turbosock.connection.http2_session import Http2Session
    from turbosock.loop.base import LoopBase


def mend(loop: LoopBase) -> None:
    """Close the connections that nobody has any more, and give their places back; the others get a turn.

    They get a look at their deadlines, too: one that was lost may have been theirs.
    """
    if loop.closed:
        return
    try:
        loop.reactor.mend()
        now_ns = loop.reactor.clock.now_ns()
        for connection in tuple(loop.pool.connections):
            if not isinstance(connection, LoopConnection):
                _mend_session(loop, connection, now_ns)
                continue
            owner = connection.owner
            if isinstance(owner, Exchange) and owner.connection is connection and not owner.done:
                transport = connection.transport
                assert isinstance(transport, SaeaTransport), "a Loop has no blocking transports"
                if owner not in loop.requests.starved:
                    connection.arm_ready()
                    loop.reactor.requeue(transport, IN)
                connection.timer.move(now_ns)
            elif connection not in connection.origin.idle:
                connection.discard()
        for message_connection in tuple(loop.messages.connections):
            message_connection.mend()
        for handler in loop.reactor.handlers():
            if isinstance(handler, StreamListener):
                handler.mend()
        loop.dials.mend()
    except (MemoryError, TurbosockError):
        # What broke off is told; what is not mended ends by its deadline.
        return


def _mend_session(loop: LoopBase, session: Http1Connection | Http2Session, now_ns: int) -> None:
    """As `mend`, of a connection with streams."""
    from turbosock.client.loop_http2 import LoopHttp2Session, LoopHttp2Stream

    assert isinstance(session, LoopHttp2Session), "a Loop's connections are LoopConnections and LoopHttp2Sessions"
    session.mend()
    for stream in tuple(session.streams):
        assert isinstance(stream, LoopHttp2Stream), "as above"
        owner = stream.owner
        if isinstance(owner, Exchange) and owner.connection is stream and not owner.done:
            if owner not in loop.requests.starved:
                session.step_later(stream)
            stream.timer.move(now_ns)
        elif not stream.tunnelled and stream not in session.origin.idle:  # type: ignore[union-attr]  # a pooled session has its origin
            stream.discard()
    if not session.closed:
        session.resume()
