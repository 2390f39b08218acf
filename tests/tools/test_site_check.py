"""The check of a built site finds what it is to find, and nothing in a good one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from support.tool import load_tool


@pytest.fixture(scope="module")
def site_check() -> ModuleType:
    return load_tool("site_check.py")


def site(directory: Path, body: str, sheet: str = "") -> Path:
    """A page that is good, and another one with `body`."""
    (directory / "good.html").write_text('<link rel="stylesheet" href="a.css"><h1 id="top">x</h1><a href="#top">up</a>')
    (directory / "a.css").write_text(sheet)
    (directory / "page.html").write_text(body)
    return directory


@pytest.mark.parametrize(
    "body",
    [
        '<a href="good.html#top">x</a>',
        '<a href="https://example.com/">elsewhere, for who follows it</a>',
        '<img src="data:image/gif;base64,AA==">',
        '<a href="mailto:a@example.com">x</a>',
    ],
)
def test_good_site_has_nothing_wrong(site_check: ModuleType, tmp_path: Path, body: str) -> None:
    sheet = "a { background: url('data:image/svg+xml;<svg xmlns=\"http://www.w3.org/2000/svg\">') }"
    assert site_check.wrong(site(tmp_path, body, sheet)) == []


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('<a href="nowhere.html">x</a>', "page.html: nowhere.html leads nowhere"),
        ('<a href="good.html#end">x</a>', "page.html: good.html#end leads to no place of that page"),
        ('<a href="#end">x</a>', "page.html: #end leads to no place of that page"),
        ('<img src="no.png">', "page.html: no.png leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "page.html: loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "page.html: loads //cdn.example/x.css"),
    ],
)
def test_what_is_wrong_with_a_page_is_named(site_check: ModuleType, tmp_path: Path, body: str, what: str) -> None:
    assert site_check.wrong(site(tmp_path, body)) == [what]


@pytest.mark.parametrize("sheet", ["@import 'https://fonts.example/a.css'", "a { src: url(//fonts.example/a.woff) }"])
def test_style_sheet_that_loads_from_elsewhere_is_named(site_check: ModuleType, tmp_path: Path, sheet: str) -> None:
    (said,) = site_check.wrong(site(tmp_path, "", sheet))
    assert said.startswith("a.css: loads ") and "fonts.example" in said


def test_directory_without_a_page_is_wrong(site_check: ModuleType, tmp_path: Path) -> None:
    assert site_check.wrong(tmp_path) != []
