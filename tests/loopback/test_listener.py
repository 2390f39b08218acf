"""The listener with clients that others wrote: curl and CPython's http.client, over real sockets."""

from __future__ import annotations

import http.client
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.peers import require
from turbosock.connection.receive_ring import RingPool
from turbosock.reactor.reactor import Reactor
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener

CURL_INSTALL = "apt-get install -y curl"
WAIT_S = 20.0
BIG = bytes(i * 7 % 256 for i in range(65_536)) * 64


class Running:
    """A listener whose reactor turns in a thread of its own for the length of a with block."""

    def __init__(
        self, handler: Callable[[HttpExchange], object], address: tuple[str, int] | str, *, stream_body: bool = False
    ) -> None:
        self.reactor = Reactor()
        rings = RingPool(diagnostics=True)
        self.listener = HttpListener(self.reactor, rings, address, handler, stream_body=stream_body)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        reactor = self.reactor
        while not self._stop.is_set():
            reactor.collect(WAIT_S)
            for _ in range(len(reactor.line)):
                reactor.step()
            reactor.expire_timers()
        self.listener.close()
        reactor.close(lambda handler: None)

    @property
    def port(self) -> int:
        assert isinstance(self.listener.address, tuple)
        return self.listener.address[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self.reactor.waker.wake()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


def answer(exchange: HttpExchange) -> None:
    """A handler with a path for each way of answering."""
    path = exchange.request.path
    if path == "/echo":
        exchange.respond(200, {"X-Method": exchange.request.method}, exchange.request.content)
    elif path == "/big":
        exchange.respond(200, None, BIG)
    elif path == "/chunks":
        exchange.start(200)
        for i in range(100):
            exchange.send(b"%d\n" % i)
        exchange.end()
    elif path == "/fail":
        raise RuntimeError("as asked")
    else:
        exchange.respond(404, {"Content-Type": "text/plain"}, "nothing here: " + path)


@pytest.fixture
def server() -> Iterator[Running]:
    with Running(answer, ("127.0.0.1", 0)) as running:
        yield running


def curl(*arguments: str, data: bytes | None = None) -> bytes:
    """What curl writes; AssertionError with its own words when it fails."""
    done = subprocess.run(
        [require("curl", CURL_INSTALL), "-sS", "--max-time", str(WAIT_S), *arguments],
        input=data,
        capture_output=True,
        timeout=2 * WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_curl_gets_posts_and_reuses_one_connection(server: Running) -> None:
    status = "%{http_code} %{num_connects}\n"
    out = curl("-w", status, "-o", "/dev/null", server.url("/chunks"), "-o", "/dev/null", server.url("/big"))
    assert out == b"200 1\n200 0\n"
    assert curl(server.url("/big")) == BIG
    assert curl(server.url("/chunks")) == b"".join(b"%d\n" % i for i in range(100))
    assert curl("--data-binary", "@-", server.url("/echo"), data=BIG) == BIG
    assert curl("-H", "Transfer-Encoding: chunked", "--data-binary", "@-", server.url("/echo"), data=BIG) == BIG
    assert curl("-w", "%{http_code}", server.url("/x")) == b"nothing here: /x404"
    assert curl("-0", "-w", "%{http_version}", server.url("/echo")) == b"1.1"


def test_curl_waits_for_a_100_and_reads_an_early_refusal(server: Running) -> None:
    heads = curl(
        "-v", "-H", "Expect: 100-continue", "--data-binary", "@-", "-D", "-", server.url("/echo"), data=b"z" * 9
    )
    assert heads.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    out = curl("-w", "%{http_code}", "-o", "/dev/null", "-T", "-", server.url("/echo"), data=b"x" * 20_000_000)
    assert out == b"413"


def test_curl_asks_for_the_head_alone(server: Running) -> None:
    out = curl("-I", server.url("/big"))
    assert out.startswith(b"HTTP/1.1 200 OK\r\n") and f"Content-Length: {len(BIG)}\r\n".encode() in out


def test_curl_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with Running(answer, path):
        assert curl("--unix-socket", path, "http://localhost/echo", "-d", "abc") == b"abc"
    assert not Path(path).exists()


def test_http_client_keeps_its_connection_through_every_kind_of_answer(server: Running) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        for _ in range(3):
            for method, path, body, status, expected in (
                ("GET", "/chunks", None, 200, b"".join(b"%d\n" % i for i in range(100))),
                ("POST", "/echo", BIG, 200, BIG),
                ("HEAD", "/big", None, 200, b""),
                ("GET", "/fail", None, 500, b"500 Internal Server Error\n"),
                ("GET", "/none", None, 404, b"nothing here: /none"),
            ):
                client.request(method, path, body)
                response = client.getresponse()
                assert (response.status, response.read()) == (status, expected)
        assert server.listener.stats().accepted == 1
    finally:
        client.close()


def test_http_client_streams_a_body_to_a_handler_that_reads_it_as_it_comes() -> None:
    received = bytearray()

    def on_data(exchange: HttpExchange) -> None:
        view = memoryview(bytearray(10_000))
        while (count := exchange.readinto(view)) > 0:
            received.extend(view[:count])
        if count == 0:
            exchange.respond(200, None, str(len(received)))

    def read(exchange: HttpExchange) -> None:
        exchange.on_data = on_data

    with Running(read, ("127.0.0.1", 0), stream_body=True) as running:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=WAIT_S)
        try:
            pieces = [BIG[i : i + 9_999] for i in range(0, len(BIG), 9_999)]
            client.request("POST", "/", iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
            response = client.getresponse()
            assert response.read() == str(len(BIG)).encode()
            assert received == BIG
        finally:
            client.close()


def test_hostile_clients_disturb_nobody(server: Running) -> None:
    chosen = random.Random(20)
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
    try:
        for i in range(50):
            with socket.create_connection(("127.0.0.1", server.port), WAIT_S) as hostile:
                hostile.sendall(
                    (b"", b"GET", chosen.randbytes(1000), b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 50)[i % 4]
                )
                if i % 3 == 0:
                    # A reset instead of an end.
                    hostile.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.request("GET", "/echo")
            assert client.getresponse().read() == b""
        assert server.listener.stats().open <= 51
    finally:
        client.close()
