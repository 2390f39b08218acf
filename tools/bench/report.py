"""Tables: made once, printed for a terminal or written as Markdown."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Table:
    """A title, columns, rows of text, and notes under them."""

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The table for a terminal: the first column to the left, the others to the right."""
        widths = [max(len(row[i]) for row in [self.columns, *self.rows]) for i in range(len(self.columns))]
        lines = [self.title]
        for row in [self.columns, ["-" * width for width in widths], *self.rows]:
            cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
        return "\n".join([*lines, *self.notes])

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [f"### {self.title}", ""]
        alignments = ["---", *["---:"] * (len(self.columns) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in [self.columns, alignments, *self.rows]]
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines)


def verdict(met: bool) -> str:
    """The word for a promise."""
    return "met" if met else "NOT MET"


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


def document(tables: list[Table], lines: list[str], command: str) -> str:
    """docs/benchmarks.md: what was measured, on what, when, and how to repeat it."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    parts = [
        "# Benchmarks",
        "",
        "Figures belong to one machine and one hour; the ratios between contestants of one run are what lasts. All of",
        "a table's contestants ran in turn, round after round, each in a process of its own; a figure is the median of",
        "its rounds, and a ratio the median of the rounds' ratios. How they are made: `tools/bench/`.",
        "",
        f"Measured on {today} by `{command}`:",
        "",
        *[f"- {line}" for line in lines],
    ]
    for table in tables:
        parts += ["", table.markdown()]
    return "\n".join(parts) + "\n"
