"""FileRange: a part of a file that the system moves to a socket by itself (sendfile(2)).

The file is asked for its descriptor at each step and the range for its bytes by their position, so that neither the
file's own position matters, nor what its owner does with it meanwhile: a file that was closed is noticed, and not
another one sent that got its number.

A file system that cannot do this has its bytes read and sent instead.
"""

from __future__ import annotations

import errno
import os
from socket import socket
from typing import Final, Protocol

from turbosock import limits
from turbosock.errors import Origin, WriteError
from turbosock.reactor.sockets import explain

# What is no fault of a file, but the word of the socket.
_OF_THE_SOCKET: Final = frozenset(
    {errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTUNREACH}
)
# This file, this system, or the two together: no sendfile.
_REFUSED: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE})


class DescribedFile(Protocol):
    """A file of the system's."""

    def fileno(self) -> int:
        """Its descriptor."""


class FileRange:
    """`count` bytes of `file` from `offset` on; whoever sends them moves both on.

    Args:
        announced: the length of the whole body, for messages.
    """

    __slots__ = ("_announced", "_file", "_refused", "count", "offset")

    def __init__(self, file: DescribedFile, offset: int, count: int, announced: int) -> None:
        self._file = file
        self._announced = announced
        self._refused = not hasattr(os, "sendfile")
        self.offset = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def transfer(self, sock: socket, offset: int, count: int) -> int:
        """Move up to `count` bytes from `offset` on to a socket; how many, 0 at the end of the file.

        Raises:
            OSError: as the socket's own send, BlockingIOError included.
            WriteError: the file cannot be read; `origin` is LOCAL.
        """
        descriptor = descriptor_of(self._file)
        if not self._refused:
            try:
                return os.sendfile(sock.fileno(), descriptor, offset, count)
            except BlockingIOError:
                raise
            except OSError as error:
                if error.errno in _OF_THE_SOCKET:
                    raise
                if error.errno not in _REFUSED:
                    raise unreadable(error) from error
                self._refused = True
        try:
            data = os.pread(descriptor, min(count, limits.SEGMENT_BYTES), offset)
        except OSError as error:
            raise unreadable(error) from error
        return sock.send(data) if data else 0

    def moved(self, count: int) -> None:
        """So much of it was sent."""
        self.offset += count
        self.count -= count

    def ended(self) -> WriteError:
        """The error for a file that ended inside the range."""
        return ended_early(self.count, self._announced)


def descriptor_of(file: DescribedFile) -> int:
    """The file's descriptor.

    Raises:
        WriteError: it was closed.
    """
    try:
        return file.fileno()
    except (OSError, ValueError) as error:
        raise WriteError(
            "the file was closed while it was sent; keep it open until the exchange is done", origin=Origin.LOCAL
        ) from error


def unreadable(error: OSError) -> WriteError:
    """The error for a file that the system cannot read."""
    return WriteError(f"the file cannot be read: {explain(error.errno or 0)}", errno=error.errno, origin=Origin.LOCAL)


def ended_early(left: int, announced: int) -> WriteError:
    """The error for a file that ended before the length that was announced."""
    return WriteError(
        f"the file ended {left} bytes before the {announced} that were announced; do not change a file while it is "
        "sent",
        origin=Origin.LOCAL,
    )
