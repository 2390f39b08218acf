"""Bucket: its bound, its counts and how it clears memory."""

from __future__ import annotations

from turbosock.buffers.bucket import Bucket
from turbosock.buffers.lease import PooledBuffer
from turbosock.buffers.pool import BufferPool


def buffer_of(bucket: Bucket) -> PooledBuffer:
    return PooledBuffer(BufferPool(), bucket, bytearray(b"x" * bucket.capacity), bucket.capacity)


def test_bucket_full_drops_its_oldest_buffer() -> None:
    bucket = Bucket(514, 2)
    buffers = [buffer_of(bucket) for _ in range(3)]
    for buffer in buffers:
        bucket.idle.append(buffer)
    assert list(bucket.idle) == buffers[1:]


def test_bucket_clears_all_memory_of_a_buffer_with_one_block_of_zeros() -> None:
    bucket = Bucket(514, 2)
    one, other = buffer_of(bucket), buffer_of(bucket)
    bucket.clear_memory(one)
    zeros = bucket.zeros
    bucket.clear_memory(other)
    assert bucket.zeros is zeros
    assert one.storage == other.storage == bytes(514)


def test_bucket_drops_and_counts_its_idle_buffers() -> None:
    bucket = Bucket(514, 4)
    for _ in range(3):
        bucket.missed += 1.0
        bucket.rented += 1.0
        bucket.returned += 1.0
        bucket.idle.append(buffer_of(bucket))
    assert bucket.stats().idle == 3
    bucket.drop_idle()
    stats = bucket.stats()
    assert (stats.idle, stats.dropped, stats.outstanding) == (0, 0, 0)
    assert bucket.cleared == 3
