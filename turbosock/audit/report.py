"""AuditReport: what an audit found, with the verdict on bounds, and the same as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from turbosock.audit.counting import Site, Stack
from turbosock.audit.growth import Growth
from turbosock.errors import InvalidOption

# The frozen classes below hold what the children found; whoever shows it decides about digits.


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Allocations of one unit, on average.

    Attributes:
        made, nbytes: without the tracer's own.
        tracer, tracer_bytes: its own.
        sites: the lines that allocate, the most frequent first.
        stacks: how the program came there, each with its allocations and bytes.
    """

    made: float
    nbytes: float
    tracer: float
    tracer_bytes: float
    sites: tuple[Site, ...]
    stacks: tuple[tuple[Stack, float, float], ...] = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class AuditReport:
    """One audit's findings.

    Attributes:
        target: what was audited, without credentials.
        way: who performed it and how.
        unit: "request", "message", "event" or "tick".
        each: what one of them was.
        warm_up, count: units performed before, and counted.
        tool: what counted, with its version.
        unseen: what it cannot see; empty with memray.
        conditions: what the figures depend on.
        system: calls of malloc() and its like; None without memray.
        python: allocations of all kinds, what Python serves from its own memory included; None without memray.
        kept_bytes: of one unit's memory, what was not freed when the count ended; kept: the lines that took it.
        peak_bytes: what one unit holds of Python's memory at its worst moment; None with memray.
        growth: what was left behind after many units.
        counters: counts of turbosock's pools by kind, after the count.
        leases: buffers that were lent and not given back then; lease_lines: where they were taken, with how many,
            which diagnostics alone know.
        warnings: why the figures may not be of what was meant: answers that are no success, say.
    """

    target: str
    way: str
    unit: str
    each: str
    warm_up: int
    count: int
    tool: str
    unseen: tuple[str, ...]
    conditions: str
    system: Counts | None
    python: Counts | None
    kept_bytes: float
    kept: tuple[Site, ...]
    peak_bytes: float | None
    growth: Growth | None
    counters: dict[str, dict[str, int]]
    leases: int
    lease_lines: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it; without the stacks, which are many."""
        told = dataclasses.asdict(self)
        for name in ("system", "python"):
            if told[name] is not None:
                del told[name]["stacks"]
                told[name]["sites"] = [site._asdict() for site in told[name]["sites"]]
        told["kept"] = [site._asdict() for site in self.kept]
        if self.growth is not None:
            grown = self.growth._asdict()
            grown["sites"] = [site._asdict() for site in self.growth.sites]
            grown["rate"] = self.growth.rate
            grown["bytes_per_second"] = self.growth.bytes_per_second
            told["growth"] = grown
        return told


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """What an audit may find at most; None: anything.

    Attributes:
        mallocs: calls of malloc() and its like for one unit, on average, rounded to two digits.
        allocations: of all kinds, likewise, rounded to a whole one.
        nbytes: of these.
        growth: bytes a second that memory may grow by at full rate.

    Raises:
        InvalidOption: a value is no number, or below 0.
    """

    mallocs: float | None = None
    allocations: float | None = None
    nbytes: float | None = None
    growth: float | None = None

    def __post_init__(self) -> None:
        for name in ("mallocs", "allocations", "nbytes", "growth"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise InvalidOption(f"{name}={value!r}: give a number of at least 0")

    @property
    def need_memray(self) -> bool:
        """Whether they can be judged by nothing else."""
        return self.mallocs is not None or self.allocations is not None or self.nbytes is not None

    def exceeded(self, report: AuditReport) -> list[str]:
        """What the report has above the bounds, a line each."""
        lines = []
        unit = f"a {report.unit}"
        if self.mallocs is not None and report.system is not None and round(report.system.made, 2) > self.mallocs:
            lines.append(f"{report.system.made:.2f} system mallocs {unit}, {self.mallocs:g} allowed")
        if self.allocations is not None and report.python is not None and round(report.python.made) > self.allocations:
            lines.append(f"{report.python.made:.1f} Python allocations {unit}, {self.allocations:g} allowed")
        if self.nbytes is not None and report.python is not None and round(report.python.nbytes) > self.nbytes:
            lines.append(f"{report.python.nbytes:,.0f} bytes {unit}, {self.nbytes:,g} allowed")
        grown = None if report.growth is None else report.growth.bytes_per_second
        if self.growth is not None and grown is not None and grown > self.growth:
            lines.append(f"memory grows by {grown:,.0f} bytes a second, {self.growth:,g} allowed")
        return lines
