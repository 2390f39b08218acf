"""Sink: where a body goes: to standard output as it arrives, or to a file that appears only when it is whole.

A FileSink writes a temporary file beside its target and renames it over the target on `commit()`; whatever ends the
run earlier leaves the target as it was and no temporary file. A target that is no regular file (a pipe, /dev/null)
is written directly. A symbolic link stays one: what it points to is replaced.

Failures are the system's own OSError, with the output's name in `filename`; the network's are TurbosockErrors, so the
two cannot be confused.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from types import TracebackType
from typing import BinaryIO, Final


class Sink:
    """Takes a body piece by piece; use it in a with block and `commit()` at the end of the body."""

    __slots__ = ()

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes; they are written, or copied, when this returns."""

    def commit(self) -> None:
        """The body is whole."""

    def abort(self) -> None:
        """Undo what was not committed; nothing after `commit()`."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class StandardOutput(Sink):
    """Standard output, flushed after each piece, so that a slow stream shows as it arrives."""

    __slots__ = ("_stream",)

    NAME: Final = "standard output"

    def __init__(self) -> None:
        # None: the process was started with its standard output closed.
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed; redirect it or use -o", self.NAME)
        self._stream: BinaryIO = sys.stdout.buffer

    def write(self, data: bytes | memoryview) -> None:
        stream = self._stream
        left = memoryview(data)
        try:
            while left:
                # Where Python does not buffer (PYTHONUNBUFFERED), this is a plain write(2): it may take a part or none.
                count: int | None = stream.write(left)
                if count is None:
                    raise BlockingIOError(errno.EAGAIN, "it does not block, and is full; pipe it through cat")
                left = left[count:]
            stream.flush()
        except OSError as error:
            error.filename = self.NAME
            raise


class FileSink(Sink):
    """A file that is replaced when the body is whole, and not before.

    Args:
        path: the file; one that exists keeps its permissions.

    Raises:
        OSError: the directory cannot be written, or `path` is a directory.
    """

    __slots__ = ("_file", "_name", "_temporary", "path")

    def __init__(self, path: str) -> None:
        self._name = path
        self.path = os.path.realpath(path)
        self._temporary: str | None = None
        try:
            mode: int | None = os.stat(self.path).st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if mode is not None and not stat.S_ISREG(mode):
            self._file: BinaryIO = open(self.path, "wb")  # noqa: SIM115  # commit() and abort() close it
            return
        # Beside the target, because a rename does not cross file systems.
        temporary = os.path.join(os.path.dirname(self.path), f".turbosock-{secrets.token_hex(8)}.part")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            error.filename = path
            raise
        self._temporary = temporary
        self._file = open(descriptor, "wb")  # noqa: SIM115  # as above
        if mode is not None:
            try:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            except OSError:
                # A file system without permissions has none to keep.
                pass

    def write(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            error.filename = self._name
            raise

    def commit(self) -> None:
        try:
            self._file.close()
            if self._temporary is not None:
                os.replace(self._temporary, self.path)
        except OSError as error:
            # The user knows the target, not the temporary file.
            error.filename = self._name
            error.filename2 = None
            raise
        self._temporary = None

    def abort(self) -> None:
        try:
            self._file.close()
        except OSError:
            # A full disk refuses the last bytes of a file that goes away anyway.
            pass
        if self._temporary is not None:
            os.unlink(self._temporary)
            self._temporary = None
