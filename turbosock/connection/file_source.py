"""FileSource: a binary file as a request body, from its present position on.

A file of the system's own kind (what `open()` in binary mode and `tempfile` give) is read by position: several
requests may send it at once, and its owner's reads are not disturbed. Over a transport that takes files its longer
rests are not read at all, but moved by the system. Any other object is read by its `readinto` or `read`.

A regular file has a length, and one that turns out shorter while it is sent is a WriteError: the announced length can
no longer be kept. What it gains meanwhile is not sent. Anything else that can be read is sent in chunks.
"""

from __future__ import annotations

import io
import os
import stat
from typing import TYPE_CHECKING, Any, Final, Protocol

from turbosock import limits
from turbosock.connection.file_range import FileRange, descriptor_of, ended_early, unreadable
from turbosock.connection.source import BodySource
from turbosock.errors import InvalidOption, Origin, WriteError

if TYPE_CHECKING:
    from turbosock.buffers import BufferPool, PooledBuffer

_READS_BY_POSITION: Final = hasattr(os, "preadv")


class BinaryFile(Protocol):
    """What a file must offer to be a body."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


class FileSource(BodySource):
    """See the module.

    Args:
        file: open for reading in binary mode.
        buffers: lends the block that is read into, while the body is sent.
        argument: what an error calls it.

    Raises:
        InvalidOption: the file is closed, or not open for reading in binary mode.
    """

    __slots__ = ("_argument", "_buffers", "_by_position", "_file", "_lease", "_left", "_position")

    def __init__(self, file: BinaryFile, buffers: BufferPool, argument: str = "content") -> None:
        _check_readable(file, argument)
        self._argument = argument
        self._buffers = buffers
        self._lease: PooledBuffer | None = None
        own = _own_file(file)
        # The wrapper is kept with it: tempfile's closes its file when it goes.
        self._file: Any = file
        self._by_position = False
        self._position = _tell(file)
        length = -1
        if own is not None and self._position >= 0:
            length = _regular_length(own, self._position)
            self._by_position = length >= 0 and _READS_BY_POSITION
        elif self._position >= 0 and _is_in_memory(file):
            length = _length_by_seeking(file, self._position)
        self._left = length
        super().__init__(length, replayable=self._position >= 0)

    def announce(self, length: int) -> None:
        self.length = self._left = length

    @property
    def moves(self) -> bool:
        """Whether what is left is better moved by the system than read."""
        return self.takes_files and self._by_position and self._left >= limits.MOVED_FILE_BYTES

    def next_block(self) -> memoryview | FileRange | None:
        if self.moves:
            file_range = FileRange(self._file, self._position + self.length - self._left, self._left, self.length)
            self._left = 0
            return file_range
        lease = self._lease
        if lease is None:
            if not self._left:
                return None
            size = limits.SEND_BLOCK_BYTES if self.length < 0 else min(self._left, limits.SEND_BLOCK_BYTES)
            lease = self._lease = self._buffers.rent(size)
        count = self.fill(lease.view)
        if not count:
            return None
        return lease.view if count == lease.size else lease.view[:count]

    def fill(self, view: memoryview) -> int:
        """Read into the start of `view`; how many bytes, 0 at the end of the body.

        Raises:
            WriteError: the file ended too early, was closed, or cannot be read; `origin` is LOCAL.
            InvalidOption: it does not give bytes.
        """
        if not self._left:
            return 0
        if 0 < self._left < len(view):
            # Released, since the frames of an error would hold it beyond the lease.
            with view[: self._left] as room:
                count = self._read_at(room) if self._by_position else self._read(room)
        else:
            count = self._read_at(view) if self._by_position else self._read(view)
        if self.length >= 0:
            if not count:
                raise ended_early(self._left, self.length)
            self._left -= count
        elif not count:
            self._left = 0
        return count

    def _read_at(self, view: memoryview) -> int:
        try:
            return os.preadv(descriptor_of(self._file), (view,), self._position + self.length - self._left)
        except WriteError:
            raise
        except OSError as error:
            raise unreadable(error) from error

    def _read(self, view: memoryview) -> int:
        file = self._file
        # What has come through a pipe is sent, however little it is.
        readinto = None if self.length >= 0 else getattr(file, "readinto1", None)
        if readinto is None:
            readinto = getattr(file, "readinto", None)
        if readinto is not None:
            count = readinto(view)
            if type(count) is int:
                return count
        else:
            data = file.read(len(view))
            if isinstance(data, (bytes, bytearray, memoryview)):
                if len(data) > len(view):
                    raise InvalidOption(f"{self._argument}: reading {len(view)} bytes of the file gave {len(data)}")
                view[: len(data)] = data
                return len(data)
            if data is not None:
                raise InvalidOption(
                    f"{self._argument}: reading the file gave {type(data).__name__}; open it in binary mode"
                )
        raise WriteError(
            "the file has nothing to read now: a body is read without waiting for it, so give a blocking file or an "
            "iterable",
            origin=Origin.LOCAL,
        )

    def rewind(self) -> None:
        if not self._by_position:
            self._file.seek(self._position)
        else:
            # Raises where it was closed meanwhile, as a seek would.
            self._file.fileno()
        self._left = self.length

    def close(self) -> None:
        lease = self._lease
        if lease is not None:
            self._lease = None
            lease.release()


def _check_readable(file: Any, argument: str) -> None:
    if isinstance(file, io.TextIOBase):
        raise InvalidOption(f"{argument}: a text file was given; open it in binary mode")
    if getattr(file, "closed", False):
        raise InvalidOption(f"{argument}: the file is closed; keep it open until the exchange is done")
    readable = getattr(file, "readable", None)
    if readable is not None and not readable():
        raise InvalidOption(f"{argument}: the file is not open for reading; open it with 'rb'")


def _own_file(file: Any) -> Any:
    """The system's own file behind `file`, or None: a wrapper, gzip's say, gives other bytes than its descriptor."""
    if type(file).__name__ == "_TemporaryFileWrapper" and type(file).__module__ == "tempfile":
        file = file.file
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        return file if type(file.raw) is io.FileIO else None
    return file if type(file) is io.FileIO else None


def _tell(file: Any) -> int:
    """The position, or -1 where the file cannot go back to it."""
    try:
        if not file.seekable():
            return -1
        position = file.tell()
    except (AttributeError, OSError, ValueError):
        return -1
    return position if type(position) is int else -1


def _regular_length(file: Any, position: int) -> int:
    """Bytes from `position` to the end, or -1 for what has no length, or none that is true (/proc)."""
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return -1
        if not status.st_size:
            return -1 if os.pread(file.fileno(), 1, position) else 0
    except OSError:
        return -1
    return max(0, status.st_size - position)


def _is_in_memory(file: Any) -> bool:
    return isinstance(file, io.BytesIO) or (
        type(file).__name__ == "SpooledTemporaryFile" and type(file).__module__ == "tempfile"
    )


def _length_by_seeking(file: Any, position: int) -> int:
    file.seek(0, io.SEEK_END)
    end: int = file.tell()
    file.seek(position)
    return max(0, end - position)
