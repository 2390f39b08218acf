"""TicksLeg: a frame loop at 60 Hz that keeps a hundred requests in flight, as a game would.

A frame polls once within a budget, looks at its events, begins a new request for each that ended, and sleeps until
the next frame is due. What a frame does otherwise is sleep here, and drawing or physics elsewhere.
"""

from __future__ import annotations

import time
from typing import Final

from turbosock.cli.demo.answers import check
from turbosock.cli.demo.leg import BUFFER_BYTES, CONFIG, Figure, Outcome, Stage
from turbosock.client.events import EventKind
from turbosock.client.quantity import time_text
from turbosock.errors import LimitError, TotalTimeout
from turbosock.loop import Loop
from turbosock.reactor.clock import NS_PER_S

FRAMES_PER_SECOND: Final = 60
FRAME_NS: Final = NS_PER_S // FRAMES_PER_SECOND
IN_FLIGHT: Final = 100
# What a frame gives to the network: a quarter of it.
POLL_BUDGET_S: Final = 0.004


class _Slot:
    """The buffer of one of the requests in flight, used again for its successor."""

    __slots__ = ("buffer", "view")

    def __init__(self) -> None:
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)


class Flight:
    """Requests that are kept in flight in one Loop: each that ends is followed by another.

    Args:
        loop: whose events are all this flight's.
        url: answers with BODY.
        count: how many at once.
    """

    __slots__ = ("_loop", "_url", "answers")

    def __init__(self, loop: Loop, url: str, count: int) -> None:
        self._loop = loop
        self._url = url
        self.answers = 0
        for _ in range(count):
            self._begin(_Slot())

    def _begin(self, slot: _Slot) -> None:
        self._loop.request("GET", self._url, into=slot.view).user = slot

    def take_events(self) -> None:
        """Check what ended, and begin as many again.

        Raises:
            TurbosockError: a request failed, or its answer was wrong.
        """
        for event in self._loop.events:
            if event.error is not None:
                raise event.error
            exchange = event.exchange
            if event.kind is EventKind.RESPONSE and exchange is not None:
                slot = exchange.user
                assert isinstance(slot, _Slot), "every request of this loop has one"
                check(exchange, exchange.nbytes, slot.buffer)
                self.answers += 1
                self._begin(slot)


class TicksLeg:
    """What a 60 Hz frame loop pays for a hundred requests in flight."""

    title = f"{FRAMES_PER_SECOND} Hz tick, {IN_FLIGHT} requests in flight"
    timed = True

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        with Loop(CONFIG) as loop:
            flight = Flight(loop, stage.url, IN_FLIGHT)
            warm_until_s = time.monotonic() + CONFIG.timeouts.connect_s
            # Connecting is not what a frame usually does: the clock starts when every connection has answered.
            while flight.answers < 2 * IN_FLIGHT:
                loop.poll(POLL_BUDGET_S)
                flight.take_events()
                if time.monotonic() > warm_until_s:
                    raise TotalTimeout("the first hundred answers did not come in time; is the machine very busy?")
            return self._frames(stage, loop, flight)

    def _frames(self, stage: Stage, loop: Loop, flight: Flight) -> Outcome:
        now_ns = time.perf_counter_ns
        ticks_ns: list[int] = []
        late = 0
        answered = flight.answers
        start_ns = now_ns()
        end_ns = start_ns + int(stage.seconds * NS_PER_S)
        due_ns = start_ns
        while due_ns < end_ns:
            before_ns = now_ns()
            loop.poll(max_time=POLL_BUDGET_S)
            ticks_ns.append(now_ns() - before_ns)
            flight.take_events()
            if stage.line.is_due():
                self._show(stage, flight.answers - answered, now_ns() - start_ns, ticks_ns)
            due_ns += FRAME_NS
            left_ns = due_ns - now_ns()
            if left_ns > 0:
                time.sleep(left_ns / NS_PER_S)
            else:
                late += 1
                due_ns -= left_ns
        elapsed_s = (now_ns() - start_ns) / NS_PER_S
        answers = flight.answers - answered
        if not answers:
            raise LimitError(f"no request was answered within {POLL_BUDGET_S * 1e3:g} ms a frame")
        figures = [Figure("requests per second", f"{answers / elapsed_s:,.0f}")]
        figures += [Figure(f"tick {name}", time_text(value_s)) for name, value_s in percentiles(ticks_ns)]
        figures.append(Figure("late frames", f"{late} of {len(ticks_ns)}"))
        return Outcome(
            figures,
            (
                f"A tick is the time inside one Loop.poll(max_time={POLL_BUDGET_S:g}); it waits for nothing. A frame "
                f"is late when it takes more than {FRAME_NS / 1e6:.1f} ms in all.",
            ),
        )

    def _show(self, stage: Stage, answers: int, elapsed_ns: int, ticks_ns: list[int]) -> None:
        elapsed_s = elapsed_ns / NS_PER_S
        stage.line.draw(
            f"{FRAMES_PER_SECOND} Hz tick: {elapsed_s:.1f} of {stage.seconds:.1f} s, "
            f"{answers / elapsed_s:,.0f} requests/s, last tick {time_text(ticks_ns[-1] / NS_PER_S)}"
        )


def percentiles(durations_ns: list[int]) -> list[tuple[str, float]]:
    """The median, the 99th percentile (nearest rank) and the maximum, by name, in seconds."""
    ordered = sorted(durations_ns)
    last = len(ordered) - 1
    ranks = (("p50", (len(ordered) + 1) // 2 - 1), ("p99", -(-len(ordered) * 99 // 100) - 1), ("max", last))
    return [(name, ordered[rank] / NS_PER_S) for name, rank in ranks]
