"""The options of `Loop.listen()` by name and type, one set for each protocol; the listeners say what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict

from turbosock.config import Http2Config, TlsServerConfig
from turbosock.protocol.framing.choice import FramingArgument

if TYPE_CHECKING:
    # Not with the module: many loops have no WebSockets.
    from turbosock.protocol.websocket.deflate import DeflateArgument
    from turbosock.protocol.websocket.server_handshake import Origins


class HttpOptions(TypedDict, total=False):
    """What `loop.listen(address, protocol="http", handler=…)` may be told; see `HttpListener`."""

    tls: TlsServerConfig | None
    http_versions: tuple[str, ...]
    http2: Http2Config
    max_connections: int
    stream_body: bool
    max_body_bytes: int | None
    max_head_bytes: int
    max_head_fields: int
    max_unsent_bytes: int
    handshake_timeout_s: float
    head_timeout_s: float
    body_timeout_s: float
    idle_timeout_s: float
    write_timeout_s: float
    backlog: int
    reuse_port: bool
    dual_stack: bool
    mode: int | None


class WebSocketOptions(TypedDict, total=False):
    """What `loop.listen(address, protocol="websocket")` may be told; see `WebSocketListener`."""

    path: str | None
    subprotocols: Iterable[str]
    origins: Origins
    deflate: DeflateArgument
    tls: TlsServerConfig | None
    max_connections: int
    max_message: int
    quota: int
    max_unsent: int
    handshake_timeout_s: float
    message_timeout_s: float
    idle_timeout_s: float | None
    write_timeout_s: float
    ping_interval_s: float | None
    ping_timeout_s: float
    close_timeout_s: float
    backlog: int
    reuse_port: bool
    dual_stack: bool
    mode: int | None


class UdpOptions(TypedDict, total=False):
    """What `loop.listen(address, protocol="udp")` may be told; see `UdpListener`."""

    max_datagram: int
    quota: int
    session_timeout_s: float | None
    max_sessions: int
    rate_per_s: float | None
    burst: int
    max_hosts: int
    buffer_bytes: int | None
    reuse_port: bool
    dual_stack: bool


class TcpOptions(TypedDict, total=False):
    """What `loop.listen(address, protocol="tcp")` may be told; see `TcpListener`."""

    framing: FramingArgument
    tls: TlsServerConfig | None
    max_connections: int
    max_message: int
    quota: int
    max_unsent: int
    handshake_timeout_s: float
    message_timeout_s: float
    idle_timeout_s: float | None
    write_timeout_s: float
    backlog: int
    reuse_port: bool
    dual_stack: bool
    mode: int | None
