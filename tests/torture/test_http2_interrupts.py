"""KeyboardInterrupt at every place of an HTTP/2 request where the interpreter looks for signals.

Wherever it comes: the caller sees it, no place of the pool is lost, no answer reaches another request (each says whose
it is), and the next request works.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from support.http2_server import Http2Peer, Http2Site, Request, Wire, http2_site, serving
from support.https import Pki
from support.in_thread import InThread
from support.interrupts import Interrupter
from support.labelled_server import body_of
from support.length import short_or_long
from support.seeds import seeds
from turbosock import Client, Config, Loop, PoolConfig, Timeouts, TurbosockError
from turbosock.errors import PoolTimeout

# As in test_interrupts.py.
pytestmark = [
    # CPython 3.13 says so of one that is collected together with a view of it; nothing is lost.
    pytest.mark.filterwarnings("ignore:.*<_io.BytesIO object:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:a streamed response of .* was dropped:ResourceWarning"),
]

TIMEOUTS = Timeouts(connect_s=5, read_s=10, write_s=5, pool_s=1, total_s=20)
POOL = PoolConfig(max_connections=1, max_connections_per_origin=1)
SAMPLE = short_or_long(50, 10_000)
BIG = 200_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http2Site]:
    wire = Wire("clear", Pki(tmp_path_factory.mktemp("pki")))
    with http2_site(wire, serving(answer_labelled)) as running:
        yield running


def answer_labelled(http2: Http2Peer, request: Request) -> None:
    """The path is /label/length; the body is made of the label."""
    _, label, length = request.path.split("/")
    http2.answer(request, body_of(label, int(length)), length=int(length) < BIG)


class Subject:
    """A client or a loop that is interrupted again and again."""

    def __init__(self, site: Http2Site, loop: bool) -> None:
        self.site = site
        self._labels = itertools.count()
        config = Config(timeouts=TIMEOUTS, pool=POOL, **site.wire.options)
        self.client = None if loop else Client(config)
        self.loop = Loop(config) if loop else None

    def label(self, length: int) -> tuple[str, bytes]:
        label = f"r{next(self._labels)}"
        return self.site.url(f"/{label}/{length}"), body_of(label, length)

    def ask(self, method: str, length: int, **options: Any) -> None:
        url, body = self.label(length)
        if self.client is not None:
            found = self.client.request(method, url, **options).content
        else:
            assert self.loop is not None
            exchange = self.loop.request(method, url, **options)
            end = time.monotonic() + 5
            while not exchange.done:
                assert time.monotonic() < end, "the exchange has no end"
                self.loop.poll(0.1)
                for _ in self.loop.events:
                    pass
            if exchange.error is not None:
                raise exchange.error
            found = exchange.content
        assert found == body, "the answer of another request, or not all of it"

    def get(self) -> None:
        self.ask("GET", 20)

    def big(self) -> None:
        self.ask("GET", BIG)

    def post(self) -> None:
        self.ask("POST", 20, content=[b"a" * BIG])

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
        if self.loop is not None:
            self.loop.close()
        # Connections that were lost between two owners: here, where their warnings are expected.
        gc.collect()

    def check(self) -> None:
        self.get()
        owner = self.client or self.loop
        assert owner is not None
        stats = owner.pool.stats()
        if self.loop is not None:
            # The one that was interrupted goes on, where only a turn broke off.
            end = time.monotonic() + 5
            while stats.in_use and time.monotonic() < end:
                self.loop.poll(0.01)
                for _ in self.loop.events:
                    pass
                stats = self.loop.pool.stats()
        assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0), f"a place is lost: {stats}"


def interrupt(subject: Subject, scenario: Callable[[], None], seed: int) -> int:
    """Interrupt `scenario` at places drawn from all that it has; how many there were."""
    interrupter = Interrupter()
    scenario()
    interrupter.run(scenario, 0)
    random = Random(seed)
    found = range(1, interrupter.count)
    failures: list[str] = []
    hits = 0
    for target in sorted(random.sample(found, min(SAMPLE, len(found)))):
        what = None
        try:
            interrupter.run(scenario, target)
        except KeyboardInterrupt:
            pass
        except Exception as error:
            what = f"becomes {type(error).__name__}: {error}"
        else:
            if interrupter.where is None:
                continue
            what = "goes nowhere"
        hits += 1
        try:
            subject.check()
        except Exception as error:
            what = f"{what or ''} and afterwards {type(error).__name__}: {error}"
        if what is not None:
            failures.append(f"{interrupter.where} ({target}): {what}")
    assert not failures, "\n".join(failures)
    return hits


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("name", ["get", "big", "post"])
@pytest.mark.parametrize("loop", [False, True], ids=["client", "loop"])
def test_http2_request_interrupted_anywhere_loses_nothing(site: Http2Site, loop: bool, name: str, seed: int) -> None:
    subject = Subject(site, loop)
    try:
        assert interrupt(subject, getattr(subject, name), seed) > 16
    finally:
        subject.close()


@pytest.mark.parametrize("seed", seeds(1))
def test_interrupted_reader_leaves_no_other_thread_with_a_wrong_answer(site: Http2Site, seed: int) -> None:
    subject = Subject(site, False)
    others: list[str] = []
    over = False

    def ask() -> None:
        while not over:
            try:
                subject.big()
            except TurbosockError as error:
                # The connection broke off under it, which the error says.
                # Or whoever was to give it a place was interrupted at that.
                if error.code not in ("broken_off", "closed_early") and not isinstance(error, PoolTimeout):
                    others.append(repr(error))
            except AssertionError as error:
                others.append(str(error))

    threads = [InThread(ask) for _ in range(3)]
    try:
        interrupter = Interrupter()
        interrupter.run(subject.big, 0)
        count = interrupter.count
        random = Random(seed)
        for _ in range(SAMPLE):
            try:
                interrupter.run(subject.big, random.randrange(1, count))
            except (KeyboardInterrupt, TurbosockError):
                pass
        over = True
        for thread in threads:
            assert thread.outcome() is None
        assert not others
        subject.check()
    finally:
        over = True
        for thread in threads:
            thread.outcome()
        subject.close()
