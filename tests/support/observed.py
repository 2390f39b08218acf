"""What tests of metrics share: a Client and a Loop over the same peer in memory, and samples by name and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from turbosock import Client, Loop, ServerSentEvent
from turbosock.errors import TurbosockError
from turbosock.observe.snapshots import Source, snapshot
from turbosock.reactor.time_histogram import TimeCounts
from turbosock.server.request import Request
from turbosock.testing import MockTransport
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector

HOST = "peer.test"
URL = f"http://{HOST}"


def answered(request: Request) -> HttpAnswer:
    """/NNN has that status, /hop leads to /200, /cut breaks off, and anything else has a body of two bytes."""
    path = request.path
    if path == "/hop":
        return HttpAnswer(302, {"Location": "/200"})
    if path == "/cut":
        return HttpAnswer(200, content=b"whole" * 20, cut_after=60)
    return HttpAnswer(int(path[1:])) if path[1:].isdigit() else HttpAnswer(content=b"ok")


class Observed:
    """A Client or a Loop whose requests are made with one call."""

    def __init__(self, make: type[Client] | type[Loop], **options: Any) -> None:
        self.connector = MemoryConnector(HttpPeer(answered))
        self.source = make(connector=self.connector, **options)

    def ask(self, path: str = "/", method: str = "GET", **options: Any) -> TurbosockError | None:
        """One request, to its end; what failed it."""
        if isinstance(self.source, Client):
            try:
                self.source.request(method, URL + path, **options)
            except TurbosockError as error:
                return error
            return None
        exchange = self.source.request(method, URL + path, **options)
        while not exchange.done:
            self.source.poll()
        list(self.source.events)
        return exchange.error


FACES: tuple[type[Client] | type[Loop], ...] = (Client, Loop)
Made = Callable[..., Observed]


def figures(source: Source, name: str) -> dict[str, int | float | TimeCounts]:
    """The samples of one metric, by their labels' values without those of the host."""
    found = {}
    for metric in snapshot(source):
        if metric.name == name:
            for labels, value in metric.samples:
                found[" ".join(text for label, text in labels if not label.startswith("server."))] = value
    return found


def times(source: Source, name: str = "http.client.request.duration") -> dict[str, int]:
    """How many times a histogram has noted, as `figures`."""
    return {key: value.times for key, value in figures(source, name).items() if isinstance(value, TimeCounts)}


@contextmanager
def slow_event_stream(
    make: type[Client] | type[Loop], **options: Any
) -> Iterator[tuple[Client | Loop, Callable[[], object]]]:
    """A Client or a Loop, and what takes the next event of a stream: answered after 5 s, an event each 20 s."""
    with MockTransport() as mock, make(connector=mock, **options) as source:
        mock.route("GET", "*", events=["a", "b", "c"], delay_s=5.0, interval_s=20.0)
        if isinstance(source, Client):
            with source.events(URL) as stream:
                yield source, lambda: next(stream)
            return
        source.events_from(URL)

        def take() -> None:
            while not any(isinstance(event, ServerSentEvent) for event in source.events):
                source.poll(120.0)

        yield source, take
