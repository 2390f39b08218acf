"""The switches of the test suite: they change defaults, and nothing that is chosen; a mistyped one is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.switches import chosen, set_default
from turbosock.config import Config, TlsConfig, TlsProviderMode, TlsServerConfig, TransportMode


@pytest.fixture
def restored() -> Iterator[None]:
    kinds = (Config, TlsConfig, TlsServerConfig)
    before = [vars(kind)["__init__"].__defaults__ for kind in kinds]
    yield
    for kind, defaults in zip(kinds, before, strict=True):
        vars(kind)["__init__"].__defaults__ = defaults


def test_switches_of_an_environment_are_read_by_their_positions() -> None:
    environment = {
        "TURBOSOCK_TEST_ZERO_ALLOC": "0",
        "TURBOSOCK_TEST_TRANSPORT": "saea",
        "TURBOSOCK_TEST_POLLER": "select",
        "TURBOSOCK_TEST_TLS": "pyopenssl_only",
        "TURBOSOCK_REQUIRE_PEERS": "1",
        "HOME": "/",
    }
    assert chosen(environment) == {
        "zero_alloc": False,
        "transport": TransportMode.SAEA,
        "poller": "select",
        "provider": TlsProviderMode.PYOPENSSL_ONLY,
    }
    assert chosen({"TURBOSOCK_TEST_POLLER": ""}) == {}


@pytest.mark.parametrize("variable", ["TURBOSOCK_TEST_POLER", "TURBOSOCK_TEST_POLLER"])
def test_switch_that_is_mistyped_is_refused(variable: str) -> None:
    with pytest.raises(ValueError, match=variable):
        chosen({variable: "epol"})


def test_switched_default_holds_where_nothing_is_chosen(restored: None) -> None:
    set_default(Config, "zero_alloc", False)
    set_default(Config, "transport", TransportMode.SAEA)
    set_default(TlsConfig, "provider", TlsProviderMode.PYOPENSSL_ONLY)
    assert Config().zero_alloc is False
    assert Config().transport is TransportMode.SAEA
    assert Config().tls.provider is TlsProviderMode.PYOPENSSL_ONLY
    assert Config(zero_alloc=True, transport=TransportMode.STREAM).zero_alloc is True
    # Its neighbours keep theirs.
    assert Config().trust_env is True
