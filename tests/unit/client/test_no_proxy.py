"""NO_PROXY: the table below, and that curl itself reads it in the same way."""

from __future__ import annotations

import os
import subprocess

import pytest

from support import peers
from turbosock import limits
from turbosock.client.no_proxy import NoProxy

# (list, host, whether the host is reached without the proxy)
TABLE = [
    ("", "example.com", False),
    ("*", "example.com", True),
    ("*", "127.0.0.1", True),
    ("*,a.test", "example.com", False),
    (" *", "example.com", False),
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.com", True),
    ("EXAMPLE.com", "example.com", True),
    ("example.com", "www.example.com", True),
    ("example.com", "a.b.example.com", True),
    ("example.com", "notexample.com", False),
    ("example.com", "example.com.org", False),
    ("example.com", "com", False),
    (".example.com", "example.com", True),
    (".example.com", "www.example.com", True),
    (".example.com", "notexample.com", False),
    ("..example.com", "example.com", False),
    ("example.com.", "example.com", True),
    ("example.com", "example.com.", True),
    ("*.example.com", "www.example.com", False),
    ("a.test,example.com", "example.com", True),
    ("a.test, example.com", "example.com", True),
    ("a.test ,example.com", "example.com", True),
    (",,a.test,,,example.com", "example.com", True),
    ("a.test", "example.com", False),
    (".", "example.com", False),
    (",", "example.com", False),
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.2", False),
    ("127.0.0.0/8", "127.1.2.3", True),
    ("127.0.0.0/8", "128.0.0.1", False),
    ("192.168.1.128/25", "192.168.1.129", True),
    ("192.168.1.128/25", "192.168.1.127", False),
    ("192.168.1.1/32", "192.168.1.1", True),
    ("192.168.1.1/33", "192.168.1.1", False),
    ("192.168.1.1/x", "192.168.1.1", True),
    ("127.0.0.0/8", "localhost", False),
    ("localhost", "127.0.0.1", False),
    (".0.0.1", "127.0.0.1", False),
    ("0.0.1", "127.0.0.1", False),
    ("::1", "::1", True),
    ("0:0::1", "::1", True),
    ("::1", "::2", False),
    ("fd00::/8", "fd12::1", True),
    ("fd00::/8", "fe00::1", False),
    ("fd00::/129", "fd00::", False),
    ("fe80::/10", "fe80::1", True),
    ("127.0.0.1", "::1", False),
    ("a.test b.test", "a.test", True),
]


@pytest.mark.parametrize(("text", "host", "covered"), TABLE)
def test_list_covers_hosts_as_the_table_says(text: str, host: str, covered: bool) -> None:
    assert NoProxy(text).covers(host, 80) is covered


def test_curl_reads_the_table_in_the_same_way() -> None:
    curl = peers.require("curl", "apt-get install -y curl")
    wrong = []
    for text, host, covered in TABLE:
        if ":" in host:
            # Some releases, 7.88 for one, compare addresses of IPv6 as texts.
            continue
        # The proxy's name does not exist (RFC 6761), nor does the origin's resolve to anything else than port 9.
        environment = {**os.environ, "http_proxy": "http://proxy.invalid:9", "no_proxy": text, "NO_PROXY": ""}
        command = [curl, "-sv", "--connect-timeout", "2", "--connect-to", "::127.0.0.1:9", f"http://{host}:9/"]
        said = subprocess.run(command, env=environment, capture_output=True, timeout=20, check=False).stderr
        if (b"proxy.invalid" not in said) is not covered:
            wrong.append((text, host, covered))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        ("example.com:8080", "example.com", 8080, True),
        ("example.com:8080", "www.example.com", 8080, True),
        ("example.com:8080", "example.com", 80, False),
        ("127.0.0.0/8:8080", "127.0.0.9", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 80, False),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
        ("[::1]", "::1", 80, True),
        ("[::1]x", "::1", 80, False),
        ("example.com:port", "example.com", 80, False),
        ("example.com:", "example.com", 80, False),
        ("example.com:" + "9" * 5000, "example.com", 80, False),
        ("fe80::1", "fe80::1%eth0", 80, True),
    ],
)
def test_entry_with_a_port_is_for_that_port(text: str, host: str, port: int, covered: bool) -> None:
    assert NoProxy(text).covers(host, port) is covered


def test_list_that_is_too_long_is_read_to_its_bound() -> None:
    text = "a.test," * limits.MAX_NO_PROXY_LENGTH + "example.com"
    assert NoProxy(text).covers("a.test", 80)
    assert not NoProxy(text).covers("example.com", 80)


def test_empty_list_is_false() -> None:
    assert not NoProxy("")
    assert not NoProxy(" , ")
    assert NoProxy("*")
    assert NoProxy("a")
