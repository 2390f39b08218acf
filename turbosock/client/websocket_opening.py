"""Opening a WebSocket: a GET that asks to change the protocol, with all that requests of a Client have (RFC 6455 §4.1).

The request goes the way of any other: names, proxies (by CONNECT), TLS, credentials, cookies, redirects where that is
asked for, retries, middleware, one deadline. What is its own: where it does not go on a stream of HTTP/2 (RFC 8441),
its connection offers HTTP/1.1 alone; when the answer agrees, that leaves the pool, and the exchange is over.
"""

from __future__ import annotations

import socket as socket_module
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

from turbosock import limits
from turbosock.client.cancel_token import CancelToken
from turbosock.client.exchange import status_error
from turbosock.client.websocket import WebSocket
from turbosock.config import check_seconds
from turbosock.connection.http2_stream import Http2Stream
from turbosock.connection.websocket import WebSocketEndpoint
from turbosock.connection.websocket_opening import OpeningConnection
from turbosock.errors import ClientClosed, InvalidOption, InvalidUrl, TurbosockError
from turbosock.protocol.http1.headers import HeaderList
from turbosock.protocol.websocket.client_handshake import ClientHandshake
from turbosock.protocol.websocket.deflate import DeflateArgument
from turbosock.protocol.websocket.handshake import checked_extra_fields
from turbosock.reactor.sockets import tune

if TYPE_CHECKING:
    from turbosock.client.auth.argument import AuthArgument
    from turbosock.client.client_base import ClientBase
    from turbosock.client.exchange import ClientExchange
    from turbosock.client.flow import Flow
    from turbosock.client.request import Headers, PreparedRequest
    from turbosock.client.response import Response
    from turbosock.client.session import Session
    from turbosock.client.shared_http2_opening import SharedHttp2OpeningStream
    from turbosock.client.url import Params
    from turbosock.config import Timeouts
    from turbosock.host_map import HostMapArgument
    from turbosock.local_address import LocalAddressArgument
    from turbosock.protocol.websocket.mask_keys import MaskKeys
    from turbosock.proxy_config import ProxyHops
    from turbosock.transport.transport import Transport


# What is asked for, by what is written.
_SCHEMES: Final = {"ws": "http", "wss": "https", "ws+unix": "http+unix"}


class OpeningOptions(TypedDict, total=False):
    """What the request that opens a WebSocket may be told beside its headers, as any other; see `Client.request`."""

    params: Params | None
    auth: AuthArgument | None
    cookies: Mapping[str, str] | None
    follow_redirects: bool | None
    proxy: ProxyHops | bool | None
    host_map: HostMapArgument | None
    local_address: LocalAddressArgument | None


class WebSocketOptions:
    """What of the arguments of `Client.websocket` is not of the request; what the handshake does not check is checked.

    Raises:
        InvalidOption: naming the argument.
    """

    __slots__ = (
        "close_timeout_s",
        "deflate",
        "max_message",
        "origin",
        "ping_interval_s",
        "ping_timeout_s",
        "subprotocols",
    )

    def __init__(
        self,
        subprotocols: Iterable[str],
        origin: str | None,
        deflate: DeflateArgument,
        max_message: int,
        ping_interval_s: float | None,
        ping_timeout_s: float,
        close_timeout_s: float,
    ) -> None:
        if type(max_message) is not int or not 1 <= max_message < 1 << 63:
            raise InvalidOption(f"max_message={max_message!r}: give a number of bytes, 1 or more")
        check_seconds("ping_interval_s", ping_interval_s, optional=True)
        check_seconds("ping_timeout_s", ping_timeout_s)
        check_seconds("close_timeout_s", close_timeout_s)
        self.subprotocols = subprotocols
        self.origin = origin
        self.deflate = deflate
        self.max_message = max_message
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self.close_timeout_s = close_timeout_s


def open_websocket(
    client: ClientBase,
    session: Session,
    response: Response,
    keys: MaskKeys,
    url: str,
    timeouts: Timeouts,
    cancel: CancelToken | None,
    options: WebSocketOptions,
    headers: Headers | None,
    **request: Unpack[OpeningOptions],
) -> WebSocket:
    """See `Client.websocket`.

    Args:
        response: a new one, for the answer.
        keys: masks what is sent.
    """
    if cancel is not None and not isinstance(cancel, CancelToken):
        raise InvalidOption(f"cancel: a {type(cancel).__name__} was given; give a CancelToken")
    handshake, prepared, flow = prepare_opening(
        session, url, options.subprotocols, options.origin, options.deflate, headers, **request
    )
    assert flow is not None, "a request with ways of its own has one"
    if cancel is not None:
        response.make_cancellable()
        cancel.attach(response)
    try:
        response.begin(flow, prepared, timeouts)
        if isinstance(response.connection, Http2Stream):
            handshake.sent_extended()
        if not handshake.agrees(response.status_code):
            raise _refused(response)
        transport, endpoint, leftover = _agreed(response, handshake, keys, options, client.now_ns())
    finally:
        response.closed = True
        if cancel is not None:
            cancel.detach(response)
    try:
        if isinstance(transport.socket, socket_module.socket):
            # What is in memory has nobody to probe.
            tune(transport.socket, keep_alive=True)
        websocket = WebSocket(
            client,
            response.prepared.shown_url,
            endpoint,
            transport,
            leftover,
            timeouts,
            response.prepared.origin,
            ping_interval_s=options.ping_interval_s,
            ping_timeout_s=options.ping_timeout_s,
            close_timeout_s=options.close_timeout_s,
        )
    except BaseException:
        transport.close()
        raise
    client.keep_websocket(websocket)
    if client.closed:
        # close() may have looked for WebSockets before this one stood.
        websocket.abort()
        raise ClientClosed("the client was closed while the WebSocket was being opened")
    return websocket


def prepare_opening(
    session: Session,
    url: str,
    subprotocols: Iterable[str],
    origin: str | None,
    deflate: DeflateArgument,
    headers: Headers | None,
    **request: Unpack[OpeningOptions],
) -> tuple[ClientHandshake, PreparedRequest, Flow | None]:
    """The request that opens a WebSocket, ready to be sent, and what its answer is held against.

    Raises:
        InvalidOption: an argument cannot work; the message names it.
    """
    handshake = ClientHandshake(subprotocols=subprotocols, deflate=deflate, origin=origin)
    given = checked_extra_fields(HeaderList(headers or ()))
    fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in (*given.raw, *handshake.fields)]
    order = session.request("GET", http_url(url), headers=fields, upgrades=True, **request)
    return handshake, order.prepared, order.flow


def _agreed(
    response: Response, handshake: ClientHandshake, keys: MaskKeys, options: WebSocketOptions, now_ns: int
) -> tuple[Transport | SharedHttp2OpeningStream, WebSocketEndpoint, bytes]:
    """What the answer opens: the transport, or the stream, what is said over it, and what came behind the answer."""
    connection = response.connection
    assert connection is not None, "an answer that agrees leaves the connection with the exchange"
    assert response.head is not None, "it was answered"
    if isinstance(connection, OpeningConnection):
        handshake.sent_with(connection.key)
    try:
        agreement = handshake.check(response.head.status_code, response.head.headers)
        endpoint = WebSocketEndpoint(True, agreement, keys, handshake.deflate, max_message=options.max_message)
    except TurbosockError as error:
        response.drop_connection()
        raise response.explained(error) from error.__cause__
    except BaseException:
        response.drop_connection()
        raise
    transport, leftover = response.take_over(now_ns)
    # Of streams, those that the client gives for this.
    return transport, endpoint, leftover  # type: ignore[return-value]


def _refused(response: Response) -> TurbosockError:
    """The error of an answer that does not open a WebSocket, with as much of its body as is worth a look."""
    body = bytearray(limits.MAX_REFUSAL_BYTES)
    view = memoryview(body)
    filled = 0
    try:
        while filled < len(body) and (count := response.readinto(view[filled:])):
            filled += count
    except TurbosockError:
        # The status is what matters; the page that explains it may be cut.
        pass
    response.end_with(bytes(view[:filled]))
    return status_error(response, f"{refusal_words(response)}; see `response` of this error")


def refusal_words(answer: ClientExchange) -> str:
    """What an answer says that does not open a WebSocket."""
    words = f"the server refused the WebSocket with the status {answer.status_code}"
    if answer.reason:
        words += f" {answer.reason}"
    if 200 <= answer.status_code < 300:
        words += "; what answers at this URL is no WebSocket: check the path"
    if answer.is_redirect:
        words += "; it redirects: give follow_redirects=True, or the new URL"
    return words


def http_url(url: str) -> str:
    """The URL of the request that opens a WebSocket.

    Raises:
        InvalidUrl: it is none of a WebSocket.
    """
    if not isinstance(url, str):
        raise InvalidUrl(f"url: a {type(url).__name__} was given; give a str such as 'wss://host/path'")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    known = _SCHEMES.get(scheme)
    if separator and scheme in ("http", "https", "http+unix"):
        hint = {"http": "ws", "https": "wss", "http+unix": "ws+unix"}[scheme]
        raise InvalidUrl(f"url: {scheme}:// is for requests; write {hint}:// to open a WebSocket there")
    if not separator or known is None:
        # As of requests: what stands there may be a password.
        raise InvalidUrl("url: it does not begin with 'ws://', 'wss://' or 'ws+unix://'")
    if "#" in rest:
        raise InvalidUrl("url: the URL of a WebSocket has no fragment (RFC 6455 section 3); write '%23' for a '#'")
    return f"{known}://{rest}"
