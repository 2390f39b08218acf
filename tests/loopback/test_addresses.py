"""The way of a connection in blocking and ticking use: racing, resolvers, local addresses, host maps, zones, IDNA."""

from __future__ import annotations

import contextlib
import errno
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from support.peers import unused_port
from turbosock import Client, Config, ConnectError, ConnectTimeout, Loop, NetworkError, Timeouts, TlsConfig
from turbosock.errors import Origin, Phase, ResolveError, TurbosockError

TIMEOUTS = Timeouts.of(20.0)


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers with the peer's address and port, its own address, and the Host field."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        peer = self.client_address[:2] if self.client_address else ("unix", 0)
        own = self.connection.getsockname()
        body = f"{peer[0]} {peer[1]} {own if isinstance(own, str) else own[0]} {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    # Connections that were kept would keep their threads.
    block_on_close = False
    daemon_threads = True

    def __init__(self, address: Any, family: int, context: ssl.SSLContext | None = None) -> None:
        self.address_family = family
        super().__init__(address, Answering, bind_and_activate=False)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.allow_reuse_address = True
        # The base class looks names up.
        self.socket.bind(address)
        self.server_activate()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none."""


@contextlib.contextmanager
def served(address: Any = ("127.0.0.1", 0), family: int = socket.AF_INET, context: Any = None) -> Iterator[int]:
    """A running server; its port."""
    with Server(address, family, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        bound = server.socket.getsockname()
        yield 0 if isinstance(bound, str) else bound[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server on 127.0.0.1."""
    with served() as port:
        yield port


@contextlib.contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """An address whose queue is full: the kernel drops what comes, and a connect stays under way."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = opened.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield


Fetch = Callable[..., list[str]]


def by_client(config: Config, *urls: str) -> list[str]:
    with Client(config) as client:
        return [client.get(url).text for url in urls]


def by_loop(config: Config, *urls: str) -> list[str]:
    texts = []
    with Loop(config) as loop:
        for url in urls:
            exchange = loop.request("GET", url)
            while not exchange.done:
                loop.poll(0.5)
            if exchange.error is not None:
                raise exchange.error
            assert exchange.content is not None
            texts.append(exchange.content.decode())
    return texts


@pytest.fixture(params=[by_client, by_loop])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Gets URLs one after the other with one configuration: what the server said of each connection, split."""

    def fetch(*urls: str, **options: Any) -> list[str]:
        texts: list[str] = request.param(Config(**{"timeouts": TIMEOUTS, **options}), *urls)
        return [part for text in texts for part in text.split()]

    return fetch


# Racing


def test_address_that_does_not_answer_gives_way_to_one_that_does(fetch: Fetch, port: int) -> None:
    with deaf("127.0.0.2", port):
        said = fetch(f"http://many.example:{port}/", resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert said[2:] == ["127.0.0.1", f"many.example:{port}"]


def test_address_that_refuses_gives_way_at_once(fetch: Fetch, port: int) -> None:
    refused = ("127.0.0.1", unused_port())
    said = fetch(f"http://many.example:{port}/", resolver=lambda host, port: [refused, refused, "127.0.0.1"])
    assert said[2] == "127.0.0.1"


def test_addresses_that_all_fail_are_named_in_time(fetch: Fetch, port: int) -> None:
    refused = unused_port()
    with deaf("127.0.0.2", port), pytest.raises(ConnectTimeout) as caught:
        fetch(
            f"http://many.example:{port}/",
            resolver=lambda host, port: [("127.0.0.1", refused), "127.0.0.2"],
            timeouts=Timeouts(connect_s=0.3),
        )
    assert f"127.0.0.1 port {refused}: nothing listens there" in str(caught.value)
    assert f"127.0.0.2 port {port}: no answer" in str(caught.value)


def test_prewarming_races_as_requests_do(port: int) -> None:
    config = Config(timeouts=TIMEOUTS, resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    url = f"http://many.example:{port}/"
    with deaf("127.0.0.2", port):
        with Client(config) as client, client.prewarm(url) as warm:
            assert warm.wait(20.0)
            assert client.get(url).text.split()[2] == "127.0.0.1"
        with Loop(config) as loop, loop.prewarm(url) as ticking:
            while not ticking.ready:
                loop.poll(0.5)


# Resolvers


def test_resolver_is_asked_for_what_the_url_names(fetch: Fetch, port: int) -> None:
    asked = []

    def resolve(host: str, port: int) -> str:
        asked.append((host, port, threading.current_thread() is threading.main_thread()))
        return "127.0.0.1"

    fetch(f"http://one.example:{port}/", f"http://One.example:{port}/again", resolver=resolve)
    # One connection, and one look-up, on a thread where it may take its time.
    assert asked == [("one.example", port, False)]


def test_resolver_that_hangs_ends_with_the_deadline(fetch: Fetch) -> None:
    held = threading.Event()
    with pytest.raises(ConnectTimeout):
        fetch("http://one.example/", resolver=lambda host, port: held.wait(30), timeouts=Timeouts(connect_s=0.1))
    held.set()


def test_resolver_that_raises_or_answers_nonsense_is_a_resolve_error(fetch: Fetch) -> None:
    for resolver in (lambda host, port: 1 // 0, lambda host, port: ["host.example"], lambda host, port: []):
        with pytest.raises(ResolveError, match=r"cannot resolve one\.example: ") as caught:
            fetch("http://one.example/", resolver=resolver)
        assert caught.value.phase is Phase.RESOLVE


# Local addresses


def test_connections_leave_from_the_local_address(fetch: Fetch, port: int) -> None:
    assert fetch(f"http://127.0.0.1:{port}/", local_address="127.0.0.5")[0] == "127.0.0.5"


def test_connections_leave_from_the_local_port(fetch: Fetch) -> None:
    local = unused_port()
    for _ in range(2):
        # The second time although the first connection lingers in TIME_WAIT: its server was another one.
        with served() as port:
            said = fetch(f"http://127.0.0.1:{port}/", local_address=("127.0.0.6", local))
        assert said[:2] == ["127.0.0.6", str(local)]


def test_address_that_this_machine_does_not_have_is_its_own_error(fetch: Fetch, port: int) -> None:
    # 198.51.100.0/24 is for documentation (RFC 5737).
    with pytest.raises(NetworkError, match=r"local_address 198\.51\.100\.1 .*does not have that address") as caught:
        fetch(f"http://127.0.0.1:{port}/", local_address="198.51.100.1")
    assert (caught.value.errno, caught.value.origin) == (errno.EADDRNOTAVAIL, Origin.LOCAL)


def test_local_address_keeps_to_its_family(fetch: Fetch, port: int) -> None:
    url = f"http://many.example:{port}/"
    said = fetch(url, local_address="127.0.0.7", resolver=lambda host, port: ["::1", "127.0.0.1"])
    assert said[0] == "127.0.0.7"
    with pytest.raises(ConnectError, match="of the family of local_address"):
        fetch(url, local_address="127.0.0.7", resolver=lambda host, port: ["::1"])


# Host maps


def test_host_map_leads_elsewhere_and_host_stays(fetch: Fetch, port: int, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    host_map = {"one.example": f"127.0.0.1:{port}", "*.dev": f"two.example:{port}", "unix.example:81": path}
    with served(path, socket.AF_UNIX):
        said = fetch(
            "http://one.example/",
            "http://a.b.dev:8080/",
            "http://unix.example:81/",
            host_map=host_map,
            resolver=lambda host, port: {"two.example": ["127.0.0.1"]}[host],
        )
    assert said[2:4] == ["127.0.0.1", "one.example"]
    assert said[6:8] == ["127.0.0.1", "a.b.dev:8080"]
    assert said[-2:] == [path, "unix.example:81"]


def test_host_map_leaves_tls_to_the_host_of_the_url(fetch: Fetch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = TlsConfig(ca_file=str(tmp_path / "ca.pem"))
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("secure.example").configure_cert(context)
    context.set_servername_callback(lambda sock, name, _: names.append(name))
    path = str(tmp_path / "s")
    with served(context=context) as port, served(path, socket.AF_UNIX, context):
        for target in (f"127.0.0.1:{port}", path):
            said = fetch("https://secure.example/", host_map={"secure.example": target}, tls=tls)
            assert said[-1] == "secure.example"
        # Leading elsewhere is no way around the certificate.
        with pytest.raises(TurbosockError) as caught:
            fetch("https://other.example/", host_map={"*": f"127.0.0.1:{port}"}, tls=tls)
    assert type(caught.value).__name__ == "TlsVerificationError"
    assert names == ["secure.example", "secure.example", "other.example"]


# Zones and international names


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def link_local() -> tuple[str, str] | None:
    """An address of this machine that needs its zone, and the zone."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        digits, _, _, scope, flags, zone = line.split()
        # Of a link, and neither tentative nor failed.
        if scope == "20" and not int(flags, 16) & 0x48:
            return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), zone
    return None


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("mark", ["%25", "%"])
def test_zone_by_name_or_number_is_where_the_connection_goes(fetch: Fetch, mark: str) -> None:
    found = link_local()
    address, zone = found or ("::1", socket.if_nameindex()[0][1])
    bound = (address, 0, 0, socket.if_nametoindex(zone) if found else 0)
    with served(bound, socket.AF_INET6) as port:
        for written in (zone, str(socket.if_nametoindex(zone))):
            said = fetch(f"http://[{address}{mark}{written}]:{port}/")
            # The zone means nothing to the server.
            assert said[-1] == f"[{address}]:{port}"


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_zone_of_no_interface_is_an_error_in_words(fetch: Fetch) -> None:
    with pytest.raises(ResolveError, match="no network interface 'nosuch0'"):
        fetch("http://[fe80::1%25nosuch0]/")


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_families_are_raced_and_each_has_its_local_address(fetch: Fetch) -> None:
    with served(("::1", 0), socket.AF_INET6) as port:
        # Nothing listens on IPv4, which comes first.
        url = f"http://many.example:{port}/"
        answers = ["127.0.0.1", "::1"]
        said = fetch(url, resolver=lambda host, port: answers, local_address=["127.0.0.8", "::1"])
        assert said[0] == "::1" and said[2] == "::1"


def test_international_name_is_asked_for_and_sent_in_ascii(fetch: Fetch, port: int) -> None:
    pytest.importorskip("idna")
    asked = []

    def resolve(host: str, port: int) -> str:
        asked.append(host)
        return "127.0.0.1"

    said = fetch(f"http://bücher.example:{port}/", resolver=resolve)
    assert asked == ["xn--bcher-kva.example"] and said[-1] == f"xn--bcher-kva.example:{port}"
