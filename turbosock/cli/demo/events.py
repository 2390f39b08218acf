"""EventsLeg: one stream of server-sent events, as fast as its server sends them: iterated over, and in a Loop."""

from __future__ import annotations

import time
from typing import Final

from turbosock import limits
from turbosock.cli.demo.leg import BODY, CONFIG, Figure, Outcome, Stage
from turbosock.client.client import Client
from turbosock.client.events import EventKind
from turbosock.client.reconnect import ReconnectPolicy
from turbosock.errors import ProtocolError
from turbosock.loop import Loop

# What the demo's server is asked for events by.
QUERY: Final = "?events"
# Events between two looks at the clock.
LOOK_EVENTS: Final = 100
ONCE: Final = ReconnectPolicy(max_attempts=1, max_first_attempts=1)


class EventsLeg:
    """Events per second of one stream, each of them BODY."""

    title = "one stream of events"
    timed = True

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        figures = (
            Figure("events per second", f"{self._iterated(stage, stage.seconds / 2):,.0f}"),
            Figure("the same in a Loop", f"{self._ticked(stage, stage.seconds / 2):,.0f}"),
        )
        return Outcome(figures, ("An event is sent as soon as the client has taken those before it.",))

    def _iterated(self, stage: Stage, seconds: float) -> float:
        with Client(CONFIG) as client, client.events(stage.url + QUERY, reconnect=ONCE) as stream:
            _check(next(stream).data)
            start_s = time.monotonic()
            for count, event in enumerate(stream, 1):
                if not count % LOOK_EVENTS:
                    _check(event.data)
                    elapsed_s = time.monotonic() - start_s
                    if stage.line.is_due():
                        stage.line.draw(f"{self.title}: {elapsed_s:.1f} of {2 * seconds:.1f} s, {count:,} events")
                    if elapsed_s >= seconds:
                        return count / elapsed_s
        raise ProtocolError("the stream of events came to an end, which was not expected")

    def _ticked(self, stage: Stage, seconds: float) -> float:
        with Loop(CONFIG) as loop:
            loop.events_from(stage.url + QUERY, reconnect=ONCE)
            # As of the iterated one, from its first event on: what leads there is paid once.
            start_s = 0.0
            count = 0
            while not start_s or time.monotonic() - start_s < seconds:
                loop.poll(limits.UPLOAD_LOOK_S)
                for event in loop.events:
                    if event.kind is EventKind.MESSAGE:
                        count += 1
                        start_s = start_s or time.monotonic()
                    elif event.kind is EventKind.CLOSED:
                        raise event.error or ProtocolError("the stream of events ended, which was not expected")
            return count / (time.monotonic() - start_s)


def _check(data: memoryview) -> None:
    if data != BODY:
        raise ProtocolError(f"an event of {len(data)} bytes came, another one of {len(BODY)} was expected")
