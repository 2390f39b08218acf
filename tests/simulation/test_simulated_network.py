"""Whole programs on a network in virtual time that does everything a network may do, drawn from a seed.

Each seed is a client with its own settings, a dozen requests, and a server that answers as `support.simulated_origin`
tells. Whatever happens: a body is an exact prefix of what was sent; no answer reaches another request; a request that
is not idempotent is never sent twice, and another one twice at most; a truncated body is never reported whole; every
exchange ends exactly once, within its deadline; and no place, ring or socket is lost.

`TURBOSOCK_SEEDS=7,1234` runs these seeds, `TURBOSOCK_LONG_TESTS=1` thousands.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from support.length import short_or_long
from support.seeds import seeds
from support.simulated_network import InTime, Network, SimulatedSocket, simulated
from support.simulated_origin import Origin, OriginConnection, body_of
from turbosock import (
    Client,
    Config,
    Event,
    EventKind,
    Exchange,
    Loop,
    PoolConfig,
    Response,
    Timeouts,
    TransportMode,
    TurbosockError,
)
from turbosock.reactor.clock import NS_PER_S

REQUESTS = 12
TOTAL_S = 2.0
TIMEOUTS = Timeouts(connect_s=1.0, read_s=0.5, write_s=0.5, pool_s=1.0, total_s=TOTAL_S)
# What a call may take longer than its deadline.
GRACE_S = 0.1
TICK_S = 0.02
ORIGINS = ("http://10.0.0.1:8080", "http://10.0.0.2:8080")
SEEDS = seeds(short_or_long(250, 5000))


@dataclass
class Wish:
    """One request of the program."""

    identity: int
    method: str
    length: int
    url: str
    content: bytes | list[bytes] | None
    headers: dict[str, str] | None

    @property
    def expected(self) -> bytes:
        return b"" if self.method == "HEAD" else body_of(self.identity, self.length)

    @property
    def uploaded(self) -> bytes:
        return b"".join(self.content) if isinstance(self.content, list) else self.content or b""


class World:
    """A network, the server on it, and what the program wants of it.

    Args:
        seed: of everything.
    """

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.origin = Origin(Random(seed + 1))
        self.network = Network(Random(seed + 2), self._connect)
        self.config = Config(
            zero_alloc=random.random() < 0.7,
            diagnostics=random.random() < 0.3,
            timeouts=TIMEOUTS,
            pool=PoolConfig(
                max_connections=3,
                max_connections_per_origin=random.choice((2, 3)),
                max_idle=random.choice((1, 3)),
                max_idle_s=random.choice((0.5, 60.0)),
            ),
        )
        self.wishes: list[Wish] = []
        for identity in range(1, REQUESTS + 1):
            wish = self._wish(identity)
            before = [earlier for earlier in self.wishes if earlier.method == "GET"]
            # What is asked for again is recognised by its first answer.
            again = wish.method == "GET" and before and random.random() < 0.4
            self.wishes.append(before[-1] if again else wish)

    def _connect(self, sock: SimulatedSocket) -> OriginConnection:
        return OriginConnection(self.origin, self.network, sock)

    def _wish(self, identity: int) -> Wish:
        random = self.random
        method = random.choice(("GET", "GET", "GET", "POST", "POST", "HEAD", "PUT"))
        length = random.choice((0, 1, 5, 100, 3000, 30_000, 200_000))
        url = f"{random.choice(ORIGINS[:1] + ORIGINS)}/{identity}/{length}"
        content: bytes | list[bytes] | None = None
        headers = None
        if method in ("POST", "PUT"):
            content = random.choice((None, b"q" * 10, b"q" * 120_000, [b"ab", b"", b"c" * 5000], b"r" * 20_000))
            if content and random.random() < 0.2:
                headers = {"Expect": "100-continue"}
        return Wish(identity, method, length, url, content, headers)

    def pause(self) -> float:
        """How long the program does something else; meanwhile idle connections may say something, or end."""
        kind = self.random.random()
        return 0.0 if kind < 0.5 else self.random.choice((0.003, 0.6, 3.0))

    def check_answer(self, wish: Wish, identity: str | None, body: bytes | None, *, whole: bool) -> None:
        """What the program was given for a request."""
        assert identity in (None, str(wish.identity)), f"request {wish.identity} has the answer to {identity}"
        if body is None:
            return
        assert wish.expected.startswith(body), f"request {wish.identity} has a body that was not sent: {body[:40]!r}"
        assert not whole or body == wish.expected, f"request {wish.identity}: {len(body)} of {wish.length} as the whole"

    def check_sent(self) -> None:
        """What went over the wire, however often."""
        for wish in self.wishes:
            line = f"{wish.method} /{wish.identity}/".encode()
            times = sum(line in sock.sent for sock in self.network.every)
            allowed = 1 if wish.method == "POST" else 2 * self.wishes.count(wish)
            assert times <= allowed, f"{wish.method} {wish.identity} was sent {times} times"
            assert self.origin.heads[wish.identity] <= allowed
            arrived = self.origin.uploads.get(wish.identity)
            assert arrived in (None, wish.uploaded), f"the body of {wish.identity} arrived as another"


def identity_of(answer: Response | Exchange) -> str | None:
    return None if answer.head is None else answer.headers.get("x-id")


class BlockingProgram:
    """A program with a Client: one request after the other."""

    def __init__(self, world: World, client: Client) -> None:
        self.world = world
        self.client = client

    def run(self) -> None:
        world = self.world
        network = world.network
        for wish in world.wishes:
            pause_s = world.pause()
            if pause_s:
                world.origin.speak_unasked()
                network.pass_time(pause_s)
            begun_ns = network.now_ns()
            try:
                self._ask(wish)
            except TurbosockError:
                pass
            elapsed_s = (network.now_ns() - begun_ns) / NS_PER_S
            assert elapsed_s <= TOTAL_S + GRACE_S, f"request {wish.identity} took {elapsed_s} s"
            stats = self.client.stats()
            assert stats.open == stats.idle, f"after request {wish.identity} a place is lost: {stats}"
            assert stats.open == len(network.sockets), "an open socket is a connection of the pool"

    def _ask(self, wish: Wish) -> None:
        random = self.world.random
        check = self.world.check_answer
        way = random.randrange(6)
        if way <= 1:
            whole = self.client.request(wish.method, wish.url, content=wish.content, headers=wish.headers)
            check(wish, identity_of(whole), whole.content, whole=True)
            return
        with self.client.stream(wish.method, wish.url, content=wish.content, headers=wish.headers) as response:
            identity = identity_of(response)
            check(wish, identity, None, whole=False)
            got = bytearray()
            try:
                if way == 2:
                    view = memoryview(bytearray(random.choice((1 if wish.length < 3000 else 500, 1000, 70_000))))
                    while count := response.readinto(view):
                        got += view[:count]
                elif way == 3:
                    got += response.view()
                elif way == 4:
                    for piece in response.iter_bytes(random.choice((None, 1000))):
                        got += piece
                else:
                    # Left in the middle.
                    view = memoryview(bytearray(random.choice((1, 2000))))
                    got += view[: response.readinto(view)]
                    check(wish, identity, bytes(got), whole=False)
                    return
            except TurbosockError:
                check(wish, identity, bytes(got), whole=False)
                raise
            check(wish, identity, bytes(got), whole=True)


@dataclass
class UnderWay:
    """An exchange of a Loop, and what came of it."""

    wish: Wish
    exchange: Exchange
    begun_ns: int
    into: bytearray | None
    received: bytearray
    # When the program changes its mind, if it does.
    cancel_ns: int | None
    ends: int = 0


class TickingProgram:
    """A program with a Loop: several requests at once, a tick at a time."""

    def __init__(self, world: World, loop: Loop) -> None:
        self.world = world
        self.loop = loop
        self.every: list[UnderWay] = []
        self.pending: list[UnderWay] = []

    def run(self) -> None:
        world = self.world
        random = world.random
        wishes = list(world.wishes)
        while wishes or self.pending:
            while wishes and len(self.pending) < random.randrange(1, 7):
                self._begin(wishes.pop(0))
            budget = random.choice(({}, {}, {"max_events": 1}, {"max_bytes": 1000}))
            self.loop.poll(TICK_S, **budget)
            for event in self.loop.events:
                self._take(event)
            self._cancel_some()
            pause_s = world.pause() if not self.pending else 0.0
            if pause_s:
                world.origin.speak_unasked()
                end_ns = world.network.now_ns() + int(pause_s * NS_PER_S)
                while (left_ns := end_ns - world.network.now_ns()) > 0:
                    self.loop.poll(left_ns / NS_PER_S)
            self._check_deadlines()
        for under_way in self.every:
            assert under_way.ends == 1, f"request {under_way.wish.identity} ended {under_way.ends} times"
            assert under_way.exchange.done

    def _begin(self, wish: Wish) -> None:
        random = self.world.random
        way = random.randrange(3)
        into = bytearray(wish.length + random.choice((0, 10))) if way == 1 else None
        exchange = self.loop.request(
            wish.method, wish.url, content=wish.content, headers=wish.headers, into=into, stream=way == 2
        )
        now_ns = self.world.network.now_ns()
        cancel_ns = now_ns + int(random.random() * TOTAL_S * NS_PER_S) if random.random() < 0.08 else None
        under_way = UnderWay(wish, exchange, now_ns, into, bytearray(), cancel_ns)
        exchange.user = under_way
        self.every.append(under_way)
        self.pending.append(under_way)

    def _cancel_some(self) -> None:
        now_ns = self.world.network.now_ns()
        for under_way in self.pending:
            if under_way.cancel_ns is not None and now_ns >= under_way.cancel_ns:
                under_way.exchange.cancel()

    def _take(self, event: Event) -> None:
        exchange = event.exchange
        assert exchange is not None, "every event here is of a request"
        under_way = exchange.user
        assert isinstance(under_way, UnderWay)
        assert under_way.exchange is exchange, "an exchange that is held is not used for another request"
        assert not under_way.ends, "nothing comes after the end"
        if event.kind is EventKind.DATA:
            assert event.data is not None
            under_way.received += event.data
            return
        under_way.ends += 1
        self.pending.remove(under_way)
        whole = exchange.error is None
        assert whole is (event.kind is EventKind.RESPONSE)
        body: bytes | None = bytes(under_way.received)
        if exchange.gathers:
            body = exchange.content if whole else None
        elif under_way.into is not None:
            body = bytes(under_way.into[: exchange.nbytes])
        self.world.check_answer(under_way.wish, identity_of(exchange), body, whole=whole)

    def _check_deadlines(self) -> None:
        now_ns = self.world.network.now_ns()
        for under_way in self.pending:
            elapsed_s = (now_ns - under_way.begun_ns) / NS_PER_S
            assert elapsed_s <= TOTAL_S + TICK_S + GRACE_S, f"request {under_way.wish.identity} still goes on"


def check_rest(world: World, owner: Client | Loop) -> None:
    """After the last request, and after close(): nothing is lost."""
    stats = owner.stats()
    assert (stats.open, stats.waiting) == (stats.idle, 0), f"a place is lost: {stats}"
    assert stats.open == len(world.network.sockets), "an open socket is a connection of the pool"
    rings = owner.rings.stats()
    assert rings.made == rings.idle or not world.config.zero_alloc, f"a ring is lost: {rings}"
    owner.close()
    assert not world.network.sockets, "close() leaves no socket"
    world.check_sent()


@pytest.mark.parametrize("mode", TransportMode)
@pytest.mark.parametrize("seed", SEEDS)
def test_client_any_network_keeps_its_promises(seed: int, mode: TransportMode) -> None:
    world = World(seed)
    with simulated(world.network):
        client = Client(dataclasses.replace(world.config, transport=mode), connector=InTime(world.network))
        BlockingProgram(world, client).run()
        check_rest(world, client)


@pytest.mark.parametrize("seed", SEEDS)
def test_loop_any_network_keeps_its_promises(seed: int) -> None:
    world = World(seed)
    with simulated(world.network):
        loop = Loop(world.config, clock=world.network.time)
        TickingProgram(world, loop).run()
        check_rest(world, loop)


class Breaking:
    """An endpoint that begins an answer, and resets the connection in the middle of it."""

    def __init__(self, sock: SimulatedSocket, beginning: bytes) -> None:
        self.socket = sock
        self.beginning = beginning

    def on_bytes(self, data: bytes) -> None:
        self.socket.deliver(self.beginning)
        self.socket.reset()

    def on_closed(self) -> None:
        """Nothing is left to do."""


def breaking(beginning: bytes) -> Network:
    """A network on which every answer breaks off behind `beginning`."""
    return Network(Random(1), lambda sock: Breaking(sock, beginning), sound=True)


@pytest.mark.parametrize("mode", TransportMode)
def test_post_reset_in_the_middle_of_an_early_answer_is_not_whole(mode: TransportMode) -> None:
    network = breaking(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe beginning of a body")
    config = Config(transport=mode, timeouts=TIMEOUTS)
    with simulated(network), Client(config, connector=InTime(network)) as client, pytest.raises(TurbosockError):
        client.post(ORIGINS[0], content=bytes(1_000_000))


def test_loop_post_reset_in_the_middle_of_an_early_answer_is_not_whole() -> None:
    network = breaking(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe beginning of a body")
    with simulated(network):
        loop = Loop(Config(timeouts=TIMEOUTS), clock=network.time)
        exchange = loop.request("POST", ORIGINS[0], content=bytes(1_000_000))
        while not exchange.done:
            loop.poll(TICK_S)
        loop.close()
    assert exchange.error is not None


@pytest.mark.parametrize(
    "read",
    [lambda response: list(response.iter_bytes(1000)), lambda response: response.view()],
    ids=["iter_bytes", "view"],
)
def test_body_broken_off_with_diagnostics_reports_no_view_of_the_caller(read: Callable[[Response], object]) -> None:
    network = breaking(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nthe beginning of a body")
    with simulated(network), Client(Config(diagnostics=True, timeouts=TIMEOUTS), connector=InTime(network)) as client:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(TurbosockError), client.stream("GET", ORIGINS[0]) as response:
                read(response)
        assert not caught
