"""What `loop.stats()` returns: one snapshot, nested by who keeps the counts; see also `client.stats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turbosock.buffers.objects import ObjectPoolStats
    from turbosock.buffers.pool import PoolStats as BufferPoolStats
    from turbosock.client.event_tally import EventTotals
    from turbosock.client.prewarm import PrewarmStats
    from turbosock.client.retries import RetryStats
    from turbosock.connection.message_services import MessageStats
    from turbosock.connection.receive_ring import RingStats
    from turbosock.pool.connection_pool import PoolStats
    from turbosock.server.http_listener import ListenerStats
    from turbosock.server.message_listener import MessageListenerStats
    from turbosock.server.udp_listener import UdpStats
    from turbosock.server.websocket_listener import WebSocketListenerStats


class LoopStats(NamedTuple):
    """A Loop at one moment.

    Attributes:
        open, idle, waiting: connections to servers, those of them that nobody uses, and exchanges in line for one.
        exchanges: under way; held: those of them that middleware makes wait, or that wait before another
            request; starved: those that wait for memory.
        dials: under way, those included that have not begun.
        events: that wait to be taken; timers: that are set; lookups: of names, under way.
        backlog: sockets that were ready and not served yet.
        watched: sockets that the poller knows, the waker's included. Each has two I/O contexts for its life.
        overruns: turns that ended after their max_time; longest_overrun_s: by how much, at most.
        exhausted: how often a connection was left unread because there was no memory.
        bytes_in, bytes_out: since the loop was made.
        connections, rings, buffers: as in ClientStats; buffers are those of DATA events.
        objects: the reusable exchanges.
        messages: the connections whose messages are events, of listeners and of `connect()`.
        listeners: each listener's own counts.
        prewarmed: each origin that is kept warm.
        retries: as in ClientStats.
        event_streams, events_read: as in ClientStats.
        events_full: how often a turn ended, or an exchange waited, because so many events were not taken.
    """

    open: int
    idle: int
    waiting: int
    exchanges: int
    held: int
    starved: int
    dials: int
    events: int
    timers: int
    lookups: int
    backlog: int
    watched: int
    exhausted: int
    overruns: int
    longest_overrun_s: float
    messages: MessageStats
    bytes_in: int
    bytes_out: int
    connections: PoolStats
    rings: RingStats
    buffers: BufferPoolStats
    objects: ObjectPoolStats
    listeners: tuple[ListenerStats | MessageListenerStats | WebSocketListenerStats | UdpStats, ...]
    prewarmed: tuple[PrewarmStats, ...]
    retries: RetryStats | None
    event_streams: int
    events_read: EventTotals
    events_full: int
