"""Proxies: one as a frozen, validated, hashable setting, and what a `proxy=` may be.

Where requests go through which proxy, and what the environment says of it, is decided in `client/proxy_settings.py`;
what is said to a proxy in `protocol/proxy/`.

Invariant: no message, repr or `url` holds a user name or a password.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

from turbosock import limits
from turbosock.errors import InvalidOption
from turbosock.host_port import split_host_port
from turbosock.tls_config import TlsConfig

# The port of each kind where none is given: HTTP's own, and the one that IANA has for SOCKS.
PROXY_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
# What a mapping of proxies may name; "all" is for what is not named.
PROXIED_SCHEMES: Final = ("http", "https", "all")

_EXAMPLE: Final = "'http://host:3128' or 'socks5h://user:password@host:1080'"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy.

    Attributes:
        scheme: "http" (CONNECT, and plain forwarding of http:// requests), "https" (the same inside TLS), "socks4" and
            "socks5" (names are looked up here), "socks4a" and "socks5h" (names are looked up by the proxy).
        host, port: where it listens; the port is the scheme's own if None.
        username, password: for Basic (RFC 7617) or RFC 1929; SOCKS4 has a user name only. Proxies that keep users
            apart, as Tor does, are asked for a stream of its own by a user name of its own.
        tunnel: have an HTTP proxy tunnel http:// requests, too, and not forward them.
        tls: whom to trust for "https"; None: whom the client trusts for origins, and always with verification.

    Raises:
        InvalidOption: a field has a value that cannot work; the message names it and shows no credential.
    """

    scheme: str
    host: str
    port: int | None = None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tunnel: bool = False
    tls: TlsConfig | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, str) or self.scheme not in PROXY_PORTS:
            raise InvalidOption(f"scheme: give one of {', '.join(PROXY_PORTS)}")
        object.__setattr__(self, "host", _checked_host(self.host))
        port = PROXY_PORTS[self.scheme] if self.port is None else self.port
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 65_535:
            raise InvalidOption("port: give a number from 1 to 65535")
        object.__setattr__(self, "port", port)
        if not isinstance(self.tunnel, bool):
            raise InvalidOption(f"tunnel={self.tunnel!r}: give True or False")
        if self.tls is not None and not isinstance(self.tls, TlsConfig):
            raise InvalidOption(f"tls={self.tls!r}: give a TlsConfig or None")
        if self.tls is not None and self.scheme != "https":
            raise InvalidOption(f"tls: a proxy of scheme {self.scheme!r} speaks no TLS; use 'https' or leave tls out")
        if self.tunnel and not self.speaks_http:
            raise InvalidOption("tunnel: a SOCKS proxy always tunnels; leave it out")
        self._check_credentials()

    def _check_credentials(self) -> None:
        for name in ("username", "password"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, str):
                raise InvalidOption(f"{name}: a {type(value).__name__} was given; give a str or None")
            try:
                size = len(value.encode())
            except UnicodeEncodeError:
                # The cause would show it.
                raise InvalidOption(f"{name}: it holds a lone surrogate, which is half a character") from None
            if size > limits.MAX_PROXY_CREDENTIAL_BYTES:
                raise InvalidOption(f"{name}: {size} bytes; at most {limits.MAX_PROXY_CREDENTIAL_BYTES} can be sent")
            if any(character < " " or character == "\x7f" for character in value):
                raise InvalidOption(f"{name}: it holds a control character")
        if self.password is not None and (self.username is None or (not self.username and not self.speaks_http)):
            raise InvalidOption("password: without a username it cannot be sent; give both")
        if self.password is not None and self.scheme in ("socks4", "socks4a"):
            raise InvalidOption("password: SOCKS4 has user names only; use 'socks5h' or leave it out")
        if self.username is not None and self.speaks_http and ":" in self.username:
            raise InvalidOption("username: for an HTTP proxy it cannot hold a colon (RFC 7617)")

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """A proxy from `scheme://user:password@host:port`; without a scheme it is "http", as for curl.

        User and password are percent-decoded; what follows the port (a lone "/") is empty.

        Raises:
            InvalidOption: the URL names no proxy; the message does not show it.
        """
        if not isinstance(url, str):
            raise InvalidOption(f"proxy: a {type(url).__name__} was given; give a URL such as {_EXAMPLE}")
        if len(url) > limits.MAX_URL_LENGTH:
            raise InvalidOption(f"proxy: {len(url)} characters; at most {limits.MAX_URL_LENGTH} are taken")
        if any(character <= " " or character == "\x7f" for character in url):
            raise InvalidOption("proxy: its URL holds a space or a control character; percent-encode it")
        scheme, separator, authority = url.partition("://")
        if not separator:
            scheme, authority = "http", url
        scheme = scheme.lower()
        if scheme == "socks":
            raise InvalidOption("proxy: 'socks' may be any of them; use 'socks4', 'socks4a', 'socks5' or 'socks5h'")
        if scheme not in PROXY_PORTS:
            # Without a scheme, what stands there may be a password: it is not shown.
            raise InvalidOption(f"proxy: its URL has no scheme that is known; begin with {', '.join(PROXY_PORTS)}")
        authority, _, path = authority.partition("/")
        if path:
            raise InvalidOption("proxy: its URL has a path; percent-encode '/' in a password as '%2F'")
        userinfo, at, hostport = authority.rpartition("@")
        username: str | None = None
        password: str | None = None
        if at:
            user, colon, secret = userinfo.partition(":")
            username = unquote(user)
            password = unquote(secret) if colon else None
        host, port = split_host_port(hostport, PROXY_PORTS[scheme], "proxy")
        try:
            return cls(scheme, host, port, username, password)
        except InvalidOption as error:
            raise InvalidOption(f"proxy: {error}") from None

    def with_credentials(self, username: str, password: str | None = None) -> Proxy:
        """The same proxy with other credentials, and so with connections and streams of its own."""
        return replace(self, username=username, password=password)

    @property
    def speaks_http(self) -> bool:
        """Whether it is an HTTP proxy, over TLS or not."""
        return self.scheme == "http" or self.scheme == "https"

    @property
    def looks_up(self) -> bool:
        """Whether it is given names, and looks them up itself."""
        return self.scheme != "socks4" and self.scheme != "socks5"

    @property
    def authority(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host and port, for messages and logs."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization for Basic (RFC 7617, in UTF-8), or None without a user name."""
        if self.username is None:
            return None
        return b"Basic " + base64.b64encode(f"{self.username}:{self.password or ''}".encode())


# One proxy or several in a row, the nearest first.
ProxyHops = Proxy | str | Iterable[Proxy | str]
# What a Config may be told: by scheme, too; False: none.
ProxySetting = ProxyHops | Mapping[str, ProxyHops | None] | bool | None


def proxy_hops(value: object, argument: str = "proxy") -> tuple[Proxy, ...]:
    """The hops that `proxy=` means, the nearest first; empty for False.

    Raises:
        InvalidOption: it is no Proxy, no URL of one and no sequence of these, or has too many.
    """
    if value is False:
        return ()
    if isinstance(value, Proxy):
        return (value,)
    if isinstance(value, str):
        return (_named(argument, value),)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        what = type(value).__name__
        raise InvalidOption(f"{argument}: a {what} was given; give a Proxy, a URL such as {_EXAMPLE}, a tuple or False")
    hops = []
    for item in value:
        if isinstance(item, str):
            item = _named(argument, item)
        if not isinstance(item, Proxy):
            raise InvalidOption(f"{argument}: a {type(item).__name__} among its hops; give a Proxy or a URL for each")
        hops.append(item)
        if len(hops) > limits.MAX_PROXY_HOPS:
            raise InvalidOption(f"{argument}: more than {limits.MAX_PROXY_HOPS} hops")
    return tuple(hops)


def proxy_rules(value: object) -> tuple[tuple[str, tuple[Proxy, ...]], ...] | None:
    """What `Config.proxy` is kept as: hops by scheme, or None for what the environment says.

    Raises:
        InvalidOption: it can be no setting of proxies.
    """
    if value is None:
        return None
    if value is False or value == ():
        return ()
    if isinstance(value, tuple) and all(isinstance(item, tuple) for item in value):
        # What an earlier call returned: settings are copied with changes.
        value = dict(value)
    if not isinstance(value, Mapping):
        return (("all", proxy_hops(value)),)
    rules = []
    for scheme, hops in value.items():
        if scheme not in PROXIED_SCHEMES:
            raise InvalidOption(f"proxy: a key is not one of {', '.join(PROXIED_SCHEMES)}")
        rules.append((scheme, () if hops is None else proxy_hops(hops, f"proxy[{scheme!r}]")))
    return tuple(rules)


def no_proxy_list(value: object) -> str:
    """What `Config.no_proxy` is kept as: one text as NO_PROXY has it.

    Raises:
        InvalidOption: it is no str and no iterable of str, or too long.
    """
    if not isinstance(value, str):
        if isinstance(value, bytes) or not isinstance(value, Iterable):
            raise InvalidOption("no_proxy: give host names and networks, as one str or as several")
        names = tuple(value)
        if not all(isinstance(name, str) for name in names):
            raise InvalidOption("no_proxy: give host names and networks, each a str")
        value = ",".join(names)
    if len(value) > limits.MAX_NO_PROXY_LENGTH:
        raise InvalidOption(f"no_proxy: {len(value)} characters; at most {limits.MAX_NO_PROXY_LENGTH} are taken")
    return value


def _named(argument: str, url: str) -> Proxy:
    """As Proxy.parse, with errors that name the argument."""
    try:
        return Proxy.parse(url)
    except InvalidOption as error:
        raise InvalidOption(f"{argument}: {str(error).removeprefix('proxy: ')}") from None


def _checked_host(host: object) -> str:
    """`host` in lower case and ASCII; an address of IPv6 without its brackets."""
    if not isinstance(host, str):
        raise InvalidOption(f"host: a {type(host).__name__} was given; give a name or an address")
    if ":" in host:
        host = f"[{host.removeprefix('[').removesuffix(']')}]"
    return split_host_port(host, 1, "host")[0]
