"""MaskKeys: masking keys from the system's random source, each used once (RFC 6455 §5.3, §10.3).

A key that a page's script could foresee would let it write bytes of its choice onto the wire, for a proxy to take for
an HTTP answer; curl repeated keys once (CVE-2025-10148). Keys are drawn many at a time, because the system call costs
more than the masking of a small message.

Invariant: no key is handed out twice, by two threads (the iterator's step is one, under the interpreter's lock) nor by
a process and the child that it forks (what was drawn before is dropped there). Without that lock each key is drawn by
itself.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from typing import Final

from turbosock.buffers.interpreter import REUSE_IS_SAFE
from turbosock.forks import renewed_in_child
from turbosock.limits import MASK_KEY_BATCH_BYTES


class MaskKeys:
    """A source of masking keys; one for a whole Client or Loop, safe to share between threads.

    Args:
        random_bytes: returns so many bytes that nobody can foresee.
    """

    __slots__ = ("__weakref__", "_batch", "_batch_bytes", "_random_bytes")

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._batch: Iterator[int] = iter(())
        self._batch_bytes = MASK_KEY_BATCH_BYTES if REUSE_IS_SAFE else 4
        _sources.add(self)

    def take(self) -> int:
        """A key of 32 bits that nobody had before."""
        key = next(self._batch, -1)
        return key if key >= 0 else self._draw()

    def _draw(self) -> int:
        batch = iter(array("I", self._random_bytes(self._batch_bytes)))
        key = next(batch)
        # Another thread may have put its own there meanwhile; that one is lost, unused.
        self._batch = batch
        return key

    def forget(self) -> None:
        """Drop what was drawn: in the child of a fork, whose parent has the same."""
        self._batch = iter(())


assert array("I").itemsize == 4, "a masking key has 32 bits"

_sources: Final = renewed_in_child(MaskKeys.forget)
