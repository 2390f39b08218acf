"""Auth: what answers for the credentials of requests, and what it is told of each.

RFC 9110 section 11. An `Auth` is asked before the first attempt, after each 401, and told of success. It sends nothing
itself: who drives the exchange writes the value that it returns into Authorization. Proxies have their own credentials,
in their URLs.

Invariants: one Auth serves any number of threads and requests at once. What belongs to one request is in its
`AuthRequest`; what outlives it is kept for each origin, under a lock, inside the Auth. No repr shows a credential.
"""

from __future__ import annotations

from typing import TypeAlias

from turbosock.protocol.http1.headers import HeaderList

Origin: TypeAlias = tuple[str, str, int]
Body: TypeAlias = bytes | bytearray | memoryview


class AuthRequest:
    """One request, as an Auth sees it; made once for all attempts at it at one origin.

    Attributes:
        origin: scheme, host (lower case) and port that the credentials are for.
        method, target: as they are sent; the target is path and query, or the authority of a CONNECT.
        body: the whole body where it is known and can be sent again, b"" without one, None where it is not known.
        state: the Auth's own, for this request alone; None at first.
    """

    __slots__ = ("body", "method", "origin", "state", "target")

    def __init__(self, origin: Origin, method: str, target: str, body: Body | None = b"") -> None:
        self.origin = origin
        self.method = method
        self.target = target
        self.body = body
        self.state: object = None

    def __repr__(self) -> str:
        scheme, host, port = self.origin
        return f"<AuthRequest {self.method} {scheme}://{host}:{port}>"

    def challenges(self, headers: HeaderList) -> list[str]:
        """The values of the fields that ask for credentials, in order (RFC 9110 sections 11.6.1 and 11.7.1)."""
        return headers.get_all("WWW-Authenticate")

    def success_info(self, headers: HeaderList) -> list[str]:
        """The values of Authentication-Info (RFC 9110 section 11.6.3)."""
        return headers.get_all("Authentication-Info")


class Auth:
    """The base of everything that `auth=` takes; one of these sends no credentials."""

    __slots__ = ("__weakref__",)

    @property
    def is_steady(self) -> bool:
        """Whether `authorize` says the same of every request, so that it is worth remembering."""
        return False

    def authorize(self, request: AuthRequest) -> str | None:
        """The credentials of the first attempt, or None to wait until they are asked for."""
        return None

    def answer(self, request: AuthRequest, status_code: int, headers: HeaderList) -> str | None:
        """The credentials of another attempt, after a 401; None gives up."""
        return None

    def note(self, request: AuthRequest, headers: HeaderList) -> None:
        """Take notice of an answer that was no challenge; called once, at the end of the attempts."""

    def __repr__(self) -> str:
        # Neither names nor realms: a user's name is half of a credential.
        return f"<{type(self).__name__}>"
