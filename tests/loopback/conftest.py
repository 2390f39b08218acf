"""Fixtures of the loopback tests: a Client of every kind, and the real peers, one process each for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import faces, peers
from support.clients import VARIANTS, MakeClient, variant_config
from support.http2_server import WIRES, Wire
from support.https import Pki
from support.middleware import Face
from support.two_origins import Site
from support.websocket_stage import WAYS, WebSocketStage
from turbosock import Client


@pytest.fixture(params=VARIANTS)
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes clients of one transport mode, with or without pooled memory; closed when the test ends."""
    made: list[Client] = []

    def make(**options: object) -> Client:
        made.append(Client(variant_config(request.param, **options)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def site() -> Iterator[Site]:
    """Two origins that tell what they were asked."""
    made = Site()
    with made.one, made.other:
        yield made


@pytest.fixture(params=["stream", "saea", "loop"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    """A Client of each mode and a Loop, behind the same calls; the test opens it."""
    made = Face(request.param)
    yield made
    made.close()


@pytest.fixture
def client(make_client: MakeClient) -> Client:
    """One client with the tests' own time limits."""
    return make_client()


@pytest.fixture(scope="session")
def http2_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates of servers that speak HTTP/2."""
    return Pki(tmp_path_factory.mktemp("http2_pki"))


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest, http2_pki: Pki) -> Wire:
    """Every way to a connection that speaks HTTP/2."""
    return Wire(request.param, http2_pki)


@pytest.fixture
def clear(http2_pki: Pki) -> Wire:
    """HTTP/2 by prior knowledge."""
    return Wire("clear", http2_pki)


@pytest.fixture(params=["stream", "loop"], ids=["client", "loop"])
def user(request: pytest.FixtureRequest, clear: Wire) -> Iterator[faces.Face]:
    """A Client or a Loop that speaks HTTP/2 by prior knowledge, guarded."""
    with faces.face(request.param, diagnostics=True, **clear.options) as made:
        yield made


@pytest.fixture(scope="session")
def websocket_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates of servers that speak WebSocket."""
    return Pki(tmp_path_factory.mktemp("websocket_pki"))


@pytest.fixture(params=WAYS)
def stage(request: pytest.FixtureRequest, websocket_pki: Pki) -> Iterator[WebSocketStage]:
    """A client and servers for WebSockets, over every way."""
    made = WebSocketStage(request.param, websocket_pki)
    yield made
    made.end()


@pytest.fixture
def plain(websocket_pki: Pki) -> Iterator[WebSocketStage]:
    """The same over kernel-blocking sockets alone, for what the ways have in common."""
    made = WebSocketStage("stream", websocket_pki)
    yield made
    made.end()


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """nginx on a loopback port."""
    with peers.nginx(tmp_path_factory.mktemp("nginx"), big_bytes=3_000_000) as peer:
        yield peer


@pytest.fixture(scope="session")
def nginx_unix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """nginx on a Unix socket."""
    with peers.nginx(tmp_path_factory.mktemp("unix"), unix=True, big_bytes=3_000_000) as peer:
        yield peer


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """`python -m http.server` over a directory with a few files."""
    directory = tmp_path_factory.mktemp("files")
    (directory / "hello.txt").write_bytes(b"hello\n")
    (directory / "big.bin").write_bytes(peers.big_body(500_000))
    (directory / "empty.txt").write_bytes(b"")
    with peers.http_server(directory) as peer:
        yield peer
