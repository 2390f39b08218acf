"""host_map: which pattern decides, where it leads, and what is no pattern or target."""

from __future__ import annotations

import random
from typing import Any

import pytest

from support.seeds import seeds
from turbosock import limits
from turbosock.errors import InvalidOption
from turbosock.host_map import HostMap

MAP = {
    "example.com": "127.0.0.1:8443",
    "Example.org": "other.example",
    "ported.example:443": "192.0.2.1",
    "ported.example": "192.0.2.2:80",
    "*.dev": "127.0.0.2",
    "*.deep.dev": "127.0.0.3:99",
    "exact.deep.dev": "127.0.0.4",
    "*.deep.dev:444": "127.0.0.5",
    "unix.example": "/run/app.sock",
    "named.example": "unix:app.sock",
    "six.example": "[::1]:81",
    "bare6.example": "fe80::1%3",
    "::1": "127.0.0.6",
    "[::2]:443": "127.0.0.7",
    "dotted.example.": "127.0.0.8",
    "bücher.example": "127.0.0.9",
}


@pytest.mark.parametrize(
    ("host", "port", "target"),
    [
        ("example.com", 443, ("127.0.0.1", 8443)),
        ("example.com", 80, ("127.0.0.1", 8443)),
        ("example.com.", 80, ("127.0.0.1", 8443)),
        ("dotted.example", 80, ("127.0.0.8", 80)),
        ("example.org", 80, ("other.example", 80)),
        # A target is not mapped again.
        ("other.example", 80, None),
        ("sub.example.com", 80, None),
        ("xexample.com", 80, None),
        ("ported.example", 443, ("192.0.2.1", 443)),
        ("ported.example", 444, ("192.0.2.2", 80)),
        ("dev", 80, None),
        ("a.dev", 80, ("127.0.0.2", 80)),
        ("b.a.dev", 80, ("127.0.0.2", 80)),
        ("a.deep.dev", 80, ("127.0.0.3", 99)),
        ("b.a.deep.dev", 444, ("127.0.0.5", 444)),
        ("deep.dev", 80, ("127.0.0.2", 80)),
        ("exact.deep.dev", 444, ("127.0.0.4", 444)),
        ("unix.example", 443, "/run/app.sock"),
        ("named.example", 443, "app.sock"),
        ("six.example", 443, ("::1", 81)),
        ("bare6.example", 443, ("fe80::1%3", 443)),
        ("::1", 80, ("127.0.0.6", 80)),
        ("::2", 443, ("127.0.0.7", 443)),
        ("::2", 80, None),
        ("xn--bcher-kva.example", 80, ("127.0.0.9", 80)),
    ],
)
def test_narrowest_pattern_decides(host: str, port: int, target: object) -> None:
    assert HostMap(MAP).target(host, port) == target


def test_star_is_for_every_host_that_nothing_narrower_names() -> None:
    pairs = [("*", "127.0.0.1"), ("*:443", "127.0.0.1:8443"), ("*.dev", "127.0.0.2"), ("dev", "127.0.0.3:1")]
    host_map = HostMap(pairs)
    assert host_map.target("any.example", 80) == ("127.0.0.1", 80)
    assert host_map.target("any.example", 443) == ("127.0.0.1", 8443)
    assert host_map.target("::1", 443) == ("127.0.0.1", 8443)
    assert host_map.target("a.dev", 443) == ("127.0.0.2", 443)
    assert host_map.target("dev", 443) == ("127.0.0.3", 1)
    assert host_map.pairs == tuple(pairs)


def test_empty_map_leads_nowhere_else() -> None:
    assert HostMap({}).target("host", 80) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (5, "mapping"),
        ("example.com", "mapping"),
        ([("a",)], "mapping"),
        ({"a": 5}, "str"),
        ({5: "a"}, "str"),
        ({"a": ("127.0.0.1", 80)}, "str"),
        ({"": "b"}, "no host"),
        ({"*.": "b"}, "no host"),
        ({"a*": "b"}, "characters"),
        ({"*a": "b"}, "characters"),
        ({"a.*": "b"}, "characters"),
        ({"http://a": "b"}, "port"),
        ({"a/b": "b"}, "characters"),
        ({"user@a": "b"}, "characters"),
        ({"a:0": "b"}, "port"),
        ({"*:99999": "b"}, "port"),
        ({"*:x": "b"}, "port"),
        ({"a": ""}, "no host"),
        ({"a": "unix:"}, "path"),
        ({"a": "/x\0y"}, "path"),
        ({"a": "b:port"}, "port"),
        ({"a": "http://b"}, "port"),
        ({"a": "*"}, "characters"),
        ({"a": "1:2:3"}, "IPv6"),
        ({"a": "127.1"}, "usual"),
        ({"a": "0x7f.1:80"}, "usual"),
        ({"a": "host.0x7f"}, "usual"),
        ({"a": "2130706433"}, "usual"),
        ({"a": "b", "A": "c"}, "twice"),
        ({"a": "b", "a.": "c"}, "twice"),
        ({str(i): "b" for i in range(limits.MAX_HOST_MAPPINGS + 1)}, str(limits.MAX_HOST_MAPPINGS)),
    ],
)  # fmt: skip
def test_what_is_no_host_map_is_refused_by_name(given: Any, reason: str) -> None:
    with pytest.raises(InvalidOption, match=f"^host_map: .*{reason}"):
        HostMap(given)


@pytest.mark.parametrize("seed", seeds(40))
def test_map_by_chance_agrees_with_looking_at_every_pattern(seed: int) -> None:
    chance = random.Random(seed)

    def name() -> str:
        return ".".join(chance.choice("ab") for _ in range(chance.randint(1, 4)))

    ports = (0, 80, 443)
    patterns: dict[str, str] = {}
    for number in range(chance.randint(1, 12)):
        port = chance.choice(ports)
        pattern = chance.choice(("", "*.", "*.")) + name() if chance.random() < 0.9 else "*"
        patterns.setdefault(pattern + (f":{port}" if port else ""), f"192.0.2.{number}")

    def naive(host: str, port: int) -> tuple[str, int] | None:
        best: tuple[tuple[int, int, int], str] | None = None
        for pattern, target in patterns.items():
            text, _, own_port = pattern.partition(":")
            if own_port and int(own_port) != port:
                continue
            if text == host:
                rank = 2
            elif text.startswith("*") and host.endswith(text[1:]) and len(host) > len(text[1:]):
                rank = 1
            else:
                continue
            found = (rank, len(text), bool(own_port))
            if best is None or found > best[0]:
                best = found, target
        return None if best is None else (best[1], port)

    host_map = HostMap(patterns)
    for _ in range(50):
        host, port = name(), chance.choice((80, 443, 81))
        assert host_map.target(host, port) == naive(host, port), (patterns, host, port)
