"""KeyboardInterrupt at every place of the main scenarios where the interpreter looks for signals.

Wherever it comes: the caller sees it, no connection whose exchange was broken off serves another one (answers say whose
they are), no place of the pool is lost, and the next request works.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from support.interrupts import Interrupter, guarded
from support.labelled_server import LabelledServer, body_of, labelled_server
from support.length import short_or_long
from support.peers import unused_port
from support.seeds import seeds
from turbosock import Client, Config, Loop, PoolConfig, Timeouts, TransportMode
from turbosock.client.response import StreamedResponse

# A connection that was interrupted on its way from one owner to the next is closed by the collector, which says so; and
# so does a response that never reached its with block.
pytestmark = [
    # CPython 3.13 says so of one that is collected together with a view of it; nothing is lost.
    pytest.mark.filterwarnings("ignore:.*<_io.BytesIO object:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:a streamed response of .* was dropped:ResourceWarning"),
]

TIMEOUTS = Timeouts(connect_s=1, read_s=1, write_s=1, pool_s=0.2, total_s=2)
# One place: who loses it cannot go on.
POOL = PoolConfig(max_connections=1, max_connections_per_origin=1)
# Places of a longer scenario that are tried for one seed.
SAMPLE = short_or_long(60, 10_000)
BIG = 200_000
HANG_S = 4


@pytest.fixture(scope="module")
def server() -> Iterator[LabelledServer]:
    with labelled_server() as running:
        yield running


class Subject:
    """A client or a loop that is interrupted again and again; made anew when it is broken.

    Args:
        server: whom it asks.
        kept: whether it has a connection before each request.
        options: of its configuration.
    """

    def __init__(self, server: LabelledServer, kept: bool, **options: Any) -> None:
        self.options = options
        self.server = server
        self.kept = kept
        self.asked = 0
        self.open()

    def open(self) -> None:
        raise AssertionError("a client or a loop")

    def close(self) -> None:
        raise AssertionError("a client or a loop")

    def get(self) -> None:
        raise AssertionError("a client or a loop")

    def check(self) -> None:
        raise AssertionError("a client or a loop")

    def label(self) -> str:
        """A label that no other request has."""
        self.asked += 1
        return f"r{self.asked}"


class ClientSubject(Subject):
    """A Client."""

    def __init__(self, server: LabelledServer, kept: bool, mode: TransportMode, **options: Any) -> None:
        self.mode = mode
        super().__init__(server, kept, **options)

    def open(self) -> None:
        self.client = Client(Config(transport=self.mode, timeouts=TIMEOUTS, pool=POOL, **self.options))
        if self.kept:
            self.get()

    def close(self) -> None:
        self.client.close()

    def get(self) -> None:
        label = self.label()
        answer = self.client.get(self.server.url(label, 20))
        assert answer.content == body_of(label, 20), "the answer of another request"

    def stream(self) -> None:
        label = self.label()
        view = memoryview(bytearray(BIG))
        filled = 0
        with self.client.stream("GET", self.server.url(label, BIG, chunked=True)) as response:
            while count := response.readinto(view[filled:] if filled < BIG else bytearray(1)):
                filled += count
        assert view == body_of(label, BIG), "the answer of another request"

    def post(self) -> None:
        label = self.label()
        answer = self.client.post(
            self.server.url(label, 20), content=[b"a" * BIG], headers={"Content-Length": "200000"}
        )
        assert answer.content == body_of(label, 20), "the answer of another request"

    def check(self) -> None:
        stats = self.client.stats()
        assert stats.open == stats.idle, f"a place is lost: {stats}"
        self.get()


class LoopSubject(Subject):
    """A Loop."""

    def open(self) -> None:
        self.loop = Loop(Config(timeouts=TIMEOUTS, pool=POOL, **self.options))
        if self.kept:
            self.get()

    def close(self) -> None:
        self.loop.close()

    def get(self) -> None:
        label = self.label()
        exchange = self.loop.get(self.server.url(label, 20))
        end = time.monotonic() + 5
        while not exchange.done:
            assert time.monotonic() < end, "the exchange has no end"
            self.loop.poll(0.1)
            for _ in self.loop.events:
                pass
        if exchange.error is not None:
            raise exchange.error
        assert exchange.content == body_of(label, 20), "the answer of another request"

    def check(self) -> None:
        self.get()
        stats = self.loop.stats()
        assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0), f"a place is lost: {stats}"


def interrupt(subject: Subject, scenario: Callable[[], None], targets: Iterator[int]) -> int:
    """Interrupt `scenario` at each of these places, as far as there are so many; how many there were.

    Raises:
        AssertionError: with all that went wrong.
    """
    failures: dict[str, list[str]] = {}
    interrupter = Interrupter()
    hits = 0
    try:
        for target in targets:
            what = interrupter.failure(scenario, target, HANG_S)
            if what is None and interrupter.where is None:
                break
            hits += 1
            try:
                with guarded(HANG_S):
                    subject.check()
            except Exception as error:
                what = f"{what or ''} and afterwards {type(error).__name__}: {error}"
            if what is not None:
                failures.setdefault(what, []).append(f"{interrupter.where} ({target})")
            if what is not None or not subject.kept:
                subject.close()
                subject.open()
    finally:
        subject.close()
    assert not failures, "\n".join(f"{what}: {', '.join(where)}" for what, where in failures.items())
    return hits


def every() -> Iterator[int]:
    """Every place, one after the other."""
    target = 0
    while True:
        target += 1
        yield target


def sample(subject: Subject, scenario: Callable[[], None], seed: int) -> Iterator[int]:
    """Places drawn from all those of the scenario."""
    interrupter = Interrupter()
    interrupter.run(scenario, 0)
    random = Random(seed)
    # A run is not the same each time: what comes in how many pieces is the network's.
    found = range(1, interrupter.count)
    targets = sorted(random.sample(found, min(SAMPLE, len(found))))
    if not subject.kept:
        subject.close()
        subject.open()
    return iter(targets)


@pytest.mark.parametrize("mode", TransportMode)
def test_get_on_a_kept_connection_interrupted_anywhere_loses_nothing(
    server: LabelledServer, mode: TransportMode
) -> None:
    subject = ClientSubject(server, True, mode)
    assert interrupt(subject, subject.get, every()) > 40


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("mode", TransportMode)
@pytest.mark.parametrize(("name", "kept"), [("get", False), ("stream", True), ("post", True), ("post", False)])
def test_client_interrupted_anywhere_loses_nothing(
    server: LabelledServer, name: str, kept: bool, mode: TransportMode, seed: int
) -> None:
    subject = ClientSubject(server, kept, mode)
    scenario = getattr(subject, name)
    assert interrupt(subject, scenario, sample(subject, scenario, seed)) > 8


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
def test_loop_interrupted_anywhere_loses_nothing(server: LabelledServer, kept: bool, seed: int) -> None:
    subject = LoopSubject(server, kept)
    assert interrupt(subject, subject.get, sample(subject, subject.get, seed)) > 8


def roundabout() -> dict[str, Any]:
    """The server by a name whose first address refuses, from an address of one's own."""
    refused = unused_port()
    return {
        "host_map": {"127.0.0.1": "server.example"},
        "resolver": lambda host, port: [("127.0.0.1", refused), "127.0.0.1"],
        "local_address": "127.0.0.1",
    }


@pytest.mark.parametrize("seed", seeds(1))
def test_client_that_races_interrupted_anywhere_loses_nothing(server: LabelledServer, seed: int) -> None:
    subject = ClientSubject(server, False, TransportMode.SAEA, **roundabout())
    assert interrupt(subject, subject.get, sample(subject, subject.get, seed)) > 8


@pytest.mark.parametrize("seed", seeds(1))
def test_loop_that_races_interrupted_anywhere_loses_nothing(server: LabelledServer, seed: int) -> None:
    subject = LoopSubject(server, False, **roundabout())
    assert interrupt(subject, subject.get, sample(subject, subject.get, seed)) > 8


def test_streamed_response_interrupted_in_its_making_is_dropped_in_silence() -> None:
    unraisable: list[object] = []
    before = sys.unraisablehook
    sys.unraisablehook = unraisable.append
    try:
        StreamedResponse.__new__(StreamedResponse)
    finally:
        sys.unraisablehook = before
    assert not unraisable
