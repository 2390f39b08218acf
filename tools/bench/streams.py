"""Workloads of event streams."""

from __future__ import annotations

import importlib
import statistics

import promises
from bench import Bench
from hardening import nowhere
from promises import NO_SYSTEM_ALLOCATION
from rates import microseconds, ratio
from report import Table, verdict


def sse_parse(bench: Bench) -> list[Table]:
    """Events a second out of memory, against httpx-sse, and what one event allocates."""
    workload = importlib.import_module("workloads.sse_parse")
    readers = list(workload.READERS)
    table = Table(
        "sse_parse: an event stream from memory, every field read",
        ["", *[f"{reader}, each" for reader in readers], "turbosock MB/s", "turbosock / httpx-sse", "its text / it"],
        notes=[
            "The sizes are of whole events. turbosock lends data as views, and makes text of it where text is asked"
            " for; httpx-sse makes text always."
        ],
    )
    for name, kind in workload.KINDS.items():
        events = workload.STREAM_BYTES // kind.size
        rates: dict[str, list[float]] = {reader: [] for reader in readers}
        for _ in range(bench.rounds):
            for reader in readers:
                answer = bench.attempt(nowhere(bench, "sse_parse", f"{reader}, {name}"), table.notes)
                if answer is not None:
                    rates[reader].append(answer["count"] * events / answer["seconds"])
        if not all(len(each) == bench.rounds for each in rates.values()):
            return [table]
        each = [microseconds(1 / statistics.median(rates[reader])) for reader in readers]
        rate = statistics.median(rates["turbosock"]) * kind.size
        measured = ratio(rates["turbosock"], rates["httpx-sse"])
        text = ratio(rates["turbosock text"], rates["httpx-sse"])
        table.rows.append([name, *each, f"{rate / 1e6:,.0f}", f"{measured:.2f}", f"{text:.2f}"])
        at_least = promises.EVENT_RATIOS.get(name)
        if at_least is not None:
            table.notes.append(
                f"Promise: {name}: turbosock ≥ {at_least:g} × httpx-sse: {measured:.2f},"
                f" {verdict(measured >= at_least)}."
            )
        if kind.size >= promises.EVENT_RATE_FROM_BYTES and kind.lines == 1:
            table.notes.append(
                f"Promise: {name}: over {promises.EVENT_RATE / 1e9:g} GB/s: {rate / 1e9:.2f},"
                f" {verdict(rate > promises.EVENT_RATE)}."
            )
    return [table, event_allocations(bench, list(workload.KINDS))]


def event_allocations(bench: Bench, names: list[str]) -> Table:
    """What one event allocates, by kind."""
    table = Table(
        "sse_parse: allocations of one event, every field read, data as views",
        ["", "system", "Python"],
        notes=[
            "System: malloc and its like, by memray. Python: every allocation of the interpreter, also from memory that"
            " it has, counted without a tracer by having it fail."
        ],
    )
    for name in names:
        answer = bench.attempt(nowhere(bench, "sse_parse", name, "report"), table.notes)
        if answer is None:
            continue
        python, system = answer["python"], answer["system"]
        table.rows.append([name, f"{system:.3f}", f"{python:.1f}"])
        if name == promises.EVENT_BUDGET:
            met = system <= NO_SYSTEM_ALLOCATION and python <= promises.EVENT_ALLOCATIONS
            table.notes.append(
                f"Promise: {name}: no system allocation, ≤ {promises.EVENT_ALLOCATIONS:g} Python allocations:"
                f" {system:.3f}, {python:.1f}, {verdict(met)}."
            )
    return table
