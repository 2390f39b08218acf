"""The site: these pages, and a reference from the docstrings. `tox -e docs` builds it; a warning is an error.

What is said once is not said here again: the menu is what index.md lists, a section of it for each of the menu's; and
the members of a class that are shown are those that reference/api.md names.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import turbosock.testing

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "turbosock"
author = "turbosock contributors"
version = release = turbosock.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
# The scoreboard's workloads are headings of the third order below its title.
suppress_warnings = ["myst.header"]
# Single backticks in docstrings stand around code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
# As a list: of some, several are described together.
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_title = f"turbosock {version}"
html_copy_source = False

_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
_PAGE = re.compile(r"^- \[.+?\]\(([^)#]+)\.(?:md|rst)\)", re.MULTILINE)
_CLASS = re.compile(r"^\.\. autoclass:: (\w+)$", re.MULTILINE)
_NAME = re.compile(r"`(\w+)[`(]")
_ELSEWHERE = re.compile(r"\b([Ss])ee the module\b")


def add_menu(app: Sphinx, page: str, source: list[str]) -> None:
    """Append a table of contents for each section of the index."""
    if page != "index":
        return
    for title, text in _SECTION.findall(source[0]):
        if pages := _PAGE.findall(text):
            source[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```", ""])


def add_members(app: Sphinx, page: str, source: list[str]) -> None:
    """Name the members of each class, inherited ones included, in the order of api.md: others are for other files."""
    if not page.startswith("reference/python/"):
        return
    said = dict(_SECTION.findall((Path(app.srcdir) / "reference" / "api.md").read_text()))

    def members(found: re.Match[str]) -> str:
        each = getattr(turbosock, found[1])
        shown = [name for name in _NAME.findall(said[found[1]]) if _is_documented(getattr(each, name, None))]
        return "\n\n   ".join([found[0], *(_directive(each, name) for name in dict.fromkeys(shown))]) + "\n"

    source[0] = _CLASS.sub(members, source[0])


def _directive(owner: object, name: str) -> str:
    kind = "autoproperty" if isinstance(getattr(owner, name), property) else "automethod"
    return f".. {kind}:: {name}"


def _is_documented(member: object) -> bool:
    return (inspect.isroutine(member) or isinstance(member, property)) and bool(inspect.getdoc(member))


def add_module(app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put the theory of its file below the first paragraph of a class that says: see the module."""
    end = lines.index("") if "" in lines else len(lines)
    said = " ".join(lines[:end])
    if kind != "class" or not _ELSEWHERE.search(said):
        return
    module = inspect.getdoc(sys.modules[thing.__module__])
    assert module is not None, f"{thing.__module__} has no docstring"
    # Without its title, and without what is for whoever works on it.
    text = "\n\n".join(part for part in module.split("\n\n")[1:] if not part.startswith("Left to others"))
    # As reStructuredText wants them: what is indented is laid out as it is to be read, and a list stands by itself.
    text = re.sub(r"(\A|\n\n)(?=    )", r"\1::\n\n", text)
    text = re.sub(r"\n(?=- )", "\n\n", text)
    lines[:end] = [_ELSEWHERE.sub(r"\1ee below", said), "", *text.splitlines(), ""]


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; what is said here may be done to several pages at once."""
    # Packages that import their names when they are first asked for have them from here on.
    for package in (turbosock.testing,):
        for name in package.__all__:
            getattr(package, name)
    app.connect("source-read", add_menu)
    app.connect("source-read", add_members)
    # Before napoleon, which reads sections alone.
    app.connect("autodoc-process-docstring", add_module, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
