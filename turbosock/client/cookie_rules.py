"""CookieRules: which cookies are taken and sent, by RFC 6265 sections 5.1.3, 5.1.4, 5.3 and 5.4, as a cookiejar policy.

`http.cookiejar`'s own policy comes from Netscape's draft: it sends a host's cookie to the hosts below it, lets an
address match the end of another, and takes Secure cookies from plain connections. This one replaces its decisions about
domain, path and security, and keeps its lists of blocked and allowed domains.

Only the URL's host decides, never a Host field. A cookie without Domain belongs to exactly the host that set it, in any
port; its `domain` has no leading dot. One with Domain belongs to that domain and the hosts below it, and its `domain`
has the dot. An address, and a host that ends in a dot, only ever have cookies of the first kind. From RFC 6265bis:
Secure cookies are taken from secure origins only, and the prefixes __Secure- and __Host- are held to.

Public suffixes ("co.uk", "github.io"), for which nobody may set cookies, are known where `publicsuffixlist` is
installed: its list is read when the first Domain attribute comes. Without it only suffixes of a single label ("com")
are refused, as the cookiejar itself does.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Iterable
from http.cookiejar import Cookie, DefaultCookiePolicy
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from urllib.request import Request

SECURE_SCHEMES = frozenset(("https", "wss"))
_SUFFIX_PACKAGE = "publicsuffixlist"


class _SuffixList(Protocol):
    def is_public(self, domain: str) -> bool: ...


class CookieRequest:
    """The part of a `urllib.request.Request` that a CookieJar and its policies ask for.

    Attributes:
        type: the scheme.
        hostname: the URL's host in lower case, an IPv6 address without brackets.
        path: the path as sent, without its query.
        cookie_header: what the jar gave, or None.
    """

    __slots__ = ("_port", "cookie_header", "hostname", "path", "type")

    # Names of urllib's interface. No exchange here is one that its user could not see.
    unverifiable = False

    def __init__(self, scheme: str, host: str, port: int, path: str) -> None:
        self.type = scheme
        self.hostname = host.lower()
        self._port = port
        self.path = path.partition("?")[0] or "/"
        self.cookie_header: str | None = None

    @property
    def host(self) -> str:
        """Host and port, an IPv6 address in brackets and without its zone."""
        name = f"[{self.hostname.partition('%')[0]}]" if ":" in self.hostname else self.hostname
        return f"{name}:{self._port}"

    @property
    def origin_req_host(self) -> str:
        return self.hostname

    def get_full_url(self) -> str:
        return f"{self.type}://{self.host}{self.path}"

    def has_header(self, name: str) -> bool:
        return False

    def get_header(self, name: str, default: str | None = None) -> str | None:
        # A Host field of the user's own decides nothing.
        return default

    def add_unredirected_header(self, name: str, value: str) -> None:
        if name == "Cookie":
            self.cookie_header = value


class CookieRules(DefaultCookiePolicy):
    """The policy of the jars of `Cookies`.

    Args:
        blocked_domains: no cookies from or to these; ".example.com" means the hosts below it.
        allowed_domains: if given, cookies from and to these alone.
        public_suffixes: True needs the extra package, False leaves it unused, None takes it where it is installed.
        wall_clock: the present in seconds since the epoch.

    Raises:
        InvalidOption: `public_suffixes=True` without the package.
    """

    def __init__(
        self,
        *,
        blocked_domains: Iterable[str] | None = None,
        allowed_domains: Iterable[str] | None = None,
        public_suffixes: bool | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        blocked, allowed = (
            None if domains is None else tuple(domains) for domains in (blocked_domains, allowed_domains)
        )
        super().__init__(blocked_domains=blocked, allowed_domains=allowed)
        if public_suffixes and importlib.util.find_spec(_SUFFIX_PACKAGE) is None:
            raise InvalidOption(
                f"public_suffixes=True: {_SUFFIX_PACKAGE} is not installed; pip install {_SUFFIX_PACKAGE}"
            )
        self.wall_clock = wall_clock
        self._wants_suffixes = public_suffixes is not False
        self._suffixes: _SuffixList | None = None

    def __getstate__(self) -> dict[str, object]:
        # The list is read again where it is needed: it is large, and of that place.
        return {**self.__dict__, "_suffixes": None}

    def now_s(self) -> int:
        """The present in whole seconds since the epoch."""
        return int(self.wall_clock())

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        """Whether the answer to `request` may set `cookie`."""
        host, secure = host_of(request), request.type in SECURE_SCHEMES
        if (cookie.version or 0) > 0 or (cookie.secure and not secure) or not _prefix_holds(cookie):
            return False
        if self.is_blocked(cookie.domain) or self.is_not_allowed(cookie.domain):
            return False
        if not cookie.domain.startswith("."):
            return cookie.domain == host
        domain = cookie.domain[1:]
        return domain_matches(host, domain) and not self.is_public_suffix(domain)

    def return_ok(self, cookie: Cookie, request: Request) -> bool:
        """Whether `cookie` goes with `request`; its path and the lists were asked about before."""
        host, secure = host_of(request), request.type in SECURE_SCHEMES
        return self.goes_with(cookie, host, secure, self.now_s())

    def goes_with(self, cookie: Cookie, host: str, secure: bool, now_s: int) -> bool:
        """Whether `cookie` goes to `host`, apart from its path and from the lists of domains."""
        if (cookie.secure and not secure) or (cookie.version or 0) > 0 or cookie.is_expired(now_s):
            return False
        domain = cookie.domain
        return domain_matches(host, domain[1:]) if domain.startswith(".") else domain == host

    def domain_return_ok(self, domain: str, request: Request) -> bool:
        """Whether any cookie of `domain` may go with `request`."""
        host = host_of(request)
        matches = domain_matches(host, domain[1:]) if domain.startswith(".") else domain == host
        return matches and not self.is_blocked(domain) and not self.is_not_allowed(domain)

    def path_return_ok(self, path: str, request: Request) -> bool:
        """Whether cookies of `path` go with `request`."""
        return path_matches(path_of(request), path)

    def is_public_suffix(self, domain: str) -> bool:
        """Whether nobody may set cookies for `domain`, in lower case; always for a single label."""
        if "." not in domain:
            return True
        suffixes = self._suffixes
        if suffixes is None:
            if not self._wants_suffixes:
                return False
            try:
                suffixes = self._suffixes = importlib.import_module(_SUFFIX_PACKAGE).PublicSuffixList()
            except (ImportError, OSError, ValueError):
                self._wants_suffixes = False
                return False
        return suffixes.is_public(domain)


def is_address(host: str) -> bool:
    """Whether `host` is an IP address, or may be read as one: "127.1" and "0x7f.1" as well."""
    if ":" in host:
        return True
    last = host.removesuffix(".").rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


def domain_matches(host: str, domain: str) -> bool:
    """Whether `host` is in `domain` (RFC 6265 section 5.1.3), both in lower case; a name that ends in a dot never is.

    An address is not: its only domain is itself, which is a cookie without Domain.
    """
    if host == domain:
        return bool(host) and not host.endswith(".") and not is_address(host)
    if not domain or domain.endswith(".") or domain.startswith("."):
        return False
    return host.endswith(domain) and host[-len(domain) - 1] == "." and not is_address(host)


def path_matches(request_path: str, cookie_path: str) -> bool:
    """Whether a cookie of `cookie_path` goes to `request_path` (RFC 6265 section 5.1.4)."""
    if not request_path.startswith(cookie_path):
        return False
    return len(request_path) == len(cookie_path) or cookie_path.endswith("/") or request_path[len(cookie_path)] == "/"


def default_path(request_path: str) -> str:
    """The path of a cookie that names none: the request's, up to its last slash (RFC 6265 section 5.1.4)."""
    end = request_path.rfind("/")
    return request_path[:end] if request_path.startswith("/") and end > 0 else "/"


def _prefix_holds(cookie: Cookie) -> bool:
    """Whether the cookie is what its name promises (RFC 6265bis section 4.1.3)."""
    name = cookie.name.lower()
    if name.startswith("__host-"):
        return cookie.secure and cookie.path == "/" and cookie.path_specified and not cookie.domain.startswith(".")
    return cookie.secure or not name.startswith("__secure-")


def host_of(request: Request) -> str:
    """The host of a CookieRequest, or of urllib's own request where a program shares the jar with it."""
    if isinstance(request, CookieRequest):
        return request.hostname
    return urlsplit(request.get_full_url()).hostname or ""


def path_of(request: Request) -> str:
    """The path of either kind of request, without its query."""
    if isinstance(request, CookieRequest):
        return request.path
    return urlsplit(request.get_full_url()).path or "/"
