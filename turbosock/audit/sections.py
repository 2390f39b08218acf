"""Sections: what is shown of reports, as titled tables of text; a terminal, a page and a colour are others' matter.

The first report is the audit; those after it are the same work done by others, to compare it with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from turbosock import limits
from turbosock.audit.counting import NO_ALLOCATION, Site
from turbosock.audit.report import AuditReport, Counts
from turbosock.client.quantity import bytes_text

_PACKAGE_PARENT: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep

# Less is caches that were filled during the count, each once, spread over all units.
_KEPT_BYTES: Final = 16


class Section(NamedTuple):
    """One table.

    Attributes:
        title: above it.
        head: of its columns; empty: it has none.
        rows: of text. The first column and, where there are four, the last one are words, the others figures.
        note: below it; may be empty.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def heading(report: AuditReport) -> list[str]:
    """What was audited and under which conditions, a line each."""
    return [
        f"{report.target}: {report.way}",
        f"{report.each}; {report.count:,} counted after {report.warm_up:,} of warm-up",
        f"{report.conditions}; counted by {report.tool}",
        *(f"not seen: {what}" for what in report.unseen),
    ]


def warnings(reports: Sequence[AuditReport]) -> list[str]:
    """Why the figures may not be of what was meant, a line each; what only compared reports have says whose it is."""
    audited, *compared = reports
    others = [f"{each.way}: {line}" for each in compared for line in each.warnings if line not in audited.warnings]
    return [*audited.warnings, *others]


def sections(reports: Sequence[AuditReport]) -> list[Section]:
    """All tables, in order."""
    report = reports[0]
    found = [_figures(reports)]
    for counts, what in ((report.system, "the system's"), (report.python, "Python's")):
        if counts is not None:
            found.append(_sites(f"lines that take {what} memory", report, counts))
    if report.kept and report.kept_bytes >= _KEPT_BYTES:
        note = "A cache that fills once is among them; what grows, the line of growth tells."
        found.append(_kept("lines whose memory was not given back", report.kept, report.count, note))
    if report.growth is not None and report.growth.nbytes > 0 and report.growth.sites:
        units = report.growth.units
        found.append(_kept(f"lines that hold more after {units:,} {report.unit}s", report.growth.sites, 1))
    found.append(_pools(report))
    return found


def _figures(reports: Sequence[AuditReport]) -> Section:
    report = reports[0]
    head = (f"a {report.unit}", *(each.way for each in reports))
    rows = []
    if report.system is not None and report.python is not None:
        rows.append(("system mallocs", *(_made(each.system, 2) for each in reports)))
        rows.append(("their bytes", *(_bytes(each.system) for each in reports)))
        rows.append(("Python allocations", *(_made(each.python, 1) for each in reports)))
        rows.append(("bytes of both", *(_bytes(each.python) for each in reports)))
    if report.peak_bytes is not None:
        rows.append(("bytes at the worst moment", *(f"{each.peak_bytes or 0:,.0f}" for each in reports)))
    if report.growth is not None:
        rows.append(
            (f"{report.unit}s a second", *(f"{each.growth.rate:,.0f}" if each.growth else "" for each in reports))
        )
        rows.append(
            (
                "bytes kept a second",
                *(f"{each.growth.bytes_per_second:,.0f}" if each.growth else "" for each in reports),
            )
        )
    return Section("what it takes from memory", head, tuple(rows), _tracer_note(report))


def _tracer_note(report: AuditReport) -> str:
    notes = []
    if report.python is not None:
        notes.append(
            f"Left out: {report.python.tracer:.1f} allocations ({report.python.tracer_bytes:,.0f} bytes) that the "
            "tracer makes of Python's calls."
        )
    if report.growth is not None:
        notes.append(
            f"Growth: {report.growth.nbytes:,} bytes after {report.growth.units:,} {report.unit}s, "
            f"{report.growth.blocks:,} blocks of Python's memory, {bytes_text(report.growth.resident_bytes)} resident."
        )
    return " ".join(notes)


def _made(counts: Counts | None, digits: int) -> str:
    return "" if counts is None else f"{counts.made:,.{digits}f}"


def _bytes(counts: Counts | None) -> str:
    return "" if counts is None else f"{counts.nbytes:,.0f}"


def _sites(title: str, report: AuditReport, counts: Counts) -> Section:
    shown = [site for site in counts.sites if site.made >= NO_ALLOCATION]
    rows = tuple(
        (place(site), f"{site.made:,.2f}", f"{site.nbytes:,.0f}", site.source) for site in shown[: limits.AUDIT_SITES]
    )
    if not rows:
        return Section(title, (), (), "None.")
    left = sum(site.made for site in shown[limits.AUDIT_SITES :])
    note = f"And {left:,.2f} of {len(shown) - len(rows)} other lines." if len(shown) > len(rows) else ""
    return Section(title, ("line", f"a {report.unit}", "bytes", ""), rows, note)


def _kept(title: str, sites: Sequence[Site], units: int, note: str = "") -> Section:
    rows = tuple(
        (place(site), f"{site.made * units:,.0f}", f"{site.nbytes * units:,.0f}", site.source)
        for site in sites[: limits.AUDIT_SITES]
    )
    return Section(title, ("line", "in all", "bytes", ""), rows, note)


def _pools(report: AuditReport) -> Section:
    rows = [
        (kind, ", ".join(f"{name} {count:,}" for name, count in counts.items()))
        for kind, counts in report.counters.items()
    ]
    note = f"Leases still out: {report.leases:,}."
    if report.lease_lines:
        note += " Taken at " + ", ".join(f"{shown_path(line)} ({count:,})" for line, count in report.lease_lines) + "."
    elif report.leases:
        note += " TURBOSOCK_POOL_DIAGNOSTICS=1 tells who took them."
    return Section("turbosock's pools", (), tuple(rows), note)


def place(site: Site) -> str:
    """Where a line is, as short as it can be told apart."""
    return f"{shown_path(site.file)}:{site.line}" if site.line else site.file or "the interpreter"


def shown_path(path: str) -> str:
    """A path from the directory on which Python found it, or from the working directory."""
    for marker in ("site-packages" + os.sep, "dist-packages" + os.sep):
        _, found, tail = path.rpartition(marker)
        if found:
            return tail
    for parent in (_PACKAGE_PARENT, os.getcwd() + os.sep):
        if path.startswith(parent):
            return path.removeprefix(parent)
    return path
