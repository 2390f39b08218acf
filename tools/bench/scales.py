"""Workloads of growth: what becomes of a rate as the number of connections, threads or streams grows, or the body.

Few points and short runs: the shape of a line is what they show. Each is drawn over its size.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import Bench
from charts import Chart, Point, short
from promises import SAME_CORE
from rates import PROGRAMS
from report import Table
from support import peers
from task import BODY_BYTES

MAX_ROUNDS = 3
MAX_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Scale:
    """A workload: its title, its sizes, and what they are.

    Attributes:
        sizes: the points; each is a task's `in_flight`, or with `bodies` its `size`.
        sizes_are: their axis.
        bodies: whether the sizes are of bodies, and the rate is of their bytes.
        most: contestants that are left out above a size, with that size.
        http2: whether the server speaks HTTP/2, over TLS, and allows as many streams as there are.
    """

    name: str
    title: str
    sizes: tuple[int, ...]
    sizes_are: str
    bodies: bool = False
    most: dict[str, int] = field(default_factory=dict)
    http2: bool = False

    def run(self, bench: Bench) -> list[Table]:
        """One table, a row for each size, on two cores where there are two."""
        placement = bench.placements()[-1]
        unit = "MB/s" if self.bodies else "requests/s"
        names = importlib.import_module(f"workloads.{self.name}").CONTESTANTS
        names = [name for name in names if name not in PROGRAMS or shutil.which(name)]
        lines: dict[str, list[Point]] = {name: [] for name in names}
        on = "the same core" if placement == SAME_CORE else placement
        table = Table(f"{self.name}: {self.title}, {unit}; server and client on {on}", [self.sizes_are, *names])
        with self.server(bench, placement) as peer:
            for size in self.sizes:
                there = [name for name in names if size <= self.most.get(name, size)]
                found = self.measured(bench, peer, there, size, table)
                for name, values in found.items():
                    lines[name].append(Point(size, values))
                shown = {name: short(statistics.median(values)) for name, values in found.items()}
                table.rows.append([f"{size:,}", *[shown.get(name, "") for name in names]])
        drawn = {name: line for name, line in lines.items() if line}
        if drawn:
            table.chart = Chart(unit, lines=drawn, sizes=self.sizes_are)
        return [table]

    def measured(
        self, bench: Bench, peer: peers.Peer, names: list[str], size: int, table: Table
    ) -> dict[str, list[float]]:
        """Rates of one size by contestant, round after round."""
        found: dict[str, list[float]] = {}
        scale = size / 1e6 if self.bodies else 1
        for _ in range(min(bench.rounds, MAX_ROUNDS)):
            for name in names:
                sizes = {"size": size} if self.bodies else {"in_flight": size}
                task = bench.task(peer, self.name, name, seconds=min(bench.seconds, MAX_SECONDS), **sizes)
                answer = bench.attempt(task, table.notes)
                if answer is not None:
                    found.setdefault(name, []).append(answer["count"] / answer["seconds"] * scale)
        return found

    @contextlib.contextmanager
    def server(self, bench: Bench, placement: str) -> Iterator[peers.Peer]:
        """nginx, with a file for each size where these are of bodies."""
        with bench.server(placement, tls=self.http2, http2=self.http2, streams=max(self.sizes)) as peer:
            if self.bodies:
                for size in self.sizes:
                    with (peer.root / str(size)).open("wb") as file:
                        file.truncate(size)
            yield peer


SCALES = (
    Scale(
        "scale_connections",
        f"GET of {BODY_BYTES} bytes in one thread, one on each connection",
        (1, 10, 100, 1_000, 10_000),
        "connections",
        most={"pycurl multi": 1_000, "wrk": 1_000},
    ),
    Scale(
        "scale_body",
        "GET into a buffer of 1 MB, one after the other",
        (1, 1_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000),
        "bytes of body",
        bodies=True,
    ),
    Scale("scale_threads", "GET on one client", (1, 2, 4, 8, 16, 32, 64), "threads"),
    Scale(
        "scale_streams",
        "GET in flight on one HTTP/2 connection, over TLS",
        (1, 10, 100, 1_000),
        "requests in flight",
        http2=True,
    ),
)
