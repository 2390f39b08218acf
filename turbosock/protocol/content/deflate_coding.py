"""DeflateCoding: the coding `deflate`, of both kinds that servers send.

RFC 9110 §8.4.1.2 means the zlib format (RFC 1950); many servers send raw deflate (RFC 1951) instead. The first two
bytes tell: a zlib header names method 8 and a window of at most 32 KiB, and is a multiple of 31. A raw stream that
looked so would begin with a stored block whose padding is not zero, which no encoder writes.
"""

from __future__ import annotations

from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.inflate_stream import NO_WRAPPER, ZLIB_WRAPPER, InflateStream
from turbosock.protocol.content.libraries import InflateLibrary
from turbosock.protocol.content.stream import Stream


class DeflateCoding(Coding):
    """Bodies in deflate, decoded by `library`."""

    __slots__ = ("_library",)

    name = "deflate"
    prefix_bytes = 2

    def __init__(self, library: InflateLibrary) -> None:
        super().__init__()
        self._library = library

    def may_begin(self, prefix: bytes) -> bool:
        """See Coding: what is no zlib header is taken for raw deflate."""
        return True

    def open(self, prefix: bytes) -> Stream:
        """See Coding."""
        return InflateStream(self._library, ZLIB_WRAPPER if is_zlib_header(prefix) else NO_WRAPPER)


def is_zlib_header(prefix: bytes) -> bool:
    """Whether two bytes are CMF and FLG of RFC 1950 §2.2."""
    cmf, flg = prefix
    return cmf & 0x0F == 8 and cmf >> 4 <= 7 and (cmf << 8 | flg) % 31 == 0
