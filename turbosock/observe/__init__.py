"""Looking at clients and loops from outside: metrics, traces, and records of exchanges, with what is secret hidden."""

from turbosock.observe.har import HarRecorder
from turbosock.observe.metric import METRICS, Metric, MetricKind, Sample
from turbosock.observe.observer import Observer
from turbosock.observe.opentelemetry import OpenTelemetry
from turbosock.observe.prometheus import PrometheusCollector, metrics_endpoint, prometheus_text, serve_metrics
from turbosock.observe.snapshots import snapshot

__all__ = [
    "METRICS",
    "HarRecorder",
    "Metric",
    "MetricKind",
    "Observer",
    "OpenTelemetry",
    "PrometheusCollector",
    "Sample",
    "metrics_endpoint",
    "prometheus_text",
    "serve_metrics",
    "snapshot",
]
