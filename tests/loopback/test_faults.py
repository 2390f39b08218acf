"""FaultTransport: what goes wrong does so on every face, over every transport, at its time, and again by its seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cassettes import LONG, finished, handler, run
from support.in_thread import InThread
from support.running_listener import RunningListener
from support.seeds import seeds
from turbosock import (
    BodyTruncated,
    Client,
    Config,
    ConnectionClosed,
    Http2Error,
    InvalidOption,
    Loop,
    ProtocolError,
    ReadError,
    ReadTimeout,
    Timeouts,
    TlsConfig,
    TlsServerConfig,
    TransportMode,
    TurbosockError,
    WebSocketClosed,
    WriteError,
)
from turbosock.reactor.clock import NS_PER_S, ManualClock
from turbosock.testing import Direction, Fault, FaultTransport, MockTransport, Network, Recorder
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector
from turbosock.tls.selfsigned import make_self_signed

FACES = ("stream", "saea", "loop")
SEND = Direction.SEND
ANSWER = HttpAnswer(content=LONG)


def ask(face: str, faults: object, method: str, url: str, *, config: Config | None = None, **options: Any) -> Any:
    """The answer to one request of a new Client or Loop."""
    settings = config or Config(timeouts=Timeouts(total_s=15))
    if face == "loop":
        with Loop(settings, connector=faults) as loop:  # type: ignore[arg-type]  # checked there
            return finished(loop, method, url, **options)
    settings = dataclasses.replace(settings, transport=TransportMode(face))
    with Client(settings, connector=faults) as client:  # type: ignore[arg-type]  # as above
        return client.request(method, url, **options)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with RunningListener(handler) as listener:
        yield listener.url().rstrip("/")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Config]]:
    directory = tmp_path_factory.mktemp("tls")
    certificate = make_self_signed("127.0.0.1").write(directory)
    with RunningListener(handler, TlsServerConfig(certificate)) as listener:
        # As in clear text: HTTP/2 has other errors for the same faults.
        config = Config(tls=TlsConfig(ca_file=str(directory / "ca.pem")), http_versions=("HTTP/1.1",))
        yield listener.url().rstrip("/"), config


OUTCOMES: list[tuple[Fault, type[TurbosockError]]] = [
    (Fault.cut(1000), BodyTruncated),
    (Fault.reset(1000), ReadError),
    (Fault.corrupt(0), ProtocolError),
    (Fault.cut(1000, direction=SEND), WriteError),
    (Fault.reset(1000, direction=SEND), WriteError),
]
HTTP2_OUTCOMES: list[tuple[Fault, type[TurbosockError]]] = [
    (Fault.cut(5000), ConnectionClosed),
    (Fault.reset(5000), ReadError),
    (Fault.reset(500, direction=SEND), WriteError),
    (Fault.corrupt(0), Http2Error),
]
SILENCES = [Fault.delay(10, 3600.0), Fault.drip(10, every_s=3600.0), Fault.delay(10, 3600.0, direction=SEND)]


@pytest.mark.parametrize(("fault", "kind"), OUTCOMES, ids=[str(fault) for fault, _ in OUTCOMES])
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("where", ["tcp", "tls", "memory"])
def test_fault_is_met_by_its_error(
    server: str, secure: tuple[str, Config], face: str, where: str, fault: Fault, kind: type[TurbosockError]
) -> None:
    base, config = secure if where == "tls" else (server, Config())
    inner = MemoryConnector(HttpPeer(ANSWER)) if where == "memory" else None
    faults = FaultTransport(fault, inner=inner)
    with pytest.raises(kind):
        ask(face, faults, "PUT", f"{base}/echo", content=LONG, config=config)
    assert [str(made) for made in faults.made] == [f"connection 0: {fault}"]


@pytest.mark.parametrize(("fault", "kind"), HTTP2_OUTCOMES, ids=[str(fault) for fault, _ in HTTP2_OUTCOMES])
@pytest.mark.parametrize("face", ["stream", "loop"])
def test_fault_of_http2_is_met_by_its_error(
    secure: tuple[str, Config], face: str, fault: Fault, kind: type[TurbosockError]
) -> None:
    base, config = secure
    config = dataclasses.replace(config, http_versions=("HTTP/2",))
    faults = FaultTransport(fault)
    with pytest.raises(kind):
        ask(face, faults, "PUT", f"{base}/echo", content=LONG, config=config)
    assert [made.fault for made in faults.made] == [fault]


def test_threads_share_an_http2_connection_through_what_is_held_back(secure: tuple[str, Config]) -> None:
    base, config = secure
    config = dataclasses.replace(config, http_versions=("HTTP/2",))
    faults = FaultTransport(
        Fault.delay(1000, 0.01), Fault.drip(2000, size=50, nbytes=1000), Fault.delay(1000, 0.01, direction=SEND)
    )
    with Client(config, connector=faults) as client:
        client.get(f"{base}/json")
        threads = [InThread(lambda: client.put(f"{base}/echo", content=LONG).content) for _ in range(4)]
        assert [thread.outcome() for thread in threads] == [b"PUT " + LONG] * 4
    assert faults.connections == 1


@pytest.mark.parametrize("fault", SILENCES, ids=str)
@pytest.mark.parametrize("face", FACES)
def test_silence_ends_with_its_timeout(face: str, fault: Fault) -> None:
    faults = FaultTransport(fault, inner=MemoryConnector(HttpPeer(ANSWER)))
    config = Config(timeouts=Timeouts(read_s=0.05, total_s=10))
    with pytest.raises(ReadTimeout):
        ask(face, faults, "GET", "http://h/", config=config)
    assert [made.fault for made in faults.made] == [fault]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("direction", Direction)
def test_corrupt_byte_is_one_byte(server: str, face: str, direction: Direction) -> None:
    # Behind the head, whose length is not the same everywhere.
    faults = FaultTransport(Fault.corrupt(5000, 0x01, direction=direction))
    came = ask(face, faults, "PUT", f"{server}/echo", content=LONG).content
    differing = [at for at, (one, other) in enumerate(zip(came, b"PUT " + LONG, strict=True)) if one != other]
    assert len(differing) == 1
    assert came[differing[0]] ^ (b"PUT " + LONG)[differing[0]] == 0x01


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("where", ["tcp", "tls"])
def test_what_is_held_back_comes_whole(server: str, secure: tuple[str, Config], face: str, where: str) -> None:
    base, config = secure if where == "tls" else (server, Config())
    faults = FaultTransport(
        Fault.delay(1000, 0.01),
        Fault.drip(2000, size=7, nbytes=200),
        Fault.delay(1000, 0.01, direction=SEND),
        Fault.drip(2000, size=7, every_s=0.0001, nbytes=200, direction=SEND),
    )
    assert ask(face, faults, "PUT", f"{base}/echo", content=LONG, config=config).content == b"PUT " + LONG
    assert len(faults.made) == 4


@pytest.mark.parametrize("kind", ["client", "stream", "loop"])
def test_faults_without_a_fault_change_nothing(server: str, kind: str) -> None:
    assert run(kind, server, FaultTransport()) == run(kind, server, None)


def test_delay_passes_in_the_virtual_time_of_a_loop() -> None:
    clock = ManualClock(1)
    faults = FaultTransport(Fault.delay(10, 3600.0), inner=MemoryConnector(HttpPeer(ANSWER)))
    with Loop(Config(timeouts=Timeouts(read_s=7200, total_s=7200)), clock=clock, connector=faults) as loop:
        exchange = loop.get("http://h/")
        loop.poll()
        clock.advance(3599.0)
        loop.poll()
        assert not exchange.done
        clock.advance(1.0)
        loop.poll()
        loop.poll()
        assert exchange.content == LONG


@pytest.mark.parametrize("alpn", [None, "h2"])
@pytest.mark.parametrize("face", FACES)
def test_delay_passes_in_the_virtual_time_of_a_network(face: str, alpn: str | None) -> None:
    with Network() as network:
        network.listen(("h", 443), handler=handler, alpn=alpn)
        faults = FaultTransport(Fault.delay(1000, 10.0), inner=network)
        before_ns = network.clock.now_ns()
        assert ask(face, faults, "GET", "https://h/long").content == LONG
        assert network.clock.now_ns() - before_ns >= 10 * NS_PER_S


def test_websocket_meets_faults_as_any_connection() -> None:
    with MockTransport() as mock:
        mock.websocket("/echo", lambda message: message)
        faults = FaultTransport(Fault.delay(300, 5.0), Fault.drip(400, size=7, nbytes=70), Fault.reset(900), inner=mock)
        came: list[bytes] = []

        def talk() -> None:
            with Client(connector=faults) as client, client.websocket("ws://h/echo") as socket:
                for number in range(100):
                    socket.send(b"%d" % number * 20)
                    came.append(bytes(socket.recv(timeout=100)))  # type: ignore[arg-type]  # bytes were sent

        with pytest.raises(WebSocketClosed):
            talk()
    assert came == [b"%d" % number * 20 for number in range(len(came))]
    assert len(came) > 10
    assert len(faults.made) == 3


def test_fault_of_one_connection_leaves_the_others_alone(server: str) -> None:
    faults = FaultTransport(Fault.reset(0, connection=1))
    with Client(connector=faults) as client:
        client.stream("GET", f"{server}/long").close()
        with pytest.raises(TurbosockError):
            client.get(f"{server}/json")
        assert client.get(f"{server}/json").status_code == 200
    assert [made.connection for made in faults.made] == [1]


CHANCES = {"delay": 0.3, "drip": 0.3, "cut": 0.2, "reset": 0.2, "corrupt": 0.2}


def outcomes(face: str, seed: int, chances: dict[str, float] = CHANCES) -> tuple[list[object], list[str]]:
    """What becomes of twenty requests, each on a connection of its own, and the faults that were made.

    In virtual time: which of two faults ends a connection first is not left to the machine.
    """
    found: list[object] = []
    with Network() as network:
        network.listen(("h", 80), handler=handler)
        faults = FaultTransport(seed=seed, chances=chances, max_delay_s=1.0, inner=network)
        for _ in range(20):
            try:
                found.append(ask(face, faults, "PUT", "http://h/echo", content=LONG).content)
            except TurbosockError as error:
                found.append(type(error))
    return found, [str(made) for made in faults.made]


@pytest.mark.parametrize("seed", seeds(2))
@pytest.mark.parametrize("face", FACES)
def test_same_seed_makes_the_same_faults(face: str, seed: int) -> None:
    found, made = outcomes(face, seed)
    assert outcomes(face, seed) == (found, made)
    assert len(made) > 5
    assert outcomes(face, seed + 1000)[1] != made


def test_chance_of_one_kind_does_not_move_the_others() -> None:
    delays = [made for made in outcomes("stream", 3, {"delay": 0.3})[1] if "delay" in made]
    with_more = [made for made in outcomes("stream", 3, {"delay": 0.3, "corrupt": 0.5})[1] if "delay" in made]
    assert delays == with_more


def test_faults_and_recorder_can_be_stacked(server: str, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.json"
    faults = FaultTransport(Fault.corrupt(300, 0x20))
    with Recorder(path, inner=faults) as recorder:
        spoilt = ask("stream", recorder, "GET", f"{server}/long").content
    assert spoilt != LONG
    with Recorder(path, mode="replay") as recorder:
        assert ask("loop", recorder, "GET", f"{server}/long").content == spoilt


@pytest.mark.parametrize(
    ("faults", "options", "named"),
    [
        ((1,), {}, "faults"),
        ((), {"seed": "x", "chances": {"cut": 1}}, "seed"),
        ((), {"seed": 1}, "chances"),
        ((), {"seed": 1, "chances": {"slip": 1}}, "'slip' is no fault"),
        ((), {"seed": 1, "chances": {"cut": 2}}, "cut=2"),
        ((), {"within_bytes": 0}, "within_bytes"),
        ((), {"max_delay_s": -1}, "max_delay_s"),
    ],
)
def test_option_that_cannot_work_is_named(faults: tuple[Any, ...], options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        FaultTransport(*faults, **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"at": -1}, "at"), ({"at": 0, "direction": "in"}, "direction"), ({"at": 0, "connection": -1}, "connection")],
)
def test_fault_that_cannot_be_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidOption, match=named):
        Fault.cut(**options)


@pytest.mark.parametrize(("name", "bad"), [("every_s", -1), ("size", 0), ("nbytes", -1)])
def test_drip_that_cannot_be_is_named_by_its_argument(name: str, bad: int) -> None:
    options: dict[str, Any] = {name: bad}
    with pytest.raises(InvalidOption, match=f"^{name}="):
        Fault.drip(**options)
