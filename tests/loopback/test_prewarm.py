"""Prewarming over loopback, on both faces: what is ready, refilled, replaced, held back, and every way to its end."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.forks import NEEDS_FORK, in_child
from support.https import Pki, secure
from support.in_thread import GUARD_S
from support.loop_peer import OK, Peer, make_clock, settle, turns
from support.peers import unused_port
from support.scripted_server import (
    Script,
    answer,
    await_close,
    await_event,
    close,
    read_head,
    read_request,
    scripted,
)
from support.scripted_server import signal as signalling
from turbosock import Client, Config, Loop, Prewarming, Timeouts
from turbosock.client.loop_prewarm import LoopPrewarmer
from turbosock.client.thread_prewarming import ThreadPrewarming
from turbosock.config import PoolConfig
from turbosock.errors import (
    ClientClosed,
    ConnectError,
    ConnectionClosed,
    InvalidOption,
    LimitError,
    ReadError,
    StateError,
)
from turbosock.pool.origin_pool import OriginPool
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.reactor.reactor import Reactor
from turbosock.transport.connector import Target
from turbosock.transport.transport import Transport

SERVES: Script = (read_request, answer(), read_request, answer(), read_request, answer(), await_close)
QUICK: dict[str, Any] = {"interval_s": 0.01, "backoff_first_s": 0.001, "backoff_cap_s": 0.01}
TIMEOUTS = Timeouts(connect_s=10, read_s=10, write_s=10, pool_s=10, total_s=15)


def client_of(pool: PoolConfig | None = None, **options: object) -> Client:
    return Client(Config(timeouts=TIMEOUTS, pool=pool or PoolConfig(), **options))  # type: ignore[arg-type]  # Config's


@pytest.fixture
def client() -> Iterator[Client]:
    with client_of() as made:
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def await_state(warm: ThreadPrewarming, condition: Callable[[], object]) -> None:
    """Wait until it holds; the thread tells of each of its steps."""
    with warm._changed:
        assert warm._changed.wait_for(condition, GUARD_S), warm.stats()


def await_end(warm: ThreadPrewarming) -> None:
    thread = warm._thread
    assert thread is not None
    thread.join(GUARD_S)
    assert not thread.is_alive(), "the thread did not end"


def origin_of(warm: Prewarming) -> OriginPool:
    return warm.warm.origin


# Ready


def test_client_first_request_finds_its_connection_ready(client: Client) -> None:
    with scripted(SERVES) as server:
        warm = client.prewarm(server.url(), 2)
        assert warm.wait(GUARD_S)
        assert client.stats().connections.opened == 2
        assert client.get(server.url()).content == b"ok"
        assert origin_of(warm).missed == 0
        stats = warm.stats()
        assert (stats.failed, stats.last_error, client.stats().prewarmed) == (0, "", (warm.stats(),))
        client.close()


def test_loop_first_request_finds_its_connection_ready() -> None:
    with Peer() as peer, Loop() as loop:
        warm = loop.prewarm(peer.url, 2)
        turns(loop, lambda: warm.ready == 2)
        first = peer.accept()
        second = peer.accept()
        exchange = loop.get(peer.url)
        assert (loop.stats().dials, origin_of(warm).missed) == (0, 0)
        for connection in (second, first):
            if connection.take_available():
                connection.send(OK)
        turns(loop, lambda: exchange.done)
        assert exchange.content == b"ok"
        assert loop.stats().prewarmed == (warm.stats(),)


@pytest.mark.parametrize("adaptive", [{}, {"max_ready": 3, "adaptive": True}], ids=["fixed", "adaptive"])
def test_client_connections_in_use_are_replaced_up_to_the_target(client: Client, adaptive: dict[str, Any]) -> None:
    with scripted((read_request, answer(b"x" * 100_000), await_close)) as server:
        warm = client.prewarm(server.url(), 2, interval_s=60, **adaptive)
        assert warm.wait(GUARD_S)
        held = [client.stream("GET", server.url()) for _ in range(2)]
        # At once, and not at the next interval.
        assert warm.wait(GUARD_S)
        assert client.stats().connections.opened == 4
        for response in held:
            response.close()
        await_state(warm, lambda: warm.stats().building == 0)
        assert warm.ready == 2
        client.close()


def test_loop_connections_in_use_are_replaced_and_no_more() -> None:
    with Peer() as peer, Loop() as loop:
        warm = loop.prewarm(peer.url, 2, interval_s=60)
        turns(loop, lambda: warm.ready == 2)
        exchanges = [loop.get(peer.url) for _ in range(2)]
        turns(loop, lambda: warm.ready == 2)
        settle(loop)
        assert warm.stats()[:4] == (2, 0, 2, 4)
        for exchange in exchanges:
            exchange.cancel()


def test_loop_connection_used_again_and_again_is_one_of_demand() -> None:
    with Peer() as peer, Loop() as loop:
        warm = loop.prewarm(peer.url, 1, 8, adaptive=True, interval_s=60)
        turns(loop, lambda: warm.ready == 1)
        first = peer.accept()
        for _ in range(20):
            exchange = loop.get(peer.url)
            turns(loop, lambda: loop.stats().bytes_out > 0)
            for connection in peer.connections:
                if connection.take_available():
                    connection.send(OK)
            peer.waiting()
            turns(loop, lambda exchange=exchange: exchange.done)  # type: ignore[misc]  # bound in this round
        # One beside the one in use, at most.
        assert loop.stats().connections.opened <= 2
        first.close()


def test_prewarming_goes_through_tls_on_both_faces(pki: Pki) -> None:
    with scripted((secure(pki.context), *SERVES)) as server:
        url = f"https://localhost:{server.port}/"
        with client_of(tls=pki.trusting) as client:
            warm = client.prewarm(url)
            assert warm.wait(GUARD_S)
            response = client.get(url)
            assert (response.content, origin_of(warm).missed, response.tls is not None) == (b"ok", 0, True)
        with Loop(Config(tls=pki.trusting)) as loop:
            warming = loop.prewarm(url)
            turns(loop, lambda: warming.ready == 1)
            exchange = loop.get(url)
            turns(loop, lambda: exchange.done)
            assert (exchange.content, origin_of(warming).missed) == (b"ok", 0)


# Dead ones


def test_client_ready_connection_that_its_server_closed_is_replaced_at_the_interval(client: Client) -> None:
    die = threading.Event()
    with scripted((await_event(die), close), SERVES) as server:
        warm = client.prewarm(server.url(), **QUICK)
        assert warm.wait(GUARD_S)
        die.set()
        await_state(warm, lambda: client.stats().connections.unfit == 1 and warm.ready == 1)
        assert client.stats().connections.opened == 2
        assert client.get(server.url()).content == b"ok"
        assert len(server.requests) == 1
        client.close()


def test_client_ready_connection_that_its_server_closed_is_never_used(client: Client) -> None:
    die = threading.Event()
    with scripted((await_event(die), close), SERVES) as server:
        warm = client.prewarm(server.url(), interval_s=60)
        assert warm.wait(GUARD_S)
        die.set()
        server.await_ended()
        # What was used within the last moment is not asked.
        origin_of(warm).idle[0].idle_since_ns -= NS_PER_S
        response = client.request("POST", server.url(), content=b"not to be sent twice")
        assert (response.content, response.retries) == (b"ok", 0)
        client.close()


def test_loop_ready_connection_that_its_server_closed_is_replaced_and_never_used() -> None:
    clock = make_clock()
    with Peer() as peer, Loop(clock=clock) as loop:
        warm = loop.prewarm(peer.url, interval_s=1)
        turns(loop, lambda: warm.ready == 1)
        peer.accept().close()
        turns(loop, lambda: warm.ready == 0)
        # Until the interval is over, and not in a hurry: a server that accepts and closes would have a flood.
        settle(loop)
        assert warm.stats().built == 1
        clock.advance(seconds=1)
        turns(loop, lambda: warm.ready == 1)
        peer.accept()
        assert warm.stats().built == 2


# A server that is down


def test_loop_server_that_is_down_is_tried_after_pauses_and_found_again(tmp_path: Path) -> None:
    clock = make_clock()
    path = tmp_path / "socket"
    url = f"http+unix://{str(path).replace('/', '%2F')}"
    with Loop(clock=clock) as loop:
        warm = loop.prewarm(url, interval_s=1, backoff_first_s=1, backoff_cap_s=8)
        pauses = []
        settle(loop)
        for failures in range(1, 8):
            assert (warm.stats().failed, warm.stats().building, warm.ready) == (failures, 0, 0)
            assert "no such path" in warm.stats().last_error
            settle(loop)
            assert warm.stats().failed == failures, "a pause has an end that lies ahead"
            began_ns = clock.now_ns()
            while warm.stats().failed == failures:
                clock.advance(ns=NS_PER_S // 10)
                loop.poll()
                loop.poll()
                assert clock.now_ns() - began_ns < 10 * NS_PER_S
            pauses.append(clock.now_ns() - began_ns)
        assert len(set(pauses)) > 1
        with Peer(path) as peer:
            clock.advance(seconds=8)
            turns(loop, lambda: warm.ready == 1)
            assert peer.waiting() == 1
            loop.close()


def test_client_server_that_is_down_is_found_again(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    warm = client.prewarm(f"http+unix://{str(path).replace('/', '%2F')}", 2, **QUICK)
    await_state(warm, lambda: warm.stats().failed >= 3)
    assert not warm.wait(0.001)
    with Peer(path):
        assert warm.wait(GUARD_S)
        client.close()


class Broken:
    """A connector that raises what it is told, as often as it is told, and then says that nobody is there."""

    def __init__(self, error: BaseException, count: int) -> None:
        self.error = error
        self.left = count

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        if self.left:
            self.left -= 1
            raise self.error
        raise ConnectError("nobody is there")


@pytest.mark.parametrize("error", [SystemExit(), MemoryError(), ValueError("odd")])
def test_client_thread_outlives_whatever_a_dial_raises(error: BaseException) -> None:
    with Client(connector=Broken(error, 3)) as client:
        warm = client.prewarm("http://anywhere", **QUICK)
        await_state(warm, lambda: "nobody is there" in warm.stats().last_error)
        assert warm.stats().failed >= 4


def test_loop_goes_on_after_whatever_a_dial_raises() -> None:
    clock = make_clock()
    with Loop(connector=Broken(SystemExit(), 1), clock=clock) as loop:
        warm = loop.prewarm("http://anywhere", interval_s=1, backoff_first_s=1, backoff_cap_s=1)
        with pytest.raises(SystemExit):
            turns(loop, lambda: False)
        assert (warm.stats().building, warm.stats().failed) == (0, 1)
        clock.advance(seconds=2)
        settle(loop)
        assert "nobody is there" in warm.stats().last_error


# Demand


def test_loop_adaptive_target_follows_demand_up_and_down() -> None:
    clock = make_clock()
    with Peer() as peer, Loop(clock=clock) as loop:
        warm = loop.prewarm(peer.url, 1, 6, adaptive=True, interval_s=1)
        turns(loop, lambda: warm.ready == 1)
        for _ in range(12):
            exchanges = [loop.get(peer.url) for _ in range(4)]
            settle(loop)
            for exchange in exchanges:
                exchange.cancel()
            clock.advance(seconds=1)
            settle(loop)
        turns(loop, lambda: warm.ready == warm.stats().target)
        assert 3 <= warm.stats().target <= 6
        for _ in range(30):
            clock.advance(seconds=1)
            settle(loop, 1)
        assert warm.stats().target == 1


# Limits


@pytest.mark.parametrize(
    "pool",
    [
        PoolConfig(max_connections=2, max_connections_per_origin=2),
        PoolConfig(max_connections=8, max_connections_per_origin=8, max_idle=2),
    ],
)
def test_client_prewarming_makes_no_idle_connection_of_others_go(pool: PoolConfig) -> None:
    long = (read_request, answer(b"x" * 100_000), await_close)
    with scripted(long) as other, scripted(SERVES) as server, client_of(pool) as client:
        held = [client.stream("GET", other.url()) for _ in range(2)]
        for response in held:
            assert len(response.read()) == 100_000
            response.close()
        assert client.stats()[:2] == (2, 2)
        warm = client.prewarm(server.url(), interval_s=0.01)
        steps: list[int] = []
        await_state(warm, lambda: steps.append(1) or len(steps) > 5)  # type: ignore[func-returns-value]  # it counts
        assert (warm.ready, warm.stats().building, server.accepted) == (0, 0, 0)
        assert client.stats().connections.evicted == 0
        client.close()


def test_client_prewarming_without_room_waits_for_the_interval(client: Client) -> None:
    pool = PoolConfig(max_connections=1, max_connections_per_origin=1)
    with scripted(SERVES) as other, scripted(SERVES) as server, client_of(pool) as full:
        assert full.get(other.url()).content == b"ok"
        warm = full.prewarm(server.url(), interval_s=60)
        await_state(warm, lambda: warm._no_room_until_ns)
        assert warm.next_due_ns() > time.monotonic_ns() + 30 * NS_PER_S


def test_loop_prewarming_without_room_sleeps_and_has_it_when_there_is_room() -> None:
    clock = make_clock()
    pool = PoolConfig(max_connections=1, max_connections_per_origin=1)
    with Peer() as peer, Peer() as other, Loop(Config(pool=pool), clock=clock) as loop:
        exchange = loop.get(other.url)
        turns(loop, lambda: loop.stats().bytes_out > 0)
        warm = loop.prewarm(peer.url, interval_s=5)
        settle(loop)
        left_s = loop.next_deadline()
        assert left_s is not None and left_s > 0, "it would turn for ever"
        assert (warm.ready, warm.stats().building, loop.stats().connections.evicted) == (0, 0, 0)
        exchange.cancel()
        clock.advance(seconds=5)
        turns(loop, lambda: warm.ready == 1)


def test_prewarming_of_several_origins_keeps_to_the_limits_of_the_pool() -> None:
    pool = PoolConfig(max_connections=5, max_connections_per_origin=3, max_idle=5)
    with Peer() as first, Peer() as second, client_of(pool) as client:
        both = [client.prewarm(peer.url, 3, interval_s=0.01) for peer in (first, second)]
        await_state(both[0], lambda: client.stats().open == 5)
        rounds: list[int] = []
        await_state(both[0], lambda: rounds.append(1) or len(rounds) > 5)  # type: ignore[func-returns-value]  # counts
        assert (client.stats().open, client.stats().connections.evicted) == (5, 0)


def test_client_origin_that_stalls_holds_up_no_other(client: Client, pki: Pki) -> None:
    begun = threading.Event()
    with scripted((signalling(begun), await_close)) as silent, scripted(SERVES) as server:
        stalled = client.prewarm(f"https://localhost:{silent.port}/")
        assert begun.wait(GUARD_S)
        warm = client.prewarm(server.url(), 2)
        assert warm.wait(GUARD_S)
        assert stalled.stats()[:2] == (0, 1)
        client.close()


def test_loop_that_has_enough_ready_looks_again_at_the_interval_and_not_before() -> None:
    clock = ManualClock()
    with Peer() as peer, Loop(clock=clock) as loop:
        warm = loop.prewarm(peer.url, interval_s=60)
        turns(loop, lambda: warm.ready == 1)
        settle(loop)
        assert isinstance(loop.prewarmer, LoopPrewarmer)
        assert loop.prewarmer._timer.deadline_ns == 60 * NS_PER_S


# Stale ones


STALE: Script = (read_head, close)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_client_request_on_a_ready_connection_that_had_died_is_sent_again(client: Client, method: str) -> None:
    with scripted(STALE, SERVES) as server:
        warm = client.prewarm(server.url())
        assert warm.wait(GUARD_S)
        # The connection stays; nothing replaces it, so that the second one is the retry's own.
        warm.close()
        response = client.request(method, server.url(), content=b"body" if method == "PUT" else None)
        assert (response.content, response.retries, server.accepted) == (b"ok", 1, 2)


def test_client_post_on_a_ready_connection_that_had_died_is_not_sent_twice(client: Client) -> None:
    with scripted(STALE, SERVES) as server:
        warm = client.prewarm(server.url())
        assert warm.wait(GUARD_S)
        warm.close()
        with pytest.raises((ConnectionClosed, ReadError)):
            client.post(server.url(), content=b"pay")
        assert server.accepted == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_loop_request_on_a_ready_connection_that_had_died_is_sent_again_if_it_may_be(method: str) -> None:
    # A clock that stands still at 0, as a simulation's may.
    with Peer() as peer, Loop(clock=ManualClock()) as loop:
        warm = loop.prewarm(peer.url)
        turns(loop, lambda: warm.ready == 1)
        warm.close()
        exchange = loop.request(method, peer.url)
        peer.accept().close()
        if method == "POST":
            turns(loop, lambda: exchange.done)
            assert isinstance(exchange.error, (ConnectionClosed, ReadError)) and exchange.retries == 0
            return
        turns(loop, lambda: exchange.retries == 1 and loop.stats().open == 1)
        settle(loop)
        connection = peer.accept()
        connection.read_head()
        connection.send(OK)
        turns(loop, lambda: exchange.done)
        assert exchange.content == b"ok"


# Settings


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"min_ready": 3, "max_ready": 2}, ("min_ready=3", "max_ready=2")),
        ({"min_ready": 1, "max_ready": 2}, ("min_ready=1", "max_ready=2", "adaptive=True")),
        ({"backoff_first_s": 2.0, "backoff_cap_s": 1.0}, ("backoff_first_s=2.0", "backoff_cap_s=1.0")),
        ({"min_ready": 5}, ("min_ready=5", "max_connections_per_origin=4")),
        ({"min_ready": 1, "max_ready": 5}, ("max_ready=5", "max_connections_per_origin=4")),
        ({"min_ready": 4}, ("min_ready=4", "max_idle=3")),
        ({"min_ready": 0}, ("min_ready=0",)),
        ({"interval_s": 0}, ("interval_s=0",)),
        ({"interval_s": -1}, ("interval_s=-1",)),
        ({"backoff_first_s": float("nan")}, ("backoff_first_s=nan",)),
        ({"adaptive": 1}, ("adaptive=1",)),
        ({"adaptive": True}, ("adaptive=True", "min_ready=1", "max_ready=None")),
        ({"adaptive": True, "min_ready": 2, "max_ready": 2}, ("adaptive=True", "min_ready=2", "max_ready=2")),
        ({"timeout": -1}, ("timeout=-1",)),
        ({"timeout": None}, ("timeout=None",)),
        ({"url": "gopher://example.com"}, ("gopher",)),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name_on_both_faces(
    options: dict[str, object], names: tuple[str, ...]
) -> None:
    config = Config(pool=PoolConfig(max_connections=8, max_connections_per_origin=4, max_idle=3))
    arguments = {"url": "http://127.0.0.1:1", **options}
    with Client(config) as client, Loop(config) as loop:
        for face in (client, loop):
            with pytest.raises(InvalidOption) as caught:
                face.prewarm(**arguments)  # type: ignore[arg-type]  # what is refused
            assert all(name in str(caught.value) for name in names), caught.value
        assert client.stats().prewarmed == loop.stats().prewarmed == ()


def test_origin_prewarmed_twice_is_refused_until_the_first_is_closed(client: Client) -> None:
    with scripted(SERVES) as server, Loop() as loop:
        for face in (client, loop):
            warm = face.prewarm(server.url("/one"))
            with pytest.raises(StateError, match=r"prewarm\(\).*already"):
                face.prewarm(server.url("/two"), 2)
            assert not warm.closed
            warm.close()
            with face.prewarm(server.url(), 2) as second:
                assert not second.closed
            assert second.closed and face.stats().prewarmed == ()
        client.close()
        loop.close()


def test_origins_prewarmed_are_bounded(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    monkeypatch.setattr("turbosock.limits.MAX_PREWARMED_ORIGINS", 2)
    with Loop() as loop:
        for face in (client, loop):
            for port in (1, 2):
                face.prewarm(f"http://127.0.0.1:{port}", timeout=1)
            with pytest.raises(LimitError, match=r"prewarm\(\)"):
                face.prewarm("http://127.0.0.1:3")


def test_client_without_a_thread_to_have_says_so_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with scripted(SERVES) as server:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(LimitError, match="no thread"):
                client.prewarm(server.url())
        assert client.stats().prewarmed == ()
        assert client.prewarm(server.url()).wait(GUARD_S)
        client.close()


@pytest.mark.parametrize("timeout_s", [0, -1, None, "1", True])
def test_wait_without_a_time_is_refused_by_name(client: Client, timeout_s: object) -> None:
    warm = client.prewarm("http://127.0.0.1:1", timeout=1)
    with pytest.raises(InvalidOption, match=r"^timeout_s="):
        warm.wait(timeout_s)  # type: ignore[arg-type]  # what is refused


# The end


PHASES = ("looking up", "handshaking", "ready", "backing off")


def bring_to(
    phase: str, prewarm: Callable[[str], Prewarming], port: int, reached: threading.Event
) -> tuple[Prewarming, Callable[[], bool]]:
    """A prewarming that is on its way to this phase, and what tells that it is there."""
    if phase == "looking up":
        return prewarm("http://name.invalid"), reached.is_set
    if phase == "handshaking":
        return prewarm(f"https://localhost:{port}"), reached.is_set
    if phase == "ready":
        ready = prewarm(f"http://127.0.0.1:{port}")
        return ready, lambda: ready.ready == 1
    down = prewarm(f"http://127.0.0.1:{unused_port()}")
    return down, lambda: down.stats().failed > 0


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("closes", ["handle", "client"])
def test_client_closed_in_each_phase_leaves_no_thread_and_no_socket(closes: str, phase: str) -> None:
    reached, release = threading.Event(), threading.Event()

    def stuck(*arguments: object) -> list[object]:
        reached.set()
        release.wait(GUARD_S)
        raise OSError("no such name")

    script = (await_close,) if phase == "ready" else (signalling(reached), await_close)
    with scripted(script) as server, client_of() as client:
        if phase == "looking up":
            client.connections.resolver._getaddrinfo = stuck  # type: ignore[assignment]  # a name server that does not answer
        warm, there = bring_to(
            phase,
            lambda url: client.prewarm(url, interval_s=60, backoff_first_s=60, backoff_cap_s=60),
            server.port,
            reached,
        )
        assert isinstance(warm, ThreadPrewarming)
        if phase in ("looking up", "handshaking"):
            assert reached.wait(GUARD_S)
        else:
            await_state(warm, there)
        threads = [threading.Thread(target=(warm if closes == "handle" else client).close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD_S)
        await_end(warm)
        release.set()
        assert (warm.closed, warm.stats().building, client.stats().prewarmed) == (True, 0, ())
        assert not warm.wait(GUARD_S)
        kept = phase == "ready" and closes == "handle"
        assert client.stats().open == (1 if kept else 0)
        client.close()
        if phase in ("ready", "handshaking"):
            server.await_ended()
        with pytest.raises(ClientClosed, match=r"prewarm\(\)"):
            client.prewarm("http://127.0.0.1:1")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("closes", ["handle", "loop"])
def test_loop_closed_in_each_phase_leaves_no_timer_and_no_socket(closes: str, phase: str) -> None:
    reached, release = threading.Event(), threading.Event()

    def stuck(*arguments: object) -> list[object]:
        reached.set()
        release.wait(GUARD_S)
        raise OSError("no such name")

    with Peer() as peer, Loop() as loop:
        before = loop.stats().watched
        if phase == "looking up":
            loop.reactor.resolver._getaddrinfo = stuck  # type: ignore[assignment]  # as above
        warm, there = bring_to(
            phase, lambda url: loop.prewarm(url, backoff_first_s=60, backoff_cap_s=60), peer.port, reached
        )
        if phase == "handshaking":
            turns(loop, lambda: loop.stats().dials == 1 and loop.stats().watched > before)
            connection = peer.accept()
            turns(loop, connection.take_available)
        else:
            turns(loop, there)
        assert loop.stats().timers > 0
        for _ in range(2):
            (warm if closes == "handle" else loop).close()
        release.set()
        kept = phase == "ready" and closes == "handle"
        stats = loop.stats()
        assert (stats.open, stats.dials, stats.timers) == ((1, 0, 1) if kept else (0, 0, 0))
        assert (warm.closed, warm.stats().building, stats.prewarmed) == (True, 0, ())
        if closes == "handle":
            assert stats.watched == before + (1 if kept else 0)
            settle(loop)
            assert loop.stats().dials == 0
        loop.close()
        if phase in ("ready", "handshaking"):
            assert (connection if phase == "handshaking" else peer.accept()).is_closed()
        with pytest.raises(ClientClosed, match=r"prewarm\(\)"):
            loop.prewarm("http://127.0.0.1:1")


def test_prewarming_closed_with_connections_ready_leaves_them_to_requests(client: Client) -> None:
    with scripted(SERVES) as server:
        warm = client.prewarm(server.url())
        assert warm.wait(GUARD_S)
        warm.close()
        await_end(warm)
        assert client.get(server.url()).content == b"ok"
        assert (server.accepted, client.stats()[:2]) == (1, (1, 1))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.parametrize("holds_handle", [False, True])
def test_client_dropped_without_close_leaves_no_thread_and_no_socket(holds_handle: bool) -> None:
    with scripted((await_close,)) as server:
        client = client_of()
        warm: ThreadPrewarming | None = client.prewarm(server.url(), interval_s=60)
        assert warm is not None and warm.wait(GUARD_S)
        thread = warm._thread
        assert thread is not None
        if not holds_handle:
            warm = None
        del client
        gc.collect()
        thread.join(GUARD_S)
        assert not thread.is_alive()
        gc.collect()
        server.await_ended()
        assert warm is None or (warm.closed and warm.ready == 0)


def test_client_closed_while_others_ask_for_prewarming_has_none_left() -> None:
    for _ in range(20):
        client = client_of()
        barrier = threading.Barrier(5)
        made: list[ThreadPrewarming] = []

        def ask(
            port: int,
            client: Client = client,
            barrier: threading.Barrier = barrier,
            made: list[ThreadPrewarming] = made,
        ) -> None:
            barrier.wait(GUARD_S)
            with suppress(ClientClosed):
                made.append(client.prewarm(f"http://127.0.0.1:{port}", backoff_first_s=60, backoff_cap_s=60))

        threads = [threading.Thread(target=ask, args=(port,)) for port in range(1, 5)]
        for thread in threads:
            thread.start()
        barrier.wait(GUARD_S)
        client.close()
        for thread in threads:
            thread.join(GUARD_S)
        for warm in made:
            assert warm.closed
            await_end(warm)


# Forks


@NEEDS_FORK
@pytest.mark.parametrize("phase", ["ready", "handshaking", "backing off"])
def test_client_forked_in_each_phase_is_new_in_the_child_and_goes_on_in_the_parent(phase: str) -> None:
    reached = threading.Event()
    script = (signalling(reached), await_close)
    own = script if phase == "handshaking" else SERVES
    with scripted(own) as server, scripted(SERVES) as other, client_of() as client:
        warm, there = bring_to(
            phase,
            lambda url: client.prewarm(url, interval_s=60, backoff_first_s=60, backoff_cap_s=60),
            server.port,
            reached,
        )
        assert isinstance(warm, ThreadPrewarming)
        if phase == "handshaking":
            assert reached.wait(GUARD_S)
        else:
            await_state(warm, there)

        def use() -> None:
            assert warm.closed and warm.ready == 0 and client.stats().prewarmed == ()
            assert not warm.wait(GUARD_S)
            assert client.get(other.url()).content == b"ok"
            again = client.prewarm(other.url())
            assert again.wait(GUARD_S)
            client.close()

        in_child(use)
        assert not warm.closed
        if phase == "ready":
            assert client.get(server.url()).content == b"ok"
            assert origin_of(warm).missed == 0


@NEEDS_FORK
def test_loop_forked_while_prewarming_is_closed_in_the_child_and_goes_on_in_the_parent(pki: Pki) -> None:
    with scripted((secure(pki.context), *SERVES)) as server, Peer() as silent, Loop(Config(tls=pki.trusting)) as loop:
        url = f"https://localhost:{server.port}"
        warm = loop.prewarm(url)
        turns(loop, lambda: warm.ready == 1)
        dialling = loop.prewarm(f"https://localhost:{silent.port}")
        turns(loop, lambda: dialling.stats().building == 1)

        def use() -> None:
            assert loop.closed
            with pytest.raises(ClientClosed):
                loop.poll()
            warm.close()
            dialling.close()
            loop.close()
            assert warm.stats().ready == 0

        in_child(use)
        exchange = loop.get(url)
        turns(loop, lambda: exchange.done)
        assert (exchange.content, origin_of(warm).missed) == (b"ok", 0)
