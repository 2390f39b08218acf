"""BearerAuth: a token with every request (RFC 6750 section 2.1).

A token is visible ASCII, which is more than the RFC's b64token: servers give out tokens with colons and the like, and
what cannot move a boundary is theirs to choose.
"""

from __future__ import annotations

from collections.abc import Callable

from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.grammar import VISIBLE
from turbosock.protocol.http1.headers import HeaderList


class BearerAuth(Auth):
    """Sends a token with the first attempt.

    Args:
        token: str of visible ASCII; or a callable without arguments that returns one, called for each request on the
            thread that sends it. When its token is refused it is called once more, and a different token is tried.

    Raises:
        InvalidOption: `token` is neither, or cannot be sent; the message does not show it.
    """

    __slots__ = ("_token", "_value")

    def __init__(self, token: str | Callable[[], str]) -> None:
        if isinstance(token, str):
            self._value: str | None = _bearer_value(token)
            self._token: Callable[[], str] | None = None
        elif callable(token):
            self._value = None
            self._token = token
        else:
            raise InvalidOption(f"token: a {type(token).__name__} was given; give a str, or a callable returning one")

    @property
    def is_steady(self) -> bool:
        return self._token is None

    def authorize(self, request: AuthRequest) -> str | None:
        if self._token is None:
            return self._value
        value = _bearer_value(self._token())
        request.state = value
        return value

    def answer(self, request: AuthRequest, status_code: int, headers: HeaderList) -> str | None:
        refused = request.state
        if self._token is None or refused is None:
            return None
        # One fresh token for one request: a source that makes a new one at each call would never end.
        request.state = None
        value = _bearer_value(self._token())
        return value if value != refused else None


def _bearer_value(token: object) -> str:
    if not isinstance(token, str):
        raise InvalidOption(f"token: must be str, not {type(token).__name__}")
    if not token or not token.isascii() or token.encode("ascii").translate(None, VISIBLE):
        raise InvalidOption("token: must be visible ASCII without white space, and not empty")
    return "Bearer " + token
