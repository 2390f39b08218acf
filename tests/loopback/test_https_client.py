"""https by the blocking Client, on both TLS engines and in both transport modes: every fault, and every good way."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from support.forks import NEEDS_FORK, in_child
from support.https import (
    FAULTS,
    HEAD,
    KeyUpdater,
    Pki,
    Seen,
    at_loopback,
    drip_records,
    keep_little_in_kernel,
    secure,
    send_part,
    serve,
    take_hello,
    vanish,
)
from support.peers import big_body
from support.scripted_server import (
    Peer,
    answer,
    await_close,
    close,
    drip,
    read_head,
    read_request,
    scripted,
    send,
    stall,
    take_body,
    take_slowly,
)
from support.scripted_server import (
    signal as tell,
)
from support.tls import HOST, Authority, dns
from turbosock import CancelToken, Client, Config, PoolConfig, Timeouts, TransportMode
from turbosock.config import TlsConfig, TlsProviderMode, TlsVersion
from turbosock.errors import (
    BodyTruncated,
    Cancelled,
    ConnectionClosed,
    ConnectTimeout,
    InvalidOption,
    InvalidUrl,
    Phase,
    ReadTimeout,
    TlsError,
    TlsHandshakeError,
    TlsTruncated,
    TlsVerificationError,
    TotalTimeout,
    TurbosockError,
    WriteError,
    WriteTimeout,
)
from turbosock.tls import pin_of, provider_for

TIMEOUTS = Timeouts(connect_s=5, handshake_s=5, read_s=5, write_s=5, pool_s=5, total_s=8)
Make = Callable[..., Client]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[TlsProviderMode.SYSTEM_ONLY, TlsProviderMode.PYOPENSSL_ONLY], ids=["ssl", "pyopenssl"])
def provider(request: pytest.FixtureRequest) -> TlsProviderMode:
    chosen: TlsProviderMode = request.param
    return chosen


@pytest.fixture(params=list(TransportMode), ids=lambda mode: mode.value)
def make(request: pytest.FixtureRequest, provider: TlsProviderMode) -> Iterator[Make]:
    """Makes clients of one engine and one transport mode, whose every name is 127.0.0.1; closed when the test ends."""
    made: list[Client] = []

    def make(tls: TlsConfig, timeouts: Timeouts = TIMEOUTS, pool: PoolConfig | None = None) -> Client:
        config = Config(
            transport=request.param,
            tls=replace(tls, provider=provider),
            timeouts=timeouts,
            pool=pool or PoolConfig(),
            http_versions=("HTTP/1.1",),
            diagnostics=True,
        )
        client = Client(config)
        at_loopback(client.connections.resolver)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()
        # Whatever a test did, no place of a pool is lost.
        assert client.stats()[:2] == (0, 0)


@pytest.fixture
def client(make: Make, pki: Pki) -> Client:
    return make(pki.trusting)


def url(port: int, path: str = "/", host: str = HOST) -> str:
    return f"https://{host}:{port}{path}"


# Faults


@pytest.mark.parametrize("name", FAULTS)
def test_https_fault_is_an_error_in_words_and_its_connection_is_closed(make: Make, pki: Pki, name: str) -> None:
    fault = FAULTS[name](pki)
    client = make(fault.tls)
    with scripted(fault.script) as server:
        with pytest.raises(TlsError) as caught:
            client.post(url(server.port, host=fault.host), content=b"a question")
        error = caught.value
        assert isinstance(error, fault.kind)
        assert error.reason in fault.reasons, str(error)
        assert fault.words in str(error)
        assert fault.host in str(error)
        assert (error.method, error.url) == ("POST", url(server.port, host=fault.host))
        assert error.phase is not Phase.NONE
        assert client.stats()[:3] == (0, 0, 0)
        server.await_ended()
        # A refused server has not heard what was asked.
        if isinstance(error, TlsVerificationError):
            assert server.requests == []


@pytest.mark.parametrize("host", ["0x7f.0.0.1", "0177.0.0.01", "2130706433", "127.1"])
def test_https_number_that_is_no_dotted_quad_is_refused_before_anything_is_sent(client: Client, host: str) -> None:
    with scripted((stall,)) as server:
        with pytest.raises(InvalidUrl, match="four decimal numbers"):
            client.get(url(server.port, host=host))
        assert server.accepted == 0
        assert client.stats()[:3] == (0, 0, 0)


def test_https_handshake_that_stalls_ends_with_its_deadline(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, replace(TIMEOUTS, handshake_s=0.1))
    with scripted((take_hello, stall)) as server:
        began = time.monotonic()
        with pytest.raises(ConnectTimeout, match="handshake_s") as caught:
            client.get(url(server.port))
        assert 0.1 <= time.monotonic() - began < 2
        assert caught.value.phase is Phase.TLS
        assert client.stats()[:3] == (0, 0, 0)


def test_https_handshake_that_stalls_ends_with_the_connects_deadline(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, replace(TIMEOUTS, connect_s=0.1))
    with scripted((take_hello, stall)) as server:
        with pytest.raises(ConnectTimeout, match="connect_s") as caught:
            client.get(url(server.port))
        assert caught.value.phase is Phase.TLS
        with pytest.raises(TotalTimeout) as total:
            client.get(url(server.port), timeout=0.05)
        assert total.value.phase is Phase.TLS
        assert client.stats()[:3] == (0, 0, 0)


def test_https_handshake_that_drips_ends_with_its_deadline(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, replace(TIMEOUTS, handshake_s=0.2))
    # A record that never ends.
    with scripted((take_hello, drip(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb" + bytes(1000), 0.01))) as server:
        with pytest.raises(ConnectTimeout, match="handshake_s") as caught:
            client.get(url(server.port))
        assert caught.value.phase is Phase.TLS


def test_https_body_that_drips_ends_with_the_total_deadline(client: Client, pki: Pki) -> None:
    # One byte of a record at a time is no byte of the body.
    script = (secure(pki.context), read_request, send(HEAD), drip_records(bytes(1000), 0.01))
    with scripted(script) as server:
        began = time.monotonic()
        with pytest.raises(TotalTimeout) as caught:
            client.get(url(server.port), timeout=0.3)
        assert 0.3 <= time.monotonic() - began < 2
        assert caught.value.phase is Phase.BODY
        assert client.stats()[:3] == (0, 0, 0)


def test_https_record_that_is_never_whole_ends_with_the_read_limit(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, replace(TIMEOUTS, read_s=0.1))
    with scripted((secure(pki.context), read_request, send(HEAD), send_part(bytes(1000), 500), stall)) as server:
        with pytest.raises(ReadTimeout) as caught:
            client.get(url(server.port))
        assert caught.value.phase is Phase.BODY


@pytest.mark.parametrize(
    "body", [b"Content-Length: 1000\r\n\r\nless", b"Transfer-Encoding: chunked\r\n\r\n4\r\nless\r\n"]
)
def test_https_body_with_an_announced_end_that_is_cut_is_truncated(client: Client, pki: Pki, body: bytes) -> None:
    for end in (close, vanish):
        with scripted((secure(pki.context), read_request, send(b"HTTP/1.1 200 OK\r\n" + body), end)) as server:
            with pytest.raises(BodyTruncated):
                client.get(url(server.port))
            assert client.stats()[:3] == (0, 0, 0)


def test_https_head_that_is_cut_is_a_closed_connection(client: Client, pki: Pki) -> None:
    with scripted((secure(pki.context), read_request, send(b"HTTP/1.1 200"), vanish)) as server:
        with pytest.raises(ConnectionClosed, match="inside the response head"):
            client.get(url(server.port))
        assert client.stats()[:3] == (0, 0, 0)


def test_https_close_without_close_notify_after_a_whole_body_is_fine(client: Client, pki: Pki) -> None:
    with scripted((secure(pki.context), read_request, answer(b"whole"), vanish)) as server:
        assert client.get(url(server.port)).content == b"whole"
        server.await_ended()
        assert client.get(url(server.port)).content == b"whole"


def test_https_body_that_ends_with_a_close_notify_is_whole(client: Client, pki: Pki) -> None:
    script = (secure(pki.context), read_request, send(b"HTTP/1.1 200 OK\r\n\r\n" + big_body(100_000)), close)
    with scripted(script) as server:
        assert client.get(url(server.port)).content == big_body(100_000)
        assert client.stats()[:3] == (0, 0, 0)


def test_https_stream_that_failed_never_ends_as_if_whole(client: Client, pki: Pki) -> None:
    script = (secure(pki.context), read_request, send(b"HTTP/1.1 200 OK\r\n\r\n"), vanish)
    with scripted(script) as server, client.stream("GET", url(server.port)) as response:
        for _ in range(2):
            with pytest.raises(TlsTruncated):
                response.readinto(bytearray(10))
        for _ in range(2):
            with pytest.raises(TlsTruncated):
                response.read()


# Whom to trust


def test_https_client_certificate_is_shown_to_who_asks(make: Make, pki: Pki) -> None:
    seen = Seen.nothing()
    context = pki.server(client_ca=pki.authority.pem)
    with scripted((secure(context, seen), *serve(b"known"))) as server:
        client = make(
            replace(pki.trusting, cert_file=pki.client_certificate(password=b"s3cret"), key_password="s3cret")
        )
        assert client.get(url(server.port)).content == b"known"
        assert seen.certificates[0] is not None


def test_https_secret_is_in_no_message(make: Make, pki: Pki) -> None:
    config = replace(pki.trusting, cert_file=pki.client_certificate(password=b"right"), key_password="s3cret")
    client = make(config)
    with pytest.raises(InvalidOption) as caught:
        client.get("https://user:hunter2@server.example.com:1/")
    with scripted((take_hello, send(b"garbage, no TLS"), await_close)) as server, pytest.raises(TlsError) as failed:
        make(pki.trusting).get(f"https://user:hunter2@{HOST}:{server.port}/?token=hunter2")
    for error in (caught.value, failed.value):
        shown = f"{error} {error!r} {error.__cause__!r} {vars(error)} {client.config!r}"
        assert "hunter2" not in shown
        assert "s3cret" not in shown
        assert "PRIVATE" not in shown


def test_https_pin_of_the_server_is_enough_without_verification(make: Make, pki: Pki) -> None:
    with scripted((secure(pki.context), *serve(b"pinned"))) as server:
        pins = (pin_of(pki.good.der),)
        assert make(replace(pki.trusting, pins=pins)).get(url(server.port)).content == b"pinned"
        assert make(TlsConfig(verify=False, pins=pins)).get(url(server.port)).content == b"pinned"


def test_https_pin_that_does_not_match_is_only_logged_in_report_mode(
    make: Make, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted((secure(pki.context), *serve(b"reported"))) as server:
        client = make(replace(pki.trusting, pins=("sha256/" + "A" * 43 + "=",), pins_report_only=True))
        assert client.get(url(server.port)).content == b"reported"
        assert "none of the pins" in caplog.text


def test_https_server_name_is_sent_and_verified_in_place_of_the_host(make: Make, pki: Pki) -> None:
    seen = Seen.nothing()
    context = pki.server(pki.authority.leaf([dns(b"inner.example.net")]), seen=seen)
    with scripted((secure(context), *serve(b"inside"))) as server:
        client = make(replace(pki.trusting, server_name="inner.example.net"))
        assert client.get(url(server.port)).content == b"inside"
        with pytest.raises(TlsVerificationError, match="for other names"):
            make(pki.trusting).get(url(server.port))
        assert seen.names == ["inner.example.net", HOST]
        # The request still names the host of the URL.
        assert f"Host: {HOST}:{server.port}\r\n".encode() in server.requests[0]


def test_https_offers_http_1_1_and_tells_what_was_agreed_on(make: Make, pki: Pki, provider: TlsProviderMode) -> None:
    for version in TlsVersion:
        client = make(replace(pki.trusting, maximum_version=version))
        with scripted((secure(pki.server(alpn=("h2", "http/1.1"))), *serve(b"agreed"))) as server:
            info = client.get(url(server.port)).tls
            assert info is not None
            assert (info.version, info.alpn, info.resumed) == (version.value, "http/1.1", False)
            assert info.provider == provider_for(TlsConfig(provider=provider)).name


def test_https_server_without_a_common_protocol_is_an_error(make: Make, pki: Pki) -> None:
    # What nothing here speaks may be offered; a server that takes it is not spoken to.
    with scripted((secure(pki.server(alpn=("h2",))), read_request)) as server:
        with pytest.raises(TlsHandshakeError, match="it chose h2") as caught:
            make(replace(pki.trusting, alpn=("h2", "http/1.1"))).get(url(server.port))
        assert caught.value.reason == "no_application_protocol"
        assert server.requests == []


def test_https_unverified_and_verified_clients_share_nothing(make: Make, pki: Pki) -> None:
    leaf = Authority("stranger").leaf()
    with scripted((secure(pki.server(leaf)), *serve(b"one", b"two"))) as server:
        careless = make(TlsConfig(verify=False))
        assert careless.get(url(server.port)).content == b"one"
        careful = make(pki.trusting)
        with pytest.raises(TlsVerificationError):
            careful.get(url(server.port))
        assert careless.get(url(server.port)).content == b"two"
        # A new connection of the careless one resumes its own session; the careful one still refuses.
        assert careless.stats().idle == 1
        with pytest.raises(TlsVerificationError):
            careful.get(url(server.port))


CHANGES: dict[str, Callable[[Pki], dict[str, object]]] = {
    "verify": lambda pki: {"verify": False},
    "check_hostname": lambda pki: {"check_hostname": False},
    "strict": lambda pki: {"strict": False},
    "minimum_version": lambda pki: {"minimum_version": TlsVersion.TLS_1_3},
    "maximum_version": lambda pki: {"maximum_version": TlsVersion.TLS_1_2},
    "ciphers": lambda pki: {"ciphers": "ECDHE+AESGCM"},
    "ca_data": lambda pki: {"ca_file": None, "ca_data": pki.authority.pem},
    "cert_file": lambda pki: {"cert_file": pki.client_certificate()},
    "server_name": lambda pki: {"server_name": "localhost"},
    "alpn": lambda pki: {"alpn": ("http/1.1", "http/1.0")},
    "verify_callback": lambda pki: {"verify_callback": lambda chain, verdict, host: True},
    "pins": lambda pki: {"pins": (pin_of(pki.good.der),)},
    "session_resumption": lambda pki: {"session_resumption": False},
}


def test_every_tls_setting_tells_configurations_apart() -> None:
    # A pool belongs to one Client or Loop, which has one Config: connections under different settings never meet. What
    # is shared in a process (contexts, and the sessions in them) is kept by configuration, with every field of it.
    for field in dataclasses.fields(TlsConfig):
        assert field.compare, field.name
        assert field.hash is None, field.name
    assert TlsConfig.__hash__ is not None


@pytest.mark.parametrize("field", CHANGES)
def test_https_session_is_not_resumed_under_other_settings(make: Make, pki: Pki, field: str) -> None:
    # A client has one configuration, and its own pool: what could be shared between clients are sessions.
    seen = Seen.nothing()
    # A context of its own: the port may have been another server's, whose sessions are remembered.
    script = (secure(pki.server(), seen), *serve(b"x"))
    with scripted(script) as server:
        make(pki.trusting).get(url(server.port))
        make(replace(pki.trusting, **CHANGES[field](pki))).get(url(server.port))  # type: ignore[arg-type]  # checked there
        assert seen.resumed == [False, False]
        assert server.accepted == 2


@pytest.mark.parametrize("version", list(TlsVersion))
def test_https_session_is_resumed_by_the_next_connection(make: Make, pki: Pki, version: TlsVersion) -> None:
    seen = Seen.nothing()
    context = pki.server()
    closing = answer(b"x", b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
    with scripted((secure(context, seen), read_request, closing, close)) as server:
        client = make(replace(pki.trusting, maximum_version=version))
        resumed = []
        for _ in range(3):
            info = client.get(url(server.port)).tls
            assert info is not None
            resumed.append(info.resumed)
        assert resumed == seen.resumed == [False, True, True]
        # Another name of the same server begins anew.
        assert not client.get(url(server.port, host="localhost")).tls.resumed  # type: ignore[union-attr]  # https


def test_https_session_with_a_client_certificate_is_resumed_only_if_asked(make: Make, pki: Pki) -> None:
    shown = replace(pki.trusting, cert_file=pki.client_certificate())
    for config, expected in ((shown, [False, False]), (replace(shown, session_with_client_cert=True), [False, True])):
        seen = Seen.nothing()
        context = pki.server(client_ca=pki.authority.pem)
        with scripted((secure(context, seen), read_request, answer(b"x"), close)) as server:
            for _ in range(2):
                make(config).get(url(server.port))
        assert seen.resumed == expected


def test_https_session_of_a_refused_server_is_not_resumed(make: Make, pki: Pki) -> None:
    # Each connection has its own: the server may be through with the refused one after the last.
    first, refused, last = (Seen.nothing() for _ in range(3))
    answers = [True, False, True]
    config = replace(pki.trusting, verify_callback=lambda chain, verdict, host: answers.pop(0))
    context = pki.server()
    rest = (read_request, answer(b"x"), close)
    with scripted(*((secure(context, seen), *rest) for seen in (first, refused, last))) as server:
        client = make(config)
        client.get(url(server.port))
        with pytest.raises(TlsVerificationError, match="refused"):
            client.get(url(server.port))
        client.get(url(server.port))
    assert (first.resumed, last.resumed) == ([False], [False])


@NEEDS_FORK
def test_https_sessions_do_not_survive_a_fork(make: Make, pki: Pki) -> None:
    seen = Seen.nothing()
    with scripted((secure(pki.server(), seen), *serve(b"x", b"y"))) as server:
        client = make(pki.trusting)
        client.get(url(server.port))

        def look() -> None:
            context = provider_for(client.config.tls).client_context(client.connections.secure._config)
            assert context.sessions is not None and len(context.sessions) == 0

        in_child(look)
        # The child let go of the connection without a word: the parent goes on with it.
        assert client.get(url(server.port)).content == b"y"
        assert server.accepted == 1


# Connections


def test_https_connection_is_kept_for_the_next_request(client: Client, pki: Pki) -> None:
    bodies = (b"one", big_body(300_000), b"", b"three")
    with scripted((secure(pki.context), *serve(*bodies))) as server:
        for body in bodies:
            assert client.get(url(server.port)).content == body
            assert client.stats()[:3] == (1, 1, 0)
        assert server.accepted == 1


def test_https_connection_closed_while_idle_is_replaced(client: Client, pki: Pki) -> None:
    with scripted((secure(pki.context), read_request, answer(b"x"), close)) as server:
        for _ in range(3):
            assert client.get(url(server.port)).content == b"x"
            server.await_ended()
        assert server.accepted == 3


def test_https_connection_that_speaks_while_idle_is_not_used_again(client: Client, pki: Pki) -> None:
    # An answer that nobody asked for must not become the next request's.
    script = (secure(pki.context), read_request, answer(b"first"), answer(b"smuggled"), await_close)
    with scripted(script) as server:
        for accepted in (1, 2):
            assert client.get(url(server.port)).content == b"first"
            assert server.accepted == accepted
            for connection in client.pool.connections:
                assert select.select([connection.transport.fd], [], [], 5)[0]
                # Long enough ago that the connection is looked at before it is used.
                connection.idle_since_ns -= 10_000_000


def test_https_and_http_to_the_same_port_share_no_connection(client: Client, pki: Pki) -> None:
    with scripted(
        (read_request, answer(b"plain"), await_close), (secure(pki.context), *serve(b"secret", b"secret"))
    ) as server:
        plain = f"http://{HOST}:{server.port}/"
        assert client.get(plain).content == b"plain"
        assert client.get(url(server.port)).content == b"secret"
        assert client.get(url(server.port)).content == b"secret"
        assert server.accepted == 2
        assert client.stats()[:3] == (2, 2, 0)


def test_https_request_on_a_stale_connection_is_sent_again(client: Client, pki: Pki) -> None:
    with scripted((secure(pki.context), read_request, answer(b"x"), vanish)) as server:
        client.get(url(server.port))
        server.await_ended()
        assert client.request("PUT", url(server.port), content=b"again").content == b"x"
        assert server.accepted == 2


def test_https_many_threads_share_one_client(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, pool=PoolConfig(max_connections_per_origin=3))
    failures: list[BaseException] = []

    def run(server_port: int, number: int) -> None:
        try:
            for index in range(10):
                body = b"%d-%d " % (number, index) * 500
                assert client.post(url(server_port), content=body).content == body
        except BaseException as error:
            failures.append(error)

    def echo(peer: Peer) -> None:
        while True:
            head = peer.take_until(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            answer(peer.take(int(fields[b"content-length"])))(peer)

    with scripted((secure(pki.context), echo)) as server:
        threads = [threading.Thread(target=run, args=(server.port, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert failures == []
        assert client.stats().open <= 3
        client.close()


# Bodies

SIZE = 3_000_000


def chunks_of(body: bytes, size: int) -> bytes:
    framed = b"".join(
        b"%x\r\n%s\r\n" % (len(body[start : start + size]), body[start : start + size])
        for start in range(0, len(body), size)
    )
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


@pytest.mark.parametrize("chunk", [0, 100_000, 16_384, 1000], ids=["length", "100k", "16k", "1k"])
def test_https_large_download_is_whole(client: Client, pki: Pki, chunk: int) -> None:
    body = big_body(SIZE)
    reply = answer(body) if not chunk else send(chunks_of(body, chunk))
    with scripted((secure(pki.context), read_request, reply, read_request, reply, await_close)) as server:
        assert client.get(url(server.port)).content == body
        with client.stream("GET", url(server.port)) as response:
            into = bytearray(SIZE)
            view = memoryview(into)
            filled = 0
            # Reads of every size, so that records are left half read.
            step = 1
            while count := response.readinto(view[filled : filled + step] if filled < SIZE else bytearray(1)):
                filled += count
                step = step * 3 % 200_003
            assert filled == SIZE
            assert into == body
        assert client.stats()[:3] == (1, 1, 0)
        assert server.accepted == 1


@pytest.mark.parametrize("kind", ["bytes", "memoryview", "iterable"])
def test_https_large_upload_is_whole(client: Client, pki: Pki, kind: str) -> None:
    body = big_body(SIZE)
    contents: dict[str, Callable[[], object]] = {
        "bytes": lambda: body,
        "memoryview": lambda: memoryview(bytearray(body)),
        "iterable": lambda: iter([body[:100], body[100:1_000_000], body[1_000_000:]]),
    }
    found: list[bytes] = []

    def take(peer: Peer) -> None:
        found.append(take_body(peer))

    with scripted((secure(pki.context), take, answer(b"1"), take, answer(b"2"), await_close)) as server:
        assert client.post(url(server.port), content=contents[kind]()).content == b"1"
        assert client.post(url(server.port), content=contents[kind]()).content == b"2"
        assert found == [body, body]
        assert server.accepted == 1


def test_https_upload_to_a_slow_reader_outlives_the_write_limit(
    make: Make, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The peer takes bytes all the time, but less than one of the engine's blocks within write_s.
    client = make(pki.trusting, replace(TIMEOUTS, write_s=0.4))
    body = big_body(200_000)
    taken = bytearray()
    keep_little_in_kernel(monkeypatch)
    script = (secure(pki.context), take_slowly(taken, len(body), 0.08), answer(b"at last"), await_close)
    with scripted(script, receive_buffer=4096) as server:
        assert client.post(url(server.port), content=body).content == b"at last"
        assert taken == body


def test_https_upload_that_nobody_takes_ends_with_the_write_limit(make: Make, pki: Pki) -> None:
    client = make(pki.trusting, replace(TIMEOUTS, write_s=0.2))
    with scripted((secure(pki.context), read_head, stall), receive_buffer=4096) as server:
        with pytest.raises(WriteTimeout) as caught:
            client.post(url(server.port), content=big_body(20_000_000))
        assert caught.value.phase is Phase.SEND
        assert client.stats()[:3] == (0, 0, 0)


def test_https_refusal_of_an_upload_is_its_answer(client: Client, pki: Pki) -> None:
    refusal = answer(b"too much", b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n")
    with scripted((secure(pki.context), read_head, refusal, await_close)) as server:
        response = client.post(url(server.port), content=big_body(20_000_000))
        assert (response.status_code, response.content) == (413, b"too much")
        assert client.stats()[:3] == (0, 0, 0)


def test_https_refusal_that_closes_at_once_is_its_answer_or_a_failed_write(client: Client, pki: Pki) -> None:
    # Some releases of OpenSSL read nothing more once a write has failed.
    refusal = answer(b"too much", b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n")
    with scripted((secure(pki.context), read_head, refusal, close)) as server:
        with contextlib.suppress(WriteError):
            response = client.post(url(server.port), content=big_body(20_000_000))
            assert (response.status_code, response.content) == (413, b"too much")
        assert client.stats()[:3] == (0, 0, 0)


def test_https_expect_100_continue_holds_the_body_back(client: Client, pki: Pki) -> None:
    found: list[bytes] = []

    def take(peer: Peer) -> None:
        found.append(peer.take(11))

    script = (secure(pki.context), read_head, send(b"HTTP/1.1 100 Continue\r\n\r\n"), take, answer(b"ok"), await_close)
    with scripted(script) as server:
        headers = {"Expect": "100-continue"}
        assert client.post(url(server.port), content=b"hello world", headers=headers).content == b"ok"
        assert found == [b"hello world"]


def test_https_key_update_mid_stream_goes_unnoticed(client: Client, pki: Pki) -> None:
    server = KeyUpdater(pki)
    into = bytearray(100)
    try:
        server.type(b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n")
        with client.stream("GET", url(server.port)) as response:
            # "k" updates the server's key, "K" asks for the client's, too.
            for part, command in ((b"before\n", b"k\n"), (b"after.\n", b"K\n"), (b"again.\n", b"")):
                server.type(part)
                assert response.readinto(into) == len(part)
                assert into.startswith(part)
                if command:
                    server.type(command)
                    # What stands in its pipe is one line to the server: the command is taken once it shows here.
                    assert response.connection is not None
                    assert select.select([response.connection.transport.fd], [], [], 5)[0]
            assert response.readinto(into) == 0
        assert client.stats()[:3] == (1, 1, 0)
    finally:
        server.close()


# Interruptions


def test_https_cancel_during_the_handshake_ends_it(client: Client, pki: Pki) -> None:
    begun = threading.Event()
    token = CancelToken()
    with scripted((take_hello, tell(begun), stall)) as server:

        def cancel() -> None:
            begun.wait(5)
            token.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with pytest.raises(Cancelled) as caught:
            client.get(url(server.port), cancel=token)
        canceller.join(5)
        assert caught.value.phase is Phase.TLS
        assert client.stats()[:3] == (0, 0, 0)


@pytest.mark.parametrize("version", list(TlsVersion))
def test_https_cancel_during_the_body_ends_it(make: Make, pki: Pki, version: TlsVersion) -> None:
    client = make(replace(pki.trusting, maximum_version=version))
    script = (secure(pki.context), read_request, send(HEAD), send_part(bytes(900), 400), stall)
    with scripted(script) as server, client.stream("GET", url(server.port)) as response:
        canceller = threading.Thread(target=response.cancel)
        canceller.start()
        with pytest.raises(Cancelled):
            response.read()
        canceller.join(5)
        assert client.stats()[:3] == (0, 0, 0)


def test_https_close_of_the_client_ends_calls_of_other_threads(client: Client, pki: Pki) -> None:
    waiting = threading.Event()
    failures: list[TurbosockError] = []
    with scripted((secure(pki.context), read_request, tell(waiting), stall)) as server:

        def run() -> None:
            try:
                client.get(url(server.port))
            except TurbosockError as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        assert waiting.wait(5)
        client.close()
        thread.join(5)
        assert [error.code for error in failures] == ["closed"]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there is no pthread_kill here")
def test_https_keyboard_interrupt_in_the_handshake_leaves_nothing(client: Client, pki: Pki) -> None:
    begun = threading.Event()
    main = threading.main_thread().ident
    assert main is not None
    with scripted((take_hello, tell(begun), await_close), (secure(pki.context), *serve(b"after"))) as server:

        def interrupt() -> None:
            begun.wait(5)
            signal.pthread_kill(main, signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            client.get(url(server.port))
        interrupter.join(5)
        # The socket is closed: the server saw it.
        server.await_ended()
        assert client.stats()[:3] == (0, 0, 0)
        assert client.get(url(server.port)).content == b"after"
