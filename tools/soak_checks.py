"""What is checked of a run of `soak.py`: answers, ends, descriptors, and memory by a line through all rests."""

from __future__ import annotations

import collections
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soak import Soak

MAX_GROWTH = 1024.0
# Growth that is none, however short the run: a heap of timers may hold on to 64 closed connections, and tables of the
# interpreter grow in steps; and what the system's allocator keeps, which is as much as was in use at the worst moment.
TRACED_NOISE_BYTES = 128 * 1024
RESIDENT_NOISE_BYTES = 8 * 1024 * 1024
# From the first rest to the last; of a shorter run, growth cannot be told from chance.
MIN_JUDGED_S = 5.0


@dataclass(frozen=True, slots=True)
class Rest:
    """What was found when nothing was under way, in one process: seconds since the start, descriptors and bytes."""

    at_s: float
    descriptors: int
    traced: int
    resident: int


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through the points with the least squares."""
    mean_x = statistics.mean(x for x, _ in points)
    mean_y = statistics.mean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def growth(points: list[tuple[float, float]], noise: int) -> float:
    """Bytes a second, 0 where the whole of it is no more than noise."""
    found = slope(points)
    return 0.0 if found * (points[-1][0] - points[0][0]) <= noise else found


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be so."""

    what: str
    found: str
    passed: bool


def checks_of(soak: Soak, before: int, after: int) -> list[Check]:
    """Everything that is checked; `before` and `after` are the descriptors around the whole run."""
    tallies = soak.tallies.values()
    begun = sum(tally.begun for tally in tallies)
    ended = sum(tally.good + tally.failed + tally.wrong for tally in tallies)
    wrong = sum(tally.wrong for tally in tallies)
    unexpected = sum((tally.unexpected for tally in tallies), collections.Counter[str]())
    found = [
        Check("zero wrong bytes", f"{wrong} answers of {ended:,} were wrong", wrong == 0),
        Check("every request has an end", f"{begun:,} begun, {ended:,} ended", begun == ended and not soak.unended),
        Check(
            "requests fail as broken connections make them",
            f"{sum(unexpected.values())} did not" + "".join(f"; {text} ({n})" for text, n in unexpected.most_common(3)),
            not unexpected,
        ),
        Check("some requests failed, so the faults were there", f"{failed(soak):,}", failed(soak) > 0),
    ]
    for where, rests in soak.rests.items():
        counts = [rest.descriptors for rest in rests]
        found.append(
            Check(f"descriptors of the {where} are constant", f"{first_to_last(counts)}", len(set(counts)) == 1)
        )
        for kind, sizes, noise in (
            ("traced", [rest.traced for rest in rests], TRACED_NOISE_BYTES),
            ("resident", [rest.resident for rest in rests], RESIDENT_NOISE_BYTES),
        ):
            points = [(rest.at_s, float(size)) for rest, size in zip(rests, sizes, strict=True)]
            long_enough = points[-1][0] - points[0][0] >= MIN_JUDGED_S
            pace = growth(points, noise)
            held = first_to_last([round(size / 1024) for size in sizes])
            found.append(
                Check(
                    f"{kind} memory of the {where} grows by < 1 KiB/s",
                    (f"{pace:,.0f} bytes/s" if long_enough else "too short to tell") + f"; KiB at the rests: {held}",
                    pace < MAX_GROWTH or not long_enough,
                )
            )
    found.append(Check("descriptors end where they began", f"{before} before, {after} after", before == after))
    return found


def first_to_last(values: list[int]) -> str:
    """A few values whole, and of many the first and the last."""
    if len(values) <= 6:
        return ", ".join(f"{value:,}" for value in values)
    return f"{values[0]:,} ... {values[-1]:,}, at most {max(values):,}"


def failed(soak: Soak) -> int:
    """Requests that failed."""
    return sum(tally.failed for tally in soak.tallies.values())
