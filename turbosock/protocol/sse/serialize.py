"""Events and comments as they stand on the wire (WHATWG HTML, section 9.2.5).

Data may have any line ends; each of its lines is a field, and whoever reads them joins them by LF. What would end a
field or an event before its time is refused where it cannot be said otherwise.
"""

from __future__ import annotations

from turbosock.errors import InvalidOption
from turbosock.limits import MAX_SSE_FIELD_BYTES, MAX_SSE_RETRY_MS

Data = bytes | bytearray | memoryview | str


def event_bytes(data: Data, *, event: str | None = None, id: str | None = None, retry_ms: int | None = None) -> bytes:
    """One event.

    Args:
        data: text, or bytes that are UTF-8.
        event: its type; None or "": "message".
        id: the last event ID as of this event; "" takes it back; None leaves it as it is.
        retry_ms: the reconnection time from now on.

    Raises:
        InvalidOption: an argument cannot be said; it is named.
    """
    parts = []
    if event:
        parts.append(b"event: %b\n" % _field("event", event))
    if id is not None:
        value = _field("id", id)
        if b"\0" in value:
            raise InvalidOption("id: a NUL would have it ignored; leave it out")
        parts.append(b"id: %b\n" % value)
    if retry_ms is not None:
        parts.append(retry_bytes(retry_ms)[:-1])
    parts += (b"data: ", _lines(data), b"\n\n")
    return b"".join(parts)


def retry_bytes(retry_ms: int) -> bytes:
    """A reconnection time, without an event.

    Raises:
        InvalidOption: it is none.
    """
    if isinstance(retry_ms, bool) or not isinstance(retry_ms, int) or not 0 <= retry_ms <= MAX_SSE_RETRY_MS:
        raise InvalidOption(f"retry_ms={retry_ms!r}: give 0 to {MAX_SSE_RETRY_MS} milliseconds")
    return b"retry: %d\n\n" % retry_ms


def comment_bytes(text: str = "") -> bytes:
    """A comment, which nobody is told of; it keeps a connection from looking dead.

    Raises:
        InvalidOption: it has more than one line.
    """
    return b":%b\n\n" % (b" " + _field("text", text) if text else b"")


def _field(name: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidOption(f"{name}: a {type(value).__name__} was given; give a str")
    try:
        data = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidOption(f"{name}: it holds a lone surrogate, which is half a character") from error
    if b"\n" in data or b"\r" in data:
        raise InvalidOption(f"{name}: it has a line end, which would end its field")
    if len(data) > MAX_SSE_FIELD_BYTES:
        raise InvalidOption(f"{name}: it has {len(data)} bytes; give at most {MAX_SSE_FIELD_BYTES}")
    return data


def _lines(data: Data) -> bytes:
    """The data, with the name of the field before each line but the first."""
    if isinstance(data, str):
        try:
            data = data.encode()
        except UnicodeEncodeError as error:
            raise InvalidOption("data: it holds a lone surrogate, which is half a character") from error
    elif not isinstance(data, bytes):
        try:
            data = bytes(memoryview(data).cast("B"))
        except TypeError as error:
            raise InvalidOption(f"data: a {type(data).__name__} is not contiguous bytes, nor text") from error
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data.replace(b"\n", b"\ndata: ") if b"\n" in data else data
