"""SendProgress: tells whoever uploads how much of the body has left; made for requests whose body has a callback.

Heads and the framing of chunks do not count. What has left is what the system took, on its way to the peer or in a
buffer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.connection.source import BodySource, Progress


class SendProgress:
    """Counts the payload that is sent in one go of a body.

    Args:
        source: the body.
        callback: its `progress`.
    """

    __slots__ = ("_block_bytes", "_callback", "_given", "_tail_bytes", "_told", "_total")

    def __init__(self, source: BodySource, callback: Progress) -> None:
        self._callback = callback
        self._total = source.length if source.length >= 0 else None
        # Payload that was taken from the source; of it, in the block that is being sent, and framing behind that.
        self._given = 0
        self._block_bytes = 0
        self._tail_bytes = 0
        self._told = 0

    def taken(self, block_bytes: int, tail_bytes: int) -> None:
        """A block was taken from the source, and stands before `tail_bytes` of framing."""
        self._given += block_bytes
        self._block_bytes = block_bytes
        self._tail_bytes = tail_bytes

    def look(self, unsent_bytes: int) -> None:
        """So much of the block, with what is before and behind it, has not left; calls the callback if payload has."""
        payload = unsent_bytes - self._tail_bytes
        if payload > self._block_bytes:
            # The head is not through.
            payload = self._block_bytes
        sent = self._given - payload if payload > 0 else self._given
        if sent != self._told:
            self._told = sent
            self._callback(sent, self._total)
