"""RingBuffer against a naive model: a bytes object that every operation rebuilds."""

from __future__ import annotations

import random

import pytest

from support.seeds import seeds
from turbosock.buffers import ring as ring_module
from turbosock.buffers.ring import RingBuffer


@pytest.mark.parametrize("seed", seeds(20))
def test_ring_random_operations_match_the_model(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(ring_module, "ROTATION_BLOCK_BYTES", rng.choice((1, 3, 8, 64)))
    capacity = rng.randint(1, 40)
    ring = RingBuffer(capacity)
    model = b""
    for _ in range(400):
        operation = rng.randrange(8)
        if operation <= 1:
            data = rng.choices(b"abc", k=rng.randint(0, capacity + 2))
            n = ring.write(bytes(data))
            assert n == min(len(data), capacity - len(model))
            model += bytes(data[:n])
        elif operation == 2:
            view = ring.writable()
            n = rng.randint(0, len(view))
            data = rng.choices(b"abc", k=n)
            view[:n] = bytes(data)
            ring.advance(n)
            model += bytes(data)
        elif operation <= 4:
            n = rng.randint(0, len(model))
            ring.consume(n)
            model = model[n:]
        elif operation == 5:
            ring.make_contiguous()
            assert ring.contiguous
        elif operation == 6:
            needle = bytes(rng.choices(b"abc", k=rng.randint(1, 4)))
            start = rng.randint(0, capacity + 1)
            assert ring.find(needle, start) == model.find(needle, start)
        elif rng.random() < 0.1:
            ring.clear()
            model = b""
        assert ring.peek(capacity) == b"".join(ring.readable_segments()) == model
        assert ring.length == len(model)
        assert 0 <= ring.start < capacity
        assert ring.length or not ring.start
