"""The dashboard: every query of it gives something, asked of a real Prometheus that scrapes a real run."""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from support.in_thread import GUARD_S
from support.peers import unused_port
from support.prometheus import JOB, prometheus
from turbosock import (
    Config,
    EventKind,
    Exchange,
    Loop,
    PoolConfig,
    ReconnectPolicy,
    RetryPolicy,
    Send,
)
from turbosock.observe import METRICS, MetricKind, serve_metrics
from turbosock.observe import __file__ as observe_file
from turbosock.observe.prometheus import prometheus_name
from turbosock.server.http_exchange import HttpExchange

DASHBOARD = json.loads((Path(observe_file).parent / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {target["expr"]: panel["title"] for panel in PANELS for target in panel["targets"]}
UP = f'up{{job="{JOB}"}} > 0'
NAME = re.compile(r"\b(?:http_client|turbosock)_\w+")


def asked(query: str) -> str:
    """A query as Grafana sends it."""
    return query.replace("$__rate_interval", "2s").replace("$job", ".+")


def test_every_metric_has_a_place_on_the_dashboard_and_no_other_has() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for query in QUERIES for name in NAME.findall(query)}
    assert shown == {prometheus_name(metric) for metric in METRICS}


def test_panels_have_names_and_places_of_their_own() -> None:
    places = {tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]}
    titles = {panel["title"] for panel in PANELS}
    ids = {panel["id"] for panel in DASHBOARD["panels"]}
    assert len(ids) == len(places) == len(DASHBOARD["panels"])
    assert len(titles) == len(PANELS)


def test_counters_are_asked_for_as_rates() -> None:
    counters = {prometheus_name(metric) for metric in METRICS if metric.kind is MetricKind.COUNTER}
    for query in QUERIES:
        for name in counters & set(NAME.findall(query)):
            assert f"rate({name}{{" in query


class Service:
    """A loop that does a little of everything, and serves what it asks for."""

    def __init__(self) -> None:
        config = Config(pool=PoolConfig(max_connections_per_origin=2))
        self.loop = Loop(config, retries=RetryPolicy(count=1, backoff_first_s=0.001, backoff_cap_s=0.001))
        self.metrics = serve_metrics(self.loop, ("127.0.0.1", 0))
        self.web = self.loop.listen(("127.0.0.1", 0), protocol="http", handler=self._answer)
        self.messages = self.loop.listen(("127.0.0.1", 0), protocol="websocket")
        # Another host, whose connections are kept ready.
        self.prewarming = self.loop.prewarm(f"http://localhost:{cast('tuple[str, int]', self.metrics.address)[1]}/")
        reconnect = ReconnectPolicy(backoff_first_s=0.001, backoff_cap_s=0.001)
        self.loop.events_from(f"{self.web.url}/events", reconnect=reconnect)
        host, port = cast("tuple[str, int]", self.messages.address)
        self.loop.websocket(f"ws://{host}:{port}/")
        self.asked: list[Exchange] = []
        self._paths = itertools.cycle((*[self.web.url] * 4, f"{self.web.url}/missing", f"{self.web.url}/busy"))
        self._refusing = f"http://127.0.0.1:{unused_port()}/"

    @staticmethod
    def _answer(exchange: HttpExchange) -> None:
        if exchange.request.path == "/events":
            sender = exchange.respond_events(retry_ms=1)
            sender.send("a")
            sender.send("b")
            sender.end()
        else:
            exchange.respond({"/missing": 404, "/busy": 503}.get(exchange.request.path, 200))

    def turn(self) -> None:
        """Poll once, and keep some requests under way."""
        self.asked = [exchange for exchange in self.asked if not exchange.done]
        if len(self.asked) < 6:
            url = self._refusing if not self.asked else next(self._paths)
            self.asked.append(self.loop.get(url, notify=False))
        self.loop.poll(0.005, max_time=1e-6)
        for event in self.loop.events:
            if event.kind in (EventKind.OPEN, EventKind.MESSAGE) and hasattr(event.connection, "send"):
                # One side of the WebSocket talks, the other one listens.
                assert event.connection.send("x", key="state") is not Send.CLOSED

    def ask(self, url: str) -> Any:
        """The JSON of an answer, or None."""
        exchange = self.loop.get(url, notify=False)
        while not exchange.done:
            self.turn()
        return exchange.json() if exchange.ok else None


def has_value(answer: Any) -> bool:
    results = answer["data"]["result"] if answer else ()
    return any(not math.isnan(float(result["value"][1])) for result in results)


def test_every_query_of_the_dashboard_gives_something(tmp_path: Path) -> None:
    service = Service()
    host, port = cast("tuple[str, int]", service.metrics.address)
    with service.loop, prometheus(tmp_path, f"{host}:{port}") as url:
        end_s = time.monotonic() + GUARD_S
        open_queries = list(QUERIES)
        while open_queries and time.monotonic() < end_s:
            # The next round is after the next scrape; without an answer it is not there yet.
            next_s = time.monotonic() + 0.2
            while time.monotonic() < next_s:
                service.turn()
            if service.ask(f"{url}/api/v1/query?{urlencode({'query': UP})}"):
                open_queries = [
                    query
                    for query in open_queries
                    if not has_value(service.ask(f"{url}/api/v1/query?{urlencode({'query': asked(query)})}"))
                ]
        assert [(QUERIES[query], query) for query in open_queries] == []


@pytest.mark.parametrize("query", sorted(QUERIES))
def test_query_is_of_the_chosen_jobs(query: str) -> None:
    assert len(re.findall(r'\{job=~"\$job"', query)) == len(NAME.findall(query))
