"""ZstdCoding: the coding `zstd` (RFC 8878), frames in a row, skippable ones included.

The window is bounded as RFC 9659 has it: a frame that wants more is refused before its memory is made.
"""

from __future__ import annotations

from turbosock.errors import DecodingError
from turbosock.limits import DECODE_STEP_BYTES, MAX_ZSTD_WINDOW_BYTES
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.libraries import ZstdLibrary
from turbosock.protocol.content.stream import Stream

_MAGIC = b"\x28\xb5\x2f\xfd"
# The end of 0x184D2A5?, little-endian: a frame of the user's own data, which decodes to nothing (RFC 8878 §3.1.2).
_SKIPPABLE_END = b"\x2a\x4d\x18"


class ZstdStream(Stream):
    """One zstd frame."""

    __slots__ = ("_error", "_given", "_object")

    def __init__(self, library: ZstdLibrary) -> None:
        super().__init__()
        window_log = MAX_ZSTD_WINDOW_BYTES.bit_length() - 1
        self._object = library.decompressor(options={library.window_log_max: window_log})
        self._error = library.error
        # Of the present piece, what the library has a copy of and has not used up.
        self._given = 0

    def step(self, piece: memoryview) -> bytes:
        """See Stream."""
        stream = self._object
        offered: memoryview | bytes = b""
        if not self._given:
            offered = piece
            self._given = len(piece)
        refusal = ""
        try:
            data = stream.decompress(offered, DECODE_STEP_BYTES)
        except self._error as error:
            refusal = str(error)
        if refusal:
            raise DecodingError(refusal)
        self.ended = stream.eof
        self.hungry = self.ended or stream.needs_input
        self.taken = 0
        if self.hungry:
            self.taken = self._given - len(stream.unused_data) if self.ended else self._given
            self._given = 0
        return data


class ZstdCoding(Coding):
    """Bodies in zstd, decoded by `library`."""

    __slots__ = ("_library",)

    name = "zstd"
    prefix_bytes = 4
    repeats = True

    def __init__(self, library: ZstdLibrary) -> None:
        super().__init__()
        self._library = library

    def may_begin(self, prefix: bytes) -> bool:
        """See Coding."""
        if prefix[0] >> 4 == 5:
            return _SKIPPABLE_END.startswith(prefix[1:])
        return _MAGIC.startswith(prefix)

    def open(self, prefix: bytes) -> Stream:
        """See Coding."""
        return ZstdStream(self._library)
