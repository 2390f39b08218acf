"""Backlog: payload of one HTTP/2 stream that came before its reader asked for it.

Kept in receive rings, one after another, rented when there is something to keep and given back as they empty. How much
there can be is bounded by the stream's window, which is credit for exactly this memory.

Invariants: no ring of it is empty, and only the first was read from; the rings hold what `length` says at least, and
more only where an interrupt broke an `append()` off, which ends the connection: that is never taken.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from turbosock.connection.receive_ring import ReceiveRing, RingPool


class Backlog:
    """Bytes in, in pieces; bytes out, in others.

    Args:
        rings: lends the memory.

    Attributes:
        length: bytes that are kept.
    """

    __slots__ = ("_more", "_rings", "length", "ring")

    def __init__(self, rings: RingPool) -> None:
        self._rings = rings
        self.length = 0
        # The first ring; the others are rare.
        self.ring: ReceiveRing | None = None
        self._more: deque[ReceiveRing] = deque()

    def append(self, view: memoryview, origin: object) -> None:
        """Copy `view` behind what is kept; `origin` is whose bytes they are."""
        done = 0
        size = len(view)
        while done < size:
            last = self._more[-1] if self._more else self.ring
            if last is None or last.length == last.capacity:
                last = self._rings.rent()
                if last.origin is not origin:
                    last.belongs_to(origin)
                if self.ring is None:
                    self.ring = last
                else:
                    self._more.append(last)
                # As write(), which serves rings that wrap around.
                count = min(size - done, last.capacity)
                last.root[:count] = view if count == size else view[done : done + count]
                last.length = count
            else:
                count = last.write(view[done:] if done else view)
            done += count
        self.length += size

    def take(self, view: memoryview) -> int:
        """Move as much as there is, or fits, into `view`; how many bytes that is."""
        done = 0
        room = min(len(view), self.length)
        while self.ring is not None and done < room:
            ring = self.ring
            kept = ring.readable()
            count = min(len(kept), room - done)
            view[done : done + count] = kept[:count]
            ring.consume(count)
            done += count
            if not ring.length:
                # Let go of first: an interrupt in between must not give it back twice.
                self.ring = self._more.popleft() if self._more else None
                self._rings.give_back(ring)
        self.length -= done
        return done

    def take_ring(self) -> ReceiveRing | None:
        """All of it as the one ring that it lies in, from the ring's beginning, which is the caller's now; or None."""
        ring = self.ring
        if ring is None or self._more or ring.start:
            return None
        self.ring = None
        self.length = 0
        return ring

    def clear(self) -> None:
        """Forget what is kept, and give the memory back."""
        ring = self.ring
        self.length = 0
        if ring is not None:
            self.ring = None
            self._rings.give_back(ring)
            while self._more:
                self._rings.give_back(self._more.popleft())
