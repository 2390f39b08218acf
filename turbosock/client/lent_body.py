"""LentBody: a body where it lies in the memory of its connection, for as long as one step of its exchange.

A window into a ring that goes on to other uses right after: whoever does not take what is here now finds it in the
stream's backlog.
"""

from __future__ import annotations

from turbosock.buffers import RingBuffer


class LentBody(RingBuffer):
    """What a stream's exchange reads a whole body from; made once, and pointed at one body after another."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(1)

    def show(self, root: memoryview, start: int, length: int) -> None:
        """The body lies at `root[start : start + length]`."""
        if self.root is not root:
            self.root = root
            self.capacity = len(root)
        self.start = start
        self.length = length
