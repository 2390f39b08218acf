"""AllocationsLeg: what one request takes from memory, once everything is warm.

memray counts allocations; it is an extra. Without it the interpreter itself tells how many of its blocks are kept
after many requests, which is a different figure and is named differently: growth, not traffic.

memray sees Python code through a profile function, and for one the interpreter makes an object of each call's frame,
which it otherwise keeps on its own stack. Those are the tracer's allocations; they are counted and subtracted.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from turbosock.cli.demo.answers import fetch
from turbosock.cli.demo.leg import BUFFER_BYTES, CONFIG, Figure, Outcome, Stage
from turbosock.cli.demo.ticks import IN_FLIGHT, Flight
from turbosock.client.client import Client
from turbosock.loop import Loop

WARM_UP_REQUESTS: Final = 500
COUNTED_REQUESTS: Final = 1000
GC_HEADER_BYTES: Final = 16
# Above this an object comes from the system's allocator (pymalloc's bound).
PYMALLOC_MAX_BYTES: Final = 512
# Larger ones are made where they are needed.
LAST_CACHED_INT: Final = 256
# The report, the parameter of the function here, and the question itself.
REPORTED_REFERENCES: Final = 3

# Performs as many requests as it is told, or a few more; returns how many.
Work = Callable[[int], int]


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
                    system, python = allocations(memray, work)
                    figures.append(Figure(f"{name}, from the system", f"{system:.2f}"))
                    figures.append(Figure(f"{name}, of all kinds", f"{python:.1f}"))
                else:
                    figures.append(Figure(f"{name}, blocks kept", f"{blocks_kept(work):.2f}"))
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


def usable_memray() -> Any | None:
    """memray, or None: it is not installed, or it traces this process already and cannot do so twice.

    It is no dependency, so there may be no types of it: hence Any.
    """
    try:
        memray = importlib.import_module("memray")
    except ImportError:
        return None
    with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
        try:
            with memray.Tracker(os.path.join(directory, "trace")):
                return memray
        except RuntimeError:
            return None


def allocations(memray: Any, work: Work) -> tuple[float, float]:
    """Allocations of one request, from the system and of all kinds, without the frame objects of the tracer."""
    calls, large_calls = frames(work)
    system = traced(memray, work, python_allocators=False) - large_calls
    python = traced(memray, work, python_allocators=True) - calls
    # The three are runs of their own: their difference may fall a hair below nothing.
    return max(0.0, system), max(0.0, python)


def traced(memray: Any, work: Work, *, python_allocators: bool) -> float:
    """Allocations of one request that memray sees, on average."""
    kinds = memray.AllocatorType
    freeing = (kinds.FREE, kinds.MUNMAP, kinds.PYMALLOC_FREE)
    with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
        path = os.path.join(directory, "trace")
        with memray.Tracker(path, trace_python_allocators=python_allocators):
            done = work(COUNTED_REQUESTS)
        with memray.FileReader(path) as reader:
            made = sum(
                record.n_allocations
                for record in reader.get_allocation_records()
                if kinds(record.allocator) not in freeing
            )
    return float(made) / done


def frames(work: Work) -> tuple[float, float]:
    """Objects that the tracer's profile function costs one request, and those too large for Python's own allocator.

    Each Python call has its frame as one, and each call of a built-in type's method binds it anew to report it. From
    Python 3.12 on, where sys.monitoring lies below, it is bound for the return as well, and an event further than 256
    bytes into its code has its place as an int.
    """
    made = large = 0
    monitored = sys.version_info >= (3, 12)

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal made, large
        if event == "call":
            made += 1
            if frame.__sizeof__() + GC_HEADER_BYTES > PYMALLOC_MAX_BYTES:
                large += 1
            caller = frame.f_back
            if monitored and caller is not None and caller.f_lasti > LAST_CACHED_INT:
                made += 1
            return
        if monitored and frame.f_lasti > LAST_CACHED_INT:
            made += 1
        # Nobody but the call's report has this method.
        if sys.getrefcount(argument) <= REPORTED_REFERENCES and (
            event == "c_call" or (monitored and event != "return")
        ):
            made += 1

    sys.setprofile(profile)
    try:
        done = work(COUNTED_REQUESTS)
    finally:
        sys.setprofile(None)
    return made / done, large / done


def blocks_kept(work: Work) -> float:
    """Blocks of the interpreter's allocator that a request leaves behind, on average."""
    gc.collect()
    before = sys.getallocatedblocks()
    done = work(COUNTED_REQUESTS)
    gc.collect()
    return (sys.getallocatedblocks() - before) / done
