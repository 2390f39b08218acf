"""Hosts and ports: zones of IPv6 addresses, international names, and what is refused in whose name."""

from __future__ import annotations

import sys

import pytest

from turbosock import limits
from turbosock.errors import InvalidUrl
from turbosock.host_port import split_host_port


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("[fe80::1%25eth0]", "fe80::1%eth0"),
        ("[FE80::1%25Eth0]", "fe80::1%Eth0"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("[fe80::1%253]", "fe80::1%3"),
        ("[fe80::1%3]", "fe80::1%3"),
        ("[fe80::1%25br-lan.1_a~b]", "fe80::1%br-lan.1_a~b"),
        # RFC 6874: whatever is no unreserved character is percent-encoded.
        ("[fe80::1%25wlan0%40if3]", "fe80::1%wlan0@if3"),
        ("[fe80::1%25%65th0]", "fe80::1%eth0"),
    ],
)
def test_zone_is_taken_as_rfc_6874_and_as_curl_write_it(text: str, host: str) -> None:
    assert split_host_port(text + ":81", 80) == (host, 81)


@pytest.mark.parametrize(
    "zone", ["%", "%25", "%25a%2Fb", "%25a%25b", "%25a%3Ab", "%25a%20b", "%25%00", "%25%C3%A4", "%25ä", "%e@h", "%a%41"]
    + ["%25" + "a" * 64],
)  # fmt: skip
def test_zone_that_no_interface_has_is_refused(zone: str) -> None:
    with pytest.raises(InvalidUrl, match=r"^url: the zone"):
        split_host_port(f"[fe80::1{zone}]", 80)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        # IDNA 2008, not the older transitional mapping to "strasse".
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("пример.испытание.", "xn--e1afmkfd.xn--80akhbyknj4f."),
        ("\uff45xample.com", "example.com"),
    ],
)
def test_international_name_becomes_ascii(name: str, host: str) -> None:
    pytest.importorskip("idna")
    assert split_host_port(name, 80) == (host, 80)
    assert split_host_port(name + ":8080", 80) == (host, 8080)
    # What came out goes in.
    assert split_host_port(host, 80) == (host, 80)


@pytest.mark.parametrize(
    "name",
    ["☃.example", "a℀b.example", "ä..example", "-ä.example", "ä\u200d.example", "א1a.example", "ä" * 64, "\ud800"]
    + ["ä" * (limits.MAX_HOST_LENGTH + 1), "ä_b.example", "ä b.example"],
)  # fmt: skip
def test_what_is_no_international_name_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(InvalidUrl, match=r"^option: the host") as caught:
        split_host_port(name, 80, "option")
    assert name not in str(caught.value) and caught.value.__cause__ is None


def test_international_name_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(InvalidUrl, match=r"^url: the host is not ASCII; install turbosock\[idna\], .* 'xn--' form"):
        split_host_port("bücher.example", 80)
    assert split_host_port("xn--bcher-kva.example", 80) == ("xn--bcher-kva.example", 80)
