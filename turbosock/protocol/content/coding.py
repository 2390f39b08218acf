"""Coding: one body in one content coding, from its first byte to what may follow its last stream.

A body begins with a few bytes that tell its format (`prefix_bytes`), whatever pieces they come in. Then its stream is
decoded by a library. Behind it may stand another one (gzip members, RFC 1952 §2.2; zstd frames, RFC 8878 §3), and what
is none is ignored, as browsers do: padding, a stray line end, a server's notice. No bytes at all decode to none.

Invariants: `hungry` is true whenever no stream is open; `0 <= len(prefix) <= prefix_bytes`, and a prefix of that length
has become a stream or a refusal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from turbosock.errors import DecodingError, Origin
from turbosock.limits import MAX_CODED_MEMBERS
from turbosock.protocol.content.stream import Stream


class Coding(ABC):
    """Decodes one body after another.

    Attributes:
        name: as in Content-Encoding.
        prefix_bytes: how many bytes tell the format.
        repeats: whether streams may follow one another.
        offset: bytes of input taken so far.
        hungry: whether nothing more comes out before more goes in.
    """

    __slots__ = ("_ignoring", "_prefix", "_stream", "_streams", "hungry", "offset")

    name = ""
    prefix_bytes = 0
    repeats = False

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the body, ready for the next."""
        self.offset = 0
        self.hungry = True
        self._stream: Stream | None = None
        self._streams = 0
        self._prefix = b""
        self._ignoring = False

    @property
    def complete(self) -> bool:
        """Whether the body may end here."""
        return self._stream is None and (self._streams > 0 or not self._prefix)

    @abstractmethod
    def may_begin(self, prefix: bytes) -> bool:
        """Whether a stream can begin with `prefix`, which has 1 to `prefix_bytes` bytes."""

    @abstractmethod
    def open(self, prefix: bytes) -> Stream:
        """A new stream for what begins with `prefix`; the prefix itself is handed in afterwards."""

    def decode(self, piece: memoryview) -> bytes:
        """Decode from the front of `piece` and count in `offset` what was taken; see Stream.step.

        Raises:
            DecodingError: without its offset: the bytes are not in this coding, or are broken.
        """
        stream = self._stream
        if stream is None:
            return self._begin(piece)
        data = stream.step(piece)
        taken = stream.taken
        self.offset += taken
        self.hungry = stream.hungry
        if stream.ended:
            self._stream = None
        elif not data and not taken and not stream.hungry:
            raise DecodingError("the library makes no progress")
        return data

    def follow(self, piece: memoryview) -> None:
        """Take `piece`, which stands behind the last stream of the body and begins none."""
        self._ignoring = True
        self.offset += len(piece)

    def _begin(self, piece: memoryview) -> bytes:
        """Take from `piece` what belongs to the beginning of a stream, and open it when its format is known.

        Returns:
            What the beginning decodes to: a byte or two at most, and those only in raw deflate.
        """
        if self._streams and (self._ignoring or not self.repeats):
            self.follow(piece)
            return b""
        missing = self.prefix_bytes - len(self._prefix)
        prefix = self._prefix + bytes(piece[:missing])
        if prefix and not self.may_begin(prefix):
            if not self._streams:
                raise DecodingError(f"the body does not begin as {self.name} does; is it coded at all?")
            self.follow(piece)
            return b""
        self.offset += len(prefix) - len(self._prefix)
        self._prefix = prefix
        if len(prefix) < self.prefix_bytes:
            return b""
        if self._streams == MAX_CODED_MEMBERS:
            raise DecodingError(
                f"the body has more than {MAX_CODED_MEMBERS} members, the limit MAX_CODED_MEMBERS",
                code="bomb",
                origin=Origin.LIMIT,
            )
        stream = self.open(prefix)
        self._streams += 1
        self._prefix = b""
        data = stream.step(memoryview(prefix)) if prefix else b""
        if not stream.ended:
            self._stream = stream
        return data
