"""RetainedMessage: a message that outlives its event, without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbosock.errors import LeaseError

if TYPE_CHECKING:
    from types import TracebackType

    from turbosock.connection.message_ring import Holdable


class RetainedMessage:
    """A message that its user keeps; made by `event.retain()`, and a context manager that releases it.

    Its memory counts against its connection's quota until `release()`: a connection of which too much is kept is left
    unread.

    Attributes:
        data: the message, valid until `release()`.
    """

    __slots__ = ("_ring", "data")

    def __init__(self, data: memoryview | bytes | str, ring: Holdable | None) -> None:
        self._ring = ring
        self.data = data
        if ring is not None:
            assert isinstance(data, memoryview), "only views lie in a ring"
            self.data = data[:]
            ring.holders += 1

    def release(self) -> None:
        """Give the memory back.

        Raises:
            LeaseError: it was given back already.
        """
        data = self.data
        ring = self._ring
        if data is None:
            raise LeaseError("release() of a retained message that was released: release it once")
        self.data = None  # type: ignore[assignment]  # whoever still looks finds nothing
        if ring is not None:
            self._ring = None
            try:
                data.release()  # type: ignore[union-attr]  # only views lie in a ring
            except BufferError:
                # Some object still looks at it through this very view, and sees another's bytes from now on.
                pass
            ring.let_go()

    def __enter__(self) -> RetainedMessage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
