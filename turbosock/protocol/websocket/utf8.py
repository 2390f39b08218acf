"""Utf8Check: whether the text of a message, in whatever pieces it comes, is UTF-8 (RFC 6455 §8.1, RFC 3629).

The interpreter's own decoder does the work, in steps that bound the text it makes, which is thrown away. A sequence is
refused at the first byte that cannot continue it, so a message fails as early as it can. Between the pieces at most
three bytes are kept: the beginning of one character.
"""

from __future__ import annotations

from codecs import utf_8_decode

from turbosock.limits import UTF8_STEP_BYTES


class Utf8Check:
    """Checks one text after another.

    Attributes:
        pending: the beginning of a character whose end has not come; at most three bytes.
    """

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = b""

    def feed(self, view: memoryview, start: int, stop: int) -> bool:
        """Take `view[start:stop]` as what comes next; False if the text cannot be UTF-8 any more."""
        try:
            while start < stop:
                if self.pending:
                    # No character has more than four bytes: with three more of them a pending one ends or fails.
                    joint = self.pending + view[start : min(start + 3, stop)]
                    used = utf_8_decode(joint, "strict", False)[1] - len(self.pending)
                    if used < 0:
                        return self._keep(joint)
                    self.pending = b""
                    start += used
                    continue
                end = min(start + UTF8_STEP_BYTES, stop)
                start += utf_8_decode(view[start:end], "strict", False)[1]
                if start < end and end == stop:
                    return self._keep(bytes(view[start:stop]))
        except UnicodeDecodeError:
            self.pending = b""
            return False
        return True

    def _keep(self, pending: bytes) -> bool:
        """Keep the beginning of a character; False for half of a surrogate, of which the decoder waits for the end."""
        if pending > b"\xed\x9f" and pending < b"\xee":
            self.pending = b""
            return False
        self.pending = pending
        return True

    def finish(self) -> bool:
        """Tell that the text has no more bytes, ready for the next one; False if its last character is cut."""
        whole = not self.pending
        self.pending = b""
        return whole
