"""DatagramBlock: slots of memory for datagrams, lent together; DatagramBlocks: the bounded pool of them.

A block has holders, as a MessageRing has: the socket that receives into it, and each event that shows a datagram in it.
A slot is written once while anybody but the socket holds the block; when the socket alone does, all slots are free.

Invariant: at most `max_blocks` are out. One thread uses a pool.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from turbosock import limits
from turbosock.buffers.poison import POISON, fill


class DatagramBlock:
    """Memory for some datagrams.

    Attributes:
        slots: a view of each slot.
        holders: how many `let_go()` are due.
    """

    __slots__ = ("_pool", "holders", "root", "slots")

    def __init__(self, pool: DatagramBlocks, slot_bytes: int, count: int) -> None:
        self._pool = pool
        self.root = memoryview(bytearray(slot_bytes * count))
        self.slots = tuple(self.root[at : at + slot_bytes] for at in range(0, slot_bytes * count, slot_bytes))
        self.holders = 0

    def let_go(self) -> None:
        """End one holder's use."""
        holders = self.holders - 1
        self.holders = holders
        if not holders:
            self._pool.take_back(self)


class DatagramBlocks:
    """The blocks of one socket.

    Args:
        slot_bytes: of one datagram.
        max_bytes: of all blocks that are out; one block at least may be.
        on_room: called when a block came back.
        pooling: False makes every block new, for chasing a lifetime bug.
        diagnostics: True poisons a block's memory when it comes back.

    Attributes:
        out: blocks that are out.
    """

    __slots__ = ("_count", "_diagnostics", "_idle", "_max_blocks", "_on_room", "_slot_bytes", "out")

    def __init__(
        self,
        slot_bytes: int,
        max_bytes: int,
        on_room: Callable[[], object],
        *,
        pooling: bool = True,
        diagnostics: bool = False,
    ) -> None:
        self._slot_bytes = slot_bytes
        self._count = max(1, limits.RECEIVE_RING_BYTES // slot_bytes)
        self._max_blocks = max(1, max_bytes // (self._count * slot_bytes))
        self._on_room = on_room
        self._idle: deque[DatagramBlock] = deque(maxlen=limits.MAX_IDLE_RINGS if pooling else 0)
        self._diagnostics = diagnostics
        self.out = 0

    @property
    def has_room(self) -> bool:
        """Whether `rent()` has one."""
        return self.out < self._max_blocks

    def rent(self) -> DatagramBlock | None:
        """A block whose slots are free, its first holder the caller; None: as many as may be are out."""
        if self.out >= self._max_blocks:
            return None
        self.out += 1
        block = self._idle.pop() if self._idle else DatagramBlock(self, self._slot_bytes, self._count)
        block.holders = 1
        return block

    def take_back(self, block: DatagramBlock) -> None:
        """For blocks: the last holder has let go."""
        self.out -= 1
        if self._diagnostics:
            fill(block.root, POISON)
        self._idle.append(block)
        self._on_room()

    def clear(self) -> None:
        """Let go of the blocks that wait."""
        self._idle.clear()
