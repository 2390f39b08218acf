"""What every tunnel handshake keeps: it takes nothing of the target, names garbage, and bounds what it reads."""

from __future__ import annotations

import random

import pytest

from support.tunnel import BYTES_OF_THE_TARGET, TARGET, endless, shake, shake_every_way
from turbosock import limits
from turbosock.errors import Origin, ProxyError
from turbosock.protocol.proxy.tunnel import TunnelTarget, tunnel_through
from turbosock.proxy_config import PROXY_PORTS, Proxy

OPENED = {
    "http": b"HTTP/1.1 200 Connection established\r\nVia: 1.1 tinyproxy\r\n\r\n",
    "https": b"HTTP/1.0 200 OK\r\n\r\n",
    "socks4": b"\0\x5a\0\0\0\0\0\0",
    "socks4a": b"\0\x5a\x1f\x90\x7f\0\0\x01",
    "socks5": b"\5\0\5\0\0\1\x7f\0\0\1\x1f\x90",
    "socks5h": b"\5\2\1\0\5\0\0\4" + bytes(16) + b"\x1f\x90",
}
TARGETS = {"socks4": TunnelTarget("192.0.2.7", 80), "socks5": TunnelTarget("2001:db8::7", 80)}
SCHEMES = sorted(PROXY_PORTS)


def proxy_of(scheme: str) -> Proxy:
    user = "user" if scheme == "socks5h" else None
    return Proxy(scheme, "proxy.example", 9999, user, "secret" if user else None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reply_is_read_to_its_last_byte_and_not_beyond(scheme: str) -> None:
    script = OPENED[scheme]
    target = TARGETS.get(scheme, TARGET)
    outcome = shake_every_way(proxy_of(scheme), script + BYTES_OF_THE_TARGET, target)
    assert outcome.done
    assert outcome.read == len(script)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_reply_cut_short_is_a_proxy_that_closed(scheme: str) -> None:
    script = OPENED[scheme]
    for cut in range(len(script)):
        outcome = shake(proxy_of(scheme), script[:cut], endless(3), TARGETS.get(scheme, TARGET))
        assert outcome.error is not None
        assert outcome.error.code == "proxy_closed"
        assert outcome.error.proxy == f"{scheme}://proxy.example:9999"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46" + bytes(64),
        b"\r\n" * 40,
        b"<html>" * 9,
    ],
)
def test_garbage_is_named_as_no_answer(scheme: str, garbage: bytes) -> None:
    error = shake_every_way(proxy_of(scheme), garbage, TARGETS.get(scheme, TARGET)).error
    assert error is not None
    assert error.code == "proxy_protocol"
    assert error.origin is Origin.PROTOCOL


@pytest.mark.parametrize("scheme", SCHEMES)
def test_random_replies_end_in_a_proxy_error_or_an_open_way(scheme: str) -> None:
    for seed in range(400):
        chance = random.Random(seed)
        script = bytearray(OPENED[scheme])
        for _ in range(chance.randint(1, 4)):
            script[chance.randrange(len(script))] = chance.randrange(256)
        # Whatever is raised beside a ProxyError is raised through. Where it ends too early, how soon that is seen may
        # differ; whether the way is open may not.
        target = TARGETS.get(scheme, TARGET)
        outcomes = [shake(proxy_of(scheme), bytes(script), endless(size), target) for size in (1, 2, 5, 99)]
        assert {outcome.done == (outcome.error is None) for outcome in outcomes} == {True}, f"seed {seed}"
        assert len({outcome.done for outcome in outcomes}) == 1, f"seed {seed}"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_endless_replies_are_bounded(scheme: str) -> None:
    for endless_reply in (
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * (1 << 18),
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * (1 << 12),
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * (1 << 12),
        b"\5\0" + b"\5\0\0\3\xff" + b"a" * (1 << 12),
    ):
        outcome = shake(proxy_of(scheme), endless_reply, endless(1 << 20), TARGETS.get(scheme, TARGET))
        assert outcome.read <= limits.MAX_PROXY_HEAD_BYTES
        assert outcome.done or outcome.error is not None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_errors_hold_no_credential(scheme: str) -> None:
    secret = None if scheme.startswith("socks4") else "hunter2"
    proxy = Proxy(scheme, "proxy.example", None, "alice", secret)
    for script in (b"", b"\xff" * 40, b"HTTP/1.1 407 No\r\n\r\n", b"\5\xff", b"\5\2\1\1", b"\0\x5d" + bytes(6)):
        outcome = shake(proxy, script, endless(99), TARGETS.get(scheme, TARGET))
        assert outcome.error is not None
        assert "alice" not in repr(outcome.error) + str(outcome.error)
        assert "hunter2" not in repr(outcome.error) + str(outcome.error)


def test_target_authority_has_brackets_and_no_zone() -> None:
    assert TunnelTarget("fe80::1%eth0", 80).authority == "[fe80::1]:80"
    assert TunnelTarget("origin.example", 80).authority == "origin.example:80"
    address = TunnelTarget("fe80::1%eth0", 80).address
    assert address is not None
    assert str(address) == "fe80::1"
    assert TunnelTarget("origin.example", 80).address is None


def test_error_says_who_was_asked_for_what() -> None:
    tunnel = tunnel_through(Proxy("http", "proxy.example"), TARGET)
    error = tunnel.ended()
    assert isinstance(error, ProxyError)
    assert "http://proxy.example:80" in str(error)
    assert "origin.example:443" in str(error)
