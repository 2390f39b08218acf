"""CallableAuth: a function of the user's own, asked before the first attempt and after each challenge.

It is called with an `AuthView` and returns the value to send, or None: at first to send none, later to give up. An
answer's status and headers are in the view of each later call, so that it may look at the challenge and try again.
"""

from __future__ import annotations

from collections.abc import Callable

from turbosock.client.auth.base import Auth, AuthRequest, Body, Origin
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList


class AuthView:
    """What a callable is shown of one attempt; to be read during the call.

    Attributes:
        origin, method, target, body: as of AuthRequest.
        attempt: 0 before the first attempt, 1 after the first challenge, and so on.
        status_code, headers: of the answer that asked for credentials; None before the first attempt.
    """

    __slots__ = ("attempt", "body", "headers", "method", "origin", "status_code", "target")

    def __init__(self, request: AuthRequest, attempt: int, status_code: int | None, headers: HeaderList | None) -> None:
        self.origin: Origin = request.origin
        self.method = request.method
        self.target = request.target
        self.body: Body | None = request.body
        self.attempt = attempt
        self.status_code = status_code
        self.headers = headers

    def __repr__(self) -> str:
        scheme, host, port = self.origin
        return f"<AuthView {self.method} {scheme}://{host}:{port}, attempt {self.attempt}>"


class CallableAuth(Auth):
    """Asks a function for each attempt's credentials.

    Args:
        function: takes an AuthView and returns str or None. It runs on the thread that sends the request, on several
            at once for a client shared by threads; what it raises leaves the request as it is.

    Raises:
        InvalidOption: `function` cannot be called, or is a class.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[AuthView], str | None]) -> None:
        if isinstance(function, type):
            raise InvalidOption(f"auth: the class {function.__name__} was given; give an instance of it")
        if not callable(function):
            raise InvalidOption(f"auth: a {type(function).__name__} was given, which cannot be called")
        self._function = function

    def authorize(self, request: AuthRequest) -> str | None:
        request.state = 0
        return self._function(AuthView(request, 0, None, None))

    def answer(self, request: AuthRequest, status_code: int, headers: HeaderList) -> str | None:
        attempt = request.state + 1 if isinstance(request.state, int) else 1
        request.state = attempt
        return self._function(AuthView(request, attempt, status_code, headers))
