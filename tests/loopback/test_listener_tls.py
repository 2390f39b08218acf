"""The listener over TLS with clients that others wrote, curl and http.client, and with our own, on both engines."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.clients import MakeClient
from support.peers import require
from support.running_listener import WAIT_S, RunningListener
from support.tls import Authority, Files, dns, ip
from turbosock import Client, Config, EventKind, Loop
from turbosock.config import ClientAuth, TlsConfig, TlsProviderMode, TlsServerConfig, TlsVersion
from turbosock.errors import TlsError, TlsVerificationError
from turbosock.server.http_exchange import HttpExchange

CURL_INSTALL = "apt-get install -y curl"
BIG = bytes(i * 7 % 256 for i in range(65_536)) * 64
AUTHORITY = Authority()
LEAF = AUTHORITY.leaf([dns(b"localhost"), ip(bytes((127, 0, 0, 1)))])
USER = AUTHORITY.leaf([dns(b"user")], common_name="user", client=True)


def answer(exchange: HttpExchange) -> None:
    """A handler with a path for each way of answering."""
    request = exchange.request
    if request.path == "/echo":
        exchange.respond(200, None, request.content)
    elif request.path == "/big":
        exchange.respond(200, None, BIG)
    elif request.path == "/chunks":
        exchange.start(200)
        for i in range(100):
            exchange.send(b"%d\n" % i)
        exchange.end()
    elif request.path == "/who":
        assert request.tls is not None
        shown = request.peer_certificate_der == USER.der
        exchange.respond(200, None, f"{request.tls.version} {request.tls.alpn} {request.server_name} {shown}")
    else:
        exchange.respond(404)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def serving(request: pytest.FixtureRequest, files: Files) -> TlsServerConfig:
    return TlsServerConfig(files.certificate(LEAF), provider=request.param)


@pytest.fixture
def server(serving: TlsServerConfig) -> Iterator[RunningListener]:
    with RunningListener(answer, serving) as running:
        yield running


@pytest.fixture
def ca_file(files: Files) -> str:
    return files.write(AUTHORITY.pem)


def curl(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [require("curl", CURL_INSTALL), "-sS", "--max-time", str(WAIT_S), *arguments],
        input=data,
        capture_output=True,
        timeout=2 * WAIT_S,
        check=False,
    )


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_gets_posts_and_keeps_its_connection(server: RunningListener, ca_file: str, version: str) -> None:
    trusted = ("--cacert", ca_file, f"--tlsv{version}", "--tls-max", version)
    status = "%{http_code} %{num_connects}\n"
    done = curl(*trusted, "-w", status, "-o", os.devnull, server.url("/chunks"), "-o", os.devnull, server.url("/big"))
    assert done.stdout == b"200 1\n200 0\n", done.stderr
    assert curl(*trusted, server.url("/big")).stdout == BIG
    assert curl(*trusted, "--data-binary", "@-", server.url("/echo"), data=BIG).stdout == BIG
    who = curl(*trusted, f"https://localhost:{server.port}/who").stdout
    assert who == f"TLSv{version} h2 localhost False".encode()
    assert server.listener.stats().failed_handshakes == 0


def test_curl_that_does_not_trust_it_is_counted(server: RunningListener) -> None:
    done = curl(server.url("/who"))
    assert done.returncode == 60, done.stderr
    assert not done.stdout
    # A stalled count would be a stalled loop: the next handshake comes after it.
    assert curl("-k", server.url("/who")).returncode == 0
    assert server.listener.stats().failed_handshakes == 1


def test_curl_in_plain_http_is_closed_without_an_answer(server: RunningListener) -> None:
    done = curl(f"http://127.0.0.1:{server.port}/who")
    assert done.returncode in (1, 52, 56) and b"200" not in done.stdout
    assert curl("-k", server.url("/who")).returncode == 0
    assert server.listener.stats().failed_handshakes == 1


def test_curl_shows_its_certificate_or_is_refused(serving: TlsServerConfig, files: Files, ca_file: str) -> None:
    asking = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_file=ca_file)
    with RunningListener(answer, asking) as running:
        shown = curl("--cacert", ca_file, "--cert", files.write(USER.pem()), running.url("/who"))
        assert shown.stdout.endswith(b" True"), shown.stderr
        refused = curl("--cacert", ca_file, running.url("/who"))
        assert refused.returncode in (16, 35, 56) and b"certificate required" in refused.stderr, refused.stderr
        stranger = Authority("another").leaf([dns(b"user")], client=True)
        strange = curl("--cacert", ca_file, "--cert", files.write(stranger.pem()), running.url("/who"))
        assert strange.returncode in (16, 35, 56) and not strange.stdout, strange.stderr


def test_http_client_keeps_its_connection_through_every_kind_of_answer(server: RunningListener, ca_file: str) -> None:
    context = ssl.create_default_context(cafile=ca_file)
    client = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=WAIT_S, context=context)
    try:
        for _ in range(3):
            for method, path, body, status, expected in (
                ("GET", "/chunks", None, 200, b"".join(b"%d\n" % i for i in range(100))),
                ("POST", "/echo", BIG, 200, BIG),
                ("HEAD", "/big", None, 200, b""),
                ("GET", "/none", None, 404, b""),
            ):
                client.request(method, path, body)
                response = client.getresponse()
                assert (response.status, response.read()) == (status, expected)
        assert server.listener.stats().accepted == 1
    finally:
        client.close()


@pytest.mark.parametrize("version", list(TlsVersion))
def test_our_client_of_every_kind_is_answered_and_resumes(
    server: RunningListener, make_client: MakeClient, ca_file: str, version: TlsVersion
) -> None:
    tls = TlsConfig(ca_file=ca_file, maximum_version=version)
    client = make_client(tls=tls, http_versions=("HTTP/1.1",))
    for _ in range(2):
        assert client.post(server.url("/echo"), content=BIG).content == BIG
        assert client.get(server.url("/big")).content == BIG
    response = client.get(server.url("/who"), headers={"Connection": "close"})
    assert response.text == f"{version.value} http/1.1 None False"
    assert server.listener.stats().accepted == 1
    again = client.get(server.url("/who"))
    assert again.tls is not None and again.tls.resumed
    assert server.listener.stats().accepted == 2


def test_our_client_without_its_certificate_is_told_so(
    serving: TlsServerConfig, make_client: MakeClient, ca_file: str, files: Files
) -> None:
    asking = replace(serving, client_auth=ClientAuth.REQUIRED, client_ca_file=ca_file)
    with RunningListener(answer, asking) as running:
        with pytest.raises(TlsError) as raised:
            make_client(tls=TlsConfig(ca_file=ca_file)).get(running.url("/who"))
        assert raised.value.reason == "client_certificate_required"
        client = make_client(tls=TlsConfig(ca_file=ca_file, cert_file=files.write(USER.pem())))
        assert client.get(running.url("/who")).text.endswith(" True")


def test_our_client_that_does_not_trust_it_sends_nothing(server: RunningListener, make_client: MakeClient) -> None:
    with pytest.raises(TlsVerificationError):
        make_client(tls=TlsConfig()).get(server.url("/who"))
    assert server.listener.stats().requests == 0


def test_one_loop_asks_itself_many_times_over_tls(serving: TlsServerConfig, ca_file: str) -> None:
    count = 40
    with Loop(Config(tls=TlsConfig(ca_file=ca_file))) as loop:
        listener = loop.listen(("127.0.0.1", 0), handler=answer, tls=serving)
        for _ in range(count):
            loop.request("GET", listener.url + "/big")
        bodies: list[bytes] = []
        while len(bodies) < count:
            loop.poll(WAIT_S, max_time=0.005)
            for event in loop.events:
                assert event.kind is EventKind.RESPONSE, event.error
                assert event.exchange is not None
                bodies.append(event.exchange.content)
        assert all(body == BIG for body in bodies)
        assert (listener.stats().requests, listener.stats().failed_handshakes) == (count, 0)


def test_stalled_and_hostile_clients_disturb_nobody(server: RunningListener, ca_file: str) -> None:
    with Client(Config(tls=TlsConfig(ca_file=ca_file))) as client:
        stalled = [socket.create_connection(("127.0.0.1", server.port), WAIT_S) for _ in range(20)]
        try:
            for i, sock in enumerate(stalled):
                sock.sendall((b"", b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 300)[i % 4])
            for _ in range(5):
                assert client.get(server.url("/echo")).content == b""
        finally:
            for sock in stalled:
                sock.close()
        assert server.listener.stats().timeouts == 0
