"""URLs of requests: split once, checked strictly, credentials kept apart (RFC 3986, RFC 9110 §4.2).

`http://host[:port]/path?query`, and `http+unix://%2Frun%2Fapp.sock/path` for a Unix socket whose path is the
percent-encoded authority; what a host may be is for `host_port.py` to say. Characters beyond ASCII and spaces in path
and query are percent-encoded as UTF-8, as browsers do; control characters are refused, because what is dropped silently
moves boundaries. A fragment is not sent.

User information becomes `credentials`, never part of a target, a Host field, a message or a repr.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote, urlencode

from turbosock import limits
from turbosock.errors import InvalidUrl
from turbosock.host_port import split_host_port
from turbosock.pool.origin_pool import OriginKey

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "http+unix": 0}

# What stays as it is when a path or query is encoded: RFC 3986's characters, and "%" for what is encoded already.
KEPT: Final = "!#$%&'()*+,/:;=?@[]~-._"
HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")

Params = dict[str, object] | list[tuple[str, object]] | str


class Url:
    """One URL, checked and split.

    Attributes:
        key: what a connection to it is known by.
        target: the request target in origin form, str of ASCII.
        authority: the value of the Host field.
        credentials: (user, password) from the URL, or None.
        safe: scheme, host, port and path, for messages and logs.
        full: the URL without credentials and fragment.
        fragment: percent-encoded where it must be, or None; it is not sent.

    Raises:
        InvalidUrl: with the reason and what to write instead; the message has no credentials.
    """

    __slots__ = ("authority", "credentials", "fragment", "full", "key", "safe", "target")

    def __init__(self, url: str, params: Params | None = None) -> None:
        if not isinstance(url, str):
            raise InvalidUrl(f"url: a {type(url).__name__} was given; give a str such as 'http://host/path'")
        if len(url) > limits.MAX_URL_LENGTH:
            raise InvalidUrl(f"url: {len(url)} characters; at most {limits.MAX_URL_LENGTH} are taken")
        for character in url:
            if character < " " or character == "\x7f":
                raise InvalidUrl(f"url: it holds the control character {character!r}; remove or percent-encode it")
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or not scheme.replace("+", "").isalnum():
            # Without one, what stands there may be a password: it is not shown.
            raise InvalidUrl("url: it has no scheme; begin with 'http://'")
        if scheme in ("ws", "wss", "ws+unix"):
            raise InvalidUrl(
                f"url: {scheme}:// is for WebSockets; open it with websocket(), or write {'http' + scheme[2:]}://"
            )
        if scheme not in DEFAULT_PORTS:
            raise InvalidUrl(f"url: the scheme {scheme[:20]!r} is not known here; use {' or '.join(DEFAULT_PORTS)}")
        rest, mark, fragment = rest.partition("#")
        self.fragment: str | None = quote(fragment, safe=KEPT, errors="replace") if mark else None
        end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
        authority = rest[:end]
        userinfo, at, hostport = authority.rpartition("@")
        self.credentials: tuple[str, str] | None = None
        if at:
            user, _, password = userinfo.partition(":")
            self.credentials = (unquote(user), unquote(password))
        if "\\" in authority:
            raise InvalidUrl("url: a backslash in the host; use '/' in URLs")
        if scheme == "http+unix":
            path = unquote(hostport)
            if not path or "\0" in path:
                raise InvalidUrl("url: http+unix:// needs the socket's path, percent-encoded, in place of the host")
            self.key = OriginKey(scheme, "localhost", 0, path)
            self.authority = "localhost"
        else:
            host, port = split_host_port(hostport, DEFAULT_PORTS[scheme])
            self.key = OriginKey(scheme, host, port)
            shown = f"[{host.partition('%')[0]}]" if ":" in host else host
            self.authority = shown if port == DEFAULT_PORTS[scheme] else f"{shown}:{port}"
        target = quoted(rest[end:], "url") or "/"
        if target.startswith("?"):
            target = "/" + target
        if params is not None:
            query = params if isinstance(params, str) else encode_params(params)
            query = quoted(query, "params").removeprefix("?")
            if query:
                target += ("&" if "?" in target else "?") + query
        self.target = target
        where = quote(self.key.path, safe="") if self.key.path is not None else self.authority
        self.full = f"{scheme}://{where}{target}"
        self.safe = f"{scheme}://{where}{target.partition('?')[0]}"

    def aim(self, target: str) -> None:
        """Have this request target sent instead of the URL's, as it stands (RFC 9112 §3.2)."""
        base = self.full.removesuffix(self.target)
        self.target = target
        # The absolute form of "*" is the URL without a path (RFC 9112 §3.2.4); other forms name their server already.
        self.full = base if target == "*" else base + target if target.startswith("/") else target

    @property
    def shown(self) -> str:
        """The URL with its fragment and without credentials, as `Response.url` shows it."""
        return self.full if self.fragment is None else f"{self.full}#{self.fragment}"

    def __repr__(self) -> str:
        return f"<Url {self.safe}>"


def quoted(text: str, argument: str) -> str:
    """A path or query in ASCII, percent-encoded where it is not.

    Raises:
        InvalidUrl: a '%' that encodes nothing, which a server might read in another way; or half a character.
    """
    try:
        target = quote(text, safe=KEPT)
    except UnicodeEncodeError as error:
        raise InvalidUrl(f"{argument}: it holds a lone surrogate, which is half a character") from error
    at = target.find("%")
    while at >= 0:
        if not (target[at + 1 : at + 2] in HEX_DIGITS and target[at + 2 : at + 3] in HEX_DIGITS):
            raise InvalidUrl(f"{argument}: a '%' without two hexadecimal digits; write '%25' for a percent sign")
        at = target.find("%", at + 3)
    return target


def encode_params(params: object) -> str:
    """A query string from a mapping or pairs; a list value repeats its key, None leaves it out.

    Raises:
        InvalidUrl: `params` is neither.
    """
    try:
        return urlencode(text_pairs(params))
    except UnicodeEncodeError as error:
        raise InvalidUrl("params: a text holds a lone surrogate, which is half a character") from error


def text_pairs(params: object) -> list[tuple[str | bytes, str | bytes]]:
    """The pairs of a mapping or of pairs as text; a list value repeats its key, None leaves it out.

    Raises:
        InvalidUrl: `params` is neither.
    """
    try:
        items = list(params.items()) if hasattr(params, "items") else [(key, value) for key, value in params]  # type: ignore[attr-defined]  # the except clause answers for it
    except (TypeError, ValueError) as error:
        raise InvalidUrl("params: give a mapping, pairs of key and value, or a str") from error
    pairs: list[tuple[str | bytes, str | bytes]] = []
    for key, value in items:
        values = value if isinstance(value, (list, tuple)) else (value,)
        pairs.extend((_param_text(key), _param_text(one)) for one in values if one is not None)
    return pairs


def _param_text(value: object) -> str | bytes:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, bytes) else str(value)
