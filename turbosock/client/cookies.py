"""Cookies: a jar with the face of a mapping, and what an exchange asks of it (RFC 6265).

The jar is an `http.cookiejar.CookieJar`, in the attribute `jar`, for everything that takes one; loading and saving are
its business. Set-Cookie fields are read by `set_cookie.py`, decided on by `cookie_rules.py` and kept, unless a jar is
given, by `cookie_store.py`. What is sent is the jar's own choice, asked for through `CookieRequest`.

Invariants: no answer raises anything here; what is not taken is counted. Without a cookie to send nothing is made. The
cookies of one request (`cookie_pairs`) go with that request, in the place of those of the same name, and enter no jar.
No repr and no message has a value in it.

The host is always the URL's. Ports do not keep cookies apart (RFC 6265 section 8.5). A
Unix socket's cookies are its own: its host here is its path in hexadecimal, below `unix`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from turbosock import limits
from turbosock.client.cookie_rules import (
    SECURE_SCHEMES,
    CookieRequest,
    CookieRules,
    default_path,
    domain_matches,
    is_address,
    path_matches,
)
from turbosock.client.cookie_store import CookieStore
from turbosock.client.set_cookie import SetCookie, parse_set_cookie
from turbosock.errors import InvalidOption, LimitError
from turbosock.forks import renewed_in_child
from turbosock.protocol.http1.grammar import VISIBLE, is_token
from turbosock.protocol.http1.headers import HeaderList

if TYPE_CHECKING:
    from urllib.request import Request

CookiePairs: TypeAlias = tuple[tuple[str, str], ...]

# What the value of a cookie that a user gives may hold: RFC 6265 section 4.1.1 has less, but a space, a comma, a quote
# or a backslash cannot move a boundary, and servers do set them.
_VALUE: Final = (VISIBLE + b" ").replace(b";", b"")


class Cookies:
    """Cookies that one client, or several, keep between requests; safe to share between threads.

    A mapping of names to values for reading: `cookies["name"]`, `in`, `keys()`, `len`. A name may be there more than
    once, for different domains and paths; `get` and `[]` then want to be told which.

    Args:
        jar: where they are kept. None makes a CookieStore. A jar of another kind gets CookieRules for its policy, with
            the lists of blocked and allowed domains that it had; only its cookies are bounded here, not its memory of
            domains and paths gone by.
        rules: the policy, instead of that.

    Attributes:
        jar: the CookieJar.
        dropped: cookies that were over a limit, in either direction.
        refused: cookies that were malformed or not permitted.

    Raises:
        InvalidOption: `jar` is none, or has a policy of its own kind and `rules` does not say what replaces it.
    """

    def __init__(self, jar: CookieJar | None = None, *, rules: CookieRules | None = None) -> None:
        if rules is not None and not isinstance(rules, CookieRules):
            raise InvalidOption(f"rules: a {type(rules).__name__} was given; give CookieRules")
        if jar is None:
            jar = CookieStore(rules)
        elif not isinstance(jar, CookieJar):
            raise InvalidOption(f"jar: a {type(jar).__name__} was given; give an http.cookiejar.CookieJar")
        else:
            rules = rules if rules is not None else _rules_of(jar)
            jar.set_policy(rules)
        self.jar = jar
        self._store = jar if isinstance(jar, CookieStore) else None
        self._foreign_rules = rules if self._store is None else None
        self._lock = threading.RLock()
        self.dropped = 0
        self.refused = 0
        _live.add(self)

    def __getstate__(self) -> dict[str, object]:
        return {"jar": self.jar, "rules": self._rules, "dropped": self.dropped, "refused": self.refused}

    def __setstate__(self, state: dict[str, object]) -> None:
        Cookies.__init__(self, cast(CookieJar, state["jar"]), rules=cast(CookieRules, state["rules"]))
        self.dropped = cast(int, state["dropped"])
        self.refused = cast(int, state["refused"])

    def __repr__(self) -> str:
        return f"<Cookies: {len(self)}>"

    # For exchanges

    def header_for(self, scheme: str, host: str, port: int, path: str, own: CookiePairs = ()) -> str | None:
        """The value of the Cookie field of a request, or None without one; Latin-1, as the cookies came.

        Args:
            scheme, host, port, path: of the URL; the host in lower case, the path with or without its query.
            own: the request's own cookies, from `cookie_pairs`.
        """
        store = self._store
        # No call and no object where there are no cookies: this is asked for every request.
        if store is not None and not store.count:
            return "; ".join([f"{name}={value}" for name, value in own]) if own else None
        request = CookieRequest(scheme, host, port, path)
        self.jar.add_cookie_header(cast("Request", request))
        found = request.cookie_header
        if found is None:
            return "; ".join([f"{name}={value}" for name, value in own]) if own else None
        if not own and len(found) <= limits.MAX_COOKIE_HEADER_BYTES:
            return found
        return self._merged(found, own)

    def extract(self, scheme: str, host: str, port: int, path: str, headers: HeaderList) -> None:
        """Keep what the Set-Cookie fields of an answer say, in their order; the arguments are as of `header_for`."""
        if not headers.count(b"set-cookie"):
            return
        request = CookieRequest(scheme, host, port, path)
        rules = self._rules
        with self._lock:
            now_s = rules.now_s()
            secure_ones = None if scheme in SECURE_SCHEMES else self._secure_cookies()
            room = None if self._store is not None else _Room(self.jar)
            for field in headers.get_all("Set-Cookie"):
                if len(field) > limits.MAX_SET_COOKIE_BYTES:
                    self.dropped += 1
                    continue
                parsed = parse_set_cookie(field, now_s)
                if parsed is None:
                    self.refused += 1
                    continue
                if len(parsed.name) + len(parsed.value) > limits.MAX_COOKIE_BYTES:
                    self.dropped += 1
                    continue
                cookie = _made(parsed, request, rules)
                if not rules.set_ok(cookie, cast("Request", request)) or (
                    secure_ones and _would_hide(cookie, secure_ones)
                ):
                    self.refused += 1
                elif cookie.is_expired(now_s):
                    # An end in the past takes the cookie out (RFC 6265 section 5.3).
                    self._remove(cookie, room)
                elif not self._keep(cookie, room):
                    self.dropped += 1

    # For users

    def set(self, name: str, value: str, *, domain: str, path: str = "/", secure: bool = False) -> None:
        """Keep a cookie of the user's own, until the jar is cleared.

        Args:
            domain: the host it goes to, and no other; with a leading dot (".example.com") also those below it.
            path: it goes to this path and what is below.
            secure: it goes over TLS alone.

        Raises:
            InvalidOption: an argument cannot be sent, or could not be set by any host.
            LimitError: the jar, or its part for this domain, is full.
        """
        (pair,) = cookie_pairs({name: value})
        if not isinstance(domain, str) or not domain.strip("."):
            raise InvalidOption("domain: give the host that the cookie is for, as 'example.com'")
        domain = domain.lower()
        bare = domain.removeprefix(".")
        if domain.startswith(".") and (not domain_matches(bare, bare) or self._rules.is_public_suffix(bare)):
            raise InvalidOption("domain: it is an address or a public suffix, which has no hosts below; leave the dot")
        if not isinstance(path, str) or not path.startswith("/"):
            raise InvalidOption("path: must begin with '/'")
        cookie = _cookie(*pair, domain=domain, path=path, path_specified=True, secure=bool(secure))
        with self._lock:
            if not self._keep(cookie, None if self._store is not None else _Room(self.jar)):
                raise LimitError(
                    f"cookies: there are {limits.MAX_COOKIES} already, or {limits.MAX_COOKIES_PER_DOMAIN} of this"
                    " domain; clear() some"
                )

    def get(
        self, name: str, default: str | None = None, *, domain: str | None = None, path: str | None = None
    ) -> str | None:
        """The value of the cookie of this name, or `default`.

        Raises:
            InvalidOption: there are several, of different domains or paths.
        """
        found = self._find(name, domain, path)
        if len(found) > 1:
            raise InvalidOption(f"name: there are {len(found)} cookies {name!r}; say which by domain= and path=")
        return (found[0].value or "") if found else default

    def delete(self, name: str, *, domain: str | None = None, path: str | None = None) -> None:
        """Take out every cookie of this name, or those of a domain and path. Raises KeyError if there is none."""
        with self._lock:
            found = self._find(name, domain, path)
            if not found:
                raise KeyError(name)
            for cookie in found:
                self._remove(cookie, None)

    def clear(self, *, domain: str | None = None, path: str | None = None) -> None:
        """Take out all cookies, or those of a domain and path."""
        with self._lock:
            for cookie in self._find(None, domain, path):
                self._remove(cookie, None)

    def dict(self, *, domain: str | None = None, path: str | None = None) -> dict[str, str]:
        """Names and values; of several cookies of one name the last in the jar's order."""
        return {cookie.name: cookie.value or "" for cookie in self._find(None, domain, path)}

    def keys(self) -> list[str]:
        """The name of each cookie, in the jar's order; each name once."""
        return list(dict.fromkeys(cookie.name for cookie in self.jar))

    def __getitem__(self, name: str) -> str:
        """As `get`. Raises KeyError without the cookie."""
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def __contains__(self, name: object) -> bool:
        return any(cookie.name == name for cookie in self.jar)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.jar)

    def drop_inherited(self) -> None:
        """In the child of a fork: threads of the parent may have held the locks."""
        self._lock = threading.RLock()
        if self._store is not None:
            self._store.drop_inherited()

    @property
    def _rules(self) -> CookieRules:
        if self._store is not None:
            return self._store.rules
        assert self._foreign_rules is not None
        return self._foreign_rules

    def _find(self, name: str | None, domain: str | None, path: str | None) -> list[Cookie]:
        return [
            cookie
            for cookie in self.jar
            if name in (None, cookie.name) and domain in (None, cookie.domain) and path in (None, cookie.path)
        ]

    def _merged(self, found: str, own: CookiePairs) -> str:
        """The jar's cookies but those that the request has itself, as many as fit, and then the request's."""
        names = {name for name, _ in own}
        pieces = [f"{name}={value}" for name, value in own]
        room = limits.MAX_COOKIE_HEADER_BYTES - sum(len(piece) + 2 for piece in pieces)
        kept = []
        dropped = 0
        for piece in found.split("; "):
            if piece.partition("=")[0] in names:
                continue
            room -= len(piece) + 2
            if room < 0:
                dropped += 1
                room += len(piece) + 2
            else:
                kept.append(piece)
        if dropped:
            with self._lock:
                self.dropped += dropped
        return "; ".join(kept + pieces)

    def _secure_cookies(self) -> Mapping[str, list[Cookie]]:
        """The Secure cookies by name, which a plain connection may not put anything in the way of."""
        found: dict[str, list[Cookie]] = {}
        for cookie in self.jar:
            if cookie.secure:
                found.setdefault(cookie.name, []).append(cookie)
        return found

    def _keep(self, cookie: Cookie, room: _Room | None) -> bool:
        if self._store is not None:
            return self._store.add(cookie)
        assert room is not None
        if not room.take(cookie):
            return False
        self.jar.set_cookie(cookie)
        return True

    def _remove(self, cookie: Cookie, room: _Room | None) -> None:
        if self._store is not None:
            self._store.remove(cookie.domain, cookie.path, cookie.name)
            return
        try:
            self.jar.clear(cookie.domain, cookie.path, cookie.name)
        except KeyError:
            return
        if room is not None:
            room.give_back(cookie)


class _Room:
    """How many cookies a jar without bounds of its own has, counted once for each answer that sets any."""

    __slots__ = ("_by_domain", "_keys")

    def __init__(self, jar: CookieJar) -> None:
        self._keys = {(cookie.domain, cookie.path, cookie.name) for cookie in jar}
        self._by_domain: dict[str, int] = {}
        for domain, _, _ in self._keys:
            self._by_domain[domain] = self._by_domain.get(domain, 0) + 1

    def take(self, cookie: Cookie) -> bool:
        key = (cookie.domain, cookie.path, cookie.name)
        if key in self._keys:
            return True
        count = self._by_domain.get(cookie.domain, 0)
        if len(self._keys) >= limits.MAX_COOKIES or count >= limits.MAX_COOKIES_PER_DOMAIN:
            return False
        self._keys.add(key)
        self._by_domain[cookie.domain] = count + 1
        return True

    def give_back(self, cookie: Cookie) -> None:
        self._keys.discard((cookie.domain, cookie.path, cookie.name))
        self._by_domain[cookie.domain] = self._by_domain.get(cookie.domain, 1) - 1


def cookie_pairs(cookies: Mapping[str, str]) -> CookiePairs:
    """The `cookies=` argument of one request, checked.

    Raises:
        InvalidOption: it is no mapping, or has a name or value that cannot be sent, or too much of them; the message
            shows no value.
    """
    if not isinstance(cookies, Mapping):
        raise InvalidOption(f"cookies: a {type(cookies).__name__} was given; give a mapping of names and values")
    pairs = []
    size = 0
    for name, value in cookies.items():
        if not isinstance(name, str) or not name.isascii() or not is_token(name.encode("ascii")):
            raise InvalidOption(f"cookies: {str(name)[:40]!r} is not a cookie's name; use letters, digits and '-'")
        if not isinstance(value, str):
            raise InvalidOption(f"cookies: the value of {name!r} must be str, not {type(value).__name__}")
        if not value.isascii() or value.encode("ascii").translate(None, _VALUE) or value != value.strip(" "):
            raise InvalidOption(
                f"cookies: the value of {name!r} holds ';', a control character, a character outside ASCII, or white"
                " space at an end; encode it first"
            )
        size += len(name) + len(value) + 3
        pairs.append((name, value))
    if size > limits.MAX_COOKIE_HEADER_BYTES:
        raise InvalidOption(f"cookies: {size} bytes; at most {limits.MAX_COOKIE_HEADER_BYTES} are sent with a request")
    return tuple(pairs)


def _rules_of(jar: CookieJar) -> CookieRules:
    """The rules for a jar that comes with a policy; what that blocks stays blocked."""
    # The cookiejar has a method that sets the policy and none that tells it.
    policy = getattr(jar, "_policy", None)
    if isinstance(policy, CookieRules):
        return policy
    if type(policy) is not DefaultCookiePolicy:
        raise InvalidOption(
            f"jar: its policy is a {type(policy).__name__}, which would be replaced; say by what, with"
            " rules=CookieRules()"
        )
    return CookieRules(blocked_domains=policy.blocked_domains(), allowed_domains=policy.allowed_domains())


def _made(parsed: SetCookie, request: CookieRequest, rules: CookieRules) -> Cookie:
    """The cookie of a Set-Cookie field that answered `request` (RFC 6265 section 5.3, steps 2 to 9)."""
    host = request.hostname
    domain = host
    # Of a domain that nobody may share, its own host has a cookie of its own (step 5).
    if parsed.domain and not (parsed.domain == host and (is_address(host) or rules.is_public_suffix(host))):
        domain = "." + parsed.domain
    return _cookie(
        parsed.name,
        parsed.value,
        domain=domain,
        path=parsed.path or default_path(request.path),
        path_specified=bool(parsed.path),
        secure=parsed.secure,
        expires=parsed.expires,
        # The names under which the cookiejar's files keep them.
        rest=({"HTTPOnly": ""} if parsed.http_only else {})
        | ({"SameSite": parsed.same_site} if parsed.same_site else {}),
    )


def _cookie(
    name: str,
    value: str,
    *,
    domain: str,
    path: str,
    path_specified: bool,
    secure: bool,
    expires: int | None = None,
    rest: dict[str, str] | None = None,
) -> Cookie:
    shared = domain.startswith(".")
    return Cookie(
        version=0,
        name=name,
        value=value,
        port=None,
        port_specified=False,
        domain=domain,
        domain_specified=shared,
        domain_initial_dot=shared,
        path=path,
        path_specified=path_specified,
        secure=secure,
        expires=expires,
        discard=expires is None,
        comment=None,
        comment_url=None,
        rest=rest or {},
    )


def _would_hide(cookie: Cookie, secure_ones: Mapping[str, list[Cookie]]) -> bool:
    """Whether a cookie from a plain connection would stand before a Secure one of its name (RFC 6265bis, 5.7)."""
    bare = cookie.domain.removeprefix(".")
    for other in secure_ones.get(cookie.name, ()):
        theirs = other.domain.removeprefix(".")
        near = bare == theirs or domain_matches(bare, theirs) or domain_matches(theirs, bare)
        if near and path_matches(cookie.path, other.path):
            return True
    return False


_live: Final = renewed_in_child(Cookies.drop_inherited)
