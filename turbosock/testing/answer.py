"""Answer: what a mock says to one request, as data, checked where it is made."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from turbosock.config import check_count
from turbosock.errors import (
    ConnectError,
    ConnectTimeout,
    InvalidOption,
    ProxyError,
    ResolveError,
    TlsHandshakeError,
    TlsVerificationError,
    TurbosockError,
)
from turbosock.pool.queue_handle import check_wait
from turbosock.protocol.http1.headers import HeaderItems, HeaderList
from turbosock.protocol.http1.serialize import response_head
from turbosock.protocol.sse.serialize import event_bytes

Failure = Literal["reset", "close", "silence"]

_FAILURES: Final = ("reset", "close", "silence")
_BODILESS: Final = (204, 304)
# What fails before there is a connection that a request could be sent on.
_REFUSALS: Final = (
    ResolveError,
    ConnectError,
    ConnectTimeout,
    ProxyError,
    TlsHandshakeError,
    TlsVerificationError,
)
_EVENT_FIELDS: Final = ("data", "event", "id", "retry_ms")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; of `content`, `json`, `chunks` and `events` one at most.

    Attributes:
        status_code: 200 to 999.
        headers: its fields; Content-Length, Date and what `json` or `events` need are added.
        content: the body; text is sent as UTF-8.
        json: what the body says, in JSON; None is some, `...` is none.
        chunks: the body, sent piece by piece.
        events: server-sent events, each the data or a dict of `data`, `event`, `id` and `retry_ms`; the stream ends
            behind the last one.
        delay_s: how long after the request it begins, in virtual time.
        interval_s: between two chunks or events.
        error: instead of all that: an error of turbosock's, which the request ends with, or one of connecting, which
            its connection is refused with where any request there would be; or what goes wrong: "reset" and "close" in
            the first line of the answer, "silence" for ever.

    Raises:
        InvalidOption, InvalidHeader: an attribute cannot be sent; it is named.
    """

    status_code: int = 200
    headers: HeaderItems = ()
    content: bytes | str = b""
    json: Any = ...
    chunks: Sequence[bytes] | None = None
    events: Sequence[str | bytes | Mapping[str, Any]] | None = None
    delay_s: float = 0.0
    interval_s: float = 0.0
    error: TurbosockError | Failure | None = None

    def __post_init__(self) -> None:
        check_count("status_code", self.status_code, 200, 999)
        check_wait("delay_s", self.delay_s)
        check_wait("interval_s", self.interval_s)
        if not isinstance(self.content, (bytes, str)):
            raise InvalidOption(f"content: a {type(self.content).__name__} was given; give bytes or a str")
        error = self.error
        if error is not None and error not in _FAILURES and not isinstance(error, TurbosockError):
            names = ", ".join(_FAILURES)
            raise InvalidOption(f"error={error!r}: give an error of turbosock's, or one of {names}")
        bodies = {
            "content": bool(self.content),
            "json": self.json is not ...,
            "chunks": self.chunks is not None,
            "events": self.events is not None,
        }
        given = [name for name, is_given in bodies.items() if is_given]
        if given and self.status_code in _BODILESS:
            raise InvalidOption(f"{given[0]}: a {self.status_code} answer has no body; leave it out")
        if len(given) > 1:
            raise InvalidOption(f"{given[1]}: the body is given by {given[0]} already; leave one out")
        if self.chunks is not None:
            if isinstance(self.chunks, (bytes, str)) or not isinstance(self.chunks, Sequence):
                raise InvalidOption("chunks: give a list of bytes; one piece is content")
            for chunk in self.chunks:
                if not isinstance(chunk, bytes):
                    raise InvalidOption(f"chunks: one is a {type(chunk).__name__}; give bytes")
        self.event_blocks()
        self.body()
        try:
            fields = HeaderList(self.headers)
        except (TypeError, ValueError) as wrong:
            raise InvalidOption(f"headers: {wrong}") from wrong
        response_head(self.status_code, None, fields)

    def body(self) -> bytes:
        """The body that is sent in one."""
        if self.json is not ...:
            try:
                return json_module.dumps(self.json, separators=(",", ":")).encode()
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidOption(f"json: {error}") from error
        try:
            return self.content.encode() if isinstance(self.content, str) else self.content
        except UnicodeEncodeError as error:
            raise InvalidOption(f"content: {error}") from error

    def fields(self) -> HeaderList:
        """The fields, with the type that JSON has where none is given."""
        fields = HeaderList(self.headers)
        if self.json is not ... and not fields.count(b"content-type"):
            return HeaderList([*fields.raw, (b"Content-Type", b"application/json")])
        return fields

    @property
    def refusal(self) -> TurbosockError | None:
        """The error that a connection ends with before there is one, where this is what a request would be told."""
        return self.error if isinstance(self.error, _REFUSALS) and not self.delay_s else None

    def event_blocks(self) -> list[bytes]:
        """The events, as they are sent."""
        events = self.events or ()
        if isinstance(events, (bytes, str, Mapping)) or not isinstance(events, Sequence):
            raise InvalidOption("events: give a list of them; each the data, or a dict of its fields")
        blocks = []
        for event in events:
            fields: Any = {"data": event} if isinstance(event, (str, bytes)) else event
            if not isinstance(fields, Mapping):
                raise InvalidOption(f"events: one is a {type(event).__name__}; give its data, or a dict of its fields")
            unknown = [name for name in fields if name not in _EVENT_FIELDS]
            if unknown:
                raise InvalidOption(f"events: {unknown[0]!r} is no field; there are {', '.join(_EVENT_FIELDS)}")
            rest = {name: value for name, value in fields.items() if name != "data"}
            try:
                blocks.append(event_bytes(fields.get("data", ""), **rest))
            except InvalidOption as wrong:
                raise InvalidOption(f"events: {wrong}") from wrong
        return blocks


@dataclass(frozen=True, slots=True)
class Sends:
    """Of a WebSocket's script: the mock sends this message."""

    data: bytes | str

    def __post_init__(self) -> None:
        _check_message("Sends", self.data)


@dataclass(frozen=True, slots=True)
class Expects:
    """Of a WebSocket's script: the next message that comes is this one."""

    data: bytes | str

    def __post_init__(self) -> None:
        _check_message("Expects", self.data)


@dataclass(frozen=True, slots=True)
class Waits:
    """Of a WebSocket's script: so much virtual time passes."""

    seconds: float

    def __post_init__(self) -> None:
        check_wait("seconds", self.seconds)


@dataclass(frozen=True, slots=True)
class Closes:
    """Of a WebSocket's script: the mock closes it, and nothing follows."""

    code: int = 1000
    reason: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.code, bool) or not isinstance(self.code, int) or not 1000 <= self.code <= 4999:
            raise InvalidOption(f"code={self.code!r}: give 1000 to 4999 (RFC 6455 section 7.4)")
        if not isinstance(self.reason, str):
            raise InvalidOption(f"reason={self.reason!r}: give a str")


Step = Sends | Expects | Waits | Closes
Reply = Callable[[bytes | str], bytes | str | None]


def _check_message(kind: str, data: object) -> None:
    if not isinstance(data, (bytes, str)):
        raise InvalidOption(f"{kind}: a {type(data).__name__} was given; give bytes or a str")
