"""Serializers of JSON: the standard library's, orjson's and msgspec's.

Nothing is copied between an encoder and the socket: msgspec encodes into memory that is kept for the next value, and
what the other two return is sent from where it lies. orjson and msgspec are imported when they are first asked for.
"""

from __future__ import annotations

import importlib
import json
import sys
from codecs import BOM_UTF8
from collections import deque
from typing import TYPE_CHECKING, Any

from turbosock import limits
from turbosock.buffers.segments import SegmentedSequence
from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from types import ModuleType

    from turbosock.buffers import BufferWriter

    Body = bytes | bytearray | memoryview | SegmentedSequence


class JsonSerializer:
    """The standard library's json, in compact UTF-8; NaN and the infinities are refused (RFC 8259 §6)."""

    __slots__ = ()

    content_type = "application/json"

    def serialize_into(self, value: Any, writer: BufferWriter) -> None:
        """See Serializer."""
        writer.adopt(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())

    def deserialize(self, source: Body) -> Any:
        """See Serializer; json reads str, bytes and bytearray, so other memory is copied."""
        return json.loads(source if isinstance(source, (bytes, bytearray)) else bytes(source))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class OrjsonSerializer(JsonSerializer):
    """orjson.

    Args:
        option: orjson's own, such as `orjson.OPT_SORT_KEYS`.

    Raises:
        InvalidOption: orjson is not installed, or `option` is no int.
    """

    __slots__ = ("_orjson", "option")

    def __init__(self, option: int = 0) -> None:
        if type(option) is not int:
            raise InvalidOption(f"option={option!r}: give one of orjson's OPT_ constants, or several joined by |")
        self._orjson = _library("orjson")
        self.option = option

    def serialize_into(self, value: Any, writer: BufferWriter) -> None:
        """See Serializer."""
        writer.adopt(self._orjson.dumps(value, None, self.option))

    def deserialize(self, source: Body) -> Any:
        """See Serializer."""
        return self._orjson.loads(_contiguous(source))

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.option == self.option

    def __hash__(self) -> int:
        return hash((type(self), self.option))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(option={self.option})"

    def __reduce__(self) -> tuple[type[OrjsonSerializer], tuple[int]]:
        return type(self), (self.option,)


class MsgspecSerializer(JsonSerializer):
    """msgspec: objects, dataclasses and its Structs.

    Raises:
        InvalidOption: msgspec is not installed.
    """

    __slots__ = ("_decode", "_encode_into", "_idle")

    def __init__(self) -> None:
        module = _library("msgspec")
        self._encode_into = module.json.Encoder().encode_into
        self._decode = module.json.decode
        # Memory of earlier values. Both ends are atomic, and the oldest drops out.
        self._idle: deque[bytearray] = deque(maxlen=limits.MAX_IDLE_ENCODER_BUFFERS)

    def serialize_into(self, value: Any, writer: BufferWriter) -> None:
        """See Serializer."""
        idle = self._idle
        try:
            memory = idle.pop()
        except IndexError:
            memory = bytearray(limits.MIN_BUCKET_BYTES)
        self._encode_into(value, memory)
        writer.adopt(memory, self._keep)

    def _keep(self, memory: bytearray) -> None:
        try:
            # Of what an error's frames still view, the encoder could not change the size.
            memory.append(0)
        except BufferError:
            return
        if sys.getsizeof(memory) <= limits.MAX_BUCKET_BYTES:
            self._idle.append(memory)

    def deserialize(self, source: Body) -> Any:
        """See Serializer."""
        return self._decode(_contiguous(source))

    def __reduce__(self) -> tuple[type[MsgspecSerializer], tuple[()]]:
        return type(self), ()


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InvalidOption(f"serializer: {name} is not installed; pip install {name}") from error


def _contiguous(source: Body) -> bytes | bytearray | memoryview:
    if isinstance(source, SegmentedSequence):
        source = bytes(source)
    # RFC 8259 §8.1 lets a reader ignore a mark, and neither library does.
    return memoryview(source)[len(BOM_UTF8) :] if source[: len(BOM_UTF8)] == BOM_UTF8 else source
