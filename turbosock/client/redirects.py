"""Redirects: whether an answer is one, and what is then requested with which method, fields and body.

RFC 9110 §15.4 and §10.2.2, with what browsers do where it leaves a choice (the Fetch standard, §4.4).

- 301 and 302 turn POST into GET, and 303 everything but HEAD; 307 and 308 keep the method. What becomes a GET or
  follows a 303 loses its body, and the fields that described it.
- A change of scheme, host or port takes Authorization, Proxy-Authorization, Cookie and Host off the request, in every
  spelling and number. They are gone then: no later hop brings them back, not even one to the first origin. `a.example`
  and `a.example.` are two hosts here, as they are for browsers; a port that is the scheme's own is the same written or
  not.
- What browsers send raw or encode for the server (UTF-8, spaces, a '%' that encodes nothing) is percent-encoded. A
  user and password in a Location are refused: they hide whose address it is (RFC 9110 §4.2.4).

Decided here, and nothing done: no body is rewound, no connection let go, nothing is waited for. `follow` is given every
field that was sent for the user, the defaults of the client included, and its answer replaces them all; who adds
credentials in another way (`auth=`, a jar of cookies, a netrc file) adds them after a redirect for an origin that they
are meant for, and the caller's own only while `Redirect.same_origin` holds.

Invariant: the fields of a redirect are a part of those that were given, in their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote

from turbosock import limits
from turbosock.client.uri_reference import Reference, resolved, split_reference
from turbosock.client.url import HEX_DIGITS, KEPT, Url
from turbosock.config import check_count
from turbosock.connection.source import BodySource
from turbosock.errors import InvalidOption, InvalidUrl, Origin, RedirectError, TooManyRedirects
from turbosock.protocol.http1.headers import HeaderList

# RFC 9110 §15.4: 300 leaves the choice to the user, 304 is no redirect, 305 and 306 are gone.
REDIRECT_STATUSES: Final = frozenset((301, 302, 303, 307, 308))

_OF_WEBSOCKETS: Final = {"ws": "http", "wss": "https"}

# Fields for one origin only.
_ORIGIN_KEYS: Final = frozenset((b"authorization", b"cookie", b"host", b"proxy-authorization"))
# Fields about a body, beside those that begin with "content-" (RFC 9110 §15.4, RFC 9530). An Expect without a body
# would wait for nothing.
_BODY_KEYS: Final = frozenset(
    (b"digest", b"expect", b"last-modified", b"repr-digest", b"trailer", b"transfer-encoding")
)


@dataclass(frozen=True, slots=True)
class RedirectPolicy:
    """How far redirects are followed.

    Attributes:
        max_redirects: followed for one request; 0: the first one is an error.
        allow_downgrade: follow from https to http too, where anybody on the path can read and change everything.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    max_redirects: int = limits.REDIRECTS
    allow_downgrade: bool = False

    def __post_init__(self) -> None:
        check_count("max_redirects", self.max_redirects, 0, limits.MAX_REDIRECTS)
        if not isinstance(self.allow_downgrade, bool):
            raise InvalidOption(f"allow_downgrade={self.allow_downgrade!r}: give True or False")


class Visit(NamedTuple):
    """One request of a chain of redirects."""

    method: str
    url: Url


class Redirect(NamedTuple):
    """The request that follows a redirect.

    Attributes:
        method, url: of that request. `url` has the credentials of the one before where the origin is the same.
        headers: its fields, which replace all that were sent for the user.
        keep_body: whether the body is sent again; it must be rewound first.
        same_origin: whether it, and every request before it, goes to the first one's origin.
        fragment: of its URL, percent-encoded, for whoever shows it; None without one.
        seen: the requests so far, for the next `follow`.
    """

    method: str
    url: Url
    headers: HeaderList
    keep_body: bool
    same_origin: bool
    fragment: str | None
    seen: tuple[Visit, ...]


def follow(
    policy: RedirectPolicy,
    method: str,
    url: Url,
    headers: HeaderList,
    source: BodySource | None,
    status_code: int,
    location: bytes | None,
    seen: tuple[Visit, ...] = (),
    *,
    fragment: str | None = None,
    upgrades: bool = False,
) -> Redirect | None:
    """What to request after an answer; None: it is no redirect, or says not where to.

    Args:
        method, url, headers, source: of the request that was answered.
        location: the value of the answer's Location; see `location_of`.
        seen: the requests before that one: of the redirect that led to it, or empty.
        fragment: of `url`, percent-encoded.
        upgrades: whether the request opens a WebSocket, for which ws and wss are other words for http and https.

    Raises:
        TooManyRedirects: `max_redirects` were followed, or the same request comes too often.
        RedirectError: the Location cannot be used (code "redirect_location"), has another scheme than http and https
            ("redirect_scheme") or a user name ("redirect_credentials"), or leads from https to http
            ("redirect_downgrade"); or the body cannot be sent again ("redirect_body").
    """
    if status_code not in REDIRECT_STATUSES or not location:
        return None
    if len(seen) >= policy.max_redirects:
        raise TooManyRedirects(
            f"max_redirects={policy.max_redirects} were followed, and the answer is another one ({status_code}): "
            "raise max_redirects, or ask for its Location yourself"
        )
    target, own_fragment = _target(url, status_code, location, upgrades)
    if url.key.scheme == "https" and target.key.scheme != "https" and not policy.allow_downgrade:
        raise RedirectError(
            f"the answer redirects ({status_code}) from https to {target.safe}, which anybody on the path can read "
            "and change: ask for that yourself, or set allow_downgrade=True",
            code="redirect_downgrade",
        )
    seen = (*seen, Visit(method, url))
    method, body_goes = _method_after(status_code, method, source is not None)
    visits = sum(each.method == method and each.url.full == target.full for each in seen)
    if visits >= limits.MAX_REDIRECT_VISITS:
        raise TooManyRedirects(
            f"the answers redirect in a loop: {method} {target.safe} would be sent more than "
            f"{limits.MAX_REDIRECT_VISITS} times; the server may want a cookie or credentials that it does not get",
            code="redirect_loop",
        )
    keep_body = source is not None and not body_goes
    if source is not None and keep_body and not source.replayable:
        raise RedirectError(
            f"the answer redirects ({status_code}) the request with its body to {target.safe}, and the body cannot be "
            "sent twice: give it as bytes or as a file that can seek",
            code="redirect_body",
            origin=Origin.LOCAL,
        )
    stays = same_origin(url, target)
    if stays:
        target.credentials = url.credentials
    return Redirect(
        method=method,
        url=target,
        headers=_without(headers, origin_changes=not stays, body_goes=body_goes),
        keep_body=keep_body,
        same_origin=all(same_origin(each.url, target) for each in seen),
        fragment=fragment if own_fragment is None else own_fragment,
        seen=seen,
    )


def location_of(status_code: int, headers: HeaderList) -> bytes | None:
    """The Location of a redirect; None where the answer is none, or has no Location or an empty one.

    Raises:
        RedirectError: there are several that differ, of which another recipient may take another (code
            "redirect_location").
    """
    if status_code not in REDIRECT_STATUSES:
        return None
    values = {value for name, value in headers.raw if name.lower() == b"location" and value}
    if len(values) > 1:
        raise RedirectError(
            f"the answer ({status_code}) has {len(values)} Location fields that differ, so it says not where to go: "
            "look at its headers and ask for the right one yourself",
            code="redirect_location",
        )
    return values.pop() if values else None


def same_origin(one: Url, other: Url) -> bool:
    """Whether two URLs have scheme, host and port in common; for Unix sockets their path."""
    a, b = one.key, other.key
    return a.scheme == b.scheme and a.host == b.host and a.port == b.port and a.path == b.path


def _method_after(status_code: int, method: str, has_body: bool) -> tuple[str, bool]:
    """The method of the next request, and whether the body, and what describes it, goes."""
    if status_code == 303:
        return ("HEAD" if method == "HEAD" else "GET"), has_body or method not in ("GET", "HEAD")
    if method == "POST" and status_code in (301, 302):
        return "GET", True
    return method, False


def _without(headers: HeaderList, *, origin_changes: bool, body_goes: bool) -> HeaderList:
    """The fields that the next request still has."""
    kept: list[tuple[bytes, bytes]] = []
    keys: list[bytes] = []
    for field in headers.raw:
        key = field[0].lower()
        if origin_changes and key in _ORIGIN_KEYS:
            continue
        if body_goes and (key in _BODY_KEYS or key.startswith(b"content-")):
            continue
        kept.append(field)
        keys.append(key)
    return headers if len(kept) == len(headers) else HeaderList.of_valid(kept, keys)


# Where to


def _target(url: Url, status_code: int, location: bytes, upgrades: bool) -> tuple[Url, str | None]:
    """The URL that a Location means, and its own fragment."""
    # What a peer wrote is not shown where it cannot be used: it may hold a password.
    broken = f"the Location of the answer ({status_code}) cannot be used"
    if len(location) > limits.MAX_URL_LENGTH:
        raise RedirectError(
            f"{broken}: {len(location)} bytes; at most {limits.MAX_URL_LENGTH} are taken", code="redirect_location"
        )
    if any(byte < 0x20 or byte == 0x7F for byte in location):
        raise RedirectError(f"{broken}: it holds a control character", code="redirect_location")
    # Bytes that are no UTF-8 stay what they are: each is percent-encoded by itself.
    reference = split_reference(location.decode("utf-8", "surrogateescape"))
    if upgrades and reference.scheme is not None:
        reference = reference._replace(scheme=_OF_WEBSOCKETS.get(reference.scheme.lower(), reference.scheme))
    # One that begins with "//" takes the scheme of the base, and a peer must not choose among Unix sockets.
    scheme = reference.scheme if reference.scheme is not None or reference.authority is None else url.key.scheme
    if scheme is not None and scheme.lower() not in ("http", "https"):
        raise RedirectError(
            f"{broken}: its scheme is neither http nor https. If it can be trusted, see the answer's headers",
            code="redirect_scheme",
        )
    if reference.authority is not None and "@" in reference.authority:
        raise RedirectError(
            f"{broken}: it has a user name, which hides whose address it is (RFC 9110 section 4.2.4)",
            code="redirect_credentials",
        )
    whole = resolved(_base(url), reference)
    text = f"{whole.scheme}:" if whole.authority is None else f"{whole.scheme}://{whole.authority}"
    text += _encoded(whole.path)
    if whole.query is not None:
        text += "?" + _encoded(whole.query)
    try:
        target = Url(text)
    except InvalidUrl as error:
        raise RedirectError(f"{broken}: {str(error).removeprefix('url: ')}", code="redirect_location") from error
    return target, None if whole.fragment is None else _encoded(whole.fragment)


def _base(url: Url) -> Reference:
    """A URL as the base of references; its authority names the same origin, zone of an IPv6 address included."""
    key = url.key
    if key.path is not None:
        authority = quote(key.path, safe="")
    else:
        host = "[" + key.host.replace("%", "%25") + "]" if ":" in key.host else key.host
        authority = f"{host}:{key.port}"
    path, mark, query = url.target.partition("?")
    return Reference(key.scheme, authority, path, query if mark else None, None)


def _encoded(text: str) -> str:
    """A path, query or fragment in ASCII: what cannot stand there percent-encoded, a '%' that encodes nothing too."""
    first, *others = quote(text, safe=KEPT, errors="surrogateescape").split("%")
    for index, part in enumerate(others):
        encodes = len(part) >= 2 and part[0] in HEX_DIGITS and part[1] in HEX_DIGITS
        others[index] = ("%" if encodes else "%25") + part
    return first + "".join(others)
