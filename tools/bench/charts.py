"""Charts: bars of contestants or lines over a size, and the plain SVG that they are drawn as.

A drawing has a panel for each chart, one below the other. It is light or dark, as the reader prefers.
"""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

WIDTH = 760
MARGIN = 12
LABEL_WIDTH = 210
VALUE_WIDTH = 90
BAR_HEIGHT = 16
ROW_HEIGHT = 24
TITLE_HEIGHT = 20
HEAD_HEIGHT = 12
FOOT_HEIGHT = 44
PLOT_HEIGHT = 260
LINE_LEFT, LINE_RIGHT = 80, 200

# Who stands for the least that is possible.
FLOORS = ("bare", "zlib")

STYLE = """\
.paper { fill: #ffffff }
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 14px; font-weight: 600 }
.axis { fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.whisker { stroke: #1f2328; stroke-width: 1.5 }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #8250df; stroke: #8250df } .c2 { fill: #1a7f37; stroke: #1a7f37 }
.c3 { fill: #bc4c00; stroke: #bc4c00 } .c4 { fill: #bf3989; stroke: #bf3989 } .floor { fill: #818b98; stroke: #818b98 }
.bar, text { stroke: none }
.line { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
.paper { fill: #0d1117 }
text { fill: #e6edf3 } .axis { fill: #9198a1 } .grid { stroke: #3d444d } .whisker { stroke: #e6edf3 }
.c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #ab7df8; stroke: #ab7df8 } .c2 { fill: #3fb950; stroke: #3fb950 }
.c3 { fill: #f0883e; stroke: #f0883e } .c4 { fill: #db61a2; stroke: #db61a2 } .floor { fill: #656c76; stroke: #656c76 }
}"""


class Point(NamedTuple):
    """One measurement of a line: at which size, and the rounds' figures."""

    at: float
    values: list[float]


@dataclass(slots=True)
class Chart:
    """What is drawn of a table.

    Attributes:
        axis: what is measured, with its unit.
        bars: of each contestant its rounds' figures; drawn are their median, and a whisker from the least to the most.
        lines: of each contestant the same by size, where the sizes are what the table is about.
        sizes: what the sizes are, with their unit.
        logarithmic: whether the bars' axis is; those of lines always are, both.
    """

    axis: str
    bars: dict[str, list[float]] = field(default_factory=dict)
    lines: dict[str, list[Point]] = field(default_factory=dict)
    sizes: str = ""
    logarithmic: bool = False


def is_floor(name: str) -> bool:
    """Whether this stands for the least that is possible."""
    return name.split(",")[0].split(" ")[0] in FLOORS


def bar_colour(name: str) -> str:
    """The class of a bar: ours, a peer's, or the floor's."""
    return "floor" if is_floor(name) else "c0" if name.startswith("turbosock") else "c1"


def line_colours(names: list[str]) -> dict[str, str]:
    """A class for each line: the first of ours is blue, the others have the other colours in turn."""
    ours = next((name for name in names if name.startswith("turbosock")), "")
    others = itertools.cycle(("c1", "c2", "c3", "c4"))
    return {name: "floor" if is_floor(name) else "c0" if name == ours else next(others) for name in names}


def short(value: float) -> str:
    """A figure of three digits: 57.2k, 1.24M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def steps(top: float) -> list[float]:
    """Round figures from 0 up to at least `top`, five or so."""
    power = 10.0 ** math.floor(math.log10(top / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= top)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The powers of ten from one at or below `low` to one at or above `high`; where they are few, figures between."""
    first = math.floor(math.log10(low) + 1e-9)
    last = max(first + 1, math.ceil(math.log10(high) - 1e-9))
    between = (1, 2, 5) if last - first <= 2 else (1,)
    return [*[10.0**power * factor for power in range(first, last) for factor in between], 10.0**last]


def drawing(titled: list[tuple[str, Chart]]) -> str:
    """An SVG document with a panel for each chart, under its title."""
    parts, top = [], 0.0
    for title, chart in titled:
        # The rest of a long title goes below it.
        for number, line in enumerate(title.split("; ", 1)):
            parts.append(label(0, top + 16, line, kind="axis" if number else "title"))
            top += TITLE_HEIGHT
        height, lines = line_panel(chart) if chart.lines else bar_panel(chart)
        parts += [f'<g transform="translate(0 {top:g})">', *lines, "</g>"]
        top += height
    width, height = WIDTH + 2 * MARGIN, top + 2 * MARGIN
    shown = f"{-MARGIN} {-MARGIN} {width} {height:g}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{shown}" width="{width}" height="{height:g}">'
    paper = f'<path d="M{-MARGIN} {-MARGIN}h{width}v{height:g}h{-width}z" class="paper"/>'
    return "\n".join([head, f"<style>\n{STYLE}\n</style>", paper, *parts, "</svg>"]) + "\n"


def label(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "") -> str:
    """A text."""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>'


def stroke(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bar_panel(chart: Chart) -> tuple[float, list[str]]:
    """(height, lines of SVG) of horizontal bars."""
    out = list[str]()
    everything = [max(value, 0.0) for values in chart.bars.values() for value in values]
    positive = [value for value in everything if value]
    if not positive:
        return HEAD_HEIGHT, out
    marks = decades(min(positive), max(positive)) if chart.logarithmic else steps(max(positive))
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    bottom = HEAD_HEIGHT + ROW_HEIGHT * len(chart.bars)

    def place(value: float) -> float:
        if not chart.logarithmic:
            return LABEL_WIDTH + room * max(value, 0.0) / marks[-1]
        return LABEL_WIDTH + room * math.log10(max(value, marks[0]) / marks[0]) / math.log10(marks[-1] / marks[0])

    for mark in marks:
        out.append(stroke(place(mark), HEAD_HEIGHT - 6, place(mark), bottom, "grid"))
        out.append(label(place(mark), bottom + 14, short(mark), anchor="middle", kind="axis"))
    out.append(label(LABEL_WIDTH + room / 2, bottom + 30, chart.axis, anchor="middle", kind="axis"))
    for row, (name, values) in enumerate(chart.bars.items()):
        y = HEAD_HEIGHT + ROW_HEIGHT * row
        middle, end = y + BAR_HEIGHT / 2, place(statistics.median(values))
        out.append(label(LABEL_WIDTH - 8, middle + 4, name, anchor="end"))
        width = max(end - LABEL_WIDTH, 1)
        box = f'x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT}"'
        out.append(f'<rect {box} class="bar {bar_colour(name)}"/>')
        if len(values) > 1:
            out.append(stroke(place(min(values)), middle, place(max(values)), middle, "whisker"))
        out.append(label(place(max(values)) + 6, middle + 4, short(statistics.median(values))))
    return bottom + FOOT_HEIGHT, out


def line_panel(chart: Chart) -> tuple[float, list[str]]:
    """(height, lines of SVG) of lines over a size, both axes logarithmic."""
    out = list[str]()
    points = [point for line in chart.lines.values() for point in line]
    across = decades(min(point.at for point in points), max(point.at for point in points))
    figures = [value for point in points for value in point.values if value > 0]
    up = decades(min(figures), max(figures))
    right, bottom = WIDTH - LINE_RIGHT, HEAD_HEIGHT + PLOT_HEIGHT

    def x_of(at: float) -> float:
        return LINE_LEFT + (right - LINE_LEFT) * math.log10(at / across[0]) / math.log10(across[-1] / across[0])

    def y_of(value: float) -> float:
        return bottom - PLOT_HEIGHT * math.log10(max(value, up[0]) / up[0]) / math.log10(up[-1] / up[0])

    for at in across:
        out.append(stroke(x_of(at), HEAD_HEIGHT, x_of(at), bottom, "grid"))
        out.append(label(x_of(at), bottom + 14, short(at), anchor="middle", kind="axis"))
    for value in up:
        out.append(stroke(LINE_LEFT, y_of(value), right, y_of(value), "grid"))
        out.append(label(LINE_LEFT - 6, y_of(value) + 4, short(value), anchor="end", kind="axis"))
    out.append(label((LINE_LEFT + right) / 2, bottom + 30, chart.sizes, anchor="middle", kind="axis"))
    turned = f'transform="rotate(-90 14 {HEAD_HEIGHT + PLOT_HEIGHT / 2:g})"'
    out.append(
        label(14, HEAD_HEIGHT + PLOT_HEIGHT / 2, chart.axis, anchor="middle", kind="axis").replace(
            " x=", f" {turned} x=", 1
        )
    )
    own, taken = line_colours(list(chart.lines)), list[float]()
    for name, line in chart.lines.items():
        places = [(x_of(point.at), y_of(statistics.median(point.values))) for point in line]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{corners}" class="{own[name]} line"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{own[name]}"/>' for x, y in places]
        for point, (x, _) in zip(line, places, strict=True):
            out.append(stroke(x, y_of(min(point.values)), x, y_of(max(point.values)), f"line {own[name]}"))
        # At its end; below whoever is there already.
        y = places[-1][1]
        while any(abs(y - other) < 14 for other in taken):
            y += 14
        taken.append(y)
        out.append(f'<rect x="{right + 10}" y="{y - 4:.1f}" width="10" height="8" class="bar {own[name]}"/>')
        out.append(label(right + 26, y + 4, name))
    return bottom + FOOT_HEIGHT, out
