"""What a user may give as a body, and what kind of source it becomes."""

from __future__ import annotations

import io
import mmap
from pathlib import Path

import pytest

from turbosock.buffers import BufferPool
from turbosock.connection.body_source import body_source as source_of
from turbosock.connection.file_source import FileSource
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidOption


def body_source(content: object, argument: str = "content") -> BodySource | None:
    return source_of(content, BufferPool(), argument)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"abc", BufferSource),
        ("abc", BufferSource),
        (memoryview(b"abc"), BufferSource),
        ([b"abc"], IterableSource),
        ({b"abc"}, IterableSource),
        (io.BytesIO(b"abc"), FileSource),
    ],
)
def test_content_becomes_the_source_of_its_kind(content: object, kind: type[BodySource]) -> None:
    assert type(body_source(content)) is kind


def test_mapped_file_is_sent_from_where_it_lies_and_from_its_position_on(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        mapped.seek(4)
        source = body_source(mapped)
        assert isinstance(source, BufferSource)
        block = source.next_block()
        assert block == b"456789"
        del block
        source.release()
        del source


@pytest.mark.parametrize("content", [5, 1.5, object(), memoryview(b"abcd")[::2], io.StringIO("abc"), "\ud800"])
def test_content_that_cannot_be_sent_is_refused_by_name(content: object) -> None:
    with pytest.raises(InvalidOption, match=r"^content: "):
        body_source(content)
    with pytest.raises(InvalidOption, match=r"^data: "):
        body_source(content, "data")


def test_content_of_none_has_no_body() -> None:
    assert body_source(None) is None
