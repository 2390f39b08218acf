"""WireReader: exchanges from the bytes of one connection that was watched.

A reader is fed what was sent and what was received, in order and in any pieces, and tells of each exchange that was
answered. Which protocol it is shows in the first bytes that were sent (RFC 9113 §3.4). What cannot be read, and what
follows a change of protocol (WebSockets, tunnels), is left out: it could not be answered again by an exchange.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from turbosock import limits
from turbosock.errors import LimitError, ProtocolError
from turbosock.protocol.http2.frames import PREFACE
from turbosock.testing.cassettes.bodies import write_aside
from turbosock.testing.cassettes.entry import Entry
from turbosock.testing.cassettes.http1_reader import Http1Reader
from turbosock.testing.cassettes.http2_reader import Http2Reader
from turbosock.testing.cassettes.wire_log import WireLog
from turbosock.testing.origin import origin_of
from turbosock.transport.connector import Target

# Called with the place of an exchange among the others, and the exchange: its first note in the log, and where others
# begin in the same one, its stream.
Place = tuple[int, int]
Emit = Callable[[Place, Entry], object]


class WireReader:
    """Reads one connection.

    Args:
        target: where it leads.
        emit: called with each exchange.
    """

    def __init__(self, target: Target, emit: Emit) -> None:
        self._origin = origin_of(target)
        self._emit = emit
        self._reader: Http1Reader | Http2Reader | None = None
        self._first = b""
        self._broken = False

    def feed(self, place: int, sent: bool, data: bytes) -> None:
        """Take one note of the log; no bytes received are the end of what was."""
        if self._broken:
            return
        reader = self._reader
        if reader is None:
            self._first += data if sent else b""
            if not sent or (len(self._first) < len(PREFACE) and PREFACE.startswith(self._first)):
                return
            kind = Http2Reader if self._first.startswith(PREFACE) else Http1Reader
            reader = self._reader = kind(self._origin, self._emit)
            data = self._first
        try:
            if sent:
                reader.feed_sent(place, data)
            elif data:
                reader.feed_received(place, data)
            else:
                reader.end_received()
        except (ProtocolError, LimitError):
            # The client has said so to its user already.
            self._broken = True
            reader.close()

    def close(self) -> None:
        """There is no more."""
        if self._reader is not None and not self._broken:
            self._reader.close()


def read_log(log: WireLog, folder: Path) -> list[Entry]:
    """The exchanges of a log, in the order in which their requests were sent; long bodies are in files of `folder`."""
    found: list[tuple[Place, Entry]] = []
    readers: dict[int, WireReader] = {}

    def emit(place: Place, entry: Entry) -> None:
        for body in (entry.request.body, entry.answer.body):
            if len(body.content) > limits.MAX_INLINE_BODY_BYTES:
                write_aside(body, folder)
        found.append((place, entry))

    for place, (number, sent, data) in enumerate(log):
        reader = readers.get(number)
        if reader is None:
            reader = readers[number] = WireReader(log.targets[number], emit)
        reader.feed(place, sent, data)
    for reader in readers.values():
        reader.close()
    found.sort(key=lambda pair: pair[0])
    return [entry for _, entry in found]
