"""Which engine is chosen, what is said about it, and what is asked for in vain."""

from __future__ import annotations

import logging

import pytest

from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import TlsError
from turbosock.tls.openssl import PyOpenSslProvider
from turbosock.tls.provider import TlsProvider
from turbosock.tls.selector import ProviderSelector, provider_for
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
