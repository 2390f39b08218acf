"""What `client.stats()` returns: one snapshot, nested by who keeps the counts.

The counts of connections are kept and read under the lock of their pool. What a request takes and gives back without a
lock (an idle connection, a ring, a buffer, a reusable object) is counted without one: those counts are exact while no
other thread is in the middle of that. The parts are read one after the other, so that a busy program may see a
connection in neither or both of two states. Nothing is counted for this on the way of a request that is not counted
anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from turbosock.buffers.objects import ObjectPoolStats
    from turbosock.buffers.pool import PoolStats as BufferPoolStats
    from turbosock.client.event_tally import EventTotals
    from turbosock.client.prewarm import PrewarmStats
    from turbosock.client.retries import RetryStats
    from turbosock.connection.receive_ring import RingStats
    from turbosock.pool.connection_pool import PoolStats


class ClientStats(NamedTuple):
    """A Client at one moment.

    Attributes:
        open, idle, waiting: connections, those of them that nobody uses, and calls that stand in line for one.
        held: calls that middleware makes wait, or that wait before another attempt.
        connections: more of the connections: in use, being dialled, and counts since the client was made.
        rings: receive rings made, and free.
        buffers: what `view()` and the iterators borrowed.
        responses: the reusable objects of `stream()`.
        prewarmed: each origin that is kept warm.
        retries: attempts made and refused by the RetryPolicy; None without one.
        event_streams: those that are not closed; events_read: sums over all that there were.
    """

    open: int
    idle: int
    waiting: int
    held: int
    connections: PoolStats
    rings: RingStats
    buffers: BufferPoolStats
    responses: ObjectPoolStats
    prewarmed: tuple[PrewarmStats, ...]
    retries: RetryStats | None
    event_streams: int
    events_read: EventTotals
