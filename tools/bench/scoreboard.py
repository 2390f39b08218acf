"""docs/benchmarks.md and its plots, out of the results that are kept: nothing is measured here."""

from __future__ import annotations

from pathlib import Path

import environment
from charts import drawing
from promises import PROMISED
from report import Table
from results import Result, Results

PAGE = environment.CHECKOUT / "docs" / "benchmarks.md"
NOT_RUN = "not run"

INTRODUCTION = """\
# Benchmarks

Figures belong to one machine and one hour; the ratios between contestants of one run are what lasts. All of a table's
contestants ran in turn, round after round, each in a process of its own; a figure is the median of its rounds, a ratio
the median of the rounds' ratios, and the spread half of the distance between the least and the most of the rounds. In
the plots a whisker goes from the one to the other. Each workload says when, on which machine and by which command it
was measured. How they are made, and how to measure for yourself: [Measure](how-to/measure.md).

This page and its plots are rendered by `python3 tools/bench/run.py --report` from
[the results that are kept](benchmarks/results.json)."""


def write(results: Results, page: Path = PAGE) -> None:
    """Write the page, and the plots into the directory beside it."""
    directory = page.with_suffix("")
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.svg"):
        old.unlink()
    for name in workloads(results):
        drawn = drawn_of(shown(results, name)[1].tables)
        if drawn:
            (directory / f"{name}.svg").write_text(drawing(drawn))
    page.write_text(document(results))


def drawn_of(tables: list[Table]) -> list[tuple[str, object]]:
    """(title, chart) of the tables that are drawn."""
    return [
        (each.title, each.chart) for each in tables if each.chart is not None and (each.chart.bars or each.chart.lines)
    ]


def workloads(results: Results) -> list[str]:
    """The workloads that have results: those with promises first, in their order."""
    there = {name for own in results.values() for name in own}
    return [*[name for name in PROMISED if name in there], *sorted(there - PROMISED.keys())]


def shown(results: Results, name: str) -> tuple[str, Result]:
    """(version, result) whose tables the page has: those of the oldest CPython that it was measured with."""
    return next((version, results[version][name]) for version in versions(results) if name in results[version])


def versions(results: Results) -> list[str]:
    """The CPython versions in their order."""
    return sorted(results, key=lambda version: tuple(map(int, version.split("."))))


def document(results: Results) -> str:
    """The page."""
    machines = list(dict.fromkeys(each.machine for version in versions(results) for each in results[version].values()))
    parts = [INTRODUCTION, "## Promises", tally(results), board(results), "## Machines"]
    parts += [f"{number}. {machine}" for number, machine in enumerate(machines, 1)] or ["Nothing was run."]
    parts.append("## Workloads")
    for name in workloads(results):
        version, result = shown(results, name)
        where = machines.index(result.machine) + 1
        parts += [f"### {name}", f"CPython {version}, {result.date} UTC, machine {where}: `{result.command}`"]
        if drawn_of(result.tables):
            parts.append(f"![{name}](benchmarks/{name}.svg)")
        parts += [each.markdown() for each in result.tables]
    return "\n\n".join(parts) + "\n"


def figures(result: Result) -> dict[str, str]:
    """What is said of each promise, by its words."""
    said = {}
    for each in result.tables:
        for verdict in each.verdicts:
            words = f"{verdict.promise}, {each.where}" if each.where else verdict.promise
            word = {True: ", met", False: ", **NOT MET**", None: ""}[verdict.met]
            said[words] = f"{verdict.figure}{word}"
    return said


def board(results: Results) -> str:
    """Every promise with its figure by each CPython, met or not."""
    there = versions(results) or [""]
    lines = ["| workload | promise |" + "".join(f" {version} |" for version in there)]
    lines.append("| --- | --- |" + " ---: |" * len(there))
    for name, promised in PROMISED.items():
        found = {version: figures(results[version][name]) for version in there if name in results.get(version, {})}
        rows = dict.fromkeys(words for own in found.values() for words in own) or {promised: None}
        # Which has its tables below, where there are any.
        linked = f"[`{name}`](#{name})" if found else f"`{name}`"
        for words in rows:
            cells = [found.get(version, {}).get(words, NOT_RUN) for version in there]
            lines.append(f"| {linked} | {words} | {' | '.join(cells)} |")
    return "\n".join(lines)


def tally(results: Results) -> str:
    """How many are met, a line for each CPython."""
    lines = []
    for version in versions(results):
        told = [
            verdict.met
            for name, each in results[version].items()
            for table in each.tables
            for verdict in table.verdicts
        ]
        missing = sum(name not in results[version] for name in PROMISED)
        line = f"- CPython {version}: {told.count(True)} met, {told.count(False)} not met"
        if told.count(None):
            line += f", {told.count(None)} not measured"
        lines.append(f"{line}; workloads {NOT_RUN}: {missing}." if missing else f"{line}.")
    return "\n".join(lines) or f"All of them: {NOT_RUN}."
