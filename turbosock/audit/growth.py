"""Growth: what is still held after much work that was not held before it, and how fast that grows.

Measured without memray, in two runs: one at full rate, for the time that it takes, the interpreter's blocks and the
resident memory; and one under tracemalloc, which knows bytes and lines exactly, and is slow. tracemalloc sees what goes
through Python's allocators alone: what a library of C takes from malloc() shows in resident memory, if anywhere.

The second run has parts, and their median is what counts: what grows does so in each of them, while a cache that is
filled once, or a head that changes with the second, shows in one.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
import tracemalloc
from typing import Final, NamedTuple

from turbosock.audit.counting import Site, Work, source_line

_PARTS: Final = 5
# Units under way at once are not growth: so many single ones tell what one holds while it lasts.
_PEAK_UNITS: Final = 20
_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Growth(NamedTuple):
    """What some units of work have left behind.

    Attributes:
        units: how many.
        seconds: what they took at full rate.
        nbytes: held after them and not before, as tracemalloc knows it.
        blocks: of the interpreter's allocator, held likewise after the run at full rate.
        resident_bytes: of the process, likewise; 0 where the system does not tell.
        sites: the lines that took what is held, the largest first; `made` and `nbytes` are of all units.
    """

    units: int
    seconds: float
    nbytes: int
    blocks: int
    resident_bytes: int
    sites: tuple[Site, ...] = ()

    @property
    def rate(self) -> float:
        """Units a second, at full rate."""
        return self.units / self.seconds if self.seconds > 0 else 0.0

    @property
    def bytes_per_second(self) -> float:
        """How fast memory grows at full rate."""
        return self.nbytes / self.seconds if self.seconds > 0 else 0.0


def growth(work: Work, count: int, warm_up: int, *, lines: bool = False) -> Growth:
    """What `count` units leave behind, after `warm_up` of them; `lines` tells whose that is."""
    work(warm_up)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), resident_bytes()
    start = time.perf_counter()
    done = work(count)
    seconds = time.perf_counter() - start
    gc.collect()
    blocks, resident = sys.getallocatedblocks() - blocks, resident_bytes() - resident
    tracemalloc.start()
    try:
        work(warm_up)
        gc.collect()
        first = tracemalloc.take_snapshot() if lines else None
        grown = [_traced_growth(work, -(-count // _PARTS)) for _ in range(_PARTS)]
        sites = () if first is None else _sites(first, tracemalloc.take_snapshot())
    finally:
        tracemalloc.stop()
    return Growth(done, seconds, round(statistics.median(grown) * done), blocks, resident, sites)


def _traced_growth(work: Work, count: int) -> float:
    """Bytes that tracemalloc knows to be held after `count` units and not before, for each."""
    before = tracemalloc.get_traced_memory()[0]
    done = work(count)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / done


def _sites(first: tracemalloc.Snapshot, second: tracemalloc.Snapshot) -> tuple[Site, ...]:
    found = []
    for difference in second.compare_to(first, "lineno"):
        frame = difference.traceback[0]
        ours = frame.filename.startswith(_OURS) or frame.filename == tracemalloc.__file__
        if difference.size_diff > 0 and not ours:
            source = source_line(frame.filename, frame.lineno)
            made, size = float(difference.count_diff), float(difference.size_diff)
            found.append(Site(frame.filename, frame.lineno, "", source, "tracemalloc", made, size))
    return tuple(sorted(found, key=lambda site: site.nbytes, reverse=True))


def peak_bytes(work: Work) -> float:
    """What one unit holds of Python's memory at its worst moment, on average, beyond what is held anyway."""
    tracemalloc.start()
    try:
        work(_PEAK_UNITS)
        total = 0
        for _ in range(_PEAK_UNITS):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            work(1)
            total += max(0, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return total / _PEAK_UNITS


def blocks_kept(work: Work, count: int = 1000) -> float:
    """Blocks of the interpreter's allocator that a unit leaves behind, on average."""
    gc.collect()
    before = sys.getallocatedblocks()
    done = work(count)
    gc.collect()
    return (sys.getallocatedblocks() - before) / done


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
