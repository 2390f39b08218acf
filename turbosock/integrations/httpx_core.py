"""HttpxCore: what the transports for httpx and httpx2 have in common, which is all but two base classes.

A request goes as it was given: its fields, its target, its body; cookies, redirects, credentials and content codings
are the library's. Extensions say more, by httpx's own names:

- of a request: `timeout`, `sni_hostname`, `trace`, `target`;
- of a response: `http_version`, `reason_phrase` (HTTP/1), `stream_id` (HTTP/2), `network_stream`.

What fails is raised as the library's own exceptions; an extension of a wrong type is InvalidOption, which names it.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from turbosock import errors, limits
from turbosock.client.url import KEPT
from turbosock.config import Config, PoolConfig, Timeouts, TlsConfig, check_config
from turbosock.integrations.clients import ClientSet
from turbosock.integrations.httpx_response import ForwardedResponse, NetworkStream
from turbosock.integrations.httpx_trace import TracedResponse

if TYPE_CHECKING:
    from turbosock.client.client import Client
    from turbosock.transport.connector import Connector, Wrapper

_VERSIONS: Final = {10: b"HTTP/1.0", 11: b"HTTP/1.1", 20: b"HTTP/2"}
_TIMEOUTS: Final = ("connect", "read", "write", "pool")
_CONNECTING: Final = (errors.Phase.RESOLVE, errors.Phase.CONNECT, errors.Phase.PROXY, errors.Phase.TLS)
# What a URL leaves as it is; other targets are given beside it, so that they are not encoded again.
_PLAIN: Final = (KEPT + string.ascii_letters + string.digits).encode()
_MAX_PORT: Final = 65_535


class Url(Protocol):
    """What is asked of a library's URL."""

    @property
    def scheme(self) -> str: ...
    @property
    def port(self) -> int | None: ...
    @property
    def netloc(self) -> bytes: ...
    @property
    def raw_path(self) -> bytes: ...


class Request(Protocol):
    """What is asked of a library's request."""

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> Url: ...
    @property
    def stream(self) -> Any: ...
    @property
    def headers(self) -> Any: ...
    @property
    def extensions(self) -> Mapping[str, Any]: ...


def default_config(tls: TlsConfig) -> Config:
    """What a transport is told that is told nothing: HTTP/1.1, as many connections as there may be, and this of TLS."""
    return Config(
        http_versions=("HTTP/1.1",),
        tls=tls,
        pool=PoolConfig(max_connections_per_origin=limits.MAX_CONNECTIONS),
    )


class HttpxCore:
    """See the module.

    Args:
        library: httpx, or what has its names.
        config: everything that turbosock can be told; bodies are handed on as they come, whatever it says.
        connector: as of a turbosock.Client.

    Raises:
        InvalidOption: an argument is something else.
    """

    __slots__ = ("_clients", "_library")

    def __init__(self, library: ModuleType, config: Config, connector: Connector | Wrapper | None) -> None:
        check_config(config)
        self._library = library
        self._clients = ClientSet(replace(config, decode=False), connector)

    def send(self, request: Request) -> ForwardedResponse:
        """Send a request, and return once the head of its answer is there.

        Raises:
            The library's exceptions.
            InvalidOption: an extension has a wrong type.
        """
        extensions = request.extensions
        timeouts = _timeouts(extensions.get("timeout"))
        url = request.url
        if url.scheme not in ("http", "https"):
            raise self._library.UnsupportedProtocol(
                "the URL has no scheme that is known; begin with http:// or https://"
            )
        port = url.port
        if port is not None and port > _MAX_PORT:
            raise self._library.ConnectError(f"port {port}: ports end at {_MAX_PORT}")
        path = url.raw_path
        target = None
        if "target" in extensions or path.translate(None, _PLAIN):
            target = _target(extensions.get("target", path))
            path = b"/"
        headers, body = _headers_and_body(request, self._library.ByteStream)
        client = self._clients.client(server_name=_server_name(extensions.get("sni_hostname")))
        response = _response(client, extensions.get("trace"), request)
        try:
            client.forward(
                request.method,
                f"{url.scheme}://{url.netloc.decode('ascii')}{path.decode('ascii')}",
                headers,
                body,
                timeouts,
                target=target,
                response=response,
            )
        except errors.TurbosockError as error:
            raise self.error(error) from error
        return response

    @staticmethod
    def extensions(response: ForwardedResponse) -> dict[str, object]:
        """Those of the answer."""
        head = response.head
        assert head is not None, "forward() ends with a head"
        found: dict[str, object] = {"http_version": _VERSIONS[head.version], "network_stream": NetworkStream(response)}
        if head.version < 20:
            found["reason_phrase"] = head.reason.encode("latin-1")
        else:
            found["stream_id"] = response.stream_id
        return found

    def error(self, error: errors.TurbosockError) -> Exception:
        """The library's exception that says the same; misuse, which is the caller's, is handed back as it is."""
        kind = getattr(self._library, _name_of(error), None)
        return error if kind is None else kind(str(error))

    def leave(self) -> None:
        """A response has ended."""
        self._clients.leave()

    def close(self) -> None:
        """Close the connections; those in use when they are not any more."""
        self._clients.clear()


class ResponseBody:
    """The body of an answer as a library's SyncByteStream, whose subclass mixes it in: pieces as they come."""

    def __init__(self, core: HttpxCore, response: ForwardedResponse) -> None:
        self._core = core
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
        except errors.TurbosockError as error:
            raise self._core.error(error) from error

    def close(self) -> None:
        """Let the connection go: kept for other requests at the end of the body, closed before it."""
        self._response.close()
        self._core.leave()


def _response(client: Client, trace: object, request: Request) -> ForwardedResponse:
    if trace is None:
        return ForwardedResponse(client)
    if not callable(trace):
        raise errors.InvalidOption(f"extensions['trace']: a {type(trace).__name__} was given; give a function of two")
    return TracedResponse(client, trace, request)


def _headers_and_body(request: Request, plain: type[Any]) -> tuple[Any, object]:
    """The fields that are sent from here, and the body: bytes where they are all there, an iterator, or None."""
    headers: list[tuple[bytes, bytes]] = request.headers.raw
    announced = False
    for name, value in headers:
        key = name.lower()
        if key == b"transfer-encoding" and value.lower() == b"chunked":
            # Chunks are framed by turbosock.
            headers = [field for field in headers if field[0].lower() != key]
            announced = True
            break
        if key == b"content-length":
            announced = value != b"0"
            break
    if not announced:
        return headers, None
    stream: Any = request.stream
    # An iterator is sent once: nobody knows whether the stream can be begun again.
    return headers, b"".join(stream) if isinstance(stream, plain) else iter(stream)


def _target(target: object) -> str:
    if not isinstance(target, bytes) or not target.isascii():
        raise errors.InvalidOption(f"extensions['target']: {target!r} was given; give bytes of ASCII")
    return target.decode("ascii")


def _server_name(name: object) -> str | None:
    if name is not None and not isinstance(name, str):
        raise errors.InvalidOption(f"extensions['sni_hostname']: a {type(name).__name__} was given; give a str")
    return name


def _timeouts(timeout: object) -> Timeouts:
    """What httpx's four numbers mean here; None is a year, the longest that turbosock waits."""
    if timeout is None:
        return _made(None, None, None, None)
    if not isinstance(timeout, Mapping):
        raise errors.InvalidOption(
            f"extensions['timeout']: a {type(timeout).__name__} was given; give a dict with {', '.join(_TIMEOUTS)}"
        )
    try:
        return _made(*[timeout.get(name) for name in _TIMEOUTS])
    except TypeError as error:
        raise errors.InvalidOption("extensions['timeout']: its values are seconds, or None") from error


@lru_cache(maxsize=64)
def _made(connect_s: float | None, read_s: float | None, write_s: float | None, pool_s: float | None) -> Timeouts:
    connect_s, read_s, write_s, pool_s = (_seconds(value) for value in (connect_s, read_s, write_s, pool_s))
    return Timeouts(
        connect_s=connect_s, handshake_s=connect_s, read_s=read_s, write_s=write_s, pool_s=pool_s, total_s=None
    )


def _seconds(value: float | None) -> float:
    if value is None:
        return limits.MAX_TIMEOUT_S
    # httpx takes none at all for "at once".
    return min(value, limits.MAX_TIMEOUT_S) if value else limits.MIN_WAIT_S


def _name_of(error: errors.TurbosockError) -> str:
    """The name of the exception that says the same; empty: there is none."""
    if isinstance(error, errors.DeadlineError):
        return _name_of_timeout(error)
    for kind, name in _NAMES:
        if isinstance(error, kind):
            return name
    return ""


def _name_of_timeout(error: errors.DeadlineError) -> str:
    if isinstance(error, errors.PoolTimeout) or error.phase is errors.Phase.QUEUE:
        return "PoolTimeout"
    if isinstance(error, errors.ConnectTimeout) or error.phase in _CONNECTING:
        return "ConnectTimeout"
    if isinstance(error, errors.WriteTimeout) or error.phase is errors.Phase.SEND:
        return "WriteTimeout"
    return "ReadTimeout"


# The first that fits.
_NAMES: Final[tuple[tuple[type[errors.TurbosockError], str], ...]] = (
    (errors.ProxyError, "ProxyError"),
    (errors.ConnectError, "ConnectError"),
    (errors.ResolveError, "ConnectError"),
    (errors.TlsVerificationError, "ConnectError"),
    (errors.TlsHandshakeError, "ConnectError"),
    (errors.TlsError, "ReadError"),
    (errors.ConnectionClosed, "RemoteProtocolError"),
    (errors.WriteError, "WriteError"),
    (errors.NetworkError, "ReadError"),
    (errors.ProtocolError, "RemoteProtocolError"),
    (errors.LimitError, "RemoteProtocolError"),
    (errors.InvalidUrl, "LocalProtocolError"),
    (errors.InvalidHeader, "LocalProtocolError"),
    (errors.Cancelled, "ReadError"),
)
