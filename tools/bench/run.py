"""Benchmarks: `run.py WORKLOAD...`, or no argument for all of them.

Each workload starts its server, runs turbosock, its peers and the bare system calls in turn, round after round, each
contestant in a process of its own, and prints medians, ratios against what is promised, and the work done. The exit
status is 1 when a contestant that is installed failed to run; a promise that is not met is printed, not an error.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

# The checkout's own package first of all, and what is beside this file, wherever it is started from.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import bodies  # found so
import environment
import hardening
import http2
import messages
import report
import streams
import tallies
from bench import Bench
from rates import RATES

WORKLOADS: dict[str, Callable[[Bench], list[report.Table]]] = {
    **{rate.name: rate.run for rate in RATES},
    "allocations": tallies.allocations,
    "allocations_tls": tallies.allocations_tls,
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


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description="Benchmarks of turbosock against its peers.")
    parser.add_argument(
        "workloads",
        nargs="*",
        metavar="WORKLOAD",
        help=f"any of {', '.join(WORKLOADS)}; none for all; or places, which lists the lines that allocate",
    )
    parser.add_argument("--rounds", type=int, default=5, help="times that each contestant runs (default 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one run (default 1.0)")
    parser.add_argument("--quick", action="store_true", help="three rounds of 0.2 s, no system calls: to try a change")
    parser.add_argument(
        "--connections", type=int, default=0, help="connections of churn (default 100,000, or 20,000 with --quick)"
    )
    parser.add_argument("--markdown", action="store_true", help="write the tables to docs/benchmarks.md as well")
    options = parser.parse_args()
    for name in options.workloads:
        if name not in WORKLOADS and name not in QUESTIONS:
            parser.error(f"no workload {name!r}; there are {', '.join([*WORKLOADS, *QUESTIONS])}")
    if options.rounds < 1 or not 0.01 <= options.seconds <= 60:
        parser.error("--rounds must be at least 1, and --seconds between 0.01 and 60")
    if options.connections and options.connections < 2000:
        parser.error("--connections must be at least 2000: the first of them are the warm-up")
    rounds, seconds = (3, 0.2) if options.quick else (options.rounds, options.seconds)

    bench = Bench(environment.ensure(), rounds, seconds, options.quick, options.connections)
    lines = report.machine(bench.python, PACKAGES)
    print("\n".join(lines), flush=True)
    tables: list[report.Table] = []
    for name in options.workloads or WORKLOADS:
        for table in (WORKLOADS | QUESTIONS)[name](bench):
            print(f"\n{table.text()}", flush=True)
            tables.append(table)
    if options.markdown:
        command = shlex.join(["python3", "tools/bench/run.py", *sys.argv[1:]])
        (environment.CHECKOUT / "docs" / "benchmarks.md").write_text(report.document(tables, lines, command))
    for failure in bench.failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
