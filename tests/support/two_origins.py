"""Two origins that share a list of what they were asked, and answer by path: redirects, challenges, refusals."""

from __future__ import annotations

from collections.abc import Callable

from support.running_listener import RunningListener
from turbosock.config import TlsServerConfig
from turbosock.server.http_exchange import HttpExchange


class Site:
    """See the module.

    Args:
        tls: the certificates of both; None for plain HTTP.

    Attributes:
        one, other: the two origins, for a with block each.
        asked: method, target, headers and body of each request.
        answers: by path, what to do instead of an echo.
    """

    def __init__(self, tls: TlsServerConfig | None = None) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: dict[str, Callable[[HttpExchange], object]] = {}
        self.one = RunningListener(self._answer, tls)
        self.other = RunningListener(self._answer, tls)

    def _answer(self, exchange: HttpExchange) -> None:
        request = exchange.request
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.target, headers, request.content))
        action = self.answers.get(request.path)
        if action is not None:
            action(exchange)
        else:
            exchange.respond(200, content=b"echo of " + request.target.encode())

    def redirect(self, path: str, location: str, status_code: int = 302, **headers: str) -> None:
        """Have `path` answer with a redirect."""
        fields = [("Location", location), *headers.items()]
        self.answers[path] = lambda exchange: exchange.respond(status_code, fields, b"go elsewhere")

    def answer(self, path: str, *answers: tuple[int, list[tuple[str, str]]]) -> None:
        """Have `path` answer so, one after the other; the last one stays."""
        left = list(answers)

        def action(exchange: HttpExchange) -> None:
            status_code, headers = left.pop(0) if len(left) > 1 else left[0]
            exchange.respond(status_code, headers, b"body")

        self.answers[path] = action

    @property
    def lines(self) -> list[str]:
        """Method and target of each request."""
        return [f"{method} {target}" for method, target, _, _ in self.asked]

    def field(self, name: str) -> list[str | None]:
        """What each request had in a field."""
        return [headers.get(name) for _, _, headers, _ in self.asked]
