"""Which pools and leases live, found among the garbage collector's objects: nobody registers anything for it."""

from __future__ import annotations

import gc

from turbosock.buffers.lease import PooledBuffer
from turbosock.buffers.pool import BufferPool


def buffer_pools() -> list[BufferPool]:
    """Every BufferPool that lives."""
    # A proxy may answer to isinstance() in the name of something that is gone.
    return [one for one in gc.get_objects() if issubclass(type(one), BufferPool)]


def held_leases() -> list[PooledBuffer]:
    """Every lease that is out and that some object still holds."""
    return [one for one in gc.get_objects() if issubclass(type(one), PooledBuffer) and one.holders > 0]
