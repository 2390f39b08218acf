"""MessageWriter: the sending half of a connection: frames in the caller's memory (RFC 6455 §5, §6.1; RFC 7692 §7.2.1).

A message in one frame that is not compressed, the usual one, is one call: `write(memory, at, FIN | BINARY, payload)`.
Otherwise `encode` says what goes on the wire, payload and first byte, and `write` writes that. A message that was built
in place is framed by `seal`, which puts the header before it. Whether there is room, and whether the connection may
still send, is for its owner to know.

Payloads are bytes-like with one byte for each item. A server has no keys: its frames are not masked, and what was
written once may be sent to many.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from turbosock.buffers.ring import RingBuffer
from turbosock.errors import StateError
from turbosock.protocol.websocket.deflater import Deflater
from turbosock.protocol.websocket.frame import (
    BINARY,
    COMPRESSED,
    CONTINUATION,
    FIN,
    MASKED,
    MASKED_BINARY_HEADS,
    MASKED_TEXT_HEADS,
    MAX_CONTROL_BYTES,
    TEXT,
    WRITE_MASKED,
    WRITE_PLAIN,
    header_size,
    write_header,
)
from turbosock.protocol.websocket.mask_keys import MaskKeys
from turbosock.protocol.websocket.masking import (
    REPEATS,
    SHIFTS,
    SMALL_BYTES,
    mask,
    mask_large,
    mask_ring,
    prepare,
    rotated,
)

Payload: TypeAlias = bytes | bytearray | memoryview

_WHOLE_BINARY: Final = FIN | BINARY

_from_bytes = int.from_bytes


class MessageWriter:
    """Writes the frames of one side of one connection; used by one thread at a time.

    Args:
        keys: a client's masking keys; None for a server.
        deflater: where permessage-deflate was agreed.

    Attributes:
        first: the first byte of the frame for what `encode` returned last.
        unfinished: the opcode of the message of which `encode` has not had the last fragment, or 0.
    """

    __slots__ = ("_compressing", "_deflater", "_key", "_keys", "first", "unfinished")

    def __init__(self, keys: MaskKeys | None, deflater: Deflater | None = None) -> None:
        if keys is not None:
            prepare()
        self._keys = keys
        self._deflater = deflater
        self._compressing = False
        # Of the frame that `begin` began, turned to its next byte; -1 where it is not masked.
        self._key = -1
        self.first = 0
        self.unfinished = 0

    def size(self, length: int) -> int:
        """Bytes of the frame that `write` makes of `length` bytes of payload."""
        return length + header_size(length, self._keys is not None)

    def encode(self, opcode: int, payload: Payload, fin: bool = True) -> Payload:
        """What goes on the wire for a message, or for one fragment of it; `first` tells how its frame begins.

        Compressed or not, it must be sent, and in this order: what follows may refer to it. Or `restart()` is called.

        Args:
            opcode: TEXT or BINARY, and CONTINUATION for the fragments after the first.
            fin: whether this is the last fragment.

        Raises:
            StateError: a message begins inside another one, or a fragment continues none.
        """
        deflater = self._deflater
        if opcode == CONTINUATION:
            if not self.unfinished:
                raise StateError("a fragment of no message: begin one with TEXT or BINARY")
        elif opcode not in (TEXT, BINARY):
            raise StateError(f"encode() of opcode {opcode}: control frames go to write() as they are")
        elif self.unfinished:
            raise StateError("a message inside another one: send its last fragment first")
        else:
            # The size of a message in fragments is not known: it is taken for a large one.
            self._compressing = deflater is not None and not (fin and len(payload) < deflater.min_bytes)
        first = opcode | FIN if fin else opcode
        if self._compressing and deflater is not None:
            deflated = deflater.deflate(payload, fin)
            if opcode == CONTINUATION:
                payload = deflated
            elif not fin or deflater.takeover or len(deflated) < len(payload):
                payload = deflated
                first |= COMPRESSED
        if not fin:
            self.unfinished = self.unfinished or opcode
        else:
            self.unfinished = 0
        self.first = first
        return payload

    def restart(self) -> None:
        """What `encode` made last, or began, is not sent: whatever follows does not refer to it."""
        if self._deflater is not None:
            self._deflater.restart()
        self.unfinished = 0

    def write(self, memory: memoryview, at: int, first: int, payload: Payload, ring: RingBuffer | None = None) -> int:
        """Write a frame into `memory` from `at` on, where `size(len(payload))` bytes are free; returns where it ends.

        Args:
            first: the frame's first byte: opcode, FIN and COMPRESSED.
            payload: of a control frame at most 125 bytes.
            ring: whose memory it is, if it is one's.
        """
        n = len(payload)
        keys = self._keys
        if n <= MAX_CONTROL_BYTES and type(payload) is bytes:
            if keys is None:
                WRITE_PLAIN[n](memory, at, first, n, payload)
                return at + n + 2
            key = keys.take()
            repeated = key * REPEATS[n]
            if n & 3:
                repeated >>= SHIFTS[n]
            masked = (_from_bytes(payload, "big") ^ repeated).to_bytes(n, "big")
            WRITE_MASKED[n](memory, at, first, n | MASKED, key, masked)
            return at + n + 6
        key = -1 if keys is None else keys.take()
        at = write_header(memory, at, first, n, key)
        stop = at + n
        memory[at:stop] = payload
        if key < 0:
            return stop
        if ring is not None:
            mask_ring(ring, at, n, key)
        elif n > SMALL_BYTES:
            mask_large(memory, at, n, key)
        else:
            mask(memory, at, stop, key)
        return stop

    def small(self, first: int, payload: bytes) -> bytes:
        """A client's whole frame of a message of at most 125 bytes, not compressed, as an object.

        Args:
            first: the frame's first byte.
        """
        n = len(payload)
        keys = self._keys
        assert keys is not None, "a client masks"
        key = keys.take()
        repeated = key * REPEATS[n]
        if n & 3:
            repeated >>= SHIFTS[n]
        head = MASKED_BINARY_HEADS[n] if first == _WHOLE_BINARY else MASKED_TEXT_HEADS[n]
        return ((head | key) << 8 * n | _from_bytes(payload, "big") ^ repeated).to_bytes(n + 6, "big")

    def begin(self, memory: memoryview, at: int, first: int, length: int) -> int:
        """As `write`, of the header alone; `fill` writes the payload behind it, in pieces; returns where it ends."""
        keys = self._keys
        self._key = -1 if keys is None else keys.take()
        return write_header(memory, at, first, length, self._key)

    def fill(self, memory: memoryview, at: int, piece: memoryview) -> int:
        """Write the next piece of the payload of the frame that `begin` began; returns where it ends."""
        n = len(piece)
        stop = at + n
        memory[at:stop] = piece
        key = self._key
        if key >= 0:
            mask(memory, at, stop, key)
            self._key = rotated(key, n)
        return stop

    def seal(self, memory: memoryview, at: int, first: int, length: int) -> int:
        """Make a frame of the payload in `memory[at:at + length]`, where it lies; returns where the frame begins.

        Before `at` there is room for a header, MAX_HEADER_BYTES at most.
        """
        keys = self._keys
        key = -1 if keys is None else keys.take()
        start = at - header_size(length, key >= 0)
        write_header(memory, start, first, length, key)
        if key < 0:
            return start
        if length > SMALL_BYTES:
            mask_large(memory, at, length, key)
        else:
            mask(memory, at, at + length, key)
        return start
