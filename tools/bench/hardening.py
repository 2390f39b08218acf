"""Workloads of pools, limits and lifecycle: what a request costs on its way, what many of them hold, what is left."""

from __future__ import annotations

import statistics

import promises
from bench import CHILD_DEADLINE_S, CLIENT_CORE, Bench
from promises import SAME_CORE
from rates import microseconds
from report import Notes, Table
from tallies import Tally, tally
from task import Task

FACES = ("turbosock get", "turbosock stream", "turbosock loop")
PIPELINE_IN_FLIGHT = 100

MEMORY_REQUESTS = 10_000
SOCKET_REQUESTS = 5_000

TAKES = 2_000
THREADS = 64
# Handshakes are dear: over TLS a part of the connections.
TLS_CHURN_PART = 10
# A connection under trace on a busy machine takes no longer than this, on average.
SLOWEST_CHURN_S = 0.01


def nowhere(
    bench: Bench, workload: str, contestant: str, measure: str = "time", *, count: int = 0, in_flight: int = 1
) -> Task:
    """A task that needs no server."""
    return Task(workload, contestant, measure, "127.0.0.1", 0, bench.seconds, count, in_flight, CLIENT_CORE)


def mock_pipeline(bench: Bench) -> list[Table]:
    """Requests a second through everything but a network, with a chain of middleware and without, and what it adds."""
    names = [name for face in FACES for name in (face, f"{face}, chain")]
    table = Table(
        f"mock_pipeline: GET through middleware, limiter and pool, the peer in memory; the loop has"
        f" {PIPELINE_IN_FLIGHT} in flight",
        ["", "requests/s", "each", "the chain adds", "Python bytes, raw", "net of frames", "system bytes"],
        notes=[
            "chain: a timeline recorder, a concurrency limit, a rate limit and a default header. Bytes: what one"
            " request allocates by memray, Python's allocators included, less the empty loop; frames are the objects"
            " that tracing itself makes of Python calls. The peer's own are among them."
        ],
    )
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(bench.rounds):
        for name in names:
            task = nowhere(bench, "mock_pipeline", name, in_flight=PIPELINE_IN_FLIGHT)
            answer = bench.attempt(task, table.notes)
            if answer is not None:
                seconds[name].append(answer["seconds"] / answer["count"])
    if not all(len(each) == bench.rounds for each in seconds.values()):
        return [table]
    bytes_of = pipeline_bytes(bench, names, table.notes)
    for name in names:
        each = statistics.median(seconds[name])
        plain = name.removesuffix(", chain")
        added = "" if plain == name else microseconds(added_s(seconds[name], seconds[plain]))
        own = bytes_of.get(name)
        sizes = ["", "", ""] if own is None else [own.python_bytes, own.net[1], own.system_bytes]
        shown = [size if isinstance(size, str) else f"{size:,.0f}" for size in sizes]
        table.rows.append([name, f"{1 / each:,.0f}", microseconds(each), added, *shown])
    table.draw("requests/s", {name: [1 / each for each in seconds[name]] for name in names})
    for name in names:
        if name.endswith(", chain"):
            judge_pipeline(table, name, seconds, bytes_of.get(name))
    return [table]


def added_s(with_chain: list[float], without: list[float]) -> float:
    """The median of the rounds' differences."""
    return statistics.median(more - less for more, less in zip(with_chain, without, strict=True))


def pipeline_bytes(bench: Bench, names: list[str], notes: Notes) -> dict[str, Tally]:
    """What one request of each allocates."""
    count = 100 if bench.quick else 500
    found: dict[str, Tally] = {}
    empty = None
    for name in ("empty", *names):
        task = nowhere(bench, "mock_pipeline", name, "allocations", count=count, in_flight=PIPELINE_IN_FLIGHT)
        whole = bench.attempt(task, notes)
        if name == "empty":
            empty = whole
        elif whole is not None and empty is not None:
            found[name] = tally(whole, empty)
    return found


def judge_pipeline(table: Table, name: str, seconds: dict[str, list[float]], own: Tally | None) -> None:
    """The promises of one face."""
    rate = 1 / statistics.median(seconds[name])
    added = added_s(seconds[name], seconds[name.removesuffix(", chain")])
    table.judge(
        f"{name} ≥ {promises.PIPELINE_RATE:,} requests/s on one core", f"{rate:,.0f}", rate >= promises.PIPELINE_RATE
    )
    table.judge(
        f"{name}: the chain adds < {promises.PIPELINE_ADDED_S * 1e6:g} µs",
        f"{added * 1e6:.1f} µs",
        added < promises.PIPELINE_ADDED_S,
    )
    if own is not None:
        for what, size in (("frames included", own.python_bytes), ("net of frames", own.net[1])):
            table.judge(
                f"{name}: < {promises.PIPELINE_BYTES:,} bytes allocated a request, {what}",
                f"{size:,.0f}",
                size < promises.PIPELINE_BYTES,
            )


STATES = {
    "waiting": "request sent, no answer",
    "answering": "a part of a head has come",
    "idle": "answered, kept",
}


def concurrent_10000(bench: Bench) -> list[Table]:
    """Thousands of requests under way at once in one Loop: that all end well, and what a connection holds meanwhile."""
    tables = []
    for contestant, where, whole in (
        ("memory", "in memory", MEMORY_REQUESTS),
        ("sockets", "on loopback sockets", SOCKET_REQUESTS),
    ):
        count = whole // 10 if bench.quick else whole
        table = Table(
            f"concurrent_10000: {count:,} requests at once in one Loop, the peers {where}",
            ["each connection", "traced bytes", "resident bytes"],
        )
        tables.append(table)
        task = nowhere(bench, "concurrent_10000", contestant, "report", count=count)
        answer = bench.attempt(task, table.notes)
        if answer is None:
            continue
        for state, words in STATES.items():
            sizes = [f"{answer[kind][state]:,.0f}" for kind in ("traced", "resident")]
            table.rows.append([words, *sizes])
        table.draw("traced bytes of one connection", {words: [answer["traced"][key]] for key, words in STATES.items()})
        resident = answer["resident"]
        table.notes.append(
            "Traced: what Python allocated, to the byte. Resident: pages of the process; a ring's that were never"
            f" written are not among them. {resident['seconds']:.2f} s in all. What stands in for the kernel's part and"
            f" the peer of a connection in memory is {answer['peer']:,.0f} bytes of it, and not ours."
        )
        table.judge(f"all {count:,} complete", f"{resident['open']:,.0f} connections were open", True)
        for words, states, bound in (
            ("an active connection", ("waiting", "answering"), promises.ACTIVE_BYTES),
            ("an idle connection", ("idle",), promises.IDLE_BYTES),
        ):
            most = max(answer["traced"][state] for state in states) - answer["peer"]
            table.judge(f"< {bound // 1024} KiB {words}, {where}", f"{most / 1024:.1f} KiB", most < bound)
    return tables


TAKEN = {
    "taken": "ready",
    "taken after a look": "asked",
    "dialled, resumed": "resumed",
    "dialled, full": "full",
}


def acquire(bench: Bench) -> list[Table]:
    """The time to take a ready https connection out of the pool, against the time to dial one."""
    tables = []
    for placement in bench.placements():
        table = Table(
            f"acquire: an https connection; server and client on {'the ' if placement == SAME_CORE else ''}{placement}",
            ["", "median", "dialled, resumed / it", "dialled, full / it"],
            where=placement,
            notes=[
                "Taken: a ready one, within a millisecond of its use. Taken after a look: later, when one system call"
                " asks whether its peer has closed, as of every prewarmed one. Dialled: TCP and the TLS handshake."
            ],
        )
        tables.append(table)
        rounds: list[dict[str, float]] = []
        with bench.server(placement, tls=True) as peer:
            for _ in range(bench.rounds):
                count = TAKES // 10 if bench.quick else TAKES
                answer = bench.attempt(bench.task(peer, "acquire", "turbosock", "report", count=count), table.notes)
                if answer is not None:
                    rounds.append(answer)
        if not rounds:
            continue
        for name, key in TAKEN.items():
            shown = [f"{times(rounds, other, key):,.1f}" for other in ("resumed", "full")]
            table.rows.append([name, f"{statistics.median(each[key] for each in rounds):,.0f} ns", *shown])
        bars = {name: [each[key] / 1e3 for each in rounds] for name, key in TAKEN.items()}
        table.draw("µs, logarithmic", bars, logarithmic=True)
        for name, key in (("taken", "ready"), ("taken after a look", "asked")):
            for other in ("resumed", "full"):
                sooner = times(rounds, other, key)
                table.judge(
                    f"{name} ≥ {promises.ACQUIRE_SOONER:,} × sooner than dialled, {other}",
                    f"{sooner:,.0f}",
                    sooner >= promises.ACQUIRE_SOONER,
                )
    return tables


def times(rounds: list[dict[str, float]], slow: str, fast: str) -> float:
    """How many times longer `slow` takes than `fast`: the median of the rounds."""
    return statistics.median(each[slow] / each[fast] for each in rounds)


def pool_contention(bench: Bench) -> list[Table]:
    """Threads that share a few connections: whether one of them is left behind."""
    tables = []
    for placement in bench.placements():
        table = Table(
            f"pool_contention: {THREADS} threads on 8 connections of one Client; server and client on"
            f" {'the ' if placement == SAME_CORE else ''}{placement}",
            ["round", "requests/s", "connections", "mean", "slowest", "fastest", "slowest / mean"],
            where=placement,
        )
        tables.append(table)
        fractions = []
        with bench.server(placement) as peer:
            for number in range(1, bench.rounds + 1):
                task = bench.task(peer, "pool_contention", "turbosock", "report", in_flight=THREADS)
                answer = bench.attempt(task, table.notes)
                if answer is None:
                    continue
                counts = answer["counts"]
                mean = statistics.mean(counts)
                fractions.append(min(counts) / mean if mean else 0.0)
                rate = sum(counts) / answer["seconds"]
                row = [f"{rate:,.0f}", f"{answer['connections']}", f"{mean:,.1f}", f"{min(counts):,}"]
                table.rows.append([str(number), *row, f"{max(counts):,}", f"{fractions[-1]:.2f}"])
        if fractions:
            least = min(fractions)
            table.judge(
                f"the slowest thread does ≥ {promises.FAIR_SHARE:g} × the mean, in every round",
                f"{least:.2f}",
                least >= promises.FAIR_SHARE,
            )
            table.draw("requests of the slowest thread, of the mean of all", {"slowest / mean": fractions})
    return tables


def churn(bench: Bench) -> list[Table]:
    """Connections opened and closed: what of descriptors and memory is still held afterwards."""
    connections = bench.connections or (20_000 if bench.quick else 100_000)
    table = Table(
        "churn: a new connection for each request",
        ["", "connections", "descriptors before", "after", "traced bytes", "blocks", "resident bytes", "each"],
        notes=["Held after all of them beyond what was held after 1,000. Half of them were traced, at their pace."],
    )
    paces: dict[str, list[float]] = {}
    for contestant, tls in (("turbosock get", False), ("turbosock loop", False), ("turbosock get", True)):
        count = connections // (TLS_CHURN_PART if tls else 1)
        name = f"{contestant}, https" if tls else contestant
        with bench.server(SAME_CORE, tls=tls) as peer:
            task = bench.task(peer, "churn", contestant, "report", count=count)
            answer = bench.attempt(task, table.notes, deadline_s=CHILD_DEADLINE_S + count * SLOWEST_CHURN_S)
        if answer is None:
            continue
        sizes = [f"{answer[key]:,.0f}" for key in ("traced", "blocks", "resident")]
        pace = microseconds(answer["seconds"] / (count // 2))
        table.rows.append([name, f"{count:,}", f"{answer['before']}", f"{answer['after']}", *sizes, pace])
        a_connection = answer["traced"] / (count // 2)
        met = (
            answer["after"] == answer["before"]
            and a_connection < promises.CHURN_BYTES
            and answer["resident"] < promises.CHURN_RESIDENT_BYTES
        )
        table.judge(
            f"{name}: descriptors and memory end where they began, to < {promises.CHURN_BYTES:g} traced byte a"
            f" connection and {promises.CHURN_RESIDENT_BYTES // 1024**2} MiB of the process",
            f"{answer['after'] - answer['before']:+d} descriptors, {a_connection:.2f} bytes,"
            f" {answer['resident'] / 1024**2:.1f} MiB",
            met,
        )
        paces[name] = [answer["seconds"] / (count // 2) * 1e6]
    table.draw("µs a connection, traced", paces)
    return [table]
