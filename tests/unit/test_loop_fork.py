"""A Loop and fork(2): the child's copy is closed; the parent, whose sockets it shares, notices nothing."""

from __future__ import annotations

import os
import socket
import stat
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.loop_peer import OK, POLLERS, Peer, connect, make_config, settle, turns
from support.tls import Authority, Files, ip
from turbosock import Config, Exchange, Loop, PoolConfig
from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import ClientClosed, InvalidOption, Phase
from turbosock.server.http_exchange import HttpExchange

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")

AUTHORITY = Authority()
LEAF = AUTHORITY.leaf([ip(bytes((127, 0, 0, 1)))])
BODY = bytes(range(256)) * 1024

USES: dict[str, Callable[[Loop], object]] = {
    "request()": lambda loop: loop.get("http://127.0.0.1/"),
    "listen()": lambda loop: loop.listen(("127.0.0.1", 0), handler=print),
    "poll()": lambda loop: loop.poll(),
    "flush()": lambda loop: loop.flush(),
    "next_deadline()": lambda loop: loop.next_deadline(),
}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as peer:
        yield peer


@pytest.fixture(params=POLLERS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(make_config(request.param, pool=PoolConfig(max_connections_per_origin=1))) as loop:
        yield loop


def end_child(action: Callable[[], object]) -> None:
    """In the child: do it, and end the process here, with status 0 if nothing was raised."""
    status = 1
    try:
        action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def check_in_child(action: Callable[[], object]) -> None:
    """Fork; the child does it, and nothing else."""
    child = os.fork()
    if not child:
        end_child(action)
    join(child)


def join(child: int) -> None:
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the child says why on stderr"


def sockets() -> int:
    """How many descriptors of this process are sockets."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += stat.S_ISSOCK(os.stat(f"/proc/self/fd/{name}").st_mode)
        except FileNotFoundError:
            # The listing's own.
            continue
    return count


def assert_closed_here(loop: Loop, *exchanges: Exchange) -> None:
    """What a child finds of its parent's loop, on every way out."""
    for name, use in USES.items():
        with pytest.raises(ClientClosed, match=r"fork.*make a new one") as caught:
            use(loop)
        assert name in str(caught.value)
    assert loop.closed and loop.stats()[:3] == (0, 0, 0) and not list(loop.events) and not loop.dials
    assert repr(loop) == "<Loop closed exchanges=0 events=0>"
    assert loop.reactor.waker.fileno() == -1 and not loop.reactor.line
    for exchange in exchanges:
        assert exchange.done and type(exchange.error) is ClientClosed and "fork" in str(exchange.error)
        exchange.cancel()
    loop.wakeup()
    loop.close()
    with loop:
        pass


def leave(loop: Loop, *exchanges: Exchange) -> None:
    """As a child does that ends by an exception: its parent's `with` block is left."""
    inherited = {connection.transport.fd for connection in loop.pool.connections}
    assert inherited <= {-1}
    assert_closed_here(loop, *exchanges)


def test_child_of_an_idle_loop_leaves_the_kept_connection_to_its_parent(loop: Loop, peer: Peer) -> None:
    first = loop.get(peer.url)
    connection = connect(loop, peer)
    connection.read_head()
    connection.send(OK)
    turns(loop, lambda: first.done)
    check_in_child(lambda: leave(loop))
    assert loop.stats().idle == 1
    second = loop.get(peer.url)
    settle(loop)
    assert connection.read_head().startswith(b"GET")
    connection.send(OK)
    turns(loop, lambda: second.done)
    assert first.content == second.content == b"ok" and peer.waiting() == 0


@pytest.mark.parametrize("phase", ["dial queued", "connecting", "waiting", "head", "body", "upload"])
def test_child_of_a_loop_with_a_request_under_way_leaves_it_to_its_parent(loop: Loop, peer: Peer, phase: str) -> None:
    content = bytes(1 << 23) if phase == "upload" else None
    exchange = loop.request("GET" if content is None else "POST", peer.url, content=content)
    waiter = None
    if phase == "connecting":
        loop.dials.begin(None)
        assert exchange.phase is Phase.CONNECT and loop.dials
    elif phase != "dial queued":
        connection = connect(loop, peer)
        if phase == "waiting":
            waiter = loop.get(peer.url)
            assert waiter.phase is Phase.QUEUE
        elif phase == "body":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
            turns(loop, lambda: exchange.nbytes)
    assert not exchange.done
    under_way = [exchange] if waiter is None else [exchange, waiter]
    check_in_child(lambda: leave(loop, *under_way))
    if not peer.connections:
        connection = connect(loop, peer)
    connection.read_head()
    if content is not None:
        taken = 0
        while taken < len(content):
            loop.poll()
            taken += len(connection.take_available())
    connection.send(b"lf" if phase == "body" else OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == (b"half" if phase == "body" else b"ok")
    if waiter is not None:
        connection.read_head()
        connection.send(OK)
        turns(loop, lambda: waiter.done)
        assert waiter.content == b"ok"
    assert peer.waiting() == 0


def test_child_of_a_loop_that_looks_up_a_name_leaves_it_to_its_parent(loop: Loop, peer: Peer) -> None:
    reader, writer = os.pipe()

    def wait(host: str, port: int, family: int, kind: int) -> list[tuple[object, ...]]:
        os.read(reader, 1)
        return [(socket.AF_INET, kind, 6, "", ("127.0.0.1", 0))]

    loop.reactor.resolver._getaddrinfo = wait
    exchange = loop.get(f"http://name.test:{peer.port}/")
    loop.poll()
    assert exchange.phase is Phase.RESOLVE
    check_in_child(lambda: leave(loop, exchange))
    os.write(writer, b"x")
    turns(loop, lambda: loop.stats().open and not loop.dials)
    peer.accept().send(OK)
    turns(loop, lambda: exchange.done)
    assert exchange.content == b"ok"
    os.close(reader)
    os.close(writer)


def test_taken_event_keeps_its_data_in_the_child(loop: Loop, peer: Peer) -> None:
    exchange = loop.get(peer.url, stream=True)
    connect(loop, peer).send(OK)
    turns(loop, lambda: exchange.done)
    event = next(loop.events)

    def look() -> None:
        assert event.data is not None and bytes(event.data) == b"ok" and exchange.ok
        assert_closed_here(loop)

    check_in_child(look)
    assert event.data is not None and bytes(event.data) == b"ok"
    assert [left.exchange for left in loop.events] == [exchange]


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize(
    "provider", [TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"]
)
def test_child_forked_in_any_turn_of_a_request_over_tls_disturbs_neither_side(
    provider: TlsProviderMode, version: str, tmp_path: Path
) -> None:
    # Client and listener stand in one loop, and every turn of theirs is forked in.
    files = Files(tmp_path)
    serving = TlsServerConfig(files.certificate(LEAF), provider=provider)
    config = Config(tls=TlsConfig(ca_file=files.write(AUTHORITY.pem), provider=provider), http_versions=(version,))
    phases = set()
    with Loop(config) as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=lambda asked: asked.respond(200, None, BODY), tls=serving)
        for _ in range(2):
            exchange = loop.get(listener.url)
            while not exchange.done:
                phases.add(exchange.phase)
                check_in_child(lambda under_way=exchange: leave(loop, under_way))  # type: ignore[misc]
                loop.poll(0.2, max_events=1, max_time=1e-9)
                for _ in loop.events:
                    pass
            assert exchange.error is None and exchange.content == BODY
            assert exchange.http_version == version
            check_in_child(lambda: leave(loop))
        stats = listener.stats()
        assert stats.accepted == 1 and stats.requests == 2 and stats.open == 1 and loop.stats().idle == 1
    # Frames of one answer that are here are taken in one step.
    assert {Phase.CONNECT, Phase.TLS, Phase.HEAD} | ({Phase.BODY} if version == "HTTP/1.1" else set()) <= phases


def test_listener_at_a_path_serves_on_after_its_child_has_left(loop: Loop, tmp_path: Path) -> None:
    path = tmp_path / "s"
    kept: list[HttpExchange] = []
    listener = loop.listen(str(path), handler=kept.append)
    before = sockets()
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for client in clients:
        client.connect(str(path))
        client.settimeout(5)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    turns(loop, lambda: len(kept) == 3)

    def look() -> None:
        # The clients' own sockets are not the loop's; its listening one, and three accepted, are gone.
        assert sockets() <= before - 1 + 3
        assert listener.closed and path.exists() and listener.stats().open == 0
        assert all(exchange.closed for exchange in kept)
        listener.close()
        assert_closed_here(loop)
        # It starts clean.
        with Loop() as mine:
            there = mine.listen(str(tmp_path / "mine"), handler=lambda exchange: exchange.respond(200, None, b"mine"))
            exchange = mine.get(there.url)
            turns(mine, lambda: exchange.done)
            assert exchange.content == b"mine"

    check_in_child(look)
    assert path.exists() and not listener.closed and listener.stats().open == 3
    for exchange in kept:
        exchange.respond(200, None, b"ok")
    turns(loop, lambda: listener.stats().bytes_out)
    assert [client.recv(1000)[-2:] for client in clients] == [b"ok"] * 3
    late = socket.socket(socket.AF_UNIX)
    late.connect(str(path))
    turns(loop, lambda: listener.stats().accepted == 4)
    for client in (*clients, late):
        client.close()


@pytest.mark.parametrize("answers", [True, False])
def test_handler_that_forks_ends_the_childs_turn_and_no_other(loop: Loop, tmp_path: Path, answers: bool) -> None:
    children: list[int] = []

    def fork(exchange: HttpExchange) -> None:
        child = os.fork()
        children.append(child)
        if child or answers:
            exchange.respond(200, None, b"ok")

    listener = loop.listen(str(tmp_path / "s"), handler=fork)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for client in clients:
        client.connect(str(tmp_path / "s"))
        client.settimeout(5)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    result = None
    try:
        while len(children) < 2 and 0 not in children:
            result = loop.poll(0.2)
    except BaseException:
        if 0 not in children:
            raise
        end_child(lambda: pytest.fail(f"poll() raised in the child: {traceback.format_exc()}"))
    if 0 in children:

        def look() -> None:
            assert result is not None and result.delivered == 0 and result.backlog == 0 and listener.closed
            assert_closed_here(loop)

        end_child(look)
    for child in children:
        join(child)
    loop.flush()
    assert [client.recv(1000).count(b"HTTP/1.1 200") for client in clients] == [1, 1]
    assert (tmp_path / "s").exists() and listener.stats().open == 2
    for client in clients:
        client.close()


@pytest.mark.parametrize("sized", [0, 1 << 19], ids=["at once", "in the middle"])
def test_body_whose_iterable_forks_is_sent_by_the_parent_alone(loop: Loop, peer: Peer, sized: int) -> None:
    children: list[int] = []

    def pieces() -> Iterator[bytes]:
        if sized:
            yield bytes(sized)
        children.append(os.fork())
        yield b"child" if not children[0] else b"parent"

    exchange = None
    try:
        exchange = loop.request("POST", peer.url, content=pieces())
        data = b""
        while not children:
            loop.poll()
            if not children and (peer.connections or peer.waiting()):
                data += peer.connections[0].take_available()
    except BaseException:
        if 0 not in children:
            raise
        end_child(lambda: pytest.fail(f"the child's turn raised: {traceback.format_exc()}"))
    assert exchange is not None
    if 0 in children:
        end_child(lambda: assert_closed_here(loop, exchange))
    join(children[0])
    connection = peer.connections[0] if peer.connections else peer.accept()
    connection.send(OK)
    turns(loop, lambda: exchange.done)
    data += connection.take_available()
    assert exchange.content == b"ok" and b"parent" in data and b"child" not in data


def test_loop_that_was_closed_before_the_fork_says_so_as_ever() -> None:
    loop = Loop()
    loop.close()

    def look() -> None:
        with pytest.raises(ClientClosed, match="needs an open one"):
            loop.poll()

    check_in_child(look)


def test_fork_past_a_loop_that_could_not_be_made_drops_nothing() -> None:
    with pytest.raises(InvalidOption):
        Loop(Config(poller="none"))
    check_in_child(lambda: None)


def test_wakeup_in_the_child_does_not_wake_the_parent(loop: Loop) -> None:
    check_in_child(loop.wakeup)
    loop.reactor.collect(0.0)
    assert not loop.reactor.line
