"""Soak: sustained load, a tenfold burst and recovery, and churn, against a listener that goes wrong at random.

    python3 tools/soak.py                    # the short form, below 20 s
    python3 tools/soak.py --minutes 60       # the long one
    python3 tools/soak.py --seconds 4        # the shortest, for tests

One Client with several threads and one Loop send over http and https to `soak_server.py`, a process of its own. A cycle
is four phases, and then a rest in which everything has to have come to its end:

    sustained   requests at a steady rate
    burst       ten times as many
    recovery    the steady rate again
    churn       a new connection for each request

What is checked, in both processes where it can be: every answer has the bytes that its request asked for; every
request has an end, in time, and fails only as a broken connection makes it; at each rest there are as many descriptors
as at the first one, those of connections apart; memory grows by less than MAX_GROWTH by a line through all rests,
as tracemalloc counts it and as the system does. The first cycles are a warm-up: pools fill in it. Idle connections and
what pools keep free are let go at each rest, so that they are not taken for growth.

The parts beside this file: `soak_process.py` keeps the server, `soak_load.py` says what is asked for and when,
`soak_tally.py` counts what became of it, `soak_checks.py` judges.

The exit status is 1 where a check failed. A run of less than MIN_JUDGED_S between its rests does not judge growth.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# Found beside this file, wherever it is started from.
from soak_checks import Check, Rest, checks_of
from soak_load import Paced, Wanted
from soak_process import ServerProcess
from soak_server import body_of, descriptors, resident_bytes
from soak_tally import EXPECTED, Tally

from turbosock import Client, Config, Exchange, Loop, PoolConfig, Timeouts, TlsConfig

THREADS = 6
# The steady rate, in requests a second: half by threads, half by the loop.
RATE = 120
BURST = 10
# A cycle's parts, and how many connections a second of churn opens at most.
SHARES = (("sustained", 0.3), ("burst", 0.2), ("recovery", 0.2), ("churn", 0.3))
CHURN_RATE = 200
WARM_UP_CYCLES = 2
MEASURED_CYCLES = 4
MAX_CYCLE_S = 60.0
# For a request to come to its end, however busy the machine is.
PATIENCE_S = 30.0
TIMEOUTS = Timeouts(total_s=PATIENCE_S)
TICK_S = 0.005
LONG_NS = 10**12


class Soak:
    """The whole run.

    Args:
        server: whom to ask.
        seed: of everything drawn here.
    """

    def __init__(self, server: ServerProcess, seed: int) -> None:
        self._server = server
        self._random = Random(seed)
        self._wanted = Wanted(server.urls)
        common: dict[str, Any] = {"tls": TlsConfig(ca_data=server.ca_pem), "timeouts": TIMEOUTS}
        config = Config(pool=PoolConfig(max_connections_per_origin=32), **common)
        self._client = Client(config)
        self._loop = Loop(config)
        # Each request of theirs has a connection of its own.
        config = Config(pool=PoolConfig(max_idle=0), **common)
        self._churning_client = Client(config)
        self._churning_loop = Loop(config)
        self.tallies = {name: Tally() for name, _ in SHARES}
        self.rests: dict[str, list[Rest]] = {"client": [], "server": []}
        self.unended = 0
        self._start = time.monotonic()

    # Phases

    def warm_up(self) -> None:
        """Every request of every face once: what they remember of requests is remembered by then."""
        for method, url, body in self._wanted.all():
            for client in (self._client, self._churning_client):
                insist(client, method, url, body)
            for loop in (self._loop, self._churning_loop):
                exchange = None
                while exchange is None or not exchange.ok:
                    exchange = loop.request(method, url, content=body if method == "POST" else None)
                    while not exchange.done:
                        loop.poll(1.0)

    def cycle(self, seconds: float, *, counted: bool) -> None:
        """All phases once, and a rest."""
        for name, share in SHARES:
            tally = self.tallies[name] if counted else Tally()
            rate = {"burst": RATE * BURST, "churn": CHURN_RATE}.get(name, RATE)
            self._phase(tally, seconds * share, rate, churning=name == "churn")
            if not counted:
                self._blame(tally)
        here, there = self._rest()
        if counted:
            self.rests["client"].append(here)
            self.rests["server"].append(there)

    def _blame(self, tally: Tally) -> None:
        """What is wrong is wrong in the warm-up, too."""
        kept = self.tallies["sustained"]
        kept.wrong += tally.wrong
        kept.unexpected += tally.unexpected

    def _phase(self, tally: Tally, seconds: float, rate: float, *, churning: bool) -> None:
        end = time.monotonic() + seconds
        client = self._churning_client if churning else self._client
        loop = self._churning_loop if churning else self._loop
        threads = [
            threading.Thread(
                target=self._ask_with_client,
                args=(client, tally, rate / 2 / THREADS, end, self._random.getrandbits(64)),
            )
            for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        self._ask_with_loop(loop, tally, rate / 2, end)
        for thread in threads:
            thread.join()

    def _ask_with_client(self, client: Client, tally: Tally, rate: float, end: float, seed: int) -> None:
        random = Random(seed)
        paced = Paced(rate, end)
        while not paced.over:
            time.sleep(min(paced.left(), max(0.0, end - time.monotonic())))
            paced.take()
            wanted = self._wanted.draw(random)
            tally.begin()
            start = time.monotonic()
            try:
                right = got_right(client, *wanted, whole=random.random() < 0.5)
            except Exception as error:
                # Here, and kept in no variable: an error that outlives its frame keeps all that the frame held.
                tally.end(time.monotonic() - start, error, False)
            else:
                tally.end(time.monotonic() - start, None, right)

    def _ask_with_loop(self, loop: Loop, tally: Tally, rate: float, end: float) -> None:
        paced = Paced(rate, end)
        under_way: dict[Exchange, tuple[float, bytes]] = {}
        give_up = end + 2 * PATIENCE_S
        while under_way or not paced.over:
            while not paced.over and not paced.left():
                paced.take()
                method, url, body = self._wanted.draw(self._random)
                content = body if method == "POST" else None
                tally.begin()
                exchange = loop.request(method, url, content=content)
                under_way[exchange] = (time.monotonic(), body)
            loop.poll(TICK_S, max_time=TICK_S)
            take_ended(loop, under_way, tally)
            if time.monotonic() > give_up:
                self.unended += len(under_way)
                return

    # Rests

    def _rest(self) -> tuple[Rest, Rest]:
        """Let everything settle, and look at both processes."""
        for loop in (self._loop, self._churning_loop):
            # What the server closed meanwhile is noticed.
            for _ in range(3):
                loop.poll()
            for _ in loop.events:
                pass
            loop.poll()
        faces = (self._client, self._churning_client, self._loop, self._churning_loop)
        gc.collect()
        for face in faces:
            # As if they had been idle for too long: how many there are at this moment is chance.
            face.pool.close_expired(time.monotonic_ns() + LONG_NS)
            face.pool.close_expired(time.monotonic_ns())
        open_here = sum(face.stats().open for face in faces)
        for face in faces:
            face.rings.clear()
            face.buffers.clear()
        there = self._server.stats()
        gc.collect()
        at_s = time.monotonic() - self._start
        return (
            Rest(at_s, descriptors() - open_here, tracemalloc.get_traced_memory()[0], resident_bytes()),
            Rest(at_s, there["descriptors"] - there["connections"], there["traced"], there["resident"]),
        )

    def close(self) -> None:
        """Close both faces."""
        for face in (self._client, self._churning_client, self._loop, self._churning_loop):
            face.close()


def got_right(client: Client, method: str, url: str, body: bytes, *, whole: bool) -> bool:
    """Make one request, and say whether the body that came is the one that was wanted."""
    content = body if method == "POST" else None
    if whole:
        return client.request(method, url, content=content).content == body
    with client.stream(method, url, content=content) as response:
        return b"".join(response.iter_bytes()) == body


def take_ended(loop: Loop, under_way: dict[Exchange, tuple[float, bytes]], tally: Tally) -> None:
    """Look at what ended in the last turn, and hold none of it."""
    for event in loop.events:
        ended = event.exchange
        if ended is not None and ended in under_way:
            started, body = under_way.pop(ended)
            right = ended.error is None and ended.content == body
            tally.end(time.monotonic() - started, ended.error, right)


def table_of(soak: Soak) -> list[list[str]]:
    """What the phases did."""
    rows = [["phase", "requests", "good", "failed", "median", "99 of 100", "most"]]
    for name, tally in soak.tallies.items():
        times = tally.times
        shown = [times.quantile(0.5), times.quantile(0.99), times.most]
        row = [name, f"{tally.begun:,}", f"{tally.good:,}", f"{tally.failed:,}"]
        rows.append([*row, *(f"{seconds * 1e3:,.1f} ms" for seconds in shown)])
    return rows


def print_table(rows: list[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        )


@contextmanager
def tracing() -> Iterator[None]:
    """tracemalloc for the length of a with block."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def run(seconds: float, seed: int) -> tuple[Soak, list[Check]]:
    """All cycles within about `seconds`, and what is to be said of them."""
    least = WARM_UP_CYCLES + MEASURED_CYCLES
    cycles = max(least, round(seconds / MAX_CYCLE_S))
    with ServerProcess(seed) as server, tracing():
        # Whatever is made once in a process is made by now.
        with Client(Config(tls=TlsConfig(ca_data=server.ca_pem))) as client:
            for url in server.urls:
                insist(client, "GET", f"{url}/warm/10", body_of("warm", 10))
        before = descriptors()
        soak = Soak(server, seed)
        try:
            soak.warm_up()
            for number in range(cycles):
                soak.cycle(seconds / cycles, counted=number >= WARM_UP_CYCLES)
        finally:
            soak.close()
        gc.collect()
        return soak, checks_of(soak, before, descriptors())


def insist(client: Client, method: str, url: str, body: bytes) -> None:
    """Ask until the right answer comes."""
    for _ in range(100):
        try:
            if got_right(client, method, url, body, whole=True):
                return
        except EXPECTED:
            continue
    raise RuntimeError(f"{method} {url} is not answered as it should be, however often it is asked")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description="Sustained load, bursts and churn against a listener with faults.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="the long form: about so many minutes")
    length.add_argument("--seconds", type=float, default=14.0, help="the short form: about so many seconds (14)")
    parser.add_argument("--seed", type=int, default=None, help="of everything drawn; a new one each time without it")
    options = parser.parse_args()
    seconds = options.seconds if options.minutes is None else options.minutes * 60
    if not 1 <= seconds <= 86_400 * 7:
        parser.error("give between 1 second and a week")
    seed = Random().getrandbits(32) if options.seed is None else options.seed
    print(f"seed {seed}, about {seconds:g} s", flush=True)
    soak, checks = run(seconds, seed)
    print_table(table_of(soak))
    print()
    rows: list[list[Any]] = [[check.what, "ok" if check.passed else "FAILED", check.found] for check in checks]
    width = max(len(row[0]) for row in rows)
    for what, verdict, found in rows:
        print(f"{what.ljust(width)}  {verdict.ljust(6)}  {found}")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
