#!/usr/bin/env python3
"""Draw the state machines of the protocols, from the tables that the code steps by, into docs/reference/states/.

    python3 tools/state_diagrams.py            # says which drawings are out of date
    python3 tools/state_diagrams.py --write    # writes them

A drawing is laid out by rule, so that a changed table needs no hand: the states stand in a column. Each has a line for
every state that it leads to, with the events that do; the line joins a lane, one for each target, whose arrow enters
that target. What changes nothing, and what is an error, is named at its state.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from turbosock.protocol.http1 import state as http1  # noqa: E402  # the path is set above
from turbosock.protocol.http2 import error_codes, stream_state  # noqa: E402  # as above
from turbosock.protocol.websocket import state as websocket  # noqa: E402  # as above

DIRECTORY = ROOT / "docs" / "reference" / "states"

BOX_WIDTH = 190
ROW_HEIGHT = 17
GAP = 16
MARGIN = 14
LANE_WIDTH = 22
LETTER_WIDTH = 6.3
LABEL_LETTERS = 66
# One for each lane in turn; all of them dark enough for a thin line on white.
COLOURS = ("#1f5fa8", "#b0471e", "#2f7d32", "#7a3b9a", "#8a6d00", "#a3294f", "#00767d", "#555f6b", "#5b4a2f", "#3d3da8")

STYLE = """\
text { font: 11px ui-monospace, monospace; fill: #222 }
.state { font-weight: bold }
.still { fill: #777 }
.error { fill: #b00020 }
rect.state { fill: #f3f5f8; stroke: #444 }
path { fill: none; stroke-width: 1.4 }"""


class Machine(NamedTuple):
    """One state machine as it is drawn.

    Attributes:
        title: for who cannot see it.
        states: the names of those that are drawn, from top to bottom.
        steps: (state, event) to the next state, all by name.
        errors: (state, event) to what is wrong with it.
    """

    title: str
    states: Sequence[str]
    steps: Mapping[tuple[str, str], str]
    errors: Mapping[tuple[str, str], str]


class Row(NamedTuple):
    """One line of text at a state; the first of an arrow's lines has its target, and the arrow."""

    text: str
    kind: str
    target: str | None = None


def _of_pairs(
    title: str, table: Mapping[tuple[int, int], int], states: Sequence[str], events: Sequence[str]
) -> Machine:
    steps = {(states[state], events[event]): states[then] for (state, event), then in table.items()}
    return Machine(title, _from_the_first(states, steps), steps, {})


def _from_the_first(states: Sequence[str], steps: Mapping[tuple[str, str], str]) -> list[str]:
    """The states in the order of their distance from the first; then those whose next step is the end, and the end."""
    order = [states[0]]
    for state in order:
        order += dict.fromkeys(then for (source, _), then in steps.items() if source == state and then not in order)
    # What no event leads to is come to in another way: MUST_CLOSE, where an exchange was the last.
    order += [state for state in states if state not in order and any(source == state for source, _ in steps)]
    ways = {state: {then for (source, _), then in steps.items() if source == state} - {state} for state in order}
    ends = [state for state in order if not ways[state]]
    last = [state for state in order if ways[state] and ways[state] <= {*ends}]
    return [state for state in order if state not in (*ends, *last)] + last + ends


def _http2_stream() -> Machine:
    codes = {value: name for name, value in vars(error_codes).items() if name.isupper() and isinstance(value, int)}
    steps = {}
    errors = {}
    for state, row in zip(stream_state.STATE_NAMES, stream_state.TABLE, strict=True):
        for event, then in zip(stream_state.INPUT_NAMES, row, strict=True):
            if then >= 0:
                steps[state, event] = stream_state.STATE_NAMES[then]
            elif then > stream_state.CONNECTION_ERROR:
                errors[state, event] = f"stream error {codes[~then]}"
            elif then > stream_state.MISUSE:
                errors[state, event] = f"connection error {codes[stream_state.CONNECTION_ERROR - then]}"
    return Machine("The life of a stream of HTTP/2", stream_state.STATE_NAMES, steps, errors)


def machines() -> dict[str, Machine]:
    """Every machine by the name of its file."""
    names, events = http1.STATE_NAMES, http1.EVENT_NAMES
    return {
        "http1-client": _of_pairs("The life of an HTTP/1.1 client's connection", http1.CLIENT_TABLE, names, events),
        "http1-server": _of_pairs("The life of an HTTP/1.1 server's connection", http1.SERVER_TABLE, names, events),
        "http2-stream": _http2_stream(),
        "websocket": _of_pairs(
            "The life of a WebSocket", websocket.TABLE, websocket.STATE_NAMES, websocket.EVENT_NAMES
        ),
    }


def _rows(machine: Machine, state: str) -> list[Row]:
    """What stands beside a state: its ways out, then what leaves it as it is, then what is an error."""
    outcomes: dict[tuple[str, str], list[str]] = {}
    for (source, event), target in machine.steps.items():
        if source == state:
            outcomes.setdefault(("still" if target == state else "way", target), []).append(event)
    for (source, event), what in machine.errors.items():
        if source == state:
            outcomes.setdefault(("error", what), []).append(event)
    rows = []
    for kind, target in sorted(outcomes, key=lambda each: ("way", "still", "error").index(each[0])):
        text = ", ".join(outcomes[kind, target])
        if kind != "way":
            text = f"{'no change' if kind == 'still' else target}: {text}"
        first, *rest = textwrap.wrap(text, LABEL_LETTERS, subsequent_indent="  ")
        rows.append(Row(first, kind, target if kind == "way" else None))
        rows += [Row(line, kind) for line in rest]
    return rows


def draw(machine: Machine) -> str:
    """The drawing as SVG."""
    rows = {state: _rows(machine, state) for state in machine.states}
    entered = [state for state in machine.states if any(row.target == state for each in rows.values() for row in each)]
    letters = max(len(row.text) for each in rows.values() for row in each)
    left = MARGIN + BOX_WIDTH
    lanes_at = left + 14 + letters * LETTER_WIDTH + 24
    # The target that is entered from farthest away has its lane outside.
    lanes = {state: lanes_at + LANE_WIDTH * index for index, state in enumerate(entered)}
    colours = {state: COLOURS[index % len(COLOURS)] for index, state in enumerate(entered)}
    tops: dict[str, float] = {}
    y = float(MARGIN)
    for state in machine.states:
        tops[state] = y
        y += ROW_HEIGHT * (len(rows[state]) + 1) + GAP
    width, height = lanes_at + LANE_WIDTH * len(entered) + MARGIN, y
    boxes, texts, lines, joints = [], [], [], []
    ends: dict[str, list[float]] = {state: [tops[state] + ROW_HEIGHT * 0.6] for state in entered}
    for state in machine.states:
        top = tops[state]
        tall = ROW_HEIGHT * (len(rows[state]) + 1)
        boxes.append(f'<rect class="state" x="{MARGIN}" y="{top:g}" width="{BOX_WIDTH}" height="{tall}" rx="5"/>')
        texts.append(f'<text class="state" x="{MARGIN + 10}" y="{top + 15:g}">{state}</text>')
        for index, row in enumerate(rows[state], 1):
            bottom = top + ROW_HEIGHT * (index + 1) - 5
            texts.append(f'<text class="{row.kind}" x="{left + 14}" y="{bottom:g}">{escape(row.text)}</text>')
            if row.target is not None:
                at = bottom + 3.5
                lane, colour = lanes[row.target], colours[row.target]
                ends[row.target].append(at)
                lines.append(f'<path stroke="{colour}" d="M{left} {at:g}H{lane:g}"/>')
                joints.append(f'<circle cx="{lane:g}" cy="{at:g}" r="2.6" fill="{colour}"/>')
    for state in entered:
        lane, colour, into = lanes[state], colours[state], ends[state][0]
        lines.append(f'<path stroke="{colour}" d="M{lane:g} {min(ends[state]):g}V{max(ends[state]):g}"/>')
        lines.append(f'<path stroke="{colour}" d="M{lane:g} {into:g}H{left + 7}"/>')
        joints.append(f'<path fill="{colour}" style="fill: {colour}" d="M{left} {into:g}l9 -4v8z"/>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img">',
            f"<title>{escape(machine.title)}</title>",
            f"<style>\n{STYLE}\n</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *lines,
            *boxes,
            *joints,
            *texts,
            "</svg>",
            "",
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Write the drawings, or say which ones are out of date."""
    stale = 0
    for name, machine in machines().items():
        path = DIRECTORY / f"{name}.svg"
        drawing = draw(machine)
        if "--write" in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(drawing)
        elif not path.is_file() or path.read_text() != drawing:
            stale += 1
            print(f"{path.relative_to(ROOT)} is out of date: python3 tools/state_diagrams.py --write")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
