"""Which TLS engine a configuration gets: the system's `ssl` where that will do, pyOpenSSL where it will not.

Engines are imported when the first configuration asks for them, and kept: one of each in a process, so that equal
settings meet in one cache of contexts. A fallback is told once, in one line of the logger `turbosock.tls`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import TlsError
from turbosock.forks import renewed_in_child
from turbosock.tls.provider import TlsProvider


def load_system() -> TlsProvider:
    """Import and return the provider on `ssl`."""
    from turbosock.tls.system import SystemProvider

    return SystemProvider()


def load_pyopenssl() -> TlsProvider:
    """Import and return the provider on pyOpenSSL."""
    from turbosock.tls.openssl import PyOpenSslProvider

    return PyOpenSslProvider()


class ProviderSelector:
    """Chooses the provider for a configuration, and remembers what it found of this machine.

    Args:
        system, pyopenssl: import and make a provider; ImportError where that cannot be done.
    """

    __slots__ = ("__weakref__", "_load", "_lock", "_made", "_missing", "_told")

    def __init__(
        self, system: Callable[[], TlsProvider] = load_system, pyopenssl: Callable[[], TlsProvider] = load_pyopenssl
    ) -> None:
        self._load = {"ssl": system, "pyOpenSSL": pyopenssl}
        self._made: dict[str, TlsProvider] = {}
        self._missing: dict[str, str] = {}
        self._told: set[str] = set()
        self.renew_lock()
        _selectors.add(self)

    def renew_lock(self) -> None:
        """A lock that nobody holds: at the beginning, and in the child of a fork."""
        self._lock = threading.Lock()

    def provider_for(self, config: TlsConfig | TlsServerConfig) -> TlsProvider:
        """Return the provider for `config`.

        Raises:
            TlsError: `no_provider`: the engine asked for is missing, or cannot do what is asked.
        """
        mode = config.provider
        with self._lock:
            if mode is TlsProviderMode.PYOPENSSL_ONLY:
                return self._require("pyOpenSSL", config, "pip install pyOpenSSL")
            why = self._lack("ssl", config)
            if not why:
                return self._made["ssl"]
            if mode is TlsProviderMode.SYSTEM_ONLY:
                return self._require("ssl", config, "use SYSTEM_PREFERRED to fall back on pyOpenSSL")
            try:
                provider = self._require("pyOpenSSL", config, "pip install pyOpenSSL")
            except TlsError as error:
                raise TlsError(f"no TLS engine: {why}; {error}", reason="no_provider") from error
            self._tell(why)
            return provider

    def _lack(self, name: str, config: TlsConfig | TlsServerConfig) -> str:
        """Why the provider cannot be used for `config`; empty if it can."""
        if name not in self._made and name not in self._missing:
            try:
                self._made[name] = self._load[name]()
            except ImportError as error:
                self._missing[name] = f"{name} cannot be imported ({error})"
        missing = self._missing.get(name)
        return missing if missing is not None else self._made[name].lacks(config)

    def _require(self, name: str, config: TlsConfig | TlsServerConfig, advice: str) -> TlsProvider:
        why = self._lack(name, config)
        if why:
            raise TlsError(f"provider={config.provider.name}: {why}; {advice}", reason="no_provider")
        return self._made[name]

    def _tell(self, why: str) -> None:
        if why in self._told:
            return
        self._told.add(why)
        # Not with the module, which many programs import without a word to log.
        from turbosock.logs import area

        area("tls").warning("TLS by pyOpenSSL instead of the system's ssl: %s", why, extra={"reason": why})


_selectors: Final = renewed_in_child(ProviderSelector.renew_lock)
SELECTOR = ProviderSelector()


def provider_for(config: TlsConfig | TlsServerConfig) -> TlsProvider:
    """Return the process's provider for `config`; see `ProviderSelector.provider_for`."""
    return SELECTOR.provider_for(config)
