"""HeaderDefaults: fields for every request that does not name them itself, made when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from turbosock.client.middleware.base import Draft, Middleware
from turbosock.errors import InvalidOption
from turbosock.protocol.http1.headers import HeaderList


class HeaderDefaults(Middleware):
    """Adds fields to requests; for fields that never change, `Config.headers` is faster.

    Args:
        headers: name to value, or to a function without arguments that makes the value (a token that is renewed, say).
            It is called on the thread that begins the request, and must not block in a Loop.

    Raises:
        InvalidOption: `headers` is no mapping, a name is no str, or a value is neither a str nor a function.
        InvalidHeader: a name or a value cannot be sent. Of what a function makes the request says so.
    """

    def __init__(self, headers: Mapping[str, str | Callable[[], str]]) -> None:
        if not isinstance(headers, Mapping):
            raise InvalidOption(f"headers: a {type(headers).__name__} was given; give a mapping of name to value")
        for name, value in headers.items():
            if not isinstance(name, str) or not (isinstance(value, str) or callable(value)):
                raise InvalidOption(f"headers: field {name!r} needs a str name, and a str or a function as its value")
            # It says what cannot be sent.
            HeaderList(((name, value if isinstance(value, str) else ""),))
        self._headers = tuple(headers.items())

    def prepare(self, draft: Draft) -> None:
        for name, value in self._headers:
            draft.set_default(name, value if isinstance(value, str) else value())
