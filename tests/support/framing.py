"""Framings under test: how each one's messages stand on the wire, and a reader fed in every way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from turbosock.buffers import RingBuffer
from turbosock.errors import TurbosockError
from turbosock.protocol.framing.custom import CustomFraming
from turbosock.protocol.framing.delimiter import Delimited
from turbosock.protocol.framing.framing import FAILED, MESSAGE, NEED_BYTES, NEED_MEMORY, FrameReader, Framing
from turbosock.protocol.framing.length import LengthPrefixed


def find_dotted(data: memoryview, examined: int) -> tuple[int, int, int] | int:
    """Messages as "3.abc": a decimal length, a dot, the payload."""
    text = bytes(data[:12])
    dot = text.find(b".")
    if dot < 0:
        if len(text) > 8:
            raise ValueError("no length")
        return 0
    size = int(text[:dot])
    stop = dot + 1 + size
    return (dot + 1, stop, stop) if len(data) >= stop else 0


FRAMINGS: dict[str, tuple[Framing, Callable[[bytes], bytes]]] = {
    "one byte": (LengthPrefixed(1), lambda data: bytes((len(data),)) + data),
    "two big": (LengthPrefixed(2), lambda data: len(data).to_bytes(2, "big") + data),
    "two little": (LengthPrefixed(2, "little"), lambda data: len(data).to_bytes(2, "little") + data),
    "four big": (LengthPrefixed(4), lambda data: len(data).to_bytes(4, "big") + data),
    "four little": (LengthPrefixed(4, "little"), lambda data: len(data).to_bytes(4, "little") + data),
    "varint": (LengthPrefixed("varint"), lambda data: varint(len(data)) + data),
    "lines": (Delimited(b"\n"), lambda data: data + b"\n"),
    "three bytes": (Delimited(b"ab\xff"), lambda data: data + b"ab\xff"),
    "dotted": (CustomFraming(find_dotted), lambda data: b"%d." % len(data) + data),
}


def varint(value: int) -> bytes:
    """LEB128, written the plain way."""
    out = b""
    while value > 127:
        out += bytes((value % 128 + 128,))
        value //= 128
    return out + bytes((value,))


class Feed:
    """A reader and its ring, as a connection would drive them.

    Args:
        framing: whose reader.
        max_message: its bound.
        capacity: of the first ring.
    """

    def __init__(self, framing: Framing, max_message: int = 1 << 20, capacity: int = 64) -> None:
        self.reader: FrameReader = framing.reader(max_message)
        self.ring = RingBuffer(capacity)
        self.messages: list[bytes] = []
        self.failed: TurbosockError | None = None
        self.largest = capacity

    def feed(self, data: bytes) -> None:
        """Receive all of `data`, as much at once as there is room for."""
        done = 0
        while done < len(data) and self.failed is None:
            room = self.reader.room(self.ring)
            assert len(room) > 0
            count = min(len(room), len(data) - done)
            room[:count] = data[done : done + count]
            self.ring.length += count
            done += count
            self._read()

    def _read(self) -> None:
        while True:
            outcome = self.reader.next(self.ring)
            if outcome == MESSAGE:
                self.messages.append(bytes(self.reader.data))
                # Whoever looks at what was consumed shows.
                self.reader.data[:] = b"\xdb" * len(self.reader.data)
            elif outcome == NEED_MEMORY:
                assert self.ring.length == self.ring.capacity
                assert self.ring.capacity < self.reader.wanted <= 2 * self.ring.capacity
                larger = RingBuffer(self.reader.wanted)
                larger.write(self.ring.readable())
                self.ring = larger
                self.largest = max(self.largest, larger.capacity)
            elif outcome == FAILED:
                self.failed = self.reader.error
                assert self.failed is not None
                return
            else:
                assert outcome == NEED_BYTES
                return


def pieces(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`data` cut at the given places."""
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]
