"""Work done by a run, as `turbosock.audit` counts it, in the shape that run.py is answered."""

from __future__ import annotations

from task import Run
from turbosock.audit.counting import Work, frames, trace, usable_memray
from turbosock.audit.growth import growth as growth_of
from turbosock.audit.growth import resident_bytes

__all__ = ["GROWTH_WARM_UP", "WARM_UP", "allocations", "growth", "places", "resident_bytes", "traced"]

WARM_UP = 50
GROWTH_WARM_UP = 1000


def counted(run: Run) -> Work:
    """A run as work, which tells how much it did."""

    def work(count: int) -> int:
        run(count)
        return count

    return work


def traced(run: Run, count: int, *, python_allocators: bool) -> tuple[float, float]:
    """(allocations, bytes) that memray sees for one of `count` requests."""
    found = trace(usable_memray(), counted(run), count, python_allocators=python_allocators)
    return found.made, found.nbytes


def allocations(run: Run, count: int, warm_up: int = WARM_UP) -> dict[str, object]:
    """System and Python allocations, and frame objects, of one request: averages over `count`, after `warm_up`."""
    # Under the tracer, because a function is given its table of lines when it is traced for the first time.
    traced(run, warm_up, python_allocators=False)
    system, system_bytes = traced(run, count, python_allocators=False)
    python, python_bytes = traced(run, count, python_allocators=True)
    own = frames(counted(run), count)
    return {
        "system": system,
        "system_bytes": system_bytes,
        "python": python,
        "python_bytes": python_bytes,
        "frames": own.made,
        "frame_bytes": own.nbytes,
        "large_frames": own.large,
        "large_frame_bytes": own.large_bytes,
    }


def places(run: Run, count: int, warm_up: int = WARM_UP) -> dict[str, object]:
    """Allocations of one request by the line that made them: without Python's allocators, then with them."""
    traced(run, warm_up, python_allocators=False)
    answer: dict[str, object] = {}
    for python_allocators in (False, True):
        found = trace(usable_memray(), counted(run), count, python_allocators=python_allocators, lines=True)
        rows = [
            (site.made, site.nbytes, site.allocator, f"{site.file}:{site.line} {site.function}") for site in found.sites
        ]
        answer["python" if python_allocators else "system"] = rows
    return answer


def growth(run: Run, count: int) -> dict[str, object]:
    """What is still held after `count` requests, beyond what was held after the warm-up."""
    grown = growth_of(counted(run), count, GROWTH_WARM_UP)
    return {
        "seconds": grown.seconds,
        "blocks": grown.blocks,
        "resident": grown.resident_bytes,
        "traced": grown.nbytes,
    }
