"""Text: reports for a terminal; plain where rich is not installed, or where nobody looks."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence
from typing import Any, Final, TextIO

from turbosock.audit.report import AuditReport
from turbosock.audit.sections import Section, heading, sections, warnings

WIDTH: Final = 110
# What is written for characters that would do something to a terminal.
_ESCAPES: Final = {i: f"\\x{i:02x}" for i in (*range(0x20), *range(0x7F, 0xA0))}


def plain(reports: Sequence[AuditReport], verdict: Sequence[str] = ()) -> str:
    """The reports as text that pastes well; `verdict` has a line for each bound that is exceeded."""
    lines = heading(reports[0]) + [f"warning: {line}" for line in warnings(reports)]
    for section in sections(reports):
        lines += ["", section.title, *_table(section)]
        lines += textwrap.wrap(section.note, WIDTH)
    if verdict:
        lines += ["", "over the bounds", *(f"  {line}" for line in verdict)]
    return "\n".join(line.rstrip().translate(_ESCAPES) for line in lines) + "\n"


def _table(section: Section) -> list[str]:
    rows = [*([section.head] if section.head else []), *section.rows]
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(width) if _is_words(section, column) else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = ("  " + "  ".join(cells)).rstrip()
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 3].rstrip() + "...")
    return lines


def _is_words(section: Section, column: int) -> bool:
    """Whether a column holds words and no figures."""
    return column == 0 or not section.head or section.head[column] == ""


def show(reports: Sequence[AuditReport], stream: TextIO, verdict: Sequence[str] = ()) -> None:
    """Write the reports, in colour on a terminal where rich is installed."""
    console = _console(stream) if stream.isatty() else None
    if console is None:
        stream.write(plain(reports, verdict))
        return
    # It is no dependency, so there may be no types of it.
    table_type: Any = importlib.import_module("rich.table").Table
    text_type: Any = importlib.import_module("rich.text").Text
    first, *others = heading(reports[0])
    console.print(text_type(first, style="bold"))
    for line in others:
        console.print(text_type(line, style="dim"))
    for line in warnings(reports):
        console.print(text_type(f"warning: {line}", style="bold yellow"))
    for section in sections(reports):
        table = table_type(
            title=section.title, title_justify="left", title_style="bold cyan", show_header=bool(section.head)
        )
        table.caption, table.caption_justify = (text_type(section.note), "left") if section.note else (None, "left")
        for column in range(len(section.rows[0]) if section.rows else 0):
            words = _is_words(section, column)
            name = text_type(section.head[column]) if section.head else ""
            table.add_column(name, justify="left" if words else "right", overflow="fold" if column else "ellipsis")
        for row in section.rows:
            table.add_row(*(text_type(cell.translate(_ESCAPES)) for cell in row))
        if section.rows:
            console.print(table)
        else:
            console.print(text_type(f"{section.title}: {section.note}"))
    for line in verdict:
        console.print(text_type(f"over the bounds: {line}", style="bold red"))


def _console(stream: TextIO) -> Any | None:
    try:
        console: Any = importlib.import_module("rich.console").Console
    except ImportError:
        return None
    return console(file=stream)
