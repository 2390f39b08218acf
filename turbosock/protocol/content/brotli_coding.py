"""BrotliCoding: the coding `br` (RFC 7932).

A br stream has no magic number and no checksum: what is not br is found out sooner or later, and a flipped bit may
never be. Bytes behind its end are refused, not ignored as behind gzip: the libraries fail on them, and cannot say
where they begin.

The bound on a step is the library's to keep: `Brotli` stops after its first block, of 32,752 bytes, `brotlicffi` at the
limit. The window, up to 16 MiB (RFC 7932 §9.1), comes on top: neither lets it be bounded.
"""

from __future__ import annotations

from turbosock.errors import DecodingError
from turbosock.limits import DECODE_STEP_BYTES
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.libraries import BrotliLibrary
from turbosock.protocol.content.stream import Stream

# The first block of Brotli's output buffer: with a larger limit it would go on to a second, of 64 KiB.
_LIMIT = DECODE_STEP_BYTES - 16


class BrotliStream(Stream):
    """One br stream."""

    __slots__ = ("_error", "_given", "_object", "_takes_views")

    def __init__(self, library: BrotliLibrary) -> None:
        super().__init__()
        self._object = library.decompressor()
        self._error = library.error
        self._takes_views = library.takes_views
        # Of the present piece, what the library has a copy of and has not used up.
        self._given = 0

    def step(self, piece: memoryview) -> bytes:
        """See Stream."""
        stream = self._object
        offered: memoryview | bytes = b""
        if not self._given:
            offered = piece if self._takes_views else bytes(piece)
            self._given = len(piece)
        refusal = ""
        try:
            data = stream.process(offered, output_buffer_limit=_LIMIT)
        except self._error as error:
            reason = error.args[0]
            refusal = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        if refusal:
            raise DecodingError(refusal)
        self.ended = stream.is_finished()
        self.hungry = self.ended or (len(data) < _LIMIT and stream.can_accept_more_data())
        self.taken = 0
        if self.hungry:
            self.taken = self._given
            self._given = 0
        return data


class BrotliCoding(Coding):
    """Bodies in br, decoded by `library`."""

    __slots__ = ("_library",)

    name = "br"

    def __init__(self, library: BrotliLibrary) -> None:
        super().__init__()
        self._library = library

    def may_begin(self, prefix: bytes) -> bool:
        """See Coding: br has no prefix."""
        return True

    def open(self, prefix: bytes) -> Stream:
        """See Coding."""
        return BrotliStream(self._library)

    def follow(self, piece: memoryview) -> None:
        """See Coding: refuse it.

        Raises:
            DecodingError: always.
        """
        raise DecodingError("bytes follow the end of the br stream")
