"""Inflater: the payload of compressed messages, decompressed piece by piece (RFC 7692 §7.2.2).

Output is asked for in bounded steps, so that a bomb is refused before it goes off: never more comes out than was asked
for. zlib hands out owned bytes; it cannot write into memory that it is given.

A message may hold streams that end (blocks marked as final, §7.2.3.4): another one follows in the same message or in
the next. What a stream decoded to is not known to the one after it.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from turbosock.limits import MAX_INFLATE_STREAMS

# What a sender cuts off the end of each message (RFC 7692 §7.2.1): the length fields of an empty block.
TAIL: Final = b"\x00\x00\xff\xff"


class Inflater:
    """Decompresses one message after another.

    Args:
        window_bits: 8 to 15, of the sender's window at most.
        takeover: whether a message may refer back to those before it.

    Attributes:
        taken: how much of the piece the last step used up.
        hungry: whether nothing more comes out before more goes in.
        failure: why the data cannot be decompressed, or "". The connection fails with INVALID_DATA.
    """

    __slots__ = ("_stream", "_streams", "_takeover", "_window_bits", "failure", "hungry", "taken")

    def __init__(self, window_bits: int = 15, takeover: bool = True) -> None:
        assert 8 <= window_bits <= 15, "the agreement bounds it"
        self._window_bits = window_bits
        self._takeover = takeover
        # zlib's own type has no name.
        self._stream: Any = None
        self._streams = 0
        self.taken = 0
        self.hungry = True
        self.failure = ""

    def step(self, piece: memoryview | bytes, room: int) -> bytes:
        """Decompress up to `room` bytes, above 0, from the front of `piece`; see `taken`, `hungry` and `failure`.

        An empty piece asks for what is left of the ones before.
        """
        stream = self._stream
        if stream is None:
            self._stream = stream = zlib.decompressobj(wbits=-self._window_bits)
        try:
            data: bytes = stream.decompress(piece, room)
        except zlib.error as error:
            self.failure = f"a compressed message is broken: {error}"
            self.taken = 0
            self._stream = None
            return b""
        if stream.eof:
            self.taken = len(piece) - len(stream.unused_data)
            self.hungry = True
            self._stream = None
            self._streams += 1
            if self._streams > MAX_INFLATE_STREAMS:
                self.failure = f"a compressed message has more than {MAX_INFLATE_STREAMS} streams"
        else:
            self.taken = len(piece) - len(stream.unconsumed_tail)
            self.hungry = len(data) < room
        return data

    def end_message(self) -> None:
        """Tell that the message has no more bytes, TAIL included: what begins next is another one."""
        self._streams = 0
        self.hungry = True
        if not self._takeover:
            self._stream = None
