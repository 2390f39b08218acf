"""WireTap: stands between a transport and its socket, or its TLS session, and notes what moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from turbosock import limits
from turbosock.reactor.context import Buffer
from turbosock.testing.cassettes.wire_log import WireLog

if TYPE_CHECKING:
    from turbosock.transport.transport import Transport


class WireTap:
    """Watches one transport.

    Args:
        log: takes the notes.
        number: of the connection.
        transport: the one; nothing has moved on it.
    """

    __slots__ = ("_append", "_log", "_number", "_recv_into", "_send", "_sendmsg")

    def __init__(self, log: WireLog, number: int, transport: Transport) -> None:
        self._log = log
        self._append = log.notes.append
        self._number = number
        self._recv_into, self._send, self._sendmsg = transport.interpose(self.recv_into, self.send, self.sendmsg)

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """As a socket's, or a session's, whose negative answers are none."""
        count = self._recv_into(buffer, nbytes)
        if count >= 0:
            self._append((self._number, False, bytes(buffer[:count])))
            log = self._log
            log.kept_bytes += count
            if log.kept_bytes > limits.RECORDED_MEMORY_BYTES:
                log.put_aside()
        return count

    def send(self, data: Buffer) -> int:
        """As a socket's, or a session's."""
        count = self._send(data)
        if count > 0:
            self._note_sent(data if count == len(data) else memoryview(data)[:count])
        return count

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        """As a socket's."""
        count = self._sendmsg(buffers)
        left = count
        for data in buffers:
            if left <= 0:
                break
            self._note_sent(data if len(data) <= left else memoryview(data)[:left])
            left -= len(data)
        return count

    def _note_sent(self, data: Buffer) -> None:
        self._append((self._number, True, data if type(data) is bytes else bytes(data)))
        log = self._log
        log.kept_bytes += len(data)
        if log.kept_bytes > limits.RECORDED_MEMORY_BYTES:
            log.put_aside()
