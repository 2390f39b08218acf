"""Metric: one figure, or a family of them, as metrics systems know them; and the table of all that turbosock has.

Names, units and labels are OpenTelemetry's: dots, UCUM units with annotations in braces, and for requests those of its
HTTP client conventions. How another system writes them is that system's matter (`prometheus.py`).
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple, TypeAlias

from turbosock.reactor.time_histogram import TimeCounts

# Pairs of name and value, in the order in which they were given.
Labels: TypeAlias = tuple[tuple[str, str], ...]


class MetricKind(enum.Enum):
    """How the values of a metric go on.

    COUNTER: only upwards. GAUGE: any way. HISTOGRAM: counts of times, each only upwards.
    """

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Sample(NamedTuple):
    """One value: a number, or of a histogram its TimeCounts."""

    labels: Labels
    value: int | float | TimeCounts


class Metric(NamedTuple):
    """A metric at one moment.

    Attributes:
        name: as in "http.client.request.duration".
        kind: what its values do.
        unit: "s", "By", or what is counted, in braces.
        description: one sentence.
        samples: one for each combination of labels.
    """

    name: str
    kind: MetricKind
    unit: str
    description: str
    samples: tuple[Sample, ...] = ()


_C: Final = MetricKind.COUNTER
_G: Final = MetricKind.GAUGE
_H: Final = MetricKind.HISTOGRAM

METRICS: Final = (
    Metric("http.client.request.duration", _H, "s", "Requests to the end of the body, of an event stream to its head."),
    Metric("http.client.active_requests", _G, "{request}", "Requests under way on connections."),
    Metric("http.client.open_connections", _G, "{connection}", "Connections to servers, active or idle."),
    Metric("turbosock.client.queue.duration", _H, "s", "How long requests stood in line for a connection."),
    Metric("turbosock.client.waiting", _G, "{request}", "Requests that stand in line for a connection."),
    Metric("turbosock.client.held", _G, "{request}", "Requests held by middleware, or before another attempt."),
    Metric("turbosock.client.dialling", _G, "{connection}", "Connections that are being made."),
    Metric("turbosock.client.connections.opened", _C, "{connection}", "Connections made."),
    Metric("turbosock.client.connections.dropped", _C, "{connection}", "Idle connections closed, by reason."),
    Metric("turbosock.client.received", _C, "By", "Bytes received by connections to servers."),
    Metric("turbosock.client.sent", _C, "By", "Bytes sent by connections to servers."),
    Metric("turbosock.client.retries", _C, "{attempt}", "Further attempts that were worth it, made or refused."),
    Metric("turbosock.prewarm.connections", _G, "{connection}", "Connections kept ready, by state."),
    Metric("turbosock.prewarm.dials", _C, "{connection}", "Dials of connections to keep ready, by outcome."),
    Metric("turbosock.pool.rents", _C, "{object}", "What pools of memory and objects have lent."),
    Metric("turbosock.pool.misses", _C, "{object}", "What pools had to make because nothing was idle."),
    Metric("turbosock.pool.outstanding", _G, "{object}", "What pools have lent and not got back."),
    Metric("turbosock.pool.outstanding.memory", _G, "By", "Memory that pools have lent and not got back."),
    Metric("turbosock.pool.idle", _G, "{object}", "What waits in pools."),
    Metric("turbosock.sse.streams", _G, "{stream}", "Event streams that are not closed."),
    Metric("turbosock.sse.reconnections", _C, "{connection}", "Times that event streams were open again."),
    Metric("turbosock.sse.events", _C, "{event}", "Events read from event streams."),
    Metric("turbosock.sse.received", _C, "By", "Bytes of event streams received."),
    Metric("turbosock.sse.parse.duration", _H, "s", "Reading the first event of each receive."),
    Metric("turbosock.sse.delivery.duration", _H, "s", "From the receive of an event to its user's hands."),
    Metric("turbosock.loop.exchanges", _G, "{request}", "Requests under way, those included that wait."),
    Metric("turbosock.loop.events", _G, "{event}", "Events that wait to be taken."),
    Metric("turbosock.loop.events.full", _C, "{turn}", "Turns and requests that waited because events were not taken."),
    Metric("turbosock.loop.backlog", _G, "{socket}", "Sockets that were ready and not served yet."),
    Metric("turbosock.loop.sockets", _G, "{socket}", "Sockets that are watched."),
    Metric("turbosock.loop.timers", _G, "{timer}", "Timers that are set."),
    Metric("turbosock.loop.lookups", _G, "{lookup}", "Names that are being looked up."),
    Metric("turbosock.loop.starved", _G, "{request}", "Requests that wait for memory."),
    Metric("turbosock.loop.exhausted", _C, "{read}", "Times that a connection was left unread for want of memory."),
    Metric("turbosock.loop.overruns", _C, "{turn}", "Turns that ended after their max_time."),
    Metric("turbosock.loop.overrun.longest", _G, "s", "The longest time that a turn took beyond its max_time."),
    Metric("turbosock.loop.received", _C, "By", "Bytes received by all sockets."),
    Metric("turbosock.loop.sent", _C, "By", "Bytes sent by all sockets."),
    Metric(
        "turbosock.messages.connections", _G, "{connection}", "Message connections, by state; 'open' is all of them."
    ),
    Metric("turbosock.messages.received", _C, "{message}", "Messages received."),
    Metric("turbosock.messages.sent", _C, "{message}", "Messages sent."),
    Metric("turbosock.messages.refused", _C, "{message}", "Sends refused for want of room."),
    Metric("turbosock.messages.replaced", _C, "{message}", "Messages that a newer one with their key has replaced."),
    Metric("turbosock.messages.unread", _C, "{read}", "Times that a connection was left unread, by what was used up."),
    Metric("turbosock.messages.ended", _C, "{connection}", "Message connections ended by us, by reason."),
    Metric("turbosock.messages.lent", _G, "By", "Memory of received messages that is in use."),
    Metric("turbosock.messages.unsent", _G, "By", "Memory of messages that have not left."),
    Metric("turbosock.server.connections", _G, "{connection}", "Clients that are connected."),
    Metric("turbosock.server.accepted", _C, "{connection}", "Clients accepted."),
    Metric("turbosock.server.requests", _C, "{request}", "Requests received."),
    Metric("turbosock.server.refused", _C, "{request}", "Requests and datagrams refused by the listener itself."),
    Metric("turbosock.server.timeouts", _C, "{connection}", "Clients given up for being too slow."),
    Metric("turbosock.server.failed_handshakes", _C, "{connection}", "Clients that did not get through TLS."),
    Metric("turbosock.server.received", _C, "By", "Bytes received from clients."),
    Metric("turbosock.server.sent", _C, "By", "Bytes sent to clients."),
)
