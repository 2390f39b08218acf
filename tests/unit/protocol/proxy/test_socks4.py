"""SOCKS4 and 4a: the bytes of the request, and the name of each reply."""

from __future__ import annotations

import pytest

from support.tunnel import BYTES_OF_THE_TARGET, TARGET, endless, shake, shake_every_way
from turbosock.protocol.proxy.tunnel import TunnelTarget
from turbosock.proxy_config import Proxy

SOCKS4 = Proxy("socks4", "proxy.example", None, "fred")
SOCKS4A = Proxy("socks4a", "proxy.example")
GRANTED = b"\0\x5a" + bytes(6)


def test_request_for_an_address_is_the_one_of_the_specification() -> None:
    outcome = shake(SOCKS4, GRANTED, endless(99), TunnelTarget("66.102.7.99", 80))
    assert outcome.sent == [b"\x04\x01\x00\x50\x42\x66\x07\x63fred\x00"]
    assert outcome.done


def test_request_for_a_name_goes_with_an_address_that_is_none() -> None:
    outcome = shake(SOCKS4A, GRANTED, endless(99))
    assert outcome.sent == [b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00origin.example\x00"]


def test_request_of_socks4_for_ipv6_is_refused_before_a_byte_is_sent() -> None:
    outcome = shake(SOCKS4, GRANTED, endless(99), TunnelTarget("::1", 80))
    assert outcome.error is not None
    assert outcome.error.code == "proxy_unsupported"
    assert outcome.sent == []


def test_request_of_socks4a_for_ipv6_names_it() -> None:
    outcome = shake(SOCKS4A, GRANTED, endless(99), TunnelTarget("fe80::1%lo", 80))
    assert outcome.sent == [b"\x04\x01\x00\x50\x00\x00\x00\x01\x00fe80::1\x00"]


@pytest.mark.parametrize(
    ("reply", "code"), [(91, "proxy_refused"), (92, "proxy_auth"), (93, "proxy_auth"), (94, "proxy_protocol")]
)
def test_replies_are_named(reply: int, code: str) -> None:
    error = shake_every_way(SOCKS4A, bytes((0, reply)) + bytes(6) + BYTES_OF_THE_TARGET, TARGET).error
    assert error is not None
    assert error.code == code
    assert error.reply == (reply if code != "proxy_protocol" else None)


def test_reply_of_another_version_is_none() -> None:
    error = shake_every_way(SOCKS4A, b"\x04\x5a" + bytes(6)).error
    assert error is not None
    assert error.code == "proxy_protocol"
