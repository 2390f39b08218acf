"""Floor 1: memory that is made once and used many times.

RingBuffer holds what lies between a socket and a parser; BufferPool lends PooledBuffers; ObjectPool lends objects;
SegmentedSequence gathers a long body from pooled segments and SegmentedReader reads it as a file; BufferWriter
serialises into pooled memory. Nothing here knows a socket's state, a protocol or the time.
"""

from __future__ import annotations

from turbosock.buffers.bucket import BucketStats
from turbosock.buffers.lease import GuardedBuffer, Leak, PooledBuffer
from turbosock.buffers.objects import ObjectPool, ObjectPoolStats
from turbosock.buffers.pool import BufferPool, Clearing, FixedBufferPool, PoolStats
from turbosock.buffers.ring import RingBuffer
from turbosock.buffers.segments import SegmentedReader, SegmentedSequence
from turbosock.buffers.writer import BufferWriter

__all__ = [
    "BucketStats",
    "BufferPool",
    "BufferWriter",
    "Clearing",
    "FixedBufferPool",
    "GuardedBuffer",
    "Leak",
    "ObjectPool",
    "ObjectPoolStats",
    "PoolStats",
    "PooledBuffer",
    "RingBuffer",
    "SegmentedReader",
    "SegmentedSequence",
]
