"""Flame: the picture of who allocates: each line as wide as what it and what it called allocated, callers above.

Drawn from a count's stacks as one SVG without script: a cell's tooltip says what it stands for.
"""

from __future__ import annotations

import html
from typing import Final

from turbosock.audit.counting import Line, Stack
from turbosock.audit.report import AuditReport
from turbosock.audit.sections import shown_path

WIDTH: Final = 1200
ROW: Final = 18
_FONT: Final = 11
_LETTER: Final = 6.2
# Narrower cells are not drawn: nobody could point at them.
_MIN_CELL: Final = 0.5
_COLOURS: Final = ("#f2b36d", "#eda45c", "#f5c183", "#e8964e", "#f0ad78")
_SYSTEM_LIBRARY: Final = ("#9fc3dd", "#8db6d4", "#aecde3")


class _Node:
    """One line at one place in the picture, with all that it called."""

    __slots__ = ("children", "made", "nbytes")

    def __init__(self) -> None:
        self.made = 0.0
        self.nbytes = 0.0
        self.children: dict[Line, _Node] = {}

    def add(self, stack: Stack, made: float, nbytes: float) -> None:
        node = self
        node.made += made
        node.nbytes += nbytes
        for line in reversed(stack):
            node = node.children.setdefault(line, _Node())
            node.made += made
            node.nbytes += nbytes

    def depth(self) -> int:
        return 1 + max((child.depth() for child in self.children.values()), default=0)


def flame(report: AuditReport) -> str:
    """The picture of the report's allocations, all kinds; an SVG element.

    Raises:
        AssertionError: the report was made without memray, which alone knows stacks.
    """
    counts = report.python
    assert counts is not None, "asked for with memray alone"
    root = _Node()
    for stack, made, nbytes in counts.stacks:
        root.add(stack, made, nbytes)
    height = (root.depth() + 1) * ROW
    cells = [_cell(0, WIDTH, 0, f"all: {_amount(report, counts.made, counts.nbytes)}", "all", "#d8d8d8")]
    _draw(report, root, 0.0, 1, cells)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="{_FONT}" role="img" aria-label="allocations by caller">'
        f"<title>{html.escape(report.target)}: Python allocations a {report.unit}</title>{''.join(cells)}</svg>\n"
    )


def _amount(report: AuditReport, made: float, nbytes: float) -> str:
    return f"{made:,.2f} allocations a {report.unit}, {nbytes:,.0f} bytes"


def _draw(report: AuditReport, node: _Node, left: float, row: int, cells: list[str]) -> None:
    total = report.python.made if report.python is not None else 0.0
    for number, (line, child) in enumerate(sorted(node.children.items(), key=lambda pair: -pair[1].made)):
        width = WIDTH * child.made / total if total else 0.0
        if width < _MIN_CELL:
            continue
        function, file, line_number = line
        where = f"{shown_path(file)}:{line_number}"
        colours = _COLOURS if "turbosock" in file else _SYSTEM_LIBRARY
        title = f"{function}, {where}: {_amount(report, child.made, child.nbytes)}"
        cells.append(_cell(left, width, row, title, f"{function} {where}", colours[number % len(colours)]))
        _draw(report, child, left, row + 1, cells)
        left += width


def _cell(left: float, width: float, row: int, title: str, label: str, colour: str) -> str:
    letters = int((width - 4) / _LETTER)
    text = ""
    if letters >= 3:
        shown = label if len(label) <= letters else label[: letters - 1] + "…"
        text = f'<text x="{left + 3:.1f}" y="{row * ROW + 13}">{html.escape(shown)}</text>'
    return (
        f'<g><title>{html.escape(title)}</title><rect x="{left:.1f}" y="{row * ROW}" width="{width:.1f}" '
        f'height="{ROW - 1}" fill="{colour}"/>{text}</g>'
    )
