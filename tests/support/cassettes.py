"""A suite of requests that is run against a real server, and against the cassette of that run."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from turbosock import Client, Config, Loop
from turbosock.server.http_exchange import HttpExchange

LONG = bytes(range(256)) * 400


def handler(exchange: HttpExchange) -> None:
    """The server's side."""
    request = exchange.request
    if request.path == "/json":
        fields = {"Content-Type": "application/json", "Set-Cookie": "session=s3cret; Path=/; HttpOnly"}
        exchange.respond(200, fields, b'{"a": 1,\n "b": "\xc3\xa4"}\n')
    elif request.path == "/moved":
        exchange.respond(302, {"Location": "/json?token=s3cret"}, b"")
    elif request.path == "/coded":
        exchange.respond(200, {"Content-Encoding": "gzip"}, gzip.compress(b"coded text", mtime=0))
    elif request.path == "/long":
        exchange.respond(200, {"Content-Type": "application/octet-stream"}, LONG)
    elif request.path == "/pieces":
        exchange.start(200, {"Content-Type": "text/plain"})
        exchange.send(b"one ")
        exchange.send(b"two")
        exchange.end()
    elif request.path == "/missing":
        exchange.respond(404, {}, b"not here")
    else:
        exchange.respond(200, {}, request.method.encode() + b" " + request.content)


Ask = Callable[..., Any]


def suite(ask: Ask, base: str) -> list[object]:
    """What the answers of all requests are; `ask` is a Client's `request`, or looks like it."""
    found: list[object] = [
        ask("GET", f"{base}/json?api_key=k3y", auth=("me", "pa55word")).json(),
        ask("GET", f"{base}/moved", follow_redirects=True).json(),
        ask("GET", f"{base}/coded").text,
        ask("GET", f"{base}/long").content == LONG,
        ask("GET", f"{base}/pieces").content,
        ask("GET", f"{base}/missing").status_code,
        ask("POST", f"{base}/echo", content="hällo").text,
        ask("POST", f"{base}/echo", content=iter([b"in ", b"pieces"])).text,
        ask("PUT", f"{base}/echo", content=LONG).content == b"PUT " + LONG,
    ]
    head = ask("HEAD", f"{base}/long")
    return [*found, (head.headers["Content-Length"], head.content)]


def run(kind: str, base: str, connector: object, **config: Any) -> list[object]:
    """The suite on a "client", a "stream" (bodies are read in pieces), or a "loop"."""
    settings = Config(**config)
    if kind == "loop":
        with Loop(settings, connector=connector) as loop:  # type: ignore[arg-type]  # checked there
            return suite(lambda *args, **options: finished(loop, *args, **options), base)
    with Client(settings, connector=connector) as client:  # type: ignore[arg-type]  # as above
        return suite(
            client.request if kind == "client" else lambda *args, **options: streamed(client, *args, **options), base
        )


def finished(loop: Loop, *args: Any, **options: Any) -> Any:
    """The exchange of a request, once it is done."""
    exchange = loop.request(*args, **options)
    while not exchange.done:
        loop.poll(1.0)
        for _ in loop.events:
            pass
    if exchange.error is not None:
        raise exchange.error
    return exchange


def streamed(client: Client, *args: Any, **options: Any) -> Any:
    """A response whose body was read piece by piece."""
    room = memoryview(bytearray(1000))
    parts = []
    with client.stream(*args, **options) as response:
        while count := response.readinto(room):
            parts.append(bytes(room[:count]))
        response.end_with(b"".join(parts))
        return response
