"""What the integrations share: clients by way of TLS, bodies, and that nothing is imported before it is asked for."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock import Client, Config, InvalidOption, PoolConfig, TlsConfig, limits
from turbosock.integrations.clients import ClientSet, tls_of
from turbosock.integrations.uploads import upload
from turbosock.testing import MockTransport


@pytest.fixture
def clients() -> Iterator[ClientSet]:
    made = ClientSet(Config(pool=PoolConfig(max_idle=3)))
    yield made
    made.clear()


def test_turbosock_imports_no_neighbour() -> None:
    names = ("certifi", "httpx", "httpx2", "requests", "urllib3")
    program = f"import sys, turbosock; print([name for name in {names} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_clients_of_one_way_of_tls_are_one(clients: ClientSet) -> None:
    one = clients.client()

    assert clients.client(True) is one
    assert one.config == clients.config
    assert clients.client(False) is clients.client(False)
    assert clients.client(False) is not one
    assert clients.client(server_name="other.example") is not one


def test_clients_cleared_are_closed_and_made_anew(clients: ClientSet) -> None:
    one = clients.client()

    clients.clear()

    assert one.closed
    assert clients.client() is not one


def test_client_cleared_while_it_is_used_is_closed_at_the_end_of_that() -> None:
    with MockTransport() as mock:
        mock.add(content=bytes(300_000))
        clients = ClientSet(Config(), mock)
        one = clients.client()
        response = one.stream("GET", "http://host/")
        clients.clear()
        clients.leave()
        assert not one.closed
        assert response.read(300_000) == bytes(300_000)
        response.close()
        clients.leave()
        assert one.closed


def test_clients_for_ever_new_files_stay_within_their_bound(clients: ClientSet) -> None:
    made = [clients.client(f"/authorities/{number}.pem") for number in range(limits.MAX_INTEGRATION_CLIENTS + 2)]

    assert [client.closed for client in made[:3]] == [True, True, False]


def test_client_that_is_asked_for_again_and_again_stays(clients: ClientSet) -> None:
    usual = clients.client()

    for number in range(2 * limits.MAX_INTEGRATION_CLIENTS):
        clients.client(f"/authorities/{number}.pem")
        assert clients.client() is usual

    assert not usual.closed


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((True, None, None), TlsConfig(ca_file="own.pem")),
        ((False, None, None), TlsConfig(ca_file="own.pem", verify=False)),
        (("given.pem", None, None), TlsConfig(ca_file="given.pem")),
        (("/", None, None), TlsConfig(ca_dir="/")),
        ((True, "both.pem", None), TlsConfig(ca_file="own.pem", cert_file="both.pem")),
        ((True, ("c.pem", "k.pem"), None), TlsConfig(ca_file="own.pem", cert_file="c.pem", key_file="k.pem")),
        ((True, None, "name"), TlsConfig(ca_file="own.pem", server_name="name")),
    ],
)
def test_tls_of_says_what_was_asked_for_and_no_more(arguments: Any, expected: TlsConfig) -> None:
    assert tls_of(TlsConfig(ca_file="own.pem"), *arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"verify": 5}, "verify"), ({"cert": ("a",)}, "cert"), ({"cert": ["a", "b"]}, "cert"), ({"cert": 5}, "cert")],
)
def test_way_of_tls_that_is_none_is_refused_by_name(clients: ClientSet, arguments: Any, named: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{named}:"):
        clients.client(**arguments)


@pytest.mark.parametrize("body", [None, b"bytes", "text", bytearray(b"more"), memoryview(b"view"), io.BytesIO(b"file")])
def test_upload_of_what_turbosock_takes_is_itself(body: object) -> None:
    assert upload(body) is body


def test_upload_of_text_is_in_utf8() -> None:
    blocks = ["ä", b"b"]

    assert list(upload(io.StringIO("zwölf"))) == ["zwölf".encode()]  # type: ignore[call-overload]  # an iterator
    assert list(upload(iter(blocks))) == ["ä".encode(), b"b"]  # type: ignore[call-overload]  # as above
    again: Any = upload(blocks)
    assert list(again) == list(again) == ["ä".encode(), b"b"]


def test_client_retired_without_exchanges_is_closed() -> None:
    client = Client()

    assert client.retire()
    assert client.closed
    assert client.retire()
