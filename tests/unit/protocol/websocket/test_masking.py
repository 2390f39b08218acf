from __future__ import annotations

import importlib
import random
import subprocess
import sys

import pytest

from support.seeds import seeds
from support.websocket import masked
from turbosock.buffers import RingBuffer
from turbosock.protocol.websocket import masking
from turbosock.protocol.websocket.masking import SMALL_BYTES, LargeMask, mask, mask_by_tables, numpy_mask, rotated

SIZES = [*range(20), 63, 64, 125, SMALL_BYTES - 1, SMALL_BYTES, *range(SMALL_BYTES + 1, SMALL_BYTES + 20), 1024, 40_000]


def ways() -> list[LargeMask]:
    found: list[LargeMask] = [mask_by_tables]
    try:
        found.append(numpy_mask(importlib.import_module("numpy")))
    except ImportError:
        pass
    return found


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("size", SIZES)
def test_memory_of_a_ring_is_masked_as_any_other(size: int, way: LargeMask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_large_mask", way)
    monkeypatch.setattr(masking, "_least_large", 125 if way is not mask_by_tables else SMALL_BYTES)
    ring = RingBuffer(65_537)
    payload = random.Random(size).randbytes(size)
    for start in (0, 1, 2, 3, 8, 1000):
        ring.root[:] = b"\xdb" * ring.capacity
        ring.root[start : start + size] = payload
        masking.mask_ring(ring, start, size, 0x01020304)
        assert bytes(ring.root[start : start + size]) == masked(payload, b"\x01\x02\x03\x04")
        assert ring.root[:start] == b"\xdb" * start
        assert ring.root[start + size :] == b"\xdb" * (ring.capacity - start - size)


@pytest.fixture(params=ways(), ids=lambda way: str(way.__name__))
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_large_mask", request.param)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("start", [*range(9), 1000])
def test_mask_of_any_size_anywhere_is_that_of_the_rfc_and_touches_nothing_else(size: int, start: int) -> None:
    chance = random.Random(size)
    payload = chance.randbytes(size)
    key = chance.randbytes(4)
    around = chance.randbytes(start), chance.randbytes(11)
    memory = bytearray(around[0] + payload + around[1])
    mask(memoryview(memory), start, start + size, int.from_bytes(key, "big"))
    assert memory == around[0] + masked(payload, key) + around[1]


@pytest.mark.usefixtures("_way")
def test_mask_up_to_the_end_of_memory_works() -> None:
    memory = bytearray(SMALL_BYTES + 1)
    mask(memoryview(memory), 0, len(memory), 0x01020304)
    assert memory == masked(bytes(SMALL_BYTES + 1), b"\1\2\3\4")


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("seed", seeds(20))
def test_mask_in_pieces_with_the_key_turned_is_that_of_the_whole(seed: int) -> None:
    chance = random.Random(seed)
    payload = chance.randbytes(5000)
    memory = memoryview(bytearray(payload))
    key = chance.randbytes(4)
    turned = int.from_bytes(key, "big")
    at = 0
    while at < len(payload):
        n = min(chance.choice((1, 2, 3, 5, 100, 449, 1000)), len(payload) - at)
        mask(memory, at, at + n, turned)
        turned = rotated(turned, n)
        at += n
    assert bytes(memory) == masked(payload, key)


@pytest.mark.parametrize(("n", "expected"), [(0, 0x01020304), (1, 0x02030401), (2, 0x03040102), (7, 0x04010203)])
def test_key_turned_begins_with_the_byte_that_comes_next(n: int, expected: int) -> None:
    assert rotated(0x01020304, n) == expected
    assert rotated(0xFFFFFFFF, n) == 0xFFFFFFFF


PROGRAM = """
import sys
if sys.argv[1] == "without":
    sys.modules["numpy"] = None
from turbosock.buffers import RingBuffer
from turbosock.protocol.websocket import masking
assert "numpy" not in sys.modules or sys.modules["numpy"] is None, "importing the module loads nothing"
masking.prepare()
sys.meta_path.insert(0, None)  # any further import fails
masking.prepare()
print(masking._large_mask.__name__)
"""


@pytest.mark.parametrize("numpy", ["with", "without"])
def test_large_masks_are_made_by_numpy_where_it_is_and_by_tables_where_not(numpy: str) -> None:
    if numpy == "with":
        pytest.importorskip("numpy")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, numpy], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == ("mask_by_numpy" if numpy == "with" else "mask_by_tables"), done.stderr
