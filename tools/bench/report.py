"""Tables: made once, printed for a terminal or written as Markdown; the verdicts in them, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from charts import Chart


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a promise: its words, the figure, and whether it is met; None where it was not measured."""

    promise: str
    figure: str
    met: bool | None

    def __str__(self) -> str:
        word = {True: ", met", False: ", NOT MET", None: ""}[self.met]
        return f"Promise: {self.promise}: {self.figure}{word}."


Notes = list[str | Verdict]


@dataclass(slots=True)
class Table:
    """A title, columns, rows of text; notes and verdicts under them; and the figures that are to be drawn.

    Attributes:
        where: under which condition its verdicts hold, where the title's are not all of one kind: a placement, say.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: Notes = field(default_factory=list)
    chart: Chart | None = None
    where: str = ""

    def judge(self, promise: str, figure: str, met: bool | None) -> None:
        """Add a verdict."""
        self.notes.append(Verdict(promise, figure, met))

    def draw(self, axis: str, bars: dict[str, list[float]], *, logarithmic: bool = False) -> None:
        """Have bars drawn: of each contestant its rounds' figures, in the unit that the axis names."""
        self.chart = Chart(axis, {name: values for name, values in bars.items() if values}, logarithmic=logarithmic)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts among the notes."""
        return [note for note in self.notes if isinstance(note, Verdict)]

    def text(self) -> str:
        """The table for a terminal: the first column to the left, the others to the right."""
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]
        lines = [self.title]
        for row in [self.columns, ["-" * width for width in widths], *self.rows]:
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
        return "\n".join([*lines, *map(str, self.notes)])

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"**{self.title}**", ""]
        alignments = ["---", *["---:"] * (len(self.columns) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in [self.columns, alignments, *self.rows]]
        for note in self.notes:
            lines += ["", str(note)]
        return "\n".join(lines)


# In a verdict's place, where a contestant was missing.
NOT_MEASURED = "not measured"


def spread(values: list[float]) -> str:
    """How far the rounds lie apart: half of the distance between the least and the most, of their median."""
    return f"±{(max(values) - min(values)) / 2 / statistics.median(values):.0%}" if len(values) > 1 else ""


def processor() -> str:
    """The processor's name as the system gives it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def version_of(command: list[str]) -> str:
    """The first line that a program says about its version; empty where it is missing."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError:
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


def machine(python: Path, packages: list[str]) -> list[str]:
    """Lines that name what the figures were measured on, `python` being the contestants' interpreter."""
    script = (
        "import importlib.metadata as m, platform, ssl, sys\n"
        "print('Python', platform.python_version())\n"
        "print(ssl.OPENSSL_VERSION)\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(name, m.version(name))\n"
        "    except m.PackageNotFoundError: print(name, 'missing')\n"
    )
    said = subprocess.run([os.fspath(python), "-c", script, *packages], capture_output=True, text=True, check=True)
    nginx = version_of(["nginx", "-v"]).removeprefix("nginx version: ")
    wrk = " ".join(version_of(["wrk", "-v"]).split()[:2])
    h2load = version_of(["h2load", "--version"])
    return [
        f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        ", ".join([*said.stdout.split("\n")[:-1], *[name for name in (nginx, wrk, h2load) if name]]),
    ]
