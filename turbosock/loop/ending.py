"""Ending: the two ways in which a Loop ends, over the one table of what it owns.

Closed, it says what there is to say to its peers, fails what is under way, and closes what it opened. In the child of a
fork it is let go: descriptors are shared, an epoll set among them, so the child closes its copies of them, says nothing
to any peer and unlinks no path.

Invariants: an exchange that was under way has ended with ClientClosed, the second time without an event; whatever a
Loop gets to own is ended in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.client.loop_connection import LoopConnection
from turbosock.client.loop_exchange import Exchange
from turbosock.errors import ClientClosed
from turbosock.forks import renewed_in_child
from turbosock.server.stream_listener import StreamListener
from turbosock.server.udp_listener import UdpListener
from turbosock.transport.transport import SaeaTransport

if TYPE_CHECKING:
    from turbosock.loop.base import LoopBase
    from turbosock.pool.origin_pool import Waiter
    from turbosock.reactor.reactor import Handler

FORKED: Final = "the loop is another process's, of which this one is a fork: {} a Loop made here; make a new one"


def close(loop: LoopBase) -> None:
    """See `Loop.close`."""
    if loop.closed:
        return
    loop.closed = True
    messages = loop.messages
    for message_connection in tuple(messages.connections):
        message_connection.say_last_words()
    # Before connections of HTTP/2 are closed that carry some of them.
    messages.flush()
    if loop.prewarmer is not None:
        loop.prewarmer.close()
    for stream in loop.event_streams:
        stream.drop(ClientClosed("the loop was closed while the event stream was open"))
    loop.event_streams.clear()
    loop.pool.close(_fail_waiter)
    loop.requests.close_held()
    loop.dials.close()
    for connection in tuple(loop.pool.connections):
        owner = connection.owner
        if isinstance(owner, Exchange):
            owner.fail(ClientClosed("the loop was closed while the request was under way"))
    for message_connection in tuple(messages.connections):
        message_connection.abort()
    loop.reactor.close(_close_handler)
    messages.clear()
    loop.events.clear()
    loop.requests.clear()
    loop.rings.clear()
    loop.buffers.clear()
    loop.bodies.clear()


def drop_inherited(loop: LoopBase) -> None:
    """In the child of a fork: close its copies of what is the parent's, who notices nothing.

    Exchanges under way end with ClientClosed, without an event. Events that were taken keep their data.
    """
    if loop.closed:
        return
    loop.closed = loop.forked = True
    pool = loop.pool
    exchanges: list[object] = []
    for connection in pool.connections:
        if isinstance(connection, LoopConnection):
            exchanges.append(connection.owner)
        else:
            exchanges += [stream.owner for stream in connection.streams]  # type: ignore[union-attr]  # as in mending
    for origin in pool.waiting:
        exchanges += origin.waiters
    pool.closed = True
    pool.drop_inherited()
    exchanges += loop.requests.drop_held()
    exchanges += loop.dials.drop()
    if loop.prewarmer is not None:
        loop.prewarmer.close()
    for stream in loop.event_streams:
        stream.drop(_forked_error())
    loop.event_streams.clear()
    for message_connection in tuple(loop.messages.connections):
        message_connection.drop()
    listeners = []
    for handler in loop.reactor.drop():
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
    loop.requests.under_way = 0
    for _ in loop.events:
        # Taken out without being recycled: the event that the caller is looking at stays whole.
        pass
    loop.requests.clear()
    loop.rings.clear()
    loop.buffers.clear()
    loop.bodies.clear()


def _fail_waiter(waiter: Waiter) -> None:
    assert isinstance(waiter, Exchange), "a Loop's waiters are exchanges"
    waiter.fail(ClientClosed("the loop was closed while the request waited for a connection"))


def _close_handler(handler: Handler) -> None:
    close = getattr(handler, "close", None)
    if close is not None:
        close()


def _forked_error() -> ClientClosed:
    return ClientClosed(FORKED.format("the request under way was its own; this process needs"))


# For every Loop there is.
loops: Final = renewed_in_child(drop_inherited)
