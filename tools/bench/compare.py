"""`run.py --compare REV`: two revisions of the package in turn, by the workloads of this one.

Only turbosock's own contestants run, each of them with the one and then the other revision, in the next round the other
way about: what a machine does meanwhile it does to both. What is compared is what they take for one request.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environment
from bench import Bench, ContestantMissing
from promises import SAME_CORE
from rates import microseconds
from report import Table, spread
from task import Task


class NoRevision(Exception):
    """There is no such revision here."""


@contextlib.contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """A directory with the files of a revision, for the length of a with block.

    Raises:
        NoRevision: git has none of this name.
    """
    command = ["git", "-C", os.fspath(environment.CHECKOUT), "archive", "--end-of-options", revision, "turbosock"]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise NoRevision(f"--compare {revision}: {told[-1] if told else 'git failed'}")
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(name, filter="data")
        yield Path(name)


@dataclasses.dataclass(slots=True)
class CompareBench(Bench):
    """A Bench whose contestants run twice: with this checkout's package, and with another's.

    Attributes:
        other: the other checkout.
        found: by (workload, contestant, in flight) what a request took with each of them, in seconds, round by round.
    """

    other: Path = environment.CHECKOUT
    found: dict[tuple[str, str, int], tuple[list[float], list[float]]] = dataclasses.field(default_factory=dict)

    def placements(self) -> list[str]:
        """One: on one core a client's own cost shows."""
        return [SAME_CORE]

    def run(self, task: Task, **how: Any) -> dict[str, Any]:
        """Run both, and answer as this checkout's did."""
        if not task.contestant.startswith("turbosock"):
            raise ContestantMissing(f"{task.contestant}: not compared")
        if task.measure != "time":
            return super(CompareBench, self).run(task, **how)
        key = (task.workload, task.contestant, task.size or task.in_flight)
        mine, others = self.found.setdefault(key, ([], []))
        answers = {}
        order = (environment.CHECKOUT, self.other)
        for checkout in order if len(mine) % 2 == 0 else reversed(order):
            self.checkout = checkout
            answers[checkout] = super(CompareBench, self).run(task, **how)
        self.checkout = environment.CHECKOUT
        for checkout, taken in ((environment.CHECKOUT, mine), (self.other, others)):
            taken.append(answers[checkout]["seconds"] / answers[checkout]["count"])
        return answers[environment.CHECKOUT]

    def table(self, revision: str) -> Table:
        """What was found."""
        table = Table(
            f"this checkout beside {revision}, {self.rounds} rounds in turn, server and client on the {SAME_CORE}",
            ["", "now", "spread", revision, "spread", "now / it", "least", "most"],
            notes=[
                "A ratio is of the times that a request takes: below 1 this checkout is the faster one. It is the"
                " median of the rounds' ratios; least and most are theirs, too."
            ],
        )
        for (workload, contestant, many), (mine, others) in self.found.items():
            ratios = [now / before for now, before in zip(mine, others, strict=True)]
            of_many = f", {many:,}" if many > 1 else ""
            row = [f"{workload}: {contestant}{of_many}"]
            for taken in (mine, others):
                row += [microseconds(statistics.median(taken)), spread(taken)]
            row += [f"{figure:.3f}" for figure in (statistics.median(ratios), min(ratios), max(ratios))]
            table.rows.append(row)
        return table
