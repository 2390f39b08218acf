"""RequestOptions: the keyword arguments of a request by name and type; `Client.request` and `Loop.request` say what
they mean."""

from __future__ import annotations

from typing import TypedDict

from turbosock.client.cancel_token import CancelToken
from turbosock.client.request import Auth, Headers
from turbosock.client.timeout_argument import TimeoutArgument
from turbosock.client.url import Params
from turbosock.connection.source import Progress
from turbosock.proxy_config import ProxyHops


class RequestOptions(TypedDict, total=False):
    """What every request may be told."""

    params: Params | None
    headers: Headers | None
    content: object
    data: object
    json: object
    files: object
    progress: Progress | None
    auth: Auth | None
    proxy: ProxyHops | bool | None
    timeout: TimeoutArgument


class ClientOptions(RequestOptions, total=False):
    """What a request of a Client may be told; see `Client.request`."""

    cancel: CancelToken | None


class LoopOptions(RequestOptions, total=False):
    """What a request of a Loop may be told; see `Loop.request`."""

    into: bytearray | memoryview | None
    stream: bool
    notify: bool
    user: object
