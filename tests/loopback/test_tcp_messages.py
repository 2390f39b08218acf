"""Messages over TCP, both ends in Loops: connecting, TLS, broadcasts, and clients that mean harm."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.https import Pki, secure
from support.loop_peer import POLLERS, WAIT_S
from support.message_stage import RawClient
from support.proxies import ACCEPTING, take_connect
from support.scripted_server import Peer, scripted, send
from support.tls import HOST
from turbosock import (
    Config,
    Delimited,
    Event,
    EventKind,
    LengthPrefixed,
    Loop,
    MessageConnection,
    Send,
    TcpListener,
    TlsProviderMode,
    TlsServerConfig,
    limits,
)
from turbosock.errors import (
    ClientClosed,
    ConnectError,
    ConnectTimeout,
    InvalidOption,
    LimitError,
    ProxyError,
    ReadTimeout,
    TlsError,
    TlsTruncated,
    WriteTimeout,
)

OPEN, MESSAGE, WRITABLE, CLOSED = EventKind.OPEN, EventKind.MESSAGE, EventKind.WRITABLE, EventKind.CLOSED
LOCAL = ("127.0.0.1", 0)
FOUR = LengthPrefixed(4)


class Log:
    """What a loop's events were, as plain values."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.events: list[tuple[EventKind, Any, bytes | None, Any]] = []

    def turn(self, timeout: float = 0.0, **budget: Any) -> None:
        """Poll, and note the events."""
        self.loop.poll(timeout, **budget)
        for event in self.loop.events:
            self.note(event)

    def note(self, event: Event) -> None:
        self.events.append(
            (event.kind, event.connection, None if event.data is None else bytes(event.data), event.error)
        )

    def until(self, done: Callable[[], object]) -> None:
        """Poll until `done()` is true."""
        end = time.monotonic() + WAIT_S
        while not done():
            self.turn(0.05)
            assert time.monotonic() < end, f"it did not get there: {self.events[-5:]}"

    def of(self, connection: MessageConnection) -> list[EventKind]:
        return [kind for kind, other, _, _ in self.events if other is connection]

    def messages(self, connection: MessageConnection | None = None) -> list[bytes | None]:
        return [data for kind, other, data, _ in self.events if kind is MESSAGE and connection in (None, other)]

    def opened(self) -> list[MessageConnection]:
        return [other for kind, other, _, _ in self.events if kind is OPEN]

    def error_of(self, connection: MessageConnection) -> Any:
        (error,) = [error for kind, other, _, error in self.events if other is connection and kind is CLOSED]
        return error


@pytest.fixture(params=POLLERS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(Config(poller=request.param)) as loop:
        yield loop


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


ENGINES = {"ssl": TlsProviderMode.SYSTEM_ONLY, "pyopenssl": TlsProviderMode.PYOPENSSL_ONLY}


def serving(pki: Pki, engine: str = "ssl") -> TlsServerConfig:
    return TlsServerConfig(pki.files.certificate(pki.good), provider=ENGINES[engine])


def tls_client(loop: Loop, pki: Pki, listener: TcpListener, engine: str = "ssl") -> MessageConnection:
    """A connection to `listener` over TLS, being dialled."""
    config = dataclasses.replace(pki.trusting, provider=ENGINES[engine])
    return loop.connect(("localhost", int(listener.address[1])), framing=FOUR, tls=config)


def two_ends(loop: Loop, log: Log, **options: Any) -> tuple[TcpListener, MessageConnection, MessageConnection]:
    """A listener, and both ends of one connection to it."""
    listener = loop.listen(LOCAL, protocol="tcp", framing=options.get("framing", FOUR))
    client = loop.connect(listener.address, **{"framing": FOUR, **options})
    log.until(lambda: len(log.opened()) == 2)
    (server,) = [each for each in log.opened() if each is not client]
    return listener, server, client


# Connecting


def test_both_ends_of_one_loop_speak(loop: Loop) -> None:
    log = Log(loop)
    _, server, client = two_ends(loop, log, user="mine")
    assert client.user == "mine" and client.open
    assert client.send(b"hello") is Send.OK
    log.until(lambda: log.messages(server))
    for number in range(100):
        server.send(b"%d" % number * number)
    log.until(lambda: len(log.messages(client)) == 100)
    assert log.messages(client) == [b"%d" % number * number for number in range(100)]
    client.close()
    log.until(lambda: CLOSED in log.of(client) and CLOSED in log.of(server))
    assert log.of(client)[0] is OPEN and log.of(client)[-1] is CLOSED and log.of(client).count(CLOSED) == 1
    assert log.of(server) == [OPEN, MESSAGE, CLOSED]
    assert log.error_of(client) is None and log.error_of(server) is None


def test_connection_to_a_unix_path(loop: Loop, tmp_path: Path) -> None:
    log = Log(loop)
    path = str(tmp_path / "s")
    loop.listen(path, protocol="tcp", framing=Delimited())
    client = loop.connect(path, framing=Delimited())
    client_was_open = client.open
    log.until(lambda: len(log.opened()) == 2)
    client.send(b"a line")
    log.until(lambda: log.messages() == [b"a line"])
    assert not client_was_open


def test_connection_that_nobody_takes_has_closed_alone(loop: Loop) -> None:
    log = Log(loop)
    with socket.create_server(LOCAL) as closing:
        address = closing.getsockname()
    connection = loop.connect(address)
    assert connection.send(b"too early") is Send.CLOSED
    log.until(lambda: log.of(connection) == [CLOSED])
    assert isinstance(log.error_of(connection), ConnectError) and not connection.open
    assert loop.stats().dials == 0 and loop.stats().messages.open == 0


def test_connecting_has_its_time(loop: Loop) -> None:
    log = Log(loop)
    with socket.socket() as full:
        # A backlog of one that is used up: the next one waits.
        full.bind(LOCAL)
        full.listen(0)
        fillers = []
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(full.getsockname())
            fillers.append(filler)
        connection = loop.connect(full.getsockname(), timeout=0.2)
        log.until(lambda: log.of(connection))
        assert isinstance(log.error_of(connection), ConnectTimeout)
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_connection_that_is_given_up_before_it_stands_closes_at_once(loop: Loop, end: str) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp")
    connection = loop.connect(listener.address)
    getattr(connection, end)()
    log.turn()
    assert log.of(connection) == [CLOSED] and log.error_of(connection) is None
    assert loop.stats().dials == 0


@pytest.mark.parametrize("where", ["config", "argument"])
def test_connection_goes_where_the_host_map_says(tmp_path: Path, where: str) -> None:
    path = str(tmp_path / "s")
    mapping = {"game.test": path}
    config = Config(host_map=mapping) if where == "config" else Config()
    options: Any = {} if where == "config" else {"host_map": mapping}
    with Loop(config) as loop:
        log = Log(loop)
        loop.listen(path, protocol="tcp", framing=FOUR)
        connection = loop.connect(("Game.TEST", 4000), framing=FOUR, **options)
        log.until(lambda: len(log.opened()) == 2)
        assert connection.open


@pytest.mark.parametrize("where", ["config", "argument"])
def test_connection_comes_from_the_local_address(where: str) -> None:
    config = Config(local_address="127.0.0.7") if where == "config" else Config()
    options: Any = {} if where == "config" else {"local_address": "127.0.0.7"}
    with Loop(config) as loop:
        log = Log(loop)
        _, server, _ = two_ends(loop, log, **options)
        assert server.address[0] == "127.0.0.7"


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("tls", [False, True])
def test_connection_goes_through_a_tunnel_of_the_proxy(pki: Pki, scheme: str, tls: bool) -> None:
    def echo(peer: Peer) -> None:
        if tls:
            secure(pki.context)(peer)
        send(peer.take(9))(peer)

    with scripted((ACCEPTING[scheme], echo)) as proxy:
        config = Config(proxy=f"{scheme}://user:secret@{proxy.host}:{proxy.port}", tls=pki.trusting)
        with Loop(config) as loop:
            log = Log(loop)
            connection = loop.connect((HOST, 4000), framing=FOUR, tls=tls)
            log.until(lambda: log.of(connection))
            assert connection.send(b"hello") is Send.OK
            log.until(lambda: log.messages(connection) == [b"hello"])
        asked = b" ".join(proxy.requests)
        assert f"{HOST}:4000".encode() in asked


def test_proxy_that_refuses_is_the_reason() -> None:
    refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    with scripted((take_connect, send(refusal))) as proxy, Loop() as loop:
        log = Log(loop)
        connection = loop.connect(("game.test", 4000), proxy=f"http://{proxy.host}:{proxy.port}")
        log.until(lambda: log.of(connection) == [CLOSED])
        assert isinstance(log.error_of(connection), ProxyError)


def test_proxy_of_requests_alone_has_no_part_in_connections() -> None:
    with Loop(Config(proxy={"http": "http://127.0.0.1:9", "https": "http://127.0.0.1:9"})) as proxied:
        log = Log(proxied)
        two_ends(proxied, log)


def test_connection_for_which_there_shall_be_no_proxy_goes_straight() -> None:
    with Loop(Config(proxy="http://127.0.0.1:9")) as loop:
        two_ends(loop, Log(loop), proxy=False)


def test_loop_that_closes_ends_what_is_being_dialled() -> None:
    loop = Loop()
    listener = loop.listen(LOCAL, protocol="tcp")
    connection = loop.connect(listener.address)
    loop.close()
    assert not connection.open and connection.send(b"x") is Send.CLOSED
    with pytest.raises(ClientClosed):
        loop.connect(listener.address)


@pytest.mark.parametrize(
    ("address", "options", "named"),
    [
        (("127.0.0.1", 0), {}, "port"),
        (("127.0.0.1", "80"), {}, "port"),
        (("", 80), {}, "host"),
        (("0x7f.1", 80), {}, "host"),
        ("nowhere", {}, "address"),
        (5, {}, "address"),
        ("/tmp/x", {"tls": True}, "tls"),
        (("127.0.0.1", 80), {"tls": "yes"}, "tls"),
        (("127.0.0.1", 80), {"framing": "lines"}, "framing"),
        (("127.0.0.1", 80), {"max_message": 0}, "max_message"),
        (("127.0.0.1", 80), {"backlog": 5}, "backlog"),
        (("127.0.0.1", 80), {"timeout": 0}, "timeout"),
        (("127.0.0.1", 80), {"proxy": "gopher://x"}, "proxy"),
        (("127.0.0.1", 80), {"host_map": "nowhere"}, "host_map"),
        (("127.0.0.1", 80), {"local_address": "nowhere"}, "local_address"),
    ],
)
def test_wrong_argument_of_connect_is_named(address: Any, options: dict[str, Any], named: str) -> None:
    with Loop() as loop:
        with pytest.raises(InvalidOption, match=named):
            loop.connect(address, **options)
        assert loop.stats().messages.open == 0


# Broadcasts


def test_connection_for_which_there_is_no_timer_is_refused_and_leaves_nothing(loop: Loop) -> None:
    loop.reactor.timers._max_timers = 0
    with pytest.raises(LimitError, match="timers"):
        loop.connect(("127.0.0.1", 9))
    assert loop.stats().messages.open == 0 and loop.stats().dials == 0


def test_broadcast_reaches_all_and_tells_who_had_no_room(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR, max_unsent=1000)
    clients = [loop.connect(listener.address, framing=FOUR) for _ in range(20)]
    log.until(lambda: len(log.opened()) == 40)
    servers = listener.connections
    servers[0].send(b"x" * 900)
    servers[1].abort()
    data = b"y" * 500
    result = loop.broadcast(servers, data)
    assert (result.ok, result.full, result.closed) == (18, 1, 1)
    log.until(lambda: len(log.messages()) == 19)
    assert log.messages().count(data) == 18
    assert loop.broadcast(clients, bytearray(b"and back")).ok >= 19
    log.until(lambda: log.messages().count(b"and back") >= 19)


def test_broadcast_by_key_replaces(loop: Loop) -> None:
    log = Log(loop)
    _, server, client = two_ends(loop, log)
    for number in range(5):
        loop.broadcast([server], b"%d" % number, key="snapshot")
    log.until(lambda: log.messages(client))
    assert log.messages(client) == [b"4"]


# TLS


@pytest.mark.parametrize("engine", ENGINES)
def test_messages_over_tls_go_both_ways(pki: Pki, engine: str, loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR, tls=serving(pki, engine))
    client = tls_client(loop, pki, listener, engine)
    log.until(lambda: len(log.opened()) == 2)
    (server,) = listener.connections
    assert client.tls is not None and server.tls is not None and client.tls.alpn is None
    big = bytes(range(256)) * 3000
    for message in (b"small", big, b"", b"x" * 5000):
        client.send(message)
        server.send(message)
    for _ in range(300):
        server.send(b"tick")
    log.until(lambda: len(log.messages(server)) == 4 and len(log.messages(client)) == 304)
    assert log.messages(server) == [b"small", big, b"", b"x" * 5000]
    assert log.messages(client)[:4] == [b"small", big, b"", b"x" * 5000]
    server.close()
    log.until(lambda: CLOSED in log.of(client) and CLOSED in log.of(server))
    assert log.error_of(client) is None


def test_messages_that_came_in_one_record_all_arrive(pki: Pki, loop: Loop) -> None:
    # More than a step delivers: the rest is inside the engine or the ring, where no poller sees it.
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=LengthPrefixed(1), tls=serving(pki))
    context = ssl.create_default_context(cadata=pki.authority.pem.decode())
    sock = socket.create_connection(("127.0.0.1", int(listener.address[1])), timeout=WAIT_S)
    sock.setblocking(False)
    client = context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
    shaken = False
    while not shaken:
        log.turn(0.01)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
            shaken = True
    client.setblocking(True)
    client.sendall(b"\1x" * 8000)
    log.until(lambda: len(log.messages()) == 8000)
    client.close()


def test_tls_stream_that_is_cut_is_told(pki: Pki, loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR, tls=serving(pki))
    client = tls_client(loop, pki, listener)
    log.until(lambda: len(log.opened()) == 2)
    (server,) = listener.connections
    assert client.transport is not None
    # Past the engine, which would say goodbye.
    socket.socket.shutdown(client.transport.socket, socket.SHUT_WR)
    log.until(lambda: CLOSED in log.of(server))
    assert isinstance(log.error_of(server), TlsTruncated)


def test_certificate_that_is_not_trusted_is_the_reason(pki: Pki, loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", tls=serving(pki))
    client = loop.connect(("localhost", int(listener.address[1])), tls=True)
    log.until(lambda: log.of(client))
    assert log.of(client) == [CLOSED] and isinstance(log.error_of(client), TlsError)
    assert listener.connections == ()


# Those that mean harm


def test_flooder_and_one_that_never_reads_hold_up_nobody(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR, max_message=1000, max_unsent=10_000)
    flooder = RawClient(listener.address)
    deaf = RawClient(listener.address)
    players = [RawClient(listener.address) for _ in range(10)]
    log.until(lambda: len(log.opened()) == 12)
    flood = struct.pack(">I", 50) + b"f" * 50
    by_address = {each.address[1]: each for each in listener.connections}
    of_deaf = by_address[deaf.socket.getsockname()[1]]
    of_players = [by_address[player.socket.getsockname()[1]] for player in players]
    waited = 0
    for tick in range(30):
        flooder.fill(flood * 5000)
        for player in players:
            player.send(struct.pack(">I", 4) + struct.pack(">I", tick))
        before = len(log.events)
        log.turn(0.0, max_time=0.5)
        seen = [connection for _, connection, _, _ in log.events[before:]]
        waited += sum(connection not in seen for connection in of_players)
        of_deaf.send(b"d" * 900)
        for connection in of_players:
            connection.send(b"snapshot")
        loop.flush()
    # On loopback what was sent is there at once; a turn that takes it later takes it in the next one.
    assert waited <= 10
    assert of_deaf.unsent <= 10_000
    for player in players:
        assert player.take() == (struct.pack(">I", 8) + b"snapshot") * 30
    for each in (flooder, deaf, *players):
        each.close()


def test_length_of_two_gibibytes_costs_nothing_and_ends_the_connection(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR)
    client = RawClient(listener.address)
    client.send(struct.pack(">I", 2**31) + b"x" * 100)
    log.until(lambda: log.opened())
    client.close()
    log.until(lambda: any(kind is CLOSED for kind, _, _, _ in log.events))
    assert isinstance(log.events[-1][3], LimitError)
    stats = loop.stats().messages.rings
    assert stats.made == 1


def test_endless_line_ends_at_the_bound(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=Delimited(b"\r\n"), max_message=100_000)
    client = RawClient(listener.address)
    log.until(lambda: log.opened())
    (server,) = listener.connections
    sent = 0
    while server.state == 1:
        sent += client.fill(b"y" * 50_000)
        log.turn(0.01)
        assert sent < 100_000 + limits.TURN_QUANTUM_BYTES * 4
    client.close()
    log.until(lambda: CLOSED in log.of(server))
    assert isinstance(log.error_of(server), LimitError)
    assert loop.stats().messages.lent_bytes == 0


def test_half_open_peers_and_drips_are_given_up_in_time(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(
        LOCAL, protocol="tcp", framing=FOUR, idle_timeout_s=0.3, message_timeout_s=0.2, write_timeout_s=0.2
    )
    silent, dripping, deaf = (RawClient(listener.address) for _ in range(3))
    log.until(lambda: len(log.opened()) == 3)
    by_address = {each.address[1]: each for each in listener.connections}
    of = [by_address[each.socket.getsockname()[1]] for each in (silent, dripping, deaf)]
    while of[2].send(b"d" * 100_000) is Send.OK:
        loop.flush()
    dripping.send(b"\0")
    end = time.monotonic() + WAIT_S
    while not all(CLOSED in log.of(each) for each in of):
        log.turn(0.05)
        assert time.monotonic() < end
    assert [type(log.error_of(each)) for each in of] == [ReadTimeout, ReadTimeout, WriteTimeout]
    assert listener.stats().timeouts == 3
    for each in (silent, dripping, deaf):
        each.close()


def test_accepts_of_one_turn_are_capped(loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp")
    clients = [RawClient(listener.address) for _ in range(3 * limits.MAX_ACCEPTS_PER_TURN)]
    log.turn(0.1)
    assert len(log.opened()) == limits.MAX_ACCEPTS_PER_TURN
    log.until(lambda: len(log.opened()) == len(clients))
    for client in clients:
        client.close()


def test_handshakes_that_stall_hold_up_nobody_and_are_given_up(pki: Pki, loop: Loop) -> None:
    log = Log(loop)
    listener = loop.listen(LOCAL, protocol="tcp", framing=FOUR, tls=serving(pki), handshake_timeout_s=0.3)
    stalled = [RawClient(listener.address) for _ in range(10)]
    for each in stalled[:5]:
        each.send(b"\x16\x03\x01")
    client = tls_client(loop, pki, listener)
    log.until(lambda: len(log.opened()) == 2)
    client.send(b"hello")
    log.until(lambda: log.messages() == [b"hello"])
    log.until(lambda: listener.stats().failed_handshakes == 10)
    for each in stalled:
        each.close()
