"""Table: what the demo prints at its end, as plain text that pastes well."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

from turbosock.cli.demo.leg import Outcome

WIDTH: Final = 100


def table(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    """The rows of every leg, titled once, in aligned columns; the notes below, each once."""
    rows = [
        (title if not index else "", figure.what, figure.value)
        for title, outcome in outcomes
        for index, figure in enumerate(outcome.figures)
    ]
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    lines = [f"{title:<{first}}  {what:<{second}}  {value:>{third}}" for title, what, value in rows]
    rule = "-" * len(lines[0])
    return "\n".join([rule, *lines, rule, *_notes(note for _, outcome in outcomes for note in outcome.notes)]) + "\n"


def _notes(notes: Iterable[str]) -> list[str]:
    return [line for note in dict.fromkeys(notes) for line in textwrap.wrap(note, WIDTH)]
