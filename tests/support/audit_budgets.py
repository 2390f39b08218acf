"""Budgets: what a unit of each scenario may allocate, read from tests/audit/budgets.toml, and the lines that do.

A number stands beside the reason why it is not less: `allocations = [14, "why"]`. Where a version of CPython differs,
it has a line of its own: `"allocations, 3.13" = [15, "why"]`. tests/audit/sites.json knows which functions allocated
when the numbers were written, so that a budget that is exceeded can tell the new ones.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from turbosock.audit import AuditReport, Counts
from turbosock.audit.counting import NO_ALLOCATION, Site
from turbosock.audit.sections import place, shown_path

AUDIT = Path(__file__).parents[1] / "audit"
BUDGETS = AUDIT / "budgets.toml"
SITES = AUDIT / "sites.json"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# How far an average may be above a whole number without meaning anything: a turn more or less among hundreds, and the
# arena that the interpreter takes now and then.
NOISE = 0.5
MALLOC_NOISE = 0.05


class Budget(NamedTuple):
    """What one unit may make: calls of malloc() and its like, and allocations of all kinds."""

    mallocs: float
    allocations: float


def budgets(text: str, version: str = VERSION) -> dict[str, Budget]:
    """The budgets of every scenario under a version of CPython.

    Raises:
        ValueError: a number has no reason, or something else stands there.
    """
    found = {}
    for name, entries in tomllib.loads(text).items():
        for entry, value in entries.items():
            if entry.partition(",")[0] not in Budget._fields:
                raise ValueError(f"{name}: {entry}: not a budget; there are {', '.join(Budget._fields)}")
            if not (isinstance(value, list) and len(value) == 2 and isinstance(value[1], str) and value[1].strip()):
                raise ValueError(f"{name}: {entry}: give a number and the reason why it is not less")
        numbers = [entries.get(f"{field}, {version}", entries.get(field, [None]))[0] for field in Budget._fields]
        if not all(isinstance(number, (int, float)) for number in numbers):
            raise ValueError(f"{name}: it needs {' and '.join(Budget._fields)}")
        found[name] = Budget(*numbers)
    return found


def exceeded(name: str, report: AuditReport, budget: Budget, known: dict[str, dict[str, float]]) -> str:
    """What a scenario takes beyond its budget, with the lines that are new; empty: nothing."""
    assert report.system is not None and report.python is not None, "counted by memray"
    told = []
    for kind, counts, noise, allowed in (
        ("mallocs", report.system, MALLOC_NOISE, budget.mallocs),
        ("allocations", report.python, NOISE, budget.allocations),
    ):
        if counts.made > allowed + noise:
            told.append(f"{name}: {counts.made:.2f} {kind} a {report.unit}, {allowed:g} allowed")
            told += [f"  {line}" for line in news(counts, known.get(name, {}))]
    return "\n".join(told)


def news(counts: Counts, known: dict[str, float]) -> list[str]:
    """The lines that allocate in functions that allocate more than is known; all lines, if no function does."""
    now = by_function(counts)
    grown = {function for function, made in now.items() if made >= known.get(function, 0.0) + 0.4}
    shown = [site for site in counts.sites if function_of(site) in grown] or list(counts.sites)
    return [
        f"{place(site)} {site.function}: {site.made:.2f}, {site.nbytes:.0f} bytes: {site.source}"
        for site in shown
        if site.made >= NO_ALLOCATION
    ]


def by_function(counts: Counts) -> dict[str, float]:
    """Allocations by function; lines move too easily."""
    found: dict[str, float] = {}
    for site in counts.sites:
        function = function_of(site)
        found[function] = found.get(function, 0.0) + site.made
    return {function: round(made, 1) for function, made in sorted(found.items()) if made >= 0.1}


def function_of(site: Site) -> str:
    """A name for the function that holds a line."""
    return f"{shown_path(site.file)} {site.function}"


def known_sites() -> dict[str, Any]:
    """What allocated when the budgets were written, by scenario."""
    found: dict[str, Any] = json.loads(SITES.read_text())
    return found
