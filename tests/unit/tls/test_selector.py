"""Which engine is chosen, what is said about it, and what is asked for in vain."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import InvalidOption, TlsError
from turbosock.tls import provider_for, use_providers
from turbosock.tls.openssl import PyOpenSslProvider
from turbosock.tls.provider import TlsProvider
from turbosock.tls.selector import ProviderSelector
from turbosock.tls.system import SystemProvider

PREFERRED = TlsConfig(provider=TlsProviderMode.SYSTEM_PREFERRED)
SYSTEM = TlsConfig(provider=TlsProviderMode.SYSTEM_ONLY)
PYOPENSSL = TlsConfig(provider=TlsProviderMode.PYOPENSSL_ONLY)


class OldSystem(SystemProvider):
    """A system provider that lacks what is asked for."""

    __slots__ = ()

    def lacks(self, config: TlsConfig | TlsServerConfig) -> str:
        return "OpenSSL 1.0.2 has no TLSv1.3"


def missing() -> TlsProvider:
    raise ImportError("No module named '_ssl'")


def test_selector_prefers_the_system_s_and_keeps_one_of_each() -> None:
    assert isinstance(provider_for(PREFERRED), SystemProvider)
    assert provider_for(SYSTEM) is provider_for(PREFERRED)
    assert isinstance(provider_for(PYOPENSSL), PyOpenSslProvider)
    assert provider_for(PYOPENSSL) is provider_for(PYOPENSSL)


@pytest.mark.parametrize(("system", "why"), [(missing, "cannot be imported"), (OldSystem, "has no TLSv1.3")])
def test_selector_falls_back_with_one_line_of_log(
    caplog: pytest.LogCaptureFixture, system: type[OldSystem], why: str
) -> None:
    selector = ProviderSelector(system=system)
    with caplog.at_level(logging.INFO, "turbosock.tls"):
        chosen = [selector.provider_for(PREFERRED) for _ in range(3)]
    assert {type(provider) for provider in chosen} == {PyOpenSslProvider}
    assert len(caplog.records) == 1
    assert "pyOpenSSL instead of the system's ssl" in caplog.text
    assert why in caplog.text


@pytest.mark.parametrize("system", [missing, OldSystem])
def test_selector_asked_for_the_system_s_only_says_what_is_wrong(system: type[OldSystem]) -> None:
    with pytest.raises(TlsError, match=r"provider=SYSTEM_ONLY: .+; use SYSTEM_PREFERRED") as caught:
        ProviderSelector(system=system).provider_for(SYSTEM)
    assert caught.value.reason == "no_provider"


def test_selector_without_any_engine_names_both() -> None:
    selector = ProviderSelector(system=missing, pyopenssl=missing)
    with pytest.raises(TlsError, match=r"no TLS engine: ssl cannot be imported .* pyOpenSSL cannot be imported"):
        selector.provider_for(PREFERRED)
    with pytest.raises(TlsError, match="pip install pyOpenSSL"):
        selector.provider_for(PYOPENSSL)


@pytest.fixture
def _those_of_turbosock_again() -> Iterator[None]:
    yield
    use_providers()


@pytest.mark.usefixtures("_those_of_turbosock_again")
def test_providers_put_in_place_are_those_of_the_process_until_others_are() -> None:
    class Own(SystemProvider):
        __slots__ = ()

    use_providers(system=Own)
    assert type(provider_for(PREFERRED)) is Own
    assert provider_for(SYSTEM) is provider_for(PREFERRED)
    assert type(provider_for(PYOPENSSL)) is PyOpenSslProvider
    use_providers()
    assert type(provider_for(PREFERRED)) is SystemProvider


@pytest.mark.usefixtures("_those_of_turbosock_again")
def test_provider_left_out_is_refused_in_those_words() -> None:
    use_providers(system=OldSystem, pyopenssl=None)
    for config in (PREFERRED, PYOPENSSL):
        with pytest.raises(TlsError, match=r"pyOpenSSL is not used in this program; use_providers\(\) left it out$"):
            provider_for(config)
    use_providers(system=None)
    assert type(provider_for(PREFERRED)) is PyOpenSslProvider


@pytest.mark.usefixtures("_those_of_turbosock_again")
def test_providers_that_are_none_are_refused_by_name() -> None:
    wrong: Any = "ssl"
    with pytest.raises(InvalidOption, match="system='ssl'"):
        use_providers(wrong)
    with pytest.raises(InvalidOption, match="pyopenssl='ssl'"):
        use_providers(pyopenssl=wrong)
    use_providers(system=dict)  # type: ignore[arg-type]  # which is the mistake
    with pytest.raises(InvalidOption, match="a dict was made for ssl"):
        provider_for(PREFERRED)
