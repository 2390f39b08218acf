"""PartialFile: a file that appears under its name when it is whole, and what has come of it until then.

It is written under another name beside its target, synchronised, and moved over the target by one rename: nobody ever
sees a part of it under its own name, and a crash leaves the old file or the new one. A symbolic link stays one: what it
points to is replaced. A target that exists keeps its permissions.

One that `keeps` stands in `<target>.part` and survives a failure, with a note in `<target>.part.json` of what it is a
part of: whose (a digest of the URL), and by which validator its server knows the version (RFC 9110 §8.8). Without one
there is nothing to go on with, and the part goes away. Bytes are only ever added at its end, so that whatever ended the
program before, what is there is a beginning.

Invariants: one process writes a kept part at a time, where the system has locks; a note stands only beside a part that
it describes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from types import TracebackType
from typing import Any, Final

from turbosock import limits
from turbosock.errors import InvalidOption, StateError

# Where the system has them: a link in the place of a part is not followed, and a child has no copy.
_FLAGS: Final = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FLAGS_BINARY: Final = _FLAGS | getattr(os, "O_BINARY", 0)


class PartialFile:
    """Takes the bytes of one file; a context manager that ends as `close()` does.

    Args:
        path: the target.
        source: whose bytes they are, a URL.
        keeps: whether what has come is kept for another time.

    Attributes:
        size: bytes that are there.
        validator: of the version that they are part of, as it is kept; "" where there is none to go on with.

    Raises:
        InvalidOption: the target is no regular file.
        StateError: another download writes the same part.
        OSError: the system refuses.
    """

    __slots__ = (
        "_descriptor",
        "_directory",
        "_mode",
        "_name",
        "_note",
        "_part",
        "_source",
        "path",
        "size",
        "validator",
    )

    def __init__(self, path: str | os.PathLike[str], source: str, *, keeps: bool) -> None:
        self._name = os.fspath(path)
        self.path = os.path.realpath(self._name)
        self._source = hashlib.sha256(source.encode()).hexdigest()
        self._mode = self._target_mode()
        self._directory = os.path.dirname(self.path)
        # A name that is as long as names may be has no room for a suffix: the system says so.
        self._part = self.path + ".part" if keeps else os.path.join(self._directory, f".{secrets.token_hex(8)}.part")
        self._note = self.path + ".part.json" if keeps else ""
        self._descriptor = self._open_locked() if keeps else self._open(os.O_EXCL)
        self.size = 0
        self.validator = ""
        try:
            self.validator = self._read_note() if keeps else ""
            self.size = os.fstat(self._descriptor).st_size if self.validator else 0
            if not self.size:
                self.begin("")
            else:
                os.lseek(self._descriptor, 0, os.SEEK_END)
        except BaseException:
            self.close()
            raise

    def _target_mode(self) -> int | None:
        try:
            mode = os.stat(self.path).st_mode
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self._name)
        if not stat.S_ISREG(mode):
            raise InvalidOption(f"path: {self._name!r} is no regular file, which a download could replace")
        return stat.S_IMODE(mode)

    def _open(self, flags: int = 0) -> int:
        try:
            # Nobody may read the part who may not read the target.
            return os.open(
                self._part, _FLAGS_BINARY | flags, 0o666 if self._mode is None else self._mode & 0o666 | 0o600
            )
        except OSError as error:
            # The user knows the target, not the part.
            error.filename = self._name
            raise

    def _open_locked(self) -> int:
        try:
            import fcntl
        except ImportError:
            return self._open()
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Whoever had the lock before may have moved the part to the target, or away.
                if os.path.samestat(os.fstat(descriptor), os.lstat(self._part)):
                    return descriptor
            except FileNotFoundError:
                pass
            except BlockingIOError:
                os.close(descriptor)
                raise StateError(f"another download to {self._name!r} is under way: wait for it") from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _read_note(self) -> str:
        try:
            with open(self._note, "rb") as file:
                note: Any = json.loads(file.read(limits.MAX_DOWNLOAD_NOTE_BYTES))
            if note["source"] == self._source and isinstance(note["validator"], str):
                return str(note["validator"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            # None, or nothing that was written here.
            pass
        return ""

    def begin(self, validator: str) -> None:
        """Begin anew, with bytes of the version that `validator` names; "": of one that nothing can be added to."""
        if self._note:
            self._remove(self._note)
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size = 0
        self.validator = validator if self._note else ""
        if self.validator:
            with open(self._note, "w", encoding="ascii") as file:
                json.dump({"source": self._source, "validator": validator}, file)

    def write(self, data: memoryview) -> None:
        """Add bytes at the end.

        Raises:
            OSError: the system refuses, for want of space say.
        """
        while data:
            try:
                count = os.write(self._descriptor, data)
            except OSError as error:
                error.filename = self._name
                raise
            self.size += count
            data = data[count:]

    def commit(self) -> None:
        """The file is whole: have it under its name.

        Raises:
            OSError: the system refuses.
        """
        try:
            if self._mode is not None:
                try:
                    os.chmod(self._part, self._mode)
                except OSError:
                    # A file system without permissions has none to keep.
                    pass
            os.fsync(self._descriptor)
            os.replace(self._part, self.path)
        except OSError as error:
            error.filename = self._name
            error.filename2 = None
            raise
        if self._note:
            self._remove(self._note)
        descriptor = self._descriptor
        self._descriptor = -1
        os.close(descriptor)
        self._synchronise_directory()

    def _synchronise_directory(self) -> None:
        try:
            descriptor = os.open(self._directory, os.O_RDONLY)
        except OSError:
            # Not every system opens directories.
            return
        try:
            os.fsync(descriptor)
        except OSError:
            # Nor does every file system synchronise them.
            pass
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Keep what has come if there is a way to go on with it, else remove it; nothing after `commit()`."""
        descriptor = self._descriptor
        if descriptor < 0:
            return
        self._descriptor = -1
        if not self.validator or not self.size:
            # While it is locked: the next one's part is not removed.
            if self._note:
                self._remove(self._note)
            self._remove(self._part)
        os.close(descriptor)

    def _remove(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
