"""Session: what makes the requests of a Client or a Loop, and what is kept between them: cookies, credentials, how far
they are followed and retried.

`find_get` is the hot path's look-up of a GET without any option. It is the Preparer's own dictionary while nothing here
has a say in such a request. With links that change requests it shows each of them to the links; and it finds nothing
from the moment on that more is to be done: with retries, with credentials of the client's own, or once there is a jar.

Invariant: while `find_get` finds a request, that request has neither cookies nor credentials but those of its URL, and
a Flow is made for it only when an answer asks for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from turbosock.client.auth.argument import AuthArgument, auth_argument
from turbosock.client.auth.base import Auth
from turbosock.client.flow import Flow
from turbosock.client.middleware import Draft
from turbosock.client.redirects import RedirectPolicy
from turbosock.client.request import Headers, PreparedRequest, Preparer, request_body
from turbosock.client.retries import RetryPolicy, RetryState
from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool
    from turbosock.client.cookies import CookiePairs, Cookies
    from turbosock.client.middleware.chain import Chain
    from turbosock.client.request_options import Informational
    from turbosock.client.url import Params, Url
    from turbosock.connection.source import BodySource, Progress
    from turbosock.host_map import HostMapArgument
    from turbosock.local_address import LocalAddressArgument
    from turbosock.pool.origin_pool import OriginKey
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.proxy_config import ProxyHops
    from turbosock.serializer import Serializer

# What `cookies=` of a Client or Loop takes: a jar, None for one of its own, False for none.
CookiesArgument: TypeAlias = "Cookies | Literal[False] | None"
# How far redirects are followed unless a Client or Loop is told.
REDIRECTS: Final = RedirectPolicy()
_STANDARD_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))


class Order(NamedTuple):
    """A request as it was asked for: ready to be sent, with its body, with what decides on the ones after it, and who
    is told of answers before the final one.

    Whoever takes it releases `source` when the request is over.
    """

    prepared: PreparedRequest
    source: BodySource | None
    flow: Flow | None
    on_informational: Informational | None


class Session:
    """See the module.

    Args:
        preparer, buffers, serializer: make requests and their bodies.
        chain: the links of middleware, or None.
        redirects: how far they are followed; None: not at all, unless a request asks for it.
        retries: when requests are sent again; None: never.
        auth: for requests that have no `auth` of their own.
        cookies: the jar; None: one of its own, made when the first cookie comes; False: none.

    Raises:
        InvalidOption: an argument is something else; it is named.
    """

    __slots__ = (
        "_buffers",
        "_chain",
        "_cookies",
        "_keeps_cookies",
        "_made",
        "_serializer",
        "auth",
        "find_get",
        "follows",
        "preparer",
        "redirects",
        "retries",
    )

    def __init__(
        self,
        preparer: Preparer,
        buffers: BufferPool,
        serializer: Serializer | None = None,
        chain: Chain | None = None,
        *,
        redirects: RedirectPolicy | None = REDIRECTS,
        retries: RetryPolicy | None = None,
        auth: AuthArgument | None = None,
        cookies: CookiesArgument = None,
    ) -> None:
        if redirects is not None and not isinstance(redirects, RedirectPolicy):
            raise InvalidOption(f"redirects: a {type(redirects).__name__} was given; give a RedirectPolicy, or None")
        self.preparer = preparer
        self._buffers = buffers
        self._serializer = serializer
        # Links that change no request are not asked.
        self._chain = chain if chain is not None and chain.prepares else None
        self.follows = redirects is not None
        self.redirects = REDIRECTS if redirects is None else redirects
        self.retries = None if retries is None else RetryState(retries)
        self.auth: Auth | None = auth_argument(auth)
        self._keeps_cookies = cookies is not False
        self._cookies: Cookies | None = None
        self._made: dict[str, Cookies] = {}
        self.find_get: Callable[[str], PreparedRequest | None] = (
            preparer.by_method["GET"].get if self._chain is None else self._prepare_get
        )
        if self.retries is not None or self.auth is not None:
            self.find_get = _find_nothing
        if cookies is not None and cookies is not False:
            self._use(_checked_jar(cookies))

    @property
    def cookies(self) -> Cookies:
        """The jar; made when it is first asked for.

        Raises:
            InvalidOption: it was declined.
        """
        if self._cookies is None:
            if not self._keeps_cookies:
                raise InvalidOption("cookies=False: this client keeps none")
            # Imported here: the standard library's cookies take a third of what all of turbosock takes.
            from turbosock.client.cookies import Cookies

            # Another thread may do the same: one step decides whose jar it is, and no lock can be left held by a fork.
            self._use(self._made.setdefault("jar", Cookies()))
        assert self._cookies is not None, "just made"
        return self._cookies

    def _use(self, cookies: Cookies) -> None:
        self._cookies = cookies
        self.find_get = _find_nothing

    def cookie_for(self, url: Url, own: CookiePairs) -> str | None:
        """The value of a request's Cookie field, of the jar's cookies and its own; None without any."""
        cookies = self._cookies
        if cookies is None:
            return "; ".join([f"{name}={value}" for name, value in own]) if own else None
        key = url.key
        return cookies.header_for(key.scheme, _cookie_host(key), key.port, url.target, own)

    def keep_cookies(self, url: Url, headers: HeaderList) -> None:
        """Take what an answer sets."""
        if self._keeps_cookies:
            key = url.key
            self.cookies.extract(key.scheme, _cookie_host(key), key.port, url.target, headers)

    def _prepare_get(self, url: str) -> PreparedRequest | None:
        """A plain GET as the links want it; None: they want something that takes more than a look-up."""
        assert self._chain is not None, "used in place of the look-up where there are links"
        draft = Draft("GET", url, None, None, None)
        self._chain.prepare(draft)
        if draft.auth is not None:
            # Asked again, they will say the same.
            return None
        return self.preparer.prepare(draft.method, draft.url, params=draft.params, headers=draft.headers)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        headers: Headers | None = None,
        content: object = None,
        data: object = None,
        json: object = None,
        files: object = None,
        progress: Progress | None = None,
        on_informational: Informational | None = None,
        auth: AuthArgument | None = None,
        cookies: Mapping[str, str] | None = None,
        follow_redirects: bool | None = None,
        proxy: ProxyHops | bool | None = None,
        host_map: HostMapArgument | None = None,
        local_address: LocalAddressArgument | None = None,
        upgrades: bool = False,
    ) -> Order:
        """What `Client.request` and `Loop.request` were told, checked and ready to be sent.

        Args:
            upgrades: whether the request is to change the protocol of its connection.

        Raises:
            InvalidOption, InvalidUrl, InvalidHeader, LimitError: naming the argument.
        """
        if self._chain is not None:
            draft = Draft(method, url, params, headers, auth)
            self._chain.prepare(draft)
            method, url, params, headers, auth = draft.method, draft.url, draft.params, draft.headers, draft.auth
        if isinstance(method, str) and method.upper() in _STANDARD_METHODS:
            # Methods have their case (RFC 9110 section 9.1); nobody means another one by "get".
            method = method.upper()
        if follow_redirects is not None and not isinstance(follow_redirects, bool):
            raise InvalidOption(f"follow_redirects={follow_redirects!r}: give True, False or None")
        if on_informational is not None and not callable(on_informational):
            raise InvalidOption(f"on_informational={on_informational!r}: give a function of a status code and headers")
        own_auth = self.auth if auth is None else auth_argument(auth)
        pairs: CookiePairs = ()
        if cookies is not None:
            from turbosock.client.cookies import cookie_pairs

            pairs = cookie_pairs(cookies)
        routes = None
        if host_map is not None or local_address is not None or proxy is not None:
            routes = self.preparer.routes.changed(host_map, local_address, proxy)
        if upgrades:
            routes = (routes or self.preparer.routes).of_upgrades()
        source, content_type = request_body(
            content, data, json, files, progress, buffers=self._buffers, serializer=self._serializer
        )
        try:
            preparer = self.preparer
            has_secrets = own_auth is not None or bool(pairs) or self._cookies is not None
            if routes is None and not (has_secrets and (params is not None or preparer.has_default_authorization)):
                # An equal request may be in memory.
                prepared = preparer.prepare(
                    method, url, params=params, headers=headers, source=source, content_type=content_type
                )
                cookie = self.cookie_for(prepared.url, pairs) if has_secrets else None
                if own_auth is None and source is None and not pairs and follow_redirects is None and not self.retries:
                    if cookie is not None:
                        prepared = preparer.with_secrets(prepared, None, cookie)
                    return Order(prepared, None, None, on_informational)
                flow = Flow(self, source, own_auth, pairs, follow_redirects)
                if has_secrets:
                    authorization = flow.authorization(prepared.method, prepared.url)
                    keep = own_auth is None or own_auth.is_steady
                    prepared = preparer.with_secrets(prepared, authorization, cookie, source, keep=keep)
                return Order(prepared, source, flow, on_informational)
            flow = Flow(self, source, own_auth, pairs, follow_redirects, routes)
            prepared = preparer.prepare(
                method,
                url,
                params=params,
                headers=headers,
                secrets=flow,
                source=source,
                content_type=content_type,
                routes=routes,
            )
        except BaseException:
            if source is not None:
                source.release()
            raise
        return Order(prepared, source, flow, on_informational)


def _cookie_host(key: OriginKey) -> str:
    """The host whose cookies these are: of a Unix socket a name made of its path, which nothing else has."""
    return key.host if key.path is None else f"{key.path.encode().hex()}.unix"


def _find_nothing(url: str) -> None:
    """In the place of the look-up: more is to be done."""


def _checked_jar(cookies: object) -> Cookies:
    from turbosock.client.cookies import Cookies

    if not isinstance(cookies, Cookies):
        raise InvalidOption(f"cookies: a {type(cookies).__name__} was given; give a turbosock.Cookies, None or False")
    return cookies
