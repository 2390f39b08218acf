"""WireLog: what moved on the connections that a recorder watches, in the order in which it moved.

Recording costs a note of each receive and each send, and one copy of what came. What the bytes mean is worked out when
the cassette is written (`wire_reader.py`), not while anybody waits for them. Beyond some megabytes the notes move to a
temporary file, in one write for all.

Invariant: the notes of one connection are in the order of its bytes, and a request's stand before its answer's.
"""

from __future__ import annotations

import marshal
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from turbosock import limits
from turbosock.transport.connector import Target

# Number of the connection, whether it was sent, and the bytes: none for the end of what was received.
Note = tuple[int, bool, bytes]


class WireLog:
    """Notes of what moved; written from the threads that move it.

    Attributes:
        notes: the latest; one list for good.
        kept_bytes: of them, about.
        targets: where each connection led, by its number.
    """

    __slots__ = ("_closed", "_file", "_lock", "kept_bytes", "notes", "targets")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self.notes: list[Note] = []
        self._closed = False
        self.kept_bytes = 0
        self.targets: list[Target] = []

    def begin(self, target: Target) -> int:
        """The number of a new connection."""
        with self._lock:
            self.targets.append(target)
            return len(self.targets) - 1

    def put_aside(self) -> None:
        """Move the notes to a file: for whoever finds that `kept_bytes` is above RECORDED_MEMORY_BYTES."""
        with self._lock:
            if self.kept_bytes < limits.RECORDED_MEMORY_BYTES:
                # Another thread came first.
                return
            self.kept_bytes = 0
            if self._closed:
                self.notes.clear()
                return
            if self._file is None:
                # Nobody else can open it, and it goes with the process.
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the log
            # Other threads go on noting at the end of this very list.
            latest = list(self.notes)
            marshal.dump(latest, self._file)
            del self.notes[: len(latest)]

    def __iter__(self) -> Iterator[Note]:
        """Every note so far, the first one first."""
        with self._lock:
            file = self._file
            latest = list(self.notes)
            if file is not None:
                end = file.tell()
                file.seek(0)
                while file.tell() < end:
                    yield from marshal.load(file)
        yield from latest

    def close(self) -> None:
        """Forget everything; of what still moves no more than the latest is noted."""
        with self._lock:
            self._closed = True
            self.notes.clear()
            if self._file is not None:
                self._file.close()
                self._file = None
