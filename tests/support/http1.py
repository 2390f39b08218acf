"""A reader of HTTP/1 messages over the library's parsers, for feeding one message in every way.

It owns a buffer as a connection does: bytes arrive in pieces at some offset, payload is taken run by run, and consumed
bytes are poisoned at once, so that a result which still leans on the buffer shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from turbosock.errors import LimitError, ProtocolError
from turbosock.protocol.http1.body import BodyFraming
from turbosock.protocol.http1.head import RequestHead, ResponseHead, parse_request_head, parse_response_head
from turbosock.protocol.http1.headers import HeaderList

POISON = 0xDB


class CountingBuffer(bytearray):
    """A bytearray that counts the bytes in the windows it is told to search."""

    searched = 0

    def find(self, sub: object, start: object = 0, end: object = None, /) -> int:
        assert isinstance(sub, bytes) and isinstance(start, int) and isinstance(end, int)
        found = super().find(sub, start, end)
        self.searched += (found + len(sub) if found >= 0 else end) - start
        return found


@dataclass
class Message:
    """What was read of one message."""

    head: RequestHead | ResponseHead
    body: bytearray = field(default_factory=bytearray)
    trailers: HeaderList | None = None
    complete: bool = False

    def summary(self) -> tuple[object, ...]:
        """Everything that a reader of the message can see, as plain values."""
        head = self.head
        if isinstance(head, ResponseHead):
            line: tuple[object, ...] = (head.status_code, head.reason, head.interim, head.upgrade, head.raw)
        else:
            line = (head.method, head.target, head.host, head.upgrade, head.expect_continue)
        return (
            line,
            head.version,
            head.headers.raw,
            head.size,
            head.framing,
            head.content_length,
            head.keep_alive,
            bytes(self.body),
            None if self.trailers is None else self.trailers.raw,
            self.complete,
        )


class Reader:
    """Reads messages of one side until one ends the connection, changes the protocol, or is refused.

    Args:
        method: of the requests that the responses answer, or None to read requests.
        offset: where in the buffer the first byte is put.
        capacity: bytes that may be fed.
    """

    def __init__(self, method: str | None, offset: int = 0, capacity: int = 4096) -> None:
        self.method = method
        self.buffer = bytearray([POISON]) * (offset + capacity)
        self.start = offset
        self.end = offset
        self.examined = offset
        self.body = BodyFraming()
        self.messages: list[Message] = []
        self.error: ProtocolError | LimitError | None = None
        self.stopped = False

    def feed(self, data: bytes) -> None:
        """Put `data` into the buffer and read what can be read."""
        if self.error is not None:
            return
        self.buffer[self.end : self.end + len(data)] = data
        self.end += len(data)
        try:
            while self._step():
                pass
        except (ProtocolError, LimitError) as error:
            self.error = error

    def end_of_stream(self) -> None:
        """The peer closes."""
        if self.error is not None or self.stopped or not self.messages:
            return
        try:
            self.body.end_of_stream()
            self._finish()
        except ProtocolError as error:
            self.error = error

    def poison(self) -> None:
        """Overwrite the whole buffer."""
        self.buffer[:] = bytes([POISON]) * len(self.buffer)

    @property
    def leftover(self) -> int:
        """Bytes that were not read."""
        return self.end - self.start

    def summary(self) -> tuple[object, ...]:
        """What was read: the messages, the kind of the error, and unread bytes unless there was an error."""
        kind = None if self.error is None else type(self.error)
        return ([message.summary() for message in self.messages], kind, None if kind else self.leftover)

    def _step(self) -> bool:
        if self.stopped:
            return False
        message = self.messages[-1] if self.messages else None
        if message is None or message.complete:
            return self._read_head()
        body = self.body
        if body.run:
            n = min(body.run, self.end - self.start)
            message.body += self.buffer[self.start : self.start + n]
            self._consume(self.start + n)
            body.payload(n)
            self._finish()
            return n > 0
        start = body.advance(self.buffer, self.start, self.end)
        moved = start > self.start
        self._consume(start)
        self._finish()
        return moved

    def _read_head(self) -> bool:
        head: RequestHead | ResponseHead | None
        if self.method is None:
            head = parse_request_head(self.buffer, self.start, self.end, self.examined)
        else:
            head = parse_response_head(self.buffer, self.start, self.end, self.method, self.examined)
        self.examined = self.end
        if head is None:
            return False
        self._consume(self.start + head.size)
        self.examined = self.start
        self.messages.append(Message(head))
        self.body.begin(head.framing, head.content_length)
        self._finish()
        return True

    def _finish(self) -> None:
        message = self.messages[-1]
        if not self.body.complete or message.complete:
            return
        message.complete = True
        message.trailers = self.body.trailers
        head = message.head
        interim = isinstance(head, ResponseHead) and head.interim
        self.stopped = bool(head.upgrade) or not (head.keep_alive or interim)
        if isinstance(head, RequestHead) and head.method == "CONNECT":
            self.stopped = True

    def _consume(self, start: int) -> None:
        self.buffer[self.start : start] = bytes([POISON]) * (start - self.start)
        self.start = start


def read(method: str | None, pieces: list[bytes], offset: int = 0, end: bool = False) -> Reader:
    """A reader that was fed the pieces, and whose buffer was poisoned after."""
    reader = Reader(method, offset, sum(map(len, pieces)))
    for piece in pieces:
        reader.feed(piece)
    if end:
        reader.end_of_stream()
    reader.poison()
    return reader


def read_every_way(method: str | None, data: bytes, end: bool = False) -> Reader:
    """Read `data` whole, byte by byte, at every two-way cut and at several offsets: all must agree."""
    whole = read(method, [data], 0, end)
    expected = whole.summary()
    single = read(method, [data[i : i + 1] for i in range(len(data))], 0, end)
    assert single.summary() == expected, "byte by byte differs from whole"
    for cut in range(1, len(data)):
        split = read(method, [data[:cut], data[cut:]], cut % 5, end)
        assert split.summary() == expected, f"a cut at {cut} differs from whole"
    for offset in (1, 2, 3, 7, 64, 4095):
        moved = read(method, [data], offset, end)
        assert moved.summary() == expected, f"offset {offset} differs from offset 0"
    return whole
