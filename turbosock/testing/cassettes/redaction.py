"""Redaction: what a cassette does not tell: credentials and cookies, and what its user names.

Hidden are what `observe/hidden.py` recognises (fields of credentials; fields, query parameters, members of forms and
texts in JSON objects named like secrets; user information in URLs) and the values of cookies, whose names and
attributes stay, so that a replay sets and sends them. Names that a user gives are hidden as fields, cookies, query
parameters, and members of JSON objects, whatever their value, and of forms.

Invariant: what was redacted is not changed by being redacted again; so a recorded request and a present one are
compared as both would be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from turbosock.errors import InvalidOption
from turbosock.observe.hidden import HIDDEN, SECRET_NAME_ENDINGS, shown_url, shown_value
from turbosock.testing.cassettes.entry import TextField

_JSON: Final = json.JSONDecoder(strict=False)
# A number of tokens, say, is none.
_SECRET_MEMBER: Final = rf'"[^"\\]*{SECRET_NAME_ENDINGS}"\s*:\s*(?=")'


def checked_names(argument: str, names: Iterable[str]) -> list[str]:
    """Names of fields or the like, in lower case.

    Raises:
        InvalidOption: they are something else.
    """
    found: list[object] = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    checked = []
    for name in found:
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"{argument}: {name!r} is no name; give a list of names")
        checked.append(name.lower())
    return checked


class Redaction:
    """Hides secrets.

    Args:
        enabled: False: everything is shown.
        names: further names whose values are secrets, in any case.

    Raises:
        InvalidOption: an argument is not what it should be; it is named as Recorder's.
    """

    def __init__(self, enabled: bool, names: Iterable[str]) -> None:
        if not isinstance(enabled, bool):
            raise InvalidOption(f"redact={enabled!r}: give True or False")
        self.enabled = enabled
        self._names = frozenset(checked_names("secrets", names))
        alternatives = "|".join(re.escape(name) for name in sorted(self._names))
        self._parameter = re.compile(rf"(?i)(?<=[?&#;])((?:{alternatives})=)[^&#;>]*")
        self._form = re.compile(rf"(?i)((?:^|&)(?:{alternatives})=)[^&]*")
        named = rf'"(?:{alternatives})"\s*:\s*|' if self._names else ""
        self._member = re.compile(f"(?i){named}{_SECRET_MEMBER}")

    def url(self, url: str) -> str:
        """A URL without secrets."""
        if not self.enabled:
            return url
        url = shown_url(url)
        return self._parameter.sub(rf"\1{HIDDEN}", url) if self._names else url

    def headers(self, headers: Iterable[TextField]) -> list[TextField]:
        """Fields without secrets."""
        if not self.enabled:
            return list(headers)
        return [(name, self._value(name.lower(), value)) for name, value in headers]

    def _value(self, key: str, value: str) -> str:
        if key == "cookie":
            return "; ".join(_hide_cookie(pair) for pair in value.split(";"))
        if key == "set-cookie":
            pair, semicolon, attributes = value.partition(";")
            return _hide_cookie(pair) + semicolon + attributes
        if key in self._names:
            return HIDDEN
        shown = shown_value(key, value)
        return self.url(shown) if "://" in shown else shown

    def text(self, text: str, content_type: str) -> str:
        """The text of a body without what its names say to be secret, and what the user named."""
        if not self.enabled:
            return text
        if "x-www-form-urlencoded" in content_type:
            # It is written as a query is.
            text = shown_url(f"?{text}")[1:]
            return self._form.sub(rf"\1{HIDDEN}", text) if self._names else text
        # Whatever calls itself something else may hold JSON all the same: lines of a log, events.
        return self._without_members(text)

    def _without_members(self, text: str) -> str:
        parts = []
        at = 0
        for member in self._member.finditer(text):
            if member.start() >= at:
                parts += [text[at : member.end()], f'"{HIDDEN}"']
                at = _end_of_value(text, member.end())
        return "".join([*parts, text[at:]])


def _end_of_value(text: str, start: int) -> int:
    """Behind the JSON value that begins at `start`; where there is none, the end of the line."""
    try:
        return _JSON.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return len(text) if (end := text.find("\n", start)) < 0 else end


def _hide_cookie(pair: str) -> str:
    name, equals, _ = pair.strip().partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN
