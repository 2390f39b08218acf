"""Feeds one tunnel handshake a script of the proxy's replies, cut in every way."""

from __future__ import annotations

import random
from collections.abc import Iterator

from turbosock.errors import ProxyError
from turbosock.protocol.proxy.tunnel import TunnelTarget, tunnel_through
from turbosock.proxy_config import Proxy

TARGET = TunnelTarget("origin.example", 443)
BYTES_OF_THE_TARGET = b"the target's own bytes"


class Outcome:
    """How a handshake ended.

    Attributes:
        sent: what was sent, message by message.
        read: how many bytes of the script were taken.
        done: the way is open.
        error: why it is not.
    """

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.read = 0
        self.done = False
        self.error: ProxyError | None = None

    def summary(self) -> tuple[object, ...]:
        """What a caller sees, but for words; a refusal may be known before its reply is read to the end."""
        error = self.error
        shown = None if error is None else (error.code, error.reply, error.origin)
        return (self.sent, self.done, shown, self.read if self.done else None)


def shake(proxy: Proxy, script: bytes, sizes: Iterator[int], target: TunnelTarget = TARGET) -> Outcome:
    """Shake hands with a proxy that has said `script` already, in reads of these sizes or what is wanted."""
    outcome = Outcome()
    tunnel = tunnel_through(proxy, target)
    try:
        outcome.sent.append(tunnel.start())
        while not tunnel.done:
            piece = script[outcome.read : outcome.read + min(tunnel.wanted, max(next(sizes), 1))]
            if not piece:
                raise tunnel.ended()
            outcome.read += len(piece)
            answer = tunnel.feed(memoryview(piece))
            if answer:
                outcome.sent.append(answer)
    except ProxyError as error:
        outcome.error = error
    outcome.done = tunnel.done
    return outcome


def endless(size: int) -> Iterator[int]:
    """The same size for ever."""
    while True:
        yield size


def shake_every_way(proxy: Proxy, script: bytes, target: TunnelTarget = TARGET) -> Outcome:
    """Shake hands in whole reads, byte by byte, in pairs, and at random cuts: all must agree."""
    whole = shake(proxy, script, endless(1 << 20), target)
    for size in (1, 2, 3, 5, 7):
        assert shake(proxy, script, endless(size), target).summary() == whole.summary(), f"reads of {size} differ"
    for seed in range(20):
        chance = random.Random(seed)
        sizes = iter(lambda chance=chance: chance.randint(1, 9), None)  # type: ignore[misc]  # a sentinel that never comes
        assert shake(proxy, script, sizes, target).summary() == whole.summary(), f"seed {seed} differs"
    return whole
