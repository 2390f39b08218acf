"""Workloads that count requests, or bytes, in a second: every contestant in turn, several rounds, two placements."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from bench import Bench, ContestantFailed
from promises import RATIOS, SAME_CORE, USER_TIMES
from report import NOT_MEASURED, Notes, Table, spread
from support import peers
from task import BIG_BYTES, FILE_BYTES

# Contestants that are programs of their own, where they are installed.
PROGRAMS = frozenset(("wrk", "h2load"))

# From one end to the other: a request and its answer take 50 ms.
PATH_DELAY_S = 0.025


@dataclass(frozen=True, slots=True)
class Rate:
    """A workload: its title, how many requests are under way, and how system calls are counted.

    Attributes:
        in_flight: the numbers of requests or threads to run with, one table each.
        traced: (few, many) requests for counting system calls; None leaves them uncounted.
        unit_bytes: bytes of one request where the rate is of bytes, or 0.
        tls: whether the server speaks TLS.
        sink: whether the server throws bodies away, and does nothing else.
        http2: whether the server speaks HTTP/2.
        delay_s: how long every byte takes from one end to the other.
    """

    name: str
    title: str
    in_flight: tuple[int, ...] = (1,)
    traced: tuple[int, int] | None = (200, 1200)
    unit_bytes: int = 0
    tls: bool = False
    sink: bool = False
    http2: bool = False
    delay_s: float = 0.0

    def run(self, bench: Bench) -> list[Table]:
        """One table for each placement and number in flight."""
        tables = []
        for placement in bench.placements():
            with self.peer(bench, placement) as peer:
                for in_flight in self.in_flight:
                    tables.append(self.table(bench, peer, placement, in_flight))
        return tables

    @contextlib.contextmanager
    def peer(self, bench: Bench, placement: str) -> Iterator[peers.Peer]:
        """The server, for the length of a with block."""
        with bench.sink(placement) if self.sink else bench.server(placement, tls=self.tls, http2=self.http2) as peer:
            if not self.delay_s:
                yield peer
                return
            with bench.delayed(peer, placement, self.delay_s) as far:
                yield far

    def contestants(self) -> list[str]:
        """Names of those that take part, in their order."""
        names = importlib.import_module(f"workloads.{self.name}").CONTESTANTS
        return [name for name in names if name != "empty" and (name not in PROGRAMS or shutil.which(name))]

    def table(self, bench: Bench, peer: peers.Peer, placement: str, in_flight: int) -> Table:
        """Run the rounds and lay them out."""
        there, left_out = self.contestants(), Notes()
        rates: dict[str, list[float]] = {name: [] for name in there}
        costs: dict[str, list[float]] = {name: [] for name in there}
        users: dict[str, list[float]] = {name: [] for name in there}
        for _ in range(bench.rounds):
            for name in list(there):
                answer = bench.attempt(bench.task(peer, self.name, name, in_flight=in_flight), left_out)
                if answer is None:
                    there.remove(name)
                    continue
                rates[name].append(answer["count"] / answer["seconds"])
                costs[name].append((answer["user_s"] + answer["system_s"]) / answer["count"])
                users[name].append(answer["user_s"] / answer["count"])
        ours = [name for name in there if name.startswith("turbosock")]
        calls = self.system_calls(bench, peer, there, in_flight) if placement == SAME_CORE else {}

        unit = "MB/s" if self.unit_bytes else "requests/s"
        title = self.title if len(self.in_flight) == 1 else f"{self.title}, {in_flight} in flight"
        table = Table(
            f"{self.name}: {title}; server and client on {'the ' if placement == SAME_CORE else ''}{placement}",
            ["", unit, "spread", "each", "CPU each", *[f"{name} / it" for name in ours]],
            where=placement,
        )
        scale = self.unit_bytes / 1e6 if self.unit_bytes else 1
        table.draw(unit, {name: [rate * scale for rate in rates[name]] for name in there})
        if calls:
            table.columns.append("system calls each")
        for name in there:
            rate = statistics.median(rates[name])
            # A program's processor time is its process's, which is not ours to see.
            cost = "" if name in PROGRAMS else microseconds(statistics.median(costs[name]))
            ratios = [f"{ratio(rates[mine], rates[name]):.2f}" for mine in ours]
            row = [name, f"{rate * scale:,.0f}", spread(rates[name]), microseconds(1 / rate), cost, *ratios]
            table.rows.append([*row, calls.get(name, "")] if calls else row)
        for promise in RATIOS:
            if (promise.workload, promise.in_flight) != (self.name, in_flight):
                continue
            if not (promise.ours in there and promise.other in there):
                table.judge(str(promise), NOT_MEASURED, None)
                continue
            measured = ratio(rates[promise.ours], rates[promise.other])
            if placement in promise.placements:
                table.judge(str(promise), f"{measured:.2f}", measured >= promise.at_least)
            else:
                table.notes.append(f"{promise}, held on {' and '.join(promise.placements)}: here {measured:.2f}.")
        for own in USER_TIMES:
            if own.workload == self.name and own.ours in there and own.other in there:
                # getrusage may count a short run's user time as none.
                share = statistics.median(users[own.ours]) / max(1e-9, statistics.median(users[own.other]))
                table.judge(str(own), f"{share:.3f}", share <= own.at_most)
        table.notes += left_out
        return table

    def system_calls(self, bench: Bench, peer: peers.Peer, names: list[str], in_flight: int) -> dict[str, str]:
        """System calls of one request, as text, by contestant."""
        if self.traced is None or in_flight > 100 or bench.quick:
            return {}
        texts = {}
        for name in names:
            if name in PROGRAMS:
                continue
            try:
                calls = bench.calls(bench.task(peer, self.name, name, in_flight=in_flight), *self.traced)
            except ContestantFailed as failed:
                bench.failures.append(f"{failed} (under strace)")
                continue
            most = sorted(calls, key=lambda call: -calls[call])[:4]
            if calls:
                texts[name] = f"{sum(calls.values()):.1f}: " + " ".join(f"{call} {calls[call]:.2g}" for call in most)
        return texts


def ratio(ours: list[float], others: list[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(mine / other for mine, other in zip(ours, others, strict=True))


def microseconds(seconds: float) -> str:
    """A duration in µs, or in ms where µs would be many digits."""
    return f"{seconds * 1e6:.1f} µs" if seconds < 0.01 else f"{seconds * 1e3:.1f} ms"


RATES = (
    Rate("http1_sequential", "one GET after the other"),
    Rate("recording", "one GET after the other, with and without a Recorder"),
    Rate("http1_threads", "GET from eight threads", in_flight=(8,)),
    Rate("http1_concurrent", "GET in one thread", in_flight=(10, 100, 1000), traced=(2000, 12000)),
    Rate("download", "100 MB into a buffer", traced=(1, 3), unit_bytes=BIG_BYTES),
    Rate("upload", "100 MB from memory", traced=(1, 3), unit_bytes=BIG_BYTES),
    Rate("upload_file", "1 GB from a file", traced=(1, 2), unit_bytes=FILE_BYTES, sink=True),
    Rate("json_post", "a 2 KB object as JSON, one POST after the other"),
    Rate("requests_adapter", "GET by requests, one after the other"),
    Rate("requests_adapter_stream", "100 MB by requests, 64 KiB at a time", traced=(1, 3), unit_bytes=BIG_BYTES),
    Rate("httpx_transport", "GET by httpx2, one after the other"),
    Rate("https_sequential", "one GET after the other over TLS", tls=True),
    Rate("download_tls", "100 MB over TLS into a buffer", traced=(1, 3), unit_bytes=BIG_BYTES, tls=True),
    Rate("https_handshakes", "a new TLS connection for each GET", traced=(50, 150), tls=True),
    Rate(
        "h2_multiplexed",
        "GET in one thread, 100 in flight on one connection",
        in_flight=(100,),
        traced=(2000, 12000),
        tls=True,
        http2=True,
    ),
    Rate("h2_sequential", "one GET after the other on one connection", tls=True, http2=True),
    Rate("h2_download", "100 MB on one stream", traced=(1, 3), unit_bytes=BIG_BYTES, tls=True, http2=True),
    Rate(
        "h2_download_delayed",
        f"100 MB on one stream, {2000 * PATH_DELAY_S:g} ms there and back",
        traced=None,
        unit_bytes=BIG_BYTES,
        tls=True,
        http2=True,
        delay_s=PATH_DELAY_S,
    ),
)
