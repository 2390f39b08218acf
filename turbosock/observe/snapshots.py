"""snapshot(): everything that a Client or a Loop counts, as one flat list of metrics.

    for metric in turbosock.observe.snapshot(client):
        print(metric.name, metric.unit, metric.samples)

The figures are those of `stats()`, and with the first snapshot those of requests begin: how many of each host, method
and outcome there were, and how long they took. Nothing here runs beside the program: what is read is what stands there.

Another thread may take a snapshot of a Loop: it reads numbers that are whole, though not all of the same instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from turbosock.client.client import Client
from turbosock.errors import InvalidOption
from turbosock.loop import Loop
from turbosock.observe.metric import METRICS, Metric, Sample
from turbosock.server.stream_listener import StreamListener
from turbosock.server.udp_listener import UdpListener

if TYPE_CHECKING:
    from turbosock.buffers.objects import ObjectPoolStats
    from turbosock.buffers.pool import PoolStats
    from turbosock.client.stats import ClientStats
    from turbosock.loop_stats import LoopStats
    from turbosock.pool.connection_pool import ConnectionPool
    from turbosock.reactor.time_histogram import TimeCounts

# A Client, a Loop, or several by name, which is then the label `client` of each sample.
Source: TypeAlias = Client | Loop | Mapping[str, Client | Loop]

_BY_NAME: Final = {metric.name: metric for metric in METRICS}
_ERROR_STATUS: Final = 400


def snapshot(source: Source) -> list[Metric]:
    """Everything that is counted, in the order of `METRICS`; what has no samples is left out.

    Args:
        source: a Client, a Loop, or a mapping of names to several of them; closed ones, too.

    Raises:
        InvalidOption: it is something else.
    """
    samples = _Samples()
    for name, one in sources(source).items():
        samples.common = {"client": name} if name else {}
        samples.take(one)
    return [
        metric._replace(samples=tuple(samples.found[metric.name])) for metric in METRICS if metric.name in samples.found
    ]


def sources(source: Source) -> dict[str, Client | Loop]:
    """By name what is to be read; a single one has the name "". Requests are counted from now on.

    Raises:
        InvalidOption: something else was given.
    """
    found = dict(source) if isinstance(source, Mapping) else {"": source}
    for name, one in found.items():
        if not isinstance(name, str) or not isinstance(one, (Client, Loop)):
            what = type(one).__name__
            raise InvalidOption(f"source: a {what} was given; give a Client, a Loop, or a mapping of names to those")
        one.pool.measure()
    return found


class _Samples:
    """Samples by the name of their metric.

    Attributes:
        common: labels of all that is added.
    """

    def __init__(self) -> None:
        self.common: dict[str, str] = {}
        self.found: dict[str, list[Sample]] = {}

    def add(self, name: str, value: float | TimeCounts, **labels: str) -> None:
        """Add one; underscores in the names of labels are dots."""
        assert name in _BY_NAME, f"{name} stands in METRICS"
        named = {label.replace("__", "."): text for label, text in labels.items()}
        self.found.setdefault(name, []).append(Sample(tuple({**self.common, **named}.items()), value))

    def take(self, source: Client | Loop) -> None:
        """Everything of one Client or Loop."""
        stats = source.stats()
        self._take_requests(source.pool)
        self._take_client(stats)
        self._take_buffers("buffers", stats.buffers)
        self.add("turbosock.pool.misses", stats.rings.made, pool="rings")
        self.add("turbosock.pool.idle", stats.rings.idle, pool="rings")
        if isinstance(source, Loop):
            loop_stats = source.stats()
            self._take_buffers("bodies", source.bodies.stats())
            self._take_objects("exchanges", loop_stats.objects)
            self._take_loop(loop_stats)
            self._take_messages(loop_stats)
            for handler in source.reactor.handlers():
                if isinstance(handler, (StreamListener, UdpListener)):
                    self._take_listener(handler)
        else:
            self._take_objects("responses", source.stats().responses)

    def _take_requests(self, pool: ConnectionPool) -> None:
        for series in pool.measure().series():
            labels = {"http__request__method": series.method, **_server(series.host, series.port)}
            error = series.error
            if series.status_code:
                labels["http__response__status_code"] = str(series.status_code)
                if series.status_code >= _ERROR_STATUS:
                    error = error or str(series.status_code)
            if error:
                labels["error__type"] = error
            self.add("http.client.request.duration", series.counts(), **labels)
        for host in pool.hosts():
            server = _server(host.host, host.port)
            self.add("http.client.active_requests", host.active, **server)
            busy = host.open - host.idle
            self.add("http.client.open_connections", busy, http__connection__state="active", **server)
            self.add("http.client.open_connections", host.idle, http__connection__state="idle", **server)

    def _take_client(self, stats: ClientStats | LoopStats) -> None:
        connections = stats.connections
        self.add("turbosock.client.queue.duration", connections.queued)
        self.add("turbosock.client.waiting", stats.waiting)
        self.add("turbosock.client.held", stats.held)
        self.add("turbosock.client.dialling", connections.dialling)
        self.add("turbosock.client.connections.opened", connections.opened)
        for reason in ("expired", "unfit", "evicted"):
            self.add("turbosock.client.connections.dropped", getattr(connections, reason), reason=reason)
        self.add("turbosock.client.received", connections.bytes_in)
        self.add("turbosock.client.sent", connections.bytes_out)
        if stats.retries is not None:
            self.add("turbosock.client.retries", stats.retries.retries, outcome="made")
            self.add("turbosock.client.retries", stats.retries.over_budget, outcome="over_budget")
            self.add("turbosock.client.retries", stats.retries.too_late, outcome="too_late")
        for state in ("ready", "building", "target") if stats.prewarmed else ():
            count = sum(getattr(origin, state) for origin in stats.prewarmed)
            self.add("turbosock.prewarm.connections", count, state=state)
        for outcome in ("built", "failed") if stats.prewarmed else ():
            self.add(
                "turbosock.prewarm.dials", sum(getattr(origin, outcome) for origin in stats.prewarmed), outcome=outcome
            )
        self.add("turbosock.sse.streams", stats.event_streams)
        read = stats.events_read
        self.add("turbosock.sse.reconnections", read.reconnections)
        self.add("turbosock.sse.events", read.events)
        self.add("turbosock.sse.received", read.bytes_in)
        self.add("turbosock.sse.parse.duration", read.parse)
        self.add("turbosock.sse.delivery.duration", read.delivery)

    def _take_buffers(self, pool: str, stats: PoolStats) -> None:
        self.add("turbosock.pool.rents", stats.rented, pool=pool)
        self.add("turbosock.pool.misses", stats.missed, pool=pool)
        self.add("turbosock.pool.outstanding", stats.outstanding, pool=pool)
        self.add("turbosock.pool.outstanding.memory", stats.outstanding_bytes, pool=pool)
        self.add("turbosock.pool.idle", stats.idle, pool=pool)

    def _take_objects(self, pool: str, stats: ObjectPoolStats) -> None:
        self.add("turbosock.pool.rents", stats.rented, pool=pool)
        self.add("turbosock.pool.misses", stats.made, pool=pool)
        self.add("turbosock.pool.outstanding", max(0, stats.rented - stats.returned), pool=pool)
        self.add("turbosock.pool.idle", stats.idle, pool=pool)

    def _take_loop(self, stats: LoopStats) -> None:
        for name in ("exchanges", "events", "backlog", "timers", "lookups", "starved", "exhausted", "overruns"):
            self.add(f"turbosock.loop.{name}", getattr(stats, name))
        self.add("turbosock.loop.events.full", stats.events_full)
        self.add("turbosock.loop.sockets", stats.watched)
        self.add("turbosock.loop.overrun.longest", stats.longest_overrun_s)
        self.add("turbosock.loop.received", stats.bytes_in)
        self.add("turbosock.loop.sent", stats.bytes_out)

    def _take_messages(self, stats: LoopStats) -> None:
        messages = stats.messages
        for state in ("open", "paused", "held", "starving", "unsent"):
            self.add("turbosock.messages.connections", getattr(messages, state), state=state)
        self.add("turbosock.messages.received", messages.messages_in)
        self.add("turbosock.messages.sent", messages.messages_out)
        self.add("turbosock.messages.refused", messages.full)
        self.add("turbosock.messages.replaced", messages.replaced)
        self.add("turbosock.messages.unread", messages.quota_hits, used_up="quota")
        self.add("turbosock.messages.unread", messages.pool_hits, used_up="pool")
        self.add("turbosock.messages.ended", messages.failed, reason="failed")
        self.add("turbosock.messages.ended", messages.timeouts, reason="timeout")
        self.add("turbosock.messages.lent", messages.lent_bytes)
        self.add("turbosock.messages.unsent", messages.outgoing_bytes)

    def _take_listener(self, listener: StreamListener | UdpListener) -> None:
        address: Any = listener.address
        server = _server(address, 0) if isinstance(address, str) else _server(address[0], address[1])
        labels = {"protocol": _PROTOCOLS[type(listener).__name__], **server}
        stats = listener.stats()
        for name, fields in _SERVER_FIELDS.items():
            # Each kind of listener counts what it has.
            given = [getattr(stats, field) for field in fields if hasattr(stats, field)]
            if given:
                self.add(f"turbosock.server.{name}", sum(given), **labels)


_PROTOCOLS: Final = {
    "HttpListener": "http",
    "WebSocketListener": "websocket",
    "TcpListener": "tcp",
    "UdpListener": "udp",
}
_SERVER_FIELDS: Final = {
    "connections": ("open", "sessions"),
    "accepted": ("accepted",),
    "requests": ("requests",),
    "refused": ("refused", "too_long", "limited", "unknown", "overflowed"),
    "timeouts": ("timeouts",),
    "failed_handshakes": ("failed_handshakes",),
    "received": ("bytes_in",),
    "sent": ("bytes_out",),
}


def _server(host: str, port: int) -> dict[str, str]:
    """The labels of a host and port, or of a Unix socket's path, which has none."""
    labels = {"server__address": host}
    if port:
        labels["server__port"] = str(port)
    return labels
