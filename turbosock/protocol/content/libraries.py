"""Which libraries decompress: the fastest that is installed for each format, looked for once.

gzip and deflate always work: `isal` and `zlib-ng` are faster than the interpreter's zlib and have its face. br and
zstd need an extra. Only libraries that bound what one call decodes are used: Brotli and brotlicffi have that from 1.2
on, and `zstandard` lacks it (its `decompressobj` returns all that comes out, and its reader cannot tell the end of a
frame from the want of input), so `backports.zstd`, which is Python 3.14's `compression.zstd`, takes its place.
"""

from __future__ import annotations

import importlib
import zlib
from functools import lru_cache
from typing import Any, NamedTuple, Protocol


class InflateObject(Protocol):
    """The part of `zlib.decompressobj()` that is used."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What was handed in after the end of the stream."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What was handed in last and had no room in the output."""

    def decompress(self, data: memoryview, max_length: int, /) -> bytes:
        """Decode up to `max_length` bytes."""


class InflateFactory(Protocol):
    """`zlib.decompressobj`."""

    def __call__(self, *, wbits: int) -> InflateObject:
        """A decompressor for one stream."""


class InflateLibrary(NamedTuple):
    """zlib, or a library with its face."""

    name: str
    decompressobj: InflateFactory
    error: type[Exception]


class BrotliObject(Protocol):
    """The part of `brotli.Decompressor` that is used."""

    def process(self, data: memoryview | bytes, *, output_buffer_limit: int) -> bytes:
        """Decode `output_buffer_limit` bytes or somewhat more."""

    def can_accept_more_data(self) -> bool:
        """Whether the next call may have input."""

    def is_finished(self) -> bool:
        """Whether the end of the stream was reached."""


class BrotliFactory(Protocol):
    """`brotli.Decompressor`."""

    def __call__(self) -> BrotliObject:
        """A decompressor for one stream."""


class BrotliLibrary(NamedTuple):
    """Brotli, or brotlicffi; `takes_views` is whether it reads other memory than bytes."""

    name: str
    decompressor: BrotliFactory
    error: type[Exception]
    takes_views: bool


class ZstdObject(Protocol):
    """The part of `compression.zstd.ZstdDecompressor` that is used."""

    @property
    def eof(self) -> bool:
        """Whether the end of the frame was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing comes out before more goes in."""

    @property
    def unused_data(self) -> bytes:
        """What was handed in after the end of the frame."""

    def decompress(self, data: memoryview | bytes, max_length: int, /) -> bytes:
        """Decode up to `max_length` bytes."""


class ZstdFactory(Protocol):
    """`compression.zstd.ZstdDecompressor`."""

    def __call__(self, *, options: dict[Any, int]) -> ZstdObject:
        """A decompressor for one frame."""


class ZstdLibrary(NamedTuple):
    """`compression.zstd`, or `backports.zstd`; `window_log_max` is the key of that option."""

    name: str
    decompressor: ZstdFactory
    error: type[Exception]
    window_log_max: Any


def inflate_libraries() -> list[InflateLibrary]:
    """What can decompress gzip and deflate here, the fastest first; never empty."""
    found = []
    for name in ("isal.isal_zlib", "zlib_ng.zlib_ng"):
        module = _imported(name)
        if module is not None:
            found.append(InflateLibrary(name, module.decompressobj, module.error))
    found.append(zlib_itself())
    return found


def brotli_libraries() -> list[BrotliLibrary]:
    """What can decompress br here within bounds, the fastest first."""
    found = []
    for name in ("brotli", "brotlicffi"):
        module = _imported(name)
        if module is not None and _is_bounded(module.Decompressor):
            found.append(BrotliLibrary(name, module.Decompressor, module.error, takes_views=name == "brotli"))
    return found


def zstd_libraries() -> list[ZstdLibrary]:
    """What can decompress zstd here within bounds, the interpreter's own first."""
    found = []
    for name in ("compression.zstd", "backports.zstd"):
        module = _imported(name)
        if module is not None:
            key = module.DecompressionParameter.window_log_max
            found.append(ZstdLibrary(name, module.ZstdDecompressor, module.ZstdError, key))
    return found


def zlib_itself() -> InflateLibrary:
    """The interpreter's own."""
    return InflateLibrary("zlib", zlib.decompressobj, zlib.error)


@lru_cache(maxsize=1)
def inflate_library() -> InflateLibrary:
    """The fastest for gzip and deflate."""
    return inflate_libraries()[0]


@lru_cache(maxsize=1)
def brotli_library() -> BrotliLibrary | None:
    """The fastest for br, or None."""
    return next(iter(brotli_libraries()), None)


@lru_cache(maxsize=1)
def zstd_library() -> ZstdLibrary | None:
    """The one for zstd, or None."""
    return next(iter(zstd_libraries()), None)


def _imported(name: str) -> Any:
    """The module `name`, or None where it is not installed; untyped, because few of these have type hints."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _is_bounded(decompressor: Any) -> bool:
    """Whether `process()` takes a bound on its output: releases before 1.2 decode whatever comes."""
    try:
        decompressor().process(b"", output_buffer_limit=1)
    except TypeError:
        return False
    return True
