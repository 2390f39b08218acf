"""TurbosockAdapter: requests over turbosock.

    session = requests.Session()
    session.mount("https://", TurbosockAdapter())
    session.mount("http://", TurbosockAdapter())

Only what carries the requests is another one. Sessions, cookies, redirects, authentication, hooks and exceptions are
requests' own, and so is `HTTPAdapter.send`, so that what wraps or replaces that (responses, say) still does.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import requests.adapters
from requests.exceptions import InvalidProxyURL, InvalidURL
from requests.utils import DEFAULT_CA_BUNDLE_PATH, prepend_scheme_if_needed, select_proxy, urldefragauth

from turbosock import limits
from turbosock.client.url import Url
from turbosock.config import Config, PoolConfig, TlsConfig
from turbosock.errors import InvalidOption, InvalidUrl
from turbosock.integrations.clients import ClientSet
from turbosock.integrations.urllib3_pool import TurbosockPool
from turbosock.proxy_config import Proxy

if TYPE_CHECKING:
    from requests import PreparedRequest
    from urllib3.util.retry import Retry

    from turbosock.transport.connector import Connector, Wrapper


class TurbosockAdapter(requests.adapters.HTTPAdapter):
    """An adapter of requests; safe to share between sessions and threads, and picklable as its arguments are.

    Args:
        pool_connections, pool_maxsize: their product is how many idle connections are kept.
        max_retries: a number or urllib3's Retry, as of HTTPAdapter.
        pool_block: have no more than `pool_maxsize` connections to one origin, and wait for one.
        config: everything that turbosock can be told. Its `tls` is what `verify=True` means, its `pool` replaces the
            pool's arguments. None: HTTP/1.1, and the authorities that requests trusts. Proxies are always as requests
            says, and timeouts as the request does.
        connector: as of a turbosock.Client.

    Raises:
        InvalidOption: an argument cannot work; it is named.
    """

    __attrs__ = [  # noqa: RUF012 - as HTTPAdapter has it
        *requests.adapters.HTTPAdapter.__attrs__,
        "turbosock_config",
        "turbosock_connector",
    ]

    poolmanager: ClientSet  # type: ignore[assignment]  # what requests asks of it, `clear`, is there

    def __init__(
        self,
        pool_connections: int = requests.adapters.DEFAULT_POOLSIZE,
        pool_maxsize: int = requests.adapters.DEFAULT_POOLSIZE,
        max_retries: int | Retry = requests.adapters.DEFAULT_RETRIES,
        pool_block: bool = requests.adapters.DEFAULT_POOLBLOCK,
        *,
        config: Config | None = None,
        connector: Connector | Wrapper | None = None,
    ) -> None:
        self.turbosock_config = config
        self.turbosock_connector = connector
        super().__init__(pool_connections, pool_maxsize, max_retries, pool_block)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        """Make what has the clients; for HTTPAdapter.

        Raises:
            InvalidOption: a number is none; or a keyword is given, which would be urllib3's; Config has turbosock's.
        """
        for name, value in (("pool_connections", connections), ("pool_maxsize", maxsize)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InvalidOption(f"{name}={value!r}: give how many connections, 0 or more")
        if pool_kwargs:
            raise InvalidOption(f"{min(pool_kwargs)}: no pool of urllib3 is used; Config has turbosock's settings")
        self._pool_connections = connections
        self._pool_maxsize = maxsize
        self._pool_block = block
        config = self.turbosock_config
        if config is None:
            config = Config(
                http_versions=("HTTP/1.1",),
                tls=TlsConfig(ca_file=DEFAULT_CA_BUNDLE_PATH),
                pool=PoolConfig(
                    max_connections=limits.MAX_POOLED_CONNECTIONS,
                    max_connections_per_origin=max(1, maxsize) if block else limits.MAX_POOLED_CONNECTIONS,
                    max_idle=min(connections * maxsize, limits.MAX_POOLED_CONNECTIONS),
                ),
                trust_env=False,
            )
        self.poolmanager = ClientSet(config, self.turbosock_connector)

    def get_connection_with_tls_context(  # type: ignore[override]  # what requests asks of it, `urlopen`, is there
        self, request: PreparedRequest, verify: Any, proxies: dict[str, str] | None = None, cert: Any = None
    ) -> TurbosockPool:
        """The way to the URL of a request; for HTTPAdapter.

        Raises:
            InvalidURL, InvalidProxyURL: there is none.
        """
        url = request.url
        assert url is not None, "send() takes requests that are prepared"
        scheme, _, rest = url.partition("//")
        authority = rest.partition("/")[0]
        try:
            _check_origin(f"{scheme}//{authority}")
        except InvalidUrl as error:
            raise InvalidURL(error, request=request) from error
        if "@" in authority:
            # requests has made a field of it, where it was to be one.
            url = urldefragauth(url)
        proxy = select_proxy(url, proxies)
        client = self.poolmanager.client(True if verify is None else verify, cert)
        return TurbosockPool(self.poolmanager, client, url, _proxy(proxy) if proxy else None)

    def get_connection(self, url: str, proxies: dict[str, str] | None = None) -> TurbosockPool:  # type: ignore[override]  # as above
        """As `get_connection_with_tls_context`, for adapters made for old versions of requests."""
        return self.get_connection_with_tls_context(requests.Request("GET", url).prepare(), True, proxies)


@lru_cache(maxsize=256)
def _check_origin(origin: str) -> None:
    Url(origin)


@lru_cache(maxsize=64)
def _proxy(url: str) -> Proxy:
    try:
        return Proxy.parse(prepend_scheme_if_needed(url, "http"))
    except InvalidOption as error:
        raise InvalidProxyURL(f"Please check proxy URL: {error}") from error
