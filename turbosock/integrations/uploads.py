"""Bodies of other libraries' requests, as turbosock takes them: text among them is UTF-8."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from turbosock import limits

_Block = str | bytes | bytearray | memoryview


class Utf8Blocks:
    """The blocks of an iterable that can be iterated over again, those of text encoded."""

    __slots__ = ("_blocks",)

    def __init__(self, blocks: Iterable[_Block]) -> None:
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes | bytearray | memoryview]:
        return _encoded(self._blocks)


def upload(body: object) -> object:
    """What `Client.forward` takes for this body: files of text are read as UTF-8, and so is text among blocks."""
    if body is None or isinstance(body, (bytes, str)):
        return body
    if isinstance(body, io.TextIOBase):
        return _encoded(_pieces(body))
    if hasattr(body, "read") or isinstance(body, (bytearray, memoryview)):
        return body
    if isinstance(body, Iterator):
        return _encoded(body)
    if isinstance(body, Iterable):
        try:
            memoryview(body)  # type: ignore[arg-type]  # the except clause answers for it
        except TypeError:
            return Utf8Blocks(body)
    return body


def _encoded(blocks: Iterable[_Block]) -> Iterator[bytes | bytearray | memoryview]:
    for block in blocks:
        yield block.encode() if isinstance(block, str) else block


def _pieces(file: io.TextIOBase) -> Iterator[str]:
    while piece := file.read(limits.SEND_BLOCK_BYTES):
        yield piece
