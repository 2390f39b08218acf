"""Reports of audits that were never made, for what shows and judges them."""

from __future__ import annotations

import dataclasses
from typing import Any

from turbosock.audit.counting import Site
from turbosock.audit.growth import Growth
from turbosock.audit.report import AuditReport, Counts

SITE = Site("/srv/app/game.py", 12, "step", "frame = bytes(4096)  # <&>", "calloc", 1.5, 6144.0)
STACKS = (
    ((("step", "/srv/app/game.py", 12), ("run", "/srv/app/main.py", 3)), 1.5, 6144.0),
    ((("save", "/srv/app/game.py", 40), ("run", "/srv/app/main.py", 3)), 3.0, 96.0),
)


def report(**fields: Any) -> AuditReport:
    """One with every section, and `fields` in place of its own."""
    made = AuditReport(
        target="http://127.0.0.1/",
        way="turbosock, blocking",
        unit="request",
        each="GET, HTTP/1.1 200, 100 bytes of body",
        warm_up=1000,
        count=1000,
        tool="memray 1.20.0",
        unseen=(),
        conditions="turbosock 0.1.0, CPython 3.11.7, Linux",
        system=Counts(1.5, 6144.0, 0.25, 200.0, (SITE,), STACKS[:1]),
        python=Counts(4.5, 6240.0, 21.0, 4200.0, (SITE, SITE._replace(line=40, made=3.0, source="save()")), STACKS),
        kept_bytes=64.0,
        kept=(SITE._replace(made=0.01, nbytes=64.0),),
        peak_bytes=None,
        growth=Growth(10_000, 0.5, 1000, 5, 4096, (SITE._replace(made=3.0, nbytes=1000.0),)),
        counters={"buffers": {"lent": 1200, "out": 2}},
        leases=2,
        lease_lines=(("/srv/app/game.py:77", 2),),
    )
    return dataclasses.replace(made, **fields)


def without_memray() -> AuditReport:
    """One that tracemalloc made."""
    return report(
        tool="tracemalloc, because memray is not installed",
        unseen=("calls of malloc()",),
        system=None,
        python=None,
        kept=(),
        kept_bytes=0.0,
        peak_bytes=512.0,
    )
