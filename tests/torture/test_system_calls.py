"""Every system call of the main scenarios fails once, with every error that such calls have.

Whatever fails: the call ends in an error of `turbosock.errors` or succeeds all the same, in its time; no descriptor and
no place of the pool is lost; and the next request, for which nothing fails, works.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import proxy_peers
from support.http_stage import Stage
from support.http_stage import request as request_bytes
from support.labelled_server import LabelledServer, body_of, labelled_server
from support.length import LONG
from support.peers import unused_port
from support.switches import requires_default
from support.system_call_faults import SETTINGS, TRAFFIC, UNLIKELY, WATCHING, Faults, faulty_system
from support.tls import Authority, Files, dns, ip
from turbosock import (
    Client,
    Config,
    EventKind,
    HttpExchange,
    Loop,
    PoolConfig,
    Proxy,
    Timeouts,
    TlsConfig,
    TransportMode,
    TurbosockError,
)
from turbosock.limits import ACCEPT_RETRY_S

ERRORS = (errno.ECONNRESET, errno.EMFILE, errno.ENOBUFS, errno.ENOMEM)
LONG_ERRORS = (*ERRORS, errno.EPIPE, errno.ETIMEDOUT, errno.EINVAL, errno.ENETUNREACH, errno.EPERM)
CODES = LONG_ERRORS if LONG else ERRORS
# No scenario makes as many calls.
MAX_CALLS = 400
TOTAL_S = 2.0
TIMEOUTS = Timeouts(connect_s=1, read_s=1, write_s=1, pool_s=0.3, total_s=TOTAL_S)
# One place: who loses it cannot go on.
POOL = PoolConfig(max_connections=1, max_connections_per_origin=1)
BIG = 300_000


class Pki:
    """A certificate for 127.0.0.1, and a client's trust in it."""

    def __init__(self, directory: Path) -> None:
        files = Files(directory)
        authority = Authority()
        self.certificate = Path(files.write(authority.leaf([dns(b"localhost"), ip(b"\x7f\0\0\1")]).pem()))
        self.trusting = TlsConfig(ca_file=files.write(authority.pem))


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def server() -> Iterator[LabelledServer]:
    with labelled_server() as running:
        yield running


@pytest.fixture(scope="module")
def secure_server(pki: Pki) -> Iterator[LabelledServer]:
    with labelled_server(pki.certificate) as running:
        yield running


traffic = pytest.param(TRAFFIC, id="traffic")
settings = pytest.param(SETTINGS, id="settings")
watching = pytest.param(WATCHING, id="watching")
unlikely = pytest.param(UNLIKELY, id="unlikely")
# With a new connection, and with one that is kept. Whether a kept one is asked before it is used is a matter of time.
fresh_or_kept = pytest.mark.parametrize(
    ("kept", "kinds"),
    [
        *(pytest.param(True, *kinds.values, id=f"kept-{kinds.id}") for kinds in (traffic, settings)),
        *(
            pytest.param(False, *kinds.values, id=f"fresh-{kinds.id}")
            for kinds in (traffic, settings, watching, unlikely)
        ),
    ],
)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Torture:
    """Runs one scenario once for each call and each error.

    Args:
        kinds: the calls that fail.
        begin: what goes before, in which nothing fails; its result is given to `run` and `after`.
        run: the scenario; it raises what a user would see.
        after: sees that everything works again, and closes.
        codes: the errors.
    """

    def __init__(
        self,
        kinds: frozenset[str],
        begin: Callable[[], object],
        run: Callable[[object], object],
        after: Callable[[object], object],
        codes: tuple[int, ...] = CODES,
    ) -> None:
        self.kinds = kinds
        self.codes = codes
        self.begin = begin
        self.run = run
        self.after = after
        # What went wrong, and which call failed with which error then.
        self.failures: dict[str, list[str]] = {}
        self.calls = 0

    def everywhere(self) -> None:
        """Fail every call; AssertionError with all that went wrong."""
        for code in self.codes:
            for number in range(1, MAX_CALLS):
                if not self._once(number, code):
                    break
            else:
                raise AssertionError("the scenario has no end")
        assert self.calls or self.kinds is not TRAFFIC, "the scenario makes no system calls"
        told = [f"{what}: {', '.join(when)}" for what, when in self.failures.items()]
        assert not told, "\n".join(told)

    def _once(self, number: int, code: int) -> bool:
        """Let one call fail; whether the scenario made so many."""
        faults = Faults(self.kinds)
        before = descriptors()
        with faulty_system(faults):
            subject = self.begin()
            what = None
            faults.arm(number, code)
            begun = time.monotonic()
            try:
                self.run(subject)
            except TurbosockError:
                pass
            except Exception as error:
                what = f"raises {type(error).__name__}"
            finally:
                faults.disarm()
            elapsed_s = time.monotonic() - begun
            if elapsed_s > TOTAL_S + 0.5:
                what = f"takes {elapsed_s:.1f} s"
            try:
                self.after(subject)
            except Exception as error:
                what = f"{what or ''} and afterwards {type(error).__name__}: {error}"
            if faults.open_sockets():
                what = f"{what or ''} and loses a socket"
                for sock in faults.sockets:
                    sock.close()
            elif descriptors() != before:
                what = f"{what or ''} and loses a descriptor"
        if what is not None:
            self.failures.setdefault(what, []).append(f"{number} {faults.fired} {errno.errorcode[code]}")
        if faults.fired is not None:
            self.calls += 1
        return faults.fired is not None


# Client


def get(client: Client, server: LabelledServer) -> None:
    """One request in one call."""
    assert client.get(server.url("a", 5)).content == body_of("a", 5)


def stream(client: Client, server: LabelledServer) -> None:
    """A long body into a buffer."""
    view = memoryview(bytearray(100_000))
    body = b""
    with client.stream("GET", server.url("b", BIG)) as response:
        while count := response.readinto(view):
            body += view[:count]
    assert body == body_of("b", BIG)


def post(client: Client, server: LabelledServer) -> None:
    """A long body to the server."""
    response = client.post(server.url("c", 5), content=bytes(BIG))
    assert response.headers.get("x-received") == str(BIG)


def torture_client(
    kinds: frozenset[str],
    config: Config,
    server: LabelledServer,
    scenario: Callable[[Client, LabelledServer], None],
    *,
    kept: bool,
    codes: tuple[int, ...] = CODES,
) -> None:
    def begin() -> object:
        client = Client(config)
        if kept:
            client.get(server.url("z", 5))
        return client

    def run(subject: object) -> None:
        assert isinstance(subject, Client)
        scenario(subject, server)

    def after(subject: object) -> None:
        assert isinstance(subject, Client)
        try:
            stats = subject.stats()
            assert stats.open == stats.idle, f"a place is lost: {stats}"
            answer = subject.get(server.url("next", 50))
            assert answer.content == body_of("next", 50)
            rings = subject.rings.stats()
            # Without a pool none comes back.
            assert rings.made == rings.idle or not subject.config.zero_alloc, f"a ring is lost: {rings}"
        finally:
            subject.close()

    Torture(kinds, begin, run, after, codes).everywhere()


@fresh_or_kept
@pytest.mark.parametrize("mode", TransportMode)
@pytest.mark.parametrize("scenario", [get, stream, post])
def test_client_any_call_fails_the_next_request_works(
    server: LabelledServer,
    scenario: Callable[[Client, LabelledServer], None],
    kept: bool,
    mode: TransportMode,
    kinds: frozenset[str],
) -> None:
    torture_client(kinds, Config(transport=mode, timeouts=TIMEOUTS, pool=POOL), server, scenario, kept=kept)


def roundabout(**options: Any) -> Config:
    """The server by a name whose first address refuses, from an address of one's own."""
    refused = unused_port()
    return Config(
        timeouts=TIMEOUTS,
        pool=POOL,
        host_map={"127.0.0.1": "server.example"},
        resolver=lambda host, port: [("127.0.0.1", refused), "127.0.0.1"],
        local_address="127.0.0.1",
        **options,
    )


fresh = pytest.mark.parametrize("kinds", [traffic, settings, watching, unlikely])


@fresh
@pytest.mark.parametrize("secure", [False, True])
def test_client_that_races_any_call_fails_the_next_request_works(
    server: LabelledServer, secure_server: LabelledServer, pki: Pki, secure: bool, kinds: frozenset[str]
) -> None:
    config = roundabout(tls=pki.trusting)
    torture_client(kinds, config, secure_server if secure else server, get, kept=False)


@pytest.fixture(scope="module")
def hops(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, ...]]:
    """SOCKS5, then CONNECT over TLS: what is https beyond them is TLS inside TLS."""
    directory = tmp_path_factory.mktemp("proxies")
    with (
        proxy_peers.microsocks(("alice", "secret")) as socks,
        proxy_peers.tinyproxy(directory) as http,
        proxy_peers.haproxy(directory, os.fspath(pki.certificate), http) as https,
    ):
        near = Proxy("socks5h", "127.0.0.1", socks, "alice", "secret")
        yield near, Proxy("https", "127.0.0.1", https, tunnel=True)


# Each run shakes hands with four programs.
PROXIED_KINDS = [traffic, settings, watching, unlikely] if LONG else [traffic]
PROXIED_CODES = CODES if LONG else (errno.ECONNRESET,)


@pytest.mark.parametrize("kinds", PROXIED_KINDS)
def test_client_through_proxies_any_call_fails_the_next_request_works(
    secure_server: LabelledServer, pki: Pki, hops: tuple[Proxy, ...], kinds: frozenset[str]
) -> None:
    config = Config(timeouts=TIMEOUTS, pool=POOL, tls=pki.trusting, proxy=hops)
    torture_client(kinds, config, secure_server, get, kept=False, codes=PROXIED_CODES)


@requires_default("provider", why="pyOpenSSL makes its calls inside OpenSSL, where none can be made to fail")
@fresh_or_kept
def test_https_client_any_call_fails_the_next_request_works(
    secure_server: LabelledServer, pki: Pki, kept: bool, kinds: frozenset[str]
) -> None:
    config = Config(timeouts=TIMEOUTS, pool=POOL, tls=pki.trusting)
    torture_client(kinds, config, secure_server, get, kept=kept)


# Loop


def finish(loop: Loop, server: LabelledServer, label: str, length: int, way: str) -> None:
    """One exchange to its end."""
    into = bytearray(length) if way == "into" else None
    exchange = loop.request("GET", server.url(label, length), into=into, stream=way == "stream")
    received = b""
    ends = 0
    end = time.monotonic() + 2 * TOTAL_S
    while not ends:
        assert time.monotonic() < end, "the exchange has no end"
        loop.poll(0.1)
        for event in loop.events:
            if event.exchange is not exchange:
                # Of the one before, whose poll() was broken off.
                continue
            if event.kind is EventKind.DATA:
                received += event.data or b""
            else:
                ends += 1
    assert exchange.done
    if exchange.error is not None:
        raise exchange.error
    if into is not None:
        received = bytes(into)
    elif way == "gather":
        received = exchange.content
    assert received == body_of(label, length)


@fresh_or_kept
@pytest.mark.parametrize("way", ["into", "gather", "stream"])
def test_loop_any_call_fails_the_next_request_works(
    server: LabelledServer, way: str, kept: bool, kinds: frozenset[str]
) -> None:
    torture_loop(kinds, Config(timeouts=TIMEOUTS, pool=POOL), server, way, kept=kept)


@fresh
def test_loop_that_races_any_call_fails_the_next_request_works(server: LabelledServer, kinds: frozenset[str]) -> None:
    torture_loop(kinds, roundabout(), server, "gather", kept=False)


@pytest.mark.parametrize("kinds", PROXIED_KINDS)
def test_loop_through_proxies_any_call_fails_the_next_request_works(
    secure_server: LabelledServer, pki: Pki, hops: tuple[Proxy, ...], kinds: frozenset[str]
) -> None:
    config = Config(timeouts=TIMEOUTS, pool=POOL, tls=pki.trusting, proxy=hops)
    torture_loop(kinds, config, secure_server, "gather", kept=False, codes=PROXIED_CODES)


def torture_loop(
    kinds: frozenset[str],
    config: Config,
    server: LabelledServer,
    way: str,
    *,
    kept: bool,
    codes: tuple[int, ...] = CODES,
) -> None:
    def begin() -> object:
        loop = Loop(config)
        if kept:
            finish(loop, server, "z", 5, "gather")
        return loop

    def run(subject: object) -> None:
        assert isinstance(subject, Loop)
        finish(subject, server, "d", BIG, way)

    def after(subject: object) -> None:
        assert isinstance(subject, Loop)
        try:
            finish(subject, server, "next", 50, way)
            stats = subject.stats()
            assert (stats.open, stats.idle, stats.waiting) == (1, 1, 0), f"a place is lost: {stats}"
            rings = subject.rings.stats()
            # Without a pool none comes back.
            assert rings.made == rings.idle or not subject.config.zero_alloc, f"a ring is lost: {rings}"
        finally:
            subject.close()

    Torture(kinds, begin, run, after, codes).everywhere()


@pytest.mark.parametrize("kinds", [watching])
def test_loop_any_call_of_its_making_fails_nothing_is_lost(kinds: frozenset[str]) -> None:
    def after(subject: object) -> None:
        Loop().close()

    def run(subject: object) -> None:
        Loop().close()

    torture = Torture(kinds, lambda: None, run, after)
    torture.everywhere()


# The listener


def answer(exchange: HttpExchange) -> None:
    exchange.respond(200, {"X-Label": "listener"}, b"hello")


def ask(stage: Stage) -> bytes:
    """A client's request and what it got; b"" when the listener lets it wait or closes."""
    try:
        peer = stage.connect()
        peer.send(request_bytes())
        stage.settle(peer)
        return peer.received
    except (BrokenPipeError, ConnectionResetError):
        return b""
    finally:
        while stage.peers:
            stage.peers.pop().socket.close()
        stage.turn()


@pytest.mark.parametrize("kinds", [traffic, settings, watching, unlikely])
@pytest.mark.parametrize("poller", ["epoll", "poll"])
def test_listener_any_call_fails_the_next_client_is_answered(poller: str, kinds: frozenset[str]) -> None:
    def begin() -> object:
        stage = Stage(answer, poller=poller)
        assert ask(stage).endswith(b"hello")
        return stage

    def run(subject: object) -> None:
        assert isinstance(subject, Stage)
        assert ask(subject) in (b"",) or subject.exchanges

    def after(subject: object) -> None:
        assert isinstance(subject, Stage)
        with subject as stage:
            # A listener that found no descriptor waits a moment.
            stage.advance(2 * ACCEPT_RETRY_S)
            assert ask(stage).endswith(b"hello"), "the next client is not answered"
            stats = stage.listener.stats()
            assert stats.open == 0, f"a session is lost: {stats}"
            assert stage.idle_rings, "a ring is lost"

    Torture(kinds, begin, run, after).everywhere()
