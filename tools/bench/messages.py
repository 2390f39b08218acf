"""Workloads of messages: WebSockets and datagrams."""

from __future__ import annotations

import dataclasses
import importlib
import statistics
from typing import Any

import promises
from bench import Bench
from crowd import BURST_FRAMES
from hardening import nowhere
from promises import SAME_CORE
from rates import microseconds, ratio
from report import NOT_MEASURED, Notes, Table, spread
from tallies import Tally, tally

# What has ticks, or a pace, is no shorter than this, whatever is asked for.
LEAST_S = 1.0


def ws_echo(bench: Bench) -> list[Table]:
    """One message after the other, there and back, against peers, by size."""
    workload = importlib.import_module("workloads.ws_echo")
    tables = []
    for placement in bench.placements():
        with bench.echo(placement) as peer:
            for words in workload.SIZES:
                table = Table(
                    f"ws_echo: {words} there and back on one WebSocket, {placement}",
                    ["", "echoes/s", "spread", "each", "CPU each", "turbosock / it"],
                    where=placement,
                )
                tables.append(table)
                rates: dict[str, list[float]] = {}
                costs: dict[str, list[float]] = {}
                for _ in range(bench.rounds):
                    for name in workload.PEERS:
                        answer = bench.attempt(bench.task(peer, "ws_echo", f"{name}, {words}"), table.notes)
                        if answer is not None:
                            rates.setdefault(name, []).append(answer["count"] / answer["seconds"])
                            costs.setdefault(name, []).append((answer["user_s"] + answer["system_s"]) / answer["count"])
                ours = rates.get("turbosock", [])
                for name, each in rates.items():
                    if len(each) == len(ours) == bench.rounds:
                        rate, cost = statistics.median(each), microseconds(statistics.median(costs[name]))
                        share = f"{ratio(ours, each):.2f}"
                        shown = [f"{rate:,.0f}", spread(each), microseconds(1 / rate), cost, share]
                        table.rows.append([name, *shown])
                table.draw("echoes/s", rates)
                for (size, other), at_least in promises.ECHO_RATIOS.items():
                    if size != words:
                        continue
                    promise = f"{words}: turbosock ≥ {at_least:g} × {other}"
                    if not len(ours) == len(rates.get(other, [])) == bench.rounds:
                        table.judge(promise, NOT_MEASURED, None)
                        continue
                    measured = ratio(ours, rates[other])
                    if placement == SAME_CORE:
                        table.judge(promise, f"{measured:.2f}", measured >= at_least)
                    else:
                        table.notes.append(f"{promise}, held on {SAME_CORE}: here {measured:.2f}.")
    return tables


def in_turn(bench: Bench, workload: str, in_flight: int, notes: Notes) -> dict[str, list[dict[str, Any]]]:
    """What each contestant reports, round after round; those that could not run are in `notes` instead."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(bench.rounds):
        for name in importlib.import_module(f"workloads.{workload}").REPORTS:
            task = nowhere(bench, workload, name, "report", in_flight=in_flight)
            answer = bench.attempt(dataclasses.replace(task, seconds=max(LEAST_S, task.seconds)), notes)
            if answer is not None:
                found.setdefault(name, []).append(answer)
    return {name: answers for name, answers in found.items() if len(answers) == bench.rounds}


def median_of(answers: list[dict[str, Any]], key: str) -> float:
    return statistics.median(answer[key] for answer in answers)


def ws_fanin(bench: Bench) -> list[Table]:
    """Small messages of a thousand WebSockets into one server, at a game's pace and as fast as they come."""
    connections = 100 if bench.quick else 1000
    workload = importlib.import_module("workloads.ws_fanin")
    table = Table(
        f"ws_fanin: small messages of {connections:,} WebSockets into one server",
        [
            "",
            f"{workload.RATE}/s each: share of a core",
            "singly: messages/s of CPU",
            "turbosock / it",
            "in bursts: messages/s of CPU",
            "turbosock / it",
            "busy",
        ],
        notes=[
            "By the server's own processor time, system calls included. Singly: each connection's next message comes"
            f" after everybody's last; in bursts: {BURST_FRAMES} of each at once. Busy: the part of that time in which"
            " the server worked; where it is well below 1 the crowd was the slower of the two, and the clock says"
            " nothing of the server."
        ],
    )
    found = in_turn(bench, "ws_fanin", connections, table.notes)
    limits: dict[tuple[str, str], list[float]] = {}
    for name, answers in found.items():
        for phase in ("singly", "bursts"):
            limits[name, phase] = [answer[phase]["messages"] / answer[phase]["cpu_s"] for answer in answers]
    for name, answers in found.items():
        # Of a second in which all should have come, however late they did.
        busy = statistics.median(answer["paced"]["cpu_s"] / max(LEAST_S, bench.seconds) for answer in answers)
        row = [name, f"{busy:.2f}"]
        for phase in ("singly", "bursts"):
            share = f"{ratio(limits['turbosock', phase], limits[name, phase]):.2f}" if "turbosock" in found else ""
            row += [f"{statistics.median(limits[name, phase]):,.0f}", share]
        busy_then = statistics.median(answer["bursts"]["cpu_s"] / answer["bursts"]["seconds"] for answer in answers)
        table.rows.append([*row, f"{busy_then:.2f}"])
        if name.startswith("turbosock"):
            table.judge(f"{name}: < {promises.FANIN_SHARE:g} of a core", f"{busy:.2f}", busy < promises.FANIN_SHARE)
    bars = {f"{name}, {phase}": each for (name, phase), each in limits.items()}
    table.draw("messages/s of CPU, logarithmic", bars, logarithmic=True)
    for other, at_least in promises.FANIN_RATIOS.items():
        for phase in ("singly", "bursts"):
            if "turbosock" in found and other in found:
                measured = ratio(limits["turbosock", phase], limits[other, phase])
                table.judge(f"{phase}: turbosock ≥ {at_least:g} × {other}", f"{measured:.2f}", measured >= at_least)
    return [table]


def ws_broadcast(bench: Bench) -> list[Table]:
    """1 KiB to a thousand WebSockets in each tick."""
    connections = 100 if bench.quick else 1000
    table = Table(
        f"ws_broadcast: 1 KiB to {connections:,} WebSockets in each of 60 ticks a second",
        ["", "tick, p50", "p99", "longest", "its CPU, p50", "p99", "longest"],
        notes=[
            "Medians of the rounds. By the clock a tick also takes what other processes take of its core, its"
            " audience's wake-ups among them; its CPU is the server's own, system calls included."
        ],
    )
    drawn: dict[str, list[float]] = {}
    for name, answers in in_turn(bench, "ws_broadcast", connections, table.notes).items():
        keys = [prefix + key for prefix in ("", "cpu_") for key in ("p50", "p99", "longest")]
        table.rows.append([name, *[milliseconds(median_of(answers, key)) for key in keys]])
        if name == "turbosock loop":
            judge_duration(table, "p99 tick", answers, "p99", "cpu_p99", promises.BROADCAST_TICK_S)
            table.notes.append(f"Sends that found no room: {sum(answer['full'] for answer in answers)}.")
        drawn[name] = [1e3 * answer["p99"] for answer in answers]
        drawn[f"{name}, its CPU"] = [1e3 * answer["cpu_p99"] for answer in answers]
    table.draw("ms a tick at the 99th percentile", drawn)
    return [table]


def judge_duration(
    table: Table, what: str, answers: list[dict[str, Any]], by_clock: str, by_cpu: str, at_most_s: float
) -> None:
    """The verdicts over a duration: by the clock, and in processor time."""
    for key, how in ((by_clock, ""), (by_cpu, " in processor time")):
        taken_s = median_of(answers, key)
        table.judge(f"{what} < {milliseconds(at_most_s)}{how}", milliseconds(taken_s), taken_s < at_most_s)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def tick_latency(bench: Bench) -> list[Table]:
    """A game's ticks with a hostile mix of clients."""
    players = 90 if bench.quick else 900
    workload = importlib.import_module("workloads.tick_latency")
    table = Table(
        f"tick_latency: {players} players, one that floods, one that never reads, {workload.SLOW} slow handshakes",
        [
            "",
            "poll, p50",
            "p99",
            "longest",
            "CPU, p99",
            "whole tick, p99",
            "waits: 1 tick",
            "2",
            "more",
            "longest wait",
        ],
        notes=[f"poll(max_time={workload.MAX_TIME_S:g}) {workload.TICK_HZ} times a second. Medians of the rounds."],
    )
    for name, answers in in_turn(bench, "tick_latency", players, table.notes).items():
        waits: dict[int, int] = {}
        for answer in answers:
            for ticks, count in answer["waits"].items():
                # What came in the middle of a poll, and was taken by it, waited for less than one.
                waits[max(1, int(ticks))] = waits.get(max(1, int(ticks)), 0) + count
        total = max(1, sum(waits.values()))
        late = sum(count for ticks, count in waits.items() if ticks > promises.WAIT_TICKS)
        shares = [f"{count / total:.2%}" for count in (waits.get(1, 0), waits.get(2, 0), late)]
        times = [milliseconds(median_of(answers, key)) for key in ("p50", "p99", "longest", "cpu_p99", "tick_p99")]
        table.rows.append([name, *times, *shares, f"{max(waits, default=0)} ticks"])
        judge_duration(table, "p99 poll", answers, "p99", "cpu_p99", promises.POLL_S)
        table.judge(
            f"no player waits over {promises.WAIT_TICKS} ticks",
            f"{max(waits, default=0)}, {late} of {total:,} messages longer",
            not late,
        )
        table.draw(
            "ms at the 99th percentile",
            {
                "poll": [1e3 * answer["p99"] for answer in answers],
                "poll, processor time": [1e3 * answer["cpu_p99"] for answer in answers],
                "whole tick": [1e3 * answer["tick_p99"] for answer in answers],
            },
        )
    return [table]


def udp_echo(bench: Bench) -> list[Table]:
    """Datagrams sent back one by one."""
    workload = importlib.import_module("workloads.udp_echo")
    table = Table(
        f"udp_echo: datagrams of {workload.BYTES} B sent back one by one",
        ["", "echoes/s", "lost", "CPU each", "echoes/s of CPU", "turbosock loop / it"],
        notes=["Ratios are of the server's own processor time: by the clock the client may be the slower of the two."],
    )
    found = in_turn(bench, "udp_echo", 1, table.notes)
    rates = {name: [each["back"] / each["cpu_s"] for each in answers] for name, answers in found.items()}
    for name, answers in found.items():
        rate = statistics.median(answer["back"] / answer["seconds"] for answer in answers)
        own = statistics.median(rates[name])
        share = f"{ratio(rates['turbosock loop'], rates[name]):.2f}" if "turbosock loop" in rates else ""
        lost = sum(int(answer["lost"]) for answer in answers)
        table.rows.append([name, f"{rate:,.0f}", str(lost), microseconds(1 / own), f"{own:,.0f}", share])
    for other, at_least in promises.DATAGRAM_RATIOS.items():
        if "turbosock loop" in rates and other in rates:
            measured = ratio(rates["turbosock loop"], rates[other])
            table.judge(f"turbosock loop ≥ {at_least:g} × {other}", f"{measured:.2f}", measured >= at_least)
    table.draw("echoes/s of the server's CPU", rates)
    return [table]


def allocations_ws(bench: Bench) -> list[Table]:
    """What a message allocates, at either end."""
    workload = importlib.import_module("workloads.ws_allocations")
    table = Table(
        "allocations_ws: what one message of an echo allocates, by memray",
        ["", "system", "Python, raw", "bytes", "of tracing", "bytes", "Python, net", "bytes"],
        notes=[
            "An echo is two messages: half of them are received, half are sent. Server and client are the ends of a"
            f" Loop, with one echo in each turn, or {workload.MANY}. Less the empty loop; of tracing are the objects"
            " that tracing itself makes of calls, and net is raw less those."
        ],
    )
    count = 100 if bench.quick else 500
    drawn: dict[str, list[float]] = {}
    with bench.echo(SAME_CORE) as peer:
        empty: dict[str, float] | None = None
        for name, messages in workload.MESSAGES.items():
            runs = count if messages == 2 else count // 5
            whole = bench.attempt(bench.task(peer, "ws_allocations", name, "allocations", count=runs), table.notes)
            if name == "empty":
                empty = whole
            elif whole is not None and empty is not None:
                table.rows.append([name, *row_of(tally(whole, empty), messages)])
                if not name.startswith("websocket"):
                    judge_message(table, name, tally(whole, empty), messages)
                drawn[name] = [max(tally(whole, empty).net[0] / messages, 0.1)]
    table.draw("Python allocations a message, net of tracing", drawn)
    return [table]


def row_of(own: Tally, messages: int) -> list[str]:
    """A message's share of what was counted."""
    net, net_bytes = own.net
    pairs = ((own.python, own.python_bytes), (own.frames, own.frame_bytes), (net, net_bytes))
    texts = [text for made, size in pairs for text in (f"{made / messages:.1f}", f"{size / messages:,.0f}")]
    return [f"{own.system / messages:.3f}", *texts]


def judge_message(table: Table, name: str, own: Tally, messages: int) -> None:
    """A message's verdicts."""
    bound = promises.MESSAGE_BUDGET
    for what, made, size in (("net", *own.net), ("raw", own.python, own.python_bytes)):
        each, each_bytes = made / messages, size / messages
        met = own.system / messages <= bound.system and each <= bound.python and each_bytes < bound.python_bytes
        table.judge(
            f"{name}: no system allocation, ≤ {bound.python:g} Python allocations, < {bound.python_bytes:g}"
            f" bytes, {what}",
            f"{own.system / messages:.3f}, {each:.1f}, {each_bytes:.0f}",
            met,
        )


def memory_ws_idle(bench: Bench) -> list[Table]:
    """What an idle WebSocket holds."""
    table = Table(
        "memory_ws_idle: what an idle WebSocket holds, by tracemalloc",
        ["", "bytes"],
        notes=["All that Python has allocated for it, sockets, registrations and timers included; its peer's apart."],
    )
    count = 100 if bench.quick else 500
    drawn: dict[str, list[float]] = {}
    for name in importlib.import_module("workloads.ws_idle").REPORTS:
        answer = bench.attempt(nowhere(bench, "ws_idle", name, "report", count=count), table.notes)
        if answer is None:
            continue
        table.rows.append([name, f"{answer['bytes']:,.0f}"])
        met = answer["bytes"] < promises.IDLE_BYTES
        table.judge(f"{name}: < {promises.IDLE_BYTES:,} bytes", f"{answer['bytes']:,.0f}", met)
        drawn[name] = [answer["bytes"]]
    table.draw("bytes", drawn)
    return [table]
