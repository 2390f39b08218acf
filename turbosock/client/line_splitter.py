"""LineSplitter: a text that comes in pieces of bytes, as lines; CR, LF and CRLF end a line, whatever the charset.

Invariants: every line is whole, and without its end; what is kept between two pieces is one line that has not ended,
and its length is known.
"""

from __future__ import annotations

import codecs

from turbosock.client.charset import MAX_MARK_BYTES, UTF_8, codec_for


class LineSplitter:
    """Splits one text.

    Args:
        charset: its charset; None: a byte order mark tells, or it is UTF-8.

    Attributes:
        kept: characters of the line that has not ended.
    """

    __slots__ = ("_begun", "_charset", "_decoder", "_ended_with_cr", "_start", "kept")

    def __init__(self, charset: str | None) -> None:
        self._charset = charset
        self._decoder: codecs.IncrementalDecoder | None = None
        # The first bytes, until there are enough for a mark.
        self._start = b""
        # The pieces of the line that has not ended, put together once it has.
        self._begun: list[str] = []
        self._ended_with_cr = False
        self.kept = 0

    def feed(self, piece: bytes) -> list[str]:
        """The lines that end in `piece`."""
        if self._decoder is None:
            piece = self._start + piece
            if len(piece) < MAX_MARK_BYTES:
                self._start = piece
                return []
            self._decoder = self._opened(piece)
        return self._split(self._decoder.decode(piece))

    def finish(self) -> list[str]:
        """The lines that the end of the text ends."""
        if self._decoder is None:
            self._decoder = self._opened(self._start)
            lines = self._split(self._decoder.decode(self._start, True))
        else:
            lines = self._split(self._decoder.decode(b"", True))
        if self._begun:
            lines.append("".join(self._begun))
            self._begun.clear()
            self.kept = 0
        return lines

    def _opened(self, start: bytes) -> codecs.IncrementalDecoder:
        name = codec_for(self._charset, start[:MAX_MARK_BYTES])
        try:
            return codecs.getincrementaldecoder(name)("replace")
        except LookupError:
            # A codec that decodes whole texts only.
            return codecs.getincrementaldecoder(UTF_8)("replace")

    def _split(self, text: str) -> list[str]:
        if not text:
            return []
        if self._ended_with_cr and text.startswith("\n"):
            # The line ended with the piece before.
            text = text[1:]
            self._ended_with_cr = False
            if not text:
                return []
        self._ended_with_cr = text.endswith("\r")
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        rest = lines.pop()
        if lines and self._begun:
            self._begun.append(lines[0])
            lines[0] = "".join(self._begun)
            self._begun.clear()
            self.kept = 0
        if rest:
            self._begun.append(rest)
            self.kept += len(rest)
        return lines
