"""The sending halves of WebSockets in a Loop, strategies as `message_connection.py` describes them.

`PlainFrames` is a server's: its frames are not masked, so one object serves any number of connections, and a frame of
a broadcast is made once. `MaskedFrames` is a client's, whose every frame has a key of its own (RFC 6455 §5.3).
`DeflatedFrames` is for either where permessage-deflate was agreed.

A str is sent as text, anything else as binary. `payload` makes bytes of a str and remembers those very bytes until they
are framed or refused.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final

from turbosock.connection.frame_writer import Payload, bytes_of
from turbosock.errors import InvalidOption
from turbosock.limits import JOINED_FRAME_BYTES
from turbosock.protocol.websocket.frame import (
    BINARY,
    FIN,
    MASKED,
    MASKED_BINARY_HEADS,
    MASKED_TEXT_HEADS,
    MAX_CONTROL_BYTES,
    MAX_HEADER_BYTES,
    TEXT,
    header_size,
    write_header,
)
from turbosock.protocol.websocket.masking import REPEATS, SHIFTS, SMALL_BYTES

if TYPE_CHECKING:
    from turbosock.protocol.websocket.mask_keys import MaskKeys
    from turbosock.protocol.websocket.writer import MessageWriter

_WHOLE_BINARY: Final = FIN | BINARY
_WHOLE_TEXT: Final = FIN | TEXT
# The headers of small frames, by their length.
_BINARY_HEADERS: Final = tuple(bytes((_WHOLE_BINARY, n)) for n in range(MAX_CONTROL_BYTES + 1))
_TEXT_HEADERS: Final = tuple(bytes((_WHOLE_TEXT, n)) for n in range(MAX_CONTROL_BYTES + 1))
_pack_4 = Struct(">BBH").pack
_pack_10 = Struct(">BBQ").pack

# The second byte of a masked frame whose length stands in the next two, where it stands before that length.
_MASKED_IN_2: Final = (MASKED | 126) << 16

_from_bytes = int.from_bytes

assert JOINED_FRAME_BYTES <= SMALL_BYTES, "frames that are joined are masked as one int"


class Frames:
    """What the three have in common.

    Args:
        masks: whether they are a client's.

    Attributes:
        head_bytes: room to leave before a payload that is framed in place.
        text: whether the next payload that is framed is text, whatever it was given as.
    """

    __slots__ = ("_text", "masks", "text")

    shares: ClassVar[bool] = False
    replaces: ClassVar[bool] = True
    # A multiple of four, where a payload is masked without a detour.
    head_bytes: ClassVar[int] = -(-MAX_HEADER_BYTES // 4) * 4
    tail_bytes: ClassVar[int] = 0
    trailer: ClassVar[bytes] = b""

    def __init__(self, *, masks: bool = False) -> None:
        self.masks = masks
        # The bytes of the str that is being sent.
        self._text: bytes | None = None
        self.text = False

    def payload(self, data: object) -> Payload:
        """What is sent for `data` that is not bytes: a text's UTF-8, or a view of its bytes.

        Raises:
            InvalidOption: it is neither str nor bytes-like, or the text has no UTF-8.
        """
        if isinstance(data, str):
            try:
                payload = self._text = data.encode()
            except UnicodeEncodeError:
                raise InvalidOption("data: holds half of a surrogate pair, which UTF-8 cannot say") from None
            return payload
        if type(data) is memoryview and data.c_contiguous and data.format == "B" and data.ndim == 1:
            return data
        if isinstance(data, bytearray):
            return data
        return bytes_of(data, "str, bytes")

    def head_size(self, size: int) -> int:
        """Bytes of the header of a payload of so many bytes, with its key."""
        return header_size(size, self.masks)

    def forget(self) -> None:
        """What `payload` made is not sent."""
        self._text = None
        self.text = False

    def _opcode(self, payload: Payload | None) -> int:
        """The opcode of the message that this is; None: one that was built in place, which `text` alone tells about."""
        text = self._text
        if text is None and not self.text:
            return BINARY
        is_text = self.text or payload is text
        self._text = None
        self.text = False
        return TEXT if is_text else BINARY


class PlainFrames(Frames):
    """Frames of a server, not compressed; see the module."""

    __slots__ = ()

    shares: ClassVar[bool] = True

    def frame(self, payload: Payload) -> bytes:
        """A whole frame in memory of its own."""
        n = len(payload)
        if self._text is None and not self.text:
            header = _BINARY_HEADERS[n] if n <= MAX_CONTROL_BYTES else _header(_WHOLE_BINARY, n)
        elif self._opcode(payload) == TEXT:
            header = _TEXT_HEADERS[n] if n <= MAX_CONTROL_BYTES else _header(_WHOLE_TEXT, n)
        else:
            header = _header(_WHOLE_BINARY, n)
        return header + payload if type(payload) is bytes else b"".join((header, payload))

    def header(self, payload: bytes) -> bytes:
        """What stands before a payload that is sent from where it lies."""
        return _header(FIN | self._opcode(payload), len(payload))

    def seal(self, memory: memoryview, at: int, size: int, payload: Payload | None = None) -> int:
        """Make a frame of the payload in `memory[at:at + size]`, where it lies; returns where the frame begins."""
        start = at - header_size(size, False)
        write_header(memory, start, FIN | self._opcode(payload), size)
        return start


class MaskedFrames(Frames):
    """Frames of a client, not compressed; see the module.

    Args:
        writer: masks those that lie in pooled memory.
        keys: the masking keys.
    """

    __slots__ = ("_keys", "_writer")

    def __init__(self, writer: MessageWriter, keys: MaskKeys) -> None:
        super().__init__(masks=True)
        self._writer = writer
        self._keys = keys

    def frame(self, payload: Payload) -> bytes:
        """A whole frame in memory of its own, of at most JOINED_FRAME_BYTES of payload."""
        n = len(payload)
        first = FIN | self._opcode(payload)
        key = self._keys.take()
        repeated = key * REPEATS[n]
        if n & 3:
            repeated >>= SHIFTS[n]
        masked = _from_bytes(payload, "big") ^ repeated
        if n <= MAX_CONTROL_BYTES:
            head = MASKED_TEXT_HEADS[n] if first == _WHOLE_TEXT else MASKED_BINARY_HEADS[n]
            return ((head | key) << 8 * n | masked).to_bytes(n + 6, "big")
        return (((first << 24 | _MASKED_IN_2 | n) << 32 | key) << 8 * n | masked).to_bytes(n + 8, "big")

    def header(self, payload: bytes) -> None:
        """A masked frame is not sent from where its payload lies."""
        return

    def seal(self, memory: memoryview, at: int, size: int, payload: Payload | None = None) -> int:
        """As PlainFrames'."""
        return self._writer.seal(memory, at, FIN | self._opcode(payload), size)


class DeflatedFrames(Frames):
    """Frames where permessage-deflate was agreed; see the module.

    Args:
        writer: compresses, and masks for a client.

    Attributes:
        plain: whether what is framed next is not compressed.
        untaken: what was compressed last is not known to be taken: something may have broken off before. What is
            compressed next does not refer to it. Who takes it says so.
    """

    __slots__ = ("_writer", "plain", "untaken")

    def __init__(self, writer: MessageWriter, *, masks: bool = False) -> None:
        super().__init__(masks=masks)
        self._writer = writer
        self.plain = False
        self.untaken = False

    def frame(self, payload: Payload) -> memoryview:
        """A whole frame in memory of its own, of a message of any size."""
        writer = self._writer
        opcode = self._opcode(payload)
        if self.plain:
            first = FIN | opcode
        else:
            if self.untaken:
                writer.restart()
            self.untaken = True
            payload = writer.encode(opcode, payload)
            first = writer.first
        memory = memoryview(bytearray(writer.size(len(payload))))
        writer.write(memory, 0, first, payload)
        return memory

    def header(self, payload: bytes) -> None:
        """What is compressed is not sent from where it lies."""
        return

    def seal(self, memory: memoryview, at: int, size: int, payload: Payload | None = None) -> int:
        """As PlainFrames': what was built in place is not compressed."""
        return self._writer.seal(memory, at, FIN | self._opcode(payload), size)


def _header(first: int, n: int) -> bytes:
    if n <= MAX_CONTROL_BYTES:
        return bytes((first, n))
    return _pack_4(first, 126, n) if n < 0x1_0000 else _pack_10(first, 127, n)
