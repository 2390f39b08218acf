"""SteadyState: what calls of a function may take from memory once it is warm, and a look at whether they do.

Two looks, in this process. The first is for leaks: while the function warms up, every pool lends guarded buffers and
tracemalloc knows who made what; what there is more of after so many calls than before them, leaks. The second counts by
memray, with nothing else at work.

What the function does must be possible again and again: it is called some hundreds of times. Other threads' allocations
are counted, too, so a server that it talks to belongs into another process.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import socket
import sysconfig
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Final

from turbosock import limits
from turbosock.audit.census import census
from turbosock.audit.counting import Site, Trace, Work, frames, trace, usable_memray, without_frames
from turbosock.audit.sections import place, shown_path
from turbosock.buffers.lease import GuardedBuffer
from turbosock.buffers.living import buffer_pools, held_leases
from turbosock.config import check_count
from turbosock.errors import InvalidOption
from turbosock.reactor.context import IOContext

# Calls between the two counts of what lives, and as much more as there must be of something to say that it leaks: what
# a pool of connections opens for one of them is no leak.
_LEAK_CALLS: Final = 20
_LEAK_COUNT: Final = 5
# Enough to come out of the library and of the standard library.
_TRACED_FRAMES: Final = 25
_FRAME_CALLS: Final = 100
_SITES: Final = 3

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD_LIBRARY: Final = sysconfig.get_path("stdlib") + os.sep


@dataclasses.dataclass(frozen=True, slots=True)
class SteadyState:
    """What one call may take, on average; None: anything.

    Attributes:
        mallocs: calls of malloc() and its like, rounded to two digits.
        allocations: of all kinds, what Python serves from its own memory included, rounded to a whole one.
        nbytes: of these.
        kept_bytes: of these, those that are not freed when the count ends.
        leaks: False allows calls to leave leases, sockets and I/O contexts behind.
        warm_up, count: calls before anything is counted, and calls that are counted.

    Raises:
        InvalidOption: a value cannot work; it is named.
    """

    mallocs: float | None = None
    allocations: float | None = None
    nbytes: float | None = None
    kept_bytes: float | None = None
    leaks: bool = True
    warm_up: int = 50
    count: int = 200

    def __post_init__(self) -> None:
        for name in ("mallocs", "allocations", "nbytes", "kept_bytes"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise InvalidOption(f"{name}={value!r}: give a number of at least 0")
        if not isinstance(self.leaks, bool):
            raise InvalidOption(f"leaks={self.leaks!r}: give True or False")
        check_count("warm_up", self.warm_up, 1, limits.MAX_AUDIT_COUNT)
        check_count("count", self.count, 1, limits.MAX_AUDIT_COUNT)

    @property
    def counts(self) -> bool:
        """Whether anything is to be counted, which needs memray."""
        return not (self.mallocs is self.allocations is self.nbytes is self.kept_bytes is None)


def complaints(step: Callable[[], object], allowed: SteadyState) -> list[str]:
    """What calls of `step` take that they may not, in words that name lines; empty: nothing.

    Raises:
        Exception: whatever `step` raises.
    """
    found = leaks_of(step) if allowed.leaks else []

    def work(count: int) -> int:
        for _ in repeat(None, count):
            step()
        return count

    if allowed.counts:
        found += _exceeded(work, allowed)
    return found


# Leaks


def leaks_of(step: Callable[[], object]) -> list[str]:
    """What calls of `step` leave behind each time: leases, sockets and I/O contexts, with the lines that took them."""
    with _watched() as caught:
        for _ in repeat(None, _LEAK_CALLS):
            step()
        before = _Living()
        del caught[:]
        for _ in repeat(None, _LEAK_CALLS):
            step()
        after = _Living()
        dropped = [each for each in caught if isinstance(getattr(each, "source", None), socket.socket)]
        lines = Counter(_line_of(each.source) for each in dropped)
        found = [_leak("socket", "dropped and not closed", len(dropped), lines)] if len(dropped) >= _LEAK_COUNT else []
        found += after.more_than(before)
    return found


@contextmanager
def _watched() -> Iterator[list[warnings.WarningMessage]]:
    """Every pool guards what it lends, every object's maker is known, and what is dropped unclosed is in the list."""
    pools = [pool for pool in buffer_pools() if not pool.diagnostics]
    traced = tracemalloc.is_tracing()
    if not traced:
        tracemalloc.start(_TRACED_FRAMES)
    for pool in pools:
        pool.diagnostics = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ResourceWarning)
            yield caught
    finally:
        for pool in pools:
            pool.diagnostics = False
        if not traced:
            tracemalloc.stop()


class _Living:
    """The leases, sockets and I/O contexts that live at one moment."""

    __slots__ = ("contexts", "leases", "lost", "sockets", "total_leases")

    def __init__(self) -> None:
        gc.collect()
        counted = census()
        self.total_leases = counted.leases
        self.lost = Counter(dict(counted.lease_lines))
        self.leases = {id(lease): lease for lease in held_leases()}
        objects = gc.get_objects()
        self.sockets = {id(one): one for one in objects if issubclass(type(one), socket.socket) and one.fileno() >= 0}
        self.contexts = {id(one): one for one in objects if issubclass(type(one), IOContext) and not one.pooled}

    def more_than(self, before: _Living) -> list[str]:
        """What there is more of than before, a line for each kind."""
        found = []
        leases = self.total_leases - before.total_leases
        if leases >= _LEAK_COUNT:
            lines = self.lost - before.lost
            held = [lease for key, lease in self.leases.items() if key not in before.leases]
            lines += Counter(_line_of(lease) for lease in held if not isinstance(lease, GuardedBuffer))
            found.append(_leak("lease", "not given back", leases, lines))
        for kind, now, then in (
            ("socket", self.sockets, before.sockets),
            ("I/O context", self.contexts, before.contexts),
        ):
            if len(now) - len(then) >= _LEAK_COUNT:
                lines = Counter(_line_of(one) for key, one in now.items() if key not in then)
                found.append(_leak(kind, "still there", len(now) - len(then), lines))
        return found


def _line_of(one: object) -> str:
    """The line that made an object: the nearest of neither this package nor the standard library, if there is one."""
    made_at = tracemalloc.get_object_traceback(one)
    if made_at is None:
        return ""
    for frame in reversed(made_at):
        name = frame.filename
        # What is installed lies in a folder of the standard library, this package perhaps among it.
        of_python = name.startswith(_STANDARD_LIBRARY) and "site-packages" not in name
        if not of_python and not name.startswith((_PACKAGE, "<")):
            return f"{name}:{frame.lineno}"
    return f"{made_at[-1].filename}:{made_at[-1].lineno}"


def _leak(kind: str, how: str, count: int, lines: Counter[str]) -> str:
    where = ", ".join(f"{shown_path(line)} ({times})" for line, times in lines.most_common(_SITES) if line)
    plural = f"{kind}s" if count != 1 else kind
    return f"{count} {plural} {how} after {_LEAK_CALLS} calls{f', made at {where}' if where else ''}"


# Counts


def _exceeded(work: Work, allowed: SteadyState) -> list[str]:
    memray = usable_memray()
    assert memray is not None, "whoever asks has looked"
    # Under the tracer, because a function is given its table of lines when it is traced for the first time.
    trace(memray, work, allowed.warm_up, python_allocators=False)
    calls = frames(work, min(allowed.count, _FRAME_CALLS))
    found = []
    if allowed.mallocs is not None:
        system = trace(memray, work, allowed.count, python_allocators=False, lines=True)
        own = without_frames(system, calls, python_allocators=False)
        if round(own.made, 2) > allowed.mallocs:
            found.append(_over(f"{own.made:.2f} system mallocs a call, {allowed.mallocs:g} allowed", own.sites))
    if (allowed.allocations, allowed.nbytes, allowed.kept_bytes) != (None, None, None):
        python = trace(memray, work, allowed.count, python_allocators=True, lines=True, kept=True)
        found += _over_of_python(without_frames(python, calls, python_allocators=True), allowed)
    return found


def _over_of_python(own: Trace, allowed: SteadyState) -> list[str]:
    found = []
    if allowed.allocations is not None and round(own.made) > allowed.allocations:
        what = f"{own.made:.1f} Python allocations a call, {allowed.allocations:g} allowed"
        found.append(_over(what, own.sites))
    if allowed.nbytes is not None and round(own.nbytes) > allowed.nbytes:
        largest = sorted(own.sites, key=lambda site: site.nbytes, reverse=True)
        found.append(_over(f"{own.nbytes:,.0f} bytes a call, {allowed.nbytes:,g} allowed", largest))
    if allowed.kept_bytes is not None and round(own.kept_bytes) > allowed.kept_bytes:
        what = f"{own.kept_bytes:,.0f} bytes a call are kept, {allowed.kept_bytes:,g} allowed"
        found.append(_over(what, own.kept))
    return found


def _over(what: str, sites: list[Site] | tuple[Site, ...]) -> str:
    lines = [f"  {place(site)}: {site.made:.2f}, {site.nbytes:,.0f} bytes: {site.source}" for site in sites[:_SITES]]
    return "\n".join([what, *lines])
