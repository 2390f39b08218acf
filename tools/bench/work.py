"""Work done by a run: allocations, Python frames, retained memory, system calls. Times vary; these hardly do.

memray sees Python code through a profile function, and for a profile function the interpreter makes a frame object
out of every Python call's frame, which it otherwise keeps on its own stack. Those objects are allocations of the
tracer, not of the traced: `frames` counts them (a `call` event each, `__sizeof__` and the 16-byte header of the
garbage collector) so that they can be subtracted.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
import tracemalloc
from types import FrameType

from task import Run

GC_HEADER_BYTES = 16
PYMALLOC_MAX_BYTES = 512
WARM_UP = 50
GROWTH_WARM_UP = 1000


# (line of code, allocator) → [allocations, bytes]
Places = dict[tuple[str, str], list[int]]


def traced(run: Run, count: int, *, python_allocators: bool, places: Places | None = None) -> tuple[int, int]:
    """(allocations, bytes) that memray sees in `count` requests; `places` gets them by the line that made them."""
    import memray

    freeing = {
        memray.AllocatorType.FREE,
        memray.AllocatorType.MUNMAP,
        memray.AllocatorType.PYMALLOC_FREE,
    }
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "trace")
        gc.collect()
        with memray.Tracker(path, trace_python_allocators=python_allocators):
            run(count)
        made = size = 0
        for record in memray.FileReader(path).get_allocation_records():
            allocator = memray.AllocatorType(record.allocator)
            if allocator in freeing:
                continue
            made += record.n_allocations
            size += record.size
            if places is not None:
                function, file, line = (record.stack_trace(1) or [("", "the interpreter", 0)])[0]
                place = places.setdefault((f"{file}:{line} {function}", allocator.name.lower()), [0, 0])
                place[0] += record.n_allocations
                place[1] += record.size
    return made, size


def frames(run: Run, count: int) -> tuple[int, int, int, int]:
    """(Python calls, bytes of their frame objects; calls and bytes of those above pymalloc's 512 bytes)."""
    calls = size = large = large_size = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls, size, large, large_size
        if event == "call":
            calls += 1
            own = frame.__sizeof__() + GC_HEADER_BYTES
            size += own
            if own > PYMALLOC_MAX_BYTES:
                large += 1
                large_size += own

    sys.setprofile(profile)
    try:
        run(count)
    finally:
        sys.setprofile(None)
    return calls, size, large, large_size


def allocations(run: Run, count: int, warm_up: int = WARM_UP) -> dict[str, object]:
    """System and Python allocations, and frame objects, of one request: averages over `count`, after `warm_up`."""
    # Under the tracer, because a function is given its table of lines when it is traced for the first time.
    traced(run, warm_up, python_allocators=False)
    system, system_bytes = traced(run, count, python_allocators=False)
    python, python_bytes = traced(run, count, python_allocators=True)
    calls, frame_bytes, large, large_bytes = frames(run, count)
    totals = {
        "system": system,
        "system_bytes": system_bytes,
        "python": python,
        "python_bytes": python_bytes,
        "frames": calls,
        "frame_bytes": frame_bytes,
        "large_frames": large,
        "large_frame_bytes": large_bytes,
    }
    return {name: total / count for name, total in totals.items()}


def places(run: Run, count: int, warm_up: int = WARM_UP) -> dict[str, object]:
    """Allocations of one request by the line that made them: without Python's allocators, then with them."""
    traced(run, warm_up, python_allocators=False)
    answer: dict[str, object] = {}
    for python_allocators in (False, True):
        found: Places = {}
        traced(run, count, python_allocators=python_allocators, places=found)
        rows = [(made / count, size / count, allocator, where) for (where, allocator), (made, size) in found.items()]
        answer["python" if python_allocators else "system"] = sorted(rows, reverse=True)
    return answer


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(run: Run, count: int) -> dict[str, object]:
    """What is still held after `count` requests, beyond what was held after the warm-up.

    Once at full rate (resident memory, blocks of the interpreter's allocator, seconds), and once under tracemalloc,
    which counts bytes exactly and is slow.
    """
    run(GROWTH_WARM_UP)
    gc.collect()
    blocks, resident = sys.getallocatedblocks(), resident_bytes()
    start = time.perf_counter()
    run(count)
    seconds = time.perf_counter() - start
    gc.collect()
    blocks, resident = sys.getallocatedblocks() - blocks, resident_bytes() - resident
    tracemalloc.start()
    run(GROWTH_WARM_UP)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    run(count)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {"seconds": seconds, "blocks": blocks, "resident": resident, "traced": after - before}


def parse_strace(text: str) -> dict[str, int]:
    """Calls by name in the table that `strace -c` writes."""
    calls = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls
