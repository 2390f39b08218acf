"""HTTP CONNECT: what is asked, which answers open the way, and what the others are called."""

from __future__ import annotations

import base64

import pytest

from support.tunnel import BYTES_OF_THE_TARGET, endless, shake, shake_every_way
from turbosock.errors import ProxyError
from turbosock.protocol.proxy.tunnel import TunnelTarget
from turbosock.proxy_config import Proxy

PLAIN = Proxy("http", "proxy.example", 3128)
NAMED = Proxy("http", "proxy.example", 3128, "alice", "pässword:2")


def refusal(script: bytes, proxy: Proxy = PLAIN) -> ProxyError:
    error = shake_every_way(proxy, script).error
    assert error is not None
    return error


def test_request_names_the_target_and_nothing_else() -> None:
    outcome = shake(PLAIN, b"HTTP/1.1 200 OK\r\n\r\n", endless(99))
    assert outcome.sent == [b"CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n\r\n"]


def test_request_to_an_ipv6_address_has_it_in_brackets_without_its_zone() -> None:
    outcome = shake(PLAIN, b"HTTP/1.1 200 OK\r\n\r\n", endless(99), TunnelTarget("fe80::1%lo", 8080))
    assert outcome.sent[0].startswith(b"CONNECT [fe80::1]:8080 HTTP/1.1\r\nHost: [fe80::1]:8080\r\n")


def test_credentials_are_given_up_front() -> None:
    outcome = shake(NAMED, b"HTTP/1.1 200 OK\r\n\r\n", endless(99))
    basic = base64.b64encode("alice:pässword:2".encode())
    assert b"\r\nProxy-Authorization: Basic " + basic + b"\r\n" in outcome.sent[0]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_success_opens_the_way_whatever_it_says_of_a_body(status: int) -> None:
    script = b"HTTP/1.1 %d Fine\r\nContent-Length: 5\r\nConnection: close\r\n\r\n" % status
    outcome = shake_every_way(PLAIN, script + BYTES_OF_THE_TARGET)
    assert outcome.done
    assert outcome.read == len(script)


def test_interim_answers_are_passed_over() -> None:
    script = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    outcome = shake_every_way(PLAIN, script + BYTES_OF_THE_TARGET)
    assert outcome.done
    assert outcome.read == len(script)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (407, "proxy_auth"),
        (401, "proxy_auth"),
        (403, "proxy_refused"),
        (404, "proxy_refused"),
        (302, "proxy_refused"),
        (400, "proxy_unsupported"),
        (405, "proxy_unsupported"),
        (501, "proxy_unsupported"),
        (502, "proxy_unreachable"),
        (503, "proxy_unreachable"),
        (504, "proxy_unreachable"),
        (500, "proxy_failed"),
        (599, "proxy_failed"),
        (101, "proxy_refused"),
    ],
)
def test_other_answers_are_named(status: int, code: str) -> None:
    error = refusal(b"HTTP/1.1 %d Because\r\nContent-Length: 3\r\n\r\nno\n" % status)
    assert error.code == code
    assert error.reply == status
    assert error.proxy == "http://proxy.example:3128"


def test_407_says_whether_credentials_are_missing_or_wrong() -> None:
    assert "wants a user" in str(refusal(b"HTTP/1.1 407 Auth\r\n\r\n"))
    assert "does not take" in str(refusal(b"HTTP/1.1 407 Auth\r\n\r\n", NAMED))


def test_endless_interim_answers_are_no_answer() -> None:
    error = refusal(b"HTTP/1.1 100 Continue\r\n\r\n" * 99)
    assert error.code == "proxy_protocol"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\nA: b\n\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBad Field: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a:b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 20_000 + b"\r\n\r\n",
    ],
)
def test_malformed_answers_do_not_open_the_way(head: bytes) -> None:
    outcome = shake(PLAIN, head, endless(1 << 20))
    assert outcome.error is not None
    assert outcome.error.code == "proxy_protocol"


def test_reader_takes_few_reads_for_a_usual_answer() -> None:
    script = b"HTTP/1.1 200 Connection established\r\nProxy-Agent: tinyproxy/1.11.1\r\n\r\n"
    reads = 0

    def counted() -> int:
        nonlocal reads
        reads += 1
        return 1 << 20

    assert shake(PLAIN, script, iter(counted, None)).done
    assert reads < len(script) / 2
