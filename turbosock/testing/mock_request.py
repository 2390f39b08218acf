"""MockRequest: what a mock was asked, whole and for good."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from turbosock.observe.hidden import shown_url
from turbosock.testing.origin import origin_of

if TYPE_CHECKING:
    from turbosock.protocol.http1.headers import HeaderList
    from turbosock.server.request import Request
    from turbosock.transport.connector import Target


class MockRequest:
    """One request.

    Attributes:
        method: as in "GET".
        url: the whole of it, query included; of a WebSocket with http or https.
        host, path: parts of it; the path without the query.
        headers: its fields.
        content: its body, as it was sent.
        http_version: "HTTP/1.1" or "HTTP/2".
        is_websocket: whether it asks for one.
    """

    __slots__ = ("content", "headers", "host", "http_version", "is_websocket", "method", "path", "url")

    def __init__(self, request: Request, target: Target) -> None:
        path = request.target if request.target[:1] in ("/", "*") else request.path
        self.method = request.method
        self.url = f"{origin_of(target)}{path}"
        self.host = target.host
        self.path = request.path
        self.headers: HeaderList = request.headers
        self.content = request.content
        self.http_version = request.http_version
        upgrade = request.headers.joined(b"upgrade") or b""
        self.is_websocket = upgrade.lower() == b"websocket" or request.method == "CONNECT"

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.content.decode()

    def json(self) -> Any:
        """What the body says, in JSON; raises ValueError where it is none."""
        return json.loads(self.content)

    def __str__(self) -> str:
        return f"{self.method} {shown_url(self.url)}"

    def __repr__(self) -> str:
        return f"<MockRequest {self}>"
