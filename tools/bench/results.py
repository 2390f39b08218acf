"""The raw results that are kept: docs/benchmarks/results.json, from which the scoreboard is rendered.

By CPython version and workload, each with its date, its command and the machine it was measured on: running a workload
replaces its own, and leaves the others alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any

import environment
from charts import Chart, Point
from report import Notes, Table, Verdict

STORE = environment.CHECKOUT / "docs" / "benchmarks" / "results.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """One workload's last run.

    Attributes:
        date: when, in UTC.
        command: what repeats it.
        machine: what it ran on, and the versions of all that took part.
        tables: what came of it.
    """

    date: str
    command: str
    machine: str
    tables: list[Table]


# By version of CPython, as "3.11"; then by workload.
Results = dict[str, dict[str, Result]]


def result_of(tables: list[Table], command: str, machine: list[str]) -> Result:
    """A result of this moment."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")
    return Result(now, command, "; ".join(machine), tables)


def load(path: Path = STORE) -> Results:
    """All that is kept."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text())
    return {
        version: {
            name: Result(**{**told, "tables": [table(each) for each in told["tables"]]}) for name, told in own.items()
        }
        for version, own in kept.items()
    }


def save(results: Results, path: Path = STORE) -> None:
    """Keep these; a file half written is none."""
    versions = []
    for version, own in sorted(results.items()):
        # A line for each workload, so that a new run of one changes one line.
        lines = [
            f"{json.dumps(name)}: {json.dumps(dataclasses.asdict(own[name]), ensure_ascii=False)}"
            for name in sorted(own)
        ]
        versions.append(json.dumps(version) + ": {\n" + ",\n".join(lines) + "\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text("{\n" + ",\n".join(versions) + "\n}\n")
    fresh.replace(path)


def table(told: dict[str, Any]) -> Table:
    """A table as `save()` wrote it."""
    notes: Notes = [note if isinstance(note, str) else Verdict(**note) for note in told["notes"]]
    chart = None
    if told["chart"] is not None:
        lines = {name: [Point(*point) for point in line] for name, line in told["chart"]["lines"].items()}
        chart = Chart(**{**told["chart"], "lines": lines})
    return Table(**{**told, "notes": notes, "chart": chart})
