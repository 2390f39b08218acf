"""The work of a turn: what is ready is stepped, one after the other, until nothing is left or a budget is spent.

Invariants: one step is taken at least; what was not served keeps its place in line; a handler that comes back to the
line cannot hold a turn that has no budget of time or bytes: then each is served once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from turbosock.poll_result import Stop

if TYPE_CHECKING:
    from turbosock.client.events import EventQueue
    from turbosock.reactor.reactor import Reactor

# Bound once: before 3.12 each look-up of an enum's member makes an object.
_IDLE: Final = Stop.IDLE


def work(
    reactor: Reactor, events: EventQueue, end_ns: int | None, max_events: int | None, max_bytes: int | None
) -> Stop:
    """Serve the line until it is empty or a budget is spent.

    Args:
        reactor: whose line.
        events: those that the steps deliver.
        end_ns, max_events, max_bytes: the budgets; None: there is no such one.

    Returns:
        Why it stopped.
    """
    line = reactor.line
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
