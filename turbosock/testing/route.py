"""Route: which requests a mock answers, and with what."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from turbosock.errors import InvalidOption
from turbosock.observe.hidden import shown_url, shown_value
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.testing.answer import Answer
from turbosock.testing.origin import origin_of

if TYPE_CHECKING:
    from turbosock.errors import TurbosockError
    from turbosock.testing.mock_request import MockRequest
    from turbosock.testing.web_socket_script import WebSocketScript
    from turbosock.transport.connector import Target

Answering = Callable[["MockRequest"], Answer]
UrlPattern = str | re.Pattern[str]

_PROTOCOLS: Final = {"ws": "http", "wss": "https"}


class Route:
    """Requests that agree with all that is said here; see `MockTransport.route`.

    Attributes:
        times: how many requests it answers; None: any number.
        count: how many it has answered.
    """

    __slots__ = ("_answer", "_headers", "_method", "_pattern", "_url", "count", "script", "times")

    def __init__(
        self,
        method: str | None,
        url: UrlPattern,
        answer: Answer | Answering | None,
        *,
        headers: HeaderItems = (),
        times: int | None = None,
        script: WebSocketScript | None = None,
    ) -> None:
        if method is not None and (not isinstance(method, str) or not method):
            raise InvalidOption(f"method={method!r}: give one as 'GET', or None for any")
        if not isinstance(url.pattern if isinstance(url, re.Pattern) else url, str) or not url:
            raise InvalidOption(f"url={url!r}: give a URL, a path, a host, or a compiled pattern")
        if script is None and not isinstance(answer, Answer) and not callable(answer):
            raise InvalidOption(f"answer={answer!r}: give an Answer, or a function of a MockRequest")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise InvalidOption(f"times={times!r}: give how many requests it answers, or None for any number")
        self._method = method
        self._url = url
        self._pattern = _pattern(url)
        try:
            self._headers = [(name, value.strip()) for name, value in HeaderList(headers).raw]
        except (TypeError, ValueError) as wrong:
            raise InvalidOption(f"headers: {wrong}") from wrong
        self._answer = answer
        self.times = times
        self.script = script
        self.count = 0

    @property
    def exhausted(self) -> bool:
        """Whether it answers no more."""
        return self.times is not None and self.count >= self.times

    def matches(self, request: MockRequest) -> bool:
        """Whether the request agrees with all that is said."""
        if self._method is not None and self._method != request.method:
            return False
        if self.script is not None and not request.is_websocket:
            return False
        for name, value in self._headers:
            if request.headers.joined(name.lower()) != value:
                return False
        return self._pattern(request)

    def matches_all(self, target: Target) -> bool | None:
        """Whether every request to a target agrees (True), or none (False); None: that depends on the request."""
        fits = _fits(self._url, target)
        if fits and (self._method is not None or self._headers or self.script is not None):
            return None
        return fits

    @property
    def refusal(self) -> TurbosockError | None:
        """The error of connecting that it answers with, or None."""
        return self._answer.refusal if isinstance(self._answer, Answer) else None

    def answer_to(self, request: MockRequest) -> Answer:
        """The answer; raises what the function raises that makes it, and InvalidOption where that returns no Answer."""
        answer = self._answer
        if isinstance(answer, Answer):
            return answer
        assert answer is not None, "a route without an answer has a script"
        made = answer(request)
        if not isinstance(made, Answer):
            raise InvalidOption(f"answer: the function of {self} returned a {type(made).__name__}; return an Answer")
        return made

    def __str__(self) -> str:
        url = shown_url(self._url) if isinstance(self._url, str) else f"re:{self._url.pattern}"
        words = [self._method or ("WEBSOCKET" if self.script is not None else "*"), url]
        for raw_name, raw_value in self._headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            words.append(f"[{name}: {shown_value(name.lower(), value)}]")
        if self.times is not None:
            words.append(f"({self.count} of {self.times})")
        return " ".join(words)


def listed(routes: Iterable[Route]) -> str:
    """Routes, as a sentence names them."""
    return "; ".join(str(route) for route in routes) or "none"


def _pattern(url: UrlPattern) -> Callable[[MockRequest], bool]:
    """Whether a request's URL is one of those that are meant.

    A path begins with a slash, a whole URL has a scheme, everything else is a host; `*` stands for any text. The query
    counts where the pattern has one.
    """
    if isinstance(url, re.Pattern):
        return lambda request: url.search(request.url) is not None
    if _is_host(url):
        return lambda request: _agrees(request.host, url)
    whole, _, query = url.partition("?")
    scheme, separator, rest = whole.partition("://")
    if separator:
        whole = f"{_PROTOCOLS.get(scheme, scheme)}://{rest}{'' if '/' in rest else '/'}"

    def matches(request: MockRequest) -> bool:
        asked, _, asked_query = request.url.partition("?")
        if not separator:
            asked = request.path
        return _agrees(asked, whole) and (not query or _agrees(asked_query, query))

    return matches


def _fits(url: UrlPattern, target: Target) -> bool | None:
    """As `Route.matches_all`, of the pattern alone."""
    if isinstance(url, re.Pattern):
        return None
    if _is_host(url):
        return _agrees(target.host, url)
    scheme, separator, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    if not separator or "*" in scheme + authority:
        return None
    if f"{_PROTOCOLS.get(scheme, scheme)}://{authority}" != origin_of(target):
        return False
    return True if path == "*" else None


def _is_host(url: str) -> bool:
    """Whether a pattern is neither a path nor a whole URL."""
    return not url.startswith("/") and "://" not in url.partition("?")[0]


def _agrees(text: str, pattern: str) -> bool:
    # A bracket stands for itself: IPv6 addresses have them.
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))
