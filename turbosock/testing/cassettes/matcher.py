"""Matcher: which entry of a cassette answers a request.

Strict: the requests come in the recorded order, and agree in method, URL, the fields that were chosen, and body.
Lenient: in any order, and they agree in method and URL; where several do, they answer in turn, the last one for good.

Both sides are compared without their secrets, so that a cassette that hides them matches.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

from turbosock.errors import CassetteError
from turbosock.observe.hidden import shown_url
from turbosock.testing.cassettes.bodies import comparable, content_of
from turbosock.testing.cassettes.entry import Entry, RecordedRequest, values_of
from turbosock.testing.cassettes.redaction import Redaction

# How many of the nearest entries an error names.
_MAX_NAMED: Final = 3


class Matcher:
    """Finds answers; from any thread.

    Args:
        path: of the cassette, for messages.
        entries: of it.
        strict: see the module.
        ordered: whether strict requests come in the recorded order.
        headers: names of the fields that strict requests must agree in, in lower case.
        redaction: hides secrets.
    """

    def __init__(
        self,
        path: Path,
        entries: list[Entry],
        redaction: Redaction,
        *,
        strict: bool,
        ordered: bool,
        headers: Sequence[str],
    ) -> None:
        self._path = path
        self._entries = entries
        self._redaction = redaction
        self._strict = strict
        self._ordered = ordered
        self._headers = headers
        self._lock = threading.Lock()
        self._left = list(entries)
        # Of many entries, each is looked at for many requests.
        self._urls = {entry.request.url: redaction.url(entry.request.url) for entry in entries}

    @property
    def unused(self) -> list[Entry]:
        """The entries that answered nothing yet."""
        with self._lock:
            return list(self._left)

    def find(self, request: RecordedRequest) -> Entry | None:
        """The entry that answers, which is used from then on; None: there is none."""
        with self._lock:
            left = self._left
            url = self._redaction.url(request.url)
            for index, entry in enumerate(left[:1] if self._ordered else left):
                if self._agree(entry.request, request, url):
                    del left[index]
                    return entry
            if self._strict:
                return None
            # All of them have answered: the last one goes on.
            return next((entry for entry in reversed(self._entries) if self._agree(entry.request, request, url)), None)

    def _agree(self, recorded: RecordedRequest, present: RecordedRequest, url: str) -> bool:
        """Whether the two requests agree; `url` is that of the present one, without secrets."""
        if recorded.method != present.method or self._url(recorded) != url:
            return False
        return not (self._strict and self._inner_differences(recorded, present))

    def _url(self, recorded: RecordedRequest) -> str:
        url = self._urls.get(recorded.url)
        return self._redaction.url(recorded.url) if url is None else url

    def mismatch(self, request: RecordedRequest) -> CassetteError:
        """The error of a request that no entry answers."""
        shown = f"{request.method} {shown_url(self._redaction.url(request.url))}"
        name = self._path.name
        left = self.unused
        if not self._entries:
            what = f"{name} has no entries"
        elif not left:
            what = f"{name} has {len(self._entries)} entries, and all of them have answered"
        elif self._ordered:
            what = f"{name} goes on with {left[0]}, which differs in {self._words(left[0].request, request)}"
            left = left[1:]
        else:
            what = f"no unused entry of {name} is one for it"
        others = sorted(left, key=lambda entry: self._likeness(entry.request, request), reverse=True)[:_MAX_NAMED]
        nearest = "; ".join(f"{entry}, by {self._words(entry.request, request)}" for entry in others)
        if nearest:
            what += f"; the nearest{' others' if self._ordered else ''} differ: {nearest}"
        hint = "record it again, or replay with match='lenient'" if self._strict else "record it again"
        return CassetteError(f"{shown} was not recorded: {what}. To go on, {hint}", code="cassette_mismatch")

    def _differences(self, recorded: RecordedRequest, present: RecordedRequest) -> list[str]:
        """In what the two requests do not agree, in words."""
        found = []
        if recorded.method != present.method:
            found.append("method")
        if self._url(recorded) != self._redaction.url(present.url):
            found.append("URL")
        return found or (self._inner_differences(recorded, present) if self._strict else found)

    def _inner_differences(self, recorded: RecordedRequest, present: RecordedRequest) -> list[str]:
        """In what requests of one method and URL do not agree."""
        ours, theirs = self._redaction.headers(recorded.headers), self._redaction.headers(present.headers)
        found = [f"field {key!r}" for key in self._headers if values_of(ours, key) != values_of(theirs, key)]
        if self._body(recorded) != self._body(present):
            found.append("body")
        return found

    def _body(self, request: RecordedRequest) -> str | bytes:
        return comparable(content_of(request.body), request.headers, self._redaction)

    def _words(self, recorded: RecordedRequest, present: RecordedRequest) -> str:
        return " and ".join(self._differences(recorded, present)) or "its place alone"

    def _likeness(self, recorded: RecordedRequest, present: RecordedRequest) -> float:
        ours, theirs = (
            f"{recorded.method} {self._url(recorded)}",
            f"{present.method} {self._redaction.url(present.url)}",
        )
        return SequenceMatcher(None, ours, theirs).ratio()
