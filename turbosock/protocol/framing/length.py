"""LengthPrefixed: each message stands behind its length: 1, 2 or 4 bytes of either order, or a varint.

A varint is LEB128 as in Protocol Buffers: seven bits a byte, the lowest first, the top bit set in all but the last one.
It has five bytes at most here, which say lengths up to 2**35.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from turbosock.errors import InvalidOption, ProtocolError
from turbosock.protocol.framing.framing import FAILED, MESSAGE, FrameReader, Framing

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer

_CODES: Final = {1: "B", 2: "H", 4: "I"}
_ORDERS: Final = {"big": ">", "little": "<"}
MAX_VARINT_BYTES: Final = 5


class LengthPrefixed(Framing):
    """Each message stands behind its length.

    Args:
        size: of the length: 1, 2 or 4 bytes, or "varint".
        order: "big", as networks have it, or "little"; a varint has one of its own.

    Raises:
        InvalidOption: an argument is none of these.
    """

    __slots__ = ("_format", "header_bytes", "order", "size")

    def __init__(self, size: int | str = 4, order: str = "big") -> None:
        if not isinstance(order, str) or order not in _ORDERS:
            raise InvalidOption(f'order={order!r}: give "big" or "little"')
        if size != "varint" and (type(size) is not int or size not in _CODES):
            raise InvalidOption(f'size={size!r}: give 1, 2, 4 or "varint"')
        self.size = size
        self.order = order
        self._format = None if size == "varint" else Struct(_ORDERS[order] + _CODES[int(size)])
        self.header_bytes = MAX_VARINT_BYTES if self._format is None else self._format.size  # type: ignore[misc]  # here it differs by instance

    def reader(self, max_message: int) -> FrameReader:
        if self._format is None:
            return _VarintReader(max_message)
        return _LengthReader(max_message, self._format)

    def header(self, size: int) -> bytes:
        if self._format is None:
            return _varint(size)
        if size >> (8 * self.header_bytes):
            raise InvalidOption(f"data: {size} bytes do not fit a length of {self.header_bytes} bytes: send less")
        return self._format.pack(size)

    def __repr__(self) -> str:
        return f"LengthPrefixed({self.size!r}, {self.order!r})"


def _varint(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    if size >> (7 * MAX_VARINT_BYTES):
        raise InvalidOption(f"data: {size} bytes do not fit a varint of {MAX_VARINT_BYTES} bytes: send less")
    digits = bytearray()
    while size >= 0x80:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    digits.append(size)
    return bytes(digits)


class _LengthReader(FrameReader):
    __slots__ = ("_header_bytes", "_read")

    def __init__(self, max_message: int, form: Struct) -> None:
        super().__init__(max_message)
        self._header_bytes = form.size
        self._read = form.unpack_from

    def next(self, ring: RingBuffer) -> int:
        length = ring.length
        header_bytes = self._header_bytes
        if length < header_bytes:
            return self._await(ring, header_bytes)
        start = ring.start
        (size,) = self._read(ring.storage, start)
        if size > self._max_message:
            return self._too_long(size)
        needed = header_bytes + size
        if length < needed:
            return self._await(ring, needed)
        stop = start + needed
        self.data = ring.root[start + header_bytes : stop]
        length -= needed
        ring.length = length
        ring.start = stop if length else 0
        return MESSAGE


class _VarintReader(FrameReader):
    __slots__ = ()

    def next(self, ring: RingBuffer) -> int:
        length = ring.length
        start = ring.start
        storage = ring.storage
        size = shift = count = 0
        while True:
            if count == length:
                return self._await(ring, count + 1)
            byte = storage[start + count]
            count += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            if count == MAX_VARINT_BYTES:
                self.error = ProtocolError(f"a length has more than {MAX_VARINT_BYTES} bytes", code="bad_length")
                return FAILED
            shift += 7
        if size > self._max_message:
            return self._too_long(size)
        needed = count + size
        if length < needed:
            return self._await(ring, needed)
        stop = start + needed
        self.data = ring.root[start + count : stop]
        length -= needed
        ring.length = length
        ring.start = stop if length else 0
        return MESSAGE
