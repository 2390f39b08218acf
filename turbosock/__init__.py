"""turbosock: synchronous, zero-copy networking. One engine; a thread may block on it, a tick may poll() it."""

from typing import TYPE_CHECKING

from turbosock.api import delete, get, head, options, patch, post, put, request, stream
from turbosock.buffers.segments import SegmentedSequence
from turbosock.buffers.writer import BufferWriter
from turbosock.client.auth import Auth, AuthView, BasicAuth, BearerAuth
from turbosock.client.cancel_token import CancelToken
from turbosock.client.client import Client
from turbosock.client.events import ConnectionEvent, DataEvent, Event, EventKind
from turbosock.client.loop_exchange import Exchange
from turbosock.client.middleware import (
    ConcurrencyLimit,
    ExchangeLog,
    HeaderDefaults,
    Middleware,
    RateLimit,
    RetryHook,
    Timeline,
    TimelineRecorder,
)
from turbosock.client.multipart import MultipartForm
from turbosock.client.past_answer import PastAnswer
from turbosock.client.prewarm import Prewarming
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.response import Response
from turbosock.client.retries import RetryBudget, RetryPolicy
from turbosock.client.serializers import JsonSerializer, MsgspecSerializer, OrjsonSerializer
from turbosock.config import Config, Http2Config, PoolConfig, Timeouts, TransportMode
from turbosock.connection.message_connection import MessageConnection
from turbosock.connection.send import Send
from turbosock.errors import (
    AuditError,
    BodyTooLarge,
    BodyTruncated,
    Cancelled,
    CassetteError,
    ClientClosed,
    ConnectError,
    ConnectionClosed,
    ConnectTimeout,
    DeadlineError,
    DecodingError,
    HeadTooLarge,
    Http2Error,
    InvalidHeader,
    InvalidOption,
    InvalidUrl,
    LeaseError,
    LimitError,
    MisuseError,
    NetworkError,
    PoolExhausted,
    PoolTimeout,
    ProtocolError,
    ProxyError,
    QueueFull,
    ReadError,
    ReadTimeout,
    RedirectError,
    ResolveError,
    ResponseClosed,
    StateError,
    StatusError,
    TlsError,
    TlsHandshakeError,
    TlsRecordError,
    TlsTruncated,
    TlsVerificationError,
    TooManyRedirects,
    TotalTimeout,
    TurbosockError,
    WebSocketClosed,
    WriteError,
    WriteTimeout,
)
from turbosock.loop import Loop
from turbosock.poll_result import PollResult, Stop
from turbosock.pool.limiter import ConcurrencyLimiter
from turbosock.pool.loop_queue import LoopQueue
from turbosock.pool.prewarmer import Prewarmer
from turbosock.pool.priority_line import Priority
from turbosock.pool.queue_handle import Handle
from turbosock.pool.rate_limiter import RateLimiter
from turbosock.pool.request_queue import RequestQueue
from turbosock.protocol.framing.custom import CustomFraming
from turbosock.protocol.framing.delimiter import Delimited
from turbosock.protocol.framing.framing import Framing
from turbosock.protocol.framing.length import LengthPrefixed
from turbosock.protocol.framing.raw import RawFraming
from turbosock.proxy_config import Proxy
from turbosock.serializer import Serializer
from turbosock.server.datagram_session import DatagramSession
from turbosock.server.http_exchange import HttpExchange
from turbosock.server.http_listener import HttpListener
from turbosock.server.request import Request
from turbosock.server.tcp_listener import TcpListener
from turbosock.server.udp_listener import UdpListener
from turbosock.tick_clock import TickClock
from turbosock.tls_config import (
    ClientAuth,
    PinScope,
    TlsCertificate,
    TlsConfig,
    TlsProviderMode,
    TlsRoots,
    TlsServerConfig,
    TlsVerdict,
    TlsVersion,
)
from turbosock.version import __version__

if TYPE_CHECKING:
    from turbosock.client.auth.digest import DigestAuth
    from turbosock.client.auth.netrc_file import NetrcAuth
    from turbosock.client.cookies import Cookies
    from turbosock.client.event_stream import EventStream, StreamState
    from turbosock.client.reconnect import ReconnectPolicy
    from turbosock.client.websocket import WebSocket
    from turbosock.connection.websocket_connection import WebSocketConnection
    from turbosock.protocol.sse.event import RetainedEvent, ServerSentEvent
    from turbosock.protocol.websocket.deflate import DeflateOptions
    from turbosock.server.event_log import EventLog
    from turbosock.server.event_sender import EventSender
    from turbosock.server.websocket_listener import WebSocketListener
    from turbosock.server.websocket_settings import WebSocketSettings
else:
    # Imported when they are first asked for: the parts of the standard library that they stand on take half of the time
    # that all of the rest takes, and most programs use none. Not for type checkers, to whom a module with __getattr__
    # has every name there is.
    def __getattr__(name):
        if name == "Cookies":
            from turbosock.client.cookies import Cookies as Found
        elif name == "DeflateOptions":
            from turbosock.protocol.websocket.deflate import DeflateOptions as Found
        elif name == "DigestAuth":
            from turbosock.client.auth.digest import DigestAuth as Found
        elif name == "EventLog":
            from turbosock.server.event_log import EventLog as Found
        elif name == "EventSender":
            from turbosock.server.event_sender import EventSender as Found
        elif name == "EventStream":
            from turbosock.client.event_stream import EventStream as Found
        elif name == "NetrcAuth":
            from turbosock.client.auth.netrc_file import NetrcAuth as Found
        elif name == "ReconnectPolicy":
            from turbosock.client.reconnect import ReconnectPolicy as Found
        elif name == "RetainedEvent":
            from turbosock.protocol.sse.event import RetainedEvent as Found
        elif name == "ServerSentEvent":
            from turbosock.protocol.sse.event import ServerSentEvent as Found
        elif name == "StreamState":
            from turbosock.client.event_stream import StreamState as Found
        elif name == "WebSocket":
            from turbosock.client.websocket import WebSocket as Found
        elif name == "WebSocketConnection":
            from turbosock.connection.websocket_connection import WebSocketConnection as Found
        elif name == "WebSocketListener":
            from turbosock.server.websocket_listener import WebSocketListener as Found
        elif name == "WebSocketSettings":
            from turbosock.server.websocket_settings import WebSocketSettings as Found
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = Found
        return Found

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "AuditError",
    "Auth",
    "AuthView",
    "BasicAuth",
    "BearerAuth",
    "BodyTooLarge",
    "BodyTruncated",
    "BufferWriter",
    "CancelToken",
    "Cancelled",
    "CassetteError",
    "Client",
    "ClientAuth",
    "ClientClosed",
    "ConcurrencyLimit",
    "ConcurrencyLimiter",
    "Config",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "ConnectionEvent",
    "Cookies",
    "CustomFraming",
    "DataEvent",
    "DatagramSession",
    "DeadlineError",
    "DecodingError",
    "DeflateOptions",
    "Delimited",
    "DigestAuth",
    "Event",
    "EventKind",
    "EventLog",
    "EventSender",
    "EventStream",
    "Exchange",
    "ExchangeLog",
    "Framing",
    "Handle",
    "HeadTooLarge",
    "HeaderDefaults",
    "Http2Config",
    "Http2Error",
    "HttpExchange",
    "HttpListener",
    "InvalidHeader",
    "InvalidOption",
    "InvalidUrl",
    "JsonSerializer",
    "LeaseError",
    "LengthPrefixed",
    "LimitError",
    "Loop",
    "LoopQueue",
    "MessageConnection",
    "Middleware",
    "MisuseError",
    "MsgspecSerializer",
    "MultipartForm",
    "NetrcAuth",
    "NetworkError",
    "OrjsonSerializer",
    "PastAnswer",
    "PinScope",
    "PollResult",
    "PoolConfig",
    "PoolExhausted",
    "PoolTimeout",
    "Prewarmer",
    "Prewarming",
    "Priority",
    "ProtocolError",
    "Proxy",
    "ProxyError",
    "QueueFull",
    "RateLimit",
    "RateLimiter",
    "RawFraming",
    "ReadError",
    "ReadTimeout",
    "ReconnectPolicy",
    "RedirectError",
    "RedirectPolicy",
    "Request",
    "RequestQueue",
    "ResolveError",
    "Response",
    "ResponseClosed",
    "RetainedEvent",
    "RetryBudget",
    "RetryHook",
    "RetryPolicy",
    "SegmentedSequence",
    "Send",
    "Serializer",
    "ServerSentEvent",
    "StateError",
    "StatusError",
    "Stop",
    "StreamState",
    "TcpListener",
    "TickClock",
    "Timeline",
    "TimelineRecorder",
    "Timeouts",
    "TlsCertificate",
    "TlsConfig",
    "TlsError",
    "TlsHandshakeError",
    "TlsProviderMode",
    "TlsRecordError",
    "TlsRoots",
    "TlsServerConfig",
    "TlsTruncated",
    "TlsVerdict",
    "TlsVerificationError",
    "TlsVersion",
    "TooManyRedirects",
    "TotalTimeout",
    "TransportMode",
    "TurbosockError",
    "UdpListener",
    "WebSocket",
    "WebSocketClosed",
    "WebSocketConnection",
    "WebSocketListener",
    "WebSocketSettings",
    "WriteError",
    "WriteTimeout",
    "__version__",
    "delete",
    "get",
    "head",
    "options",
    "patch",
    "post",
    "put",
    "request",
    "stream",
]
