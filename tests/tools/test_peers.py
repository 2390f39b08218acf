"""The peers that other tests lean on: they start, answer as they say, stop by themselves, and name what is missing."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import peers
from turbosock.tls.selfsigned import make_self_signed


def fetch(peer: peers.Peer, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes, str | None]:
    """Status, body and Transfer-Encoding of one request by CPython's own client."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = peer.connect()
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read(), response.getheader("Transfer-Encoding")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.nginx(tmp_path_factory.mktemp("nginx"), big_bytes=300_000) as peer:
        yield peer


def test_nginx_fixed_locations_answer_as_documented(nginx: peers.Peer) -> None:
    assert fetch(nginx, "GET", "/100") == (200, peers.SMALL_BODY, None)
    assert len(peers.SMALL_BODY) == 100
    assert fetch(nginx, "GET", "/big") == (200, peers.big_body(300_000), None)
    assert fetch(nginx, "GET", "/chunked") == (200, peers.SMALL_BODY, "chunked")
    assert fetch(nginx, "GET", "/empty")[:2] == (204, b"")
    assert fetch(nginx, "GET", "/missing")[0] == 404
    assert fetch(nginx, "GET", "/redirect")[0] == 302
    assert fetch(nginx, "GET", "/reflect?a=1")[1].startswith(b"GET /reflect?a=1 HTTP/1.1\n")


def test_nginx_upload_stores_the_body_and_discard_does_not(nginx: peers.Peer) -> None:
    body = peers.big_body(200_000)
    assert fetch(nginx, "PUT", "/upload/name", body)[0] == 201
    assert (nginx.uploads / "name").read_bytes() == body
    assert fetch(nginx, "PUT", "/discard", body)[0] == 204
    assert os.listdir(nginx.uploads) == ["name"]


def test_nginx_on_a_unix_socket_answers(tmp_path: Path) -> None:
    with peers.nginx(tmp_path, unix=True) as peer:
        assert peer.socket_path is not None
        assert fetch(peer, "GET", "/100")[1] == peers.SMALL_BODY


def test_nginx_over_tls_shows_its_certificate_and_resumes_by_ticket(tmp_path: Path) -> None:
    make_self_signed("localhost").write(tmp_path)
    resumed = 'location = /resumed { return 200 "$ssl_session_reused"; }'
    with peers.nginx(tmp_path / "nginx", locations=resumed, tls=tmp_path) as peer:
        assert peer.url("/").startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=peer.ca_file)
        session, said = None, []
        for _ in range(2):
            with context.wrap_socket(peer.connect(), server_hostname="localhost", session=session) as secured:
                secured.sendall(b"GET /resumed HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = b""
                while not answer.endswith((b"\r\n\r\n.", b"\r\n\r\nr")):
                    answer += secured.recv(4096)
                said.append(answer[-1:])
                session = secured.session
    assert said == [b".", b"r"]


def test_nginx_with_http2_agrees_to_it_over_tls_and_speaks_nothing_else_without(tmp_path: Path) -> None:
    make_self_signed("localhost").write(tmp_path)
    with peers.nginx(tmp_path / "tls", tls=tmp_path, http2=True) as peer:
        for offered in ("h2", "http/1.1"):
            context = ssl.create_default_context(cafile=peer.ca_file)
            context.set_alpn_protocols([offered])
            with context.wrap_socket(peer.connect(), server_hostname="localhost") as secured:
                assert secured.selected_alpn_protocol() == offered
    with peers.nginx(tmp_path / "plain", http2=True) as peer, peer.connect() as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        # A SETTINGS frame (RFC 9113 section 6.5), on stream 0.
        assert connection.recv(9, socket.MSG_WAITALL)[3:] == bytes((4, 0, 0, 0, 0, 0))


def test_nginx_after_its_block_is_gone(tmp_path: Path) -> None:
    with peers.nginx(tmp_path) as peer:
        pid, port = peer.pid, peer.port
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_nginx_wrong_configuration_raises_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_directive"), peers.nginx(tmp_path, locations="no_such_directive;"):
        pass


def test_http_server_serves_its_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with peers.http_server(tmp_path) as peer:
        assert fetch(peer, "GET", "/file")[:2] == (200, b"content")


def test_require_missing_peer_skips_with_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TURBOSOCK_REQUIRE_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install -y nothing"):
        peers.require("no-such-executable", "apt-get install -y nothing")


def test_require_missing_peer_fails_where_peers_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURBOSOCK_REQUIRE_PEERS", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install -y nothing"):
        peers.require("no-such-executable", "apt-get install -y nothing")
