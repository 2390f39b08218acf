"""HarRecorder on every face: what an entry says of exchanges of every kind, and what it never says."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.har import check_har
from support.https import Pki
from support.middleware import Face
from support.peers import Peer, unused_port
from support.proxies import accept_connect
from support.running_listener import RunningListener
from support.scripted_server import answer, await_close, close, read_request, scripted, send
from turbosock import Client, Proxy, RetryHook
from turbosock.client.retries import RetryPolicy
from turbosock.errors import BodyTruncated, ConnectError, InvalidOption
from turbosock.observe.har import HarRecorder
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector
from turbosock.tls_config import TlsCertificate, TlsServerConfig


@pytest.fixture(params=["stream", "saea", "loop"])
def face(request: pytest.FixtureRequest) -> Iterator[Face]:
    made = Face(request.param)
    yield made
    made.close()


def entries_of(recorder: HarRecorder) -> list[dict[str, Any]]:
    """The entries as a reader of the file has them."""
    return check_har(json.loads(recorder.to_json()))


def fields(message: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["value"] for field in message["headers"]}


def test_entry_tells_of_request_answer_and_connection(face: Face) -> None:
    recorder = HarRecorder()
    head = b"HTTP/1.1 200 Fine\r\nContent-Type: text/plain; charset=utf-8\r\n"
    with scripted([read_request, answer(b"first", head), read_request, answer(b"second")]) as server:
        face.open(recorder)
        face.get(server.url("/path?a=b%20c&d=&a=e#fragment"), headers={"X-Own": "yes"})
        face.request("POST", server.url("/path"), content=b"body", headers={"Content-Type": "text/x"})
    first, second = entries_of(recorder)
    request = first["request"]
    assert (request["method"], request["httpVersion"]) == ("GET", "HTTP/1.1")
    assert request["url"] == server.url("/path?a=b%20c&d=&a=e")
    assert request["queryString"] == [
        {"name": "a", "value": "b c"},
        {"name": "d", "value": ""},
        {"name": "a", "value": "e"},
    ]
    assert fields(request)["X-Own"] == "yes"
    assert (request["headersSize"], request["bodySize"]) == (len(server.requests[0]), 0)
    assert "postData" not in request
    response = first["response"]
    assert (response["status"], response["statusText"], response["httpVersion"]) == (200, "Fine", "HTTP/1.1")
    assert response["content"] == {"size": 5, "mimeType": "text/plain; charset=utf-8"}
    assert (response["headersSize"], response["bodySize"]) == (len(head) + len("Content-Length: 5\r\n\r\n"), 5)
    assert first["serverIPAddress"] == "127.0.0.1"
    assert first["timings"]["connect"] >= 0
    assert first["timings"]["ssl"] == -1
    # The second went over the same connection.
    assert second["connection"] == first["connection"] != "0"
    assert (second["timings"]["dns"], second["timings"]["connect"]) == (-1, -1)
    assert (second["request"]["bodySize"], second["request"]["postData"]["mimeType"]) == (4, "text/x")
    assert "body" not in json.dumps(second["request"]["postData"]["text"])


def test_entry_hides_credentials_cookies_and_secrets_of_urls(face: Face) -> None:
    recorder = HarRecorder()
    head = b"HTTP/1.1 302 Found\r\nSet-Cookie: a=s3cr3t; Path=/\r\nSet-Cookie: s3cr3t\r\n"
    location = b"Location: /there?token=s3cr3t&b=c\r\n"
    with scripted([read_request, answer(b"", head + location), read_request, answer()]) as server:
        face.open(recorder)
        url = server.url("/path?api_key=s3cr3t").replace("http://", "http://user:s3cr3t@")
        face.get(url, headers={"Cookie": "d=s3cr3t; s3cr3t", "X-Auth-Token": "s3cr3t"})
    assert b"s3cr3t" not in recorder.to_json()
    # "user:s3cr3t" as basic authentication writes it.
    assert b"dXNlcj" not in recorder.to_json()
    first, second = entries_of(recorder)
    assert first["request"]["cookies"] == [{"name": "d", "value": "(hidden)"}, {"name": "", "value": "(hidden)"}]
    assert first["response"]["cookies"] == [{"name": "a", "value": "(hidden)"}, {"name": "", "value": "(hidden)"}]
    assert first["response"]["redirectURL"] == "/there?token=(hidden)&b=c"
    assert second["request"]["url"] == server.url("/there?token=(hidden)&b=c")
    assert {"name": "token", "value": "(hidden)"} in second["request"]["queryString"]


def test_every_hop_and_attempt_is_an_entry(face: Face) -> None:
    recorder = HarRecorder()
    elsewhere = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"
    second = [read_request, send(elsewhere), read_request, send(busy), read_request, answer()]
    with scripted([read_request, close], second) as server:
        face.open(recorder, retries=RetryPolicy(backoff_first_s=0.001, backoff_cap_s=0.001))
        assert face.get(server.url("/here")).content == b"ok"
    entries = entries_of(recorder)
    assert [(entry["request"]["url"], entry["response"]["status"]) for entry in entries] == [
        (server.url("/here"), 0),
        (server.url("/here"), 302),
        (server.url("/there"), 503),
        (server.url("/there"), 200),
    ]
    assert [entry.get("_error") for entry in entries] == ["closed_early", None, None, None]


def test_attempts_of_a_link_are_entries_of_a_recorder_behind_it(face: Face) -> None:
    recorder = HarRecorder()
    hook = RetryHook(lambda exchange: 0 if exchange.error is not None else None)
    with scripted([read_request, close], [read_request, answer()]) as server:
        face.open(hook, recorder).get(server.url())
    assert [entry["response"]["status"] for entry in entries_of(recorder)] == [0, 200]


def test_failure_says_how_far_it_came(face: Face) -> None:
    recorder = HarRecorder()
    face.open(recorder)
    with pytest.raises(ConnectError):
        face.get(f"http://127.0.0.1:{unused_port()}/")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    with scripted([read_request, send(head + b"begun"), close]) as server, pytest.raises(BodyTruncated):
        face.get(server.url())
    refused, truncated = entries_of(recorder)
    assert (refused["response"]["status"], refused["_error"]) == (0, "connect")
    assert "serverIPAddress" not in refused
    assert refused["timings"]["connect"] >= 0
    assert (truncated["response"]["status"], truncated["_error"]) == (200, "body_truncated")
    assert truncated["response"]["bodySize"] == 5


@pytest.mark.parametrize("chunked", [False, True])
def test_coded_body_is_told_from_what_came(face: Face, chunked: bool) -> None:
    recorder = HarRecorder()
    text = b"text " * 1000
    coded = gzip.compress(text)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    framed = answer(coded, head)
    if chunked:
        framed = send(head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(coded), coded))
    with scripted([read_request, framed]) as server:
        assert face.open(recorder).get(server.url()).content == text
    [entry] = entries_of(recorder)
    response = entry["response"]
    assert response["content"]["size"] == len(text)
    assert response["bodySize"] == (-1 if chunked else len(coded))
    assert response["content"].get("compression") == (None if chunked else len(text) - len(coded))


def test_request_in_chunks_has_no_size(face: Face) -> None:
    recorder = HarRecorder()
    with scripted([read_request, answer()]) as server:
        face.open(recorder).request("POST", server.url(), content=iter([b"a", b"b"]))
    [entry] = entries_of(recorder)
    assert (entry["request"]["bodySize"], entry["request"]["postData"]["mimeType"]) == (-1, "")


def test_handshake_is_a_part_of_connect(face: Face, tmp_path: Path) -> None:
    recorder = HarRecorder()
    pki = Pki(tmp_path)
    certificate = TlsCertificate(pki.files.write(pki.good.pem()))
    with RunningListener(lambda exchange: exchange.respond(200, None, "ok"), TlsServerConfig(certificate)) as server:
        face.open(recorder, tls=pki.trusting).get(server.url())
    [entry] = entries_of(recorder)
    assert 0 <= entry["timings"]["ssl"] <= entry["timings"]["connect"]


def test_server_behind_a_proxy_has_no_address(face: Face) -> None:
    recorder = HarRecorder()
    with scripted([accept_connect, read_request, answer()]) as proxy:
        tunnel = Proxy("http", "127.0.0.1", proxy.port, "user", "s3cr3t", tunnel=True)
        face.open(recorder, proxy=tunnel).get("http://host.invalid/")
    [entry] = entries_of(recorder)
    assert "serverIPAddress" not in entry
    assert entry["timings"]["connect"] >= 0
    assert b"s3cr3t" not in recorder.to_json()


def test_connection_in_memory_has_no_address() -> None:
    recorder = HarRecorder()
    connector = MemoryConnector(HttpPeer(HttpAnswer(200, content=b"ok")))
    with Client(middleware=[recorder], connector=connector) as client:
        client.get("http://host/")
    [entry] = entries_of(recorder)
    assert not {"serverIPAddress", "connection"} & entry.keys()


def test_unix_socket_has_no_address(face: Face, nginx_unix: Peer) -> None:
    recorder = HarRecorder()
    assert nginx_unix.socket_path is not None
    path = quote(str(nginx_unix.socket_path), safe="")
    face.open(recorder).get(f"http+unix://{path}/100")
    [entry] = entries_of(recorder)
    assert entry["request"]["url"] == f"http+unix://{path}/100"
    assert not {"serverIPAddress", "connection"} & entry.keys()


def test_recorder_keeps_the_latest_entries_and_no_more(face: Face) -> None:
    recorder = HarRecorder(max_entries=2)
    with scripted([read_request, answer(), read_request, answer(), read_request, answer()]) as server:
        face.open(recorder)
        for path in ("/1", "/2", "/3"):
            face.get(server.url(path))
    assert [entry["request"]["url"] for entry in entries_of(recorder)] == [server.url("/2"), server.url("/3")]


@pytest.mark.parametrize("value", [0, -1, 10_001, "many", True])
def test_number_of_entries_that_cannot_be_kept_is_refused(value: Any) -> None:
    with pytest.raises(InvalidOption, match="max_entries"):
        HarRecorder(value)


def test_exchange_under_way_is_no_entry_yet_and_stays_with_its_own_recorder(face: Face) -> None:
    outer, inner = HarRecorder(), HarRecorder()
    with scripted([read_request, answer()]) as server:
        face.open(outer, inner)
        assert entries_of(outer) == []
        face.get(server.url())
    assert len(entries_of(outer)) == len(entries_of(inner)) == 1


def test_dropped_response_ends_without_the_collector() -> None:
    recorder = HarRecorder()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    with (
        scripted([read_request, send(head + b"begun"), await_close]) as server,
        Client(middleware=[recorder]) as client,
    ):
        gc.disable()
        try:
            with pytest.warns(ResourceWarning, match="dropped"):
                client.stream("GET", server.url())
        finally:
            gc.enable()
        client.stats()
    assert len(entries_of(recorder)) == 1


def test_head_of_odd_bytes_is_recorded(face: Face) -> None:
    recorder = HarRecorder()
    head = b"HTTP/1.1 200 \xff\r\nX-Odd: \xfc\xff\r\nContent-Length: 0\r\n\r\n"
    with scripted([read_request, send(head)]) as server:
        face.open(recorder).get(server.url())
    [entry] = entries_of(recorder)
    assert entry["response"]["statusText"] == "\xff"
    assert fields(entry["response"])["X-Odd"] == "\xfc\xff"
