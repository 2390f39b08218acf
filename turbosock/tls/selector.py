"""Which TLS engine a configuration gets: the system's `ssl` where that will do, pyOpenSSL where it will not.

Engines are imported when the first configuration asks for them, and kept: one of each in a process, so that equal
settings meet in one cache of contexts. A fallback is told once, in one line of the logger `turbosock.tls`. A program
that has a provider of its own puts it in place by `use_providers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from turbosock.config import TlsConfig, TlsProviderMode, TlsServerConfig
from turbosock.errors import InvalidOption, TlsError
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
        system, pyopenssl: import and make a provider; ImportError where that cannot be done. None: there is none.

    Raises:
        InvalidOption: an argument is neither; it is named.
    """

    __slots__ = ("__weakref__", "_load", "_lock", "_made", "_missing", "_told")

    def __init__(
        self,
        system: Callable[[], TlsProvider] | None = load_system,
        pyopenssl: Callable[[], TlsProvider] | None = load_pyopenssl,
    ) -> None:
        for name, load in (("system", system), ("pyopenssl", pyopenssl)):
            if load is not None and not callable(load):
                raise InvalidOption(f"{name}={load!r}: give a function that makes a TlsProvider, or None")
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
            InvalidOption: what was to make the engine made something else.
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
            self._make(name)
        missing = self._missing.get(name)
        return missing if missing is not None else self._made[name].lacks(config)

    def _make(self, name: str) -> None:
        load = self._load[name]
        if load is None:
            self._missing[name] = f"{name} is not used in this program"
            return
        try:
            made = load()
        except ImportError as error:
            self._missing[name] = f"{name} cannot be imported ({error})"
            return
        if not isinstance(made, TlsProvider):
            raise InvalidOption(f"use_providers(): a {type(made).__name__} was made for {name}; make a TlsProvider")
        self._made[name] = made

    def _require(self, name: str, config: TlsConfig | TlsServerConfig, advice: str) -> TlsProvider:
        why = self._lack(name, config)
        if why:
            if self._load[name] is None:
                advice = "use_providers() left it out"
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
_selector = ProviderSelector()


def provider_for(config: TlsConfig | TlsServerConfig) -> TlsProvider:
    """Return the process's provider for `config`; see `ProviderSelector.provider_for`."""
    return _selector.provider_for(config)


def use_providers(
    system: Callable[[], TlsProvider] | None = load_system, pyopenssl: Callable[[], TlsProvider] | None = load_pyopenssl
) -> None:
    """Have these providers used in this process from now on; without arguments the two that come with turbosock.

    Call it before the first https request, and before listeners with `tls`: a Client, Loop or listener that has its
    provider keeps that.

    Args:
        system: makes what stands where the provider on `ssl` does, a subclass of TlsProvider or a function; called
            once, when a configuration first asks for it. ImportError says that it is not to be had here. None: there
            is none.
        pyopenssl: the same for the provider on pyOpenSSL.

    Raises:
        InvalidOption: an argument is neither; it is named.
    """
    global _selector
    _selector = ProviderSelector(system, pyopenssl)
