#!/usr/bin/env python3
"""Write docs/reference/limits.md from turbosock/limits.py: every bound, its value and its reason.

    python3 tools/limits_table.py            # prints the page
    python3 tools/limits_table.py --write    # writes it

The file is read as text for its comments and imported for its values. A comment of one line between empty ones begins a
section; any other is the reason of the assignments below it, up to the next comment.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "turbosock" / "limits.py"
PAGE = ROOT / "docs" / "reference" / "limits.md"

ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*) = ")
UNITS = frozenset(("KIB", "MIB"))

INTRODUCTION = """\
# Limits

Every bound of turbosock, with its reason. This page is written by `tools/limits_table.py` from `turbosock/limits.py`;
a test compares the two. Many are defaults of settings: see [Config](api.md#config) and
[Loop.listen](api.md#loop). A bound that is reached raises an error that names it, or pushes back on the peer; nothing
grows without one.
"""


class Bound(NamedTuple):
    """One line of the table."""

    name: str
    value: str
    reason: str


def load(source: Path) -> ModuleType:
    """The module of limits, without importing the package around it."""
    spec = importlib.util.spec_from_file_location("limits", source)
    assert spec is not None and spec.loader is not None, "a Python file can be loaded"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sections(text: str, values: ModuleType) -> dict[str, list[Bound]]:
    """The bounds by section, in the order of the file."""
    found: dict[str, list[Bound]] = {}
    section: list[Bound] = []
    reason: list[str] = []
    after_assignment = False
    lines = ["", *text.splitlines(), ""]
    for before, line, after in zip(lines, lines[1:], lines[2:], strict=False):
        if line.startswith("# ") and not before and not after:
            section = found.setdefault(line[2:], [])
            reason = []
        elif line.startswith("# "):
            if after_assignment:
                reason = []
                after_assignment = False
            reason.append(line[2:])
        elif assignment := ASSIGNMENT.match(line):
            name = assignment[1]
            if name not in UNITS:
                words = "as the one above" if after_assignment else " ".join(reason)
                section.append(Bound(name, shown(name, getattr(values, name)), words))
                after_assignment = True
        elif line.startswith("def "):
            break
    return found


def shown(name: str, value: object) -> str:
    """A value with its unit, which the end of its name says."""
    assert isinstance(value, (int, float)), "a bound is a number"
    if name.endswith("_PER_S"):
        return f"{value:,.10g} a second"
    if name.endswith("_S"):
        return f"{value:,.10g} s"
    if name.endswith("_NS"):
        return f"{value:,} ns"
    if "_BYTES" not in name:
        return f"{value:,}"
    for size, larger in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if value >= size and value % size == 0:
            return f"{value // size:,} {larger}"
    return f"{value:,} B"


def render() -> str:
    """The page."""
    parts = [INTRODUCTION]
    for title, bounds in sections(SOURCE.read_text(), load(SOURCE)).items():
        rows = "".join(f"| `{bound.name}` | {bound.value} | {bound.reason} |\n" for bound in bounds)
        parts.append(f"## {title}\n\n| bound | value | reason |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def main() -> int:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description="The table of limits, from turbosock/limits.py.")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    if parser.parse_args().write:
        PAGE.write_text(render())
    else:
        sys.stdout.write(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
