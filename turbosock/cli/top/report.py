"""Report: a Load in words, as a table of lines for a terminal, as one line for a pipe, and as a summary at the end."""

from __future__ import annotations

import sys
import tracemalloc
from typing import TYPE_CHECKING, Final, NamedTuple

from turbosock.audit.growth import resident_bytes
from turbosock.cli.escapes import ESCAPES
from turbosock.cli.top.tally import Tally, sum_of
from turbosock.client.quantity import bytes_text, time_text
from turbosock.reactor.clock import NS_PER_S

if TYPE_CHECKING:
    from turbosock.cli.top.load import Load

HEADINGS: Final = ("", "rate", "p50", "p99", "max", "2xx", "3xx", "4xx", "5xx", "failed", "bytes")
_MAX_URL_LETTERS: Final = 48


class Line(NamedTuple):
    """One line, and whether it is to strike the eye: "" , "title" or "bad"."""

    text: str
    style: str = ""


def table(load: Load, now_ns: int) -> list[Line]:
    """What happens now: rates and latencies of the present interval, counts since the start."""
    seconds = (now_ns - load.looked_ns) / NS_PER_S
    rows = [(each.url, each.recent, each.total) for each in load.targets]
    return [_title(load, now_ns), *_rows(rows, seconds), *_state(load)]


def summary(load: Load, now_ns: int) -> list[Line]:
    """What happened: all of it since the start, statuses and errors by their names."""
    seconds = (now_ns - load.started_ns) / NS_PER_S
    rows = [(each.url, each.total, each.total) for each in load.targets]
    total = sum_of([each.total for each in load.targets])
    lines = [_title(load, now_ns), *_rows(rows, seconds)]
    if total.statuses:
        lines.append(Line(f"statuses     {_counts(total.statuses)}"))
    if total.errors:
        lines.append(Line(f"errors       {_counts(total.errors)}", "bad"))
    return lines + _state(load)


def one_line(load: Load, now_ns: int) -> str:
    """What happens now, all URLs together."""
    seconds = (now_ns - load.looked_ns) / NS_PER_S
    recent = sum_of([each.recent for each in load.targets])
    stats = load.loop.stats()
    return (
        f"{_since(load, now_ns)}  {_rate(recent.answers, seconds)}  p50 {_quantile(recent, 0.5)}  "
        f"p99 {_quantile(recent, 0.99)}  max {_longest(recent)}  in flight {load.in_flight}  "
        f"{_classes(recent)}  failed {recent.failures}  open {stats.open}  "
        f"rents {stats.buffers.rented}  misses {stats.buffers.missed}"
    )


def _title(load: Load, now_ns: int) -> Line:
    total = sum_of([each.total for each in load.targets])
    return Line(
        f"turbosock top  {_since(load, now_ns)}  {load.in_flight} in flight  {total.answers:,} answered  "
        f"{total.failures:,} failed",
        "title",
    )


def _rows(rows: list[tuple[str, Tally, Tally]], seconds: float) -> list[Line]:
    if len(rows) > 1:
        rows = [*rows, ("all", sum_of([row[1] for row in rows]), sum_of([row[2] for row in rows]))]
    cells = [HEADINGS, *(_cells(*row, seconds) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    lines = []
    for index, row in enumerate(cells):
        text = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        bad = index > 0 and (rows[index - 1][2].failures or rows[index - 1][2].of_class(5))
        # The URL comes last: it is what a narrow terminal may cut.
        lines.append(Line(f"{text}  {row[0]}".rstrip(), "bad" if bad else ""))
    return lines


def _cells(url: str, shown: Tally, total: Tally, seconds: float) -> tuple[str, ...]:
    url = url.translate(ESCAPES)
    if len(url) > _MAX_URL_LETTERS:
        url = f"{url[: _MAX_URL_LETTERS - 1]}…"
    return (
        url,
        _rate(shown.answers, seconds),
        _quantile(shown, 0.5),
        _quantile(shown, 0.99),
        _longest(shown),
        *(f"{total.of_class(hundreds):,}" for hundreds in range(2, 6)),
        f"{total.failures:,}",
        f"{bytes_text(shown.nbytes / seconds if seconds else 0.0)}/s",
    )


def _state(load: Load) -> list[Line]:
    stats = load.loop.stats()
    pool, buffers, objects = stats.connections, stats.buffers, stats.objects
    lines = [
        Line(
            f"connections  {pool.open} open, {pool.idle} idle, {pool.dialling} dialling; {pool.opened:,} made, "
            f"{pool.unfit:,} found dead; {pool.waiting} requests wait for one"
        ),
        Line(
            f"pools        buffers {buffers.rented:,} rents, {buffers.missed:,} misses; "
            f"exchanges {objects.rented:,} rents, {objects.made:,} misses; rings {stats.rings.made:,} made"
        ),
    ]
    if tracemalloc.is_tracing():
        held, peak = tracemalloc.get_traced_memory()
        lines.append(
            Line(
                f"memory       {bytes_text(held)} traced, {bytes_text(peak)} at most; "
                f"{sys.getallocatedblocks():,} blocks; {bytes_text(resident_bytes())} resident"
            )
        )
    if load.last_error is not None:
        lines.append(Line(f"last error   {str(load.last_error).translate(ESCAPES)}", "bad"))
    return lines


def _since(load: Load, now_ns: int) -> str:
    return f"{(now_ns - load.started_ns) / NS_PER_S:.0f} s"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds if seconds else 0.0:,.0f}/s"


def _quantile(tally: Tally, share: float) -> str:
    return time_text(tally.latencies.quantile_ns(share) / NS_PER_S) if tally.answers else "-"


def _longest(tally: Tally) -> str:
    return time_text(tally.latencies.max_ns / NS_PER_S) if tally.answers else "-"


def _classes(tally: Tally) -> str:
    return "  ".join(f"{hundreds}xx {tally.of_class(hundreds)}" for hundreds in range(2, 6))


def _counts(counts: dict[int, int] | dict[str, int]) -> str:
    return ", ".join(f"{what}: {count:,}" for what, count in sorted(counts.items(), key=lambda each: -each[1]))
