"""Workloads that count what is left behind or used up, not time: allocations, growth, the cost of import."""

from __future__ import annotations

import json
import statistics
import subprocess

import environment
from bench import Bench
from promises import BUDGETS, GROWTH_BYTES_A_SECOND, IMPORT_S, SAME_CORE
from report import Table, verdict

SEQUENTIAL = (
    "bare",
    "turbosock stream",
    "turbosock get",
    "pycurl",
    "http.client",
    "urllib3",
    "requests",
    "httpx",
)


def allocations(bench: Bench) -> list[Table]:
    """Allocations of one request, by memray: raw, less the loop around it, and less the tracer's frame objects."""
    count = 100 if bench.quick else 500
    table = Table(
        "allocations: one GET after the other, by memray",
        ["", "system", "bytes", "Python, raw", "bytes", "frames", "bytes", "Python, net", "bytes"],
        notes=[
            "System: malloc, calloc, realloc and mmap, without tracing Python's own allocators. Python: with them. Both"
            " less the empty loop; frames are the objects that tracing itself makes of Python calls, and net is raw"
            " less frames."
        ],
    )
    with bench.server(SAME_CORE) as peer:

        def measured(contestant: str) -> dict[str, float] | None:
            task = bench.task(peer, "http1_sequential", contestant, "allocations", count=count)
            return bench.attempt(task, table.notes)

        empty = measured("empty")
        if empty is None:
            return [table]
        for name in SEQUENTIAL:
            whole = measured(name)
            if whole is None:
                continue
            own = {key: whole[key] - empty[key] for key in whole}
            # A frame object above pymalloc's bound is a system allocation that the tracer makes.
            system = own["system"] - own["large_frames"]
            system_bytes = own["system_bytes"] - own["large_frame_bytes"]
            net, net_bytes = own["python"] - own["frames"], own["python_bytes"] - own["frame_bytes"]
            table.rows.append(
                [
                    name,
                    f"{system:.2f}",
                    f"{system_bytes:,.0f}",
                    f"{own['python']:,.1f}",
                    f"{own['python_bytes']:,.0f}",
                    f"{own['frames']:,.1f}",
                    f"{own['frame_bytes']:,.0f}",
                    f"{net:,.1f}",
                    f"{net_bytes:,.0f}",
                ]
            )
            for budget in BUDGETS:
                if budget.contestant == name:
                    for what, made, size in (
                        ("frames included", own["python"], own["python_bytes"]),
                        ("net of frames", net, net_bytes),
                    ):
                        met = system <= budget.system and made <= budget.python and size < budget.python_bytes
                        bound = "no system allocation, " if budget.system < 1 else ""
                        table.notes.append(
                            f"Promise: {name}: {bound}≤ {budget.python:g} Python allocations, < {budget.python_bytes:g}"
                            f" bytes; {what}: {system:.2f}, {made:.1f}, {size:,.0f}, {verdict(met)}."
                        )
    return [table]


def places(bench: Bench) -> list[Table]:
    """The lines of code that allocate, for finding out; not among the workloads that run by default."""
    count, most = 500, 30
    tables = []
    with bench.server(SAME_CORE) as peer:
        for name in ("turbosock stream", "turbosock get"):
            notes: list[str] = []
            answer = bench.attempt(bench.task(peer, "http1_sequential", name, "places", count=count), notes)
            for kind, rows in (answer or {}).items():
                table = Table(f"places: {name}, {kind} allocations of one request", ["line", "each", "bytes", "by"])
                for made, size, allocator, where in rows[:most]:
                    if round(made, 2):
                        short = where.removeprefix(f"{environment.CHECKOUT}/")
                        table.rows.append([short, f"{made:.2f}", f"{size:,.0f}", allocator])
                tables.append(table)
            if notes:
                tables.append(Table(f"places: {name}", [""], notes=notes))
    return tables


def growth(bench: Bench) -> list[Table]:
    """Memory held after many requests, beyond what was held after the warm-up."""
    count = 10_000 if bench.quick else 100_000
    table = Table(
        f"growth: memory held after {count:,} requests that was not held after 1,000",
        ["", "traced bytes", "seconds at full rate", "bytes a second", "blocks", "resident bytes"],
    )
    with bench.server(SAME_CORE) as peer:
        for name in ("turbosock get", "turbosock stream", "pycurl"):
            answer = bench.attempt(bench.task(peer, "http1_sequential", name, "growth", count=count), table.notes)
            if answer is None:
                continue
            pace = answer["traced"] / answer["seconds"]
            table.rows.append(
                [
                    name,
                    f"{answer['traced']:,.0f}",
                    f"{answer['seconds']:.2f}",
                    f"{pace:,.0f}",
                    f"{answer['blocks']:,.0f}",
                    f"{answer['resident']:,.0f}",
                ]
            )
            if name.startswith("turbosock"):
                table.notes.append(
                    f"Promise: {name} grows by < {GROWTH_BYTES_A_SECOND:g} bytes a second: {pace:,.0f},"
                    f" {verdict(pace < GROWTH_BYTES_A_SECOND)}."
                )
    return [table]


# Modules that were there before, or that belong to the interpreter or to us, are not optional ones.
IMPORT_SCRIPT = """
import json, sys, time
before = set(sys.modules)
start = time.perf_counter()
import turbosock
seconds = time.perf_counter() - start
turbosock.Client, turbosock.Loop  # an empty namespace would import fast as well
top = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([seconds, sorted(top - set(sys.stdlib_module_names) - {"turbosock"})]))
"""


def import_time(bench: Bench) -> list[Table]:
    """The time that `import turbosock` takes in a fresh interpreter, and what it imports of others."""
    table = Table("import_time: `import turbosock` in a fresh interpreter", ["", "median", "least", "most"])
    times, others = list[float](), list[str]()
    # The first one may compile; it is not counted.
    for turn in range(4 * bench.rounds + 1):
        done = subprocess.run(
            [str(bench.python), "-c", IMPORT_SCRIPT], env=environment.variables(), capture_output=True, text=True
        )
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1]
            bench.failures.append(f"import_time: {last}")
            table.notes.append(f"Not measured: {last}.")
            return [table]
        seconds, others = json.loads(done.stdout)
        if turn:
            times.append(seconds)
    shown = [f"{value * 1e3:.1f} ms" for value in (statistics.median(times), min(times), max(times))]
    table.rows.append(["import turbosock", *shown])
    met = statistics.median(times) < IMPORT_S
    table.notes.append(f"Promise: < {IMPORT_S * 1e3:g} ms: {shown[0]}, {verdict(met)}.")
    table.notes.append(
        f"Promise: nothing optional imported: {', '.join(others) or 'nothing outside the standard library'},"
        f" {verdict(not others)}."
    )
    return [table]
