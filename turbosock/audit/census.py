"""Census: the pools, leases, I/O contexts and sockets that live in this process, found among the garbage collector's.

Looking costs a walk over every object, and nothing before: nobody registers anything for it. The counts are exact while
no other thread is inside a pool.
"""

from __future__ import annotations

import gc
import socket
from collections import Counter
from typing import NamedTuple

from turbosock.buffers.lease import GuardedBuffer
from turbosock.buffers.objects import ObjectPool
from turbosock.buffers.pool import BufferPool
from turbosock.connection.receive_ring import RingPool
from turbosock.reactor.context import PENDING, IOContext, IOContextPool


class Census(NamedTuple):
    """What lives now.

    Attributes:
        counters: the counts of all pools of a kind together, by kind: "buffers", "objects", "rings", "contexts".
        leases: of buffers, that are out: those that an object still holds, and those that were lost.
        lease_lines: where they were taken, with how many, as far as diagnostics know.
        contexts: that live outside a pool; sockets: that are open.
    """

    counters: dict[str, dict[str, int]]
    leases: int
    lease_lines: tuple[tuple[str, int], ...]
    contexts: int
    sockets: int


def census() -> Census:
    """Count what lives."""
    counters: dict[str, Counter[str]] = {kind: Counter() for kind in ("buffers", "objects", "rings", "contexts")}
    lines: Counter[str] = Counter()
    contexts = sockets = 0
    for one in gc.get_objects():
        # A proxy may answer to isinstance() in the name of something that is gone.
        kind = type(one)
        if issubclass(kind, GuardedBuffer):
            if one.holders > 0:
                lines[one.taken_at] += 1
        elif issubclass(kind, BufferPool):
            stats = one.stats()
            counters["buffers"].update(
                lent=stats.rented, made=stats.missed, out=stats.outstanding, idle=stats.idle, leaked=stats.leaked
            )
            lines.update(leak.taken_at for leak in one.leaks if leak.kind == "lease")
        elif issubclass(kind, ObjectPool):
            told = one.stats()
            counters["objects"].update(lent=told.rented, made=told.made, idle=told.idle)
        elif issubclass(kind, RingPool):
            rings = one.stats()
            counters["rings"].update(made=rings.made, idle=rings.idle)
        elif issubclass(kind, IOContextPool):
            counters["contexts"].update(lent=one.rented, made=one.made, idle=len(one))
        elif issubclass(kind, IOContext):
            counters["contexts"].update(alive=1, pending=one.state == PENDING)
            contexts += not one.pooled
        elif issubclass(kind, socket.socket):
            sockets += one.fileno() >= 0
    told_of = {kind: dict(counts) for kind, counts in counters.items() if counts}
    out = counters["buffers"]["out"] + counters["buffers"]["leaked"]
    return Census(told_of, out, tuple(lines.most_common()), contexts, sockets)
