"""Workloads of event streams."""

from __future__ import annotations

import importlib
import statistics

import promises
from bench import Bench
from hardening import nowhere
from promises import NO_SYSTEM_ALLOCATION, SAME_CORE, TWO_CORES
from rates import microseconds, ratio
from report import Table, spread
from support import peers


def sse_parse(bench: Bench) -> list[Table]:
    """Events a second out of memory, against httpx-sse, and what one event allocates."""
    workload = importlib.import_module("workloads.sse_parse")
    readers = list(workload.READERS)
    table = Table(
        "sse_parse: an event stream from memory, every field read",
        ["", *[f"{reader}, each" for reader in readers], "turbosock MB/s", "turbosock / httpx-sse", "its text / it"],
        notes=[
            "The sizes are of whole events. turbosock lends data as views, and makes text of it where text is asked"
            " for; httpx-sse makes text always. All is processor time: nothing is waited for."
        ],
    )
    drawn: dict[str, list[float]] = {}
    for name, kind in workload.KINDS.items():
        events = workload.STREAM_BYTES // kind.size
        rates: dict[str, list[float]] = {reader: [] for reader in readers}
        for _ in range(bench.rounds):
            for reader in readers:
                answer = bench.attempt(nowhere(bench, "sse_parse", f"{reader}, {name}"), table.notes)
                if answer is not None:
                    used_s = answer["user_s"] + answer["system_s"]
                    rates[reader].append(answer["count"] * events / used_s)
        if not all(len(each) == bench.rounds for each in rates.values()):
            return [table]
        each = [microseconds(1 / statistics.median(rates[reader])) for reader in readers]
        rate = statistics.median(rates["turbosock"]) * kind.size
        measured = ratio(rates["turbosock"], rates["httpx-sse"])
        text = ratio(rates["turbosock text"], rates["httpx-sse"])
        table.rows.append([name, *each, f"{rate / 1e6:,.0f}", f"{measured:.2f}", f"{text:.2f}"])
        at_least = promises.EVENT_RATIOS.get(name)
        if at_least is not None:
            table.judge(f"{name}: turbosock ≥ {at_least:g} × httpx-sse", f"{measured:.2f}", measured >= at_least)
        if kind.size >= promises.EVENT_RATE_FROM_BYTES and kind.lines == 1:
            table.judge(
                f"{name}: over {promises.EVENT_RATE / 1e9:g} GB/s", f"{rate / 1e9:.2f}", rate > promises.EVENT_RATE
            )
        for reader in readers:
            drawn[f"{reader}, {name}"] = rates[reader]
    table.draw("events/s of processor time, logarithmic", drawn, logarithmic=True)
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
            table.judge(
                f"{name}: no system allocation, ≤ {promises.EVENT_ALLOCATIONS:g} Python allocations",
                f"{system:.3f}, {python:.1f}",
                met,
            )
    return table


def sse_stream(bench: Bench) -> list[Table]:
    """Events a second over TCP, against httpx-sse, and what one of them allocates."""
    workload = importlib.import_module("workloads.sse_stream")
    names = list(workload.CONTESTANTS)
    tables = []
    for placement in bench.placements():
        with bench.events(placement) as peer:
            table = Table(
                f"sse_stream: events of 100 B over TCP, {placement}",
                ["", "events/s", "spread", "each", "CPU each", "turbosock events / it"],
                where=placement,
            )
            tables.append(table)
            rates: dict[str, list[float]] = {name: [] for name in names}
            costs: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(bench.rounds):
                for name in names:
                    answer = bench.attempt(bench.task(peer, "sse_stream", name), table.notes)
                    if answer is None:
                        continue
                    events = answer["count"] * workload.EVENTS
                    rates[name].append(events / answer["seconds"])
                    costs[name].append((answer["user_s"] + answer["system_s"]) / events)
            for name in names:
                if len(rates[name]) != bench.rounds or len(rates["turbosock events"]) != bench.rounds:
                    continue
                rate = statistics.median(rates[name])
                share = ratio(rates["turbosock events"], rates[name])
                cost = microseconds(statistics.median(costs[name]))
                shown = [f"{rate:,.0f}", spread(rates[name]), microseconds(1 / rate), cost, f"{share:.2f}"]
                table.rows.append([name, *shown])
            for ours in ("turbosock events", "turbosock loop"):
                if len(rates[ours]) == len(rates["httpx-sse"]) == bench.rounds:
                    measured = ratio(rates[ours], rates["httpx-sse"])
                    table.judge(
                        f"{ours} ≥ {promises.EVENT_STREAM_RATIO:g} × httpx-sse",
                        f"{measured:.2f}",
                        measured >= promises.EVENT_STREAM_RATIO,
                    )
            table.draw("events/s", rates)
            if placement == SAME_CORE:
                tables.append(stream_allocations(bench, peer))
    return tables


def stream_allocations(bench: Bench, peer: peers.Peer) -> Table:
    """What one event allocates on its way from the socket, the connection's part included."""
    workload = importlib.import_module("workloads.sse_stream")
    table = Table(
        "sse_stream: allocations of one event, from the socket to the caller",
        ["", "system", "Python, net of frames"],
        notes=["By memray; frames are the objects that tracing itself makes of Python calls."],
    )
    for name in ("turbosock events", "turbosock loop"):
        answer = bench.attempt(bench.task(peer, "sse_stream", name, "allocations", count=2), table.notes)
        if answer is not None:
            system = answer["system"] / workload.EVENTS
            python = (answer["python"] - answer["frames"]) / workload.EVENTS
            table.rows.append([name, f"{system:.3f}", f"{python:.1f}"])
            met = system <= NO_SYSTEM_ALLOCATION
            table.judge(f"{name}: no system allocation an event", f"{system:.4f}", met)
    return table


def sse_latency(bench: Bench) -> list[Table]:
    """From the send of an event to its caller."""
    workload = importlib.import_module("workloads.sse_latency")
    placement = TWO_CORES if TWO_CORES in bench.placements() else SAME_CORE
    table = Table(
        f"sse_latency: from the send of an event to its caller, one each {workload.PAUSE_US} µs, {placement}",
        ["", *workload.SHARES],
        notes=["Medians of the rounds' percentiles. A sleeping core's wake-up is most of each."],
    )
    found: dict[str, dict[str, list[float]]] = {}
    with bench.events(placement) as peer:
        for _ in range(bench.rounds):
            for name in workload.CONTESTANTS:
                answer = bench.attempt(bench.task(peer, "sse_latency", name, "report"), table.notes)
                for share, value in (answer or {}).items():
                    found.setdefault(name, {}).setdefault(share, []).append(value)
    medians = {
        name: {share: statistics.median(each) for share, each in shares.items()} for name, shares in found.items()
    }
    for name, shares in medians.items():
        table.rows.append([name, *[microseconds(value) for value in shares.values()]])
    for name in ("turbosock events", "turbosock loop"):
        if name in medians and "bare" in medians:
            added = medians[name]["p95"] / medians["bare"]["p95"] - 1
            late_s = medians[name]["p99.9"]
            table.judge(
                f"{name} adds < {promises.EVENT_ADDED:.0%} to a bare read at p95",
                f"{added:.1%}",
                added < promises.EVENT_ADDED,
            )
            table.judge(
                f"{name} < {microseconds(promises.EVENT_LATE_S)} at p99.9",
                microseconds(late_s),
                late_s < promises.EVENT_LATE_S,
            )
    table.draw("µs, 95 of 100 are no later", {name: [1e6 * x for x in own["p95"]] for name, own in found.items()})
    return [table]


def sse_sessions(bench: Bench) -> list[Table]:
    """What a thousand active streams hold."""
    count = 100 if bench.quick else 1000
    table = Table(
        f"sse_sessions: {count:,} event streams in one Loop, all sent events at once",
        ["all of them", "traced", "resident"],
    )
    answer = bench.attempt(nowhere(bench, "sse_sessions", "turbosock loop", "report", count=count), table.notes)
    if answer is None:
        return [table]
    words = {"open": "open, nothing came", "waiting": "with events that wait", "taken": "when they were taken"}
    for state, text in words.items():
        sizes = [f"{answer[kind][state] / 1e6:.1f} MB" for kind in ("traced", "resident")]
        table.rows.append([text, *sizes])
    most = max(answer[kind][state] for kind in ("traced", "resident") for state in words)
    allowed = promises.SESSIONS_BYTES * count / 1000
    aim = promises.SESSIONS_AIM_BYTES * count / 1000
    table.judge(f"< {allowed / 1e6:.0f} MB in all", f"{most / 1e6:.1f} MB", most < allowed)
    table.judge(f"aimed at: < {aim / 1e6:.0f} MB in all", f"{most / 1e6:.1f} MB", most < aim)
    table.draw("MB, resident", {text: [answer["resident"][state] / 1e6] for state, text in words.items()})
    return [table]


def sse_reconnect(bench: Bench) -> list[Table]:
    """How soon a stream is there again after a reset."""
    workload = importlib.import_module("workloads.sse_reconnect")
    count = 10 if bench.quick else 100
    table = Table(f"sse_reconnect: from a reset to the next event, {count} times", ["", "median", "longest"])
    drawn: dict[str, list[float]] = {}
    with bench.events(SAME_CORE) as peer:
        for name in workload.CONTESTANTS:
            answer = bench.attempt(bench.task(peer, "sse_reconnect", name, "report", count=count), table.notes)
            if answer is None:
                continue
            table.rows.append([name, microseconds(answer["median"]), microseconds(answer["longest"])])
            table.judge(
                f"{name} < {microseconds(promises.RECONNECT_S)}",
                microseconds(answer["longest"]),
                answer["longest"] < promises.RECONNECT_S,
            )
            drawn[name] = [1e3 * answer["median"], 1e3 * answer["longest"]]
    table.draw("ms, from half of the times to the longest", drawn)
    return [table]
