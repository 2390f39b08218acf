"""Hosts that are addresses already, hosts that read two ways, and the order of attempts."""

from __future__ import annotations

import itertools
import random
import socket

import pytest

from support.seeds import seeds
from turbosock.errors import InvalidUrl, ResolveError
from turbosock.limits import MAX_ADDRESSES_PER_NAME
from turbosock.reactor.address import Address, in_attempt_order, literal_addresses, with_port

V4 = socket.AF_INET
V6 = socket.AF_INET6


def ipv4(host: str) -> Address:
    return Address(V4, (host, 0))


def ipv6(host: str) -> Address:
    return Address(V6, (host, 0, 0, 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "255.255.255.255", "10.20.30.40"])
def test_ipv4_address_is_taken_as_it_is(host: str) -> None:
    assert literal_addresses(host, 80) == [(V4, (host, 80))]


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.01",
        "127.0.0.0x1",
        "127.0.0.1.",
        "127.0.0.256",
        "1.2.3.4.5",
        "999999999999",
        "0",
        "0x",
        "example.1",
        "example.0x1f",
        "1e3.0",
    ],
)
def test_ipv4_in_a_form_that_others_read_differently_is_refused(host: str) -> None:
    with pytest.raises(InvalidUrl, match="four decimal numbers"):
        literal_addresses(host, 80)


@pytest.mark.parametrize(
    ("host", "canonical", "scope_id"),
    [
        ("::1", "::1", 0),
        ("::", "::", 0),
        ("2001:DB8:0:0::1", "2001:db8::1", 0),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", 0),
        ("fe80::1%1", "fe80::1", 1),
        ("fe80::1%4294967295", "fe80::1", 4294967295),
    ],
)
def test_ipv6_address_keeps_its_scope(host: str, canonical: str, scope_id: int) -> None:
    assert literal_addresses(host, 443) == [(V6, (canonical, 443, 0, scope_id))]


def test_ipv6_scope_by_name_is_the_index_of_the_interface() -> None:
    index, name = socket.if_nameindex()[0]
    assert literal_addresses(f"fe80::1%{name}", 1) == [(V6, ("fe80::1", 1, 0, index))]


def test_ipv6_scope_of_no_interface_says_so() -> None:
    with pytest.raises(ResolveError, match="no network interface 'nosuch0'"):
        literal_addresses("fe80::1%nosuch0", 1)


@pytest.mark.parametrize(
    "host",
    [
        "[::1]",
        ":",
        ":::",
        "1:2:3",
        "::1::",
        "::g",
        "fe80::1%",
        "fe80::1%\0",
        "fe80::1%a\nb",
        "a:80",
        "::\0",
        "::\u0661",
    ],
)
def test_host_with_a_colon_that_is_no_ipv6_address_is_refused(host: str) -> None:
    with pytest.raises(InvalidUrl, match="host is"):
        literal_addresses(host, 1)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "app.localhost", "a.b.LocalHost."])
def test_localhost_is_loopback_without_a_look_up(host: str) -> None:
    assert literal_addresses(host, 8000) == [(V4, ("127.0.0.1", 8000)), (V6, ("::1", 8000, 0, 0))]


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "EXAMPLE.com.",
        "a",
        "_sip.x-y.z",
        "1a.com",
        "1.com",
        "localhost.com",
        "notlocalhost",
        "a" * 63 + ".b",
    ],
)
def test_name_needs_a_look_up(host: str) -> None:
    assert literal_addresses(host, 1) is None


def test_name_of_the_greatest_length_needs_a_look_up() -> None:
    name = ".".join(["a" * 61] * 4) + ".abcde"
    assert len(name) == 253
    assert literal_addresses(name, 1) is None
    assert literal_addresses(name + ".", 1) is None
    with pytest.raises(InvalidUrl, match="at most 253"):
        literal_addresses("a" + name, 1)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a\r\nb",
        "a/b",
        "a@b",
        "a%41",
        "a\0",
        "é.example",
        "\u212a",
        "\u0661.example",
        "a,b",
    ],
)
def test_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(InvalidUrl, match="host is") as caught:
        literal_addresses(host, 1)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_every_control_byte_in_a_host_is_refused() -> None:
    for code in [*range(0x21), 0x7F]:
        for host in (f"a{chr(code)}b", f"{chr(code)}ab", f"ab{chr(code)}"):
            with pytest.raises(InvalidUrl):
                literal_addresses(host, 1)


def test_label_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidUrl, match="63"):
        literal_addresses("a" * 64 + ".example", 1)


def test_huge_host_makes_a_short_message() -> None:
    with pytest.raises(InvalidUrl) as caught:
        literal_addresses("a" * 1_000_000, 1)
    assert len(str(caught.value)) < 1000


def test_with_port_replaces_the_port_and_keeps_the_scope() -> None:
    given = [Address(V4, ("1.2.3.4", 0)), Address(V6, ("fe80::1", 0, 0, 7))]
    assert with_port(given, 443) == [(V4, ("1.2.3.4", 443)), (V6, ("fe80::1", 443, 0, 7))]
    assert given[0].sockaddr == ("1.2.3.4", 0)


def test_attempts_alternate_families_from_the_first_answers() -> None:
    ordered = in_attempt_order([ipv6("::1"), ipv6("::2"), ipv6("::3"), ipv4("1.1.1.1"), ipv4("2.2.2.2")])
    assert [address.sockaddr[0] for address in ordered] == ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]
    ordered = in_attempt_order([ipv4("1.1.1.1"), ipv6("::1"), ipv4("2.2.2.2"), ipv4("3.3.3.3")])
    assert [address.sockaddr[0] for address in ordered] == ["1.1.1.1", "::1", "2.2.2.2", "3.3.3.3"]


def test_attempts_drop_repeated_addresses_but_not_other_scopes() -> None:
    near = Address(V6, ("fe80::1", 0, 0, 1))
    far = Address(V6, ("fe80::1", 0, 0, 2))
    assert in_attempt_order([near, far, near, ipv4("1.1.1.1"), ipv4("1.1.1.1")]) == (near, ipv4("1.1.1.1"), far)


def test_attempts_of_nothing_are_none() -> None:
    assert in_attempt_order([]) == ()


def test_attempts_of_a_hostile_answer_are_bounded_and_keep_both_families() -> None:
    many = [ipv6(f"::{number:x}") for number in range(500)] + [ipv4("1.1.1.1")]
    ordered = in_attempt_order(many)
    assert len(ordered) == MAX_ADDRESSES_PER_NAME and ordered[1] == ipv4("1.1.1.1")


@pytest.mark.parametrize("seed", seeds(20))
def test_attempts_in_random_answers_keep_the_order_within_each_family(seed: int) -> None:
    chance = random.Random(seed)
    given = [
        ipv4(f"1.1.1.{number}") if chance.random() < 0.5 else ipv6(f"::{number:x}")
        for number in range(chance.randrange(1, MAX_ADDRESSES_PER_NAME + 1))
    ]
    ordered = in_attempt_order(given)
    assert ordered[0] == given[0] and sorted(ordered) == sorted(given)
    for family in (V4, V6):
        assert [each for each in ordered if each.family == family] == [each for each in given if each.family == family]
    counts = [sum(each.family == family for each in given) for family in (V4, V6)]
    head = ordered[: 2 * min(counts)]
    assert all(one.family != other.family for one, other in itertools.pairwise(head))
