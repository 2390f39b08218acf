"""TurbosockTransport: httpx over turbosock.

    with httpx.Client(transport=TurbosockTransport()) as client:
        client.get("https://example.com/")

What is httpx's own stays: cookies, redirects, authentication, codings, exceptions. See `httpx_core.py` for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from turbosock.config import Config, TlsConfig, TlsRoots
from turbosock.integrations.httpx_core import HttpxCore, ResponseBody, default_config

if TYPE_CHECKING:
    from turbosock.transport.connector import Connector, Wrapper


class TurbosockTransport(httpx.BaseTransport):
    """A transport of httpx; safe to share between clients and threads.

    Args:
        config: everything that turbosock can be told: TLS, proxies, pools; timeouts are those of the request. None:
            HTTP/1.1, Mozilla's authorities, which httpx trusts, and the environment's proxies.
        connector: as of a turbosock.Client.

    Raises:
        InvalidOption: an argument is something else.
    """

    def __init__(self, config: Config | None = None, *, connector: Connector | Wrapper | None = None) -> None:
        if config is None:
            config = default_config(TlsConfig(roots=TlsRoots.CERTIFI))
        self._core = HttpxCore(httpx, config, connector)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return once the head of its answer is there.

        Raises:
            httpx.TransportError: the exchange failed.
            InvalidOption: an extension has a wrong type; it is named.
        """
        response = self._core.send(request)
        head = response.head
        assert head is not None, "send() ends with a head"
        return httpx.Response(
            head.status_code,
            headers=list(head.headers.raw),
            stream=_Body(self._core, response),
            extensions=self._core.extensions(response),
        )

    def close(self) -> None:
        """Close the connections; those in use when they are not any more."""
        self._core.close()


class _Body(ResponseBody, httpx.SyncByteStream):
    """The body of an answer."""
