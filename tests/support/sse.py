"""Event streams for tests: a reader as the standard's text has it, and parsers fed in every way."""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from turbosock.buffers import BufferPool, PooledBuffer
from turbosock.buffers.bucket import Bucket
from turbosock.buffers.poison import POISON
from turbosock.protocol.sse.parser import EventParser


class Told(NamedTuple):
    """One event, as plain values."""

    event: str
    data: bytes
    id: str
    retry: int | None


class Outcome(NamedTuple):
    """Everything that a stream told."""

    events: list[Told]
    last_event_id: str
    retry_ms: int | None


def standard(body: bytes) -> Outcome:
    """Read a whole stream as WHATWG HTML 9.2.6 says, step by step; nothing here is clever."""
    text = body.decode("utf-8", "surrogateescape")
    if body.startswith(b"\xef\xbb\xbf"):
        text = text[1:]
    # What follows the last line end is no line: the stream ended inside it.
    lines = re.split("\r\n|\n|\r", text)[:-1]
    data, event_type, id_buffer, last_id = "", "", "", ""
    retry_ms: int | None = None
    retry: int | None = None
    events = []
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data != "":
                events.append(Told(shown(event_type) or "message", raw(data[:-1]), shown(last_id), retry))
            data, event_type, retry = "", "", None
            continue
        if line.startswith(":"):
            continue
        field, colon, value = line.partition(":")
        if colon and value.startswith(" "):
            value = value[1:]
        if field == "event":
            event_type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id":
            if "\0" not in value:
                id_buffer = value
        elif field == "retry" and value and all(digit in "0123456789" for digit in value):
            retry = retry_ms = int(value)
    return Outcome(events, shown(last_id), retry_ms)


def raw(text: str) -> bytes:
    """The bytes that `text` came from."""
    return text.encode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """`text` with U+FFFD for what was no UTF-8."""
    return raw(text).decode("utf-8", "replace")


def summary(parser: EventParser) -> Told:
    """The event that is lent, copied."""
    event = parser.event
    return Told(event.event, bytes(event), event.id, event.retry)


def give(parser: EventParser, piece: bytes) -> Iterator[Told]:
    """Let `piece` arrive, in as many steps as the buffer asks for, and yield the events in it."""
    while piece:
        view = parser.writable()
        count = min(len(view), len(piece))
        view[:count] = piece[:count]
        del view
        parser.advance(count)
        piece = piece[count:]
        for event in parser:
            yield summary(parser)
            poison(event.data)
        parser.check()


def read(parser: EventParser, pieces: Iterable[bytes]) -> Outcome:
    """What `parser` tells of a new stream in `pieces`; each event is poisoned before the next. Closes the parser."""
    parser.reset("")
    parser.retry_ms = None
    events = [told for piece in pieces for told in give(parser, piece)]
    parser.close()
    return Outcome(events, parser.last_event_id, parser.retry_ms)


def cuts(body: bytes) -> Iterator[list[bytes]]:
    """`body` whole, byte by byte, and cut in two at every place."""
    yield [body]
    yield [body[i : i + 1] for i in range(len(body))]
    for i in range(1, len(body)):
        yield [body[:i], body[i:]]


class _PyBuffer(ctypes.Structure):
    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("rest", ctypes.c_byte * 256),
    )


def poison(view: memoryview) -> None:
    """Overwrite the memory under a view, also under a read-only one: whoever lent it said that nobody needs it."""
    buffer = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    ctypes.memset(buffer.buf, POISON, buffer.len)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def allocations_within(work: Callable[[], object], most: int) -> bool:
    """Whether `work` makes at most so many allocations of the interpreter, counted without a tracer.

    Tracers make objects of frames and of methods, which are not the work's.
    """
    faults = importlib.import_module("_testcapi")
    faults.set_nomemory(most, 0)
    try:
        work()
    except MemoryError:
        return False
    finally:
        faults.remove_mem_hooks()
    return True


class CountingStorage(bytearray):
    """A bytearray that counts the bytes that its searches pass over."""

    searched = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        """As bytearray.find."""
        end = len(self) if end is None else end
        found = super().find(sub, start, end)
        self.searched += max(0, (found if found >= 0 else end) - start)
        return found

    def rfind(self, sub: Any, start: Any = 0, end: Any = None, /) -> int:
        """As bytearray.rfind."""
        end = len(self) if end is None else end
        found = super().rfind(sub, start, end)
        self.searched += max(0, end - (found if found >= 0 else start))
        return found


class CountingPool(BufferPool):
    """Lends memory that counts what is searched in it."""

    def __init__(self) -> None:
        super().__init__(pooling=False)
        self.storages: list[CountingStorage] = []

    def _make(self, bucket: Bucket, capacity: int, size: int) -> PooledBuffer:
        storage = CountingStorage(capacity)
        self.storages.append(storage)
        return PooledBuffer(self, bucket, storage, size)

    @property
    def searched(self) -> int:
        """Bytes searched so far."""
        return sum(storage.searched for storage in self.storages)
