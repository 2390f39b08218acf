"""The text that Prometheus reads, the endpoint that serves it, and the collector."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from support.observed import Made, Observed
from turbosock import Client, InvalidOption, Loop
from turbosock.observe import (
    Metric,
    MetricKind,
    PrometheusCollector,
    Sample,
    metrics_endpoint,
    prometheus_text,
    serve_metrics,
    snapshot,
)
from turbosock.reactor.time_histogram import TimeHistogram


def histogram(*times_ns: int) -> Any:
    noted = TimeHistogram()
    for time_ns in times_ns:
        noted.note(time_ns)
    return noted.counts()


def test_text_has_help_type_and_one_line_a_sample() -> None:
    metric = Metric(
        "turbosock.client.sent",
        MetricKind.COUNTER,
        "By",
        "Bytes.",
        (Sample((), 3), Sample((("server.address", 'a"\\\nb'), ("client", "x")), 2.5)),
    )
    assert prometheus_text([metric]).splitlines() == [
        "# HELP turbosock_client_sent_bytes_total Bytes.",
        "# TYPE turbosock_client_sent_bytes_total counter",
        "turbosock_client_sent_bytes_total 3",
        r'turbosock_client_sent_bytes_total{server_address="a\"\\\nb",client="x"} 2.5',
    ]


def test_buckets_are_cumulative_and_hold_all() -> None:
    counts = histogram(1, 2_000, 2_000, 10**12)
    metric = Metric("turbosock.t", MetricKind.HISTOGRAM, "s", "Times.", (Sample((), counts),))
    (family,) = text_string_to_metric_families(prometheus_text([metric]))
    by_bound = {s.labels["le"]: s.value for s in family.samples if s.name == "turbosock_t_seconds_bucket"}
    values = list(by_bound.values())
    assert values == sorted(values)
    assert (by_bound["1.024e-06"], by_bound["2.048e-06"], by_bound["+Inf"]) == (1, 3, 4)
    totals = {s.name: s.value for s in family.samples if "le" not in s.labels}
    assert totals["turbosock_t_seconds_count"] == 4
    assert totals["turbosock_t_seconds_sum"] == pytest.approx(1000.000004001)


def test_collector_and_text_say_the_same(observed: Made) -> None:
    face = observed()
    collector = PrometheusCollector(face.source)
    registry = CollectorRegistry()
    registry.register(collector)
    face.ask()
    face.ask("/404")

    def samples(text: str) -> set[Any]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            # What reading itself changes.
            if "pool_idle" not in sample.name
        }

    ours = samples(prometheus_text(snapshot(face.source)))
    theirs = samples(generate_latest(registry).decode())
    assert len(ours) > 60
    assert ours == theirs


def test_collector_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.core", None)
    with Client() as client, pytest.raises(InvalidOption, match="pip install 'turbosock"):
        PrometheusCollector(client)


def asked(loop: Loop, method: str, url: str) -> Any:
    exchange = loop.request(method, url)
    while not exchange.done:
        loop.poll(1.0)
    list(loop.events)
    assert exchange.error is None
    return exchange


def test_endpoint_answers_with_the_metrics_of_the_moment() -> None:
    with Loop() as loop:
        listener = serve_metrics(loop, ("127.0.0.1", 0))
        first = asked(loop, "GET", f"{listener.url}/metrics")
        assert first.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        text = asked(loop, "GET", f"{listener.url}/metrics").text
        assert 'turbosock_server_requests_total{protocol="http",server_address="127.0.0.1"' in text
        assert 'http_response_status_code="200"' in text
        assert asked(loop, "HEAD", f"{listener.url}/metrics").content == b""
        assert asked(loop, "POST", f"{listener.url}/metrics").status_code == 405
        assert asked(loop, "GET", listener.url).status_code == 404


def test_endpoint_of_other_sources_on_any_path() -> None:
    client = Observed(Client)
    with Loop() as loop, client.source:
        handler = metrics_endpoint({"api": client.source}, path=None)
        listener = loop.listen(("127.0.0.1", 0), protocol="http", handler=handler)
        client.ask()
        text = asked(loop, "GET", f"{listener.url}/anything").text
        assert 'http_client_open_connections{client="api"' in text
        assert "turbosock_loop" not in text


def test_argument_of_another_type_is_refused() -> None:
    with Loop() as loop:
        with pytest.raises(InvalidOption, match="source"):
            metrics_endpoint(3)  # type: ignore[arg-type]  # refused
        with pytest.raises(InvalidOption, match="path"):
            metrics_endpoint(loop, "metrics")
        with pytest.raises(InvalidOption, match="loop"):
            serve_metrics(3, ("127.0.0.1", 0))  # type: ignore[arg-type]  # refused
