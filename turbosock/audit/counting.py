"""Counting what work takes from memory, in this process: allocations by memray, the tracer's own told apart.

Two counts, each a run of its own. Without Python's allocators memray sees what reaches the system: malloc() and its
like. With them it also sees what Python serves from memory that it has, which is nearly everything a program makes.

memray sees Python code through a profile function, and for one the interpreter makes an object of each call's frame,
which it otherwise keeps on its own stack. Those are the tracer's allocations. `frames` counts them under a profile
function of its own: an object for each call, `__sizeof__` and the 16-byte header of the garbage collector, made for the
line that calls; above 512 bytes they come from the system. And one for each call of a method of a built-in type, which
is bound anew to be reported. From CPython 3.12 on it is bound for the return as well, and each event tells where in the
code it is, as an int, which is an object from 257 on: a function of many instructions makes more of those.

Averages are over a steady state: whoever counts has let the work run before.
"""

from __future__ import annotations

import gc
import importlib
import linecache
import os
import sys
import tempfile
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

GC_HEADER_BYTES: Final = 16
# Above this an object comes from the system's allocator (pymalloc's bound).
PYMALLOC_MAX_BYTES: Final = 512
# An average below this is none: the interpreter takes an arena now and then, whatever runs.
NO_ALLOCATION: Final = 0.005
# What CPython keeps ints up to; a greater one is an object.
_MAX_KEPT_INT: Final = 256
_INT_BYTES: Final = 28 if sys.version_info < (3, 13) else 32
# The events for which a method is bound, and the references to one that is bound for nobody else: the report's, the
# parameter's and the question's own.
_BINDING: Final = ("c_call",) if sys.version_info < (3, 12) else ("c_call", "c_return", "c_exception")
_REPORTED_REFERENCES: Final = 3

# The function below that starts the tracer.
_HERE: Final = ("trace", __file__)

# Performs as many units as it is told (requests, messages, ticks), or a few more; returns how many.
Work = Callable[[int], int]

# A line of Python: function, file, number.
Line = tuple[str, str, int]
# The lines that led to an allocation, the innermost first.
Stack = tuple[Line, ...]


class Site(NamedTuple):
    """A line of code that allocates.

    Attributes:
        file, line, function: where; the innermost line of Python.
        source: what the line says; empty where it cannot be read.
        allocator: what it called: "malloc", "pymalloc_malloc" and so on.
        made, nbytes: allocations and bytes of one unit, on average; the tracer's own included.
    """

    file: str
    line: int
    function: str
    source: str
    allocator: str
    made: float
    nbytes: float


class Frames(NamedTuple):
    """The objects that a tracer makes of Python's calls, for one unit.

    Attributes:
        calls: of Python functions.
        made, nbytes: the objects, and their bytes.
        large, large_bytes: those of them that come from the system.
        by_line: the last four for each line.
    """

    calls: float
    made: float
    nbytes: float
    large: float
    large_bytes: float
    by_line: dict[Line, list[float]]


class Trace(NamedTuple):
    """What memray saw of one unit, on average.

    Attributes:
        units: how many were traced.
        made, nbytes: allocations and their bytes, the tracer's own included.
        kept_bytes: of them, those that were not freed when the trace ended.
        sites: the lines that allocated, the most frequent first; empty unless asked for.
        kept: the lines whose memory was not freed, the largest first; likewise.
        stacks: each stack with its allocations and bytes; likewise.
    """

    units: int
    made: float
    nbytes: float
    kept_bytes: float
    sites: tuple[Site, ...] = ()
    kept: tuple[Site, ...] = ()
    stacks: tuple[tuple[Stack, float, float], ...] = ()


def usable_memray() -> Any | None:
    """memray, or None: see `why_no_memray`.

    It is no dependency, so there may be no types of it: hence Any.
    """
    return None if why_no_memray() else importlib.import_module("memray")


def why_no_memray() -> str:
    """Why memray cannot be used here, in words; empty if it can."""
    try:
        memray = importlib.import_module("memray")
    except ImportError as error:
        if error.name == "memray" or error.name is None:
            return "memray is not installed (pip install 'turbosock[audit]'; it has no build for every platform)"
        return f"memray cannot be imported: {error}"
    with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
        try:
            with memray.Tracker(os.path.join(directory, "trace")):
                return ""
        except RuntimeError:
            return "memray traces this process already, and cannot do so twice"
        except Exception as error:
            return f"memray does not work on this platform: {error}"


def trace(
    memray: Any, work: Work, count: int, *, python_allocators: bool, lines: bool = False, kept: bool = False
) -> Trace:
    """What memray sees of `count` units of work.

    Args:
        python_allocators: count what Python serves from its own memory, too.
        lines: tell the lines of code, and the stacks.
        kept: tell what is not freed at the end, with the lines that took it.
    """
    kinds = memray.AllocatorType
    freeing = {kinds.FREE.value, kinds.MUNMAP.value, kinds.PYMALLOC_FREE.value}
    with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
        path = os.path.join(directory, "trace")
        gc.collect()
        with memray.Tracker(path, trace_python_allocators=python_allocators):
            done = work(count)
            if kept:
                # What only waits to be collected is not kept.
                gc.collect()
        stacks: dict[tuple[Stack, int], list[int]] = {}
        remaining: dict[tuple[Stack, int], list[int]] = {}
        with memray.FileReader(path) as reader:
            made, size = _sum(reader.get_allocation_records(), freeing, stacks if lines else None)
            if kept:
                _sum(reader.get_leaked_allocation_records(), freeing, remaining)
    # What starting and ending the tracer leaves behind is nobody's.
    remaining = {key: tally for key, tally in remaining.items() if key[0] and key[0][0][:2] != _HERE}
    kept_bytes = sum(size for _, size in remaining.values())
    return Trace(
        done,
        made / done,
        size / done,
        kept_bytes / done,
        _sites(memray, stacks, done, lambda site: (site.made, site.nbytes)),
        _sites(memray, remaining, done, lambda site: (site.nbytes, site.made)),
        _merged(stacks, done),
    )


def _sum(records: Any, freeing: set[int], stacks: dict[tuple[Stack, int], list[int]] | None) -> tuple[int, int]:
    made = size = 0
    for record in records:
        if record.allocator in freeing:
            continue
        made += record.n_allocations
        size += record.size
        if stacks is not None:
            stack = tuple(tuple(line) for line in record.stack_trace())
            tally = stacks.setdefault((stack, record.allocator), [0, 0])
            tally[0] += record.n_allocations
            tally[1] += record.size
    return made, size


def _sites(
    memray: Any, stacks: dict[tuple[Stack, int], list[int]], done: int, order: Callable[[Site], tuple[float, float]]
) -> tuple[Site, ...]:
    places: dict[tuple[Line, int], list[int]] = {}
    for (stack, allocator), (made, size) in stacks.items():
        tally = places.setdefault((stack[0] if stack else ("", "", 0), allocator), [0, 0])
        tally[0] += made
        tally[1] += size
    sites = [
        Site(
            file, line, function, source_line(file, line), memray.AllocatorType(allocator).name.lower(),
            made / done, size / done,
        )
        for ((function, file, line), allocator), (made, size) in places.items()
    ]  # fmt: skip
    return tuple(sorted(sites, key=order, reverse=True))


def _merged(stacks: dict[tuple[Stack, int], list[int]], done: int) -> tuple[tuple[Stack, float, float], ...]:
    merged: dict[Stack, list[int]] = {}
    for (stack, _), (made, size) in stacks.items():
        tally = merged.setdefault(stack, [0, 0])
        tally[0] += made
        tally[1] += size
    return tuple((stack, made / done, size / done) for stack, (made, size) in merged.items())


def source_line(file: str, line: int) -> str:
    """What a line of code says, or nothing where it cannot be read."""
    return linecache.getline(file, line).strip() if line else ""


def frames(work: Work, count: int) -> Frames:
    """The objects that a tracer makes of the calls in `count` units of work, for one unit."""
    tallies: dict[tuple[CodeType, int], list[int]] = {}
    calls = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        if event == "call":
            calls += 1
            caller = frame.f_back
            assert caller is not None, "work() is called from here"
            size = frame.__sizeof__() + GC_HEADER_BYTES
        elif event in _BINDING and sys.getrefcount(argument) <= _REPORTED_REFERENCES:
            caller = frame
            size = argument.__sizeof__() + GC_HEADER_BYTES
        else:
            return
        tally = tallies.setdefault((caller.f_code, caller.f_lineno), [0, 0, 0, 0])
        tally[0] += 1
        tally[1] += size
        if size > PYMALLOC_MAX_BYTES:
            tally[2] += 1
            tally[3] += size

    sys.setprofile(profile)
    try:
        done = work(count)
    finally:
        sys.setprofile(None)
    by_line = {_line(code, number): [each / done for each in tally] for (code, number), tally in tallies.items()}
    for line, ints in _far_events(work, count).items():
        tally_of_line = by_line.setdefault(line, [0.0] * 4)
        tally_of_line[0] += ints
        tally_of_line[1] += ints * _INT_BYTES
    made, size, large, large_size = (sum(tally[column] for tally in by_line.values()) for column in range(4))
    return Frames(calls / done, made, size, large, large_size, by_line)


def _line(code: CodeType, number: int) -> Line:
    return code.co_name, code.co_filename, number


if sys.version_info >= (3, 12):

    def _far_events(work: Work, count: int) -> dict[Line, float]:
        """Events of one unit so far into their function that telling where makes an int, by line."""
        seen: dict[tuple[CodeType, int], int] = {}

        def note(code: CodeType, offset: int, *_: object) -> None:
            if offset > _MAX_KEPT_INT:
                seen[code, offset] = seen.get((code, offset), 0) + 1

        monitoring, events = sys.monitoring, sys.monitoring.events
        # Those that a profile function makes the interpreter tell.
        told = (events.PY_START, events.PY_RESUME, events.PY_RETURN, events.PY_YIELD, events.PY_UNWIND, events.CALL)
        tool = next(number for number in range(6) if monitoring.get_tool(number) is None)
        monitoring.use_tool_id(tool, "turbosock audit")
        try:
            for event in (*told, events.C_RETURN, events.C_RAISE):
                monitoring.register_callback(tool, event, note)
            monitoring.set_events(tool, sum(told))
            done = work(count)
            monitoring.set_events(tool, 0)
        finally:
            monitoring.free_tool_id(tool)
        by_line: dict[Line, float] = {}
        for (code, offset), times in seen.items():
            number = next((line for start, end, line in code.co_lines() if start <= offset < end), None)
            line = _line(code, number or 0)
            by_line[line] = by_line.get(line, 0.0) + times / done
        return by_line

else:

    def _far_events(work: Work, count: int) -> dict[Line, float]:
        """None: no event tells where."""
        return {}


def allocations(memray: Any, work: Work, count: int = 1000) -> tuple[float, float]:
    """Allocations of one unit, from the system and of all kinds, without the tracer's own."""
    own = frames(work, count)
    system = trace(memray, work, count, python_allocators=False).made - own.large
    python = trace(memray, work, count, python_allocators=True).made - own.made
    # The three are runs of their own: their difference may fall a hair below nothing.
    return max(0.0, system), max(0.0, python)


def without_frames(trace: Trace, frames: Frames, *, python_allocators: bool) -> Trace:
    """`trace` without the tracer's own: what the work itself takes from memory."""
    first = 0 if python_allocators else 2
    allocator = "pymalloc_malloc" if python_allocators else "malloc"
    shares: dict[Line, float] = {}
    sites = []
    for site in trace.sites:
        line = (site.function, site.file, site.line)
        tally = frames.by_line.get(line)
        if tally is not None and site.allocator == allocator:
            own = max(0.0, site.made - tally[first])
            shares[line] = own / site.made
            site = site._replace(made=own, nbytes=max(0.0, site.nbytes - tally[first + 1]))
        if site.made >= NO_ALLOCATION:
            sites.append(site)
    return trace._replace(
        made=max(0.0, trace.made - (frames.made, frames.large)[not python_allocators]),
        nbytes=max(0.0, trace.nbytes - (frames.nbytes, frames.large_bytes)[not python_allocators]),
        sites=tuple(sorted(sites, key=lambda site: (site.made, site.nbytes), reverse=True)),
        stacks=tuple(
            (stack, made * share, size * share)
            for stack, made, size in trace.stacks
            if (share := shares.get(stack[0], 1.0) if stack else 1.0) > 0
        ),
    )
