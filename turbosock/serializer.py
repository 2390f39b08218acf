"""Serializer: what turns an object into the body of a request, and a body into an object.

The standard json's, orjson's and msgspec's are in `client/serializers.py`.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Serializer(Protocol):
    """Write your own for `Config(serializer=)`; one object serves all threads, and pickles with its Config.

    Attributes:
        content_type: what requests say of a body that it wrote.
    """

    @property
    def content_type(self) -> str:
        """The media type of what it writes."""

    def serialize_into(self, value: Any, writer: Any) -> None:
        """Write `value` to a `turbosock.BufferWriter`: by `write`, by `reserve` and `advance`, or by `adopt`.

        What it raises, LimitError apart, becomes the cause of an InvalidOption, and nothing is sent.
        """

    def deserialize(self, source: Any) -> Any:
        """The object that a body says; the body is bytes, a memoryview or a `SegmentedSequence`.

        Raises:
            ValueError: it says none.
        """
