"""ProxySettings: through which proxies a Client or a Loop reaches an origin, from its Config or the environment.

The environment is read once, when the Client or Loop is made, and as curl reads it: `http_proxy` in lower case only (a
CGI program gets a request's `Proxy` field as HTTP_PROXY), `https_proxy` or HTTPS_PROXY, `all_proxy` or ALL_PROXY for
what the others leave open, and `no_proxy` or NO_PROXY; the lower case one wins, and an empty one is none. A value that
names no proxy is an error when it would be used: it may be meant for other programs and other schemes.

What a Config says replaces all of that, and `no_proxy` of the environment with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from turbosock.client.no_proxy import NoProxy
from turbosock.errors import InvalidOption
from turbosock.proxy_config import Proxy, proxy_hops

if TYPE_CHECKING:
    from turbosock.config import Config
    from turbosock.pool.origin_pool import OriginKey

Hops = tuple[Proxy, ...]


class ProxySettings:
    """What decides for one Client or Loop.

    Args:
        config: `proxy`, `no_proxy` and `trust_env` of it.
        environ: the environment; None: this process's.

    Attributes:
        unused: no proxy at all is set, so that nobody need ask.
    """

    __slots__ = ("_by_scheme", "_no_proxy", "_variables", "unused")

    def __init__(self, config: Config, environ: Mapping[str, str] | None = None) -> None:
        rules = config.proxies
        self._by_scheme: dict[str, Hops] = dict(rules or ())
        # By scheme: the name of a variable and its value, which is read when it is needed.
        self._variables: dict[str, tuple[str, str]] = {}
        without = config.no_proxy_text
        if rules is None and config.trust_env:
            environ = os.environ if environ is None else environ
            for scheme, names in _VARIABLES.items():
                found = _first(environ, names)
                if found is not None:
                    self._variables[scheme] = found
            if self._variables:
                exceptions = _first(environ, ("no_proxy", "NO_PROXY"))
                if exceptions is not None and without != "*":
                    # A "*" is everything only where it is alone.
                    without = f"{without},{exceptions[1]}" if without and exceptions[1] != "*" else exceptions[1]
        self.unused = not self._variables and not any(self._by_scheme.values())
        self._no_proxy = NoProxy("" if self.unused else without)

    def hops_to(self, key: OriginKey) -> Hops:
        """The proxies on the way to an origin, the nearest first; empty: none. Unix sockets have none.

        Raises:
            InvalidOption: a variable of the environment names no proxy.
        """
        if self.unused or key.path is not None or self._no_proxy.covers(key.host, key.port):
            return ()
        for scheme in (key.scheme, "all"):
            hops = self._by_scheme.get(scheme)
            if hops is None and scheme in self._variables:
                name, value = self._variables[scheme]
                try:
                    hops = proxy_hops(value)
                except InvalidOption as error:
                    raise InvalidOption(
                        f"{name} of the environment: {error}; correct it, or set trust_env=False"
                    ) from None
                self._by_scheme[scheme] = hops
            if hops is not None:
                return hops
        return ()


_VARIABLES = {
    "http": ("http_proxy",),
    "https": ("https_proxy", "HTTPS_PROXY"),
    "all": ("all_proxy", "ALL_PROXY"),
}


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str] | None:
    """The first of the variables that is not empty, with its name."""
    for name in names:
        value = environ.get(name, "").strip()
        if value:
            return name, value
    return None
