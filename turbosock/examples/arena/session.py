"""Session: one open WebSocket: an onlooker, or a player with a name."""

from __future__ import annotations

from turbosock import WebSocketConnection
from turbosock.examples.arena.allowance import Allowance
from turbosock.examples.arena.rules import CHAT_BURST, CHAT_INTERVAL_S, MESSAGES_PER_S
from turbosock.examples.arena.world import Player


class Session:
    """See the module.

    Args:
        connection: its WebSocket.

    Attributes:
        player: what it steers, or None for onlookers.
        name: of the player, or "".
        told_points: what the scoreboard was last told of it.
        messages, chat: how many it may send.
    """

    __slots__ = ("chat", "connection", "messages", "name", "player", "told_points")

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self.player: Player | None = None
        self.name = ""
        self.told_points = 0
        self.messages = Allowance(MESSAGES_PER_S, 2 * MESSAGES_PER_S)
        self.chat = Allowance(1 / CHAT_INTERVAL_S, CHAT_BURST)
