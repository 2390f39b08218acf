"""WebSocket frames made by hand, and a reader of them over the library's receivers, for feeding them in every way.

The frames are built here without the library's own writer: what the two share would hide a fault in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from turbosock.buffers.poison import POISON
from turbosock.buffers.ring import RingBuffer
from turbosock.protocol.websocket import outcomes
from turbosock.protocol.websocket.frame import TEXT
from turbosock.protocol.websocket.joining_receiver import JoiningReceiver

KEY = bytes.fromhex("37fa213d")

# What a reader saw: ("text", …), ("binary", …), ("ping", …), ("pong", …), ("close", code, reason), ("failed", …).
Seen = tuple[object, ...]


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """The payload under the key, byte by byte, as RFC 6455 §5.3 has it."""
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes | None = KEY, rsv: int = 0) -> bytes:
    """One frame; without a key it is a server's. `rsv` is the three reserved bits, the first one 4."""
    bit = 0 if key is None else 0x80
    n = len(payload)
    if n < 126:
        size = bytes([bit | n])
    elif n < 65536:
        size = bytes([bit | 126]) + n.to_bytes(2, "big")
    else:
        size = bytes([bit | 127]) + n.to_bytes(8, "big")
    head = bytes([fin << 7 | rsv << 4 | opcode]) + size
    return head + payload if key is None else head + key + masked(payload, key)


class WebSocketReader:
    """Feeds a receiver as a connection does, and notes what came as plain values.

    After each receive, once all of it was read, everything that was lent is looked at again; then every byte of the
    ring that holds no content is poisoned, so that a result which still leans on it shows.

    Args:
        receiver: what reads.
        capacity: of the ring.
        offset: where in the ring's memory the first byte is put.
        wraps: whether bytes go wherever the ring has room, its beginning included.
        lends: how much memory is lent when so much is wanted.
        direct: whether payload is received into lent memory where that can be.
    """

    def __init__(
        self,
        receiver: JoiningReceiver,
        *,
        capacity: int = 512,
        offset: int = 0,
        wraps: bool = False,
        lends: Callable[[int], int] = lambda wanted: wanted,
        direct: bool = False,
    ) -> None:
        self.receiver = receiver
        self.ring = RingBuffer(capacity)
        self.ring.start = offset
        self.wraps = wraps
        self.lends = lends
        self.direct = direct
        self.seen: list[Seen] = []
        self.steps = 0
        self.wanted: list[int] = []
        self.directly = 0
        self._looked_at: list[tuple[memoryview, bytes]] = []

    def feed(self, data: bytes) -> None:
        """Let the receiver have `data`, as far as its ring has room at a time."""
        while data:
            view = self.receiver.direct(self.ring) if self.direct else None
            if view is not None:
                n = min(len(view), len(data))
                view[:n] = data[:n]
                self.receiver.took_direct(n)
                self.directly += n
            elif self.wraps or (self.ring.start and not self.ring.length):
                if self.ring.length == self.ring.capacity:
                    self.receiver.room(self.ring)
                n = self.ring.write(data)
            else:
                room = self.receiver.room(self.ring)
                n = min(len(room), len(data))
                room[:n] = data[:n]
                self.ring.advance(n)
            assert n, "there is room after NEED_BYTES"
            data = data[n:]
            self.read()
            self._poison()

    def read(self) -> None:
        """Read what can be read."""
        receiver = self.receiver
        while True:
            self.steps += 1
            code = receiver.next(self.ring)
            if code == outcomes.MESSAGE:
                self._message()
            elif code == outcomes.PING or code == outcomes.PONG:
                self.seen.append((("ping", "pong")[code - outcomes.PING], receiver.tobytes()))
            elif code == outcomes.CLOSE:
                self.seen.append(("close", receiver.close_code, receiver.close_reason))
            elif code == outcomes.FAILED:
                self.seen.append(("failed", receiver.close_code, receiver.close_reason))
            elif code == outcomes.NEED_MEMORY:
                self.wanted.append(receiver.wanted)
                receiver.lend(memoryview(bytearray([POISON]) * self.lends(receiver.wanted)))
            elif code != outcomes.AGAIN:
                assert code in (outcomes.NEED_BYTES, outcomes.ENDED)
                return

    def _message(self) -> None:
        receiver = self.receiver
        data = receiver.tobytes()
        if receiver.opcode == TEXT:
            text = receiver.totext()
            assert text.encode() == data
            self.seen.append(("text", text))
        else:
            assert receiver.text is None
            self.seen.append(("binary", data))
        assert receiver.lent is None
        self._looked_at.append((receiver.view(), data))

    def _poison(self) -> None:
        for view, data in self._looked_at:
            assert bytes(view) == data, "a view is intact until more is received"
        self._looked_at.clear()
        ring = self.ring
        content = ring.peek(ring.length)
        ring.root[:] = bytes([POISON]) * ring.capacity
        before_wrap = min(ring.length, ring.capacity - ring.start)
        ring.root[ring.start : ring.start + before_wrap] = content[:before_wrap]
        ring.root[: ring.length - before_wrap] = content[before_wrap:]


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The data in every way that a test of split invariance asks for: whole, byte by byte, cut in two everywhere.

    Long data is cut at every third byte: it has payload that is all alike.
    """
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data), 1 if len(data) <= 200 else 3):
        yield [data[:i], data[i:]]


def read_every_way(make: Callable[[], JoiningReceiver], data: bytes, *, capacity: int = 512) -> list[Seen]:
    """What a new receiver sees in `data`, which is asserted to be the same whole, cut anywhere, at offsets, wrapped."""
    expected: list[Seen] | None = None

    def check(reader: WebSocketReader, pieces: Iterable[bytes], how: str) -> None:
        nonlocal expected
        for piece in pieces:
            reader.feed(piece)
        if expected is None:
            expected = reader.seen
        assert reader.seen == expected, how

    for pieces in cuts(data):
        check(WebSocketReader(make(), capacity=capacity), pieces, f"in pieces of {[len(piece) for piece in pieces]}")
        check(WebSocketReader(make(), capacity=capacity, direct=True), pieces, "directly")
    step = max(1, len(data) // 20)
    for offset in (1, 7, *range(max(0, capacity - len(data) - 20), capacity, step)):
        for wraps in (False, True):
            check(
                WebSocketReader(make(), capacity=capacity, offset=offset, wraps=wraps), [data], f"at {offset} {wraps=}"
            )
            pieces = [data[i : i + 3] for i in range(0, len(data), 3)]
            check(WebSocketReader(make(), capacity=capacity, offset=offset, wraps=wraps), pieces, f"by 3 at {offset}")
    assert expected is not None
    return expected
