"""What is shown of reports: plain text, colour, a page and a picture, all of the same tables."""

from __future__ import annotations

import io
import re
import sys
from xml.etree import ElementTree

import pytest

from support.audit_reports import SITE, report, without_memray
from support.terminal import FakeTerminal
from turbosock.audit.flame import WIDTH, flame
from turbosock.audit.page import page, picture
from turbosock.audit.sections import place, sections, shown_path
from turbosock.audit.text import plain, show


def test_plain_report_has_the_figures_the_lines_and_the_pools() -> None:
    told = plain([report()])
    for expected in (
        "http://127.0.0.1/: turbosock, blocking",
        "1,000 counted after 1,000 of warm-up",
        "counted by memray 1.20.0",
        "/srv/app/game.py:12",
        "frame = bytes(4096)",
        "Left out: 21.0 allocations",
        "lent 1,200, out 2",
        "Leases still out: 2. Taken at /srv/app/game.py:77 (2).",
    ):
        assert expected in told
    assert re.search(r"system mallocs +1\.50\n", told) and re.search(r"bytes kept a second +2,000\n", told)
    assert max(len(line) for line in told.splitlines()) <= 110


def test_plain_report_of_tracemalloc_says_what_it_cannot_see() -> None:
    told = plain([without_memray()])
    assert "counted by tracemalloc, because memray is not installed" in told
    assert "not seen: calls of malloc()" in told
    assert "system mallocs" not in told
    assert "bytes at the worst moment" in told


def test_plain_report_compared_has_a_column_for_each() -> None:
    told = plain([report(), report(way="requests")])
    assert re.search(r"a request +turbosock, blocking +requests", told)
    assert re.search(r"Python allocations +4\.5 +4\.5", told)


def test_plain_report_over_its_bounds_ends_with_what_is() -> None:
    assert plain([report()], ["1.50 system mallocs a request, 0 allowed"]).endswith(
        "over the bounds\n  1.50 system mallocs a request, 0 allowed\n"
    )


def test_plain_report_of_a_hostile_source_line_does_nothing_to_the_terminal() -> None:
    evil = SITE._replace(source="x = '\x1b[2J'")
    counts = report().system
    assert counts is not None
    told = plain([report(kept=(evil,))])
    assert "\x1b" not in told and "\\x1b[2J" in told


def test_report_of_leases_without_lines_says_how_to_get_them() -> None:
    assert "TURBOSOCK_POOL_DIAGNOSTICS=1" in plain([report(lease_lines=())])
    assert "Leases still out: 0." in plain([report(leases=0, lease_lines=())])


def test_report_to_a_file_is_plain() -> None:
    stream = io.StringIO()
    show([report()], stream)
    assert stream.getvalue() == plain([report()])


def test_report_to_a_terminal_is_in_colour_where_rich_is_installed() -> None:
    pytest.importorskip("rich")
    terminal = FakeTerminal()
    show([report()], terminal, ["too much"])
    told = terminal.getvalue()
    assert "system mallocs" in told and "over the bounds: too much" in told
    assert told != plain([report()], ["too much"])


def test_report_to_a_terminal_without_rich_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = FakeTerminal()
    show([report()], terminal)
    assert terminal.getvalue() == plain([report()])


def test_section_of_many_lines_says_how_many_are_left_out() -> None:
    counts = report().python
    assert counts is not None
    many = tuple(SITE._replace(line=number, made=1.0) for number in range(1, 31))
    own = report(python=type(counts)(30.0, 1.0, 0.0, 0.0, many, ()))
    [section] = [each for each in sections([own]) if each.title == "lines that take Python's memory"]
    assert len(section.rows) == 12
    assert section.note == "And 18.00 of 18 other lines."


def test_path_is_shown_from_where_python_found_it(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert shown_path("/usr/lib/python3/site-packages/urllib3/pool.py") == "urllib3/pool.py"
    assert shown_path(f"{tmp_path}/app/game.py") == "app/game.py"
    assert shown_path(sys.modules["turbosock.audit.sections"].__file__ or "") == "turbosock/audit/sections.py"
    assert place(SITE._replace(file="", line=0)) == "the interpreter"


def test_flame_is_an_svg_whose_cells_are_as_wide_as_what_they_stand_for() -> None:
    svg = flame(report())
    root = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    cells = {
        group.findtext(f"{name}title", ""): float(rect.get("width", "0"))
        for group in root.iter(f"{name}g")
        for rect in group.iter(f"{name}rect")
    }
    widths = {title.partition(":")[0].partition(",")[0]: width for title, width in cells.items()}
    assert widths == pytest.approx({"all": WIDTH, "run": WIDTH, "save": WIDTH * 2 / 3, "step": WIDTH / 3}, abs=0.1)


def test_page_holds_tables_and_picture_and_loads_nothing() -> None:
    told = page([report()], ["too much"])
    assert "<svg" in told and "too much" in told and "frame = bytes(4096)  # &lt;&amp;&gt;" in told
    assert "src=" not in told and "href=" not in told and "<script" not in told
    assert "<svg" not in page([without_memray()])
    assert picture(report()).count("<svg") == 1


def test_warnings_stand_above_the_figures_and_say_whose_they_are() -> None:
    reports = [report(warnings=("all <404>",)), report(way="requests", warnings=("all 403", "all <404>"))]
    lines = plain(reports).splitlines()
    assert lines[3:5] == ["warning: all <404>", "warning: requests: all 403"]
    assert "warning: all &lt;404&gt;" in page(reports)
    assert reports[0].as_json()["warnings"] == ("all <404>",)
