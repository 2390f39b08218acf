"""Page: reports as one file of HTML: the tables of the terminal, and the picture; nothing is loaded from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Final

from turbosock.audit.flame import flame
from turbosock.audit.report import AuditReport
from turbosock.audit.sections import Section, heading, sections, warnings

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; padding: 0 1rem; color: #222; }
h1 { font-size: 1.3rem; overflow-wrap: anywhere; } h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
table { border-collapse: collapse; } th, td { padding: .15rem .8rem .15rem 0; text-align: right; vertical-align: top; }
th { font-weight: 600; border-bottom: 1px solid #999; }
.words { text-align: left; }
td.words { font-family: ui-monospace, monospace; font-size: .85rem; white-space: pre-wrap; }
.note, .conditions { color: #666; } .over { color: #b00020; font-weight: 600; }
svg { max-width: 100%; height: auto; }
"""


def page(reports: Sequence[AuditReport], verdict: Sequence[str] = ()) -> str:
    """The whole file; `verdict` has a line for each bound that is exceeded."""
    first, *conditions = heading(reports[0])
    parts = [f"<h1>{html.escape(first)}</h1>"]
    parts += [f'<div class="conditions">{html.escape(line)}</div>' for line in conditions]
    parts += [f'<p class="over">warning: {html.escape(line)}</p>' for line in warnings(reports)]
    parts += [f'<p class="over">over the bounds: {html.escape(line)}</p>' for line in verdict]
    parts += [_table(section) for section in sections(reports)]
    if reports[0].python is not None:
        parts.append(f"<h2>who allocates</h2>{flame(reports[0])}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(reports[0].target)}: allocations</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{''.join(parts)}</body></html>\n"
    )


def picture(report: AuditReport) -> str:
    """The picture alone, as a file of HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(report.target)}: allocations</title></head><body>{flame(report)}</body></html>\n"
    )


def _table(section: Section) -> str:
    rows = []
    if section.head:
        cells = [
            f'<th class="words">{html.escape(name)}</th>' if not column else f"<th>{html.escape(name)}</th>"
            for column, name in enumerate(section.head)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    for row in section.rows:
        cells = [
            f'<td class="words">{html.escape(text)}</td>'
            if not column or not section.head or not section.head[column]
            else f"<td>{html.escape(text)}</td>"
            for column, text in enumerate(row)
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>\n")
    note = f'<div class="note">{html.escape(section.note)}</div>' if section.note else ""
    return f"<h2>{html.escape(section.title)}</h2><table>{''.join(rows)}</table>{note}\n"
