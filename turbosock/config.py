"""Settings: frozen, validated where they are made, hashable and picklable.

`Config` holds everything that a Client or a Loop can be told. A wrong value raises InvalidOption naming the
field, at construction and not at first use.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from turbosock import limits
from turbosock.errors import InvalidOption
from turbosock.host_map import HostMap, HostMapArgument
from turbosock.local_address import LocalAddressArgument, checked_local_addresses
from turbosock.proxy_config import Proxy, ProxySetting, no_proxy_list, proxy_rules
from turbosock.serializer import Serializer
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

__all__ = [
    "NS_PER_S",
    "POLLERS",
    "ClientAuth",
    "Config",
    "NameResolver",
    "PinScope",
    "PoolConfig",
    "Proxy",
    "Timeouts",
    "TlsCertificate",
    "TlsConfig",
    "TlsProviderMode",
    "TlsRoots",
    "TlsServerConfig",
    "TlsVerdict",
    "TlsVersion",
    "TransportMode",
    "check_config",
    "check_count",
    "check_seconds",
]

NS_PER_S: Final = 1_000_000_000
POLLERS = ("epoll", "poll", "select")


class TransportMode(enum.Enum):
    """How a Client waits for its sockets.

    STREAM: kernel-blocking sockets with SO_RCVTIMEO; the wait is the `recv_into` itself, one system call.
    SAEA: non-blocking sockets and reusable I/O contexts, as in a Loop.
    """

    STREAM = "stream"
    SAEA = "saea"


class NameResolver(Protocol):
    """A source of addresses in place of the system's; a plain callable with these arguments is one, too."""

    def resolve(self, host: str, port: int) -> Iterable[str | tuple[Any, ...]]:
        """The addresses of `host` for connections to `port`, in order of preference; it may block.

        Each is an IP address, a pair of one and a port, or what socket.getaddrinfo() gives for one.
        """


def check_seconds(name: str, value: object, *, optional: bool = False, zero: bool = False) -> None:
    """Raise InvalidOption unless `value` is a usable time in seconds (or None, or 0, where that is allowed)."""
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidOption(f"{name}={value!r}: give seconds as a number")
    if not 0 < value <= limits.MAX_TIMEOUT_S and not (zero and value == 0):
        least = "0 or more" if zero else "more than 0"
        raise InvalidOption(f"{name}={value!r}: give {least} and at most {limits.MAX_TIMEOUT_S:.0f} seconds")


def check_count(name: str, value: object, minimum: int, maximum: int) -> None:
    """Raise InvalidOption unless `value` is a whole number within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidOption(f"{name}={value!r}: give a whole number")
    if not minimum <= value <= maximum:
        raise InvalidOption(f"{name}={value!r}: give {minimum} to {maximum}")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of one exchange, in seconds.

    `connect_s` bounds everything up to a usable connection: name, connect, proxies and TLS, of which `handshake_s` is
    for TLS, and for each step with a proxy, at most. `read_s` and `write_s` bound one wait each, `pool_s` the wait for
    a free connection. `total_s` is one deadline over everything: DNS, connect, TLS, request, redirects, retries and the
    body; None means that only the others bound it. There is no way to wait for ever.
    """

    connect_s: float = limits.CONNECT_TIMEOUT_S
    handshake_s: float = limits.HANDSHAKE_TIMEOUT_S
    read_s: float = limits.READ_TIMEOUT_S
    write_s: float = limits.WRITE_TIMEOUT_S
    pool_s: float = limits.POOL_TIMEOUT_S
    total_s: float | None = limits.TOTAL_TIMEOUT_S

    connect_ns: int = field(init=False, repr=False, compare=False)
    handshake_ns: int = field(init=False, repr=False, compare=False)
    read_ns: int = field(init=False, repr=False, compare=False)
    write_ns: int = field(init=False, repr=False, compare=False)
    pool_ns: int = field(init=False, repr=False, compare=False)
    total_ns: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("connect_s", "handshake_s", "read_s", "write_s", "pool_s"):
            check_seconds(name, getattr(self, name))
        check_seconds("total_s", self.total_s, optional=True)
        total_s = limits.MAX_TIMEOUT_S if self.total_s is None else self.total_s
        # Whole nanoseconds, made once: the hot path compares integers.
        for name in ("connect", "handshake", "read", "write", "pool"):
            seconds = min(getattr(self, name + "_s"), total_s)
            object.__setattr__(self, name + "_ns", max(1, int(seconds * NS_PER_S)))
        object.__setattr__(self, "total_ns", max(1, int(total_s * NS_PER_S)))

    @classmethod
    def of(cls, timeout: float | Timeouts) -> Timeouts:
        """What a `timeout=` argument means: a number is the total deadline, and no part outlasts it.

        Raises:
            InvalidOption: for None (nothing waits for ever), and for anything that is not a time.
        """
        if isinstance(timeout, Timeouts):
            return timeout
        if timeout is None:
            raise InvalidOption(
                "timeout=None would wait for ever: give seconds, or Timeouts(total_s=None) to let the single waits "
                "bound it"
            )
        check_seconds("timeout", timeout)
        return cls(
            connect_s=timeout, handshake_s=timeout, read_s=timeout, write_s=timeout, pool_s=timeout, total_s=timeout
        )


class _Default(int):
    """A number that nobody gave: it gives way where another setting leaves no room for it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """How many connections are kept, and for how long.

    Attributes:
        max_connections, max_connections_per_origin: open at once, those being dialled included. Unless given, the
            second is not above the first.
        max_idle, max_idle_s: how many wait for the next request, and how long each does.
        max_lifetime_s: the age at which a connection is closed instead of kept, up to a tenth less at random; None: it
            may live for as long as it is used. Set it where names or balancers move to other addresses.
        max_requests: exchanges that one connection serves; None: any number.
    """

    max_connections: int = limits.MAX_CONNECTIONS
    max_connections_per_origin: int = _Default(limits.MAX_CONNECTIONS_PER_ORIGIN)
    max_idle: int = limits.MAX_IDLE_CONNECTIONS
    max_idle_s: float = limits.MAX_IDLE_S
    max_lifetime_s: float | None = None
    max_requests: int | None = None

    def __post_init__(self) -> None:
        check_count("max_connections", self.max_connections, 1, limits.MAX_POOLED_CONNECTIONS)
        if isinstance(self.max_connections_per_origin, _Default):
            per_origin = _Default(min(limits.MAX_CONNECTIONS_PER_ORIGIN, self.max_connections))
            object.__setattr__(self, "max_connections_per_origin", per_origin)
        check_count("max_connections_per_origin", self.max_connections_per_origin, 1, limits.MAX_POOLED_CONNECTIONS)
        check_count("max_idle", self.max_idle, 0, limits.MAX_POOLED_CONNECTIONS)
        check_seconds("max_idle_s", self.max_idle_s)
        check_seconds("max_lifetime_s", self.max_lifetime_s, optional=True)
        if self.max_requests is not None:
            check_count("max_requests", self.max_requests, 1, 2**31)
        if self.max_connections_per_origin > self.max_connections:
            raise InvalidOption(
                f"max_connections_per_origin={self.max_connections_per_origin} is above "
                f"max_connections={self.max_connections}: lower the first or raise the second"
            )


@dataclass(frozen=True, slots=True)
class Http2Config:
    """How an HTTP/2 connection shares its memory between streams.

    Attributes:
        initial_window_bytes: what a server may send of an answer before any of it was read. A stream whose reader keeps
            up gets more by itself, as the path needs it.
        max_streams: exchanges at once on one connection, if the server takes as many.

    Raises:
        InvalidOption: a value is out of its range, or all windows together are above 32 MiB.
    """

    initial_window_bytes: int = limits.HTTP2_STREAM_WINDOW_BYTES
    max_streams: int = limits.MAX_HTTP2_STREAMS

    def __post_init__(self) -> None:
        check_count("initial_window_bytes", self.initial_window_bytes, 1024, limits.MAX_HTTP2_STREAM_WINDOW_BYTES)
        check_count("max_streams", self.max_streams, 1, limits.MAX_HTTP2_WINDOWS_BYTES // 1024)
        if self.initial_window_bytes * self.max_streams > limits.MAX_HTTP2_WINDOWS_BYTES:
            raise InvalidOption(
                f"initial_window_bytes={self.initial_window_bytes} times max_streams={self.max_streams} is above "
                f"{limits.MAX_HTTP2_WINDOWS_BYTES} bytes: lower one of them"
            )


# What can be spoken, as `Response.http_version` says it, the preferred one first.
HTTP_VERSIONS = ("HTTP/2", "HTTP/1.1")


def checked_http_versions(versions: object) -> tuple[str, ...]:
    """`versions` in the order of HTTP_VERSIONS; InvalidOption, naming http_versions, unless it has one or both."""
    if not isinstance(versions, (tuple, list)) or not versions or not all(one in HTTP_VERSIONS for one in versions):
        raise InvalidOption(f"http_versions={versions!r}: give one or both of {', '.join(HTTP_VERSIONS)} in a tuple")
    return tuple(one for one in HTTP_VERSIONS if one in versions)


def alpn_of(versions: tuple[str, ...]) -> tuple[str, ...]:
    """What these versions are called in ALPN (RFC 7301, RFC 9113 §3.2)."""
    return tuple("h2" if version == "HTTP/2" else "http/1.1" for version in versions)


def _diagnostics_default() -> bool:
    return os.environ.get("TURBOSOCK_POOL_DIAGNOSTICS", "") not in ("", "0")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that a Client or a Loop can be told.

    Attributes:
        transport: how a Client waits; a Loop is always SAEA.
        zero_alloc: pooled memory and objects. False gives the same API on plain owned memory, which is slower and
            has no lifetimes to get wrong: switch it off to find out whether a bug is one of lifetime.
        diagnostics: guard every lease: use after return, double return and overrun raise and name the line.
        poller: "epoll", "poll" or "select"; None takes the best one of the platform.
        timeouts: the defaults of every exchange; a request's own `timeout=` replaces them.
        pool: connection limits.
        tls: whom to trust over https, and what to show.
        http_versions: what may be spoken: "HTTP/2" over https where the server agrees (ALPN), and "HTTP/1.1". With
            ("HTTP/2",) alone it is spoken over http, too, to servers that are known to understand it.
        http2: memory and streams of HTTP/2 connections.
        resolver: asked for the addresses of names instead of the system: a NameResolver, or a callable like its
            `resolve`. It is called in threads, several at once, and what it answers is not cached.
        local_address: the address of this machine to connect from, or (address, port), or one of each family in a
            list; destinations of a family without one are then not connected to. None: the system chooses.
        host_map: hosts that are connected to elsewhere, as `{"example.com": "127.0.0.1:8443", "*.dev": "127.0.0.1"}`;
            Host and TLS stay the URL's.
        proxy: through what requests go: a Proxy, a URL such as "socks5h://host:1080", a tuple of these (a chain, the
            nearest first), or a mapping from "http", "https" and "all" to such; False: nothing. None: what the
            environment says.
        no_proxy: hosts that are reached without it, as NO_PROXY has them: one str, or several.
        trust_env: read the environment's proxies (http_proxy, HTTPS_PROXY, ALL_PROXY, NO_PROXY) where `proxy` is None.
        headers: fields sent with every request unless the request names them itself.
        max_head_bytes, max_head_fields: bounds of a response head.
        max_body_bytes: bound of a body that is gathered (`content`), not of one that is streamed; decoded bytes count.
        decode: ask for the content codings that can be undone here (Accept-Encoding), and undo them. False: ask for
            none, and hand bodies on as they come.
        serializer: writes what is given as `json=` and reads what `json()` returns; None: the standard library's json.
    """

    transport: TransportMode = TransportMode.STREAM
    zero_alloc: bool = True
    diagnostics: bool = field(default_factory=_diagnostics_default)
    poller: str | None = None
    timeouts: Timeouts = Timeouts()
    pool: PoolConfig = PoolConfig()
    tls: TlsConfig = field(default_factory=TlsConfig)
    http_versions: tuple[str, ...] = HTTP_VERSIONS
    http2: Http2Config = Http2Config()
    # Hidden: an object that is not ours may say anything.
    resolver: NameResolver | Callable[[str, int], Iterable[str | tuple[Any, ...]]] | None = field(
        default=None, repr=False
    )
    local_address: LocalAddressArgument | None = None
    host_map: HostMapArgument = ()
    proxy: ProxySetting = None
    no_proxy: str | Iterable[str] = ""
    trust_env: bool = True
    # Hidden: a default Authorization or cookie must not reach a log through the configuration.
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = field(default=(), repr=False)
    max_head_bytes: int = limits.MAX_HEAD_BYTES
    max_head_fields: int = limits.MAX_HEAD_FIELDS
    max_body_bytes: int = limits.MAX_GATHERED_BODY_BYTES
    decode: bool = True
    serializer: Serializer | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.transport, TransportMode):
            raise InvalidOption(f"transport={self.transport!r}: give TransportMode.STREAM or TransportMode.SAEA")
        for name in ("zero_alloc", "diagnostics", "trust_env", "decode"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOption(f"{name}={getattr(self, name)!r}: give True or False")
        if self.poller is not None and self.poller not in POLLERS:
            raise InvalidOption(f"poller={self.poller!r}: give one of {', '.join(POLLERS)}, or None for the best")
        if not isinstance(self.timeouts, Timeouts):
            raise InvalidOption(f"timeouts={self.timeouts!r}: give a Timeouts")
        if not isinstance(self.pool, PoolConfig):
            raise InvalidOption(f"pool={self.pool!r}: give a PoolConfig")
        if not isinstance(self.tls, TlsConfig):
            raise InvalidOption(f"tls={self.tls!r}: give a TlsConfig")
        object.__setattr__(self, "http_versions", checked_http_versions(self.http_versions))
        if not isinstance(self.http2, Http2Config):
            raise InvalidOption(f"http2={self.http2!r}: give an Http2Config")
        if self.resolver is not None and not (callable(self.resolver) or hasattr(self.resolver, "resolve")):
            what = type(self.resolver).__name__
            raise InvalidOption(f"resolver: a {what} was given; give a callable (host, port), or what has resolve()")
        # In one form, hashable whatever was given.
        object.__setattr__(self, "local_address", checked_local_addresses(self.local_address) or None)
        object.__setattr__(self, "host_map", HostMap(self.host_map).pairs)
        object.__setattr__(self, "proxy", proxy_rules(self.proxy))
        object.__setattr__(self, "no_proxy", no_proxy_list(self.no_proxy))
        check_count("max_head_bytes", self.max_head_bytes, 256, limits.MAX_HEAD_BYTES)
        check_count("max_head_fields", self.max_head_fields, 1, limits.MAX_HEAD_FIELDS)
        check_count("max_body_bytes", self.max_body_bytes, 0, 2**48)
        if self.serializer is not None and (
            isinstance(self.serializer, type) or not isinstance(self.serializer, Serializer)
        ):
            raise InvalidOption(f"serializer={self.serializer!r}: give an object with the methods of Serializer")
        items = self.headers.items() if isinstance(self.headers, Mapping) else self.headers
        try:
            pairs = tuple((name, value) for name, value in items)
        except (TypeError, ValueError) as error:
            raise InvalidOption("headers: give a mapping, or pairs of name and value") from error
        for name, value in pairs:
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidOption(f"headers: field {name!r} needs a str name and a str value")
        # A tuple of pairs keeps the configuration hashable whatever was given.
        object.__setattr__(self, "headers", pairs)

    @property
    def alpn(self) -> tuple[str, ...]:
        """The protocols that are offered over TLS (RFC 7301)."""
        return alpn_of(self.http_versions)

    @property
    def header_pairs(self) -> tuple[tuple[str, str], ...]:
        """The default fields as (name, value) pairs."""
        return self.headers  # type: ignore[return-value]  # __post_init__ made it this

    @property
    def proxies(self) -> tuple[tuple[str, tuple[Proxy, ...]], ...] | None:
        """The proxies as (scheme, hops) pairs; None: what the environment says."""
        return self.proxy  # type: ignore[return-value]  # __post_init__ made it this

    @property
    def no_proxy_text(self) -> str:
        """The hosts that are reached without a proxy, as one text."""
        return self.no_proxy  # type: ignore[return-value]  # __post_init__ made it this


def check_config(config: object) -> None:
    """Refuse what is no Config.

    Raises:
        InvalidOption: it is something else.
    """
    if not isinstance(config, Config):
        raise InvalidOption(f"config: a {type(config).__name__} was given; give a turbosock.Config")
