"""broadcast: one message to many connections, framed once for all that have the same writer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from turbosock.connection.outbox import check_key
from turbosock.connection.send import Send

if TYPE_CHECKING:
    from turbosock.connection.message_strategy import Data, MessageWriter
    from turbosock.connection.sending_half import SendingHalf


class Broadcast(NamedTuple):
    """What became of a broadcast: how many took it (`ok`), had no room (`full`), and were not open (`closed`)."""

    ok: int
    full: int
    closed: int


def broadcast(connections: Iterable[SendingHalf], data: Data | str, key: object = None) -> Broadcast:
    """Send one message to each of `connections`, whole or not at all, as their `send()` does.

    Args:
        connections: of any kinds; those that share a writer, as all of a listener's do, share one frame in memory.
        data, key: as in `send()`.

    Returns:
        How many took it.

    Raises:
        InvalidOption: `key` cannot be hashed, and nothing was sent; or a connection cannot send such a message, and
            those before it have taken it.
    """
    if key is not None:
        check_key(key)
    ok = full = closed = 0
    size = 0
    frame = b""
    writer: MessageWriter | None = None
    for connection in connections:
        if connection.writer is not writer:
            if not connection.writer.shares:
                sent = connection.send(data, key)  # type: ignore[arg-type]  # a WebSocket's takes str, others say no
                ok += sent is Send.OK
                full += sent is Send.FULL
                closed += sent is Send.CLOSED
                continue
            writer = connection.writer
            payload = data if type(data) is bytes else writer.payload(data)
            size = len(payload)
            frame = writer.frame(payload)
        sent = connection.share(frame, size, key)
        if sent is Send.OK:
            ok += 1
        elif sent is Send.FULL:
            full += 1
        else:
            closed += 1
    return Broadcast(ok, full, closed)
