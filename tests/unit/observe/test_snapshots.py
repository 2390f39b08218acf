"""What a snapshot says of what a Client or a Loop did."""

from __future__ import annotations

from typing import Any

import pytest

from support.observed import FACES, HOST, URL, Made, Observed, figures, slow_event_stream, times
from turbosock import Client, InvalidOption, Loop, RetryHook, RetryPolicy
from turbosock.observe import METRICS, MetricKind, snapshot
from turbosock.pool import request_meter
from turbosock.reactor.clock import NS_PER_S
from turbosock.reactor.time_histogram import TimeCounts


def test_requests_are_counted_from_the_first_snapshot_on_by_method_and_outcome(observed: Made) -> None:
    face = observed()
    face.ask()
    assert times(face.source) == {}
    for _ in range(3):
        face.ask()
    face.ask("/404")
    face.ask(method="POST", content=b"x")
    face.ask(method="PURGE")
    assert times(face.source) == {"GET 200": 3, "GET 404 404": 1, "POST 200": 1, "_OTHER 200": 1}


def test_answer_that_is_expected_counts_as_any_other(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    for path in ("/", "/", "/500", "/", "/500", "/500", "/"):
        face.ask(path)
    assert times(face.source) == {"GET 200": 4, "GET 500 500": 3}


def test_redirect_is_a_request_of_its_own(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    face.ask("/hop")
    assert times(face.source) == {"GET 302": 1, "GET 200": 1}


def test_further_attempt_is_a_request_of_its_own(observed: Made) -> None:
    def decide(exchange: Any) -> float | None:
        return 0.0 if exchange.attempts < 3 else None

    face = observed(middleware=[RetryHook(decide)])
    snapshot(face.source)
    face.ask("/503")
    assert times(face.source) == {"GET 503 503": 3}


def test_failure_counts_once_under_its_code(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    error = face.ask("/cut")
    assert error is not None
    assert times(face.source) == {f"GET 200 {error.code}": 1}


def test_streamed_answer_that_is_left_early_is_counted() -> None:
    face = Observed(Client)
    with face.source as client:
        assert isinstance(client, Client)
        snapshot(client)
        with client.stream("GET", URL):
            assert figures(client, "http.client.active_requests") == {"": 0}, "the body came with the head"
        assert times(client) == {"GET 200": 1}


@pytest.mark.parametrize("face", FACES)
def test_event_stream_counts_once_with_the_time_to_its_head(face: type[Client] | type[Loop]) -> None:
    with slow_event_stream(face) as (source, take):
        snapshot(source)
        take()
        (counts,) = figures(source, "http.client.request.duration").values()
        assert isinstance(counts, TimeCounts)
        take()
        (after,) = figures(source, "http.client.request.duration").values()
        assert (counts.times, counts.total_ns // NS_PER_S) == (1, 5)
        assert after == counts
    assert times(source) == {"GET 200": 1}


def test_durations_are_those_of_the_clock(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    face.ask()
    (counts,) = figures(face.source, "http.client.request.duration").values()
    assert isinstance(counts, TimeCounts)
    assert 0 < counts.total_ns <= counts.max_ns
    assert sum(counts.buckets) == counts.times == 1


def test_labels_say_the_host(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    face.ask()
    (metric,) = [metric for metric in snapshot(face.source) if metric.name == "http.client.request.duration"]
    (sample,) = metric.samples
    assert dict(sample.labels) == {
        "http.request.method": "GET",
        "server.address": HOST,
        "server.port": "80",
        "http.response.status_code": "200",
    }


def test_unix_socket_is_named_by_its_path(observed: Made) -> None:
    face = observed()
    snapshot(face.source)
    source = face.source
    exchange = source.get("http+unix://%2Frun%2Fapp.sock/")
    while isinstance(source, Loop) and not exchange.done:  # type: ignore[union-attr]  # a Loop's
        source.poll()
    (metric,) = [metric for metric in snapshot(source) if metric.name == "http.client.request.duration"]
    assert dict(metric.samples[0].labels)["server.address"] == "/run/app.sock"


def test_hosts_beyond_the_bound_share_a_series(observed: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_meter, "MAX_REQUEST_SERIES", 2)
    face = observed()
    snapshot(face.source)
    for path in ("/200", "/201", "/202", "/202", "/203", "/200"):
        face.ask(path)
    assert times(face.source) == {"GET 200": 2, "GET 201": 1, "_OTHER": 3}


def test_connections_are_told_by_state(observed: Made) -> None:
    face = observed()
    face.ask()
    assert figures(face.source, "http.client.open_connections") == {"active": 0, "idle": 1}
    assert figures(face.source, "turbosock.client.connections.opened") == {"": 1}
    received = figures(face.source, "turbosock.client.received")[""]
    face.source.close()
    assert figures(face.source, "http.client.open_connections") == {"active": 0, "idle": 0}
    assert figures(face.source, "turbosock.client.received") == {"": received}


def test_every_metric_of_a_busy_loop_is_in_the_table_and_has_its_kind(observed: Made) -> None:
    face = observed()
    face.ask()
    known = {metric.name: metric for metric in METRICS}
    for metric in snapshot(face.source):
        assert metric._replace(samples=()) == known[metric.name]
        for _, value in metric.samples:
            assert isinstance(value, TimeCounts) == (metric.kind is MetricKind.HISTOGRAM)


# What each metric of a loop that does a little of everything is told apart by, beside hosts.
LABELS: dict[str, set[str]] = {
    "http.client.request.duration": {"GET 503 503"},
    "http.client.open_connections": {"active", "idle"},
    "turbosock.client.connections.dropped": {"expired", "unfit", "evicted"},
    "turbosock.client.retries": {"made", "over_budget", "too_late"},
    "turbosock.prewarm.connections": {"ready", "building", "target"},
    "turbosock.prewarm.dials": {"built", "failed"},
    "turbosock.pool.rents": {"buffers", "bodies", "exchanges"},
    "turbosock.pool.misses": {"buffers", "bodies", "exchanges", "rings"},
    "turbosock.pool.outstanding": {"buffers", "bodies", "exchanges"},
    "turbosock.pool.outstanding.memory": {"buffers", "bodies"},
    "turbosock.pool.idle": {"buffers", "bodies", "exchanges", "rings"},
    "turbosock.messages.connections": {"open", "paused", "held", "starving", "unsent"},
    "turbosock.messages.unread": {"quota", "pool"},
    "turbosock.messages.ended": {"failed", "timeout"},
    "turbosock.server.requests": {"http"},
}


def test_every_metric_is_there_of_a_loop_that_does_everything_with_all_its_labels() -> None:
    face = Observed(Loop, retries=RetryPolicy(count=1, backoff_first_s=0.001, backoff_cap_s=0.001))
    with face.source as loop:
        assert isinstance(loop, Loop)
        snapshot(loop)
        loop.prewarm(URL)
        loop.listen(("127.0.0.1", 0), handler=lambda exchange: exchange.respond(200))
        loop.listen(("127.0.0.1", 0), protocol="websocket")
        face.ask("/503")
        names = {metric.name for metric in METRICS}
        assert {metric.name for metric in snapshot(loop)} == names
        for name in names:
            usual = {"http", "websocket"} if name.startswith("turbosock.server.") else {""}
            assert set(figures(loop, name)) == LABELS.get(name, usual), name


def test_several_sources_are_told_apart_by_name() -> None:
    one, other = Observed(Client), Observed(Loop)
    with one.source, other.source:
        one.ask()
        opened = figures({"api": one.source, "game": other.source}, "turbosock.client.connections.opened")
        assert opened == {"api": 1, "game": 0}


@pytest.mark.parametrize("source", [None, "client", {"api": None}, {3: None}])
def test_source_of_another_type_is_refused(source: Any) -> None:
    with pytest.raises(InvalidOption, match="source"):
        snapshot(source)
