"""MessageLimits: the bounds and times of message connections, checked once for all of a listener's."""

from __future__ import annotations

from turbosock import limits
from turbosock.config import NS_PER_S, check_count, check_seconds


class MessageLimits:
    """The bounds and times of the connections of one listener, or of one that was dialled.

    Args:
        max_message: bytes of a message, received or sent.
        quota: memory that received messages of one connection may take; raised to what putting one message together
            takes.
        max_unsent: bytes that wait for one peer before `send()` says FULL.
        message_timeout_s, idle_timeout_s, write_timeout_s: for a message to become whole, for silence (None: any), for
            a peer that takes nothing.

    Attributes:
        high, low: bytes unsent above which FULL is said, and down to which WRITABLE waits.
        message_ns, idle_ns, write_ns: the times; idle_ns is 0 for any.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = ("high", "idle_ns", "low", "max_message", "message_ns", "quota", "write_ns")

    def __init__(
        self,
        *,
        max_message: int = limits.MAX_MESSAGE_BYTES,
        quota: int = limits.MESSAGE_QUOTA_BYTES,
        max_unsent: int = limits.MAX_UNSENT_BYTES,
        message_timeout_s: float = limits.MESSAGE_TIMEOUT_S,
        idle_timeout_s: float | None = limits.MESSAGE_IDLE_TIMEOUT_S,
        write_timeout_s: float = limits.SERVER_WRITE_TIMEOUT_S,
    ) -> None:
        check_count("max_message", max_message, 1, limits.MAX_MESSAGE_BYTES_CAP)
        check_count("quota", quota, limits.MESSAGE_RING_BYTES, limits.MAX_QUOTA_BYTES)
        check_count("max_unsent", max_unsent, 1, limits.MAX_QUOTA_BYTES)
        check_seconds("message_timeout_s", message_timeout_s)
        check_seconds("idle_timeout_s", idle_timeout_s, optional=True)
        check_seconds("write_timeout_s", write_timeout_s)
        self.max_message = max_message
        # A message that is put together is in two rings while it moves to a larger one, which rings that are lent join.
        self.quota = max(quota, 2 * limits.RECEIVE_RING_BYTES, 4 * max_message)
        self.high = max_unsent
        self.low = max_unsent // 2
        self.message_ns = max(1, int(message_timeout_s * NS_PER_S))
        self.idle_ns = 0 if idle_timeout_s is None else max(1, int(idle_timeout_s * NS_PER_S))
        self.write_ns = max(1, int(write_timeout_s * NS_PER_S))
