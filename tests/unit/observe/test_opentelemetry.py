"""Spans and metrics under OpenTelemetry's names, by its SDK."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

from support.observed import FACES, HOST, URL, Made, answered, slow_event_stream
from turbosock import Client, InvalidOption, InvalidUrl, Loop, RetryHook
from turbosock.observe import OpenTelemetry
from turbosock.server.request import Request
from turbosock.testing import MockTransport
from turbosock.testing.http_peer import HttpAnswer, HttpPeer


class Backend:
    """An SDK that keeps what it is given."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = OpenTelemetry(self.tracer_provider, self.meter_provider, **options)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def data(self) -> dict[str, Any]:
        """What every metric has, by its name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: metric.data
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self) -> dict[str, Sequence[Any]]:
        """Data points of every metric, by its name."""
        return {name: tuple(data.data_points) for name, data in self.data().items()}


def test_request_is_a_span_with_the_names_of_the_conventions(observed: Made) -> None:
    backend = Backend()
    face = observed(middleware=[backend.telemetry])
    face.ask("/?token=s3cr3t&page=2")
    (span,) = backend.spans
    assert (span.name, span.kind.name, span.status.status_code.name) == ("GET", "CLIENT", "UNSET")
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": HOST,
        "server.port": 80,
        "url.full": f"{URL}/?token=(hidden)&page=2",
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


@pytest.mark.parametrize("path", ["/404", "/503"])
def test_status_of_an_error_is_the_type_of_the_error(observed: Made, path: str) -> None:
    backend = Backend()
    observed(middleware=[backend.telemetry]).ask(path)
    (span,) = backend.spans
    assert span.status.status_code.name == "ERROR" and span.status.description is None
    assert (span.attributes or {})["error.type"] == path[1:]


def test_failure_is_a_span_with_its_code(observed: Made) -> None:
    backend = Backend()
    error = observed(middleware=[backend.telemetry]).ask("/cut", auth=("user", "s3cr3t"))
    (span,) = backend.spans
    assert error is not None and (span.attributes or {})["error.type"] == error.code
    assert "s3cr3t" not in span.to_json()


def test_redirect_and_attempts_are_spans_of_the_same_parent(observed: Made) -> None:
    backend = Backend()
    tracer = backend.tracer_provider.get_tracer("test")
    retries = RetryHook(lambda exchange: 0.0 if exchange.status_code == 503 else None, max_attempts=2)
    face = observed(middleware=[retries, backend.telemetry])
    with tracer.start_as_current_span("parent") as parent:
        face.ask("/hop")
        face.ask("/503")
    *spans, _ = backend.spans
    assert [(span.attributes or {})["http.response.status_code"] for span in spans] == [302, 200, 503, 503]
    assert (spans[-1].attributes or {})["http.request.resend_count"] == 1
    assert {span.parent.span_id for span in spans if span.parent} == {parent.get_span_context().span_id}
    assert len({span.context.span_id for span in spans}) == 4


def test_sampler_sees_where_a_request_goes(observed: Made) -> None:
    seen: list[Any] = []

    class Noting(Sampler):
        def should_sample(self, *arguments: Any, **named: Any) -> SamplingResult:
            seen.append(dict(named.get("attributes") or arguments[4]))
            return SamplingResult(Decision.DROP)

        def get_description(self) -> str:
            return "notes"

    face = observed(middleware=[OpenTelemetry(TracerProvider(sampler=Noting()))])
    assert face.ask("/?token=s3cr3t") is None
    assert seen == [
        {
            "http.request.method": "GET",
            "server.address": HOST,
            "server.port": 80,
            "url.full": f"{URL}/?token=(hidden)",
        }
    ]


def test_redirect_that_a_turn_follows_has_the_parent_of_its_request() -> None:
    backend = Backend()
    tracer = backend.tracer_provider.get_tracer("test")
    with MockTransport() as mock, Loop(connector=mock, middleware=[backend.telemetry]) as loop:
        mock.add(status_code=302, headers={"Location": "/200"})
        mock.add()
        with tracer.start_as_current_span("parent") as parent:
            exchange = loop.get(URL)
        while not exchange.done:
            loop.poll(1.0)
    _, *spans = backend.spans
    assert [span.parent.span_id for span in spans if span.parent] == [parent.get_span_context().span_id] * 2


def test_spans_of_requests_that_are_never_sent_are_bounded(observed: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbosock.observe.opentelemetry.MAX_PENDING_SPANS", 3)
    backend = Backend(propagate=True)
    face = observed(middleware=[backend.telemetry])
    for _ in range(10):
        with suppress(InvalidUrl):
            face.ask("/\n")
    assert len(backend.telemetry._pending) == 3
    assert face.ask() is None


@pytest.mark.parametrize("propagate", [True, False])
def test_context_is_sent_along_where_it_is_asked_for(observed: Made, propagate: bool) -> None:
    backend = Backend(propagate=propagate)
    face = observed(middleware=[backend.telemetry])
    told: list[str | None] = []

    def answer(request: Request) -> HttpAnswer:
        told.append(request.headers.get("traceparent"))
        return answered(request)

    face.connector._peer = HttpPeer(answer)
    face.ask()
    face.ask()
    sent = [f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}" for span in backend.spans]
    # Behind the span stand flags.
    assert [value and value[:-3] for value in told] == (sent if propagate else [None, None])
    assert len(set(sent)) == 2


def test_field_that_the_request_has_itself_stays(observed: Made) -> None:
    backend = Backend(propagate=True)
    face = observed(middleware=[backend.telemetry])
    told: list[str | None] = []

    def answer(request: Request) -> HttpAnswer:
        told.append(request.headers.get("traceparent"))
        return answered(request)

    face.connector._peer = HttpPeer(answer)
    face.ask(headers={"traceparent": "mine"})
    assert told == ["mine"] and len(backend.spans) == 1


def test_duration_is_a_metric_with_the_attributes_of_the_conventions(observed: Made) -> None:
    backend = Backend()
    face = observed(middleware=[backend.telemetry])
    for path in ("/", "/", "/404"):
        face.ask(path)
    points = backend.points()["http.client.request.duration"]
    counted = {point.attributes["http.response.status_code"]: point.count for point in points}
    assert counted == {200: 2, 404: 1}
    assert points[0].explicit_bounds[0] == 0.005
    assert "url.full" not in points[0].attributes


@pytest.mark.parametrize("face", FACES)
def test_event_stream_is_a_time_to_its_head_and_a_span_to_its_end(face: type[Client] | type[Loop]) -> None:
    backend = Backend()
    with slow_event_stream(face, middleware=[backend.telemetry]) as (_, take):
        take()
        take()
        (point,) = backend.points()["http.client.request.duration"]
        assert (point.count, int(point.sum)) == (1, 5)
        assert not backend.spans
    (span,) = backend.spans
    assert (span.attributes or {})["http.response.status_code"] == 200
    (point,) = backend.points()["http.client.request.duration"]
    assert point.count == 1


def test_watched_source_is_read_at_each_collection(observed: Made) -> None:
    backend = Backend()
    face = observed(middleware=[backend.telemetry])
    backend.telemetry.watch(face.source)
    face.ask()
    points = backend.points()
    states = {
        point.attributes["http.connection.state"]: point.value for point in points["http.client.open_connections"]
    }
    assert states == {"active": 0, "idle": 1}
    (opened,) = points["turbosock.client.connections.opened"]
    assert opened.value == 1
    kinds = {name: (type(data).__name__, getattr(data, "is_monotonic", None)) for name, data in backend.data().items()}
    assert kinds["turbosock.client.connections.opened"] == ("Sum", True)
    assert kinds["http.client.open_connections"] == ("Sum", False)
    assert kinds["turbosock.client.waiting"] == ("Gauge", None)
    assert points["http.client.active_requests"][0].attributes == {"server.address": HOST, "server.port": 80}


def test_reading_that_fails_is_cut_off_and_requests_go_on(
    observed: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(source: object) -> Any:
        raise ValueError("s3cr3t")

    backend = Backend()
    face = observed(middleware=[backend.telemetry])
    backend.telemetry.watch(face.source)
    monkeypatch.setattr("turbosock.observe.opentelemetry.snapshot", fail)
    assert backend.points() == {}
    assert backend.points() == {}
    assert [record.name for record in caplog.records if record.name.startswith("turbosock")] == ["turbosock.observe"]
    assert face.ask() is None


class Down(SpanExporter):
    """A backend that cannot be reached."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise ConnectionError("nobody is there")

    def shutdown(self) -> None:
        pass


def test_backend_that_is_down_breaks_no_request(observed: Made) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Down()))
    telemetry = OpenTelemetry(provider)
    face = observed(middleware=[telemetry])
    assert face.ask() is None
    assert face.ask() is None


def test_without_the_api_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(InvalidOption, match="pip install 'turbosock"):
        OpenTelemetry()


@pytest.mark.parametrize("name", ["tracer_provider", "meter_provider"])
def test_provider_of_another_type_is_refused_by_name(name: str) -> None:
    options: dict[str, Any] = {name: 7}
    with pytest.raises(InvalidOption, match=name):
        OpenTelemetry(**options)


def test_propagate_is_a_bool() -> None:
    with pytest.raises(InvalidOption, match="propagate"):
        OpenTelemetry(propagate=1)  # type: ignore[arg-type]  # refused
