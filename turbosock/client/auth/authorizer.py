"""Authorizer: one Auth asked on behalf of one request, with what it returns checked and its attempts counted.

The order for a driver: `first()`, then `again()` after each answer while that returns a value, then `finish()` with the
last answer. It is free of any driver: who sends, waits and reads is somebody else.

Invariants: a value that leaves here is a valid field value; a request is answered for `MAX_AUTH_ATTEMPTS` times at
most, whatever the server says and the Auth wants. A new origin needs a new Authorizer: nothing here crosses origins.
"""

from __future__ import annotations

from typing import Final

from turbosock import limits
from turbosock.client.auth.base import Auth, AuthRequest
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.grammar import checked_value
from turbosock.protocol.http1.headers import HeaderList

_CHALLENGE: Final = 401


class Authorizer:
    """What a driver asks about the credentials of one request.

    Attributes:
        attempts: how many challenges were answered.
    """

    __slots__ = ("_auth", "_request", "attempts")

    def __init__(self, auth: Auth, request: AuthRequest) -> None:
        self._auth = auth
        self._request = request
        self.attempts = 0

    def first(self) -> str | None:
        """The value for the first attempt, or None to send none.

        Raises:
            InvalidOption, InvalidHeader: the Auth returned something that cannot be sent.
        """
        return self._checked(self._auth.authorize(self._request))

    def again(self, status_code: int, headers: HeaderList) -> str | None:
        """The value for another attempt after this answer, or None where the answer is the final one.

        Raises:
            InvalidOption, InvalidHeader: the Auth returned something that cannot be sent.
        """
        if status_code != _CHALLENGE or self.attempts >= limits.MAX_AUTH_ATTEMPTS:
            return None
        value = self._checked(self._auth.answer(self._request, status_code, headers))
        if value is not None:
            self.attempts += 1
        return value

    def finish(self, status_code: int, headers: HeaderList) -> None:
        """Tell the Auth of the final answer, unless that is one more challenge."""
        if status_code != _CHALLENGE:
            self._auth.note(self._request, headers)

    def _checked(self, value: object) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            # The value may be a credential: its type is all that is shown.
            raise InvalidOption(
                f"auth: {type(self._auth).__name__} returned {type(value).__name__}"
                f"{' without content' if isinstance(value, str) else ''}; it must return a field value (str) or None"
            )
        checked_value(b"Authorization", value)
        return value
