"""Replay: connections in memory on which a cassette answers.

Each connection has a peer that reads requests by the parsers of the real server, and answers what its cassette has for
them; what it has nothing for is asked elsewhere, or fails the exchange with a CassetteError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from turbosock.server.request import Request
from turbosock.testing.cassettes.answers import http1_answer
from turbosock.testing.cassettes.entry import Entry, RecordedBody, RecordedRequest, text_fields
from turbosock.testing.cassettes.matcher import Matcher
from turbosock.testing.cassettes.wire_reader import origin_of
from turbosock.testing.http_peer import HttpAnswer, HttpPeer
from turbosock.testing.memory import MemoryConnector

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.transport.connector import Target
    from turbosock.transport.transport import Transport


class Replay:
    """Connects clients to a cassette.

    Args:
        matcher: finds the answers.
        missing: answers requests that it finds none for; None: nobody does.
    """

    def __init__(self, matcher: Matcher, missing: Callable[[RecordedRequest], Entry] | None = None) -> None:
        self._matcher = matcher
        self._missing = missing

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """See Connector.connect."""
        peer = HttpPeer(partial(self._answer, origin_of(target)))
        return MemoryConnector(peer).connect(target, reactor, deadline_ns)

    def _answer(self, origin: str, request: Request) -> HttpAnswer:
        asked = recorded_request(origin, request)
        entry = self._matcher.find(asked)
        if entry is None:
            if self._missing is None:
                raise self._matcher.mismatch(asked)
            entry = self._missing(asked)
        return http1_answer(entry.answer, request.method)


def recorded_request(origin: str, request: Request) -> RecordedRequest:
    """A present request as a cassette would have it."""
    target = request.target
    return RecordedRequest(
        request.method,
        target if target.startswith("http://") else origin + target,
        text_fields(request.headers),
        RecordedBody(request.content),
    )
