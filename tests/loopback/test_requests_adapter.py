"""requests over turbosock: what a session sees, against servers that play scripts."""

from __future__ import annotations

import gc
import gzip
import io
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
import responses
import urllib3

from support.https import Pki, secure
from support.proxies import accept_socks5
from support.running_listener import RunningListener
from support.scripted_server import (
    Step,
    answer,
    await_close,
    await_event,
    close,
    echo_paths,
    read_request,
    reset,
    scripted,
    send,
    stall,
)
from turbosock import Client, Config, Cookies, InvalidOption
from turbosock.integrations.requests import TurbosockAdapter

GZIPPED = gzip.compress(b"hello " * 1000)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        adapter = TurbosockAdapter()
        made.mount("http://", adapter)
        made.mount("https://", adapter)
        yield made


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


def head_of(request: bytes) -> dict[str, str]:
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}


def test_get_answered_has_status_headers_and_body(session: requests.Session) -> None:
    step = answer(b"body", b"HTTP/1.1 201 Made\r\nX-One: 1\r\nX-One: 2\r\n")
    with scripted([read_request, step]) as server:
        response = session.get(server.url("/path?q=1#top"), headers={"X-Mine": "mine"})

    assert (response.status_code, response.reason, response.content) == (201, "Made", b"body")
    assert response.headers["x-one"] == "1, 2"
    assert response.raw.version == 11
    assert server.requests[0].startswith(b"GET /path?q=1 HTTP/1.1\r\n")


def test_request_has_the_fields_of_requests_and_no_others(session: requests.Session) -> None:
    session.headers.clear()
    with scripted([read_request, answer()]) as server:
        session.get(server.url())

    assert list(head_of(server.requests[0])) == ["host"]


def test_second_request_uses_the_connection_of_the_first(session: requests.Session) -> None:
    with scripted([read_request, answer(), read_request, answer()]) as server:
        session.get(server.url())
        session.get(server.url())

        assert server.accepted == 1


def test_cookies_and_redirects_are_those_of_requests(session: requests.Session) -> None:
    found = send(
        b"HTTP/1.1 302 Found\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nLocation: /two\r\nContent-Length: 0\r\n\r\n"
    )
    with scripted([read_request, found, read_request, answer(b"there")]) as server:
        response = session.get(server.url("/one"))

    assert response.content == b"there"
    assert [past.status_code for past in response.history] == [302]
    assert dict(session.cookies) == {"a": "1", "b": "2"}
    assert dict(response.history[0].cookies) == {"a": "1", "b": "2"}
    assert head_of(server.requests[1])["cookie"] == "a=1; b=2"


@pytest.mark.parametrize(
    ("body", "framing", "expected"),
    [
        (b"bytes", "content-length", b"bytes"),
        ("täxt", "content-length", "täxt".encode()),
        (io.BytesIO(b"a file"), "content-length", b"a file"),
        (io.StringIO("a file"), "content-length", b"a file"),
        (iter([b"a", "ä", bytearray(b"b")]), "transfer-encoding", "aäb".encode()),
    ],
    ids=["bytes", "text", "file", "text file", "generator"],
)
def test_post_sends_every_kind_of_body(session: requests.Session, body: Any, framing: str, expected: bytes) -> None:
    with scripted([read_request, answer()]) as server:
        session.post(server.url(), data=body)

    head, _, sent = server.requests[0].partition(b"\r\n\r\n")
    if framing == "transfer-encoding":
        sent = b"".join(sent.split(b"\r\n")[1::2])
    assert framing in head_of(head + b"\r\n\r\n")
    assert sent == expected


def test_credentials_of_the_url_become_a_field_once(session: requests.Session) -> None:
    with scripted([read_request, answer()]) as server:
        response = session.get(f"http://user:secret@{server.host}:{server.port}/")

    assert head_of(server.requests[0])["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    assert "secret" not in repr(response.raw._pool)


# Reading


def test_coded_body_is_decoded_by_content_and_raw_by_read(session: requests.Session) -> None:
    step = answer(GZIPPED, b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")
    with scripted([read_request, step, read_request, step]) as server:
        assert session.get(server.url()).content == b"hello " * 1000
        with session.get(server.url(), stream=True) as response:
            assert response.raw.read() == GZIPPED
            assert response.raw.tell() == len(GZIPPED)
        assert server.accepted == 1


def test_iter_content_of_a_known_length_gives_full_pieces(session: requests.Session) -> None:
    script = [read_request, answer(b"0123456789" * 10_000)]
    with scripted(script) as server, session.get(server.url(), stream=True) as response:
        pieces = list(response.iter_content(30_000))

    assert [len(piece) for piece in pieces] == [30_000, 30_000, 30_000, 10_000]
    assert response.raw.closed


@pytest.mark.parametrize(
    ("one", "two"),
    [(CHUNKED + b"3\r\none\r\n", b"3\r\ntwo\r\n0\r\n\r\n"), (b"HTTP/1.1 200 OK\r\n\r\none", b"two")],
    ids=["chunks", "until the end"],
)
def test_iter_content_without_a_length_gives_what_comes(session: requests.Session, one: bytes, two: bytes) -> None:
    seen = threading.Event()
    script: list[Step] = [read_request, send(one), await_event(seen), send(two), close]
    with scripted(script) as server, session.get(server.url(), stream=True) as response:
        pieces = response.iter_content(None)
        assert next(pieces) == b"one"
        seen.set()
        assert list(pieces) == [b"two"]


def test_raw_is_a_file_for_the_standard_library(session: requests.Session) -> None:
    text = b"line one\nline two\n"
    with scripted([read_request, answer(text), read_request, answer(GZIPPED)]) as server:
        with session.get(server.url(), stream=True) as response:
            response.raw.auto_close = False
            assert io.TextIOWrapper(response.raw).readlines() == ["line one\n", "line two\n"]
        with session.get(server.url(), stream=True) as response:
            assert gzip.GzipFile(fileobj=response.raw).read() == b"hello " * 1000


def test_raw_iterated_gives_lines_that_end_at_newlines_alone(session: requests.Session) -> None:
    lines = [b"10 %\r20 %\r\n", b"x" * 100_000 + b"\n", b"\n", b"end"]
    with scripted([read_request, answer(b"".join(lines))]) as server, session.get(server.url(), stream=True) as got:
        assert list(got.raw) == lines


def test_raw_reads_give_exact_counts_to_the_end(session: requests.Session) -> None:
    body = bytes(range(256)) * 1024
    with scripted([read_request, answer(body)]) as server, session.get(server.url(), stream=True) as response:
        raw = response.raw
        assert raw.read(5) == body[:5]
        assert raw.tell() == 5
        buffer = bytearray(3)
        assert raw.readinto(buffer) == 3
        assert buffer == body[5:8]
        assert raw.read(0) == b""
        assert not raw.closed
        assert raw.read() == body[8:]
        assert raw.read() == raw.read(1) == b""
        assert raw.closed


def test_response_closed_before_its_end_costs_the_connection(session: requests.Session) -> None:
    unread = [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), await_close]
    with scripted(unread, [read_request, answer()]) as server:
        session.get(server.url(), stream=True).close()
        session.get(server.url())

        assert server.accepted == 2


def test_session_closed_while_a_response_is_read_lets_it_end(session: requests.Session) -> None:
    closed = threading.Event()
    script = [
        read_request,
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
        await_event(closed),
        send(b"cd"),
        await_close,
    ]
    with scripted(script) as server:
        response = session.get(server.url(), stream=True)
        assert response.raw.read(2) == b"ab"
        session.close()
        closed.set()

        assert response.raw.read() == b"cd"
        # Its connection was the last of a client that is closed by now.
        server.await_ended()


def test_adapter_goes_on_after_close(session: requests.Session) -> None:
    with scripted([read_request, answer(), await_close]) as server:
        session.get(server.url())
        session.close()
        server.await_ended()

        assert session.get(server.url()).content == b"ok"


# Errors


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([close], requests.exceptions.ConnectionError),
        ([read_request, reset], requests.exceptions.ConnectionError),
        ([read_request, send(b"SSH-2.0-x\r\n"), await_close], requests.exceptions.ConnectionError),
        ([read_request, send(CHUNKED + b"zz\r\n"), await_close], requests.exceptions.ChunkedEncodingError),
        ([read_request, send(CHUNKED + b"5\r\nab"), close], requests.exceptions.ChunkedEncodingError),
        ([read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), close],
         requests.exceptions.ChunkedEncodingError),
        ([read_request, answer(b"no gzip", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n")],
         requests.exceptions.ContentDecodingError),
        ([read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), await_close],
         requests.exceptions.InvalidHeader),
        ([stall], requests.exceptions.ReadTimeout),
    ],
    ids=["closed", "reset", "not http", "bad chunk", "cut chunk", "cut body", "bad coding", "two lengths", "silent"],
)  # fmt: skip
def test_failure_of_the_peer_is_the_exception_of_requests(
    session: requests.Session, script: list[Step], error: type[Exception]
) -> None:
    with scripted(script) as server, pytest.raises(error) as raised:
        session.get(server.url("/here"), timeout=(5, 0.05 if script == [stall] else 5))

    assert isinstance(raised.value, requests.exceptions.RequestException)


def test_body_that_comes_too_slowly_is_a_connection_error(session: requests.Session) -> None:
    script = [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"), stall]
    error = requests.exceptions.ConnectionError
    with scripted(script) as server, pytest.raises(error, match="Read timed out"):
        session.get(server.url(), timeout=0.05)


def test_nobody_listening_is_a_connection_error_without_attempts_left(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.ConnectionError, match="Max retries exceeded"):
        session.get("http://127.0.0.1:1/")


def test_no_time_for_the_connect_is_a_connect_timeout() -> None:
    over = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        over.wait(10)
        return []

    with requests.Session() as session:
        session.mount("http://", TurbosockAdapter(config=Config(resolver=resolve)))
        try:
            with pytest.raises(requests.exceptions.ConnectTimeout):
                session.get("http://name.example/", timeout=(0.02, 5))
        finally:
            over.set()


@pytest.mark.parametrize("timeout", [(1, 2, 3), 0, -1, "soon"])
def test_timeout_that_is_none_is_refused_as_by_requests(session: requests.Session, timeout: Any) -> None:
    with pytest.raises(ValueError, match=r"(?i)timeout"):
        session.get("http://127.0.0.1:1/", timeout=timeout)


def test_url_that_turbosock_refuses_is_an_invalid_url(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.InvalidURL):
        session.get("http://256.256.256.256.256:80000000/")


def test_url_of_another_kind_on_a_mounted_adapter_is_an_invalid_url(session: requests.Session) -> None:
    session.mount("mailto:", session.get_adapter("http://"))
    with pytest.raises(requests.exceptions.InvalidURL):
        session.get("mailto:ada@example.com")


def test_failure_says_neither_the_query_nor_the_fragment_of_the_way() -> None:
    way = TurbosockAdapter().get_connection("http://user:word@h.example/a#access_token=word")
    assert repr(way) == "<TurbosockPool http://h.example/a>"


@pytest.mark.parametrize("name", ["verify", "cert"])
def test_list_where_a_path_is_meant_is_refused_by_name(session: requests.Session, name: str) -> None:
    options: dict[str, Any] = {name: ["a.pem"]}
    with pytest.raises(InvalidOption, match=f"^{name}:"):
        session.get("http://127.0.0.1:1/", **options)


def test_value_that_cannot_be_sent_is_an_invalid_header(session: requests.Session) -> None:
    with pytest.raises(requests.exceptions.InvalidHeader):
        session.get("http://127.0.0.1:1/", headers={"X-Name": "Zoë\u2603"})


# Retries


def test_retry_of_urllib3_sends_again_on_its_statuses() -> None:
    busy = send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
    retry = urllib3.Retry(total=2, status_forcelist=[503], backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", TurbosockAdapter(max_retries=retry))
        with scripted([read_request, busy, read_request, busy, read_request, answer(b"now")]) as server:
            assert session.get(server.url()).content == b"now"

        with scripted([read_request, busy] * 3) as server, pytest.raises(requests.exceptions.RetryError):
            session.get(server.url())


def test_retry_of_urllib3_sends_again_after_an_error() -> None:
    with requests.Session() as session:
        session.mount("http://", TurbosockAdapter(max_retries=1))
        with scripted([read_request, reset], [read_request, answer(b"now")]) as server:
            assert session.put(server.url(), data=b"body").content == b"now"

        assert [request[-4:] for request in server.requests] == [b"body", b"body"]


@pytest.mark.parametrize("kind", [io.BytesIO, lambda body: io.StringIO(body.decode())])
def test_retry_of_urllib3_sends_a_file_again_from_where_it_was_given(kind: Any) -> None:
    file = kind(b"--body")
    file.seek(2)
    busy = send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
    retry = urllib3.Retry(total=1, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    with requests.Session() as session:
        session.mount("http://", TurbosockAdapter(max_retries=retry))
        with scripted([read_request, busy, read_request, answer(b"now")]) as server:
            assert session.post(server.url(), data=file).content == b"now"

    assert [request[-6:] for request in server.requests] == [b"\r\nbody", b"\r\nbody"]


# TLS and proxies


def test_verify_and_cert_are_taken_from_each_request(session: requests.Session, pki: Pki) -> None:
    context = pki.server()
    with scripted(*[[secure(context), read_request, answer()]] * 4) as server:
        url = f"https://localhost:{server.port}/"
        with pytest.warns(urllib3.exceptions.InsecureRequestWarning):
            assert session.get(url, verify=False).status_code == 200
        with pytest.raises(requests.exceptions.SSLError):
            session.get(url)
        assert session.get(url, verify=str(pki.trusting.ca_file)).status_code == 200
        # Not the connection that nobody verified.
        assert server.accepted == 3


def test_file_of_authorities_that_is_missing_is_an_os_error(session: requests.Session) -> None:
    with pytest.raises(OSError, match="Could not find a suitable TLS CA certificate bundle"):
        session.get("https://localhost:1/", verify="/nowhere.pem")


def test_configuration_says_what_verify_true_means(pki: Pki) -> None:
    config = Config(tls=pki.trusting)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", TurbosockAdapter(config=config))
        with scripted([secure(pki.server()), read_request, answer()]) as server:
            assert session.get(f"https://localhost:{server.port}/").status_code == 200


def test_proxies_are_taken_as_requests_gives_them(session: requests.Session) -> None:
    forwards = [read_request, answer(b"forwarded")]
    with scripted(forwards) as proxy:
        proxies = {"http": f"http://user:secret@{proxy.host}:{proxy.port}"}
        assert session.get("http://origin.example/path", proxies=proxies).content == b"forwarded"

    assert proxy.requests[0].startswith(b"GET http://origin.example/path HTTP/1.1\r\n")
    assert head_of(proxy.requests[0])["proxy-authorization"] == "Basic dXNlcjpzZWNyZXQ="


def test_socks_proxy_needs_no_other_package(session: requests.Session) -> None:
    with scripted([accept_socks5, read_request, answer(b"tunnelled")]) as proxy:
        proxies = {"http": f"socks5h://{proxy.host}:{proxy.port}"}
        response = session.get("http://origin.example/", proxies=proxies, headers={"Proxy-Authorization": "mine"})

    assert response.content == b"tunnelled"
    assert b"mine" not in proxy.requests[-1]


def test_failing_proxy_is_a_proxy_error(session: requests.Session) -> None:
    refuses = [read_request, send(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"), close]
    with scripted(refuses) as proxy, pytest.raises(requests.exceptions.ProxyError):
        session.get("https://origin.example/", proxies={"https": f"http://{proxy.host}:{proxy.port}"})


@pytest.mark.parametrize("proxy", ["http://", "ftp://host:21", "socks://host"])
def test_proxy_that_is_none_is_an_invalid_proxy_url(session: requests.Session, proxy: str) -> None:
    with pytest.raises(requests.exceptions.InvalidProxyURL):
        session.get("http://127.0.0.1:1/", proxies={"http": proxy})


# The adapter itself


def test_adapter_pickled_keeps_its_settings_and_no_connections(session: requests.Session) -> None:
    adapter = TurbosockAdapter(max_retries=3, config=Config(max_head_fields=7))
    session.mount("http://", adapter)
    copy = pickle.loads(pickle.dumps(session))

    with copy, scripted([read_request, answer()]) as server:
        assert copy.get(server.url()).status_code == 200
    copied = copy.adapters["http://"]
    assert copied.max_retries.total == 3
    assert copied.turbosock_config == adapter.turbosock_config


def test_response_pickled_keeps_its_content(session: requests.Session) -> None:
    with scripted([read_request, answer(b"kept")]) as server:
        response = session.get(server.url())

    assert pickle.loads(pickle.dumps(response)).content == b"kept"


def test_urllib3_setting_of_a_subclass_is_refused_by_name() -> None:
    class Own(TurbosockAdapter):
        def init_poolmanager(self, *args: object, **kwargs: object) -> None:
            super().init_poolmanager(*args, ssl_version="TLSv1", **kwargs)  # type: ignore[arg-type]  # as users do

    with pytest.raises(InvalidOption, match="ssl_version"):
        Own()


@pytest.mark.parametrize("name", ["pool_connections", "pool_maxsize"])
@pytest.mark.parametrize("bad", [-1, "10", 1.5, None, True])
def test_size_of_a_pool_that_is_none_is_refused_by_name(name: str, bad: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        TurbosockAdapter(**{name: bad})


def test_blocking_pool_has_no_more_connections_than_it_may() -> None:
    first, second = threading.Event(), threading.Event()
    script = [
        read_request,
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"),
        await_event(first),
        send(b"1"),
        read_request,
        answer(),
    ]
    with requests.Session() as session, scripted(script) as server:
        session.mount("http://", TurbosockAdapter(pool_maxsize=1, pool_block=True))
        held = session.get(server.url(), stream=True)

        def other() -> bytes:
            second.set()
            content: bytes = session.get(server.url()).content
            return content

        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(other)
            second.wait(10)
            first.set()
            assert held.content == b"1"
            assert waiting.result(10) == b"ok"
        assert server.accepted == 1


def test_response_dropped_unread_costs_its_connection_alone(session: requests.Session) -> None:
    unread = [read_request, send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), await_close]
    with scripted(unread, [read_request, answer()]) as server:
        session.get(server.url(), stream=True)
        gc.collect()
        assert session.get(server.url()).content == b"ok"
        server.await_ended()
        assert server.accepted == 2


def test_answer_over_http2_is_like_any_other() -> None:
    with (
        requests.Session() as session,
        RunningListener(lambda exchange: exchange.respond(200, content=b"two")) as server,
    ):
        session.trust_env = False
        session.mount("http://", TurbosockAdapter(config=Config(http_versions=("HTTP/2",))))
        response = session.get(server.url())

        assert (response.content, response.reason, response.raw.version) == (b"two", "", 20)


def test_jar_of_cookies_serves_requests_and_turbosock(session: requests.Session) -> None:
    sets = send(b"HTTP/1.1 200 OK\r\nSet-Cookie: one=1; Path=/\r\nContent-Length: 0\r\n\r\n")
    shows = [read_request, sets, read_request, sets]
    with Client(cookies=Cookies(session.cookies)) as client, scripted(shows, shows) as server:
        client.get(server.url())
        session.get(server.url())
        session.cookies.set("two", "2", domain="127.0.0.1", path="/")
        client.get(server.url())

    assert [head_of(request).get("cookie") for request in server.requests] == [None, "one=1", "one=1; two=2"]


def test_adapter_shared_by_threads_mixes_no_answers(session: requests.Session) -> None:
    def work(number: int) -> None:
        for i in range(20):
            path = f"/{number}/{i}"
            assert session.get(server.url(path)).text == path

    with scripted([echo_paths]) as server, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(8)]:
            done.result(30)
        session.close()
        assert server.accepted <= 8


def test_responses_answers_in_the_place_of_the_adapter(session: requests.Session) -> None:
    with responses.RequestsMock() as mock, scripted([read_request, answer(b"real")]) as server:
        mock.add("GET", "http://mocked.example/", body=b"mocked", headers={"Set-Cookie": "a=1"})
        mock.add_passthru(server.url())

        assert session.get("http://mocked.example/").content == b"mocked"
        response = session.get(server.url())

    assert response.content == b"real"
    assert "Turbosock" in repr(response.raw._pool)
