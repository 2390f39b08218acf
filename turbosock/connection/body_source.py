"""body_source(): the source for what a user gives as a body."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from turbosock.connection.file_source import FileSource
from turbosock.connection.source import BodySource, BufferSource, IterableSource
from turbosock.errors import InvalidOption

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool


def body_source(content: object, buffers: BufferPool, argument: str = "content") -> BodySource | None:
    """The source for a body: a buffer, a str (UTF-8), a binary file or an iterable of buffers.

    Args:
        content: the body, or None; a BodySource is its own.
        buffers: lends the memory that files are read into.
        argument: what an error calls it.

    Raises:
        InvalidOption: anything else.
    """
    if content is None:
        return None
    if isinstance(content, BodySource):
        return content
    if isinstance(content, str):
        try:
            return BufferSource(content.encode())
        except UnicodeEncodeError as error:
            raise InvalidOption(f"{argument}: it holds a lone surrogate, which is half a character") from error
    if isinstance(content, (bytes, bytearray, memoryview)):
        return BufferSource(content, argument)
    view = _viewed(content)
    if view is not None:
        return BufferSource(_rest(content, view, argument), argument)
    if isinstance(content, io.TextIOBase) or hasattr(content, "read"):
        return FileSource(content, buffers, argument)
    if isinstance(content, Mapping):
        raise InvalidOption(f"{argument}: a {type(content).__name__} is a mapping; give it as data= or json=")
    if isinstance(content, Iterable):
        return IterableSource(content, argument)
    raise InvalidOption(
        f"{argument}: a {type(content).__name__} cannot be sent; "
        "give bytes, a buffer, str, a binary file or an iterable"
    )


def _viewed(content: Any) -> memoryview | None:
    try:
        return memoryview(content)
    except (TypeError, ValueError):
        # No buffer, or a mapped file that was closed, which is refused as a file.
        return None


def _rest(content: Any, view: memoryview, argument: str) -> memoryview:
    """All of a buffer; of one that is a file as well (a mapped one), what lies behind its position."""
    if not hasattr(content, "read"):
        return view
    try:
        return view[content.tell() :]
    except (AttributeError, TypeError, NotImplementedError) as error:
        raise InvalidOption(f"{argument}: a {type(content).__name__} has no position; give a buffer of it") from error
