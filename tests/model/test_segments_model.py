"""SegmentedSequence, SegmentedReader and BufferWriter against bytearrays and io.BytesIO."""

from __future__ import annotations

import io
import random

import pytest

from support.seeds import seeds
from turbosock.buffers.pool import BufferPool
from turbosock.buffers.segments import SegmentedReader, SegmentedSequence
from turbosock.buffers.writer import BufferWriter
from turbosock.errors import BodyTooLarge, LimitError
from turbosock.limits import KIB


def length_near_a_border(rng: random.Random) -> int:
    return max(0, rng.choice((0, 10, KIB, 2 * KIB)) + rng.randint(-12, 12))


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("seed", seeds(10))
def test_sequence_random_operations_match_the_model(seed: int, diagnostics: bool) -> None:
    rng = random.Random(seed)
    pool = BufferPool(diagnostics=diagnostics)
    max_bytes = rng.randint(1, 20 * KIB)
    sequence = SegmentedSequence(pool, segment_bytes=rng.choice((KIB, 1500)), max_bytes=max_bytes)
    model = bytearray()
    reader = SegmentedReader(sequence)
    buffered = io.BufferedReader(SegmentedReader(sequence), buffer_size=100)
    position = 0
    for _ in range(250):
        operation = rng.randrange(8)
        if operation == 0:
            data = bytes(rng.choices(b"abc", k=length_near_a_border(rng)))
            if len(model) + len(data) > max_bytes:
                with pytest.raises(BodyTooLarge):
                    sequence.append(data)
            else:
                sequence.append(data)
                model += data
        elif operation == 1:
            view = sequence.writable()
            n = rng.randint(0, len(view))
            data = bytes(rng.choices(b"abc", k=n))
            view[:n] = data
            del view
            if len(model) + n > max_bytes:
                with pytest.raises(BodyTooLarge):
                    sequence.advance(n)
            else:
                sequence.advance(n)
                model += data
        elif operation == 2:
            start = rng.randint(0, len(model) + 5)
            needle = bytes(rng.choices(b"abc", k=rng.randint(1, 9)))
            assert sequence.find(needle, start) == model.find(needle, start)
        elif operation == 3:
            start, stop = rng.randint(-3000, 3000), rng.randint(-3000, 3000)
            assert sequence[start:stop] == model[start:stop]
        elif operation == 4:
            n = length_near_a_border(rng)
            piece = bytearray(n)
            assert reader.readinto(piece) == len(model[position : position + n])
            assert piece.rstrip(b"\0") == model[position : position + n]
            position += len(model[position : position + n])
        elif operation == 5:
            position = rng.randint(0, len(model) + 5)
            assert reader.seek(position) == position
        elif operation == 6 and model:
            place = rng.randrange(len(model))
            buffered.seek(place)
            assert buffered.read(300) == model[place : place + 300]
            assert sequence[place] == model[place]
        elif rng.random() < 0.05:
            sequence.clear()
            model.clear()
            position = 0
            reader.seek(0)
            buffered.detach()
            buffered = io.BufferedReader(SegmentedReader(sequence), buffer_size=100)
        assert len(sequence) == len(model)
        assert b"".join(sequence) == bytes(sequence) == model
    sequence.release()
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()


@pytest.mark.parametrize("diagnostics", [False, True])
@pytest.mark.parametrize("seed", seeds(10))
def test_writer_random_operations_match_the_model(seed: int, diagnostics: bool) -> None:
    rng = random.Random(seed)
    pool = BufferPool(diagnostics=diagnostics)
    max_bytes = rng.randint(1, 20 * KIB)
    writer = BufferWriter(pool, segment_bytes=rng.choice((KIB, 1500)), max_bytes=max_bytes)
    model = bytearray()
    for _ in range(250):
        operation = rng.randrange(5)
        if operation <= 1:
            data = rng.randbytes(length_near_a_border(rng))
            if len(model) + len(data) > max_bytes:
                with pytest.raises(LimitError):
                    writer.write(data)
            else:
                assert writer.write(data) == len(data)
                model += data
        elif operation <= 3:
            n = length_near_a_border(rng)
            if len(model) + n > max_bytes:
                with pytest.raises(LimitError):
                    writer.reserve(n)
            else:
                view = writer.reserve(n)
                assert len(view) >= max(n, 1)
                data = rng.randbytes(rng.randint(0, n))
                view[: len(data)] = data
                del view
                writer.advance(len(data))
                model += data
        elif rng.random() < 0.05:
            writer.clear()
            model.clear()
        assert len(writer) == len(model)
        segments = writer.segments()
        assert b"".join(segments) == model
        assert all(len(segment) for segment in segments)
        del segments
    writer.release()
    assert pool.stats().outstanding == 0
    assert pool.leaks == ()
