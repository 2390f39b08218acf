"""CookieStore: the CookieJar that `Cookies` has unless it is given another: bounded, indexed, quiet about values.

The standard jar looks at every domain it knows for each request, keeps an empty dictionary for each domain and path it
ever saw, has no bound, and shows values in its repr. This one keeps its public methods and does the rest of it anew.

Invariants, under the one lock: `count` is the number of cookies in `_domains`; no domain in it is empty; there are at
most `MAX_COOKIES`, and `MAX_COOKIES_PER_DOMAIN` of each. A cookie that takes the place of another has its number, which
is the order of creation (RFC 6265 section 5.3, step 11). Cookies of one name with and without Domain are two, as in
RFC 6265bis.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from http.cookiejar import Cookie, CookieJar, CookiePolicy
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.client.cookie_rules import SECURE_SCHEMES, CookieRules, host_of, path_matches, path_of
from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from urllib.request import Request


class CookieStore(CookieJar):
    """A CookieJar for any number of threads.

    Args:
        rules: its policy; None makes one.

    Attributes:
        rules: the policy.
        count: how many cookies there are.
        dropped: cookies that `set_cookie` had no room for.
    """

    def __init__(self, rules: CookieRules | None = None) -> None:
        self.rules = rules if rules is not None else CookieRules()
        super().__init__(self.rules)
        self._lock = threading.RLock()
        self._domains: dict[str, dict[tuple[str, str], tuple[int, Cookie]]] = {}
        self.count = 0
        self._numbers = 0
        self._cleared_s = -1
        self.dropped = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.rules, list(self))

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Cookie]:
        with self._lock:
            found = [entry for entries in self._domains.values() for entry in entries.values()]
        found.sort(key=_number)
        return iter([cookie for _, cookie in found])

    def __repr__(self) -> str:
        return f"<CookieStore of {self.count}>"

    __str__ = __repr__

    def set_policy(self, policy: CookiePolicy) -> None:
        """Take other rules. Raises InvalidOption for a policy of another kind, whose hooks would not be asked."""
        if not isinstance(policy, CookieRules):
            raise InvalidOption(f"policy: a {type(policy).__name__} was given; a CookieStore takes CookieRules")
        self.rules = policy
        super().set_policy(policy)

    def set_cookie(self, cookie: Cookie) -> None:
        """Put a cookie in, in the place of one with the same domain, path and name; counted if there is no room."""
        if not self.add(cookie):
            self.dropped += 1

    def add(self, cookie: Cookie) -> bool:
        """As `set_cookie`, but says whether there was room and counts nothing."""
        key = (cookie.path, cookie.name)
        with self._lock:
            known = self._domains.get(cookie.domain, {}).get(key)
            if known is not None:
                self._domains[cookie.domain][key] = (known[0], cookie)
                return True
            if not self._has_room(cookie.domain):
                return False
            self._domains.setdefault(cookie.domain, {})[key] = (self._numbers, cookie)
            self._numbers += 1
            self.count += 1
            return True

    def set_cookie_if_ok(self, cookie: Cookie, request: Request) -> None:
        """Put a cookie in if the rules permit it."""
        if self.rules.set_ok(cookie, request):
            self.set_cookie(cookie)

    def remove(self, domain: str, path: str, name: str) -> bool:
        """Take one cookie out; False if it is not there."""
        with self._lock:
            entries = self._domains.get(domain)
            if entries is None or entries.pop((path, name), None) is None:
                return False
            self.count -= 1
            if not entries:
                del self._domains[domain]
            return True

    def remove_all(self, cookies: Iterable[Cookie]) -> None:
        """Take out those of the cookies that are there."""
        with self._lock:
            for cookie in cookies:
                self.remove(cookie.domain, cookie.path, cookie.name)

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        """Take out all cookies, or those of a domain, of a path in it, or the one of a name there.

        Raises:
            ValueError: a path without a domain, or a name without both.
            KeyError: nothing is there.
        """
        if (path is not None and domain is None) or (name is not None and path is None):
            raise ValueError("a path needs its domain, and a name needs both")
        with self._lock:
            if domain is None:
                self._domains.clear()
                self.count = 0
                return
            found = [
                cookie
                for _, cookie in self._domains.get(domain, {}).values()
                if path in (None, cookie.path) and name in (None, cookie.name)
            ]
            if not found:
                raise KeyError(domain)
            self.remove_all(found)

    def clear_expired_cookies(self) -> None:
        """Take out the cookies whose time has come."""
        now_s = self.rules.now_s()
        self.remove_all([cookie for cookie in self if cookie.is_expired(now_s)])

    def clear_session_cookies(self) -> None:
        """Take out the cookies that were not given an end."""
        self.remove_all([cookie for cookie in self if cookie.discard])

    def add_cookie_header(self, request: Request) -> None:
        """Give `request` its Cookie field, if it has any cookies: longest paths first, then the oldest."""
        cookies = self.cookies_for(host_of(request), path_of(request), request.type in SECURE_SCHEMES)
        if cookies and not request.has_header("Cookie"):
            request.add_unredirected_header("Cookie", "; ".join(map(_pair, cookies)))

    def cookies_for(self, host: str, path: str, secure: bool) -> list[Cookie]:
        """The cookies that go to `path` at `host`, in the order they are sent in (RFC 6265 section 5.4)."""
        rules = self.rules
        now_s = rules.now_s()
        found: list[tuple[int, int, Cookie]] = []
        with self._lock:
            domain = host
            while domain:
                entries = self._domains.get(domain)
                if entries is not None and not rules.is_blocked(domain) and not rules.is_not_allowed(domain):
                    for number, cookie in entries.values():
                        if path_matches(path, cookie.path) and rules.goes_with(cookie, host, secure, now_s):
                            found.append((-len(cookie.path), number, cookie))
                # "host", ".host", ".parent", and so on: the keys that cookies of this host can have.
                at = domain.find(".", 1)
                domain = "." + host if domain == host else (domain[at:] if at >= 0 else "")
        found.sort(key=_order)
        return [cookie for _, _, cookie in found]

    def drop_inherited(self) -> None:
        """In the child of a fork: a thread of the parent may have held the lock, and been in the middle of a change."""
        self._lock = threading.RLock()
        self._domains = {domain: entries for domain, entries in self._domains.items() if entries}
        self.count = sum(map(len, self._domains.values()))

    def _has_room(self, domain: str) -> bool:
        """Whether one more fits, after what has expired was let go at most once a second. Under the lock."""
        if self._fits(domain):
            return True
        now_s = self.rules.now_s()
        if now_s != self._cleared_s:
            self._cleared_s = now_s
            self.clear_expired_cookies()
        return self._fits(domain)

    def _fits(self, domain: str) -> bool:
        return self.count < limits.MAX_COOKIES and len(self._domains.get(domain, ())) < limits.MAX_COOKIES_PER_DOMAIN


def _number(entry: tuple[int, Cookie]) -> int:
    return entry[0]


def _order(entry: tuple[int, int, Cookie]) -> tuple[int, int]:
    return entry[:2]


def _pair(cookie: Cookie) -> str:
    return cookie.name if cookie.value is None else f"{cookie.name}={cookie.value}"


def _restored(rules: CookieRules, cookies: list[Cookie]) -> CookieStore:
    """The store that was pickled."""
    store = CookieStore(rules)
    for cookie in cookies:
        store.add(cookie)
    return store
