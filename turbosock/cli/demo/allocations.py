"""AllocationsLeg: what one request takes from memory, once everything is warm.

memray counts allocations; it is an extra. Without it the interpreter itself tells how many of its blocks are kept
after many requests, which is a different figure and is named differently: growth, not traffic.
"""

from __future__ import annotations

from typing import Final

from turbosock.audit.counting import allocations, usable_memray
from turbosock.audit.growth import blocks_kept
from turbosock.cli.demo.answers import fetch
from turbosock.cli.demo.leg import BUFFER_BYTES, CONFIG, Figure, Outcome, Stage
from turbosock.cli.demo.ticks import IN_FLIGHT, Flight
from turbosock.client.client import Client
from turbosock.loop import Loop

WARM_UP_REQUESTS: Final = 500
COUNTED_REQUESTS: Final = 1000


class AllocationsLeg:
    """Allocations of a request: counted by memray, or else the blocks that stay."""

    title = "allocations per request"
    timed = False

    def run(self, stage: Stage) -> Outcome:
        """See `Leg`."""
        figures: list[Figure] = []
        memray = usable_memray()
        with Client(CONFIG) as client, Loop(CONFIG) as loop:
            buffer = bytearray(BUFFER_BYTES)
            view = memoryview(buffer)

            def block(count: int) -> int:
                for _ in range(count):
                    fetch(client, stage.url, buffer, view)
                return count

            flight = Flight(loop, stage.url, IN_FLIGHT)

            def tick(count: int) -> int:
                before = flight.answers
                while flight.answers - before < count:
                    loop.poll(None)
                    flight.take_events()
                return flight.answers - before

            for name, work in (("blocking", block), ("ticking", tick)):
                stage.line.draw(f"{self.title}: {name}")
                work(WARM_UP_REQUESTS)
                if memray is not None:
                    system, python = allocations(memray, work, COUNTED_REQUESTS)
                    figures.append(Figure(f"{name}, from the system", f"{system:.2f}"))
                    figures.append(Figure(f"{name}, of all kinds", f"{python:.1f}"))
                else:
                    figures.append(Figure(f"{name}, blocks kept", f"{blocks_kept(work, COUNTED_REQUESTS):.2f}"))
        return Outcome(figures, (COUNTED_BY_BLOCKS if memray is None else COUNTED_BY_MEMRAY,))


COUNTED_BY_MEMRAY: Final = (
    f"Allocations: counted by memray over {COUNTED_REQUESTS} requests, the demo's own loop and check included, the "
    "tracer's frame objects subtracted. From the system: malloc and its like. Of all kinds: also what Python serves "
    "from memory that it has."
)
COUNTED_BY_BLOCKS: Final = (
    "Allocations: not counted, that needs memray (pip install 'turbosock[audit]') and no other tracer at work. Blocks "
    f"kept: what sys.getallocatedblocks() grew by over {COUNTED_REQUESTS} requests."
)
