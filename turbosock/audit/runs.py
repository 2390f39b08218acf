"""Runs of an audit: the parent's side, one child process for each measurement, and the report put together."""

from __future__ import annotations

import importlib.metadata
import json
import os
import pickle
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any, Final

from turbosock import limits
from turbosock.audit.answers import warnings_of
from turbosock.audit.child import ANSWER_FILE, BOTH, ERROR_FILE, GROWTH, PEAK, PLAN_FILE, PYTHON, SYSTEM
from turbosock.audit.counting import Site, Trace, why_no_memray
from turbosock.audit.growth import Growth
from turbosock.audit.plan import AuditPlan
from turbosock.audit.report import AuditReport, Counts
from turbosock.errors import AuditError, InvalidOption, TurbosockError
from turbosock.version import __version__

# The child finds the package where the parent found it, whatever made the parent find it there.
_SCRIPT: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from turbosock.audit.child import main; main(*sys.argv[2:])"
)

UNSEEN: Final = (
    "calls of malloc() that do not go through Python: those of OpenSSL and other libraries of C",
    "allocations that are freed again: their number, and the lines that make them",
)
_DOING: Final = {
    SYSTEM: "counting what comes from the system",
    PYTHON: "counting what comes from Python's memory",
    BOTH: "counting",
    GROWTH: "looking for growth",
    PEAK: "looking for the worst moment",
}


def audit(
    plan: AuditPlan | str,
    *,
    growth: bool = True,
    memray: bool | None = None,
    apart: bool = True,
    on_step: Callable[[str], object] | None = None,
) -> AuditReport:
    """Perform a plan and report what it takes from memory.

    Args:
        plan: what to do; a str is a plan of that target.
        growth: whether to look for growth, too, which takes ten times as many units.
        memray: False does without it; True insists on it; None takes it where it can be used.
        apart: False counts both of memray's in one process, which is sooner done.
        on_step: called with a few words at the beginning of each measurement.

    Raises:
        InvalidOption: the plan cannot work.
        AuditError: memray is to be used and cannot be; the target cannot be audited, or failed.
        TurbosockError: the target cannot be reached, or failed.
    """
    if isinstance(plan, str):
        plan = AuditPlan(plan)
    reason = why_no_memray() if memray is not False else "memray is not to be used"
    if memray and reason:
        raise AuditError(reason)
    counts = [SYSTEM, PYTHON] if apart else [BOTH]
    modes = counts if not reason else [PEAK]
    if growth:
        modes.append(GROWTH)
    answers = {}
    for mode in modes:
        if on_step is not None:
            on_step(_DOING[mode])
        answers[mode] = _measured(plan, mode)
    return _report(plan, answers, reason)


def _measured(plan: AuditPlan, mode: str) -> dict[str, Any]:
    """What a child answers."""
    with tempfile.TemporaryDirectory(prefix="turbosock-") as directory:
        with open(os.path.join(directory, PLAN_FILE), "wb") as file:
            try:
                pickle.dump(plan, file)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise InvalidOption(f"config: another process cannot be given it: {error}") from error
        process = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, json.dumps(sys.path), directory, mode],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = process.communicate(timeout=limits.AUDIT_S)
        except subprocess.TimeoutExpired:
            raise AuditError(f"{plan.shown}: no end after {limits.AUDIT_S:g} s; count fewer") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        try:
            with open(os.path.join(directory, ANSWER_FILE), "rb") as file:
                answer: dict[str, Any] = json.load(file)
                return answer
        except FileNotFoundError:
            raise _error(directory, plan, process.returncode, said.decode(errors="replace")) from None


def _error(directory: str, plan: AuditPlan, status: int, said: str) -> TurbosockError:
    try:
        with open(os.path.join(directory, ERROR_FILE), "rb") as file:
            error: TurbosockError = pickle.load(file)
            return error
    except FileNotFoundError:
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        last = said.strip().splitlines()[-1:]
        return AuditError(f"{plan.shown}: its process {how}{': ' if last else ''}{''.join(last)}")


def _report(plan: AuditPlan, answers: dict[str, dict[str, Any]], reason: str) -> AuditReport:
    first = next(iter(answers.values()))
    system = python = None
    kept_bytes = 0.0
    kept: tuple[Site, ...] = ()
    traces = {mode: answer[mode] for answer in answers.values() for mode in (SYSTEM, PYTHON) if mode in answer}
    if traces:
        system = _counts(traces[SYSTEM])
        python = _counts(traces[PYTHON])
        trace = _trace(traces[PYTHON])
        kept_bytes, kept = trace.kept_bytes, trace.kept
    grown = Growth(*answers[GROWTH]["growth"]) if GROWTH in answers else None
    if grown is not None:
        grown = grown._replace(sites=tuple(Site(*site) for site in grown.sites))
    tool = f"tracemalloc, because {reason}" if reason else f"memray {importlib.metadata.version('memray')}"
    return AuditReport(
        target=plan.shown,
        way=plan.way,
        unit=plan.kind.value,
        each=first["each"],
        warm_up=plan.warm_up,
        count=plan.count,
        tool=tool,
        unseen=UNSEEN if reason else (),
        conditions=(
            f"turbosock {__version__}, {platform.python_implementation()} {platform.python_version()}, "
            f"{platform.system()}"
        ),
        system=system,
        python=python,
        kept_bytes=kept_bytes,
        kept=kept,
        peak_bytes=answers[PEAK]["peak"] if PEAK in answers else None,
        growth=grown,
        counters=first["counters"],
        leases=max(answer["leases"] for answer in answers.values()),
        lease_lines=tuple((line, count) for line, count in first["lease_lines"]),
        warnings=warnings_of(answer["answers"] for answer in answers.values() if answer["answers"] is not None),
    )


def _counts(answer: list[Any]) -> Counts:
    trace = _trace(answer)
    return Counts(trace.made, trace.nbytes, answer[0], answer[1], trace.sites, trace.stacks)


def _trace(answer: list[Any]) -> Trace:
    """A Trace as it was before JSON."""
    units, made, nbytes, kept_bytes, sites, kept, stacks = answer[2]
    return Trace(
        units,
        made,
        nbytes,
        kept_bytes,
        tuple(Site(*site) for site in sites),
        tuple(Site(*site) for site in kept),
        tuple((tuple((a, b, c) for a, b, c in stack), each, size) for stack, each, size in stacks),
    )
