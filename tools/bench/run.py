"""Benchmarks: `run.py WORKLOAD...`, or no argument for all of them.

Each workload starts its server, runs turbosock, its peers and the bare system calls in turn, round after round, each
contestant in a process of its own, and prints medians, ratios against what is promised, and the work done. The exit
status is 1 when a contestant that is installed failed to run; a promise that is not met is printed, not an error.

    run.py --keep [WORKLOAD...]       the same, and keep what was found (see results.py)
    run.py --report                   run nothing: render docs/benchmarks.md and its plots from what is kept
    run.py --compare REV WORKLOAD...  turbosock's own contestants with this checkout's package and a revision's, in turn
    run.py --instructions             count instructions instead of time, beside the counts that are kept (see
                                      instructions.py); with --keep keep these, with --compare count a revision's, too
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# The checkout's own package first of all, and what is beside this file, wherever it is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import bodies  # found so
import compare
import environment
import hardening
import http2
import instructions
import messages
import report
import results
import scoreboard
import streams
import tallies
from bench import Bench
from rates import RATES
from scales import SCALES

WORKLOADS: dict[str, Callable[[Bench], list[report.Table]]] = {
    **{rate.name: rate.run for rate in RATES},
    "allocations": tallies.allocations,
    "allocations_tls": tallies.allocations_tls,
    "allocations_neighbours": tallies.allocations_neighbours,
    "allocations_loop": tallies.allocations_loop,
    "allocations_h2": http2.allocations_h2,
    "h2_threads": http2.h2_threads,
    "growth": tallies.growth,
    "import_time": tallies.import_time,
    "gzip_download": bodies.gzip_download,
    "large_body": bodies.large_body,
    "mock_pipeline": hardening.mock_pipeline,
    "concurrent_10000": hardening.concurrent_10000,
    "acquire": hardening.acquire,
    "pool_contention": hardening.pool_contention,
    "churn": hardening.churn,
    "sse_parse": streams.sse_parse,
    "sse_stream": streams.sse_stream,
    "sse_latency": streams.sse_latency,
    "sse_sessions": streams.sse_sessions,
    "sse_reconnect": streams.sse_reconnect,
    "ws_echo": messages.ws_echo,
    "ws_fanin": messages.ws_fanin,
    "ws_broadcast": messages.ws_broadcast,
    "tick_latency": messages.tick_latency,
    "udp_echo": messages.udp_echo,
    "allocations_ws": messages.allocations_ws,
    "memory_ws_idle": messages.memory_ws_idle,
    "observability": instructions.observability,
    **{scale.name: scale.run for scale in SCALES},
}

# Workloads that answer a question instead of measuring: run by name only.
QUESTIONS: dict[str, Callable[[Bench], list[report.Table]]] = {"places": tallies.places}

PACKAGES = [
    "pycurl",
    "urllib3",
    "requests",
    "httpx",
    "httpx-sse",
    "httpx2",
    "aiohttp",
    "uvloop",
    "pyOpenSSL",
    "websockets",
    "websocket-client",
    "picows",
    "numpy",
    "memray",
]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Benchmarks of turbosock against its peers.")
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"any of {', '.join(WORKLOADS)}; none for all; places, which lists the lines that allocate; or with"
        f" --instructions any of {', '.join(instructions.WORKLOADS)}",
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each contestant runs (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one run (default 1.0)")
    parser.add_argument("--quick", action="store_true", help="three rounds of 0.2 s, no system calls: to try a change")
    parser.add_argument(
        "--connections", type=int, default=0, help="connections of churn (default 100,000, or 20,000 with --quick)"
    )
    parser.add_argument(
        "--keep", action="store_true",
        help="keep what was found, in docs/benchmarks/results.json, or with --instructions in instructions.toml",
    )  # fmt: skip
    parser.add_argument(
        "--report", action="store_true", help="render docs/benchmarks.md and its plots, and run nothing"
    )
    parser.add_argument("--compare", metavar="REV", default="", help="run a revision's package beside this checkout's")
    parser.add_argument("--instructions", action="store_true", help="count instructions under valgrind's callgrind")
    return parser


def main() -> int:
    """Run what the command line names."""
    options = parser().parse_args()
    if options.report:
        if options.workloads or options.keep or options.compare or options.instructions:
            refuse("--report runs nothing, and stands alone: --keep WORKLOAD... measures what it shows")
        kept = results.load()
        if not kept:
            refuse(f"--report: nothing is kept in {results.STORE}; --keep WORKLOAD... does that")
        scoreboard.write(kept)
        return 0
    if options.keep and options.compare:
        refuse("--keep and --compare do not go together: what is kept is this checkout's alone")
    known = instructions.WORKLOADS if options.instructions else [*WORKLOADS, *QUESTIONS]
    for name in options.workloads:
        if name not in known:
            refuse(f"no workload {name!r}; there are {', '.join(known)}")
    if options.rounds < 1 or not 0.01 <= options.seconds <= 60:
        refuse("--rounds must be at least 1, and --seconds between 0.01 and 60")
    if options.connections and options.connections < 2000:
        refuse("--connections must be at least 2000: the first of them are the warm-up")
    try:
        if options.instructions:
            return count(options)
        if options.compare:
            return run_in_turn(options)
    except compare.NoRevision as missing:
        refuse(str(missing))
    return run(options)


def refuse(complaint: str) -> NoReturn:
    """End with one line, and exit status 2."""
    parser().error(complaint)


def lengths(options: argparse.Namespace) -> tuple[int, float]:
    """How many rounds, of how many seconds."""
    return (3, 0.2) if options.quick else (options.rounds, options.seconds)


def run(options: argparse.Namespace) -> int:
    """Run workloads, print them, and keep them where that is asked for."""
    bench = Bench(environment.ensure(), *lengths(options), options.quick, options.connections)
    machine = report.machine(bench.python, PACKAGES)
    print("\n".join(machine), flush=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in options.workloads or WORKLOADS:
        start = time.monotonic()
        tables = (WORKLOADS | QUESTIONS)[name](bench)
        for table in tables:
            print(f"\n{table.text()}", flush=True)
        print(f"\n{name} took {time.monotonic() - start:.0f} s", flush=True)
        if options.keep and name in WORKLOADS:
            # One by one: what was measured is kept, whatever becomes of the others.
            kept = results.load()
            kept.setdefault(version, {})[name] = results.result_of(tables, command_of(options, name), machine)
            results.save(kept)
    return said(bench)


def said(bench: Bench) -> int:
    """The exit status, when what failed was said."""
    for failure in bench.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


def command_of(options: argparse.Namespace, name: str) -> str:
    """The command line that repeats one workload as it was run."""
    rounds, seconds = lengths(options)
    how = ["--quick"] if options.quick else ["--rounds", str(rounds), "--seconds", f"{seconds:g}"]
    if options.connections and name == "churn":
        how += ["--connections", str(options.connections)]
    return shlex.join(["python3", "tools/bench/run.py", *how, name])


def run_in_turn(options: argparse.Namespace) -> int:
    """Run workloads with two revisions."""
    with compare.checkout_of(options.compare) as other:
        bench = compare.CompareBench(environment.ensure(), *lengths(options), options.quick, other=other)
        # What a workload finds by the clock is all that is wanted: no system calls, whatever was asked for.
        bench.quick = True
        for name in options.workloads or [rate.name for rate in RATES]:
            WORKLOADS[name](bench)
        print(bench.table(options.compare).text())
    return said(bench)


def count(options: argparse.Namespace) -> int:
    """Count instructions."""
    names = options.workloads or list(instructions.WORKLOADS)
    if not options.compare:
        return instructions.run(names, keep=options.keep)
    with compare.checkout_of(options.compare) as other:
        return instructions.run(names, keep=False, other=other, revision=options.compare)


if __name__ == "__main__":
    sys.exit(main())
