"""Content codings for tests: each with every library that is installed, encoders, and ways to feed a decoder."""

from __future__ import annotations

import gzip
import importlib
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from turbosock.errors import TurbosockError
from turbosock.limits import MAX_DECODE_RATIO, MIB
from turbosock.protocol.content.brotli_coding import BrotliCoding
from turbosock.protocol.content.coding import Coding
from turbosock.protocol.content.decoder import Decoder
from turbosock.protocol.content.deflate_coding import DeflateCoding
from turbosock.protocol.content.gzip_coding import GzipCoding
from turbosock.protocol.content.libraries import brotli_libraries, inflate_libraries, zstd_libraries
from turbosock.protocol.content.zstd_coding import ZstdCoding

PACKAGES = {
    "isal.isal_zlib": "isal",
    "zlib_ng.zlib_ng": "zlib-ng",
    "brotli": "'Brotli>=1.2'",
    "brotlicffi": "'brotlicffi>=1.2'",
    "backports.zstd": "backports.zstd",
    "compression.zstd": "backports.zstd",
}


class Case(NamedTuple):
    """A coding, the library that decodes it, and for deflate whether it is the raw kind."""

    coding: str
    library: str
    raw: bool = False

    def __str__(self) -> str:
        return f"{self.coding}{'-raw' if self.raw else ''}-{self.library}"


INFLATES = ("zlib", "isal.isal_zlib", "zlib_ng.zlib_ng")
GZIPS = [Case("gzip", name) for name in INFLATES]
DEFLATES = [Case("deflate", name, raw) for name in INFLATES for raw in (False, True)]
BROTLIS = [Case("br", name) for name in ("brotli", "brotlicffi")]
ZSTDS = [Case("zstd", "backports.zstd")]
CASES = [*GZIPS, *DEFLATES, *BROTLIS, *ZSTDS]


def coding_of(case: Case) -> Coding:
    """A new coding; skips the test where its library is missing."""
    if case.coding == "br":
        for brotli in brotli_libraries():
            if brotli.name == case.library:
                return BrotliCoding(brotli)
    elif case.coding == "zstd":
        for zstd in zstd_libraries():
            return ZstdCoding(zstd)
    else:
        for inflate in inflate_libraries():
            if inflate.name == case.library:
                return GzipCoding(inflate) if case.coding == "gzip" else DeflateCoding(inflate)
    pytest.skip(f"pip install {PACKAGES[case.library]}")


def decoder_of(*cases: Case, max_bytes: int = 64 * MIB, max_ratio: float = MAX_DECODE_RATIO) -> Decoder:
    """A decoder that undoes the codings in this order."""
    return Decoder([coding_of(case) for case in cases], max_bytes=max_bytes, max_ratio=max_ratio)


def library_module(name: str) -> Any:
    """The module `name`; skips the test where it is missing."""
    return pytest.importorskip(name, reason=f"pip install {PACKAGES[name]}")


def zstd_module() -> Any:
    """`compression.zstd` or `backports.zstd`; skips the test where there is none."""
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        return library_module("backports.zstd")


def encode(case: Case, data: bytes) -> bytes:
    """`data` in the coding of `case`."""
    if case.coding == "gzip":
        return gzip.compress(data, mtime=0)
    if case.coding == "deflate":
        encoder = zlib.compressobj(wbits=-15 if case.raw else 15)
        return encoder.compress(data) + encoder.flush()
    if case.coding == "br":
        return bytes(library_module(case.library).compress(data, quality=5))
    return bytes(zstd_module().compress(data))


class Outcome(NamedTuple):
    """What became of a body."""

    data: bytes
    error: TurbosockError | None

    @property
    def code(self) -> str:
        """The error's code, or ""."""
        return "" if self.error is None else self.error.code


def decode(decoder: Decoder, pieces: Iterable[bytes], room: int = 65_536) -> Outcome:
    """Feed `pieces`, read with room for `room` bytes, finish."""
    out = memoryview(bytearray(room))
    data = bytearray()
    try:
        for piece in pieces:
            lent = bytearray(piece)
            decoder.feed(lent)
            while not decoder.needs_input:
                count = decoder.read_into(out)
                data += out[:count]
            # What was lent is used up: it may change, and be resized, which a live view would prevent.
            lent[:] = b"\xee" * (len(lent) + 1)
        decoder.finish()
    except TurbosockError as error:
        return Outcome(bytes(data), error)
    assert decoder.produced == len(data), "what was delivered is counted"
    return Outcome(bytes(data), None)


def cut(data: bytes, size: int) -> list[bytes]:
    """`data` in pieces of `size` bytes."""
    return [data[start : start + size] for start in range(0, len(data), size)]
