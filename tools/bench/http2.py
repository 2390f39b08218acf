"""Workloads of HTTP/2 that are not rates alone: threads on one connection, and what a request of many allocates."""

from __future__ import annotations

import statistics
from typing import Any

import promises
from bench import CHILD_DEADLINE_S, Bench
from promises import HTTP2_BUDGET, SAME_CORE
from rates import microseconds, ratio
from report import NOT_MEASURED, Table
from tallies import IN_FLIGHT, Tally, cells, draw_allocations, judge_budget, tallied

THREADS = 40
REQUESTS, QUICK_REQUESTS = 400_000, 8_000
# A request on a busy machine takes no longer than this, on average.
SLOWEST_REQUEST_S = 0.001

OURS, THEIRS = "turbosock get", "httpx2"
# The part of the requests that each makes: a rate is known sooner than that nothing ever goes wrong.
PARTS = {OURS: 1, "pycurl, own connections": 10, THEIRS: 40}


def h2_threads(bench: Bench) -> list[Table]:
    """Threads that share one connection: what they get done, and whether each of them gets its own answers."""
    tables = []
    total = QUICK_REQUESTS if bench.quick else REQUESTS
    for placement in bench.placements():
        table = Table(
            f"h2_threads: GET from {THREADS} threads on one connection, each answer held against its path; server and"
            f" client on {'the ' if placement == SAME_CORE else ''}{placement}",
            ["", "requests", "requests/s", "each", "CPU each", f"{OURS} / it", "connections", "errors", "mixed up"],
            where=placement,
        )
        tables.append(table)
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in PARTS}
        with bench.server(placement, tls=True, http2=True) as peer:
            # That nothing goes wrong in so many requests shows in one long round.
            for _ in range(bench.rounds if bench.quick else 1):
                for name in list(answers):
                    count = total // PARTS[name]
                    task = bench.task(peer, "h2_threads", name, "report", count=count, in_flight=THREADS)
                    deadline_s = CHILD_DEADLINE_S + count * SLOWEST_REQUEST_S
                    answer = bench.attempt(task, table.notes, deadline_s=deadline_s)
                    if answer is None:
                        del answers[name]
                    else:
                        answers[name].append(answer)
        lay_out(table, answers)
        table.draw("requests/s", {name: pace(rounds) for name, rounds in answers.items()})
        judge(table, answers, placement)
    return tables


def pace(answers: list[dict[str, Any]]) -> list[float]:
    """Good answers a second, in each round; a round without any counts as one."""
    return [max(1, answer["good"]) / answer["seconds"] for answer in answers]


def lay_out(table: Table, answers: dict[str, list[dict[str, Any]]]) -> None:
    """A row for each contestant, and what went wrong first."""
    for name, rounds in answers.items():
        rate = statistics.median(pace(rounds))
        good, errors, mixed = (sum(answer[key] for answer in rounds) for key in ("good", "errors", "mixed"))
        cost = statistics.median(answer["cpu_s"] / max(1, answer["good"]) for answer in rounds)
        faster = f"{ratio(pace(answers[OURS]), pace(rounds)):.2f}" if OURS in answers else ""
        most = max(answer["connections"] for answer in rounds)
        row = [f"{good:,}", f"{rate:,.0f}", microseconds(1 / rate), microseconds(cost), faster, str(most)]
        table.rows.append([name, *row, f"{errors:,}", f"{mixed:,}"])
        first = next((answer["first"] for answer in rounds if answer["first"]), "")
        if first:
            table.notes.append(f"The first error of {name}: {first}")


def judge(table: Table, answers: dict[str, list[dict[str, Any]]], placement: str) -> None:
    """The promises: nothing goes wrong, and it is fast."""
    ours = answers.get(OURS)
    if ours is None:
        return
    asked, errors, mixed = (sum(answer[key] for answer in ours) for key in ("asked", "errors", "mixed"))
    most = max(answer["connections"] for answer in ours)
    table.judge(
        f"{OURS}: {asked:,} requests on one connection at a time, no error and no answer mixed up",
        f"{most} connection, {errors} errors, {mixed} mixed up",
        most == 1 and not errors and not mixed,
    )
    theirs = answers.get(THEIRS)
    promise = f"{OURS} ≥ {promises.HTTP2_THREADS_RATE:g} × {THEIRS}"
    if theirs is None:
        table.judge(promise, NOT_MEASURED, None)
        return
    faster = ratio(pace(ours), pace(theirs))
    if placement == promises.HTTP2_THREADS_PLACEMENT:
        table.judge(promise, f"{faster:.2f}", faster >= promises.HTTP2_THREADS_RATE)
    else:
        table.notes.append(f"{promise}, held on {promises.HTTP2_THREADS_PLACEMENT}: here {faster:.2f}.")


def allocations_h2(bench: Bench) -> list[Table]:
    """Allocations of one request of many in flight on one connection, without TLS and with it."""
    table = Table(
        f"allocations_h2: GET, {IN_FLIGHT} in flight on one connection, by memray",
        ["", "system", "bytes", "Python, raw", "bytes", "frames", "bytes", "Python, net", "bytes"],
        notes=[
            "System, Python, frames and net: as in allocations. Over TLS what OpenSSL allocates for each call is among"
            " both the system's and Python's; the promise is held without it, by prior knowledge (RFC 9113 section"
            " 3.3)."
        ],
    )
    drawn: dict[str, Tally] = {}
    for tls in (False, True):
        with bench.server(SAME_CORE, tls=tls, http2=True) as peer:
            names = ("turbosock loop", "pycurl multi", "httpx2+uvloop")
            found = tallied(bench, peer, "h2_multiplexed", names, table.notes, in_flight=IN_FLIGHT)
        for name, own in found.items():
            shown = f"{name}, TLS" if tls else name
            table.rows.append([shown, *cells(own)])
            drawn[shown] = own
        ours = found.get(HTTP2_BUDGET.contestant)
        if ours is not None and not tls:
            judge_budget(table, HTTP2_BUDGET, ours)
    draw_allocations(table, drawn)
    return [table]
