"""Snapshot: the counts of all that a Loop owns, gathered into its LoopStats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.loop_stats import LoopStats
from turbosock.reactor.clock import NS_PER_S
from turbosock.server.stream_listener import StreamListener
from turbosock.server.udp_listener import UdpListener

if TYPE_CHECKING:
    from turbosock.loop.base import LoopBase


def snapshot(loop: LoopBase) -> LoopStats:
    """See `Loop.stats`."""
    connections = loop.pool.stats()
    requests = loop.requests
    reactor = loop.reactor
    handlers = tuple(reactor.handlers())
    return LoopStats(
        open=connections.open,
        idle=connections.idle,
        waiting=connections.waiting,
        exchanges=requests.under_way,
        held=len(requests.held),
        starved=len(requests.starved),
        dials=len(loop.dials),
        events=len(loop.events),
        timers=len(reactor.timers),
        lookups=reactor.resolver.pending,
        backlog=reactor.backlog,
        watched=len(handlers),
        exhausted=requests.exhausted_count,
        overruns=loop.overruns,
        longest_overrun_s=loop.longest_overrun_ns / NS_PER_S,
        messages=loop.messages.stats(),
        bytes_in=int(reactor.bytes_in),
        bytes_out=int(reactor.bytes_out),
        connections=connections,
        rings=loop.rings.stats(),
        buffers=loop.buffers.stats(),
        objects=requests.spare.stats(),
        listeners=tuple(each.stats() for each in handlers if isinstance(each, (StreamListener, UdpListener))),
        prewarmed=() if loop.prewarmer is None else loop.prewarmer.stats(),
        retries=None if loop.session.retries is None else loop.session.retries.stats(),
        event_streams=len(loop.event_streams),
        events_read=loop.event_tally.totals(),
        events_full=loop.events.full_count,
    )
