"""The same answers from a mock and from a real server, so that one suite can be held against both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support.faces import Face
from support.running_listener import RunningListener
from turbosock import Client, Config, Loop, WebSocketSettings
from turbosock.client.events import EventKind
from turbosock.server.http_exchange import HttpExchange
from turbosock.testing import Answer, Closes, Expects, MockRequest, MockTransport, Sends

KINDS = ("mock", "mock over HTTP/2", "server")

# What both answer; /echo is a function of the request.
ANSWERS = {
    "/hello": Answer(content="hello", headers={"X-Served-By": "a test"}),
    "/json": Answer(json={"name": "Ada", "langs": ["en", "fr"]}),
    "/missing": Answer(404, content=b"nothing here"),
    "/moved": Answer(302, headers={"Location": "/hello"}),
    "/empty": Answer(204),
    "/pieces": Answer(chunks=[b"a" * 10, b"b" * 70_000, b"c"]),
    "/large": Answer(content=bytes(1_000_000)),
    "/events": Answer(events=["one", {"data": "two", "event": "named", "id": "7"}]),
}


def echoed(request: MockRequest) -> Answer:
    """The method and the body of a request."""
    return Answer(content=f"{request.method} ".encode() + request.content)


@dataclass
class Service:
    """A service, and who asks it.

    Attributes:
        face: asks.
        base: the beginning of its URLs.
    """

    face: Face
    base: str

    def url(self, path: str) -> str:
        return self.base + path

    def websocket_url(self, path: str) -> str:
        return "ws" + self.base[4:] + path


@contextlib.contextmanager
def answering_service(kind: str, owner: type[Client] | type[Loop]) -> Iterator[Service]:
    """A service of this kind for a Client or a Loop."""
    if kind == "server":
        with AnsweringServer() as server, owner() as real:
            yield Service(Face(real), server.url(""))
        return
    version = "HTTP/2" if "2" in kind else "HTTP/1.1"
    with MockTransport(http_version=version, strict=False) as mock, owner(Config(), connector=mock) as asking:
        for path, answer in ANSWERS.items():
            mock.route(None, path, answer)
        mock.route(None, "/echo", echoed)
        mock.websocket("/chat", Sends("welcome"), Expects("hi"), Sends(b"binary"), Closes(1000, "bye"))
        yield Service(Face(asking), "https://service.example")


class AnsweringServer(RunningListener):
    """Answers as the mock does."""

    def __init__(self) -> None:
        self._settings = WebSocketSettings(origins=("*",))
        super().__init__(self._answer)

    def _answer(self, exchange: HttpExchange) -> None:
        request = exchange.request
        answer = ANSWERS.get(request.path)
        if request.path == "/chat":
            exchange.upgrade_websocket(self._settings)
        elif request.path == "/echo":
            exchange.respond(200, None, f"{request.method} ".encode() + request.content)
        elif answer is None:
            exchange.respond(404)
        elif answer.events is not None:
            sender = exchange.respond_events()
            for block in answer.event_blocks():
                sender.put(block)
            sender.end()
        elif answer.chunks is not None:
            exchange.start(answer.status_code, answer.fields())
            for chunk in answer.chunks:
                exchange.send(chunk)
            exchange.end()
        else:
            exchange.respond(answer.status_code, answer.fields(), answer.body())

    def _run(self) -> None:
        while not self._stop.is_set():
            self.loop.poll(20.0)
            for event in self.loop.events:
                connection: Any = event.connection
                if event.kind is EventKind.OPEN:
                    connection.send("welcome")
                elif event.kind is EventKind.MESSAGE:
                    connection.send(b"binary")
                    connection.close(1000, "bye")
            self.loop.flush()
        self.loop.close()
