"""What a contestant is told and what it answers: the only language between run.py and its child processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

BODY_BYTES = 100
BIG_BYTES = 100 * 1024 * 1024
FILE_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one contestant.

    Attributes:
        workload, contestant: which function is to run.
        measure: what to measure: "time", "allocations", "places", "growth" or "calls"; or "report", which is the
            workload's own.
        host, port: the server.
        seconds: how long to run for, about.
        count: requests to make, where the measurement fixes them; 0 lets `seconds` decide.
        in_flight: requests under way at once, or threads.
        core: the processor to run on; -1 for any.
        size: bytes of a body, where the workload has it told.
        ca_file: the authority to trust, where the server speaks TLS; empty where it does not.
    """

    workload: str
    contestant: str
    measure: str
    host: str
    port: int
    seconds: float
    count: int
    in_flight: int
    core: int
    ca_file: str = ""
    size: int = 0

    def url(self, path: str) -> str:
        """The URL of `path` on the server."""
        return f"{'https' if self.ca_file else 'http'}://{self.host}:{self.port}{path}"

    def request(self, path: str) -> bytes:
        """The shortest request for `path`, for those who write to the socket themselves."""
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Timed:
    """What a run that keeps its own time took: wrk does."""

    count: int
    seconds: float


# A run makes that many requests, or answers what it made instead.
Run = Callable[[int], Timed | None]
Contestant = Callable[[Task], Run]


def repeated(step: Callable[[], int], expected: int = BODY_BYTES) -> Run:
    """A run that calls `step` once a request; `step` returns the body bytes that it got, checked once here."""
    got = step()
    if got != expected:
        raise RuntimeError(f"a request gave {got} bytes of body, not {expected}")

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            step()

    return run
