"""Replay: a network in memory on which a cassette answers.

Clients speak to the library's own server, over connections in virtual time; so bodies are framed anew, and those that
were edited are as good as any. An origin whose answers came over HTTP/2 speaks it again, where a client of https asks
for it. What the cassette has nothing for is asked elsewhere, or ends the exchange with a CassetteError.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from turbosock import limits
from turbosock.errors import TurbosockError
from turbosock.server.request import Request
from turbosock.testing.cassettes.bodies import content_of
from turbosock.testing.cassettes.entry import (
    Entry,
    RecordedAnswer,
    RecordedBody,
    RecordedRequest,
    TextField,
    text_fields,
    values_of,
)
from turbosock.testing.cassettes.matcher import Matcher
from turbosock.testing.network import Network
from turbosock.testing.origin import origin_of

if TYPE_CHECKING:
    from turbosock.reactor.reactor import Reactor
    from turbosock.server.http_exchange import HttpExchange
    from turbosock.testing.network_socket import NetworkSocket
    from turbosock.transport.connector import Target
    from turbosock.transport.transport import Transport

_BODILESS: Final = (204, 304)
# What the server says itself.
_FRAMING: Final = ("connection", "content-length", "keep-alive", "transfer-encoding")
# Virtual time in which all of an answer leaves before it breaks off.
_CUT_S: Final = 0.05


class Replay:
    """Connects clients to a cassette.

    Args:
        matcher: finds the answers.
        entries: of the cassette.
        missing: answers requests that it finds none for; None: nobody does.

    Attributes:
        network: where it answers.
    """

    def __init__(
        self, matcher: Matcher, entries: list[Entry], missing: Callable[[RecordedRequest], Entry] | None
    ) -> None:
        self._matcher = matcher
        self._missing = missing
        self._http2 = tuple(entry.request.url for entry in entries if entry.answer.http_version == "HTTP/2")
        self._lock = threading.Lock()
        self._served: set[tuple[str, int] | str] = set()
        # By the address of the client; they go with their connections.
        self._connections: WeakValueDictionary[object, NetworkSocket] = WeakValueDictionary()
        self.network = Network()
        self.network.on_connected = self._on_connected

    def connect(self, target: Target, reactor: Reactor | None, deadline_ns: int) -> Transport:
        """See Connector.connect."""
        address = (target.host, target.port) if target.path is None else target.path
        with self._lock:
            if address not in self._served:
                origin = origin_of(target) + "/"
                http2 = any(url.startswith(origin) for url in self._http2)
                self.network.listen(
                    address,
                    handler=self._handle,
                    alpn="h2" if http2 else None,
                    max_body_bytes=limits.MAX_MOCKED_BODY_BYTES,
                )
                self._served.add(address)
        return self.network.connect(target, reactor, deadline_ns)

    def _on_connected(self, far: NetworkSocket, target: Target, peer: tuple[str, int]) -> None:
        far.target = target
        self._connections[peer] = far

    def _handle(self, exchange: HttpExchange) -> None:
        far = self._connections[exchange.request.peer]
        assert far.target is not None, "noted as it was connected"
        asked = _recorded(origin_of(far.target), exchange.request)
        try:
            entry = self._matcher.find(asked)
            if entry is None:
                if self._missing is None:
                    raise self._matcher.mismatch(asked)
                entry = self._missing(asked)
            self._answer(exchange, entry.answer)
        except TurbosockError as error:
            failure = error
            far.tell_peer(lambda near: near.fail(failure))
            exchange.abort()
        self.network.turn_soon()

    def _answer(self, exchange: HttpExchange, answer: RecordedAnswer) -> None:
        """Send an answer.

        Raises:
            CassetteError: the file of the body is not what was recorded.
        """
        headers = [field for field in answer.headers if field[0].lower() not in _FRAMING]
        length = values_of(answer.headers, "content-length")[:1]
        if exchange.request.method == "HEAD" or answer.status_code in _BODILESS:
            headers += [("Content-Length", value) for value in length]
            exchange.respond(answer.status_code, headers)
            return
        content = content_of(answer.body)
        if answer.cut:
            self._send_part(exchange, answer, headers, content, length)
        elif answer.trailers or "chunked" in ",".join(values_of(answer.headers, "transfer-encoding")).lower():
            exchange.start(answer.status_code, headers)
            exchange.send(content)
            exchange.end(tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.trailers))
        else:
            exchange.respond(answer.status_code, headers, content)

    def _send_part(
        self,
        exchange: HttpExchange,
        answer: RecordedAnswer,
        headers: list[TextField],
        content: bytes,
        length: list[str],
    ) -> None:
        """Send what there is of an answer, and break off behind it."""
        announced = int(length[0]) if length and length[0].isascii() and length[0].isdigit() else 0
        exchange.start(answer.status_code, headers, announced if announced > len(content) else None)
        exchange.send(content)
        self.network.clock.after(_CUT_S, lambda: self._cut(exchange))

    def _cut(self, exchange: HttpExchange) -> None:
        exchange.abort()
        self.network.turn_soon()


def _recorded(origin: str, request: Request) -> RecordedRequest:
    """A present request as a cassette would have it."""
    target = request.target
    return RecordedRequest(
        request.method,
        target if target.startswith("http://") else origin + target,
        text_fields(request.headers),
        RecordedBody(request.content),
    )
