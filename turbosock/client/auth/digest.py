"""DigestAuth: proof of a password without sending it (RFC 7616; its predecessors RFC 2617 and, for MD5, RFC 2069).

Algorithms MD5, SHA-256 and SHA-512-256, each also as -sess; qop auth and auth-int; stale, nextnonce, userhash and
charset. Of several challenges the strongest algorithm that this interpreter has is answered, the server's order
deciding between equals. auth is taken before auth-int, which needs the whole body and is left where that is not known.

What a server said is kept for its origin, so that the next request needs no challenge. Invariants,
under the one lock: a pair of nonce and count leaves here once, whichever thread asks, because a server takes a repeated
one for a replay; a nonce that another has replaced does not come back. A fork's child starts without what its parent
knew, or both would count on from the same number.

`domain` is not followed: credentials go to the origin that asked and to no other. Proof of the server (rspauth) is not
asked for.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from secrets import token_urlsafe
from typing import Final, NamedTuple
from urllib.parse import quote

from turbosock import limits
from turbosock.client.auth.base import Auth, AuthRequest, Body, Origin
from turbosock.client.auth.challenges import Challenge, parse_challenges, parse_parameters
from turbosock.errors import InvalidOption
from turbosock.forks import renewed_in_child
from turbosock.protocol.http1.headers import HeaderList

# Each with its name in hashlib and its strength. SHA-512-256 goes before SHA-256: both are out of reach, and 64-bit
# machines compute it faster.
_ALGORITHMS: Final = {"md5": ("md5", 1), "sha-256": ("sha256", 2), "sha-512-256": ("sha512_256", 3)}
# RFC 7616 section 3.4: the count has eight hexadecimal digits.
_MAX_COUNT: Final = 0xFFFFFFFF
# 192 bits from the system's random source.
_CNONCE_BYTES: Final = 24


class _Offer(NamedTuple):
    """A challenge that can be answered."""

    algorithm: str | None
    hash_name: str
    session: bool
    strength: int
    realm: str
    nonce: str
    opaque: str | None
    qop: str
    userhash: bool
    utf8: bool
    stale: bool


class _Session:
    """What is known of one origin: an offer, its nonce of now, and how often that was used.

    For a -sess algorithm the hash of A1 and the cnonce stay what they were at the challenge, while nonces follow each
    other (RFC 7616 section 3.4.2: nonce-prime and cnonce-prime).
    """

    __slots__ = ("a1", "cnonce", "count", "nonce", "offer")

    def __init__(self, offer: _Offer, user: bytes, password: bytes) -> None:
        self.offer = offer
        self.nonce = offer.nonce
        self.count = 0
        self.cnonce = ""
        # The realm's own bytes, in whatever encoding the server has: Latin-1 gives them back.
        self.a1 = _hash(offer.hash_name, b"%b:%b:%b" % (user, offer.realm.encode("latin-1"), password))
        if offer.session:
            self.cnonce = token_urlsafe(_CNONCE_BYTES)
            self.a1 = _hash(offer.hash_name, f"{self.a1}:{offer.nonce}:{self.cnonce}".encode("latin-1"))


class _Sent(NamedTuple):
    """What the last attempt of a request was sent with."""

    session: _Session
    nonce: str
    answered: bool


class DigestAuth(Auth):
    """Answers Digest challenges, and then goes on without one while the server's nonce lasts.

    Args:
        user: without control characters; other than ASCII is sent as UTF-8, or hashed where the server asks for that.
        password: never sent.

    Raises:
        InvalidOption: either is not str or cannot be used; the message shows neither.
    """

    __slots__ = ("_lock", "_password", "_sessions", "_user")

    def __init__(self, user: str, password: str) -> None:
        if not isinstance(user, str) or not isinstance(password, str):
            raise InvalidOption("auth: give a user and a password, both str")
        if any(character < " " or character == "\x7f" for character in user):
            raise InvalidOption("auth: a user name cannot hold control characters (RFC 7616 §3.4)")
        try:
            self._user = user.encode()
            self._password = password.encode()
        except UnicodeEncodeError:
            # The cause would show the password.
            raise InvalidOption("auth: user or password holds a lone surrogate, which is half a character") from None
        self._lock = threading.Lock()
        self._sessions: OrderedDict[Origin, _Session] = OrderedDict()
        _live.add(self)

    def authorize(self, request: AuthRequest) -> str | None:
        key = request.origin
        with self._lock:
            session = self._sessions.get(key)
            if session is None or (session.offer.qop == "auth-int" and request.body is None):
                return None
            self._sessions.move_to_end(key)
            nonce, count = self._next_count(key, session)
        return self._value(request, session, nonce, count, answered=False)

    def answer(self, request: AuthRequest, status_code: int, headers: HeaderList) -> str | None:
        offer = _strongest(parse_challenges(request.challenges(headers)), request.body)
        sent = request.state if isinstance(request.state, _Sent) else None
        key = request.origin
        # Refused with this nonce, or with an answer to a challenge of this very request: the password is wrong. What
        # was sent unasked may only have been out of date.
        if offer is None or (sent is not None and (offer.nonce == sent.nonce or (sent.answered and not offer.stale))):
            if sent is not None:
                self._forget(key, sent)
            return None
        session = _Session(offer, self._user, self._password)
        with self._lock:
            known = self._sessions.get(key)
            if known is not None and known.nonce == offer.nonce and _same_session(known.offer, offer):
                # Another thread was challenged with the same nonce: it is counted once.
                session = known
            self._sessions[key] = session
            self._sessions.move_to_end(key)
            if len(self._sessions) > limits.MAX_ORIGINS:
                self._sessions.popitem(last=False)
            nonce, count = self._next_count(key, session)
        return self._value(request, session, nonce, count, answered=True)

    def note(self, request: AuthRequest, headers: HeaderList) -> None:
        sent = request.state
        if not isinstance(sent, _Sent):
            return
        next_nonce = parse_parameters(request.success_info(headers)).get("nextnonce")
        if not next_nonce:
            return
        with self._lock:
            # An answer that was overtaken by another must not bring back an older nonce.
            if sent.session.nonce == sent.nonce and next_nonce != sent.nonce:
                sent.session.nonce = next_nonce
                sent.session.count = 0

    def drop_inherited(self) -> None:
        """In the child of a fork: the counts are the parent's, and its threads may have held the lock."""
        self._lock = threading.Lock()
        self._sessions.clear()

    def _next_count(self, key: Origin, session: _Session) -> tuple[str, int]:
        """The nonce and its next count; a nonce that is used up is forgotten with its session. Under the lock."""
        session.count += 1
        if session.count >= _MAX_COUNT and self._sessions.get(key) is session:
            del self._sessions[key]
        return session.nonce, session.count

    def _forget(self, key: Origin, sent: _Sent) -> None:
        with self._lock:
            if self._sessions.get(key) is sent.session and sent.session.nonce == sent.nonce:
                del self._sessions[key]

    def _value(self, request: AuthRequest, session: _Session, nonce: str, count: int, *, answered: bool) -> str:
        """The value of the field (RFC 7616 section 3.4), and in `request.state` what it was made from."""
        offer = session.offer
        hash_name = offer.hash_name
        a2 = f"{request.method}:{request.target}"
        if offer.qop == "auth-int":
            # An offer of auth-int alone is only taken with a body that is known.
            a2 = f"{a2}:{_hash(hash_name, request.body if request.body is not None else b'')}"
        a2_hash = _hash(hash_name, a2.encode("latin-1"))
        fields = [*self._user_fields(offer), f"realm={_quoted(offer.realm)}", f"nonce={_quoted(nonce)}"]
        fields.append(f"uri={_quoted(request.target)}")
        if offer.qop:
            cnonce = session.cnonce or token_urlsafe(_CNONCE_BYTES)
            proof = f"{session.a1}:{nonce}:{count:08x}:{cnonce}:{offer.qop}:{a2_hash}"
            fields += [f"qop={offer.qop}", f"nc={count:08x}", f'cnonce="{cnonce}"']
        else:
            proof = f"{session.a1}:{nonce}:{a2_hash}"
        fields.append(f'response="{_hash(hash_name, proof.encode("latin-1"))}"')
        if offer.algorithm is not None:
            fields.append(f"algorithm={offer.algorithm}")
        if offer.opaque is not None:
            fields.append(f"opaque={_quoted(offer.opaque)}")
        request.state = _Sent(session, nonce, answered)
        return "Digest " + ", ".join(fields)

    def _user_fields(self, offer: _Offer) -> list[str]:
        if offer.userhash:
            hashed = _hash(offer.hash_name, b"%b:%b" % (self._user, offer.realm.encode("latin-1")))
            return [f'username="{hashed}"', "userhash=true"]
        if offer.utf8 and not self._user.isascii():
            # RFC 5987's form, for servers that know RFC 7616; the others take the bytes as they are.
            return [f"username*=UTF-8''{quote(self._user, safe='')}"]
        return [f"username={_quoted(self._user.decode('latin-1'))}"]


def _strongest(challenges: list[Challenge], body: Body | None) -> _Offer | None:
    best: _Offer | None = None
    for challenge in challenges:
        offer = _offer(challenge, body) if challenge.scheme == "digest" else None
        if offer is not None and (best is None or offer.strength > best.strength):
            best = offer
    return best


def _offer(challenge: Challenge, body: Body | None) -> _Offer | None:
    """The challenge as an offer, or None where it cannot be answered (RFC 7616 section 3.3)."""
    parameters = challenge.parameters
    realm, nonce = parameters.get("realm"), parameters.get("nonce")
    algorithm = parameters.get("algorithm")
    base = (algorithm if algorithm is not None else "MD5").lower().removesuffix("-sess")
    known = _ALGORITHMS.get(base)
    if realm is None or not nonce or known is None or known[0] not in _AVAILABLE:
        return None
    session = algorithm is not None and algorithm.lower() != base
    if "qop" not in parameters:
        # RFC 2069, which knew MD5 alone and had no cnonce.
        if base != "md5" or session:
            return None
        qop = ""
    else:
        options = [option.strip(" \t").lower() for option in parameters["qop"].split(",")]
        if "auth" in options:
            qop = "auth"
        elif "auth-int" in options and body is not None:
            qop = "auth-int"
        else:
            return None
    return _Offer(
        algorithm,
        known[0],
        session,
        known[1],
        realm,
        nonce,
        parameters.get("opaque"),
        qop,
        parameters.get("userhash", "").lower() == "true",
        parameters.get("charset", "").lower() == "utf-8",
        parameters.get("stale", "").lower() == "true",
    )


def _same_session(one: _Offer, other: _Offer) -> bool:
    """Whether two offers are one but for their nonces and the word stale."""
    return one._replace(nonce="", stale=False) == other._replace(nonce="", stale=False)


def _hash(name: str, data: Body) -> str:
    return hashlib.new(name, data).hexdigest()


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110 section 5.6.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _has_hash(name: str) -> bool:
    try:
        hashlib.new(name)
    except ValueError:
        # An OpenSSL under FIPS rules has no MD5, an old one no SHA-512/256.
        return False
    return True


_AVAILABLE: Final = frozenset(name for name, _ in _ALGORITHMS.values() if _has_hash(name))
_live: Final = renewed_in_child(DigestAuth.drop_inherited)
