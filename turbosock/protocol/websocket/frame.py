"""Frames: their headers, read in place and written into the caller's memory (RFC 6455 §5.2 to §5.5).

`FrameHeader` is read into again for each frame. A header that cannot be one is refused as soon as the byte that shows
it is there, in the same words however it arrives. What a frame means beside the frames before it (continuations,
messages that grow too long) is `receiver.py`'s matter.

The small frames of the hot path, with a payload of up to 125 bytes, are read and written in one call each by the tables
at the end of this file: header, key and payload together.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from turbosock.protocol.websocket.close import PROTOCOL_ERROR

# Opcodes.
CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

# Bits beside the opcode in the first byte: the message's last frame; a compressed message's first (RFC 7692 §6).
FIN: Final = 0x80
COMPRESSED: Final = 0x40
# The bit beside the length in the second byte.
MASKED: Final = 0x80

# Two bytes, eight of length, four of key.
MAX_HEADER_BYTES: Final = 14
# The longest payload of a control frame, and the longest whose length stands in the second byte.
MAX_CONTROL_BYTES: Final = 125
_LENGTH_IN_2: Final = 126
_LENGTH_IN_8: Final = 127

REFUSED: Final = -1


def _refusal_of(first: int, compression: bool) -> str:
    """Why no frame begins with the byte `first`, or ""."""
    opcode = first & 0x0F
    if first & (0x30 if compression else 0x70):
        return "has a reserved bit that no extension uses"
    if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        return f"has the reserved opcode {opcode}"
    if opcode >= CLOSE and not first & FIN:
        return "is a fragment of a control frame"
    if first & COMPRESSED and opcode not in (TEXT, BINARY):
        return "is marked as compressed, and is not the first of a message"
    return ""


_REFUSALS: Final = tuple(_refusal_of(first, False) for first in range(256))
_REFUSALS_WITH_COMPRESSION: Final = tuple(_refusal_of(first, True) for first in range(256))

_read_key = Struct(">I").unpack_from
_read_long = Struct(">Q").unpack_from


class FrameHeader:
    """The header of one frame after another.

    Args:
        masked: whether the peer is a client, which masks its frames; a server must not (RFC 6455 §5.1).
        compression: whether permessage-deflate was agreed.

    Attributes:
        opcode: one of the constants above.
        fin: whether the frame is its message's last.
        compressed: whether it begins a compressed message.
        length: payload bytes.
        key: the masking key, 0 where frames are not masked.
        failure: why a header was refused, or "". The connection fails with PROTOCOL_ERROR.
    """

    __slots__ = ("_masked", "_refusals", "compressed", "failure", "fin", "key", "length", "opcode")

    close_code: Final = PROTOCOL_ERROR

    def __init__(self, masked: bool, compression: bool = False) -> None:
        self._masked = masked
        self._refusals = _REFUSALS_WITH_COMPRESSION if compression else _REFUSALS
        self.opcode = 0
        self.fin = False
        self.compressed = False
        self.length = 0
        self.key = 0
        self.failure = ""

    def read(self, buffer: bytearray, start: int, end: int) -> int:
        """Read the header that begins at `buffer[start]`, of which `buffer[start:end]` is there.

        Returns:
            Its bytes; 0 while it is not whole; REFUSED.
        """
        if start >= end:
            return 0
        first = buffer[start]
        if self._refusals[first]:
            return self._refuse(self._refusals[first])
        if end - start < 2:
            return 0
        second = buffer[start + 1]
        if (second >= MASKED) is not self._masked:
            return self._refuse("of a client is not masked" if self._masked else "of a server is masked")
        opcode = first & 0x0F
        length = second & 0x7F
        size = 2
        if length > MAX_CONTROL_BYTES:
            if opcode >= CLOSE:
                return self._refuse("is a control frame with more than 125 bytes")
            if length == _LENGTH_IN_2:
                size = 4
                if end - start < size:
                    return 0
                length = buffer[start + 2] << 8 | buffer[start + 3]
                if length < _LENGTH_IN_2:
                    return self._refuse(f"has {length} bytes and says so in 2 bytes more than it needs")
            else:
                size = 10
                if end - start < size:
                    return 0
                length = _read_long(buffer, start + 2)[0]
                if length < 0x1_0000:
                    return self._refuse(f"has {length} bytes and says so in more bytes than it needs")
                if length >= 1 << 63:
                    return self._refuse("has a length of 2**63 bytes or more")
        if self._masked:
            if end - start < size + 4:
                return 0
            self.key = _read_key(buffer, start + size)[0]
            size += 4
        self.opcode = opcode
        self.fin = first >= FIN
        self.compressed = first & COMPRESSED != 0
        self.length = length
        return size

    def _refuse(self, what: str) -> int:
        self.failure = f"a frame {what}"
        return REFUSED


def header_size(length: int, masked: bool) -> int:
    """Bytes of the header of a frame with `length` bytes of payload."""
    size = 2 if length < _LENGTH_IN_2 else 4 if length < 0x1_0000 else 10
    return size + 4 if masked else size


_write_2 = Struct(">BB").pack_into
_write_4 = Struct(">BBH").pack_into
_write_10 = Struct(">BBQ").pack_into
_write_key = Struct(">I").pack_into


def write_header(memory: bytearray | memoryview, at: int, first: int, length: int, key: int = -1) -> int:
    """Write a frame's header into `memory` from `at` on, where `header_size` bytes are free; returns where it ends.

    Args:
        first: opcode, FIN and COMPRESSED.
        length: payload bytes, below 2**63.
        key: the masking key, or -1 for a frame that is not masked.
    """
    bit = 0 if key < 0 else MASKED
    if length < _LENGTH_IN_2:
        _write_2(memory, at, first, bit | length)
        at += 2
    elif length < 0x1_0000:
        _write_4(memory, at, first, bit | _LENGTH_IN_2, length)
        at += 4
    else:
        _write_10(memory, at, first, bit | _LENGTH_IN_8, length)
        at += 10
    if bit:
        _write_key(memory, at, key)
        at += 4
    return at


# By the length of the payload: unpack_from behind the first two bytes of a frame, to (key, payload) or (payload,);
# pack_into of a whole frame, from (first, second, payload) or (first, second, key, payload).
READ_MASKED: Final = tuple(Struct(f">I{n}s").unpack_from for n in range(MAX_CONTROL_BYTES + 1))
READ_PLAIN: Final = tuple(Struct(f">{n}s").unpack_from for n in range(MAX_CONTROL_BYTES + 1))
WRITE_MASKED: Final = tuple(Struct(f">BBI{n}s").pack_into for n in range(MAX_CONTROL_BYTES + 1))
# The first two bytes of a small masked frame as an int, with room for the key: of binary messages, and of texts.
MASKED_BINARY_HEADS: Final = tuple((FIN | BINARY) << 40 | (MASKED | n) << 32 for n in range(MAX_CONTROL_BYTES + 1))
MASKED_TEXT_HEADS: Final = tuple((FIN | TEXT) << 40 | (MASKED | n) << 32 for n in range(MAX_CONTROL_BYTES + 1))
WRITE_PLAIN: Final = tuple(Struct(f">BB{n}s").pack_into for n in range(MAX_CONTROL_BYTES + 1))
