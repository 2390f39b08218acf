"""AuditReport and Bounds: what is over a bound is said with both numbers; JSON holds what there is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.audit_reports import report, without_memray
from turbosock.audit.report import Bounds
from turbosock.errors import InvalidOption


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(), []),
        (Bounds(mallocs=1.5, allocations=5, nbytes=6240, growth=2000), []),
        (Bounds(mallocs=1), ["1.50 system mallocs a request, 1 allowed"]),
        (Bounds(allocations=3), ["4.5 Python allocations a request, 3 allowed"]),
        (Bounds(nbytes=1024), ["6,240 bytes a request, 1,024 allowed"]),
        (Bounds(growth=1024), ["memory grows by 2,000 bytes a second, 1,024 allowed"]),
        (
            Bounds(mallocs=0, growth=0),
            ["1.50 system mallocs a request, 0 allowed", "memory grows by 2,000 bytes a second, 0 allowed"],
        ),
    ],
)
def test_bounds_exceeded_are_told_with_both_numbers(bounds: Bounds, expected: list[str]) -> None:
    assert bounds.exceeded(report()) == expected


@pytest.mark.parametrize("name", ["mallocs", "allocations", "nbytes", "growth"])
@pytest.mark.parametrize("value", [-1, float("nan"), True, "5"])
def test_bounds_that_are_no_numbers_are_refused(name: str, value: object) -> None:
    fields: dict[str, Any] = {name: value}
    with pytest.raises(InvalidOption, match=name):
        Bounds(**fields)


def test_bounds_on_counts_need_memray_and_growth_does_not() -> None:
    assert Bounds(mallocs=0).need_memray and Bounds(allocations=0).need_memray and Bounds(nbytes=0).need_memray
    assert not Bounds(growth=0).need_memray


def test_report_as_json_has_its_figures_and_lines_by_name() -> None:
    told = json.loads(json.dumps(report().as_json()))
    assert told["system"]["made"] == 1.5
    assert told["python"]["sites"][0]["source"].startswith("frame = ")
    assert "stacks" not in told["python"]
    assert told["growth"]["bytes_per_second"] == 2000
    assert told["counters"]["buffers"]["lent"] == 1200


def test_report_of_tracemalloc_as_json_says_what_it_cannot_see() -> None:
    told = json.loads(json.dumps(without_memray().as_json()))
    assert told["system"] is None
    assert told["unseen"] == ["calls of malloc()"]
