"""HTTP/2 with real servers: nginx, nghttpd and h2o, by ALPN and by prior knowledge, on both faces."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import peers
from support.faces import Face, face
from support.https import Pki
from turbosock import PoolConfig
from turbosock.config import TlsConfig, TlsProviderMode

BIG = 3_000_000
ONE = PoolConfig(max_connections_per_origin=1)


@contextlib.contextmanager
def started(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it listens on."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + peers.START_DEADLINE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < end and process.poll() is None, f"{command[0]} did not start"
        yield
    finally:
        peers.stop(process)


@pytest.fixture(scope="module")
def credentials(http2_pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a server's certificate, its key, and its authority."""
    directory = tmp_path_factory.mktemp("credentials")
    pem = http2_pki.good.pem()
    (directory / "certificate.pem").write_bytes(pem)
    (directory / "key.pem").write_bytes(pem)
    (directory / "ca.pem").write_bytes(http2_pki.authority.pem)
    return directory


@pytest.fixture(scope="module", params=["alpn", "prior knowledge"])
def server(
    request: pytest.FixtureRequest, credentials: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an nginx."""
    tls = credentials if request.param == "alpn" else None
    # It closes a connection in good order, by a GOAWAY, after so many requests.
    with peers.nginx(
        tmp_path_factory.mktemp("nginx"), http2=True, tls=tls, big_bytes=BIG, keepalive_requests=500
    ) as peer:
        yield peer.url("")


@pytest.fixture(params=["stream", "loop"], ids=["client", "loop"])
def guest(request: pytest.FixtureRequest, server: str, credentials: Path) -> Iterator[Face]:
    if server.startswith("https"):
        options = {"tls": TlsConfig(ca_file=str(credentials / "ca.pem"))}
    else:
        options = {"http_versions": ("HTTP/2",)}  # type: ignore[dict-item]  # the options of either
    with face(request.param, pool=ONE, diagnostics=True, **options) as made:
        yield made


def test_nginx_answers_everything(guest: Face, server: str) -> None:
    answer = guest.get(server + "/100")
    assert (answer.http_version, answer.content) == ("HTTP/2", peers.SMALL_BODY)
    assert guest.get(server + "/big").content == peers.big_body(BIG)
    assert guest.get(server + "/empty").status_code == 204
    assert guest.get(server + "/missing").status_code == 404
    assert guest.get(server + "/redirect").content == peers.SMALL_BODY
    assert guest.request("HEAD", server + "/100").content == b""
    assert guest.request("POST", server + "/discard", content=peers.big_body(BIG)).status_code == 204
    assert guest.request("POST", server + "/discard", content=iter([b"a" * 100_000] * 5)).status_code == 204
    assert "HTTP/2.0" in guest.get(server + "/reflect?q=1").text


def test_nginx_answers_many_at_once_and_its_goodbyes_cost_nothing(guest: Face, server: str) -> None:
    for _ in range(15):
        exchanges = [guest.begin("GET", server + "/100") for _ in range(50)]
        for exchange in exchanges:
            assert exchange.outcome().content == peers.SMALL_BODY
    stats = guest.owner.pool.stats()
    assert (stats.open, stats.in_use) == (1, 0)
    assert stats.opened > 1


@pytest.mark.parametrize("provider", [TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY])
@pytest.mark.parametrize("kind", ["stream", "loop"])
def test_nghttpd_answers_and_takes_trailers(
    kind: str, provider: TlsProviderMode, credentials: Path, tmp_path: Path
) -> None:
    executable = peers.require("nghttpd", "apt-get install -y nghttp2-server")
    (tmp_path / "big").write_bytes(peers.big_body(BIG))
    port = peers.unused_port()
    files = [str(credentials / "key.pem"), str(credentials / "certificate.pem")]
    command = [executable, "-a", "127.0.0.1", "-d", str(tmp_path), "--trailer=x-end: here", str(port), *files]
    with started(command, port):
        tls = TlsConfig(ca_file=str(credentials / "ca.pem"), provider=provider)
        with face(kind, tls=tls, diagnostics=True) as user:
            exchanges = [user.begin("GET", f"https://127.0.0.1:{port}/big") for _ in range(5)]
            for exchange in exchanges:
                answer = exchange.outcome()
                assert answer.content == peers.big_body(BIG)
                assert answer.trailers.get("x-end") == "here"
            missing = user.get(f"https://127.0.0.1:{port}/none")
            assert (missing.http_version, missing.status_code) == ("HTTP/2", 404)


H2O_CONFIG = """\
{user}
num-threads: 1
hosts:
  default:
    listen: {{host: 127.0.0.1, port: {port}{tls}}}
    paths:
      "/": {{file.dir: "{root}"}}
"""


@pytest.mark.parametrize("secure", [True, False], ids=["alpn", "prior knowledge"])
@pytest.mark.parametrize("kind", ["stream", "loop"])
def test_h2o_answers_many_at_once(kind: str, secure: bool, credentials: Path, tmp_path: Path) -> None:
    executable = peers.require("h2o", "apt-get install -y h2o")
    (tmp_path / "big").write_bytes(peers.big_body(BIG))
    port = peers.unused_port()
    # Otherwise it becomes somebody who must not read these files.
    user = "user: root" if os.geteuid() == 0 else ""
    tls = f", ssl: {{certificate-file: {credentials}/certificate.pem, key-file: {credentials}/key.pem}}"
    config = H2O_CONFIG.format(user=user, port=port, tls=tls if secure else "", root=tmp_path)
    (tmp_path / "h2o.conf").write_text(config)
    options: dict[str, Any] = {"http_versions": ("HTTP/2",)}
    if secure:
        options["tls"] = TlsConfig(ca_file=str(credentials / "ca.pem"))
    url = f"{'https' if secure else 'http'}://127.0.0.1:{port}"
    command = [executable, "-m", "worker", "-c", str(tmp_path / "h2o.conf")]
    with started(command, port), face(kind, pool=ONE, diagnostics=True, **options) as guest:
        exchanges = [guest.begin("GET", url + "/big") for _ in range(10)]
        for exchange in exchanges:
            answer = exchange.outcome()
            assert (answer.http_version, answer.content) == ("HTTP/2", peers.big_body(BIG))
        assert guest.request("HEAD", url + "/big").headers["content-length"] == str(BIG)
        assert guest.request("POST", url + "/big", content=b"x" * 300_000).status_code in (200, 405)
        assert guest.get(url + "/none").status_code == 404
        assert guest.owner.pool.stats().opened == 1
