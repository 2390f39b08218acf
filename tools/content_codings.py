#!/usr/bin/env python3
"""Decode the same bytes with the decoder and with each bare library: MB/s, memory and allocations.

    python3 tools/content_codings.py [--mebibytes 32] [--rounds 5]

The body is random words, which gzip makes a third of. Both sides are handed pieces of 64 KiB; the decoder reads into
64 KiB, the bare library decodes without a bound and its result is dropped. The best of the rounds counts; the two take
turns. What is not installed is left out. "peak" is what tracemalloc sees: the windows of br and zstd, and part of what
isal and brotlicffi take, are not in it. With memray installed, system mallocs are counted, and their bytes for each
decoded byte; without, these columns are empty.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import platform
import random
import sys
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from turbosock.limits import DECODE_STEP_BYTES, MIB
from turbosock.protocol.content.brotli_coding import BrotliCoding
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.decoder import Decoder
from turbosock.protocol.content.gzip_coding import GzipCoding
from turbosock.protocol.content.libraries import brotli_libraries, inflate_libraries, zstd_libraries
from turbosock.protocol.content.zstd_coding import ZstdCoding

PIECE_BYTES = 64 * 1024
ALLOCATORS = {"MALLOC", "CALLOC", "REALLOC", "MMAP"}


class Row(NamedTuple):
    """One library: its coding, the body in it, and a bare decompressor's step."""

    name: str
    coding: Coding
    data: bytes
    bare: Callable[[], Callable[[memoryview], bytes]]


def words(size: int) -> bytes:
    """`size` bytes of words, some far more frequent than others, always the same."""
    rng = random.Random(1)
    letters = b"abcdefghijklmnopqrstuvwxyz"
    known = [bytes(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(5000)]
    weights = [1 / (rank + 1) for rank in range(len(known))]
    return b" ".join(rng.choices(known, weights, k=size // 4))[:size]


def rows(body: bytes) -> Iterator[Row]:
    """What is installed here."""
    coded = gzip.compress(body, 6, mtime=0)
    for inflate in inflate_libraries():
        make = inflate.decompressobj
        yield Row(f"gzip, {inflate.name}", GzipCoding(inflate), coded, partial(bare_inflate, make))
    for brotli in brotli_libraries():
        module = importlib.import_module(brotli.name)
        yield Row(
            f"br, {brotli.name}",
            BrotliCoding(brotli),
            module.compress(body, quality=5),
            partial(bare_brotli, module),
        )
    for zstd in zstd_libraries():
        module = importlib.import_module(zstd.name)
        yield Row(
            f"zstd, {zstd.name}",
            ZstdCoding(zstd),
            module.compress(body),
            partial(bare_zstd, module),
        )


def bare_inflate(make: Any) -> Callable[[memoryview], bytes]:
    decompress: Callable[[memoryview], bytes] = make(wbits=31).decompress
    return decompress


def bare_zstd(module: Any) -> Callable[[memoryview], bytes]:
    decompress: Callable[[memoryview], bytes] = module.ZstdDecompressor().decompress
    return decompress


def bare_brotli(module: Any) -> Callable[[memoryview], bytes]:
    process = module.Decompressor().process
    return lambda piece: bytes(process(bytes(piece)))


def run_bare(row: Row, size: int) -> None:
    step = row.bare()
    view = memoryview(row.data)
    total = 0
    for start in range(0, len(view), PIECE_BYTES):
        total += len(step(view[start : start + PIECE_BYTES]))
    assert total == size, "the whole body"


def run_decoder(row: Row, size: int) -> None:
    decoder = Decoder([row.coding], max_bytes=size, max_ratio=1000)
    decoder.reset()
    out = memoryview(bytearray(PIECE_BYTES))
    view = memoryview(row.data)
    for start in range(0, len(view), PIECE_BYTES):
        decoder.feed(view[start : start + PIECE_BYTES])
        while not decoder.needs_input:
            decoder.read_into(out)
    decoder.finish()
    assert decoder.produced == size, "the whole body"


def seconds(run: Callable[[Row, int], None], row: Row, size: int) -> float:
    start = time.perf_counter()
    run(row, size)
    return time.perf_counter() - start


def peak(run: Callable[[Row, int], None], row: Row, size: int) -> int:
    tracemalloc.start()
    run(row, size)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def mallocs(run: Callable[[Row, int], None], row: Row, size: int) -> str:
    """Mallocs for each 32 KiB decoded, and bytes for each byte decoded, as "2.1 / 1.3"; empty without memray."""
    try:
        memray = importlib.import_module("memray")
    except ImportError:
        return ""
    run(row, size)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "allocations"
        with memray.Tracker(path):
            run(row, size)
        with memray.FileReader(path) as reader:
            records = [
                record
                for record in reader.get_allocation_records()
                if memray.AllocatorType(record.allocator).name in ALLOCATORS
            ]
    return f"{len(records) * 32 * 1024 / size:.1f} / {sum(record.size for record in records) / size:.1f}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="The decoder against each bare library.")
    parser.add_argument("--mebibytes", type=int, default=32, help="length of the body")
    parser.add_argument("--rounds", type=int, default=5, help="the best of how many")
    arguments = parser.parse_args()
    body = words(arguments.mebibytes * MIB)
    size = len(body)
    print(f"Python {platform.python_version()}, zlib {zlib.ZLIB_RUNTIME_VERSION}, {platform.machine()}")
    print(f"{size // MIB} MiB, steps of {DECODE_STEP_BYTES // 1024} KiB")
    print("| coding, library | decoder | bare | ratio | peak | bare peak | mallocs | bare mallocs |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows(body):
        ours = bare = float("inf")
        for _ in range(arguments.rounds):
            ours = min(ours, seconds(run_decoder, row, size))
            bare = min(bare, seconds(run_bare, row, size))
        rates = f"{size / ours / 1e6:.0f} MB/s | {size / bare / 1e6:.0f} MB/s | {bare / ours:.2f}"
        peaks = f"{peak(run_decoder, row, size) // 1024} KiB | {peak(run_bare, row, size) // 1024} KiB"
        counts = f"{mallocs(run_decoder, row, size)} | {mallocs(run_bare, row, size)}"
        print(f"| {row.name} | {rates} | {peaks} | {counts} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
