"""BasicAuth: user and password with every request (RFC 7617), in UTF-8.

The credentials are sent without being asked for (section 2.2), and given up when a server refuses them: they would be
the same again.
"""

from __future__ import annotations

from base64 import b64encode

from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.errors import InvalidOption


def basic_value(user: object, password: object) -> str:
    """The value of an Authorization field for a user and password.

    Raises:
        InvalidOption: either is not str or cannot be sent, or the user has a colon; the message shows neither.
    """
    if not isinstance(user, str) or not isinstance(password, str):
        raise InvalidOption("auth: give a user and a password, both str")
    if ":" in user:
        raise InvalidOption("auth: a user name for basic authentication cannot hold a colon")
    if any(character < " " or character == "\x7f" for part in (user, password) for character in part):
        raise InvalidOption("auth: user and password cannot hold control characters (RFC 7617 §2)")
    try:
        return "Basic " + b64encode(f"{user}:{password}".encode()).decode("ascii")
    except UnicodeEncodeError:
        # The cause would show the password.
        raise InvalidOption("auth: user or password holds a lone surrogate, which is half a character") from None


class BasicAuth(Auth):
    """Sends user and password with the first attempt.

    Args:
        user, password: str without control characters; the user without a colon.

    Raises:
        InvalidOption: as of `basic_value`.
    """

    __slots__ = ("_value",)

    def __init__(self, user: str, password: str) -> None:
        self._value = basic_value(user, password)

    @property
    def is_steady(self) -> bool:
        return True

    def authorize(self, request: AuthRequest) -> str | None:
        return self._value
