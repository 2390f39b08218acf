"""A listener and the streams that read from it, in one loop, on a clock that stands still unless it is moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.loop_peer import turns
from turbosock import EventKind, HttpExchange, Loop, ServerSentEvent
from turbosock.client.loop_event_stream import LoopEventStream
from turbosock.reactor.clock import NS_PER_S, ManualClock

Handler = Callable[[HttpExchange], object]


class EventStage:
    """See the module.

    Attributes:
        told: what each stream told: its data, by stream.
        closed: streams that told that they are closed.
    """

    def __init__(self, handler: Handler, **options: Any) -> None:
        self.clock = ManualClock(NS_PER_S)
        self.loop = Loop(clock=self.clock)
        self.listener = self.loop.listen(("127.0.0.1", 0), handler=handler, **options)
        self.told: dict[LoopEventStream, list[bytes]] = {}
        self.ids: dict[LoopEventStream, list[str]] = {}
        self.closed: list[LoopEventStream] = []

    def events(self, **options: Any) -> LoopEventStream:
        """A stream from the listener."""
        stream = self.loop.events_from(self.listener.url + "/", **options)
        self.told[stream] = []
        self.ids[stream] = []
        return stream

    def take(self) -> None:
        """Take the events that wait."""
        for event in self.loop.events:
            stream = event.connection
            if not isinstance(stream, LoopEventStream):
                continue
            if isinstance(event, ServerSentEvent):
                self.told[stream].append(bytes(event))
                self.ids[stream].append(event.id)
            elif event.kind is EventKind.CLOSED:
                self.closed.append(stream)

    def until(self, happened: Callable[[], object]) -> None:
        """Turn until something has happened."""

        def look() -> object:
            self.take()
            return happened()

        turns(self.loop, look)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and a few turns."""
        self.clock.advance(ns=int(seconds * NS_PER_S))
        for _ in range(5):
            self.loop.poll()
            self.take()

    def __enter__(self) -> EventStage:
        return self

    def __exit__(self, *exception: object) -> None:
        self.loop.close()
