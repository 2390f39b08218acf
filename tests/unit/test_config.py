"""Settings: each wrong value refused by its name where it is given, the rest frozen, hashable and picklable."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import socket
from typing import Any

import pytest

from turbosock import limits
from turbosock.config import Config, PoolConfig, Timeouts, TransportMode, check_count, check_seconds
from turbosock.errors import InvalidOption

BAD_SECONDS: list[Any] = [0, -1, 0.0, float("nan"), float("inf"), True, "1", b"1", limits.MAX_TIMEOUT_S + 1, [1]]


@pytest.mark.parametrize("name", ["connect_s", "handshake_s", "read_s", "write_s", "pool_s", "total_s"])
@pytest.mark.parametrize("value", BAD_SECONDS)
def test_timeouts_with_no_time_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        Timeouts(**{name: value})


@pytest.mark.parametrize("name", ["connect_s", "handshake_s", "read_s", "write_s", "pool_s"])
def test_timeouts_without_a_part_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        Timeouts(**{name: None})  # type: ignore[arg-type]  # what is refused


def test_timeouts_parts_do_not_outlast_the_total() -> None:
    timeouts = Timeouts(read_s=5, total_s=2)
    assert timeouts.total_ns == 2_000_000_000
    assert timeouts.read_ns == timeouts.connect_ns == timeouts.write_ns == timeouts.pool_ns == 2_000_000_000


def test_timeouts_without_a_total_are_bounded_by_their_parts() -> None:
    timeouts = Timeouts(read_s=5, total_s=None)
    assert timeouts.read_ns == 5_000_000_000
    assert timeouts.total_ns == int(limits.MAX_TIMEOUT_S * 1_000_000_000)


def test_timeouts_too_short_to_count_are_still_more_than_nothing() -> None:
    assert Timeouts(read_s=1e-12).read_ns == 1


def test_timeouts_of_a_number_is_one_limit_for_everything() -> None:
    assert Timeouts.of(2) == Timeouts(connect_s=2, handshake_s=2, read_s=2, write_s=2, pool_s=2, total_s=2)
    given = Timeouts(read_s=1)
    assert Timeouts.of(given) is given


def test_timeouts_of_none_is_refused_because_nothing_waits_for_ever() -> None:
    with pytest.raises(InvalidOption, match=r"timeout=None.*for ever"):
        Timeouts.of(None)  # type: ignore[arg-type]  # what is refused


@pytest.mark.parametrize("value", BAD_SECONDS)
def test_timeouts_of_no_time_are_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^timeout="):
        Timeouts.of(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_connections", 0),
        ("max_connections", 65_537),
        ("max_connections", 1.0),
        ("max_connections", True),
        ("max_connections", "8"),
        ("max_connections_per_origin", 0),
        ("max_connections_per_origin", None),
        ("max_idle", -1),
        ("max_idle", 65_537),
        ("max_idle_s", 0),
        ("max_idle_s", None),
        ("max_idle_s", -1),
        ("max_lifetime_s", 0),
        ("max_lifetime_s", -1.0),
        ("max_lifetime_s", "60"),
        ("max_requests", 0),
        ("max_requests", -1),
        ("max_requests", 1.5),
        ("max_requests", True),
    ],
)
def test_pool_config_with_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=f"^{name}="):
        PoolConfig(**{name: value})


def test_pool_config_that_contradicts_itself_is_refused_naming_both() -> None:
    with pytest.raises(InvalidOption, match=r"max_connections_per_origin=9 is above max_connections=8"):
        PoolConfig(max_connections=8, max_connections_per_origin=9)


@pytest.mark.parametrize(("total", "per_origin"), [(1, 1), (10, 10), (128, 128), (129, 128), (4096, 128)])
def test_connections_per_origin_follow_the_total_unless_given(total: int, per_origin: int) -> None:
    pool = PoolConfig(max_connections=total)
    assert pool.max_connections_per_origin == per_origin
    assert pool == PoolConfig(max_connections=total, max_connections_per_origin=per_origin)
    copied = pickle.loads(pickle.dumps(pool))
    assert copied == pool and hash(copied) == hash(pool) and repr(copied) == repr(pool)
    assert dataclasses.replace(copied, max_connections=7).max_connections_per_origin == 7
    assert dataclasses.replace(copied, max_connections=1000).max_connections_per_origin == 128


def test_connections_per_origin_that_were_given_do_not_give_way() -> None:
    given = PoolConfig(max_connections_per_origin=128)
    with pytest.raises(InvalidOption, match=r"max_connections_per_origin=128 is above max_connections=10"):
        dataclasses.replace(given, max_connections=10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("transport", "stream"),
        ("transport", None),
        ("zero_alloc", 1),
        ("zero_alloc", None),
        ("diagnostics", "yes"),
        ("poller", "kqueue"),
        ("poller", 1),
        ("timeouts", 5),
        ("timeouts", None),
        ("pool", {}),
        ("max_head_bytes", 255),
        ("max_head_bytes", limits.MAX_HEAD_BYTES + 1),
        ("max_head_fields", 0),
        ("max_head_fields", limits.MAX_HEAD_FIELDS + 1),
        ("max_body_bytes", -1),
        ("max_body_bytes", 2**48 + 1),
        ("headers", 5),
        ("headers", "abc"),
        ("headers", [("a",)]),
        ("headers", {"a": 1}),
        ("headers", {1: "a"}),
        ("headers", [("a", b"b")]),
        ("resolver", "127.0.0.1"),
        ("resolver", {"host": "127.0.0.1"}),
        ("local_address", "eth0"),
        ("local_address", 5),
        ("host_map", {"a": "b:port"}),
        ("host_map", None),
    ],
)
def test_config_with_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidOption, match=rf"^{name}\b"):
        Config(**{name: value})


@pytest.mark.parametrize(
    "headers",
    [{"A": "b", "C": "d"}, [("A", "b"), ("C", "d")], (["A", "b"], ["C", "d"]), iter([("A", "b"), ("C", "d")])],
)
def test_config_headers_of_any_kind_become_pairs(headers: Any) -> None:
    assert Config(headers=headers).header_pairs == (("A", "b"), ("C", "d"))


CONFIGS = [
    Config(),
    Config(
        transport=TransportMode.SAEA,
        zero_alloc=False,
        diagnostics=True,
        poller="select",
        timeouts=Timeouts(read_s=1, total_s=None),
        pool=PoolConfig(max_idle=3, max_lifetime_s=60, max_requests=1000),
        headers={"A": "b"},
        max_body_bytes=5,
        resolver=socket.getaddrinfo,
        local_address=["127.0.0.1", ("::1", 5)],
        host_map={"example.com": "127.0.0.1"},
    ),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_config_pickled_copied_and_hashed_stays_equal(config: Config) -> None:
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert hash(again) == hash(config)
    assert again.timeouts.read_ns == config.timeouts.read_ns
    assert again.timeouts.total_ns == config.timeouts.total_ns
    assert copy.deepcopy(config) == config
    assert {config: 1}[again] == 1


def test_config_keeps_the_way_of_connections_in_one_form() -> None:
    config = Config(local_address="127.0.0.1", host_map={"b": "c", "a": "d"})
    assert (config.local_address, config.host_map) == ((("127.0.0.1", 0),), (("b", "c"), ("a", "d")))
    assert (Config(local_address=[]).local_address, Config(host_map={}).host_map) == (None, ())
    assert dataclasses.replace(config, max_body_bytes=7).host_map == config.host_map


def test_config_does_not_show_its_resolver() -> None:
    class Talking:
        def __repr__(self) -> str:
            return "hunter2"

        def resolve(self, host: str, port: int) -> list[str]:
            return []

    assert "hunter2" not in repr(Config(resolver=Talking()))


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().zero_alloc = False  # type: ignore[misc]  # what is refused
    with pytest.raises(dataclasses.FrozenInstanceError):
        Timeouts().read_s = 1  # type: ignore[misc]  # what is refused


def test_config_replaced_is_validated_again() -> None:
    config = dataclasses.replace(Config(headers={"A": "b"}), max_body_bytes=7)
    assert (config.max_body_bytes, config.header_pairs) == (7, (("A", "b"),))
    with pytest.raises(InvalidOption, match=r"^max_body_bytes="):
        dataclasses.replace(config, max_body_bytes=-7)


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_config_diagnostics_follow_the_environment(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("TURBOSOCK_POOL_DIAGNOSTICS", value)
    assert Config().diagnostics is expected
    assert Config(diagnostics=not expected).diagnostics is not expected


def test_checks_accept_their_bounds() -> None:
    check_seconds("x", limits.MAX_TIMEOUT_S)
    check_seconds("x", None, optional=True)
    check_count("x", 1, 1, 2)
    check_count("x", 2, 1, 2)
    with pytest.raises(InvalidOption, match=r"^x=3: give 1 to 2"):
        check_count("x", 3, 1, 2)
