"""FrameWriter: the sending half of framed messages: a framing's headers and trailers around payload.

It has no state of its own: one serves all connections with the same framing, and what it framed once may be sent to any
of them (`shares`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from turbosock.protocol.framing.framing import Framing

Payload = bytes | bytearray | memoryview


def bytes_of(data: object, kinds: str) -> memoryview:
    """The bytes of a contiguous buffer of any kind; raises InvalidOption, which names what may be given."""
    try:
        return memoryview(data).cast("B")  # type: ignore[arg-type]  # what it is not, it says
    except TypeError:
        what = type(data).__name__
        raise InvalidOption(f"data: a {what} was given; give {kinds}, or a contiguous buffer of bytes") from None


class FrameWriter:
    """Frames what is sent; the sending half of a strategy, see `message_connection.py`.

    Args:
        framing: says how.

    Attributes:
        head_bytes, tail_bytes: room to leave before and behind a payload that is framed in place.
        trailer: what stands behind each payload.
        shares: a frame is the same for all connections of this writer.
        replaces: an unsent frame may be replaced.
    """

    __slots__ = ("_check", "_header", "_plain", "head_bytes", "tail_bytes", "trailer")

    shares: ClassVar[bool] = True
    replaces: ClassVar[bool] = True

    def __init__(self, framing: Framing) -> None:
        self._header = framing.header
        self._check = framing.check
        self.head_bytes = framing.header_bytes
        self.trailer = framing.trailer
        self.tail_bytes = len(framing.trailer)
        self._plain = not self.head_bytes and not self.tail_bytes

    def payload(self, data: object) -> Payload:
        """What goes on the wire for `data` that is not bytes: a view of its bytes.

        Raises:
            InvalidOption: it is no bytes-like object.
        """
        if type(data) is memoryview and data.c_contiguous and data.format == "B" and data.ndim == 1:
            return data
        if isinstance(data, bytearray):
            return data
        return bytes_of(data, "bytes")

    def frame(self, payload: Payload) -> bytes:
        """A whole frame in memory of its own.

        Raises:
            InvalidOption: the payload cannot be said in this framing.
        """
        self._check(payload)
        if self._plain:
            return bytes(payload)
        if type(payload) is bytes:
            return self._header(len(payload)) + payload + self.trailer
        return b"".join((self._header(len(payload)), payload, self.trailer))

    def header(self, payload: bytes) -> bytes | None:
        """What stands before a payload that is sent from where it lies; None: it cannot be, and is written.

        Raises:
            InvalidOption: as `frame`.
        """
        self._check(payload)
        return self._header(len(payload))

    def head_size(self, size: int) -> int:
        """Room to leave before a payload of so many bytes."""
        return self.head_bytes

    def seal(self, memory: memoryview, at: int, size: int, payload: Payload | None = None) -> int:
        """Make a frame of the payload in `memory[at:at + size]`, where it lies; returns where the frame begins.

        Raises:
            InvalidOption: as `frame`.
        """
        self._check(memory[at : at + size])
        header = self._header(size)
        start = at - len(header)
        stop = at + size
        memory[start:at] = header
        if self.tail_bytes:
            memory[stop : stop + self.tail_bytes] = self.trailer
        return start
