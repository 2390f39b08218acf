"""Serializers: what each writes and reads, where its bytes lie, and that it goes with its Config."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from typing import Any

import pytest

from turbosock import Config, Serializer, limits
from turbosock.buffers import BufferPool, BufferWriter, SegmentedSequence
from turbosock.client.serializers import JsonSerializer, MsgspecSerializer, OrjsonSerializer
from turbosock.errors import InvalidOption

VALUE = {"name": "Ädä", "scores": [1, 2.5, None, True], "nested": {"a": []}}


@pytest.fixture(params=[JsonSerializer, OrjsonSerializer, MsgspecSerializer])
def serializer(request: pytest.FixtureRequest) -> Any:
    if request.param is not JsonSerializer:
        pytest.importorskip(request.param.__name__.removesuffix("Serializer").lower())
    return request.param()


def written(serializer: Any, value: object) -> bytes:
    with BufferWriter(BufferPool(diagnostics=True)) as writer:
        serializer.serialize_into(value, writer)
        return b"".join(writer.segments())


def test_value_is_written_compactly_and_read_again(serializer: Any) -> None:
    text = written(serializer, VALUE)
    assert text == json.dumps(VALUE, ensure_ascii=False, separators=(",", ":")).encode()
    assert serializer.deserialize(text) == VALUE
    assert serializer.deserialize(memoryview(bytearray(text))) == VALUE
    assert serializer.content_type == "application/json"
    assert isinstance(serializer, Serializer)


def test_body_in_segments_is_read(serializer: Any) -> None:
    text = written(serializer, VALUE)
    with SegmentedSequence(BufferPool(), segment_bytes=1024) as body:
        body.append(b" " * 1020 + text)
        assert serializer.deserialize(body) == VALUE


@pytest.mark.parametrize("text", [b"", b"{", b"nonsense", b"[1,]"])
def test_text_that_is_no_json_is_a_value_error(serializer: Any, text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each library has its own words
        serializer.deserialize(text)


def test_value_that_json_has_not_is_refused(serializer: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        written(serializer, {"a": object()})
    assert written(serializer, [1]) == b"[1]"


def test_values_of_any_length_follow_each_other(serializer: Any) -> None:
    for size in (0, 10, 100_000, 10, 3_000_000, 0):
        assert len(written(serializer, "x" * size)) == size + 2


def test_values_under_way_at_once_do_not_share_memory(serializer: Any) -> None:
    pool = BufferPool()
    with BufferWriter(pool) as first, BufferWriter(pool) as second:
        serializer.serialize_into([1, 1], first)
        serializer.serialize_into([2, 2], second)
        assert first.segments() == [b"[1,1]"]
        assert second.segments() == [b"[2,2]"]


def test_serializer_is_equal_hashes_and_pickles_with_its_config(serializer: Any) -> None:
    config = Config(serializer=serializer)
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert hash(again) == hash(config)
    assert written(again.serializer, [1]) == b"[1]"
    assert repr(serializer).startswith(type(serializer).__name__ + "(")
    assert Config(serializer=None) != config


def test_serializers_of_different_kinds_and_options_differ() -> None:
    pytest.importorskip("orjson")
    assert OrjsonSerializer() != JsonSerializer()
    assert OrjsonSerializer(option=1) != OrjsonSerializer()


def test_orjson_keeps_to_its_option() -> None:
    orjson = pytest.importorskip("orjson")
    assert written(OrjsonSerializer(orjson.OPT_SORT_KEYS), {"b": 1, "a": 2}) == b'{"a":2,"b":1}'
    with pytest.raises(InvalidOption, match=r"^option="):
        OrjsonSerializer("sorted")  # type: ignore[arg-type]  # which is what is refused


def test_msgspec_encodes_into_memory_that_it_keeps() -> None:
    pytest.importorskip("msgspec")

    @dataclasses.dataclass
    class Point:
        x: int

    serializer = MsgspecSerializer()
    pool = BufferPool()
    with BufferWriter(pool) as writer:
        serializer.serialize_into(Point(1), writer)
        first = writer.segments()[0].obj
    with BufferWriter(pool) as writer:
        serializer.serialize_into({"y": 2}, writer)
        assert writer.segments()[0].obj is first
        assert writer.segments() == [b'{"y":2}']
    assert pool.stats().rented == 0


def test_msgspec_keeps_no_memory_that_is_large_or_viewed() -> None:
    pytest.importorskip("msgspec")
    serializer = MsgspecSerializer()
    pool = BufferPool()
    with BufferWriter(pool) as writer:
        serializer.serialize_into("x" * limits.MAX_BUCKET_BYTES, writer)
        large = writer.segments()[0].obj
    assert sys.getsizeof(large) > limits.MAX_BUCKET_BYTES
    with BufferWriter(pool) as writer:
        serializer.serialize_into([1], writer)
        viewed = writer.segments()[0]
        assert viewed.obj is not large
        rest = viewed[1:]
    with BufferWriter(pool) as writer:
        serializer.serialize_into("y" * 10_000, writer)
        assert writer.segments()[0].obj is not rest.obj
    assert rest.tobytes() == b"1]"


@pytest.mark.parametrize("kind", [OrjsonSerializer, MsgspecSerializer])
def test_library_that_is_missing_is_named(kind: type[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    name = kind.__name__.removesuffix("Serializer").lower()
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidOption, match=f"pip install {name}"):
        kind()


@pytest.mark.parametrize("value", [JsonSerializer, json, "json", 5])
def test_config_takes_serializers_alone(value: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^serializer="):
        Config(serializer=value)
