"""The child: performs one measurement of a plan in a process of its own, and writes what it found into a file.

One process for each measurement, because each needs the process for itself: memray traces all threads at once and
cannot be started twice, tracemalloc makes every allocation slower, and what one run leaves behind is what the next one
finds. Who would rather be quick than careful has both counts of memray in one. The parent gives a directory with the
plan; the answer, or the error in its stead, is written there, so that whatever the target prints is in nobody's way.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import Any, Final

from turbosock.audit.census import census
from turbosock.audit.counting import Trace, Work, frames, trace, usable_memray, without_frames
from turbosock.audit.growth import growth, peak_bytes
from turbosock.audit.plan import AuditPlan, Kind
from turbosock.audit.workloads import failure_line, prepared
from turbosock.errors import AuditError, TurbosockError

PLAN_FILE: Final = "plan"
ANSWER_FILE: Final = "answer"
ERROR_FILE: Final = "error"

# What can be measured.
SYSTEM: Final = "system"
PYTHON: Final = "python"
BOTH: Final = "both"
GROWTH: Final = "growth"
PEAK: Final = "peak"

_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
# The one of so many runs that allocates the least is the steady state: where a server's Date changes with the second,
# every connection reads one head anew.
_RUNS: Final = 3
# Units whose calls are looked at one by one, which is slow and always the same.
_MAX_FRAME_UNITS: Final = 1000


def main(directory: str, mode: str) -> None:
    """Measure `mode` of the plan in `directory`."""
    with open(os.path.join(directory, PLAN_FILE), "rb") as file:
        plan: AuditPlan = pickle.load(file)
    if plan.kind is Kind.TICK:
        # As `python -m` has it: the module is looked for where the command was given.
        sys.path.insert(0, os.getcwd())
    try:
        answer = measured(plan, mode)
    except TurbosockError as error:
        # What is given on is one line.
        _write(directory, ERROR_FILE, pickle.dumps(error))
        return
    except Exception as error:
        told = AuditError(f"{plan.shown} failed: {failure_line(error)}")
        _write(directory, ERROR_FILE, pickle.dumps(told))
        return
    _write(directory, ANSWER_FILE, json.dumps(answer).encode())


def _write(directory: str, name: str, content: bytes) -> None:
    with open(os.path.join(directory, name), "wb") as file:
        file.write(content)


def measured(plan: AuditPlan, mode: str) -> dict[str, Any]:
    """What `mode` says of the plan, as JSON has it."""
    with prepared(plan) as (work, each, answers):
        if mode == GROWTH:
            assert plan.growth_count is not None, "set where it was made"
            answer: dict[str, Any] = {"growth": growth(work, plan.growth_count, plan.warm_up, lines=True)}
        elif mode == PEAK:
            work(plan.warm_up)
            answer = {"peak": peak_bytes(work)}
        else:
            modes = (SYSTEM, PYTHON) if mode == BOTH else (mode,)
            answer = {each: _traced(plan, work, python_allocators=each == PYTHON) for each in modes}
        found = census()
        answer["each"] = each
        answer["answers"] = None if answers is None else answers.as_json()
        answer["counters"] = found.counters if plan.peer == "turbosock" else {}
        answer["leases"] = found.leases
        answer["lease_lines"] = found.lease_lines
    return answer


def _traced(plan: AuditPlan, work: Work, *, python_allocators: bool) -> tuple[Any, ...]:
    """What memray sees, and before that what of it is the tracer's: (the tracer's allocations, bytes, the trace)."""
    memray = usable_memray()
    assert memray is not None, "the parent has looked"
    # Under the tracer, because a function is given its table of lines when it is traced for the first time.
    trace(memray, work, plan.warm_up, python_allocators=False)
    ours = plan.peer == "turbosock"
    traces = [
        trace(memray, work, plan.count, python_allocators=python_allocators, lines=ours, kept=python_allocators)
        for _ in range(_RUNS if ours else 1)
    ]
    whole = min(traces, key=lambda each: each.made)
    calls = min((frames(work, min(plan.count, _MAX_FRAME_UNITS)) for _ in range(_RUNS)), key=lambda each: each.made)
    own = without_frames(whole, calls, python_allocators=python_allocators)
    return whole.made - own.made, whole.nbytes - own.nbytes, _without_us(own)


def _without_us(trace: Trace) -> Trace:
    """`trace` whose stacks begin where the workload does."""
    stacks = []
    for stack, made, size in trace.stacks:
        end = len(stack)
        while end > 1 and stack[end - 1][1].startswith(_OURS) and stack[end - 1][0] != "work":
            end -= 1
        stacks.append((stack[:end], made, size))
    return trace._replace(stacks=tuple(stacks))
