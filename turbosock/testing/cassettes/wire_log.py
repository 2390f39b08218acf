"""WireLog: what moved on the connections that a recorder watches, in the order in which it moved.

Recording costs a note of each receive and each send, and one copy of what came. What the bytes mean is worked out when
the cassette is written (`wire_reader.py`), not while anybody waits for them. Beyond some megabytes the notes move to a
temporary file, in one write for all.

Invariants: a note is two entries, its mark and its bytes, which come at once, so that threads do not mix them; the
notes of one connection are in the order of its bytes.
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


def mark_of(number: int, *, sent: bool) -> int:
    """What stands before the bytes of each note of a connection."""
    return number << 1 | sent


class WireLog:
    """Notes of what moved; written from the threads that move it.

    Attributes:
        entries: marks and bytes in turn, the latest; one list for good.
        targets: where each connection led, by its number.
    """

    __slots__ = ("_closed", "_file", "_kept_bytes", "_lock", "entries", "targets")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._file: IO[bytes] | None = None
        self._kept_bytes = 0
        self.entries: list[int | bytes] = []
        self.targets: list[Target] = []

    def begin(self, target: Target) -> int:
        """The number of a new connection."""
        with self._lock:
            self.targets.append(target)
            return len(self.targets) - 1

    def grow(self, nbytes: int) -> None:
        """Count bytes of long notes, or look how many notes there are; those that are too many go to a file."""
        with self._lock:
            self._kept_bytes += nbytes
            # Short notes are not counted one by one: of a kibibyte each, they are as many bytes.
            if self._kept_bytes + limits.KIB * len(self.entries) // 2 > limits.RECORDED_MEMORY_BYTES:
                self._put_aside()

    def _put_aside(self) -> None:
        self._kept_bytes = 0
        if self._closed:
            self.entries.clear()
            return
        if self._file is None:
            # Nobody else can open it, and it goes with the process.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the log
        # Other threads go on noting at the end of this very list.
        latest = list(self.entries)
        marshal.dump(latest, self._file)
        del self.entries[: len(latest)]

    def __iter__(self) -> Iterator[Note]:
        """Every note so far, the first one first."""
        with self._lock:
            file = self._file
            latest = list(self.entries)
            if file is not None:
                end = file.tell()
                file.seek(0)
                while file.tell() < end:
                    yield from _notes(marshal.load(file))
        yield from _notes(latest)

    def close(self) -> None:
        """Forget everything; of what still moves no more than the latest is noted."""
        with self._lock:
            self._closed = True
            self.entries.clear()
            if self._file is not None:
                self._file.close()
                self._file = None


def _notes(entries: list[int | bytes]) -> Iterator[Note]:
    for at in range(0, len(entries), 2):
        mark, data = entries[at], entries[at + 1]
        assert isinstance(mark, int) and isinstance(data, bytes), "they come in turn"
        yield mark >> 1, bool(mark & 1), data
