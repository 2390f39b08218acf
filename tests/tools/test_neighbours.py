"""tools/neighbours: which tests of other libraries count as known to fail, and what the page says of them."""

from __future__ import annotations

from types import ModuleType

import pytest

from support.tool import load_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("neighbours/run.py")


def lines(**outcomes: str) -> dict[str, dict[str, object]]:
    """Outcomes of tests that all sent a request."""
    return {test: {"test": test, "outcome": outcome, "sent": True} for test, outcome in outcomes.items()}


def test_brackets_of_an_id_mean_themselves(tool: ModuleType) -> None:
    entries = [{"tests": ["t.py::one[a]", "t.py::two*"]}]

    assert tool.matching(["t.py::one[a]", "t.py::onea", "t.py::two[x]", "t.py::three"], entries) == [
        "t.py::one[a]",
        "t.py::two[x]",
    ]


def test_suite_is_judged_by_what_fails_beside_the_library_alone(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [{"tests": ["known"], "why": ""}, {"tests": ["mended"], "why": ""}]
    monkeypatch.setattr(tool, "known", lambda name: entries)
    under = lines(fine="passed", known="failed", mended="passed", network="failed", new="failed")
    alone = lines(fine="passed", known="passed", mended="passed", network="failed", new="passed")

    wrong, row = tool.judged("requests", tool.SUITES["requests"], under, alone)

    assert wrong == ["new: fails", "mended: passes; take it out of known.toml"]
    assert row.endswith("| 5 | 5 | 2 | 1 | 1 |")


def test_page_names_every_test_that_cannot_pass_and_why(tool: ModuleType) -> None:
    page = tool.PAGE.read_text()

    for name in tool.SUITES:
        for entry in tool.known(name):
            assert entry["why"] in page
            assert all(f"`{test}`" in page for test in entry["tests"])


def test_page_is_laid_out_as_the_tool_writes_it(tool: ModuleType) -> None:
    page = tool.PAGE.read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| library")]

    assert [row.split(" ")[1] for row in rows] == list(tool.SUITES)
    assert page == tool.page(rows), "run: python3 tools/neighbours/run.py --write"
