"""Switches: settings from the environment, for every test that does not choose its own; tox has a factor for each.

TURBOSOCK_TEST_ZERO_ALLOC=0, TURBOSOCK_TEST_TRANSPORT=saea, TURBOSOCK_TEST_POLLER=poll and
TURBOSOCK_TEST_TLS=pyopenssl_only change the defaults of Config, TlsConfig and TlsServerConfig in this process;
TURBOSOCK_POOL_DIAGNOSTICS=1 is the library's own. Processes that tests start keep the defaults.

Tests of the defaults themselves, and of figures that a setting changes on purpose, skip: see `requires_default`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

import pytest

from turbosock.config import POLLERS, Config, TlsConfig, TlsProviderMode, TlsServerConfig, TransportMode

PREFIX = "TURBOSOCK_TEST_"
DIAGNOSTICS = "TURBOSOCK_POOL_DIAGNOSTICS"


def chosen(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment chooses, by the field's name.

    Raises:
        ValueError: a switch is unknown, or has no such position; a typing error must not pass for a run that passed.
    """
    positions: dict[str, dict[str, Any]] = {
        "ZERO_ALLOC": {"0": False, "1": True},
        "TRANSPORT": {mode.value: mode for mode in TransportMode},
        "POLLER": {name: name for name in POLLERS},
        "TLS": {mode.value: mode for mode in TlsProviderMode},
    }
    found = {}
    for variable, value in environment.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or not value:
            continue
        if name not in positions:
            raise ValueError(f"{variable}: there are {', '.join(PREFIX + each for each in positions)}")
        if value not in positions[name]:
            raise ValueError(f"{variable}={value}: give one of {', '.join(positions[name])}")
        found["provider" if name == "TLS" else name.lower()] = positions[name][value]
    return found


def set_default(kind: type, name: str, value: object) -> None:
    """Give the field `name` of a dataclass another default."""
    make = vars(kind)["__init__"]
    defaults = list(make.__defaults__)
    with_default = [each.name for each in inspect.signature(make).parameters.values() if each.default is not each.empty]
    defaults[with_default.index(name)] = value
    make.__defaults__ = tuple(defaults)


def throw(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Change the defaults as the environment says; what was changed."""
    found = chosen(environment)
    for name, value in found.items():
        for kind in (TlsConfig, TlsServerConfig) if name == "provider" else (Config,):
            set_default(kind, name, value)
    return found


def requires_default(*names: str, why: str) -> pytest.MarkDecorator:
    """A mark: skip where one of these settings has another default than the library's ("diagnostics" among them).

    Only where a test cannot choose the setting itself; `why` says what depends on it.
    """
    changed = {*chosen(os.environ), *(["diagnostics"] if os.environ.get(DIAGNOSTICS, "") not in ("", "0") else [])}
    wrong = sorted(changed.intersection(names))
    return pytest.mark.skipif(bool(wrong), reason=f"{', '.join(wrong)}: switched by the environment; {why}")
