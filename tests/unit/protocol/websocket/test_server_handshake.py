from __future__ import annotations

import pytest

from turbosock.errors import InvalidOption
from turbosock.limits import MAX_SUBPROTOCOLS
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.websocket.client_handshake import ClientHandshake
from turbosock.protocol.websocket.deflate import DeflateOptions
from turbosock.protocol.websocket.handshake import Agreement
from turbosock.protocol.websocket.server_handshake import HandshakeAnswer, Origins, ServerHandshake

# RFC 6455 §1.2.
REQUEST = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
HOST = "server.example.com"


def answer(
    changed: dict[str, str | None] | None = None,
    server: ServerHandshake | None = None,
    method: str = "GET",
    version: int = 11,
    host: str = HOST,
    extended: bool = False,
) -> HandshakeAnswer:
    """The answer to the RFC's request with some fields changed, or removed by None."""
    fields = {**REQUEST, **(changed or {})}
    headers = HeaderList([(name, value) for name, value in fields.items() if value is not None])
    return (server or ServerHandshake()).answer(method, version, headers, host, extended)


def test_request_of_the_rfc_is_answered_with_101() -> None:
    found = answer()
    assert found.status_code == 101
    assert found.fields == (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    )
    assert found.agreement == Agreement(None, None)
    assert found.refusal == ""
    assert repr(found) == "<HandshakeAnswer 101>"


@pytest.mark.parametrize("connection", ["upgrade", "keep-alive, Upgrade", "Upgrade,close"])
@pytest.mark.parametrize("upgrade", ["WebSocket", "h2c, websocket"])
def test_request_in_other_spellings_is_answered_with_101(connection: str, upgrade: str) -> None:
    assert answer({"Connection": connection, "Upgrade": upgrade}).status_code == 101


def test_extended_request_is_answered_with_200_and_without_key() -> None:
    found = answer(
        {"Upgrade": None, "Connection": None, "Sec-WebSocket-Key": None, "Sec-WebSocket-Protocol": "chat"},
        ServerHandshake(subprotocols=["chat"]),
        method="CONNECT",
        extended=True,
    )
    assert found.status_code == 200
    assert found.fields == ((b"Sec-WebSocket-Protocol", b"chat"),)


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "CONNECT"])
def test_other_method_is_answered_with_405(method: str) -> None:
    found = answer(method=method)
    assert (found.status_code, found.fields) == (405, ((b"Allow", b"GET"),))
    assert found.agreement is None


@pytest.mark.parametrize("upgrade", [None, "h2c", "websockets", ""])
def test_request_for_no_websocket_is_answered_with_426(upgrade: str | None) -> None:
    found = answer({"Upgrade": upgrade})
    assert found.status_code == 426
    assert (b"Upgrade", b"websocket") in found.fields
    assert (b"Connection", b"Upgrade") in found.fields


@pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 13", "13.0"])
def test_other_version_is_answered_with_426_and_the_one_that_is_spoken(version: str | None) -> None:
    found = answer({"Sec-WebSocket-Version": version})
    assert found.status_code == 426
    assert (b"Sec-WebSocket-Version", b"13") in found.fields
    extended = answer({"Sec-WebSocket-Version": version}, extended=True)
    assert (extended.status_code, extended.fields) == (400, ((b"Sec-WebSocket-Version", b"13"),))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Connection", None),
        ("Connection", "keep-alive"),
        ("Sec-WebSocket-Key", None),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQAA"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ*=="),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Key", "dGhlIHNhb\xe4BsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "a b"),
        ("Sec-WebSocket-Protocol", "a,,b"),
        ("Sec-WebSocket-Protocol", ",".join(map(str, range(MAX_SUBPROTOCOLS + 1)))),
        ("Sec-WebSocket-Extensions", "a;"),
        ("Sec-WebSocket-Extensions", ""),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "5"),
    ],
)
def test_malformed_request_is_answered_with_400(name: str, value: str | None) -> None:
    found = answer({name: value})
    assert found.status_code == 400
    assert found.refusal


def test_request_over_http_10_is_answered_with_400() -> None:
    assert answer(version=10).status_code == 400


def test_request_that_says_that_its_body_is_empty_is_answered_with_101() -> None:
    assert answer({"Content-Length": "0"}).status_code == 101


# Which pages may connect.


@pytest.mark.parametrize(
    ("origin", "host", "welcome"),
    [
        (None, HOST, True),
        ("https://server.example.com", HOST, True),
        ("http://SERVER.example.com", HOST, True),
        ("https://server.example.com", "server.example.com:443", True),
        ("http://server.example.com:80", "server.example.com", True),
        ("https://server.example.com:8443", "server.example.com:8443", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://server.example.com:8443", HOST, False),
        ("https://server.example.com", "server.example.com:80", False),
        ("https://evil.example", HOST, False),
        ("https://server.example.com.evil.example", HOST, False),
        ("https://evil.example/server.example.com", HOST, False),
        ("https://server.example.com, https://server.example.com", HOST, False),
        ("null", HOST, False),
        ("null", "null", False),
        ("", "", False),
        ("://", "", False),
        ("\xe4", HOST, False),
    ],
)
def test_origin_must_be_the_host_that_is_asked_unless_told_otherwise(
    origin: str | None, host: str, welcome: bool
) -> None:
    assert answer({"Origin": origin}, host=host).status_code == (101 if welcome else 403)
    assert answer({"Origin": origin}, host=host, extended=True).status_code == (200 if welcome else 403)


@pytest.mark.parametrize(
    ("origins", "welcome", "unwelcome"),
    [
        (["https://a.test", "null"], ["https://a.test", "null", "HTTPS://A.test"], ["https://server.example.com"]),
        (["https://a.test:443", "http://a.test"], ["https://a.test", "http://a.test:80"], ["https://a.test:80"]),
        (["https://a.test:8443"], ["https://a.test:8443"], ["https://a.test"]),
        (["*"], ["https://a.test", "null", "x"], []),
        ([], [], ["https://server.example.com"]),
        (lambda origin: origin.endswith(".a.test"), ["https://b.a.test"], ["https://a.test", "null"]),
    ],
)
def test_origins_that_were_listed_are_welcome(origins: Origins, welcome: list[str], unwelcome: list[str]) -> None:
    server = ServerHandshake(origins=origins)
    assert [answer({"Origin": origin}, server).status_code for origin in welcome] == [101] * len(welcome)
    assert [answer({"Origin": origin}, server).status_code for origin in unwelcome] == [403] * len(unwelcome)
    assert answer(server=server).status_code == 101


@pytest.mark.parametrize("origins", ["https://a.test", 5, [5], ["a.test"], ["https://a.test/"], ["https://"], ["://a"]])
def test_origins_that_are_none_are_refused(origins: object) -> None:
    with pytest.raises(InvalidOption, match="origins"):
        ServerHandshake(origins=origins)  # type: ignore[arg-type]  # that is the test


# What is agreed on.


@pytest.mark.parametrize(
    ("ours", "offered", "expected"),
    [
        ([], None, None),
        ([], "chat", None),
        (["chat"], None, None),
        (["chat"], "chat", "chat"),
        (["b", "a"], "a, b, c", "b"),
        (["chat"], "CHAT", None),
        (["chat"], "x,\tchat", "chat"),
        (["chat"], "chat, chat", "chat"),
    ],
)
def test_subprotocol_is_the_first_of_ours_that_is_offered(
    ours: list[str], offered: str | None, expected: str | None
) -> None:
    found = answer({"Sec-WebSocket-Protocol": offered}, ServerHandshake(subprotocols=ours))
    assert found.agreement is not None
    assert found.agreement.subprotocol == expected
    assert dict(found.fields).get(b"Sec-WebSocket-Protocol") == (expected.encode() if expected else None)


def test_compression_is_agreed_on_by_the_first_offer_that_we_understand() -> None:
    server = ServerHandshake(deflate=DeflateOptions())
    value = "x-bzip2, permessage-deflate; unknown, permessage-deflate; client_max_window_bits, permessage-deflate"
    found = answer({"Sec-WebSocket-Extensions": value}, server)
    expected = b"permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
    assert dict(found.fields)[b"Sec-WebSocket-Extensions"] == expected
    assert found.agreement is not None and found.agreement.deflate is not None
    for declined in ("x-bzip2", "permessage-deflate; unknown"):
        found = answer({"Sec-WebSocket-Extensions": declined}, server)
        assert found.status_code == 101
        assert found.agreement == Agreement(None, None)
        assert b"Sec-WebSocket-Extensions" not in dict(found.fields)


def test_compression_that_is_not_wanted_is_declined() -> None:
    found = answer({"Sec-WebSocket-Extensions": "permessage-deflate"})
    assert found.agreement == Agreement(None, None)
    with pytest.raises(InvalidOption, match="deflate"):
        ServerHandshake(deflate=1)  # type: ignore[arg-type]  # that is the test


@pytest.mark.parametrize("extended", [False, True])
def test_client_and_server_of_ours_agree(extended: bool) -> None:
    client = ClientHandshake(
        subprotocols=["a", "b"], deflate=DeflateOptions(), origin="https://x.test", extended=extended
    )
    server = ServerHandshake(subprotocols=["b"], deflate=DeflateOptions(True), origins=["https://x.test"])
    found = server.answer("CONNECT" if extended else "GET", 11, HeaderList(client.fields), "h", extended)
    assert client.agrees(found.status_code)
    agreement = client.check(found.status_code, HeaderList(found.fields))
    assert agreement == found.agreement
    assert agreement.subprotocol == "b"
    assert agreement.deflate == (True, False, 12, 12)
