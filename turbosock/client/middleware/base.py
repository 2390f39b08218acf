"""Middleware: what may stand around every exchange of a Client or a Loop, and is written once for both.

A link never waits by itself. One that makes an exchange wait says until when (`enter`), and whoever drives the exchange
does the waiting: a thread sleeps, a Loop goes on with others. So the same object serves threads and ticks, several
clients, or a Client and a Loop together; a link with state of its own guards it with a lock.

The order of calls for one exchange, links from first to last, `leave` from last to first:

    prepare(draft)              before the request is serialised; perhaps twice, each time with a new draft
    enter(exchange, now_ns)     until it answers GO; again before each further attempt
    answered(exchange)          when the head of an answer is there
    again(exchange, now_ns)     after an answer's head, or an error: whether to try once more, from this link on
    leave(exchange)             once for each `enter` that was begun, on every path

Errors: a TurbosockError that a link raises ends the exchange, and no link is asked for another attempt; any other
exception ends it too, with a TurbosockError of code "middleware_failed" that names the link. What `leave` raises is
logged and changes nothing: the exchange is over. An interrupt (KeyboardInterrupt) inside `leave` has it called again.

A link that remembers an exchange between `enter` and `leave` must not hold it: one that its user drops is left once it
was collected. Its `id()` is nobody else's until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from turbosock.reactor.timers import NEVER

if TYPE_CHECKING:
    from turbosock.client.auth.argument import AuthArgument
    from turbosock.client.middleware.chained import Chained
    from turbosock.client.request import Headers
    from turbosock.client.url import Params

# What `enter` answers: go on at once; or ask again when `exchange.wake()` was called, and not before.
GO: Final = 0
UNTIL_WOKEN: Final = NEVER
# What `again` answers: no.
NOT_AGAIN: Final = -1


class Draft:
    """A request before it is validated and serialised: what a link may change.

    Attributes:
        method, url, params, auth: as they were given.
        headers: pairs of name and value, the user's own.
    """

    __slots__ = ("auth", "headers", "method", "params", "url")

    def __init__(
        self, method: str, url: str, params: Params | None, headers: Headers | None, auth: AuthArgument | None
    ) -> None:
        self.method = method
        self.url = url
        self.params = params
        self.auth = auth
        self.headers: Headers | None = headers

    def set_default(self, name: str, value: str) -> None:
        """Add a field unless the request names it itself; `auth` names Authorization."""
        headers = self.headers
        if headers is None and self.auth is None:
            self.headers = [(name, value)]
            return
        key = name.lower()
        if key == "authorization" and self.auth is not None:
            return
        if headers is None:
            headers = ()
        elif isinstance(headers, (str, bytes)) or not isinstance(headers, Iterable):
            # No headers at all: whoever validates the request says so, and names the argument.
            return
        pairs: list[tuple[str, str]] = list(headers.items() if isinstance(headers, Mapping) else headers)
        # An iterator is used up now.
        self.headers = pairs
        if not any(_is_named(pair, key) for pair in pairs):
            self.headers = [*pairs, (name, value)]


def _is_named(pair: object, key: str) -> bool:
    """Whether this is a field of that name, in lower case; what is no field at all is refused later."""
    if not isinstance(pair, (tuple, list)) or not pair:
        return False
    name = pair[0]
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    return isinstance(name, str) and name.lower() == key


class Middleware:
    """One link of a chain; subclass it and override what you need. See the module for the calls and their order."""

    def prepare(self, draft: Draft) -> None:
        """Change the request before it is serialised."""

    def enter(self, exchange: Chained, now_ns: int) -> int:
        """Let the exchange go on (GO), or make it wait.

        Returns:
            GO; or the monotonic time in ns at which to ask again; or UNTIL_WOKEN. `exchange.wake()`, which any thread
            may call, brings the question forward.
        """
        return GO

    def answered(self, exchange: Chained) -> None:
        """The head of an answer is there; its body is not."""

    def again(self, exchange: Chained, now_ns: int) -> int:
        """Whether to send the request again: `exchange.error` failed it, or its head came.

        Returns:
            NOT_AGAIN, or how many ns to wait before. Asked only while the body can be sent again and none of the
            answer's was delivered.
        """
        return NOT_AGAIN

    def leave(self, exchange: Chained) -> None:
        """The attempt is over, well or not; give back what `enter` took."""
