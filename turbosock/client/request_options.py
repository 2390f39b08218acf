"""RequestOptions: the keyword arguments of a request by name and type; `Client.request` and `Loop.request` say what
they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypedDict

from turbosock.client.auth.argument import AuthArgument
from turbosock.client.cancel_token import CancelToken
from turbosock.client.request import Headers
from turbosock.client.timeout_argument import TimeoutArgument
from turbosock.client.url import Params
from turbosock.connection.source import Progress
from turbosock.errors import InvalidOption
from turbosock.host_map import HostMapArgument
from turbosock.local_address import LocalAddressArgument
from turbosock.protocol.http1.headers import HeaderList
from turbosock.proxy_config import ProxyHops

# Status code and fields of an answer that is not the final one.
Informational = Callable[[int, HeaderList], object]


# What other clients call an option, and where it is here.
_ELSEWHERE: Final = {
    "allow_redirects": "it is called follow_redirects",
    "cert": "give Config(tls=TlsConfig(cert_file=…, key_file=…)) to the client",
    "proxies": "it is called proxy; by scheme: Config(proxy={…})",
    "stream": "call stream() instead",
    "verify": "give Config(tls=TlsConfig(verify=False)), or ca_file=…, to the client",
}


class DownloadOptions(TypedDict, total=False):
    """What a request without a body may be told about itself."""

    params: Params | None
    headers: Headers | None
    on_informational: Informational | None
    auth: AuthArgument | None
    cookies: Mapping[str, str] | None
    follow_redirects: bool | None
    proxy: ProxyHops | bool | None
    host_map: HostMapArgument | None
    local_address: LocalAddressArgument | None


class RequestOptions(DownloadOptions, total=False):
    """What every request may be told about itself; `Session.request` takes them."""

    content: object
    data: object
    json: object
    files: object
    progress: Progress | None


def check_options(options: RequestOptions) -> None:
    """Refuse what is no option of a request.

    Raises:
        InvalidOption: it names the option, and those that there are.
    """
    unknown = options.keys() - RequestOptions.__annotations__.keys()
    if unknown:
        name = min(unknown)
        if name in _ELSEWHERE:
            raise InvalidOption(f"{name}: a request has no such option; {_ELSEWHERE[name]}")
        known = ", ".join(sorted({*RequestOptions.__annotations__, "timeout"}))
        raise InvalidOption(f"{name}: a request has no such option; it has {known}")


class ClientOptions(RequestOptions, total=False):
    """What a request of a Client may be told; see `Client.request`."""

    timeout: TimeoutArgument
    cancel: CancelToken | None


class LoopOptions(RequestOptions, total=False):
    """What a request of a Loop may be told; see `Loop.request`."""

    timeout: TimeoutArgument
    into: bytearray | memoryview | None
    stream: bool
    notify: bool
    user: object
