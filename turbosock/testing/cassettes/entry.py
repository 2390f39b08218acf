"""Entry: one exchange as a cassette has it: a request that was sent, and the answer to it.

Bodies are as they were sent, content codings included, without the framing around them (RFC 9112 §7, RFC 9113 §8.1):
a replay frames them anew. So fields that say nothing but the framing are kept for the reader alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from turbosock.observe.hidden import shown_url
from turbosock.protocol.http1.headers import HeaderList

TextField = tuple[str, str]


@dataclass(slots=True)
class RecordedBody:
    """A body in memory, or in a file beside the cassette.

    Attributes:
        content: the bytes; empty where they are in `path`.
        path: the file, or None.
        size, digest: of the file: its bytes, and their SHA-256 in hexadecimal.
    """

    content: bytes = b""
    path: Path | None = None
    size: int = 0
    digest: str = ""


@dataclass(slots=True)
class RecordedRequest:
    """What was asked.

    Attributes:
        method: a token, in its own case.
        url: absolute, without user information.
        headers: as they were sent; of HTTP/2 without its pseudo-fields.
        body: what was sent of it.
    """

    method: str
    url: str
    headers: list[TextField]
    body: RecordedBody

    def __str__(self) -> str:
        return f"{self.method} {shown_url(self.url)}"


@dataclass(slots=True)
class RecordedAnswer:
    """What was answered.

    Attributes:
        http_version: "HTTP/2", "HTTP/1.1" or "HTTP/1.0".
        status_code, reason, headers, body: of the answer; interim ones (1xx) are not kept.
        trailers: fields behind the body.
        cut: whether the body ended early: the reader left, or the connection broke.
    """

    http_version: str
    status_code: int
    reason: str
    headers: list[TextField]
    body: RecordedBody
    trailers: list[TextField]
    cut: bool = False


@dataclass(slots=True)
class Entry:
    """One exchange.

    Attributes:
        request, answer: its two sides.
        number: its place in the cassette, from 1 on.
    """

    request: RecordedRequest
    answer: RecordedAnswer
    number: int = 0

    def __str__(self) -> str:
        return f"entry {self.number} ({self.request})"


def text_fields(headers: HeaderList | None) -> list[TextField]:
    """The fields of a message as text, in order, in their own case."""
    return [] if headers is None else headers.items()


def values_of(headers: Iterable[TextField], key: str) -> list[str]:
    """The values of the field `key`, which is in lower case."""
    return [value for name, value in headers if name.lower() == key]
