from __future__ import annotations

import base64

import pytest

from turbosock.errors import InvalidHeader, InvalidOption, ProtocolError
from turbosock.limits import MAX_SUBPROTOCOLS
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.websocket.client_handshake import ClientHandshake
from turbosock.protocol.websocket.deflate import DeflateOptions
from turbosock.protocol.websocket.handshake import OWN_KEYS, Agreement, accept_value, checked_extra_fields

# RFC 6455 §1.3.
NONCE = b"the sample nonce"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

GOOD = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT.decode()}


def handshake(**options: object) -> ClientHandshake:
    return ClientHandshake(random_bytes=lambda n: NONCE, **options)  # type: ignore[arg-type]  # as each test says


def test_accept_value_of_the_rfc_is_made() -> None:
    assert accept_value(KEY) == ACCEPT


def test_request_has_the_fields_of_the_rfc() -> None:
    assert handshake().fields == (
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", KEY),
        (b"Sec-WebSocket-Version", b"13"),
    )
    options = handshake(
        subprotocols=["chat", "superchat"], origin="https://a.test", deflate=DeflateOptions(False, False, 15, 15)
    )
    assert options.fields[4:] == (
        (b"Sec-WebSocket-Protocol", b"chat, superchat"),
        (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits"),
        (b"Origin", b"https://a.test"),
    )


def test_extended_request_has_neither_key_nor_upgrade() -> None:
    fields = handshake(extended=True, subprotocols=("chat",)).fields
    assert fields == ((b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Protocol", b"chat"))


def test_each_attempt_has_its_own_key_of_16_random_bytes() -> None:
    keys = [dict(ClientHandshake().fields)[b"Sec-WebSocket-Key"] for _ in range(20)]
    assert len(set(keys)) == 20
    assert all(len(base64.b64decode(key)) == 16 for key in keys)


def test_answer_to_the_key_that_was_really_sent_is_accepted_and_no_other() -> None:
    asked = handshake()
    asked.sent_with(b"AAAAAAAAAAAAAAAAAAAAAA==")
    with pytest.raises(ProtocolError, match="our key"):
        asked.check(101, HeaderList(GOOD))
    answer = {**GOOD, "Sec-WebSocket-Accept": accept_value(b"AAAAAAAAAAAAAAAAAAAAAA==").decode()}
    assert asked.check(101, HeaderList(answer)) == Agreement(None, None)


def test_answer_that_agrees_is_accepted() -> None:
    assert handshake().check(101, HeaderList(GOOD)) == Agreement(None, None)
    spelled = {"upgrade": "WebSocket", "connection": "keep-alive, upgrade", "sec-websocket-accept": ACCEPT.decode()}
    assert handshake().check(101, HeaderList(spelled)) == Agreement(None, None)


@pytest.mark.parametrize("status_code", [200, 204])
def test_extended_answer_that_agrees_is_accepted(status_code: int) -> None:
    assert handshake(extended=True).check(status_code, HeaderList()) == Agreement(None, None)


def test_extended_request_in_the_place_of_an_upgrade_is_agreed_to_without_a_key() -> None:
    asked = handshake()
    asked.sent_extended()
    assert asked.agrees(200) and not asked.agrees(101)
    assert asked.check(200, HeaderList()) == Agreement(None, None)
    asked.sent_with(b"AAAAAAAAAAAAAAAAAAAAAA==")
    assert asked.agrees(101) and not asked.agrees(200)


@pytest.mark.parametrize("status_code", [100, 200, 301, 400, 401, 426, 500])
def test_answer_with_another_status_is_refused(status_code: int) -> None:
    assert not handshake().agrees(status_code)
    with pytest.raises(ProtocolError, match=str(status_code)):
        handshake().check(status_code, HeaderList(GOOD))


@pytest.mark.parametrize("status_code", [101, 302, 404])
def test_extended_answer_with_another_status_is_refused(status_code: int) -> None:
    with pytest.raises(ProtocolError, match=str(status_code)):
        handshake(extended=True).check(status_code, HeaderList(GOOD))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ([("Upgrade", None)], "Upgrade: websocket"),
        ([("Upgrade", "h2c")], "Upgrade: websocket"),
        ([("Upgrade", "websocket, h2c")], "Upgrade: websocket"),
        ([("Connection", None)], "Connection: Upgrade"),
        ([("Connection", "close")], "Connection: Upgrade"),
        ([("Sec-WebSocket-Accept", None)], "Sec-WebSocket-Accept"),
        ([("Sec-WebSocket-Accept", "")], "Sec-WebSocket-Accept"),
        ([("Sec-WebSocket-Accept", ACCEPT.decode().lower())], "Sec-WebSocket-Accept"),
        ([("Sec-WebSocket-Accept", f"{ACCEPT.decode()}, {ACCEPT.decode()}")], "Sec-WebSocket-Accept"),
        ([("Sec-WebSocket-Protocol", "other")], "not offered"),
        ([("Sec-WebSocket-Protocol", "CHAT")], "not offered"),
        ([("Sec-WebSocket-Protocol", "chat, superchat")], "not offered"),
        ([("Sec-WebSocket-Protocol", "")], "not offered"),
        ([("Sec-WebSocket-Extensions", "permessage-deflate")], "not offered"),
        ([("Sec-WebSocket-Extensions", "x-bzip2")], "not offered"),
        ([("Sec-WebSocket-Extensions", "a b")], "Sec-WebSocket-Extensions"),
    ],
)
def test_answer_that_does_not_agree_is_refused(changed: list[tuple[str, str | None]], what: str) -> None:
    fields = {**GOOD, **dict(changed)}
    headers = HeaderList([(name, value) for name, value in fields.items() if value is not None])
    with pytest.raises(ProtocolError, match=what) as caught:
        handshake(subprotocols=["chat", "superchat"]).check(101, headers)
    assert caught.value.code in ("bad_handshake", "bad_extensions")


def test_accept_that_answers_another_key_is_not_shown_as_ours() -> None:
    with pytest.raises(ProtocolError, match="does not answer our key"):
        ClientHandshake().check(101, HeaderList(GOOD))


def test_subprotocol_and_compression_that_were_offered_are_agreed_on() -> None:
    subject = handshake(subprotocols=["chat", "superchat"], deflate=DeflateOptions())
    fields = {**GOOD, "Sec-WebSocket-Protocol": "superchat", "Sec-WebSocket-Extensions": "permessage-deflate"}
    agreement = subject.check(101, HeaderList(fields))
    assert agreement.subprotocol == "superchat"
    assert agreement.deflate is not None
    assert agreement.deflate.server_max_window_bits == 15


@pytest.mark.parametrize(
    "value",
    ["permessage-deflate, permessage-deflate", "permessage-deflate; unknown", "x-other", "permessage-deflate, x"],
)
def test_extensions_that_were_not_offered_so_are_refused(value: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        handshake(deflate=DeflateOptions()).check(101, HeaderList({**GOOD, "Sec-WebSocket-Extensions": value}))
    assert caught.value.code == "bad_extensions"


@pytest.mark.parametrize(
    "subprotocols", ["chat", b"chat", 5, ["a b"], [""], ["é"], [b"chat"], ["a", "a"], list(map(str, range(65)))]
)
def test_subprotocols_that_cannot_be_offered_are_refused(subprotocols: object) -> None:
    assert MAX_SUBPROTOCOLS == 64
    with pytest.raises(InvalidOption, match="subprotocols"):
        handshake(subprotocols=subprotocols)


def test_other_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidHeader, match="Origin"):
        handshake(origin="https://a.test\r\nX: y")
    with pytest.raises(InvalidOption, match="deflate"):
        handshake(deflate=1)
    with pytest.raises(InvalidOption, match="origin=5"):
        handshake(origin=5)


@pytest.mark.parametrize("key", sorted(OWN_KEYS))
def test_extra_field_that_the_handshake_writes_itself_is_refused(key: bytes) -> None:
    assert checked_extra_fields(HeaderList({"X-Other": "1", "Cookie": "a=b"})).raw
    with pytest.raises(InvalidHeader, match=key.decode()):
        checked_extra_fields(HeaderList([(key.title(), b"x")]))
