"""OpenTelemetry: spans and metrics of a Client or a Loop under the names of the HTTP client conventions.

    telemetry = turbosock.observe.OpenTelemetry()
    client = turbosock.Client(middleware=[telemetry])
    telemetry.watch(client)

Each request that is sent is a span of kind CLIENT, and one time of `http.client.request.duration`; a redirect has a
span of its own beside that of the request before it, and so has each attempt where this link stands behind the one that
repeats. Of an event stream the time ends with the head of its answer, and the span with the stream.
`watch()` has everything else that is counted read whenever the SDK collects.

Only the API is needed here; without an SDK nothing is recorded. Exporters are the SDK's: one whose backend is down
drops what it has, and no request waits for it. What fails here all the same is logged once and cut off (`observer.py`).
"""

from __future__ import annotations

import importlib
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from turbosock.client.event_stream import MEDIA_TYPE
from turbosock.errors import InvalidOption
from turbosock.limits import MAX_PENDING_SPANS
from turbosock.observe.hidden import shown_url
from turbosock.observe.metric import METRICS, MetricKind
from turbosock.observe.observer import Observer
from turbosock.observe.snapshots import Source, snapshot, sources
from turbosock.pool.request_meter import METHODS, OTHER
from turbosock.reactor.clock import NS_PER_S
from turbosock.version import __version__

if TYPE_CHECKING:
    from turbosock.client.middleware import Draft
    from turbosock.client.middleware.chained import Chained
    from turbosock.client.url import Url
    from turbosock.observe.metric import Labels, Metric
    from turbosock.protocol.http1.head import ResponseHead

# What the conventions advise, in seconds.
_BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# Attributes that the conventions have as numbers; in a snapshot every label is text.
_NUMBERS: Final = frozenset(("http.response.status_code", "server.port"))
_VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}
# Callbacks of one collection come one after the other: for so long they share a snapshot.
_FRESH_NS: Final = NS_PER_S // 10


class _Trace:
    """One exchange between its start and its end, and the context that it was asked for in.

    `begun_ns` is 0 once its time was recorded.
    """

    __slots__ = ("begun_ns", "parent", "span")

    def __init__(self, parent: Any, span: Any, begun_ns: int) -> None:
        self.parent = parent
        self.span = span
        self.begun_ns = begun_ns


class OpenTelemetry(Observer):
    """See the module.

    Args:
        tracer_provider, meter_provider: None: the global ones.
        propagate: send the span's context along, in the fields of the global propagator (`traceparent`, W3C Trace
            Context). Every request then has fields of its own, and is serialised by itself; a redirect carries those of
            the request that it follows. Not for requests to those who need not know.

    Raises:
        InvalidOption: opentelemetry-api is not installed, or an argument cannot work.
    """

    def __init__(self, tracer_provider: Any = None, meter_provider: Any = None, *, propagate: bool = False) -> None:
        if not isinstance(propagate, bool):
            raise InvalidOption(f"propagate={propagate!r}: give True or False")
        if tracer_provider is not None and not hasattr(tracer_provider, "get_tracer"):
            raise InvalidOption(f"tracer_provider: a {type(tracer_provider).__name__} was given; give a TracerProvider")
        if meter_provider is not None and not hasattr(meter_provider, "get_meter"):
            raise InvalidOption(f"meter_provider: a {type(meter_provider).__name__} was given; give a MeterProvider")
        try:
            self._trace: Any = importlib.import_module("opentelemetry.trace")
            self._context: Any = importlib.import_module("opentelemetry.context")
            self._metrics: Any = importlib.import_module("opentelemetry.metrics")
            self._inject: Any = importlib.import_module("opentelemetry.propagate").inject
        except ImportError as error:
            raise InvalidOption(
                "OpenTelemetry: opentelemetry-api is not installed; pip install 'turbosock[otel]'"
            ) from error
        self._tracer = self._trace.get_tracer("turbosock", __version__, tracer_provider=tracer_provider)
        self._meter = self._metrics.get_meter("turbosock", __version__, meter_provider=meter_provider)
        self._duration = self._meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self._propagate = propagate
        # Spans of requests that are prepared and not sent, by what the fields of the propagator say; its steps are
        # whole ones, whatever other threads do meanwhile.
        self._pending: OrderedDict[tuple[str | None, ...], Any] = OrderedDict()
        self._names: tuple[str, ...] = ()
        self._traces: WeakKeyDictionary[Chained, _Trace] = WeakKeyDictionary()

    # Requests

    def prepare(self, draft: Draft) -> None:
        if self._propagate and not self.failed:
            try:
                method = draft.method.upper() if isinstance(draft.method, str) else OTHER
                span = self._start(method, None, {})
                carrier: dict[str, str] = {}
                self._inject(carrier, context=self._trace.set_span_in_context(span))
                for name, value in carrier.items():
                    draft.set_default(name, value)
                self._names = tuple(carrier)
                self._pending[tuple(carrier.values())] = span
                if len(self._pending) > MAX_PENDING_SPANS:
                    # Requests that were refused, or whose fields were their caller's own.
                    self._pending.popitem(last=False)
            except Exception:
                self.cut_off("prepare")

    def on_start(self, exchange: Chained) -> None:
        prepared = exchange.prepared
        known = self._traces.get(exchange)
        follows = exchange.attempts > 0 or (exchange.flow is not None and bool(exchange.flow.history))
        # A turn of a Loop that follows a redirect runs in some other context than the one that asked for the request.
        parent = known.parent if follows and known is not None else self._context.get_current()
        attributes = _attributes(prepared.method, prepared.url)
        attributes["url.full"] = shown_url(prepared.url.full)
        if exchange.attempts:
            attributes["http.request.resend_count"] = exchange.attempts
        span = None
        if self._pending:
            span = self._pending.pop(tuple([prepared.fields.get(name) for name in self._names]), None)
        if span is None:
            span = self._start(prepared.method, parent, attributes)
        elif span.is_recording():
            span.set_attributes(attributes)
        self._traces[exchange] = _Trace(parent, span, exchange.now_ns())

    def on_answer(self, exchange: Chained) -> None:
        head = exchange.head
        assert head is not None, "its head is the answer"
        trace = self._traces.get(exchange)
        if trace is not None and trace.span is not None and _is_event_stream(head):
            self._record(exchange, trace, trace.span, _outcome(exchange))

    def on_end(self, exchange: Chained) -> None:
        trace = self._traces.get(exchange)
        if trace is None or trace.span is None:
            return
        span, trace.span = trace.span, None
        attributes = _outcome(exchange)
        if span.is_recording():
            span.set_attributes(attributes)
            if "error.type" in attributes:
                # No description: what an error says may hold more than a trace is to show.
                span.set_status(self._trace.StatusCode.ERROR)
        if trace.begun_ns:
            self._record(exchange, trace, span, attributes)
        span.end()

    def _record(self, exchange: Chained, trace: _Trace, span: Any, attributes: dict[str, str | int]) -> None:
        context = self._trace.set_span_in_context(span, trace.parent)
        self._duration.record((exchange.now_ns() - trace.begun_ns) / NS_PER_S, attributes, context=context)
        trace.begun_ns = 0

    def _start(self, method: str, parent: Any, attributes: dict[str, str | int]) -> Any:
        """A span; samplers see the attributes that it begins with."""
        name = method if method in METHODS else "HTTP"
        return self._tracer.start_span(name, context=parent, kind=self._trace.SpanKind.CLIENT, attributes=attributes)

    # Everything else

    def watch(self, source: Source) -> None:
        """Have what a Client, a Loop, or several by name count read whenever metrics are collected.

        Args:
            source: as of `snapshot`; it is not kept alive.

        Raises:
            InvalidOption: it is something else.
        """
        reading = _Reading(source)
        meter = self._meter
        for metric in METRICS:
            if metric.kind is MetricKind.HISTOGRAM:
                # The API has none that are read.
                continue
            if metric.kind is MetricKind.COUNTER:
                create = meter.create_observable_counter
            elif metric.name.startswith("http.client."):
                create = meter.create_observable_up_down_counter
            else:
                create = meter.create_observable_gauge
            create(
                metric.name,
                callbacks=[self._callback(reading, metric.name)],
                unit=metric.unit,
                description=metric.description,
            )

    def _callback(self, reading: _Reading, name: str) -> Callable[[Any], list[Any]]:
        observation = self._metrics.Observation

        def read(options: Any) -> list[Any]:
            if self.failed:
                return []
            try:
                return [observation(sample.value, _typed(sample.labels)) for sample in reading.samples(name)]
            except Exception:
                self.cut_off("watch")
                return []

        return read


class _Reading:
    """Snapshots of what still lives of a source."""

    def __init__(self, source: Source) -> None:
        self._living = {name: weakref.ref(one) for name, one in sources(source).items()}
        self._metrics: dict[str, Metric] = {}
        self._read_ns = -_FRESH_NS

    def samples(self, name: str) -> Iterator[Any]:
        """Those of one metric."""
        now_ns = time.monotonic_ns()
        if now_ns - self._read_ns >= _FRESH_NS:
            found = {key: one for key, reference in self._living.items() if (one := reference()) is not None}
            self._metrics = {metric.name: metric for metric in snapshot(found)}
            self._read_ns = now_ns
        metric = self._metrics.get(name)
        return iter(() if metric is None else metric.samples)


def _typed(labels: Labels) -> dict[str, str | int]:
    return {name: int(text) if name in _NUMBERS else text for name, text in labels}


def _is_event_stream(head: ResponseHead) -> bool:
    content_type = head.headers.get("content-type") or ""
    return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE


def _outcome(exchange: Chained) -> dict[str, str | int]:
    """What spans and metrics say of a request that was answered, or is over."""
    attributes = _attributes(exchange.prepared.method, exchange.prepared.url)
    error = "" if exchange.error is None else exchange.error.code
    if exchange.head is not None:
        status_code = exchange.head.status_code
        attributes["http.response.status_code"] = status_code
        attributes["network.protocol.version"] = _VERSIONS[exchange.head.version]
        if status_code >= 400 and not error:
            error = str(status_code)
    if error:
        attributes["error.type"] = error
    return attributes


def _attributes(method: str, url: Url) -> dict[str, str | int]:
    """What spans and metrics say of every request."""
    key = url.key
    attributes: dict[str, str | int] = {"http.request.method": method if method in METHODS else OTHER}
    if key.path is None:
        attributes["server.address"] = key.host
        attributes["server.port"] = key.port
    else:
        attributes["server.address"] = key.path
    return attributes
