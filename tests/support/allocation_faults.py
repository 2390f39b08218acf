"""A program in which the Nth allocation fails, for every N, while a client or a loop makes a request.

Run with the mode, the scenario, a port, how many allocations fail in a row, and how many seconds it may go on. It says
in its last line what went wrong, "nothing" for nothing; an interpreter that crashed says nothing at all.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import warnings
from collections.abc import Callable

from support.labelled_server import LabelledServer, body_of
from turbosock import Client, Config, Loop, PoolConfig, Timeouts, TransportMode, TurbosockError

TIMEOUTS = Timeouts(connect_s=1, read_s=1, write_s=1, pool_s=0.3, total_s=2)
POOL = PoolConfig(max_connections=1, max_connections_per_origin=1)
# After so many runs in which the failure made no difference, the scenario is over.
QUIET_RUNS = 40
LENGTH = 50
# What CPython itself says where it has no memory and should say MemoryError: threading.Lock(), the end of a `for`, and
# where there is none for that error either.
OUT_OF_MEMORY = (
    "can't allocate lock",
    "returned NULL without setting an exception",
    "error return without exception set",
)


class Subject:
    """A client or a loop.

    Args:
        server: whom it asks.
        kept: whether it has a connection before its request.
    """

    def __init__(self, server: LabelledServer, mode: str, kept: bool) -> None:
        self.server = server
        config = Config(
            transport=TransportMode.STREAM if mode == "stream" else TransportMode.SAEA, timeouts=TIMEOUTS, pool=POOL
        )
        self.client = None if mode == "loop" else Client(config)
        self.loop = Loop(config) if mode == "loop" else None
        self.url = server.url("a", LENGTH)
        self.view = memoryview(bytearray(LENGTH))
        if kept:
            self.get()

    def get(self) -> None:
        if self.client is not None:
            body = self.client.get(self.url).content
        else:
            assert self.loop is not None
            exchange = self.loop.get(self.url)
            end = time.monotonic() + 4
            while not exchange.done:
                assert time.monotonic() < end, "an exchange has no end"
                self.loop.poll(0.05)
                for _ in self.loop.events:
                    pass
            if exchange.error is not None:
                raise exchange.error
            body = exchange.content
        assert body == body_of("a", LENGTH), "the body is wrong"

    def stream(self) -> None:
        if self.client is not None:
            with self.client.stream("GET", self.url) as response:
                count = response.readinto(self.view)
        else:
            assert self.loop is not None
            exchange = self.loop.request("GET", self.url, into=self.view)
            end = time.monotonic() + 4
            while not exchange.done:
                assert time.monotonic() < end, "an exchange has no end"
                self.loop.poll(0.05)
                for _ in self.loop.events:
                    pass
            if exchange.error is not None:
                raise exchange.error
            count = exchange.nbytes
        assert self.view[:count] == body_of("a", LENGTH), "the body is wrong"

    def check(self) -> None:
        """The next request works, and nothing is lost."""
        self.get()
        stats = self.client.stats() if self.client is not None else self.loop.stats() if self.loop is not None else None
        assert stats is not None
        assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0), f"a place is lost: {stats}"

    def close(self) -> None:
        for owner in (self.client, self.loop):
            if owner is not None:
                owner.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def fail_everywhere(make: Callable[[], Subject], scenario: str, in_a_row: int, seconds: float) -> dict[str, list[int]]:
    """What went wrong, and at which allocations."""
    from _testcapi import remove_mem_hooks, set_nomemory  # type: ignore[import-not-found]  # it has no stubs

    wrong: dict[str, list[int]] = {}
    end = time.monotonic() + seconds
    quiet = 0
    number = 0
    before = descriptors()
    while quiet < QUIET_RUNS:
        number += 1
        if time.monotonic() > end:
            wrong["the time is up before the last allocation"] = [number]
            break
        subject = make()
        call = getattr(subject, scenario)
        what = None
        failed = False
        # Nothing may be allocated between the hooks but by the scenario.
        set_nomemory(number, number + in_a_row)
        try:
            call()
        except (MemoryError, TurbosockError):
            failed = True
        except BaseException as error:
            remove_mem_hooks()
            failed = True
            if not any(words in str(error) for words in OUT_OF_MEMORY):
                what = f"raises {type(error).__name__}: {error}"
        finally:
            remove_mem_hooks()
        quiet = 0 if failed else quiet + 1
        try:
            subject.check()
        except BaseException as error:
            what = f"{what or ''} and afterwards {type(error).__name__}: {error}"
        subject.close()
        del subject, call
        if what is not None:
            wrong.setdefault(what, []).append(number)
    if descriptors() > before:
        wrong["descriptors are lost"] = [descriptors() - before]
    return wrong


def main() -> None:
    mode, scenario, kept, port, in_a_row, seconds = sys.argv[1:]
    # A warning would be made in the midst of a failure; what it says, the counts say.
    warnings.simplefilter("ignore")
    # What cannot be raised in a finalizer is no news here.
    sys.unraisablehook = lambda unraisable: None
    faulthandler.enable()
    server = LabelledServer("http", int(port))

    def make() -> Subject:
        return Subject(server, mode, kept == "kept")

    make().close()
    wrong = fail_everywhere(make, scenario, int(in_a_row), float(seconds))
    print(
        "; ".join(f"{what} (at {numbers[:8]}, {len(numbers)} in all)" for what, numbers in wrong.items()) or "nothing"
    )


if __name__ == "__main__":
    main()
