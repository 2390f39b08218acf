"""WebSocketLimits: the bounds and times of WebSockets of a Loop, checked once for all of a listener's."""

from __future__ import annotations

from turbosock import limits
from turbosock.config import NS_PER_S, check_seconds
from turbosock.connection.message_limits import MessageLimits


class WebSocketLimits(MessageLimits):
    """The bounds and times of the WebSockets of one listener, or of one that was dialled.

    Args:
        max_message: bytes of a message, received or sent; a longer one that comes is answered with 1009.
        quota, max_unsent, message_timeout_s, write_timeout_s: as in MessageLimits.
        idle_timeout_s: for a peer on whose connection nothing comes or goes, Pings included; None: any.
        ping_interval_s: how often a peer is asked for a sign of life, and its distance measured; None: never.
        ping_timeout_s: for that sign of life: from there on a peer that sends nothing at all is given up.
        close_timeout_s: for the peer's Close after ours.

    Attributes:
        ping_ns, pong_ns, close_ns: the times; ping_ns is 0 for never.

    Raises:
        InvalidOption: an argument has a wrong type or value.
    """

    __slots__ = ("close_ns", "ping_ns", "pong_ns")

    def __init__(
        self,
        *,
        max_message: int = limits.MAX_WEBSOCKET_MESSAGE_BYTES,
        quota: int = limits.MESSAGE_QUOTA_BYTES,
        max_unsent: int = limits.MAX_UNSENT_BYTES,
        message_timeout_s: float = limits.MESSAGE_TIMEOUT_S,
        idle_timeout_s: float | None = limits.MESSAGE_IDLE_TIMEOUT_S,
        write_timeout_s: float = limits.SERVER_WRITE_TIMEOUT_S,
        ping_interval_s: float | None = limits.WEBSOCKET_PING_INTERVAL_S,
        ping_timeout_s: float = limits.WEBSOCKET_PING_TIMEOUT_S,
        close_timeout_s: float = limits.WEBSOCKET_CLOSE_TIMEOUT_S,
    ) -> None:
        super().__init__(
            max_message=max_message,
            quota=quota,
            max_unsent=max_unsent,
            message_timeout_s=message_timeout_s,
            idle_timeout_s=idle_timeout_s,
            write_timeout_s=write_timeout_s,
        )
        check_seconds("ping_interval_s", ping_interval_s, optional=True)
        check_seconds("ping_timeout_s", ping_timeout_s)
        check_seconds("close_timeout_s", close_timeout_s)
        self.ping_ns = 0 if ping_interval_s is None else max(1, int(ping_interval_s * NS_PER_S))
        self.pong_ns = max(1, int(ping_timeout_s * NS_PER_S))
        self.close_ns = max(1, int(close_timeout_s * NS_PER_S))
