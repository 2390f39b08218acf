"""SOCKS5: methods, credentials, requests for every kind of address, replies of every kind."""

from __future__ import annotations

import pytest

from support.tunnel import BYTES_OF_THE_TARGET, TARGET, endless, shake, shake_every_way
from turbosock.protocol.proxy.tunnel import TunnelTarget
from turbosock.proxy_config import Proxy

PLAIN = Proxy("socks5h", "proxy.example")
NAMED = Proxy("socks5h", "proxy.example", None, "alice", "secret")
REPLY = b"\5\0\0\1\x7f\0\0\1\x1f\x90"
CREDENTIALS = b"\x01\x05alice\x06secret"
REQUEST = b"\5\1\0\3\x0eorigin.example\x01\xbb"


def test_without_credentials_only_no_authentication_is_offered() -> None:
    outcome = shake_every_way(PLAIN, b"\5\0" + REPLY + BYTES_OF_THE_TARGET)
    assert outcome.sent == [b"\5\1\0", REQUEST]
    assert outcome.done
    assert outcome.read == 12


def test_credentials_are_sent_when_they_are_asked_for() -> None:
    outcome = shake_every_way(NAMED, b"\5\2\1\0" + REPLY)
    assert outcome.sent == [b"\5\2\0\2", CREDENTIALS, REQUEST]


def test_credentials_stay_here_when_nobody_asks_for_them() -> None:
    outcome = shake_every_way(NAMED, b"\5\0" + REPLY)
    assert outcome.sent == [b"\5\2\0\2", REQUEST]


def test_credentials_without_a_password_have_an_empty_one() -> None:
    outcome = shake(Proxy("socks5", "p", None, "alice"), b"\5\2\1\0" + REPLY, endless(9))
    assert outcome.sent[1] == b"\x01\x05alice\x00"


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("192.0.2.7", b"\1\xc0\0\2\7"),
        ("::1", b"\4" + bytes(15) + b"\1"),
        ("fe80::1%lo", b"\4\xfe\x80" + bytes(13) + b"\1"),
        ("origin.example", b"\3\x0eorigin.example"),
    ],
)
def test_request_has_the_kind_of_its_target(host: str, packed: bytes) -> None:
    outcome = shake(PLAIN, b"\5\0" + REPLY, endless(9), TunnelTarget(host, 443))
    assert outcome.sent[1] == b"\5\1\0" + packed + b"\x01\xbb"


@pytest.mark.parametrize(
    "address", [b"\1" + bytes(4), b"\4" + bytes(16), b"\3\0", b"\3\x01a", b"\3\xff" + b"a" * 255], ids=repr
)
def test_reply_with_an_address_of_any_kind_is_read_whole(address: bytes) -> None:
    script = b"\5\0" + b"\5\0\0" + address + b"\x1f\x90"
    outcome = shake_every_way(PLAIN, script + BYTES_OF_THE_TARGET)
    assert outcome.done
    assert outcome.read == len(script)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (1, "proxy_failed"),
        (2, "proxy_refused"),
        (3, "proxy_unreachable"),
        (4, "proxy_unreachable"),
        (5, "proxy_unreachable"),
        (6, "proxy_unreachable"),
        (7, "proxy_unsupported"),
        (8, "proxy_unsupported"),
        (9, "proxy_failed"),
        (0xF0, "proxy_failed"),
        (255, "proxy_failed"),
    ],
)
def test_replies_are_named_whole_or_cut_short(reply: int, code: str) -> None:
    for rest in (b"", b"\0\1" + bytes(6)):
        error = shake_every_way(PLAIN, b"\5\0" + bytes((5, reply)) + rest).error
        assert error is not None
        assert (error.code, error.reply) == (code, reply)


@pytest.mark.parametrize(
    ("proxy", "script", "code"),
    [
        (PLAIN, b"\5\xff", "proxy_auth"),
        (NAMED, b"\5\xff", "proxy_auth"),
        (NAMED, b"\5\2\1\1", "proxy_auth"),
        (NAMED, b"\5\2\5\0", "proxy_protocol"),
        (PLAIN, b"\5\2", "proxy_protocol"),
        (PLAIN, b"\5\1", "proxy_protocol"),
        (PLAIN, b"\4\0", "proxy_protocol"),
        (PLAIN, b"\5\0\1\0\0\1", "proxy_protocol"),
        (PLAIN, b"\5\0\5\0\0\2" + bytes(6), "proxy_protocol"),
    ],
)
def test_other_answers_are_named(proxy: Proxy, script: bytes, code: str) -> None:
    error = shake_every_way(proxy, script).error
    assert error is not None
    assert error.code == code


def test_target_is_not_asked_for_before_the_method_stands() -> None:
    assert shake(PLAIN, b"\5\xff", endless(9), TARGET).sent == [b"\5\1\0"]
