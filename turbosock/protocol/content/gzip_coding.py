"""GzipCoding: the coding `gzip` (RFC 1952), members in a row.

A member's first four bytes are looked at here: the two of its magic number, the method and the flags, whose upper three
bits are reserved and zero (RFC 1952 §2.3.1). All else is the library's: the rest of the header and its check, the
checksum and the length at the end. isal gets the header's check wrong when the header comes in pieces, so that the rare
member which has one goes to zlib.
"""

from __future__ import annotations

from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.inflate_stream import GZIP_WRAPPER, InflateStream
from turbosock.protocol.content.libraries import InflateLibrary, zlib_itself
from turbosock.protocol.content.stream import Stream

_MAGIC = b"\x1f\x8b\x08"
_RESERVED_FLAGS = 0xE0
_HEADER_CHECK_FLAG = 0x02


class GzipCoding(Coding):
    """Bodies in gzip, decoded by `library`."""

    __slots__ = ("_library",)

    name = "gzip"
    prefix_bytes = 4
    repeats = True

    def __init__(self, library: InflateLibrary) -> None:
        super().__init__()
        self._library = library

    def may_begin(self, prefix: bytes) -> bool:
        """See Coding."""
        if len(prefix) < 4:
            return _MAGIC.startswith(prefix)
        return prefix.startswith(_MAGIC) and not prefix[3] & _RESERVED_FLAGS

    def open(self, prefix: bytes) -> Stream:
        """See Coding."""
        library = zlib_itself() if prefix[3] & _HEADER_CHECK_FLAG else self._library
        return InflateStream(library, GZIP_WRAPPER)
