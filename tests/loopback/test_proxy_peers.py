"""Through real proxies to a real origin, on every face: what tinyproxy, microsocks, Dante and HAProxy make of us."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import peers, proxy_peers
from support.faces import FACES, face
from support.https import Pki
from support.proxies import ACCEPTING
from support.scripted_server import Script, answer, await_close, read_request, scripted
from support.tls import dns, ip
from turbosock import Proxy, ProxyError, TlsConfig
from turbosock.tls.selfsigned import make_self_signed

USER = ("alice", "secret")


@pytest.fixture(params=FACES)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    """nginx over TLS; the authority of its certificate is the only one that is trusted."""
    directory = tmp_path_factory.mktemp("origin")
    make_self_signed("localhost").write(directory)
    with peers.nginx(directory / "nginx", big_bytes=3_000_000, tls=directory) as peer:
        yield peer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.nginx(tmp_path_factory.mktemp("plain"), big_bytes=3_000_000) as peer:
        yield peer


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with proxy_peers.tinyproxy(tmp_path_factory.mktemp("tinyproxy"), USER) as port:
        yield f"http://{USER[0]}:{USER[1]}@127.0.0.1:{port}"


@pytest.fixture(scope="module")
def microsocks() -> Iterator[int]:
    with proxy_peers.microsocks(USER) as port:
        yield port


@pytest.fixture(scope="module")
def dante(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with proxy_peers.dante(tmp_path_factory.mktemp("dante")) as port:
        yield port


def check(kind: str, origin: peers.Peer, plain: peers.Peer, proxy: Any) -> None:
    """A short and a long answer, plain and over TLS, twice each over kept connections."""
    tls = TlsConfig(ca_file=origin.ca_file, server_name="localhost")
    with face(kind, proxy=proxy, tls=tls) as user:
        for peer in (plain, origin):
            for _ in range(2):
                assert user.get(peer.url("/100")).content == peers.SMALL_BODY
                assert user.get(peer.url("/big")).content == peers.big_body(3_000_000)


def test_tinyproxy_forwards_and_tunnels(kind: str, origin: peers.Peer, plain: peers.Peer, tinyproxy: str) -> None:
    check(kind, origin, plain, tinyproxy)
    parsed = Proxy.parse(tinyproxy)
    check(kind, origin, plain, Proxy("http", parsed.host, parsed.port, *USER, tunnel=True))


def test_tinyproxy_wants_its_credentials(kind: str, origin: peers.Peer, plain: peers.Peer, tinyproxy: str) -> None:
    port = Proxy.parse(tinyproxy).port
    for proxy in (f"http://127.0.0.1:{port}", f"http://alice:wrong@127.0.0.1:{port}"):
        with face(kind, proxy=proxy) as user:
            error = user.error(origin.url("/100"))
            assert isinstance(error, ProxyError)
            assert error.code == "proxy_auth"
            assert user.get(plain.url("/100")).status_code in (401, 407)


def test_tinyproxy_tells_of_an_origin_that_is_away(kind: str, tinyproxy: str) -> None:
    with face(kind, proxy=tinyproxy) as user:
        error = user.error(f"https://127.0.0.1:{peers.unused_port()}/")
    assert isinstance(error, ProxyError)
    assert error.code in ("proxy_unreachable", "proxy_failed")


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_microsocks_tunnels(kind: str, origin: peers.Peer, plain: peers.Peer, microsocks: int, scheme: str) -> None:
    check(kind, origin, plain, f"{scheme}://{USER[0]}:{USER[1]}@127.0.0.1:{microsocks}")


def test_microsocks_wants_its_credentials(kind: str, plain: peers.Peer, microsocks: int) -> None:
    for user_info in ("", "alice:wrong@"):
        with face(kind, proxy=f"socks5h://{user_info}127.0.0.1:{microsocks}") as user:
            error = user.error(plain.url("/100"))
        assert isinstance(error, ProxyError)
        assert error.code == "proxy_auth"


def test_microsocks_tells_of_an_origin_that_is_away(kind: str, microsocks: int) -> None:
    with face(kind, proxy=f"socks5h://{USER[0]}:{USER[1]}@127.0.0.1:{microsocks}") as user:
        error = user.error(f"http://127.0.0.1:{peers.unused_port()}/")
    assert isinstance(error, ProxyError)
    assert (error.code, error.reply) == ("proxy_unreachable", 5)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_dante_tunnels(kind: str, origin: peers.Peer, plain: peers.Peer, dante: int, scheme: str) -> None:
    check(kind, origin, plain, f"{scheme}://127.0.0.1:{dante}")


@pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
def test_dante_refuses_by_its_rules(kind: str, dante: int, scheme: str) -> None:
    with face(kind, proxy=f"{scheme}://127.0.0.1:{dante}") as user:
        error = user.error("http://127.0.0.9:9/")
    assert isinstance(error, ProxyError)
    assert error.code == "proxy_refused"


def test_haproxy_puts_tls_before_a_proxy(
    kind: str, origin: peers.Peer, plain: peers.Peer, tinyproxy: str, tmp_path: Path
) -> None:
    pki = Pki(tmp_path)
    leaf = pki.authority.leaf([dns(b"localhost"), ip(b"\x7f\0\0\1")])
    certificate = pki.files.write(leaf.pem())
    behind = Proxy.parse(tinyproxy).port
    assert behind is not None
    with proxy_peers.haproxy(tmp_path, certificate, behind) as port:
        proxy = Proxy("https", "127.0.0.1", port, *USER, tls=pki.trusting)
        check(kind, origin, plain, proxy)


def test_chain_goes_through_all_of_them(
    kind: str, origin: peers.Peer, plain: peers.Peer, tinyproxy: str, microsocks: int, dante: int, tmp_path: Path
) -> None:
    pki = Pki(tmp_path)
    certificate = pki.files.write(pki.authority.leaf([dns(b"localhost"), ip(b"\x7f\0\0\1")]).pem())
    behind = Proxy.parse(tinyproxy).port
    assert behind is not None
    with proxy_peers.haproxy(tmp_path, certificate, behind) as port:
        hops = (
            f"socks5h://{USER[0]}:{USER[1]}@127.0.0.1:{microsocks}",
            Proxy("https", "127.0.0.1", port, *USER, tls=pki.trusting),
            f"socks4a://127.0.0.1:{dante}",
            tinyproxy,
        )
        check(kind, origin, plain, hops)


@pytest.mark.parametrize("scheme", sorted(ACCEPTING.keys() - {"https"}))
@pytest.mark.parametrize("tunnel", [False, True])
def test_proxies_are_asked_as_curl_asks_them(scheme: str, tunnel: bool) -> None:
    curl = peers.require("curl", "apt-get install -y curl")
    opened: Script = () if scheme == "http" and not tunnel else (ACCEPTING[scheme],)
    url = "http://192.0.2.7/path?q=1" if scheme in ("socks4", "socks5") else "http://origin.example/path?q=1"
    with scripted((*opened, read_request, answer(), await_close)) as server:
        secret = "" if scheme.startswith("socks4") else ":pw"
        proxy = f"{scheme}://alice{secret}@{server.host}:{server.port}"
        command = [curl, "-s", "-x", proxy, *(["-p"] if tunnel and scheme == "http" else []), url]
        assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"ok"
        theirs = list(server.requests)
        server.requests.clear()
        ours = replace(Proxy.parse(proxy), tunnel=tunnel and scheme == "http")
        with face("stream", proxy=ours) as user:
            assert user.get(url).content == b"ok"
    assert [asked(request) for request in server.requests] == [asked(request) for request in theirs]


def asked(request: bytes) -> object:
    """What a request says, but for fields that are a client's own."""
    if b" HTTP/1.1\r\n" not in request:
        return request
    line, *fields = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return line, sorted(field for field in fields if field.startswith((b"Host: ", b"Proxy-Authorization: ")))
