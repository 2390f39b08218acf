"""Metrics as Prometheus reads them: a text, the answer of a listener, and a collector for prometheus_client.

    turbosock.observe.serve_metrics(loop, ("127.0.0.1", 9100))

Names are OpenTelemetry's, written as its specification says for Prometheus: underscores for dots, the unit at the end,
`_total` behind counters. The text is version 0.0.4 of the exposition format; nothing has to be installed for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from turbosock.errors import InvalidOption
from turbosock.loop import Loop
from turbosock.observe.metric import Labels, Metric, MetricKind
from turbosock.observe.snapshots import Source, snapshot, sources
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.time_histogram import TimeCounts

if TYPE_CHECKING:
    from turbosock.reactor.sockets import ListenAddress
    from turbosock.server.http_exchange import HttpExchange
    from turbosock.server.http_listener import HttpListener

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_UNITS: Final = {"s": "_seconds", "By": "_bytes"}
# Of all powers of two those that times of requests and events are about: 1 µs to 69 s.
_BOUNDS: Final = range(10, 37)


def prometheus_name(metric: Metric) -> str:
    """What the metric is called there."""
    name = metric.name.replace(".", "_") + _UNITS.get(metric.unit, "")
    return f"{name}_total" if metric.kind is MetricKind.COUNTER else name


def prometheus_text(metrics: Iterable[Metric]) -> str:
    """Metrics in the text exposition format."""
    lines: list[str] = []
    for metric in metrics:
        name = prometheus_name(metric)
        lines.append(f"# HELP {name} {metric.description}")
        lines.append(f"# TYPE {name} {metric.kind.value}")
        for labels, value in metric.samples:
            if isinstance(value, TimeCounts):
                for bound, count in _buckets(value):
                    lines.append(f"{name}_bucket{_labels((*labels, ('le', bound)))} {count}")
                lines.append(f"{name}_sum{_labels(labels)} {value.total_ns / NS_PER_S!r}")
                lines.append(f"{name}_count{_labels(labels)} {value.times}")
            else:
                lines.append(f"{name}{_labels(labels)} {value!r}")
    return "\n".join([*lines, ""])


def _buckets(counts: TimeCounts) -> Iterator[tuple[str, int]]:
    """Upper bounds in seconds, and how many times there were up to each."""
    for exponent in _BOUNDS:
        yield repr((1 << exponent) / NS_PER_S), sum(counts.buckets[: exponent + 1])
    yield "+Inf", counts.times


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join([f'{_label(name)}="{_escaped(value)}"' for name, value in labels]) + "}"


def _label(name: str) -> str:
    return name.replace(".", "_")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics_endpoint(source: Source, path: str | None = "/metrics") -> Callable[[HttpExchange], object]:
    """A handler for an HTTP listener that answers with the metrics of the moment.

    Args:
        source: as of `snapshot`.
        path: the one path that it answers; others get 404. None: any, where another handler has chosen it.

    Raises:
        InvalidOption: an argument cannot work.
    """
    sources(source)
    if path is not None and (not isinstance(path, str) or not path.startswith("/")):
        raise InvalidOption(f"path={path!r}: give a path, as in '/metrics', or None")

    def answer(exchange: HttpExchange) -> None:
        request = exchange.request
        if path is not None and request.path != path:
            exchange.respond(404, {"Content-Type": "text/plain"}, f"metrics are at {path}\n")
        elif request.method not in ("GET", "HEAD"):
            exchange.respond(405, {"Allow": "GET, HEAD"})
        else:
            exchange.respond(200, {"Content-Type": CONTENT_TYPE}, prometheus_text(snapshot(source)))

    return answer


def serve_metrics(loop: Loop, address: ListenAddress, source: Source | None = None) -> HttpListener:
    """Let `loop` answer GET /metrics at `address`.

    Args:
        loop: whose `poll()` answers.
        address: as of `Loop.listen`; keep it to where the metrics are meant to be seen.
        source: whose metrics, as of `snapshot`; None: the loop's own.

    Returns:
        The listener, whose `address` says the port, and whose `close()` ends it.

    Raises:
        InvalidOption, NetworkError, ClientClosed: as `Loop.listen`.
    """
    if not isinstance(loop, Loop):
        raise InvalidOption(f"loop: a {type(loop).__name__} was given; give the Loop that is to answer")
    handler = metrics_endpoint(loop if source is None else source)
    return loop.listen(address, protocol="http", handler=handler)


class PrometheusCollector:
    """Metrics for a registry of prometheus_client, which asks for them at each scrape.

        prometheus_client.REGISTRY.register(PrometheusCollector(client))

    Args:
        source: as of `snapshot`; several Clients and Loops of one registry are given to one collector, by name.

    Raises:
        InvalidOption: prometheus_client is not installed, or `source` is something else.
    """

    def __init__(self, source: Source) -> None:
        sources(source)
        self._source = source
        try:
            self._core: Any = importlib.import_module("prometheus_client.core")
        except ImportError as error:
            raise InvalidOption(
                "PrometheusCollector: prometheus_client is not installed; pip install 'turbosock[prometheus]'"
            ) from error

    def describe(self) -> list[Any]:
        """Return no names ahead of a scrape: which ones there are depends on what the program does."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics of the moment; for the registry."""
        core = self._core
        families = {
            MetricKind.COUNTER: core.CounterMetricFamily,
            MetricKind.GAUGE: core.GaugeMetricFamily,
            MetricKind.HISTOGRAM: core.HistogramMetricFamily,
        }
        for metric in snapshot(self._source):
            family = families[metric.kind](prometheus_name(metric), metric.description)
            name = family.name
            for labels, value in metric.samples:
                named = {_label(label): text for label, text in labels}
                if isinstance(value, TimeCounts):
                    for bound, count in _buckets(value):
                        family.add_sample(f"{name}_bucket", {**named, "le": bound}, count)
                    family.add_sample(f"{name}_sum", named, value.total_ns / NS_PER_S)
                    family.add_sample(f"{name}_count", named, value.times)
                else:
                    suffix = "_total" if metric.kind is MetricKind.COUNTER else ""
                    family.add_sample(name + suffix, named, value)
            yield family
