"""Workloads that count what is left behind or used up, not time: allocations, growth, the cost of import."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

import environment
from bench import Bench
from promises import (
    BUDGETS,
    FEWER_ALLOCATIONS,
    GROWTH_BYTES_A_SECOND,
    IMPORT_S,
    LOOP_BUDGET,
    NO_SYSTEM_ALLOCATION,
    SAME_CORE,
    Budget,
)
from report import Notes, Table
from support import peers
from task import Task

IN_FLIGHT = 100
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


# The bare loop is what OpenSSL itself allocates; the second engine has a floor of its own.
OVER_TLS = {
    "bare": "bare",
    "turbosock stream": "bare",
    "turbosock get": "bare",
    "bare pyOpenSSL": "bare pyOpenSSL",
    "turbosock stream, pyOpenSSL": "bare pyOpenSSL",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """What one request allocates, less the harness's loop: raw, and less the tracer's frame objects."""

    system: float
    system_bytes: float
    python: float
    python_bytes: float
    frames: float
    frame_bytes: float

    @property
    def net(self) -> tuple[float, float]:
        """Python allocations and their bytes, less frames."""
        return self.python - self.frames, self.python_bytes - self.frame_bytes


def tally(whole: dict[str, float], empty: dict[str, float]) -> Tally:
    """A contestant's figures, less those of the empty loop."""
    own = {key: whole[key] - empty[key] for key in empty}
    return Tally(
        # A frame object above pymalloc's bound is a system allocation that the tracer makes.
        own["system"] - own["large_frames"],
        own["system_bytes"] - own["large_frame_bytes"],
        own["python"],
        own["python_bytes"],
        own["frames"],
        own["frame_bytes"],
    )


def tallied(
    bench: Bench, peer: peers.Peer, workload: str, names: Iterable[str], notes: Notes, *, in_flight: int = 1
) -> dict[str, Tally]:
    """What one request of each contestant allocates; who cannot run is in `notes` instead."""
    # With many in flight, so many more that beginning and end hardly count.
    count = (100 if bench.quick else 500) * (10 if in_flight > 1 else 1)
    empty: dict[str, float] | None = None
    found = {}
    for name in ("empty", *names):
        task = bench.task(peer, workload, name, "allocations", count=count, in_flight=in_flight)
        whole = bench.attempt(task, notes)
        if name == "empty":
            empty = whole
        elif whole is not None and empty is not None:
            found[name] = tally(whole, empty)
    return found


def allocations(bench: Bench) -> list[Table]:
    """Allocations of one request, by memray: raw, less the loop around it, and less the tracer's frame objects."""
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
        found = tallied(bench, peer, "http1_sequential", SEQUENTIAL, table.notes)
    for name, own in found.items():
        table.rows.append([name, *cells(own)])
        for budget in BUDGETS:
            if budget.contestant == name:
                judge_budget(table, budget, own)
    draw_allocations(table, found)
    return [table]


def cells(own: Tally) -> list[str]:
    """A row's: made and bytes, by the system, of Python raw, of frames, and of Python net of these."""
    net, net_bytes = own.net
    pairs = (
        (f"{own.system:.2f}", own.system_bytes),
        (f"{own.python:,.1f}", own.python_bytes),
        (f"{own.frames:,.1f}", own.frame_bytes),
        (f"{net:,.1f}", net_bytes),
    )
    return [cell for made, size in pairs for cell in (made, f"{size:,.0f}")]


def allocations_loop(bench: Bench) -> list[Table]:
    """Allocations of one request of many in flight, each on a connection of its own."""
    table = Table(
        f"allocations_loop: GET, {IN_FLIGHT} in flight in one thread, by memray",
        ["", "system", "bytes", "Python, raw", "bytes", "frames", "bytes", "Python, net", "bytes"],
        notes=["System, Python, frames and net: as in allocations."],
    )
    with bench.server(SAME_CORE) as peer:
        names = ("bare", "turbosock loop", "pycurl multi", "aiohttp+uvloop")
        found = tallied(bench, peer, "http1_concurrent", names, table.notes, in_flight=IN_FLIGHT)
    table.rows += [[name, *cells(own)] for name, own in found.items()]
    if LOOP_BUDGET.contestant in found:
        judge_budget(table, LOOP_BUDGET, found[LOOP_BUDGET.contestant])
    draw_allocations(table, found)
    return [table]


def draw_allocations(table: Table, found: dict[str, Tally]) -> None:
    """Bars of Python's allocations, net of frames."""
    bars = {name: [max(own.net[0], 0.1)] for name, own in found.items()}
    table.draw("Python allocations, net of frames, logarithmic", bars, logarithmic=True)


def judge_budget(table: Table, budget: Budget, own: Tally) -> None:
    """A budget's verdicts: with the tracer's frames, and without them."""
    for what, made, size in (("frames included", own.python, own.python_bytes), ("net of frames", *own.net)):
        met = own.system <= budget.system and made <= budget.python and size < budget.python_bytes
        bound = "no system allocation, " if budget.system < 1 else ""
        table.judge(
            f"{budget.contestant}: {bound}≤ {budget.python:g} Python allocations, < {budget.python_bytes:g}"
            f" bytes, {what}",
            f"{own.system:.2f}, {made:.1f}, {size:,.0f}",
            met,
        )


def allocations_neighbours(bench: Bench) -> list[Table]:
    """Allocations of one request by other libraries, over turbosock and as they are."""
    table = Table(
        "allocations_neighbours: one GET after the other by other libraries, by memray",
        ["", "system", "bytes", "Python, net", "bytes"],
        notes=["Counted as in `allocations`."],
    )
    drawn: dict[str, Tally] = {}
    with bench.server(SAME_CORE) as peer:
        for workload, ours, other in FEWER_ALLOCATIONS:
            found = tallied(bench, peer, workload, (ours, other), table.notes)
            drawn |= found
            for name, own in found.items():
                net, net_bytes = own.net
                table.rows.append(
                    [name, f"{own.system:.2f}", f"{own.system_bytes:,.0f}", f"{net:,.1f}", f"{net_bytes:,.0f}"]
                )
            if len(found) == 2:
                fewer = found[ours].system < found[other].system and found[ours].net[0] < found[other].net[0]
                table.judge(
                    f"{ours} allocates less often than {other}",
                    f"{found[ours].net[0]:,.0f} and {found[other].net[0]:,.0f}",
                    fewer,
                )
    draw_allocations(table, drawn)
    return [table]


def allocations_tls(bench: Bench) -> list[Table]:
    """Allocations of one request over TLS, OpenSSL's own told apart, on both engines."""
    table = Table(
        "allocations_tls: one GET after the other over TLS, by memray",
        ["", "copies a read", "system", "bytes", "system, ours", "bytes", "Python, net", "bytes"],
        notes=[
            "System: malloc, calloc, realloc and mmap, without tracing Python's own allocators. OpenSSL's are among"
            " them: ours is what a bare loop of send and recv_into on the same engine does not make. The bare loops"
            " are SSLSocket, whose Python layer makes none, and OpenSSL.SSL.Connection, whose recv_into has a buffer"
            " of its own and copies from it. Copies a read: of each byte, between OpenSSL and the caller's buffer."
        ],
    )
    with bench.server(SAME_CORE, tls=True) as peer:
        found = tallied(bench, peer, "https_sequential", OVER_TLS, table.notes)
    for name, own in found.items():
        floor = found.get(OVER_TLS[name])
        if floor is None:
            table.notes.append(f"Left out: {name}: its floor was not measured.")
            continue
        copies = 1 if "pyOpenSSL" in name else 0
        ours, ours_bytes = own.system - floor.system, own.system_bytes - floor.system_bytes
        net, net_bytes = own.net
        table.rows.append(
            [
                name,
                str(copies),
                f"{own.system:.2f}",
                f"{own.system_bytes:,.0f}",
                f"{ours:.2f}",
                f"{ours_bytes:,.0f}",
                f"{net:,.1f}",
                f"{net_bytes:,.0f}",
            ]
        )
        if name == "turbosock stream":
            table.judge(f"{name}: no system allocation of ours", f"{ours:.2f}", ours <= NO_SYSTEM_ALLOCATION)
    draw_allocations(table, found)
    return [table]


def places(bench: Bench) -> list[Table]:
    """The lines of code that allocate, for finding out; not among the workloads that run by default."""
    tables = []
    with bench.server(SAME_CORE) as peer:
        for name in ("turbosock stream", "turbosock get"):
            tables += places_of(bench, bench.task(peer, "http1_sequential", name, "places", count=500))
    with bench.server(SAME_CORE, http2=True) as peer:
        task = bench.task(peer, "h2_multiplexed", "turbosock loop", "places", count=5000, in_flight=100)
        tables += places_of(bench, task)
    return tables


def places_of(bench: Bench, task: Task, most: int = 30) -> list[Table]:
    """The lines that allocate for one request of a contestant: the system's allocations, and Python's."""
    name, notes, tables = f"{task.workload}, {task.contestant}", Notes(), list[Table]()
    answer = bench.attempt(task, notes)
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


GROWING = {
    "turbosock get": "http1_sequential",
    "turbosock stream": "http1_sequential",
    "turbosock loop": "http1_concurrent",
    "pycurl": "http1_sequential",
}


def growth(bench: Bench) -> list[Table]:
    """Memory held after many requests, beyond what was held after the warm-up."""
    count = 10_000 if bench.quick else 100_000
    table = Table(
        f"growth: memory held after {count:,} requests that was not held after 1,000",
        ["", "traced bytes", "seconds at full rate", "bytes a second", "blocks", "resident bytes"],
    )
    with bench.server(SAME_CORE) as peer:
        paces: dict[str, list[float]] = {}
        for name, workload in GROWING.items():
            in_flight = IN_FLIGHT if workload == "http1_concurrent" else 1
            task = bench.task(peer, workload, name, "growth", count=count, in_flight=in_flight)
            answer = bench.attempt(task, table.notes)
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
                table.judge(
                    f"{name} grows by < {GROWTH_BYTES_A_SECOND:g} bytes a second",
                    f"{pace:,.0f}",
                    pace < GROWTH_BYTES_A_SECOND,
                )
            paces[name] = [pace]
    table.draw("bytes a second at full rate", paces)
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
    table.judge(f"< {IMPORT_S * 1e3:g} ms", shown[0], met)
    table.judge("nothing optional imported", ", ".join(others) or "nothing outside the standard library", not others)
    table.draw("ms", {"import turbosock": [1e3 * value for value in times]})
    return [table]
