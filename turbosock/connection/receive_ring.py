"""The receive rings of connections: 64 KiB each, held only while an answer is read.

A ring that last held another origin's bytes is wiped before it is lent again (clearing on rent), so that even a bug
could not show one site's data to another. Within one origin nothing is wiped: the bytes behind a ring's length
are never read.
"""

from __future__ import annotations

from turbosock import limits
from turbosock.buffers import ObjectPool, RingBuffer


class ReceiveRing(RingBuffer):
    """A ring that knows whose bytes it held last."""

    __slots__ = ("origin",)

    def __init__(self) -> None:
        super().__init__(limits.RECEIVE_RING_BYTES)
        self.origin: object = None

    def belongs_to(self, origin: object) -> None:
        """Wipe the memory unless `origin` is where its bytes came from."""
        if self.origin is not origin:
            if self.origin is not None:
                self.root[:] = bytes(self.capacity)
            self.origin = origin


def _forget(ring: ReceiveRing) -> None:
    ring.start = 0
    ring.length = 0


def _forget_and_poison(ring: ReceiveRing) -> None:
    ring.poison()


def receive_ring_pool(*, pooling: bool, diagnostics: bool) -> ObjectPool[ReceiveRing]:
    """The rings of one Client or Loop; with diagnostics their memory is poisoned on return."""
    return ObjectPool(
        ReceiveRing,
        _forget_and_poison if diagnostics else _forget,
        max_idle=limits.MAX_IDLE_RINGS,
        pooling=pooling,
        diagnostics=diagnostics,
    )
