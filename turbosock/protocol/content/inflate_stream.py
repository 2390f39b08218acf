"""InflateStream: a stream of gzip, zlib or raw deflate (RFC 1950, 1951, 1952) in zlib or a library with its face.

zlib, `isal.isal_zlib` and `zlib_ng.zlib_ng` hand out owned bytes; none decodes into memory that it is given. Each step
copies the input it leaves over (`unconsumed_tail`); only its length is used here.
"""

from __future__ import annotations

from typing import Final

from turbosock.errors import DecodingError
from turbosock.limits import DECODE_STEP_BYTES
from turbosock.protocol.content.libraries import InflateLibrary
from turbosock.protocol.content.stream import Stream

# The `wbits` of zlib: the largest window, and which wrapper is around it.
GZIP_WRAPPER: Final = 31
ZLIB_WRAPPER: Final = 15
NO_WRAPPER: Final = -15


class InflateStream(Stream):
    """One stream; `wbits` is one of the wrappers above. The wrapper's checksum and length are checked at its end."""

    __slots__ = ("_error", "_object")

    def __init__(self, library: InflateLibrary, wbits: int) -> None:
        super().__init__()
        self._object = library.decompressobj(wbits=wbits)
        self._error = library.error

    def step(self, piece: memoryview) -> bytes:
        """See Stream."""
        stream = self._object
        refusal = ""
        try:
            data = stream.decompress(piece, DECODE_STEP_BYTES)
        except self._error as error:
            refusal = str(error)
        if refusal:
            # Outside of the except: the library's error would keep its frames, and they the caller's memory.
            raise DecodingError(refusal)
        if stream.eof:
            # isal may have read a few bytes of an earlier piece too far, behind a raw stream; they are not needed.
            self.taken = max(len(piece) - len(stream.unused_data), 0)
            self.ended = self.hungry = True
        else:
            self.taken = len(piece) - len(stream.unconsumed_tail)
            self.hungry = len(data) < DECODE_STEP_BYTES
        return data
