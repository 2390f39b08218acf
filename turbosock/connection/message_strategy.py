"""The two halves of a strategy, and the owner of a connection, as MessageConnection knows them; it describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from turbosock.buffers.ring import RingBuffer
    from turbosock.connection.message_connection import MessageConnection
    from turbosock.errors import TurbosockError
    from turbosock.transport.transport import SaeaTransport

Data = bytes | bytearray | memoryview


class MessageReader(Protocol):
    """The receiving half of a strategy; see the module."""

    @property
    def data(self) -> memoryview | bytes | str: ...
    @property
    def wanted(self) -> int: ...
    @property
    def error(self) -> TurbosockError | None: ...
    @property
    def lent(self) -> memoryview | None: ...

    def next(self, ring: RingBuffer) -> int: ...
    def room(self, ring: RingBuffer) -> memoryview: ...
    def end(self, ring: RingBuffer | None) -> TurbosockError | None: ...
    def stop(self) -> None: ...


class BorrowingReader(MessageReader, Protocol):
    """A reader that has long messages put into memory of their own."""

    def lend(self, memory: memoryview) -> None: ...
    def received(self, ring: RingBuffer, count: int) -> None: ...


class MessageWriter(Protocol):
    """The sending half of a strategy; see the module."""

    @property
    def shares(self) -> bool: ...
    @property
    def replaces(self) -> bool: ...
    @property
    def head_bytes(self) -> int: ...
    @property
    def tail_bytes(self) -> int: ...
    @property
    def trailer(self) -> bytes: ...

    def payload(self, data: object) -> Data: ...
    def frame(self, payload: Data) -> bytes: ...
    def header(self, payload: bytes) -> bytes | None: ...
    def head_size(self, size: int) -> int: ...
    def seal(self, memory: memoryview, at: int, size: int, payload: Data | None = None) -> int: ...


class MessageOwner(Protocol):
    """Who made a connection: a listener, or what dialled it."""

    def forget(self, session: MessageConnection, transport: SaeaTransport | None) -> None:
        """It has ended; None: before it stood."""

    def count_timeout(self) -> None:
        """It was given up."""
