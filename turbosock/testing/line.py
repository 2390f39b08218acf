"""Line: one direction of a connection in memory: when what is sent arrives.

Bytes leave one after the other, as fast as the line is, and arrive a latency later. A packet that is lost is sent again
after the time that Linux waits for it at least, twice as long each time (RFC 6298 §5.5): nothing is missing in the end,
and nothing overtakes it.

Invariant: arrivals never go back in time.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final

from turbosock import limits
from turbosock.reactor.clock import NS_PER_S

_RETRANSMIT_NS: Final = int(limits.NETWORK_RETRANSMIT_S * NS_PER_S)


class Line:
    """See the module.

    Args:
        random: decides what is lost.
        latency_ns: from leaving to arriving.
        bytes_per_s: how fast bytes leave; None: at once.
        loss: how many of the packets are lost, from 0 to less than 1.
        open_ns: before this time nothing leaves.
    """

    __slots__ = ("_bytes_per_s", "_free_ns", "_last_ns", "_latency_ns", "_loss", "_random")

    def __init__(
        self, random: Random, latency_ns: int = 0, bytes_per_s: float | None = None, loss: float = 0.0, open_ns: int = 0
    ) -> None:
        self._random = random
        self._latency_ns = latency_ns
        self._bytes_per_s = bytes_per_s
        self._loss = loss
        self._free_ns = open_ns
        self._last_ns = 0

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """`data` in the pieces in which it arrives."""
        if (self._bytes_per_s is None and not self._loss) or len(data) <= limits.NETWORK_PACKET_BYTES:
            return (data,)
        step = limits.NETWORK_PACKET_BYTES
        return [data[start : start + step] for start in range(0, len(data), step)]

    def arrival_ns(self, now_ns: int, size: int) -> int:
        """When `size` bytes that are sent now arrive; 0 bytes are the end of the stream."""
        left_ns = max(now_ns, self._free_ns)
        if self._bytes_per_s is not None:
            left_ns += int(size * NS_PER_S / self._bytes_per_s)
        self._free_ns = left_ns
        arrival_ns = left_ns + self._latency_ns
        if self._loss:
            wait_ns = max(_RETRANSMIT_NS, 4 * self._latency_ns)
            while self._random.random() < self._loss:
                arrival_ns += wait_ns
                wait_ns *= 2
        self._last_ns = max(self._last_ns, arrival_ns)
        return self._last_ns
