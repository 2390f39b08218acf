"""KeyboardInterrupt at every place of requests that are redirected, challenged or tried again.

Wherever it comes: the caller sees it, no place of the pool and no permit of a link is lost, an exchange that was begun
has an end, and the next request works.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from support.interrupts import Interrupter
from support.length import short_or_long
from support.seeds import seeds
from support.two_origins import Site
from turbosock import (
    Client,
    ConcurrencyLimit,
    Config,
    DigestAuth,
    Exchange,
    Loop,
    PoolConfig,
    RetryPolicy,
    Timeouts,
    TransportMode,
)
from turbosock.server.http_exchange import HttpExchange

# As in test_interrupts.py.
pytestmark = [
    # CPython 3.13 says so of one that is collected together with a view of it; nothing is lost.
    pytest.mark.filterwarnings("ignore:.*<_io.BytesIO object:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*unclosed <socket:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

TIMEOUTS = Timeouts(connect_s=1, read_s=1, write_s=1, pool_s=0.5, total_s=3)
POOL = PoolConfig(max_connections=2, max_connections_per_origin=1)
SAMPLE = short_or_long(25, 10_000)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    made = Site()
    made.redirect("/near", "/end")
    made.redirect("/far", made.other.url("/end"))
    fields = [("Location", "/end")]
    made.answers["/long"] = lambda exchange: exchange.respond(302, fields, bytes(300_000))
    made.answers["/private"] = challenge
    made.answers["/busy"] = busy
    made.answers["/broken"] = broken
    with made.one, made.other:
        yield made


def challenge(exchange: HttpExchange) -> None:
    if "authorization" in exchange.request.headers:
        exchange.respond(200, content=b"echo of /end")
    else:
        exchange.respond(401, {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth"'}, b"who?")


def busy(exchange: HttpExchange) -> None:
    # The first of each request's attempts finds the server busy.
    attempts[exchange.request.target] = count = attempts.get(exchange.request.target, 0) + 1
    exchange.respond(503 if count == 1 else 200, content=b"busy" if count == 1 else b"echo of /end")


def broken(exchange: HttpExchange) -> None:
    # So does the first one here find a connection that breaks.
    attempts[exchange.request.target] = count = attempts.get(exchange.request.target, 0) + 1
    if count == 1:
        exchange.abort()
    else:
        exchange.respond(200, content=b"echo of /end")


attempts: dict[str, int] = {}


class Subject:
    """A client or a loop that is asked for one path again and again."""

    def __init__(self, kind: str, site: Site, path: str, linked: bool) -> None:
        self.limit = ConcurrencyLimit(1)
        links = (self.limit,) if linked else ()
        policy = RetryPolicy(backoff_first_s=1e-9, backoff_cap_s=1e-9, budget=None)
        retries = policy if path in ("/busy", "/broken") else None
        self.site = site
        self.path = path
        self.asked = 0
        self.begun: list[Exchange] = []
        if kind == "loop":
            self.loop: Loop | None = Loop(Config(timeouts=TIMEOUTS, pool=POOL), middleware=links, retries=retries)
            self.owner: Client | Loop = self.loop
        else:
            self.loop = None
            config = Config(transport=TransportMode(kind), timeouts=TIMEOUTS, pool=POOL)
            self.owner = Client(config, middleware=links, retries=retries)

    def once(self) -> None:
        self.asked += 1
        url = self.site.one.url(f"{self.path}?{id(self)}-{self.asked}")
        options: dict[str, Any] = {"auth": DigestAuth("u", "pw")} if self.path == "/private" else {}
        owner = self.owner
        if isinstance(owner, Client):
            assert owner.get(url, **options).content == b"echo of /end"
            return
        exchange = owner.get(url, **options)
        self.begun.append(exchange)
        self.turn(lambda: exchange.done)
        if exchange.error is not None:
            raise exchange.error
        assert exchange.content == b"echo of /end"

    def turn(self, until: Callable[[], bool]) -> None:
        assert self.loop is not None
        end = time.monotonic() + 8
        while not until():
            assert time.monotonic() < end, "an exchange has no end"
            self.loop.poll(0.1)
            for _ in self.loop.events:
                pass

    def check(self) -> None:
        if self.loop is not None:
            loop = self.loop
            # What was begun goes on, also where the interrupt kept it from its caller; and a timer that nobody keeps is
            # gone after a turn.
            loop.poll()

            def quiet() -> bool:
                stats = loop.stats()
                return (
                    all(exchange.done for exchange in self.begun)
                    and stats.open == stats.idle
                    and not (stats.waiting or stats.held or stats.dials)
                )

            self.turn(quiet)
        stats = self.owner.stats()
        assert (stats.open, stats.waiting, stats.held) == (stats.idle, 0, 0), stats
        assert self.limit.limiter.in_flight == 0, "a permit is lost"
        self.once()
        self.begun.clear()


@pytest.mark.parametrize("seed", seeds(1))
@pytest.mark.parametrize("linked", [False, True], ids=["plain", "linked"])
@pytest.mark.parametrize("path", ["/near", "/far", "/long", "/private", "/busy", "/broken"])
@pytest.mark.parametrize("kind", ["stream", "saea", "loop"])
def test_request_of_several_steps_interrupted_anywhere_loses_nothing(
    site: Site, kind: str, path: str, linked: bool, seed: int
) -> None:
    subject = Subject(kind, site, path, linked)
    failures: list[str] = []
    try:
        subject.once()
        interrupter = Interrupter()
        interrupter.run(subject.once, 0)
        assert interrupter.count > 100
        places = range(1, interrupter.count)
        for target in sorted(Random(seed).sample(places, min(len(places), SAMPLE))):
            try:
                interrupter.run(subject.once, target)
            except KeyboardInterrupt:
                pass
            else:
                if interrupter.where is not None:
                    failures.append(f"{interrupter.where} ({target}) goes nowhere")
            try:
                subject.check()
            except Exception as error:
                failures.append(f"{interrupter.where} ({target}): {type(error).__name__}: {error}")
                subject.owner.close()
                subject = Subject(kind, site, path, linked)
                subject.once()
        assert not failures, "\n".join(failures)
    finally:
        subject.owner.close()
