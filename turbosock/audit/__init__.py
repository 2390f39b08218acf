"""What a program takes from memory for each request, message, event or tick, counted and told by line.

`audit` performs a plan in processes of its own and reports; `counting` counts work of this process. The command
`turbosock audit`, the plugin for pytest and the benchmarks are made of these. memray does the counting; it is an extra,
and without it tracemalloc tells what it can.
"""

from __future__ import annotations

from turbosock.audit.growth import Growth
from turbosock.audit.plan import AuditPlan
from turbosock.audit.report import AuditReport, Bounds, Counts
from turbosock.audit.runs import audit

__all__ = ["AuditPlan", "AuditReport", "Bounds", "Counts", "Growth", "audit"]
