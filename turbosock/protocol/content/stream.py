"""Stream: the one face of every library's decompressor.

A stream is one gzip member, one zstd frame, one deflate or one br stream, from its first byte to its last.

Invariants after each step: `0 <= taken <= len(piece)`; when the stream is hungry or at its end, it has taken all of the
piece that belongs to it; when it is not hungry, it yields bytes or becomes hungry in the next step, even if no input
is left.
"""

from __future__ import annotations

from abc import ABC, abstractmethod


class Stream(ABC):
    """One compressed stream.

    Attributes:
        taken: bytes of the last piece that are done with; the next piece begins with the byte after them.
        hungry: whether nothing more comes out before more goes in.
        ended: whether the stream is at its end; what follows was not taken.
    """

    __slots__ = ("ended", "hungry", "taken")

    def __init__(self) -> None:
        self.taken = 0
        self.hungry = True
        self.ended = False

    @abstractmethod
    def step(self, piece: memoryview) -> bytes:
        """Decode from the front of `piece`; the library may copy it, nothing keeps it.

        Returns:
            What was decoded: DECODE_STEP_BYTES and no more, or less when the input is used up; it may be empty.

        Raises:
            DecodingError: the library refuses the bytes. The stream is lost, and with it what the step had decoded.
        """
