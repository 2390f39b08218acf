"""Deflater: messages compressed for permessage-deflate (RFC 7692 §7.2.1).

One zlib object lives as long as its Deflater. Without context takeover it is told to forget after each message (a full
flush), which costs what a new object does and keeps its memory; such a Deflater may serve many connections, and a
message for all of them is compressed once.
"""

from __future__ import annotations

import zlib
from typing import Final

from turbosock.limits import MIN_DEFLATED_MESSAGE_BYTES
from turbosock.protocol.websocket.inflater import TAIL

# zlib makes no raw streams with a window of 2**8, and in one of 2**9 it refers back at most 2**9 - 262 = 250 bytes.
_LEAST_WINDOW_BITS: Final = 9
_TAIL_BYTES: Final = len(TAIL)
_EMPTY_BLOCK_HEADER: Final = b"\x00"


class Deflater:
    """Compresses one message after another; used by one thread at a time.

    Args:
        window_bits: 8 to 15, what was agreed at most.
        takeover: whether messages refer back to those before them.
        level: 0 to 9, zlib's.
        memory_level: 1 to 9, zlib's.
        min_bytes: messages below this size are not worth it.

    Attributes:
        takeover: as given. With it a message that was compressed must be sent so: the next ones refer to it, unless
            there was a `restart()`.
        min_bytes: as given.
    """

    __slots__ = ("_level", "_memory_level", "_stream", "_window_bits", "min_bytes", "takeover")

    def __init__(
        self,
        window_bits: int = 15,
        takeover: bool = True,
        level: int = 6,
        memory_level: int = 8,
        min_bytes: int = MIN_DEFLATED_MESSAGE_BYTES,
    ) -> None:
        assert 8 <= window_bits <= 15, "the agreement bounds it"
        self._window_bits = max(window_bits, _LEAST_WINDOW_BITS)
        self._level = level
        self._memory_level = memory_level
        self.takeover = takeover
        self.min_bytes = min_bytes
        self.restart()

    def restart(self) -> None:
        """What was compressed last is not sent, or not known to be: refer to nothing before, and keep nothing of it."""
        self._stream = zlib.compressobj(
            self._level, zlib.DEFLATED, -self._window_bits, self._memory_level, zlib.Z_DEFAULT_STRATEGY
        )

    def deflate(self, payload: bytes | bytearray | memoryview, last: bool = True) -> bytes:
        """Compress a message, or one fragment of it; only the `last` one ends it."""
        stream = self._stream
        begin = stream.compress(payload)
        if not last:
            return begin + stream.flush(zlib.Z_SYNC_FLUSH)
        rest = stream.flush(zlib.Z_SYNC_FLUSH if self.takeover else zlib.Z_FULL_FLUSH)
        if not rest:
            # zlib writes nothing where nothing came since its last flush: the header of an empty block it is.
            return _EMPTY_BLOCK_HEADER
        return b"".join((begin, memoryview(rest)[:-_TAIL_BYTES])) if begin else rest[:-_TAIL_BYTES]
