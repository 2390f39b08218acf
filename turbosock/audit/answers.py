"""Answers: the statuses with which an audit's requests were answered: nobody shall take refusals for successes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


class Answers:
    """The status of a workload's first answer, and how often another one came.

    Attributes:
        usual: the first one's; the workload looks itself whether a later one differs, which costs nothing.
        others: counts by status.
    """

    __slots__ = ("others", "usual")

    def __init__(self, usual: int) -> None:
        self.usual = usual
        self.others: Counter[int] = Counter()

    def note(self, status_code: int) -> None:
        """Another status than the usual one came."""
        self.others[status_code] += 1

    def as_json(self) -> dict[str, Any]:
        """For the process that asked."""
        return {"usual": self.usual, "others": dict(self.others)}


def warnings_of(found: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """What there is to say about the answers of one plan's processes, as each of them told it; a line each."""
    usual: set[int] = set()
    others: Counter[int] = Counter()
    for told in found:
        usual.add(told["usual"])
        others.update({int(status): count for status, count in told["others"].items()})
    lines = []
    failing = sorted(status for status in usual if not 200 <= status < 300)
    if failing:
        lines.append(f"the server answers {_listed(failing)}, which is no success: the figures are of that answer")
    if others:
        counts = _listed(f"{status} ({count:,})" for status, count in sorted(others.items()))
        lines.append(f"{others.total():,} answers had another status than the first one: {counts}")
    return tuple(lines)


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))
