"""`run.py --instructions`: instructions of one operation of each hot workload, by callgrind, beside the kept counts.

Counts, not times: a change of a few percent shows on any machine, however busy. They belong to one build of CPython:
those of several are kept, each under its version and with its compiler; for any other there is `--compare REV`, which
counts a revision's package beside this one's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import environment
from bench import Bench
from promises import OBSERVING
from report import Table

# Those of hot.py, which imports turbosock as it is under the child's clock.
WORKLOADS = (
    "http1_get",
    "http1_stream",
    "http1_loop_100",
    "h2_get",
    "h2_loop_100",
    "h2_download_1mib",
    "ws_echo_32b",
    "ws_echo_1kib",
    "ws_loop_32b",
    "ws_loop_1kib",
    "sse_parse_100b",
    "sse_stream_100b",
    "udp_echo_32b",
    "observed_get",
    "observed_loop_100",
)
KEPT = environment.HERE / "instructions.toml"
ALLOWED = 0.03
PROCESSES = 2
DEADLINE_S = 600.0

MISSING = "valgrind is not installed: apt-get install valgrind"

_HEAD = """\
# Instructions of one operation of each hot workload, by CPython: what `run.py --instructions` compares with, and what
# `run.py --instructions --keep` writes. The counts belong to the build that is named with them.
"""


class Uncounted(Exception):
    """Nothing was counted: what is missing, or what went wrong."""


@dataclass(slots=True)
class Kept:
    """What is kept of one CPython: its compiler, and the count of each workload."""

    build: str
    counts: dict[str, float]


def build() -> str:
    """The build of this CPython, as far as it decides how many instructions it takes."""
    return f"{platform.python_compiler()}, {platform.machine()}"


def read(path: Path) -> dict[str, Kept]:
    """What is kept, by version."""
    kept = {}
    if path.exists():
        for version, entry in tomllib.loads(path.read_text()).items():
            kept[version] = Kept(entry["build"], entry["counts"])
    return kept


def write(path: Path, kept: dict[str, Kept]) -> None:
    """Keep these."""
    lines = [_HEAD]
    for version, one in sorted(kept.items()):
        lines += [f'["{version}"]', f'build = "{one.build}"', f'["{version}".counts]']
        lines += [f"{name} = {count:.0f}" for name, count in one.counts.items()]
        lines.append("")
    path.write_text("\n".join(lines))


def collected(text: str) -> dict[int, int]:
    """Instructions by process in what callgrind says: "==4711== Collected : 2081832616"."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if words[1:3] == ["Collected", ":"]:
            found[int(words[0].strip("="))] = int(words[3])
    return found


def each(said: str, complaint: str) -> dict[str, float]:
    """Instructions of one operation of each workload: the longer run's less the shorter's, by the operations between.

    Args:
        said: what counted.py printed.
        complaint: what callgrind did.
    """
    counts = collected(complaint)
    runs: dict[str, list[tuple[int, int]]] = {}
    for line in said.splitlines():
        pid, name, operations = json.loads(line)
        runs.setdefault(name, []).append((operations, counts[pid]))
    found = {}
    for name, (short, long) in runs.items():
        found[name] = (long[1] - short[1]) / (long[0] - short[0])
    return found


def count(names: list[str], checkout: Path) -> dict[str, float]:
    """Instructions of one operation of each workload, with the package of a checkout.

    Raises:
        Uncounted: a workload failed, or callgrind did.
    """
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}", sys.executable]
    command += [os.fspath(environment.HERE / "counted.py"), *names]
    # Nobody compiles what is imported, and nobody writes: else the first to import something would be counted for it.
    variables = {**environment.variables(checkout), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    # In a directory of its own: whatever stands about where it is started is not its business.
    with tempfile.TemporaryDirectory() as directory:
        try:
            done = subprocess.run(
                command, cwd=directory, env=variables, capture_output=True, text=True, timeout=DEADLINE_S
            )
        except subprocess.TimeoutExpired:
            raise Uncounted(f"{', '.join(names)}: no end after {DEADLINE_S:g} s") from None
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line and not line.startswith("==")]
        raise Uncounted(told[-1] if told else f"valgrind ended with status {done.returncode}")
    return each(done.stdout, done.stderr)


def count_all(names: list[str], checkout: Path) -> dict[str, float]:
    """The same, PROCESSES at a time, in the order of the names."""
    compiled = [os.fspath(checkout / "turbosock"), os.fspath(environment.HERE)]
    subprocess.run([sys.executable, "-m", "compileall", "-q", *compiled], check=False)
    shares = [share for share in (names[start::PROCESSES] for start in range(PROCESSES)) if share]
    with ThreadPoolExecutor(PROCESSES) as pool:
        found: dict[str, float] = {}
        for some in pool.map(lambda share: count(share, checkout), shares):
            found |= some
    return {name: found[name] for name in names}


def table_of(counts: dict[str, float], others: dict[str, float], other: str) -> tuple[Table, list[str]]:
    """The counts beside others, which are called `other`; and the workloads that take too many more."""
    table = Table(
        f"instructions of one operation, CPython {platform.python_version()}", ["", "now", other, "difference"]
    )
    over = []
    for name, found in counts.items():
        before = others.get(name)
        if not before:
            table.rows.append([name, f"{found:,.0f}", "", ""])
            continue
        difference = found / before - 1
        table.rows.append([name, f"{found:,.0f}", f"{before:,.0f}", f"{difference:+.2%}"])
        if difference > ALLOWED:
            over.append(name)
    return table, over


def run(names: list[str], *, keep: bool, other: Path | None = None, revision: str = "") -> int:
    """Count and compare; the exit status.

    Args:
        names: the workloads.
        keep: whether the counts are kept from now on.
        other: a checkout to compare with; None: with the counts that are kept.
        revision: its name.
    """
    if shutil.which("valgrind") is None:
        print(MISSING, file=sys.stderr)
        return 2
    try:
        counts = count_all(names, environment.CHECKOUT)
        others = {} if other is None else count_all(names, other)
    except Uncounted as failed:
        print(f"failed: {failed}", file=sys.stderr)
        return 1
    version, kept = platform.python_version(), read(KEPT)
    notes = []
    if other is None:
        mine = kept.get(version)
        if mine is not None and mine.build == build():
            others = mine.counts
        else:
            notes.append(f"No counts are kept for CPython {version} by {build()}: --compare REV compares revisions.")
    table, over = table_of(counts, others, revision or "kept")
    table.notes += notes
    print(table.text())
    if keep:
        before = kept[version].counts if version in kept and kept[version].build == build() else {}
        kept[version] = Kept(build(), {**before, **counts})
        write(KEPT, kept)
        return 0
    for name in over:
        said = f"over: {name} takes more than {ALLOWED:.0%} more instructions than {revision or 'is kept'}"
        print(said, file=sys.stderr)
    return 1 if over else 0


def observability(bench: Bench) -> list[Table]:
    """What it takes to have requests counted, in instructions."""
    table = Table("observability: instructions of one GET, counted and not", ["", "off", "on", "difference"])
    pairs = {"turbosock get": ("http1_get", "observed_get"), "turbosock loop": ("http1_loop_100", "observed_loop_100")}
    try:
        if shutil.which("valgrind") is None:
            raise Uncounted(MISSING)
        counts = count_all([name for pair in pairs.values() for name in pair], environment.CHECKOUT)
    except Uncounted as failed:
        table.notes.append(f"Not measured: {failed}.")
        bench.failures.append(f"observability: {failed}")
        return [table]
    for face, (off, on) in pairs.items():
        more = counts[on] / counts[off] - 1
        table.rows.append([face, f"{counts[off]:,.0f}", f"{counts[on]:,.0f}", f"{more:+.2%}"])
        table.judge(f"{face}: on < {OBSERVING:.0%} more than off", f"{more:+.2%}", more < OBSERVING)
    bars = {
        f"{face}, {how}": [counts[name]]
        for face, pair in pairs.items()
        for how, name in zip(("off", "on"), pair, strict=True)
    }
    table.draw("instructions", bars)
    return [table]
