"""watch(): has what moves on a transport noted, by standing between it and its socket, or its TLS session.

Functions over the variables of one call, and not methods: two of them are called for each request that is recorded, and
what they add to it is what recording costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from turbosock import limits
from turbosock.reactor.context import Buffer
from turbosock.testing.cassettes.wire_log import WireLog, mark_of

if TYPE_CHECKING:
    from turbosock.transport.transport import Transport

# Notes above this are counted by their bytes, those below by their number.
_LONG_BYTES: Final = 2 * limits.KIB
_MAX_ENTRIES: Final = 2 * limits.RECORDED_MEMORY_BYTES // limits.KIB


def watch(transport: Transport, log: WireLog, number: int) -> None:
    """Note what moves on a transport.

    Args:
        transport: nothing has moved on it.
        log: takes the notes.
        number: of the connection.
    """
    entries = log.entries
    extend = entries.extend
    came_mark, sent_mark = mark_of(number, sent=False), mark_of(number, sent=True)
    last = b""

    def receive(buffer: bytearray | memoryview, nbytes: int = 0) -> int:
        """As a socket's, or a session's, whose negative answers are none."""
        nonlocal last
        count = own_receive(buffer, nbytes)
        if count >= 0:
            data = bytes(buffer[:count])
            if data != last:
                last = data
            # The same again, as often where a request is repeated, takes no more memory: new memory is dear.
            extend((came_mark, last))
            if count > _LONG_BYTES or len(entries) > _MAX_ENTRIES:
                log.grow(count)
        return count

    def send(data: Buffer) -> int:
        """As a socket's, or a session's."""
        count = own_send(data)
        if count == len(data) and type(data) is bytes:
            extend((sent_mark, data))
            if count > _LONG_BYTES:
                log.grow(count)
        elif count > 0:
            note_sent(memoryview(data)[:count])
        return count

    def send_vector(buffers: Sequence[Buffer]) -> int:
        """As a socket's."""
        count = left = own_send_vector(buffers)
        for data in buffers:
            if left <= 0:
                break
            note_sent(memoryview(data)[:left])
            left -= len(data)
        return count

    def note_sent(data: memoryview) -> None:
        extend((sent_mark, bytes(data)))
        log.grow(len(data))

    own_receive, own_send, own_send_vector = transport.interpose(receive, send, send_vector)
